"""Windows that slide: every sample comes out once, in time, whatever the cuts were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stembridge.errors import AudioError, PromptError
from stembridge.prompts import EncodedPrompt, Query
from stembridge.separators.segments import SegmentPlan, SegmentStream

QUERY = Query(keep=(EncodedPrompt("test", np.ones(1, np.float32)),))
PLANS = {
    "ours": SegmentPlan(100, 70, 10, 10),
    "wide": SegmentPlan(100, 20, 30, 30),
    "hard": SegmentPlan(64, 64, tail="fill"),
    "average": SegmentPlan(96, 48, tail="fill", join="average"),
    "linear": SegmentPlan(96, 64, tail="fill"),
    "context": SegmentPlan(50, 30, 10, 10, tail="short"),
    "single": SegmentPlan(1, 1),
}


class Recorder:
    """Gives each window back, plus `step` times the index of the run, and notes its place."""

    def __init__(self, step: float = 0.0, queries: int = 1) -> None:
        self.step = step
        self.queries = queries
        self.reset()

    def reset(self) -> None:
        self.windows: list[tuple[int, int]] = []

    def set_queries(self, queries: Sequence[Query]) -> None:
        self.queries = len(queries)

    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        out = window + np.float32(self.step * len(self.windows))
        self.windows.append((start_samples, window.shape[1]))
        return np.repeat(out[None], self.queries, axis=0)


def noise(samples: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((channels, samples)).astype(np.float32)


def run_through(plan: SegmentPlan, audio: np.ndarray, cuts: Sequence[int], step: float = 0.0):
    recorder = Recorder(step)
    stream = SegmentStream(plan, audio.shape[0], [QUERY], recorder)
    pieces, pushed, returned = [], 0, 0
    for chunk in np.split(audio, cuts, axis=1):
        out = stream.push(chunk)
        pushed += chunk.shape[1]
        returned += out.shape[2]
        steps = pushed // stream.step_samples * stream.step_samples
        assert returned == max(0, steps - stream.lookahead_samples)
        pieces.append(out)
    windows = list(recorder.windows)
    pieces.append(stream.flush())
    return np.concatenate(pieces, axis=2)[0], windows


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("samples", [0, 1, 63, 64, 65, 69, 70, 71, 96, 100, 128, 1000])
def test_windows_that_change_nothing_give_the_input_back(name: str, samples: int) -> None:
    audio = noise(samples)
    out, _ = run_through(PLANS[name], audio, [samples // 3, samples // 2])
    np.testing.assert_array_equal(out, audio)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list(PLANS)),
    samples=st.integers(1, 400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_cuts_change_neither_counts_nor_values(name: str, samples: int, cuts: list[int]) -> None:
    audio = noise(samples, 1)
    whole, _ = run_through(PLANS[name], audio, [], step=1.0)
    parts, _ = run_through(PLANS[name], audio, sorted(min(c, samples) for c in cuts), step=1.0)
    assert whole.shape == audio.shape
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("name", PLANS)
def test_each_sample_is_the_written_sum_of_its_windows(name: str) -> None:
    """An oracle that knows all windows at once, sample by sample."""
    plan, samples = PLANS[name], 330
    out, _ = run_through(plan, np.zeros((1, samples), np.float32), [], step=1.0)
    windows = [0]
    while windows[-1] + plan.window < samples:
        windows.append(windows[-1] + plan.hop)
    expected = np.zeros(samples)
    for sample in range(samples):
        value = 0.0
        for index in range(1, len(windows)):
            seam = index * plan.hop + plan.left
            if sample < seam:
                break
            gain = 1.0
            if sample < seam + plan.overlap:
                gain = 0.5 if plan.join == "average" else (sample - seam + 0.5) / plan.overlap
            value += gain * (index - value)
        expected[sample] = value
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_the_last_window_slides_back_and_a_short_clip_costs_one() -> None:
    for samples, expected in ((60, [(0, 60)]), (100, [(0, 100)]), (150, [(0, 100), (50, 100)])):
        recorder = Recorder()
        stream = SegmentStream(PLANS["ours"], 1, [QUERY], recorder)
        stream.feed(noise(samples, 1))
        seen: list[tuple[int, int]] = []
        run = recorder.run
        recorder.run = lambda w, s, run=run, seen=seen: (seen.append((s, w.shape[1])), run(w, s))[1]
        stream.flush()
        assert seen == expected


def test_memory_does_not_grow_with_the_length() -> None:
    stream = SegmentStream(PLANS["ours"], 2, [QUERY], Recorder())
    sizes = []
    for _ in range(200):
        stream.push(noise(37))
        sizes.append(stream._input.nbytes + stream._tail.nbytes)
    assert max(sizes[100:]) <= max(sizes[:100])
    assert max(sizes) < 2 * 4 * 4 * PLANS["ours"].window


def test_reset_forgets_and_flush_starts_anew() -> None:
    stream = SegmentStream(PLANS["ours"], 2, [QUERY], Recorder())
    stream.push(noise(333))
    stream.reset()
    audio = noise(150)
    first = np.concatenate([stream.push(audio), stream.flush()], axis=2)
    again = np.concatenate([stream.push(audio), stream.flush()], axis=2)
    np.testing.assert_array_equal(first[0], audio)
    np.testing.assert_array_equal(again, first)


def test_wrong_shapes_and_counts_are_refused() -> None:
    stream = SegmentStream(PLANS["ours"], 2, [QUERY], Recorder())
    with pytest.raises(AudioError, match="channels"):
        stream.push(noise(10, 1))
    with pytest.raises(PromptError, match="new stream"):
        stream.set_queries([QUERY, QUERY])
