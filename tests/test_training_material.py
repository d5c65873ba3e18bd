"""From recordings to mixtures: what is read, played and mixed is what the index says."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from stembridge.errors import AudioError
from stembridge.training import mixer, sampler, songs
from stembridge.training.effects import produce
from stembridge.training.material import Material, generator, riff
from stembridge.training.mixer import Mixer, Recipe, limiter_gain
from stembridge.training.pack import SAMPLE_RATE, Pack, read_index
from stembridge.training.prepare import prepare, read_grooves, unpack_midi
from stembridge.training.shelves import Shelf
from stembridge.training.sounds import SoundMixer, is_held_out, make_groups
from tiny_pack import RATE, write_band, write_tiny_pack


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> tuple[Pack, dict[str, Shelf]]:
    root = tmp_path_factory.mktemp("pack")
    return prepare(write_tiny_pack(root / "data"), root / "cache", seed=1)


def test_index_errors_name_the_file_and_the_line(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="--data FOLDER"):
        read_index(tmp_path)
    index = tmp_path / "index.csv"
    index.write_text("chunk,start_s\n")
    with pytest.raises(AudioError, match="lacks the columns dur_s"):
        read_index(tmp_path)
    heads = "chunk,start_s,dur_s,class,label,licence,source,name\n"
    index.write_text(heads)
    with pytest.raises(AudioError, match="no rows"):
        read_index(tmp_path)
    index.write_text(heads + "a.flac,zero,1,bass,bass,CC0,x,y\n")
    with pytest.raises(AudioError, match="line 2"):
        read_index(tmp_path)


def test_broken_chunk_is_named(tmp_path: Path) -> None:
    data = write_tiny_pack(tmp_path / "data")
    (data / "all.flac").write_bytes(b"no audio")
    pack = Pack(data, tmp_path / "cache")
    with pytest.raises(AudioError, match=r"all\.flac"):
        pack.audio(pack.clips[0])


def test_clips_are_cut_where_the_index_says(tmp_path: Path) -> None:
    """A tone between two others is read without a trace of its neighbours."""
    data = tmp_path / "data"
    data.mkdir()
    at = np.arange(RATE) / RATE
    tones = [0.3 * np.sin(2 * np.pi * hz * at) for hz in (300, 1000, 5000)]
    sf.write(data / "c.flac", np.concatenate(tones).astype(np.float32), RATE)
    heads = "chunk,start_s,dur_s,class,label,licence,source,name\n"
    (data / "index.csv").write_text(heads + "c.flac,1.0,1.0,bass,bass,CC0,x,y\n")
    pack = Pack(data, tmp_path / "cache")
    audio = pack.audio(pack.clips[0])
    assert audio.dtype == np.float32 and audio.shape == (SAMPLE_RATE,)
    middle = audio[2000:-2000] * np.hanning(audio.size - 4000)
    spectrum = np.abs(np.fft.rfft(middle))
    hertz = np.fft.rfftfreq(middle.size, 1 / SAMPLE_RATE)
    assert abs(hertz[np.argmax(spectrum)] - 1000) < 2
    for other in (300, 5000):
        assert spectrum[np.argmin(np.abs(hertz - other))] < 1e-3 * spectrum.max()
    again = Pack(data, tmp_path / "cache")  # from the cache, the source gone
    (data / "c.flac").unlink()
    np.testing.assert_array_equal(again.audio(again.clips[0]), audio)


@pytest.mark.parametrize(
    ("name", "source", "pitch"),
    [
        ("gb4-f-rr4.flac", "x", 66),
        ("e2-f.flac", "sfz/karoryfer.growlybass", 28),
        ("samples-mf-c-1.flac", "x", 25),
        ("samples-db4pp.flac", "x", 61),
        ("pizz-a3-pd.flac", "x", 57),
        ("bar-f-29.flac", "x", None),
        ("perc2-rr2.flac", "x", None),
    ],
)
def test_pitch_of_names(name: str, source: str, pitch: int | None) -> None:
    assert sampler.pitch_of(name, source) == pitch


def test_layers_of_names() -> None:
    assert sampler.layer_of("eb2-fff-rr2.flac") == 1.0
    assert sampler.layer_of("a2-vl1-rr1.flac") == 0.25
    assert sampler.layer_of("samples-c2pp.flac") == 0.2


@pytest.mark.parametrize("wanted", [33, 40, 45])
def test_a_played_note_has_its_pitch(wanted: int) -> None:
    bank = sampler.Bank("tone")
    at = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    bank.add(np.sin(2 * np.pi * 110 * at).astype(np.float32), 45, 0.6)
    bank.pitches[0] = 45
    note = songs.Note(0.1, 1.0, wanted, 100)
    touch = sampler.Touch(27, 55)
    # the bank reaches four semitones: what lies further is folded by octaves
    heard = sampler.play([note], bank, touch, 2 * SAMPLE_RATE, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(heard[SAMPLE_RATE // 5 : SAMPLE_RATE]))
    hertz = np.argmax(spectrum) * SAMPLE_RATE / (SAMPLE_RATE - SAMPLE_RATE // 5)
    folded = wanted if wanted >= 41 else wanted + 12
    assert abs(hertz - 440 * 2 ** ((folded - 69) / 12)) < 3
    assert not heard[: SAMPLE_RATE // 10].any()


def test_closed_hat_chokes_the_open_one() -> None:
    rng = np.random.default_rng(0)
    kit = {"open": [np.ones(SAMPLE_RATE, np.float32)], "closed": [np.ones(400, np.float32)]}
    hats = [songs.Note(0.0, 0.1, 46, 100), songs.Note(0.5, 0.1, 42, 100)]
    heard = sampler.play_drums(hats, kit, 2 * SAMPLE_RATE, rng)
    assert np.abs(heard[:, : SAMPLE_RATE // 2 - 500]).min() > 0
    assert not heard[:, round(0.6 * SAMPLE_RATE) :].any()


def test_slots_keep_parts_apart_and_inside_their_minute(tmp_path: Path) -> None:
    write_band(tmp_path / "band.mid", beats=300)
    events = songs.read_events(tmp_path / "band.mid")
    assert songs.has_band(events)
    slot = songs.cut_slot("band", events, np.random.default_rng(4))
    for part in ("drums", "bass", "keys"):
        assert len(slot.notes[part]) > 40
        assert all(0 <= n.start_seconds < songs.PLAYED_SECONDS for n in slot.notes[part])
    assert {n.channel for n in slot.notes["drums"]} == {9}
    assert not slot.notes["guitar"]
    songs.write_part([slot, slot], "bass", tmp_path / "bass.mid")
    starts = [
        when
        for when, message in songs.read_events(tmp_path / "bass.mid")
        if message.type == "note_on" and message.velocity
    ]
    half = len(starts) // 2
    np.testing.assert_allclose(np.diff([starts[0], starts[half]]), songs.SLOT_SECONDS, atol=2e-3)
    assert songs.read_events(tmp_path / "none.mid") == []


def test_rendered_parts_start_with_their_notes(tmp_path: Path) -> None:
    """Fluidsynth's output is on the slot grid: each drum hit sounds where its note stands."""
    if shutil.which("fluidsynth") is None or not songs.find_fonts():
        pytest.fail("needs fluidsynth and a sound font: apt install fluidsynth fluid-soundfont-gm")
    slot = songs.Slot("one", {part: [] for part in songs.PARTS})
    for at in (0.5, 1.25, 2.0):
        hit = mido.Message("note_on", channel=9, note=38, velocity=120)
        slot.events["drums"] += [(at, hit), (at + 0.1, hit.copy(velocity=0))]
    songs.write_part([slot], "drums", tmp_path / "d.mid")
    songs.render(tmp_path / "d.mid", songs.find_fonts()[0], tmp_path / "d.raw")
    raw = np.fromfile(tmp_path / "d.raw", dtype=np.int16).reshape(-1, 2).astype(float)
    loud = np.abs(raw).max(axis=1)
    for at in (0.5, 1.25, 2.0):
        before = loud[round((at - 0.02) * SAMPLE_RATE) : round((at - 0.004) * SAMPLE_RATE)].max()
        after = loud[round(at * SAMPLE_RATE) : round((at + 0.03) * SAMPLE_RATE)].max()
        assert after > 1000 and after > 20 * max(before, 1)


