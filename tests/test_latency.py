"""The arithmetic of delay against brute force: play every host block and see what is missing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.latency import BlockTiming, FixedLatency, SampleQueue, latency_samples
from stembridge.resample import Resampler


class Blocks:
    """An identity that works in whole blocks of `step` and is late by `lookahead`."""

    def __init__(self, step: int, lookahead: int = 0) -> None:
        self.step, self.lookahead = step, lookahead
        self.heard = np.zeros((1, 0), np.float32)
        self.returned = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        self.heard = np.concatenate((self.heard, block), axis=1)
        ready = max(0, self.heard.shape[1] // self.step * self.step - self.lookahead)
        out = self.heard[:, self.returned : ready]
        self.returned = ready
        return out


def worst_shortage(push, blocks) -> int:
    """Play the blocks: by how much did the output ever trail the input?"""
    pushed = returned = worst = 0
    for size in blocks:
        returned += push(np.zeros((1, size), np.float32)).shape[1]
        pushed += size
        worst = max(worst, pushed - returned)
    return worst


@pytest.mark.parametrize("model", [1, 2, 3, 4, 64, 65, 128, 480])
@pytest.mark.parametrize("host", [1, 2, 3, 64, 65, 100, 128, 480])
def test_fixed_host_blocks_need_model_minus_gcd(host, model):
    expected = model - math.gcd(host, model)
    assert latency_samples([BlockTiming(model)], host) == expected
    played = worst_shortage(Blocks(model).push, [host] * (2 * model + 1))
    assert played == expected


@pytest.mark.parametrize("model", [1, 2, 64, 65, 1024])
def test_changing_host_blocks_need_model_minus_one(model, random):
    assert latency_samples([BlockTiming(model)]) == model - 1
    assert worst_shortage(Blocks(model).push, [1] * (3 * model)) == model - 1
    sizes = random.integers(1, 300, 200)
    assert worst_shortage(Blocks(model).push, sizes) <= model - 1


@pytest.mark.parametrize(("model", "host"), [(4, 4), (6, 4), (128, 64), (480, 441)])
def test_steps_counted_from_within_a_block_need_model_minus_one(model, host):
    """Whatever the size of the blocks: so much the chain takes, whose steps begin at a sound."""
    worst = 0
    for first in range(host):
        pushed = np.arange(1, 3 * model) * host - first
        worst = max(worst, int((pushed - BlockTiming(model).ready(pushed)).max()))
    assert worst == model - 1 == latency_samples([BlockTiming(model)])


@given(
    step=st.integers(1, 90),
    lookahead=st.integers(0, 200),
    host=st.integers(1, 120),
)
def test_lookahead_adds_itself(step, lookahead, host):
    expected = lookahead + step - math.gcd(host, step)
    assert latency_samples([BlockTiming(step, lookahead)], host) == expected
    stage = Blocks(step, lookahead)
    assert worst_shortage(stage.push, [host] * (3 * step + 2 * lookahead + 2)) == expected


@given(
    first=st.integers(1, 40),
    second=st.integers(1, 40),
    lookahead=st.integers(0, 50),
    host=st.integers(1, 50),
)
def test_stages_in_series_against_playing_them(first, second, lookahead, host):
    timings = [BlockTiming(first), BlockTiming(second, lookahead)]
    one, two = Blocks(first), Blocks(second, lookahead)
    count = 3 * math.lcm(first, second) // math.gcd(host, math.lcm(first, second)) + lookahead + 2
    played = worst_shortage(lambda block: two.push(one.push(block)), [host] * count)
    assert latency_samples(timings, host) == played


@pytest.mark.parametrize(
    ("host_hz", "own_hz", "step", "lookahead", "block", "slack"),
    [
        (48000, 44100, 64, 100, None, 0),
        (48000, 44100, 64, 100, 512, 0),
        (44100, 48000, 480, 1440, 65, 0),
        (96000, 44100, 128, 0, 1000, 0),
        (8000, 44100, 1024, 10, 64, 0),
        # Too long a cycle for the exact search: the bound holds and is close.
        (44101, 44100, 1024, 10, None, 40),
    ],
)
def test_latency_with_resampling_against_playing_it(host_hz, own_hz, step, lookahead, block, slack):
    there, back = Resampler(host_hz, own_hz, 1), Resampler(own_hz, host_hz, 1)
    stage = Blocks(step, lookahead)

    def push(samples: np.ndarray) -> np.ndarray:
        return back.push(stage.push(there.push(samples)))

    latency = latency_samples([there.timing, BlockTiming(step, lookahead), back.timing], block)
    sizes = [block] * 700 if block else [7] * 3_000 if slack == 0 else [61] * 400
    played = worst_shortage(push, sizes)
    assert latency - slack <= played <= latency


def test_rates_that_do_not_cancel_are_an_error():
    with pytest.raises(ValueError, match="cancel"):
        latency_samples([Resampler(44100, 48000, 1).timing])


@given(
    step=st.integers(1, 64),
    lookahead=st.integers(0, 100),
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=30),
)
def test_fixed_latency_delays_by_exactly_that(step, lookahead, sizes):
    latency = latency_samples([BlockTiming(step, lookahead)])
    adapter = FixedLatency(Blocks(step, lookahead).push, (1,), latency)
    audio = np.arange(1, sum(sizes) + 1, dtype=np.float32)[np.newaxis]
    edges = np.cumsum([0, *sizes])
    out = [adapter.process(audio[:, a:b]) for a, b in itertools.pairwise(edges)]
    assert [o.shape[1] for o in out] == sizes
    delayed = np.concatenate((np.zeros((1, latency), np.float32), audio), axis=1)
    np.testing.assert_array_equal(np.concatenate(out, axis=1), delayed[:, : audio.shape[1]])


def test_a_broken_promise_is_an_error_and_never_a_gap():
    adapter = FixedLatency(Blocks(64).push, (1,), 10)
    with pytest.raises(ValueError, match="there"):
        adapter.process(np.ones((1, 20), np.float32))


def test_queue_gives_back_what_it_got(random):
    queue = SampleQueue((2,))
    audio = random.standard_normal((2, 1000)).astype(np.float32)
    for piece in np.split(audio, [3, 3, 500, 999], axis=1):
        queue.append(piece)
    taken = [queue.take(n) for n in (0, 1, 600, 399)]
    np.testing.assert_array_equal(np.concatenate(taken, axis=1), audio)
    assert queue.samples == 0
    with pytest.raises(ValueError, match="shape"):
        queue.append(np.zeros((1, 4), np.float32))
