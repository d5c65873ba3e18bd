"""What comes back through the link is what the offline chain gives, to the sample.

Rendering offline the plugin end waits for every sample, so the whole way (ring, scheduler,
chain, ring, mixing) can be compared exactly, at any rate and in any blocks.
"""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server_harness import (
    HALF,
    delayed,
    eventually,
    identity_factory,
    identity_server,
    in_blocks,
    in_time,
    noise,
)
from stembridge.audiofile import read_audio
from stembridge.example import example_song
from stembridge.presets import EffectSpec, Preset, load_preset
from stembridge.separators import Mode
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.session import build_chain

RATES = (44100, 48000, 96000)


def _changing() -> itertools.cycle:
    dice = random.Random(3)
    return itertools.cycle([dice.choice((1, 7, 64, 1000, 8192)) for _ in range(50)])


PATTERNS = {
    "64": [64],
    "512": [512],
    "8192": [8192],
    "odd": [65, 1, 333, 8192, 2],
    "changing": None,
}


def offline(preset: Preset, rate: int, audio: np.ndarray, **settings: int) -> np.ndarray:
    """What the command line would write: the output as heard, aligned."""
    make = identity_factory(**settings)
    chain = make(preset, rate, audio.shape[0], preset.mode)
    pieces = [chain.finish(chain.push(audio)), chain.finish(chain.flush())]
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("rate", RATES)
def test_link_equals_offline_chain(tmp_path: Path, rate: int, pattern: str) -> None:
    audio = noise(rate, seed=rate)
    make = identity_factory(sample_rate=44100)
    with (
        identity_server(tmp_path, make_chain=make),
        PluginEnd(HALF, rate, latency_samples=rate // 2, folder=tmp_path) as plugin,
    ):
        plugin.wait_connected()
        sizes = PATTERNS[pattern] or _changing()
        heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, sizes)
        assert plugin.status["timeouts"] == 0
    expected = delayed(offline(HALF, rate, audio, sample_rate=44100), rate // 2)
    assert np.abs(heard - expected).max() <= 1e-5


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_target_and_remainder_are_the_input(tmp_path: Path, channels: int) -> None:
    """At equal gains the mix is the delayed input itself."""
    audio = noise(48000, channels)
    with (
        identity_server(tmp_path),
        PluginEnd(HALF, 48000, channels, latency_samples=9000, folder=tmp_path) as plugin,
    ):
        plugin.wait_connected()
        plugin.set_gains(1.0, 1.0)
        in_blocks(lambda b: plugin.process(b, offline=True), audio[:, :4096], [512])
        plugin.reset()
        heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [512])
    assert np.abs(heard - delayed(audio, 9000)).max() <= 1e-6


def test_preset_with_effects_is_heard_through_them(tmp_path: Path) -> None:
    effects = (EffectSpec("HighpassFilter", {"cutoff_frequency_hz": 500.0}),)
    preset = replace(HALF, output="mix", remainder_gain_db=-12.0, effects=effects)
    audio = noise(48000)
    with (
        identity_server(tmp_path),
        PluginEnd(preset, 48000, latency_samples=9000, folder=tmp_path) as plugin,
    ):
        plugin.wait_connected()
        heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [480])
    expected = delayed(offline(preset, 48000, audio), 9000)
    assert np.abs(heard - expected).max() <= 1e-5
    assert np.abs(expected).max() > 0.1


def test_latency_asked_of_the_server_is_enough(tmp_path: Path) -> None:
    """Never waiting, with the latency that the server itself reports, nothing is missed."""
    with identity_server(tmp_path) as server:
        plugin = PluginEnd(
            HALF, 48000, max_block_samples=512, latency_samples=1, folder=tmp_path, id="a1"
        )
        with plugin:
            plugin.wait_connected()
            keys = plugin.request("status/get")
            status = dict(zip(keys[::2], keys[1::2], strict=True))
            needed = status["latency_samples"]
            parts = [
                v for k, v in status.items() if k.startswith("latency_") and k != "latency_samples"
            ]
            assert needed == sum(parts)
            plugin.process(noise(64))
            assert eventually(lambda: plugin.status["needed_latency_samples"] == needed)
        with PluginEnd(
            HALF, 48000, max_block_samples=512, latency_samples=needed, folder=tmp_path
        ) as plugin:
            plugin.wait_connected()
            audio = noise(48000)
            heard = in_blocks(in_time(server, plugin.process), audio, [512, 64, 333])
            assert plugin.status["missed_samples"] == 0
            expected = 0.5 * delayed(audio, needed)
            tail = slice(needed + 1024, None)
            assert np.abs(heard[:, tail] - expected[:, tail]).max() <= 1e-6


@pytest.mark.parametrize("mode", ["live", "mix"])
def test_the_real_separator_through_the_link(tmp_path: Path, mode: Mode) -> None:
    """Two sessions in common network calls, each equal to its own offline chain."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    song, rate = read_audio(example_song())
    pieces = [song[:, s * rate : (s + 1) * rate].copy() for s in (4, 9)]
    presets = [replace(load_preset(name), mode=mode) for name in ("vocals", "drums")]
    heard: dict[int, np.ndarray] = {}

    def play(i: int) -> None:
        with PluginEnd(presets[i], rate, latency_samples=rate, folder=tmp_path) as plugin:
            plugin.wait_connected(60)
            heard[i] = in_blocks(lambda b: plugin.process(b, offline=True), pieces[i], [512])

    with identity_server(tmp_path, make_chain=build_chain) as server:
        threads = [threading.Thread(target=play, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.engine.load.read()[0] > 0
    for i in (0, 1):
        chain = build_chain(presets[i], rate, 2, mode)
        target = np.concatenate([chain.push(pieces[i]).target, chain.flush().target], axis=1)
        assert np.abs(target).max() > 0.01
        assert np.abs(heard[i] - delayed(target, rate)).max() <= 1e-5
    torch.set_num_threads(threads_before)
