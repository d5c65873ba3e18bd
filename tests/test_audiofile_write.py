"""Writing files: what fits comes back, what does not is refused, and a file appears whole or not
at all, alone or as one of a track's stems.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio_support import music
from stembridge.atomic import Draft
from stembridge.audiofile import (
    BITS,
    AudioWriter,
    create_audio,
    read_audio,
    write_audio,
)
from stembridge.errors import AudioError
from stembridge.stemfiles import CEILING, StemSet

# --- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "bits"), [("wav", "16"), ("wav", "24"), ("flac", "24")])
def test_whole_numbers_survive_and_are_rounded_not_cut(
    tmp_path: Path, suffix: str, bits: str
) -> None:
    full = 1 << (int(bits) - 1)
    steps = np.unique(np.linspace(-full, full - 1, 70001).round()).astype(np.int64)
    exact = (steps / full).astype(np.float32)[None]
    write_audio(tmp_path / f"a.{suffix}", exact, 44100, bits)
    assert np.array_equal(read_audio(tmp_path / f"a.{suffix}")[0], exact)
    between = np.array([[0.4, 0.6, -0.4, -0.6]]) / full
    write_audio(tmp_path / f"b.{suffix}", between.astype(np.float32), 44100, bits)
    np.testing.assert_allclose(
        read_audio(tmp_path / f"b.{suffix}")[0] * full, [[0, 1, 0, -1]], atol=1e-6
    )


@pytest.mark.parametrize(("suffix", "bits"), [("wav", "16"), ("flac", "24"), ("ogg", "24")])
def test_what_exceeds_full_scale_is_clamped(tmp_path: Path, suffix: str, bits: str) -> None:
    write_audio(tmp_path / f"a.{suffix}", music(44100, level=3.0), 44100, bits)
    back, _ = read_audio(tmp_path / f"a.{suffix}")
    assert 0.9 < np.abs(back).max() <= 1.3  # a lossy codec may overshoot; wrapping would differ
    middle = music(44100, level=3.0)
    assert np.all(np.sign(back[np.abs(middle) > 2]) == np.sign(middle[np.abs(middle) > 2]))


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
@pytest.mark.parametrize("samples", [44100, 100_001])
def test_lossy_files_stay_in_time(tmp_path: Path, suffix: str, samples: int) -> None:
    audio = music(samples)
    write_audio(tmp_path / f"a.{suffix}", audio, 44100)
    back, _ = read_audio(tmp_path / f"a.{suffix}")
    assert back.shape == audio.shape, "encoder delay and padding are taken off again"
    assert np.abs(back[:, 3000:-3000] - audio[:, 3000:-3000]).max() < 0.03


def test_many_small_blocks_write_the_same_file(tmp_path: Path) -> None:
    audio = music(5000)
    write_audio(tmp_path / "one.wav", audio, 44100)
    with create_audio(tmp_path / "many.wav", 44100, 2) as file:
        for start in range(0, 5000, 77):
            file.write(audio[:, start : start + 77])
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "many.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "bits", "rate", "channels", "word"),
    [
        ("a.aiff", "24", 44100, 2, "Choose one of"),
        ("a", "24", 44100, 2, "Choose one of"),
        ("a.wav", "8", 44100, 2, "Choose one of"),
        ("a.flac", "32f", 44100, 2, "-f wav"),
        ("a.flac", "24", 44100, 9, "-f wav"),
        ("a.mp3", "24", 96000, 2, "-f flac"),
        ("a.mp3", "24", 44100, 7, "-f flac"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_way_out(
    tmp_path: Path, name: str, bits: str, rate: int, channels: int, word: str
) -> None:
    with pytest.raises(AudioError, match=word):
        AudioWriter(tmp_path / name, rate, channels, bits)
    assert list(tmp_path.iterdir()) == []


def test_a_wave_file_beyond_4_gb_is_made_as_one_that_may_be(tmp_path: Path) -> None:
    """The hint chooses RF64 for what would overflow the sizes in a plain WAV header."""
    audio = music(5000)
    with create_audio(tmp_path / "a.wav", 44100, 2, "32f", frames_hint=1 << 30) as file:
        file.write(audio)
    assert (tmp_path / "a.wav").read_bytes().startswith(b"RF64")
    assert np.array_equal(read_audio(tmp_path / "a.wav")[0], audio)


# --- whole or not at all -----------------------------------------------------------------------


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.wav"
    with create_audio(path, 44100, 2) as file:
        file.write(music(1000))
        assert not path.exists()
    assert read_audio(path)[0].shape == (2, 1000)
    assert [p.name for p in path.parent.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), create_audio(tmp_path / "x" / "y" / "a.wav", 44100, 2) as file:
        file.write(music(1000))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("precious")
    with pytest.raises(AudioError, match="--overwrite"):
        write_audio(path, music(100), 44100)
    assert path.read_text() == "precious" and list(tmp_path.iterdir()) == [path]
    write_audio(path, music(100), 44100, overwrite=True)
    assert read_audio(path)[0].shape == (2, 100)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(AudioError, match="--overwrite"), create_audio(path, 44100, 2) as file:
        file.write(music(100))
        path.write_text("precious")
    assert path.read_text() == "precious" and list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.wav", tmp_path / ("n" * 300 + ".wav")):
        with pytest.raises(AudioError, match="cannot be written"):
            write_audio(path, music(10), 44100)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioError, match="cannot be written"):
        write_audio(tmp_path / "folder.wav", music(10), 44100, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.wav"]


def test_a_draft_can_be_thrown_away(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "a" / "b.txt")
    draft.temporary.write_text("half")
    draft.discard()
    draft.discard()
    assert list(tmp_path.iterdir()) == []


# --- the stems of one track ---------------------------------------------------------------------


def stem_set(folder: Path, clip: str = "rescale", bits: str = "24", kind: str = "wav") -> StemSet:
    paths = {name: folder / f"{name}.{kind}" for name in ("kept", "rest")}
    return StemSet(paths, 44100, 2, bits, clip)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("clip", ["rescale", "clamp"])
def test_stems_that_fit_are_not_touched(tmp_path: Path, bits: str, clip: str) -> None:
    audio = music(5000, level=0.4)
    with stem_set(tmp_path / "s", clip, bits) as stems:
        stems.write("kept", audio)
        stems.write("rest", -audio / 2)
    assert stems.gain == 1.0 and stems.frames == 5000
    step = 0.0 if bits == "32f" else 0.5 / (1 << (int(bits) - 1))
    assert np.abs(read_audio(tmp_path / "s" / "kept.wav")[0] - audio).max() <= step
    assert np.abs(read_audio(tmp_path / "s" / "rest.wav")[0] + audio / 2).max() <= step


def test_rescaling_turns_all_stems_down_together(tmp_path: Path) -> None:
    """Kept and rest cancel to a quiet mix; after rescaling they still add up to it."""
    kept, mix = music(5000, level=1.6), music(5000, level=0.5)
    with stem_set(tmp_path) as stems:
        for start in range(0, 5000, 700):
            piece = slice(start, start + 700)
            stems.write("kept", kept[:, piece])
            stems.write("rest", (mix - kept)[:, piece])
    assert stems.gain == pytest.approx(CEILING / np.abs(kept).max())
    back = {n: read_audio(tmp_path / f"{n}.wav")[0] for n in ("kept", "rest")}
    assert np.abs(back["kept"]).max() <= 1 and np.abs(back["kept"]).max() > 0.999
    np.testing.assert_allclose(back["kept"] + back["rest"], stems.gain * mix, atol=2e-6)


def test_clamping_and_floats_do_not_rescale(tmp_path: Path) -> None:
    loud = music(5000, level=1.6)
    for folder, bits, limit in (("i", "24", 1.0), ("f", "32f", 1.7)):
        with stem_set(tmp_path / folder, "clamp" if bits == "24" else "rescale", bits) as stems:
            stems.write("kept", loud)
            stems.write("rest", loud)
        back = read_audio(tmp_path / folder / "kept.wav")[0]
        assert stems.gain == 1.0 and np.allclose(back, np.clip(loud, -limit, limit), atol=1e-6)


def test_all_stems_come_or_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), stem_set(tmp_path / "deep" / "s") as stems:
        stems.write("kept", music(10))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "rest.wav").write_text("precious")
    with pytest.raises(AudioError, match=r"rest\.wav exists"):
        stem_set(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["rest.wav"]


def test_silent_and_empty_stems_are_written(tmp_path: Path) -> None:
    with stem_set(tmp_path) as stems:
        stems.write("kept", np.zeros((2, 300), np.float32))
        stems.write("rest", np.zeros((2, 0), np.float32))
    assert not read_audio(tmp_path / "kept.wav")[0].any()
    assert read_audio(tmp_path / "rest.wav")[0].shape == (2, 0)
