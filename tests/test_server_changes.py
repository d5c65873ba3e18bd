"""Other chains while audio plays: modes and presets that change leave no gap and no click.

The oracle is arithmetic: where both presets keep the same share, what is heard is that share
of the delayed input from the first sample to the last, whatever changed in between; where
they differ, the step from sample to sample is that of a cross-fade.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from identity import IdentitySeparator
from server_harness import ALL, HALF, delayed, identity_server, in_blocks, in_time, noise
from stembridge.chain import SeparationChain
from stembridge.presets import EffectSpec, dumps
from stembridge.server import Server
from stembridge.server.handover import Handover, fade_over
from stembridge.server.plugin_end import PluginEnd

RATE = 48000
LATENCY = 30000
FADE_SAMPLES = RATE // 200
QUIET = replace(HALF, name="quiet", effects=(EffectSpec("Gain", {"gain_db": -6.0206}),))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with identity_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("block", [64, 480, 4096])
def test_another_mode_is_heard_without_a_gap(
    server: Server, tmp_path: Path, block: int, offline: bool
) -> None:
    audio = noise(5 * RATE)
    with PluginEnd(
        HALF, RATE, max_block_samples=4096, latency_samples=LATENCY, folder=tmp_path
    ) as plugin:
        plugin.wait_connected()
        if offline:
            process = lambda b: plugin.process(b, offline=True)  # noqa: E731
        else:
            process = in_time(server, plugin.process)
        heard = []
        for turn, mode in enumerate(("mix", "live", "render", "mix", "live")):
            if turn:
                plugin.request("mode/set", mode)
            piece = audio[:, turn * RATE : (turn + 1) * RATE]
            heard.append(in_blocks(process, piece, [block]))
        status = plugin.status
    assert np.abs(np.concatenate(heard, axis=1) - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6
    assert status["missed_samples"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_presets_and_modes_change_by_fades(server: Server, tmp_path: Path, seed: int) -> None:
    """Any order of presets with and without effects in any mode, at moments of any distance."""
    dice = random.Random(seed)
    tone = 0.5 * np.cos(2 * np.pi * 40 * np.arange(6 * RATE) / RATE)
    audio = np.stack([tone, tone]).astype(np.float32)
    with PluginEnd(
        HALF, RATE, max_block_samples=480, latency_samples=LATENCY, folder=tmp_path
    ) as plugin:
        plugin.wait_connected()
        process = in_time(server, plugin.process)
        heard, at = [in_blocks(process, audio[:, :RATE], [480])], RATE
        while at < audio.shape[1]:
            preset = replace(
                dice.choice((ALL, HALF, QUIET)), mode=dice.choice(("live", "mix", "render"))
            )
            plugin.request("preset/set", dumps(preset))
            size = dice.choice((480, 960, 4800, 24000))
            heard.append(in_blocks(process, audio[:, at : at + size], [480]))
            at += size
    out = np.concatenate(heard, axis=1)[:, LATENCY:]
    slope = 0.5 * 2 * np.pi * 40 / RATE
    assert np.abs(np.diff(out)).max() <= slope + 2 * 0.5 / FADE_SAMPLES
    share = out / np.where(np.abs(out) > 0, audio[:, : out.shape[1]], 1)
    loud = np.abs(audio[:, : out.shape[1]]) > 0.1
    assert share[loud].min() > 0.25 - 1e-3 and share[loud].max() < 1 + 1e-3


@pytest.mark.parametrize("block", [1, 100, 239, 240, 241, 5000])
@pytest.mark.parametrize(("step", "lookahead"), [(1, 0), (256, 512), (1024, 100)])
def test_the_old_chain_says_all_it_knows(block: int, step: int, lookahead: int) -> None:
    """What it owes ends where the change was, the tail is as long as the fade."""
    separator = IdentitySeparator(RATE, 2, step, lookahead)
    chain = SeparationChain(HALF, RATE, 2, mode="live", separator=separator)
    audio = noise(10000)
    before = chain.push(audio[:, :5000])
    handover = Handover(chain, with_effects=False, at_samples=5000, fade_samples=240)
    at = 5000
    while not handover.complete:
        handover.feed(audio[:, at : at + block])
        at += block
    owed, tail = handover.finish()
    assert owed.start_samples == before.samples and owed.start_samples + owed.samples == 5000
    assert (tail.start_samples, tail.samples) == (5000, 240)
    played = np.concatenate([before.target, owed.target, tail.target], axis=1)
    np.testing.assert_allclose(played, 0.5 * audio[:, :5240], atol=1e-6)


def test_a_fade_is_the_same_however_it_is_cut() -> None:
    tail, audio = noise(100, seed=1), noise(300, seed=2)
    whole = fade_over(tail, 50, audio, 50)
    for size in (1, 7, 99, 100, 101, 300):
        pieces = [
            fade_over(tail, 50, audio[:, at : at + size], 50 + at) for at in range(0, 300, size)
        ]
        assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    assert np.array_equal(whole[:, 100:], audio[:, 100:])
    middle = 0.5 * (tail[:, 50] + audio[:, 50])
    np.testing.assert_allclose(whole[:, 50], middle, atol=0.01)
