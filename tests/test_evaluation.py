"""The figures against sums that can be done by hand, and against a plain second writing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from identity import IdentitySeparator
from stembridge.errors import AudioError
from stembridge.evaluation import (
    average,
    frame_sdr_db,
    ideal_ratio_masks,
    score,
    si_sdr_db,
    with_instrumental,
)
from stembridge.evaluation_songs import evaluate_song, find_songs, read_song

RATE = 8000


def noise(random: np.random.Generator, seconds: float = 3.0, channels: int = 2) -> np.ndarray:
    shape = (channels, round(seconds * RATE))
    return (0.2 * random.standard_normal(shape)).astype(np.float32)


@given(error_db=st.floats(-60, 40), seconds=st.floats(0.5, 4.0))
def test_an_error_of_known_size_gives_its_sdr(error_db: float, seconds: float) -> None:
    random = np.random.default_rng(1)
    true = noise(random, seconds)
    wrong = true * (1 + 10 ** (error_db / 20))
    assert score(true, wrong, RATE).sdr_db == pytest.approx(-error_db, abs=1e-3)


def test_sdr_is_the_median_of_its_frames(random: np.random.Generator) -> None:
    true = noise(random, 5)
    made = true.copy()
    for frame, error_db in enumerate((-10, -20, -30, -40, -50)):
        made[:, frame * RATE : (frame + 1) * RATE] *= 1 + 10 ** (error_db / 20)
    np.testing.assert_allclose(frame_sdr_db(true, made, RATE), (10, 20, 30, 40, 50), atol=1e-2)
    assert score(true, made, RATE).sdr_db == pytest.approx(30, abs=1e-2)


def test_sdr_equals_the_plain_formula(random: np.random.Generator) -> None:
    true, made = noise(random, 4.7), noise(random, 4.7)
    values = []
    for second in range(5):
        s = true[:, second * RATE : (second + 1) * RATE].astype(float)
        e = made[:, second * RATE : (second + 1) * RATE].astype(float)
        values.append(10 * math.log10((s**2).sum() / ((s - e) ** 2).sum()))
    assert score(true, made, RATE).sdr_db == pytest.approx(float(np.median(values)), abs=1e-9)


def test_silent_frames_say_nothing(random: np.random.Generator) -> None:
    true = noise(random, 4)
    true[:, RATE : 3 * RATE] = 0
    made = true + noise(random, 4) * np.float32(0.1)
    result = score(true, made, RATE)
    assert result.frames == 2
    np.testing.assert_allclose(
        frame_sdr_db(true, made, RATE),
        np.concatenate(
            [
                frame_sdr_db(true[:, :RATE], made[:, :RATE], RATE),
                frame_sdr_db(true[:, 3 * RATE :], made[:, 3 * RATE :], RATE),
            ]
        ),
    )
    nothing = score(np.zeros_like(true), made, RATE)
    assert nothing.frames == 0 and math.isnan(nothing.sdr_db) and math.isnan(nothing.si_sdr_db)


def test_the_ends_of_the_scale(random: np.random.Generator) -> None:
    true = noise(random)
    assert score(true, true, RATE).sdr_db == 100
    assert score(true, np.zeros_like(true), RATE).sdr_db == pytest.approx(0, abs=1e-9)
    assert score(true, np.zeros_like(true), RATE).si_sdr_db == -100
    with pytest.raises(ValueError, match="shapes differ"):
        score(true, true[:, 1:], RATE)


@given(gain=st.floats(0.01, 100), sign=st.sampled_from((-1, 1)))
def test_si_sdr_ignores_a_gain_and_sdr_does_not(gain: float, sign: int) -> None:
    random = np.random.default_rng(2)
    true = noise(random)
    made = true + noise(random) * np.float32(0.3)
    scaled = (made * sign * gain).astype(np.float32)
    assert si_sdr_db(true, scaled) == pytest.approx(si_sdr_db(true, made), abs=1e-3)


def test_si_sdr_of_orthogonal_noise_is_its_ratio(random: np.random.Generator) -> None:
    true, other = (noise(random).ravel().astype(float) for _ in range(2))
    other -= true * (other @ true) / (true @ true)
    for wanted_db in (-5, 0, 12):
        level = math.sqrt((true @ true) / (other @ other)) * 10 ** (-wanted_db / 20)
        made = (true + level * other)[None]
        assert si_sdr_db(true[None], made) == pytest.approx(wanted_db, abs=1e-6)


def test_ideal_masks_add_up_and_split_what_does_not_overlap() -> None:
    time = np.arange(3 * RATE) / RATE
    low = np.stack([np.sin(2 * np.pi * 200 * time)] * 2).astype(np.float32) * 0.3
    high = np.stack([np.sin(2 * np.pi * 2000 * time)] * 2).astype(np.float32) * 0.3
    made = ideal_ratio_masks({"low": low, "high": high})
    np.testing.assert_allclose(made["low"] + made["high"], low + high, atol=1e-5)
    inner = slice(RATE // 2, -RATE // 2)
    assert si_sdr_db(low[:, inner], made["low"][:, inner]) > 40
    overlapping = ideal_ratio_masks({"a": low, "b": low.copy()})
    np.testing.assert_allclose(overlapping["a"], low, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 64, 65, 4095, 4096, 8193])
def test_ideal_masks_keep_awkward_lengths(samples: int, random: np.random.Generator) -> None:
    stems = {n: noise(random)[:, :samples] for n in "abc"}
    made = ideal_ratio_masks(stems)
    assert all(audio.shape == (2, samples) for audio in made.values())
    np.testing.assert_allclose(sum(made.values()), sum(stems.values()), atol=1e-5)


def test_the_instrumental_is_what_is_not_sung(random: np.random.Generator) -> None:
    stems = {n: noise(random) for n in ("vocals", "drums", "bass")}
    known = with_instrumental(stems)
    np.testing.assert_allclose(known["instrumental"], stems["drums"] + stems["bass"])
    assert "instrumental" not in with_instrumental({"vocals": stems["vocals"]})
    assert "instrumental" not in with_instrumental({"drums": stems["drums"]})


def test_averages_leave_out_what_is_not_there() -> None:
    assert average([1.0, float("nan"), 2.0, 6.0]) == (3.0, 2.0)
    assert all(math.isnan(v) for v in average([float("nan")]))


# --- songs in folders -------------------------------------------------------------------------


def smooth(audio: np.ndarray) -> np.ndarray:
    """The same without its highest octave, which a change of rate would touch."""
    kernel = np.hanning(17) / np.hanning(17).sum()
    rows = [np.convolve(row, kernel, mode="same") for row in audio]
    return np.array(rows, dtype=np.float32)


def write(path: Path, audio: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="FLOAT")


def test_a_song_is_a_folder_of_stems(tmp_path: Path, random: np.random.Generator) -> None:
    long, short = noise(random, 2), noise(random, 1, channels=1)
    write(tmp_path / "b" / "half.wav", long)
    write(tmp_path / "b" / "ALL.wav", short)
    write(tmp_path / "b" / "mixture.wav", long)
    write(tmp_path / "a" / "half.wav", long)
    (tmp_path / "empty").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("not audio")
    assert [path.name for path in find_songs(tmp_path)] == ["a", "b"]
    assert find_songs(tmp_path / "a") == [tmp_path / "a"]
    song = read_song(tmp_path / "b")
    assert set(song.stems) == {"half", "all"} and song.sample_rate == RATE
    assert song.mixture.shape == (2, 2 * RATE)
    np.testing.assert_allclose(song.stems["all"][:, :RATE], np.vstack([short, short]))
    assert not song.stems["all"][:, RATE:].any()
    np.testing.assert_allclose(song.mixture, song.stems["half"] + song.stems["all"])
    assert read_song(tmp_path / "b", seconds=0.5).mixture.shape == (2, RATE // 2)


def test_folders_that_are_no_songs_are_refused(tmp_path: Path, random: np.random.Generator) -> None:
    with pytest.raises(AudioError, match="holds no songs"):
        find_songs(tmp_path)
    with pytest.raises(AudioError, match="no folder"):
        find_songs(tmp_path / "missing")
    write(tmp_path / "mixed" / "a.wav", noise(random), 8000)
    write(tmp_path / "mixed" / "b.wav", noise(random), 16000)
    with pytest.raises(AudioError, match="one rate"):
        read_song(tmp_path / "mixed")
    write(tmp_path / "odd" / "a.wav", noise(random, channels=2))
    write(tmp_path / "odd" / "b.wav", noise(random, channels=3))
    with pytest.raises(AudioError, match="add up"):
        read_song(tmp_path / "odd")


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_a_separator_of_known_error_gets_its_score(
    tmp_path: Path, random: np.random.Generator, rate: int
) -> None:
    """`half` is half the mixture: with one stem the error is a half, so 6.02 dB, and the
    untouched mixture, anchor and ideal mask are without error."""
    write(tmp_path / "song" / "half.wav", smooth(noise(random, 3)), RATE)
    song = read_song(tmp_path / "song")
    separator = IdentitySeparator(sample_rate=rate)
    seen: list[float] = []
    scores = evaluate_song(song, separator, ["mix", "render"], ["half", "all"], seen.append)
    assert list(scores) == ["mix", "render", "mixture", "ideal mask"]
    for mode in ("mix", "render"):
        assert set(scores[mode]) == {"half"}
        assert scores[mode]["half"].sdr_db == pytest.approx(6.02, abs=0.05)
    assert scores["mixture"]["half"].sdr_db == 100
    assert scores["ideal mask"]["half"].sdr_db > 80
    assert seen == sorted(seen) and seen[-1] == pytest.approx(6.0)


def test_a_song_without_known_stems_says_what_it_has(
    tmp_path: Path, random: np.random.Generator
) -> None:
    write(tmp_path / "song" / "kazoo.wav", noise(random))
    with pytest.raises(AudioError, match=r"kazoo.*all, half"):
        evaluate_song(read_song(tmp_path / "song"), IdentitySeparator(), ["mix"], ["half"])


def test_the_verb_prints_tables_and_stable_json(
    tmp_path: Path, random: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    import cli_support

    write(tmp_path / "one" / "half.wav", noise(random, 2))
    write(tmp_path / "one" / "none.wav", 0.5 * noise(random, 2))
    write(tmp_path / "two" / "half.wav", smooth(noise(random, 2)))
    write(tmp_path / "bad" / "kazoo.wav", noise(random, 2))
    with cli_support.identity_separator():
        code = cli_support.run("evaluate", str(tmp_path), "-n", "identity", "--json")
        out, err = capsys.readouterr()
        assert code == 1 and "kazoo" in err
        document = json.loads(out)
        assert list(document["failed"]) == ["bad"] and not document["ok"]
        assert set(document["songs"]) == {"one", "two"}
        figures = document["songs"]["two"]["render"]["half"]
        assert figures["sdr_db"] == pytest.approx(6.02, abs=0.05) and figures["frames"] == 2
        assert document["summary"]["render"]["half"]["songs"] == 2
        assert cli_support.run("evaluate", str(tmp_path / "two"), "-n", "identity") == 0
        shown = capsys.readouterr().out
        for word in ("render", "mixture", "ideal mask", "half", "6.0"):
            assert word in shown
        assert cli_support.run("evaluate", str(tmp_path), "-n", "identity") == 1
        assert "median" in capsys.readouterr().out
