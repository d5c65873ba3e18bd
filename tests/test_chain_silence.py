"""The silence before the first sound changes nothing: a bounce with pre-roll is the render.

The separator here works in windows, and its stems depend on where each window begins, so a
start of windows that moved by one sample would be seen. With it, and with the real ones, k
samples of silence and a song must give k samples of silence and the song's stems, bit for bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import IdentitySeparator
from server_harness import HALF, delayed, identity_server, in_blocks, in_time
from stembridge.audiofile import read_audio
from stembridge.chain import SeparationChain
from stembridge.effect import Separate
from stembridge.example import example_song
from stembridge.presets import EffectSpec, Preset, load_preset
from stembridge.prompts import Query
from stembridge.resample import resample
from stembridge.separators import Mode, SeparatorStream, load_separator
from stembridge.separators.segments import SegmentPlan, SegmentStream
from stembridge.server.plugin_end import PluginEnd

RATES = (44100, 48000, 96000)
EFFECTS = (EffectSpec("Chorus", {"rate_hz": 3.0, "mix": 0.7}), EffectSpec("Reverb", {}))
"""A sweep that would start elsewhere, and a tail."""


class _Ramps:
    """Stems that rise over each window."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self._count = len(queries)

    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        ramp = np.linspace(0.1, 0.9, window.shape[1], dtype=np.float32)
        return np.stack([window * ramp] * self._count)

    def set_queries(self, queries: Sequence[Query]) -> None:
        pass

    def reset(self) -> None:
        pass


class WindowSeparator(IdentitySeparator):
    """Windows of 700 samples every 300."""

    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> SeparatorStream:
        plan = SegmentPlan(window=700, hop=300, left=50, right=70)
        return SegmentStream(plan, self.channels, queries, _Ramps(queries))


def noise(channels: int, samples: int, seed: int = 1) -> np.ndarray:
    audio = np.random.default_rng(seed).standard_normal((channels, samples))
    return (0.1 * audio).astype(np.float32)


def after(silence: int, audio: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros((audio.shape[0], silence), np.float32), audio), axis=1)