@pytest.mark.parametrize("part", ["drums", "bass", "guitar", "vocals", "keys"])
def test_production_keeps_length_and_silence(part: str) -> None:
    rng = np.random.default_rng(1)
    for samples in (1, 64, 65, 8193, SAMPLE_RATE):
        audio = rng.standard_normal((1, samples)).astype(np.float32) * 0.1
        for seed in range(4):
            out = produce(audio, part, np.random.default_rng(seed))
            assert out.shape == (2, samples) and out.dtype == np.float32
            assert np.isfinite(out).all() and np.abs(out).max() <= 0.9001
    assert not produce(np.zeros((1, 5000), np.float32), part, rng).any()


def test_rows_do_not_depend_on_each_other(prepared, tmp_path: Path) -> None:
    pack, _ = prepared
    material = Material(pack, tmp_path, [], [], seed=1)
    jobs = material.jobs()
    assert {job.part for job in jobs} == {"drums", "bass", "guitar", "keys", "synth", "vocals"}
    job = next(job for job in jobs if job.way == "riff")
    first = material.make_row(job)
    material.make_row(jobs[0])
    np.testing.assert_array_equal(material.make_row(job), first)
    other = Material(pack, tmp_path, [], [], seed=2).make_row(job)
    assert not np.array_equal(other, first)


