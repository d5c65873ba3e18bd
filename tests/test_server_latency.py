"""The reported latency against a brute-force simulation of host, plugin and server.

The simulation knows nothing of the formula. It plays blocks, lets each step be worked out
as late as the mode allows, and finds the least delay at which nothing is ever missed.
"""

from __future__ import annotations

import itertools
import random

import pytest

from identity import IdentitySeparator
from server_harness import HALF
from stembridge.chain import SeparationChain
from stembridge.server import budget
from stembridge.server.budget import COMPUTE_SECONDS, LatencyParts, latency_of

RATE = 1000  # one sample is one millisecond: small numbers, quick to search


def least_latency(
    blocks: list[int], step: int, lookahead: int, compute: int, fade: int, sound: int = 0
) -> int:
    """The least delay, in samples, at which every sample of every block is there in time.

    A callback happens at the end of its block. What it wrote is worked out `compute` samples
    of time later at the worst, and then whole steps of it, less the look-ahead, can be read.
    Steps are counted from the first `sound`.
    """
    ends = list(itertools.accumulate(blocks))
    least = 0
    for now in ends:
        usable = max((end for end in ends if end < now and end + compute <= now), default=0)
        finished = max(0, sound + (usable - sound) // step * step - lookahead)
        if usable >= 2 * (step + lookahead):  # the start, where all is silence, is no rule
            least = max(least, now - finished + fade)
    return least


def reported(step: int, lookahead: int, largest: int, fade: int) -> LatencyParts:
    separator = IdentitySeparator(RATE, 2, step, lookahead)
    chain = SeparationChain(HALF, RATE, 2, mode="live", separator=separator)
    return latency_of(chain, largest, fade_samples=fade)


@pytest.mark.parametrize("compute", [0, 3, 7])
@pytest.mark.parametrize(("step", "lookahead"), [(1, 0), (6, 0), (6, 10), (7, 3)])
@pytest.mark.parametrize("largest", [1, 4, 5])
def test_varying_blocks(
    monkeypatch: pytest.MonkeyPatch, step: int, lookahead: int, largest: int, compute: int
) -> None:
    """Enough for every sequence of blocks, and not more than the worst one needs."""
    monkeypatch.setitem(COMPUTE_SECONDS, "live", compute / RATE)
    latency = reported(step, lookahead, largest, 2).latency_samples
    dice = random.Random(step * 100 + largest)
    worst = 0
    for _ in range(150):
        blocks = [dice.choice((1, largest, dice.randint(1, largest))) for _ in range(80)]
        worst = max(worst, least_latency(blocks, step, lookahead, compute, 2))
    assert worst <= latency
    assert latency - worst <= 1  # one block there and back, counted whole


@pytest.mark.parametrize("block", [1, 2, 3, 4, 6, 8, 12, 13])
@pytest.mark.parametrize(("step", "lookahead"), [(6, 0), (8, 11), (12, 4)])
def test_fixed_blocks(
    monkeypatch: pytest.MonkeyPatch, step: int, lookahead: int, block: int
) -> None:
    monkeypatch.setitem(COMPUTE_SECONDS, "live", 0.0)
    """The first sound may come anywhere in a block: that is what the latency must bear."""
    parts = reported(step, lookahead, block, 2)
    worst = max(
        least_latency([block] * 400, step, lookahead, 0, 2, sound) for sound in range(block)
    )
    assert parts.adaptation_samples == step - 1
    assert parts.latency_samples == worst


def test_parts_add_up_and_do_not_depend_on_load() -> None:
    first = reported(64, 100, 512, 5)
    assert first == reported(64, 100, 512, 5)
    total, *parts = first.values
    assert total == sum(parts) == first.latency_samples
    assert first.adaptation_samples == 63
    assert first.separator_samples == 100
    assert first.fade_samples == 5
    assert first.deadline_samples == 512 + budget.deadline_samples("live", RATE, 0)
