"""How late a stage is: the arithmetic of blocks, and the adapter that makes delay constant.

A push-style stage that has taken `n` samples in all has returned `ready(n)`. That one
integer function is all the timing there is; stages in series compose, and the least
constant delay with which a host block can always be answered in full is

    latency = max over all n that can occur of  n - ready(n).

Every `ready` here moves on by `cycle[1]` when `n` does by `cycle[0]`, so the maximum over
one common cycle is exact: no rule of thumb, no margin. For a stage that works in blocks of
`m` it gives the two known results (they are tests):

    host blocks of any, changing size   m - 1
    host blocks always of size io       m - gcd(io, m)

    m = 4, io = 3:   in   3   6   9  12        n - ready(n):  3  2  1  0
                  ready   0   4   8  12        latency 3 = 4 - gcd(3, 4)

The second holds where steps are counted from the first sample of a block. The chain counts
them from the first sound, which may come anywhere in a block, so it always takes the first.

`FixedLatency` then turns push-style into "as many samples out as in, so much later".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

_LONGEST_SEARCH = 1 << 20
"""Cycles longer than this (rates like 44,101 Hz against 1,024 steps) take the bound."""


class Timing(Protocol):
    """The timing of one push-style stage."""

    @property
    def cycle(self) -> tuple[int, int]:
        """`ready(n + cycle[0]) == ready(n) + cycle[1]` for every n."""
        ...

    def ready(self, pushed: np.ndarray) -> np.ndarray:
        """How many samples are out after `pushed` are in (int64, any shape). Negative where
        the stage still waits for its first sample: who counts real samples clamps at 0."""
        ...


@dataclass(frozen=True)
class BlockTiming:
    """A stage that works in blocks of `step_samples` and returns them `lookahead_samples` late."""

    step_samples: int
    lookahead_samples: int = 0

    @property
    def cycle(self) -> tuple[int, int]:
        return self.step_samples, self.step_samples

    def ready(self, pushed: np.ndarray) -> np.ndarray:
        return pushed // self.step_samples * self.step_samples - self.lookahead_samples


def ready_after(stages: Sequence[Timing], pushed: np.ndarray) -> np.ndarray:
    """Samples out of the last stage after `pushed` into the first (int64, not clamped)."""
    for stage in stages:
        pushed = stage.ready(pushed)
    return pushed


def latency_samples(stages: Sequence[Timing], block_samples: int | None = None) -> int:
    """The least constant delay of stages in series, in samples at the input's rate.

    The stages together must return as many samples as they take (rates cancel out).

    Args:
        block_samples: the size of every host block, or None if sizes change.

    Raises:
        ValueError: if the rates of the stages do not cancel out.
    """
    into, out = 1, 1
    for stage in stages:
        stage_in, stage_out = stage.cycle
        common = math.lcm(out, stage_in)
        into, out = into * (common // out), common // stage_in * stage_out
    if into != out:
        raise ValueError(f"the stages return {out} samples for {into}: their rates do not cancel")
    block = 1 if block_samples is None else block_samples
    steps = into // math.gcd(into, block)
    if steps > _LONGEST_SEARCH:
        return _latency_bound(stages)
    pushed = np.arange(steps, dtype=np.int64) * block
    return max(0, int((pushed - ready_after(stages, pushed)).max()))


def _latency_bound(stages: Sequence[Timing]) -> int:
    """A delay that always suffices: each stage is late by its own worst case, summed.

    With `r` the rate of a stage, `ready(n) >= n * r - c` where `c` is the worst case over
    its own cycle; behind it, `c` counts at the rates of all later stages.
    """
    late = Fraction(0)
    for stage in stages:
        stage_in, stage_out = stage.cycle
        pushed = np.arange(stage_in, dtype=np.int64)
        # n * r - ready(n), times stage_in, to stay among whole numbers.
        worst = int((pushed * stage_out - stage.ready(pushed) * stage_in).max())
        late = late * Fraction(stage_out, stage_in) + Fraction(worst, stage_in)
    return max(0, math.floor(late))  # a whole number of samples that is at most `late`


class SampleQueue:
    """First in, first out, along the last axis. Adds no delay; memory is what it holds.

    Appending keeps a reference where it can and copies nothing: the array must not be
    changed afterwards by who appended it.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape` is all but the last axis, for example `(channels,)`."""
        self.shape = shape
        self.clear()

    def clear(self) -> None:
        self._pieces: deque[np.ndarray] = deque()
        self._first = 0  # read position within the first piece
        self.samples = 0

    def append(self, piece: np.ndarray) -> None:
        """Add float32 `(*shape, samples)` at the end."""
        if piece.shape[:-1] != self.shape:
            raise ValueError(f"a piece of shape {piece.shape} in a queue of {self.shape}")
        if piece.shape[-1]:
            self._pieces.append(piece)
            self.samples += piece.shape[-1]

    def take(self, samples: int) -> np.ndarray:
        """Remove and return the oldest `samples` as a new array; all must be there."""
        if samples > self.samples:
            raise ValueError(f"{samples} samples wanted, {self.samples} there")
        taken = np.empty((*self.shape, samples), dtype=np.float32)
        done = 0
        while done < samples:
            piece = self._pieces[0]
            count = min(samples - done, piece.shape[-1] - self._first)
            taken[..., done : done + count] = piece[..., self._first : self._first + count]
            done += count
            self._first += count
            if self._first == piece.shape[-1]:
                self._pieces.popleft()
                self._first = 0
        self.samples -= samples
        return taken


class FixedLatency:
    """Makes a push-style stage answer every block in full, late by exactly `latency_samples`.

    The first `latency_samples` out are zeros (they stand for the time before the input
    began). If the stage ever returns less than its timing promised, that is an error and
    never a gap.
    """

    def __init__(
        self,
        push: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        latency_samples: int,
    ) -> None:
        """`push` takes `(channels, samples)` and returns `(*shape, ready)`."""
        self.latency_samples = latency_samples
        self._push = push
        self._queue = SampleQueue(shape)
        self.reset()

    def reset(self) -> None:
        """Forget what waits; the stage itself is the caller's to reset."""
        self._queue.clear()
        self._queue.append(np.zeros((*self._queue.shape, self.latency_samples), np.float32))

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take `(channels, samples)`, return `(*shape, samples)` of `latency_samples` ago."""
        self._queue.append(self._push(block))
        return self._queue.take(block.shape[-1])