def test_riffs_are_in_range() -> None:
    for part in ("bass", "keys", "winds"):
        notes = riff(part, 20.0, generator(1, part))
        assert len(notes) > 5
        assert all(0 <= note.start_seconds < 20.0 and 20 <= note.pitch < 110 for note in notes)


def test_preparing_with_midi_makes_aligned_songs(tmp_path: Path) -> None:
    if shutil.which("fluidsynth") is None or not songs.find_fonts():
        pytest.fail("needs fluidsynth and a sound font: apt install fluidsynth fluid-soundfont-gm")
    data = write_tiny_pack(tmp_path / "data", midi=True)
    _, shelves = prepare(data, tmp_path / "cache", seed=1, passes=1)
    rows = {part: shelf.by_song["0/0"] for part, shelf in shelves.items() if shelf.by_song}
    assert {"drums", "bass", "keys"} <= rows.keys()
    assert len({row.samples for row in rows.values()}) == 1
    made = Mixer(shelves, Recipe(coherent_share=1.0))
    assert made.songs == ["0/0"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.pcm")}
    prepare(data, tmp_path / "cache", seed=1, passes=1)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert read_grooves(unpack_midi(data, tmp_path / "cache"), 1) == []


def test_a_broken_archive_says_so(tmp_path: Path) -> None:
    data = write_tiny_pack(tmp_path / "data")
    (data / "midi.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(AudioError, match="midi"):
        unpack_midi(data, tmp_path)


def test_a_shelf_without_its_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="made anew"):
        Shelf(tmp_path, "drums")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mixtures_are_finite_repeatable_and_at_level(prepared, seed: int) -> None:
    _, shelves = prepared
    drawn = Mixer(shelves, Recipe(seconds=0.75, limited_share=0.0))
    sources = drawn.draw(np.random.default_rng(seed))
    again = drawn.draw(np.random.default_rng(seed))
    assert sources.keys() == again.keys() and sources
    assert set(sources) <= {"drums", "bass", "vocals", *mixer.OTHER_PARTS}
    for name, audio in sources.items():
        assert audio.shape == (2, drawn.recipe.samples) and np.isfinite(audio).all()
        np.testing.assert_array_equal(audio, again[name])
        rms = np.sqrt(np.mean(audio**2))
        assert rms < 1e-4 or -45 < 20 * np.log10(rms) < -5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), samples=st.sampled_from([1, 64, 265, 8193]))
def test_the_limiter_holds_its_threshold(seed: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    loud = rng.standard_normal((2, samples)).astype(np.float32)
    gain = limiter_gain(loud, 0.5)
    assert gain.shape == (samples,)
    assert gain.max() <= 1.0 and gain.min() > 0
    assert np.abs(loud * gain).max() <= 0.5 * 1.0001


def test_sounds_come_in_pairs_of_different_classes(prepared) -> None:
    pack, shelves = prepared
    samples = 30000
    band = Mixer(shelves, Recipe(seconds=samples / SAMPLE_RATE))
    groups = make_groups(pack, shelves, held_out=False)
    held = make_groups(pack, shelves, held_out=True)
    trained = {g.label for g in groups if g.kind == "env"}
    assert trained and not any(is_held_out(label) for label in trained)
    assert not trained & {g.label for g in held if g.kind == "env"}
    drawn = SoundMixer(pack, shelves, groups, band)
    for seed in range(20):
        sources, queries, names = drawn.pair(np.random.default_rng(seed), samples)
        assert sources.shape == (2, 2, samples) and queries.shape == (2, samples)
        assert len(names) == 2 and (names[0] != names[1] or names == [None, None])
        again = drawn.pair(np.random.default_rng(seed), samples)[0]
        np.testing.assert_array_equal(sources, again)
        sources, queries, names = drawn.band_instrument(np.random.default_rng(seed))
        assert sources.shape[0] in (2, 3) and sources.shape[1:] == (2, samples)


@pytest.mark.parametrize("name", ["../out.mid", "/tmp/out.mid", "a/../../out.mid"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "midi.tar.gz", "w:gz") as file:
        file.addfile(tarfile.TarInfo(name))
    with pytest.raises(AudioError, match="leads out"):
        unpack_midi(data, tmp_path / "cache")
    assert not (tmp_path / "out.mid").exists() and not (tmp_path / "cache" / "out.mid").exists()
