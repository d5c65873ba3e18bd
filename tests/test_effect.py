"""`Separate` in scripts: pedalboard's contract, plus a whole length, a flush, and no cuts."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import IdentitySeparator
from stembridge import Separate, separate_file
from stembridge.audiofile import read_audio, write_audio
from stembridge.chain import SeparationChain
from stembridge.errors import AudioError, PresetError
from stembridge.presets import Preset, dumps
from stembridge.prompts import NamePrompt

SEPARATOR = IdentitySeparator(44100, 2, 96, 130)


def named(name: str, **settings) -> Preset:
    return Preset(name, keep=(NamePrompt(name),), **settings)


def effect(name: str = "half", **settings) -> Separate:
    return Separate(named(name), separator=SEPARATOR, **settings)


def noise(*shape: int) -> np.ndarray:
    return (np.random.default_rng(3).standard_normal(shape) * 0.3).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 9000), (9000, 2), (1, 9000), (9000, 1), (9000,), (2, 0)])
@pytest.mark.parametrize("rate", [44100, 48000.0])
def test_layout_in_is_layout_out(shape, rate):
    audio = noise(*shape)
    out = effect()(audio, rate)
    assert out.shape == audio.shape and out.dtype == np.float32
    if rate == 44100:
        np.testing.assert_array_equal(out, 0.5 * audio)


def test_the_samples_are_those_of_the_chain():
    audio = noise(2, 100_000)
    chain = SeparationChain(named("half"), 48000, 2, separator=SEPARATOR)
    blocks = [chain.push(audio), chain.flush()]
    expected = np.concatenate([block.target for block in blocks], axis=1)
    np.testing.assert_array_equal(effect()(audio, 48000), expected)
    np.testing.assert_array_equal(effect().process(audio.astype(float), 48000), expected)
    np.testing.assert_array_equal(effect()(audio, 48000, buffer_size=1000), expected)


@given(
    rate=st.sampled_from([44100, 48000]),
    channels=st.integers(1, 3),
    samples_first=st.booleans(),
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=8),
)
def test_a_stream_is_the_whole_in_pieces(rate, channels, samples_first, sizes):
    sizes = [200, *sizes]  # the first chunk shows the layout
    audio = noise(channels, sum(sizes))
    separate = effect()
    whole = separate(audio, rate)
    pieces = []
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        chunk = audio[:, start : start + size]
        out = separate(chunk.T if samples_first else chunk, rate, reset=False)
        pieces.append(out.T if samples_first else out)
        assert separate.streaming
    rest = separate.flush()
    pieces.append(rest.T if samples_first else rest)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    assert not separate.streaming and separate.flush().size == 0


def test_a_stream_trails_by_no_more_than_its_latency():
    separate = effect()
    pushed = returned = worst = 0
    for _ in range(300):
        returned += separate(np.ones((2, 37), np.float32), 48000, reset=False).shape[1]
        pushed += 37
        worst = max(worst, pushed - returned)
    assert 0 < worst <= separate.latency_samples
    assert effect().latency_samples == 130 + 96 - 1, "at the separator's rate before any audio"


def test_reset_drops_a_stream():
    audio = noise(2, 3000)
    separate = effect()
    separate(audio, 44100, reset=False)
    separate.reset()
    assert separate.flush().size == 0
    separate(audio, 44100, reset=False)
    np.testing.assert_array_equal(separate(audio, 44100), 0.5 * audio)
    assert not separate.streaming


def test_a_stream_cannot_change_what_it_is():
    separate = effect()
    separate(noise(2, 500), 44100, reset=False)
    for audio, rate in [(noise(2, 500), 48000), (noise(3, 500), 44100), (noise(500, 2), 44100)]:
        with pytest.raises(AudioError, match="flush"):
            separate(audio, rate, reset=False)
    with pytest.raises(AudioError, match="flush"):
        separate.mode = "live"
    separate.flush()
    separate.mode = "live"
    assert separate.mode == "live"


def test_gains_and_output_are_properties():
    audio = noise(2, 3000)
    separate = effect()
    separate.output = "mix"
    np.testing.assert_allclose(separate(audio, 44100), audio, atol=1e-6)
    separate.target_gain_db = -math.inf
    np.testing.assert_allclose(separate(audio, 44100), 0.5 * audio, atol=1e-6)
    separate.remainder_gain_db = -20.0
    np.testing.assert_allclose(separate(audio, 44100), 0.05 * audio, atol=1e-6)
    assert (separate.output, separate.target_gain_db) == ("mix", -math.inf)
    assert separate.preset.remainder_gain_db == -20.0
    with pytest.raises(AudioError):
        separate.target_gain_db = math.nan
    given_at_once = effect(output="mix", target_gain_db=-math.inf, remainder_gain_db=-20.0)
    np.testing.assert_array_equal(given_at_once(audio, 44100), separate(audio, 44100))


def test_a_preset_swaps_within_a_stream_without_a_click():
    separate = effect("all")
    ones = np.ones((2, 4000), np.float32)
    out = [separate(ones, 44100, reset=False)]
    separate.preset = named("half")
    out += [separate(ones, 44100, reset=False), separate.flush()]
    heard = np.concatenate(out, axis=1)
    assert heard[0, 3000] == 1.0 and heard[0, -1] == 0.5
    assert np.abs(np.diff(heard)).max() < 0.01
    separate(ones, 44100, reset=False)
    with pytest.raises(PresetError, match="new chain"):
        separate.preset = named("half", separator="speech")
    assert separate.preset.separator == "unet"


def test_split_gives_both_sides():
    audio = noise(2, 150_000)
    target, remainder = effect().split(audio, 48000)
    np.testing.assert_allclose(target + remainder, audio, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(target, effect()(audio, 48000))
    with pytest.raises(AudioError, match="channels"):
        effect().split(noise(500), 48000)


def test_progress_is_told_and_may_cancel():
    fractions = []
    effect()(noise(1, 44100 * 6), 44100, progress=fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) >= 3

    def cancel(_: float) -> None:
        raise KeyboardInterrupt

    separate = effect()
    with pytest.raises(KeyboardInterrupt):
        separate(noise(1, 44100 * 6), 44100, progress=cancel)
    np.testing.assert_array_equal(separate(noise(1, 50), 44100), 0.5 * noise(1, 50))


def test_an_effect_for_those_who_ask():
    separate = effect()
    assert separate.is_effect and not separate.is_instrument
    assert "half" in repr(separate)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_wrong_buffer_sizes(size):
    with pytest.raises(AudioError, match="buffer_size"):
        effect()(noise(1, 50), 44100, buffer_size=size)


def test_unknown_presets_and_modes_say_what_there_is():
    with pytest.raises(PresetError):
        Separate("no such preset")
    with pytest.raises(AudioError, match="live, mix, render"):
        Separate(named("half"), mode="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (8000, 1), (96000, 3)])
def test_separate_file_keeps_rate_channels_and_length(tmp_path, rate, channels):
    audio = noise(channels, 30_001)
    song = tmp_path / "song.wav"
    write_audio(song, audio, rate, bits="32f")
    preset_file = tmp_path / "my.preset"
    preset_file.write_text(dumps(named("half", output="mix", target_gain_db=-6.0)))
    out, rest = tmp_path / "target.wav", tmp_path / "rest.wav"
    fractions: list[float] = []
    returned = separate_file(
        song,
        out,
        preset_file,
        remainder_out=rest,
        bits="32f",
        separator=SEPARATOR,
        progress=fractions.append,
    )
    assert returned == out and fractions[-1] == 1.0
    heard, out_rate = read_audio(out)
    assert (heard.shape, out_rate) == (audio.shape, rate)
    separate = Separate(preset_file, separator=SEPARATOR)
    chain = SeparationChain(separate.preset, rate, channels, separator=SEPARATOR)
    blocks = [chain.push(audio)]
    expected = [chain.finish(blocks[0])]
    blocks.append(chain.flush())
    expected.append(chain.finish(blocks[1]))
    np.testing.assert_array_equal(heard, np.concatenate(expected, axis=1))
    np.testing.assert_array_equal(
        read_audio(rest)[0], np.concatenate([block.remainder for block in blocks], axis=1)
    )
    with pytest.raises(AudioError):
        separate_file(song, out, preset_file, separator=SEPARATOR)


def test_separate_file_leaves_nothing_behind_when_it_fails(tmp_path):
    song = tmp_path / "song.wav"
    song.write_text("not audio")
    with pytest.raises(AudioError):
        separate_file(song, tmp_path / "out.wav", named("half"), separator=SEPARATOR)
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


@pytest.mark.parametrize("name", ["karaoke", "board", "stream"])
def test_the_examples_run(name, tmp_path, monkeypatch):
    example = Path(__file__).parents[1] / "bridge" / "examples" / f"{name}.py"
    song, result = tmp_path / "song.wav", tmp_path / "result.wav"
    write_audio(song, noise(2, 24_000), 48000)
    monkeypatch.setattr(sys, "argv", [str(example), str(song), str(result), *("--mode", "mix")])
    runpy.run_path(str(example), run_name="__main__")
    heard, rate = read_audio(result)
    assert (heard.shape, rate) == ((2, 24_000), 48000) and np.isfinite(heard).all()