def run(chain: SeparationChain, audio: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Target, remainder and what is heard, stacked."""
    parts: list[np.ndarray] = []
    start, turn = 0, 0
    while start <= audio.shape[1]:
        last = start == audio.shape[1]
        size = max(1, sizes[turn % len(sizes)])
        block = chain.flush() if last else chain.push(audio[:, start : start + size])
        parts.append(np.stack([block.target, block.remainder, chain.finish(block)]))
        start, turn = (start + 1 if last else min(start + size, audio.shape[1])), turn + 1
    return np.concatenate(parts, axis=-1)


@given(
    rate=st.sampled_from([8000, *RATES]),
    channels=st.integers(1, 3),
    silence=st.integers(0, 2500),
    later=st.integers(0, 900),
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=6),
    own_rate=st.sampled_from([44100, 16000]),
)
def test_silence_before_a_song_changes_no_sample(rate, channels, silence, later, sizes, own_rate):
    """On all channels: where one begins later than the others, all keep their one start."""
    preset = replace(HALF, mode=None, output="mix", remainder_gain_db=-9.0, effects=EFFECTS)
    audio = noise(channels, 3000)
    audio[0, 0] = 1e-30  # however quiet
    audio[1:, :later] = 0.0
    sep = WindowSeparator(own_rate)
    plain = run(SeparationChain(preset, rate, channels, separator=sep), audio, [3000])
    pushed = run(
        SeparationChain(preset, rate, channels, separator=sep), after(silence, audio), sizes
    )
    assert not pushed[..., :silence].any()
    np.testing.assert_array_equal(pushed[..., silence:], plain)


def test_the_start_of_the_windows_is_heard():
    """What the tests here rest on: silence that is not digital does move the windows."""
    sep = WindowSeparator()
    audio = noise(2, 3000)
    chain = SeparationChain(sep.query("half"), 44100, 2, separator=sep)
    plain = run(chain, audio, [512])
    dither = after(100, audio)
    dither[:, 0] = 1e-20
    assert np.abs(run(chain, dither, [512])[..., 100:] - plain).max() > 0.01


@given(
    rate=st.sampled_from(RATES),
    silence=st.integers(0, 1500),
    block=st.sampled_from([1, 64, 300, 441, 512]),
)
def test_the_reported_latency_is_enough_wherever_the_first_sound_comes(rate, silence, block):
    """In blocks of one size, too: `process` fails when a sample is not there in time."""
    sep = WindowSeparator()
    audio = after(silence, noise(2, 2500))
    chain = SeparationChain(sep.query("half"), rate, 2, separator=sep)
    late = np.concatenate(
        [chain.process(audio[:, at : at + block]) for at in range(0, audio.shape[1], block)], axis=1
    )
    aligned = run(SeparationChain(sep.query("half"), rate, 2, separator=sep), audio, [999])[2]
    assert not late[:, : chain.latency_samples].any()
    count = late.shape[1] - chain.latency_samples
    np.testing.assert_array_equal(late[:, chain.latency_samples :], aligned[:, : max(0, count)])


def test_only_silence_and_nothing_at_all():
    sep = WindowSeparator()
    chain = SeparationChain([sep.query("half"), sep.query("all")], 48000, 2, separator=sep)
    for samples in (0, 1, 5000):
        parts = [chain.push(np.zeros((2, samples), np.float32)), chain.flush()]
        assert [block.target.shape for block in parts] == [(2, 2, samples), (2, 2, 0)]
        assert not any(block.target.any() or block.remainder.any() for block in parts)


def test_a_swap_before_the_first_sound_holds_from_it_on():
    sep = WindowSeparator()
    audio = noise(2, 4000)
    results = []
    for silence in (5000, 6001):
        chain = SeparationChain(HALF, 44100, 2, separator=sep, mode="mix")
        blocks = [chain.push(np.zeros((2, silence), np.float32))]
        assert blocks[0].samples == silence, "silence is answered at once"
        chain.set_preset(replace(HALF, output="mix", target_gain_db=-6.0))
        blocks += [chain.push(np.zeros((2, 3000), np.float32)), chain.push(audio), chain.flush()]
        heard = np.concatenate([chain.finish(block) for block in blocks], axis=1)
        results.append(heard[:, silence + 3000 :])
    np.testing.assert_array_equal(*results)


# --- the real separators ------------------------------------------------------------------


@pytest.fixture(scope="module")
def song() -> tuple[np.ndarray, int]:
    audio, rate = read_audio(example_song())
    return np.ascontiguousarray(audio[:, 4 * rate : 5 * rate]), rate


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("mode", ["live", "mix", "render"])
def test_the_unet_hears_no_silence_before_the_song(song, mode: Mode, rate: int) -> None:
    audio = song[0] if rate == song[1] else resample(song[0], song[1], rate)
    chain = SeparationChain(load_preset("vocals"), rate, 2, mode=mode)
    plain = run(chain, audio, [8192])
    assert np.abs(plain[0]).max() > 0.01
    for silence, sizes in ((1, [512]), (777, [64, 8192, 1]), (rate // 3, [5000])):
        pushed = run(chain, after(silence, audio), sizes)
        assert not pushed[..., :silence].any()
        np.testing.assert_array_equal(pushed[..., silence:], plain)


@pytest.mark.parametrize("seconds", [1.0, 2.9, 4.4])
@pytest.mark.parametrize("mode", ["live", "mix", "render"])
@pytest.mark.parametrize("name", ["vocals", "bass"])
def test_the_unet_ends_a_file_as_a_host_that_plays_on(
    name: str, mode: Mode, seconds: float
) -> None:
    """The last seconds of a bounce, too, are those of the file."""
    audio, rate = read_audio(example_song())
    audio = np.ascontiguousarray(audio[:, 3 * rate : 3 * rate + int(seconds * rate)])
    chain = SeparationChain(load_preset(name), rate, 2, mode=mode)
    ended = run(chain, audio, [8192])
    silence = np.zeros((2, chain.latency_samples), np.float32)
    onward = chain.push(np.concatenate((audio, silence), axis=1)).target[:, : audio.shape[1]]
    assert np.abs(onward).max() > 0.01
    assert np.abs(onward - ended[0]).max() <= 1e-6


def test_long_silence_inside_a_song_is_the_same_in_any_cut() -> None:
    """Render rests in it and begins again; neither the cuts nor what follows matter."""
    audio, rate = read_audio(example_song())
    parts = [audio[:, :rate], np.zeros((2, 9 * rate), np.float32), audio[:, 5 * rate : 6 * rate]]
    whole = np.ascontiguousarray(np.concatenate(parts, axis=1))
    chain = SeparationChain(load_preset("vocals"), rate, 2, mode="render")
    one, other = run(chain, whole, [whole.shape[1]]), run(chain, whole, [70_000, 3333])
    assert np.abs(one - other).max() <= 1e-6
    alone = run(chain, np.ascontiguousarray(audio[:, :rate]), [8192])
    assert np.abs(one[..., :rate] - alone).max() <= 1e-6


@pytest.mark.parametrize("rate", RATES)
def test_the_speech_separator_hears_no_silence_before_the_song(song, rate: int) -> None:
    if load_preset("dialogue").separator != "speech":
        pytest.skip("the preset uses another separator")
    try:
        load_separator("speech")
    except Exception as error:
        pytest.skip(str(error))
    audio = song[0][:, : rate // 2]
    chain = SeparationChain(load_preset("dialogue"), rate, 2)
    plain = run(chain, audio, [8192])
    for silence in (1, 479, 10_000):
        pushed = run(chain, after(silence, audio), [700])
        np.testing.assert_array_equal(pushed[..., silence:], plain)


# --- the faces ------------------------------------------------------------------------------


def test_the_effect_streams_and_renders_alike_after_silence() -> None:
    audio = noise(2, 4000)
    effect = Separate(HALF, separator=WindowSeparator())
    plain = effect(audio, 48000)
    np.testing.assert_array_equal(effect(after(1234, audio), 48000), after(1234, plain))
    pieces = [
        effect(piece, 48000, reset=False) for piece in np.array_split(after(55, audio), 7, axis=1)
    ]
    streamed = np.concatenate([*pieces, effect.flush()], axis=1)
    np.testing.assert_array_equal(streamed, after(55, plain))


def _server_factory(preset: Preset, rate: float, channels: int, mode: Any) -> SeparationChain:
    return SeparationChain(preset, rate, channels, mode=mode, separator=WindowSeparator())


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("effects", [(), EFFECTS], ids=["plain", "effects"])
def test_a_bounce_with_pre_roll_is_the_render_of_the_file(
    tmp_path: Path, rate: int, effects: tuple[EffectSpec, ...]
) -> None:
    preset = replace(HALF, effects=effects)
    audio = noise(2, rate // 2)
    latency = rate // 4
    tail = np.zeros((2, latency), np.float32)  # a host plays on, so the file does here too
    whole = np.concatenate((audio, tail), axis=1)
    rendered = run(_server_factory(preset, rate, 2, "mix"), whole, [4096])[2, :, : rate // 2]
    with (
        identity_server(tmp_path, make_chain=_server_factory),
        PluginEnd(preset, rate, latency_samples=latency, folder=tmp_path) as plugin,
    ):
        plugin.wait_connected()
        for silence, sizes in ((0, [512]), (1, [512]), (4800, [64, 333]), (rate // 2 + 7, [8192])):
            fed = after(silence, whole)
            heard = in_blocks(lambda b: plugin.process(b, offline=True), fed, sizes)
            bounced = heard[:, latency:]
            assert not bounced[:, :silence].any()
            # The plugin mixes dry and wet with gains of its own, which rounds once more.
            assert np.abs(bounced[:, silence:] - rendered).max() <= 1e-6
            plugin.reset()


def test_in_real_time_the_latency_of_the_server_bears_a_late_start(tmp_path: Path) -> None:
    """Nothing is missed wherever the first sound comes, with the latency that it reports."""
    rate = 48000
    with identity_server(tmp_path, make_chain=_server_factory) as server:
        with PluginEnd(
            HALF, rate, max_block_samples=512, latency_samples=1, folder=tmp_path
        ) as end:
            end.wait_connected()
            needed = next(iter(server.sessions.values())).latency.latency_samples
        with PluginEnd(
            HALF, rate, max_block_samples=512, latency_samples=needed, folder=tmp_path
        ) as end:
            end.wait_connected()
            audio = noise(2, rate // 2)
            rendered = run(_server_factory(HALF, rate, 2, "mix"), audio, [4096])[2]
            for silence in (0, 100, 511, 30_001):
                fed = after(silence, audio)
                missed = end.status["missed_samples"]
                heard = in_blocks(in_time(server, end.process), fed, itertools.repeat(512))
                assert end.status["missed_samples"] == missed
                expected = delayed(after(silence, rendered), needed)
                wet = slice(needed + 1024, None)
                assert np.abs(heard - expected)[:, wet].max() <= 1e-6
                end.reset()
