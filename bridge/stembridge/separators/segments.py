"""The stream of separators that work on whole segments: windows that slide and cross-fade.

Latency: `plan.lookahead_samples` behind the newest finished hop.

Window `k` covers `window` samples from `k * hop` on. Of its output the outer `left` and
`right` samples are context and are dropped (but at the ends of the input); what is left
overlaps the neighbours by `overlap` samples, where they are joined:

    window k      |left|fade|------- kept -------|fade|right|
    window k + 1                            |left|fade|------- kept -------|fade|right|

At the end the last window slides back to stay whole (ours), is filled with zeros, or runs
short (the authors' ways). Positions depend on sample counts alone, so cuts never change
values, and a clip of one window's length costs one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ..errors import AudioError, PromptError
from ..prompts import Query
from .base import SeparatorStream
from .heap import Hold


@dataclass(frozen=True)
class SegmentPlan:
    """Where windows lie and how they are joined; all sizes in samples."""

    window: int
    hop: int
    left: int = 0
    right: int = 0
    tail: Literal["slide", "fill", "short"] = "slide"
    """The last window slides back, is filled with zeros, or runs short."""
    join: Literal["fade", "average"] = "fade"

    def __post_init__(self) -> None:
        if self.hop < 1 or min(self.left, self.right, self.overlap) < 0:
            raise ValueError(f"windows of {self} do not cover the time axis")

    @property
    def overlap(self) -> int:
        """Samples in which the kept parts of neighbouring windows are joined."""
        return self.window - self.hop - self.left - self.right

    @property
    def waits(self) -> int:
        """How many hops must be finished after a window's first before it is complete."""
        return -(-self.window // self.hop) - 1

    @property
    def lookahead_samples(self) -> int:
        """How far the stems lie behind the newest finished hop."""
        return self.waits * self.hop

    def gains(self) -> np.ndarray:
        """The weight of the later window over the overlap, `(overlap,)` float32."""
        if self.join == "average":
            return np.full(self.overlap, 0.5, dtype=np.float32)
        return ((np.arange(self.overlap) + 0.5) / max(1, self.overlap)).astype(np.float32)


class SegmentRunner(Protocol):
    """What turns one window into stems. Called in order; may keep what it needs to agree
    with the window before."""

    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        """Float32 `(channels, samples)` to stems `(queries, channels, samples)`."""
        ...

    def set_queries(self, queries: Sequence[Query]) -> None:
        """Use other queries from the next window on."""
        ...

    def reset(self) -> None:
        """Forget the windows before."""
        ...


class SegmentStream(SeparatorStream):
    """Runs a `SegmentRunner` along the input in bounded memory: about three windows."""

    def __init__(
        self, plan: SegmentPlan, channels: int, queries: Sequence[Query], runner: SegmentRunner
    ) -> None:
        self.plan = plan
        self.step_samples = plan.hop
        self.lookahead_samples = plan.lookahead_samples
        self.memory_samples = plan.window
        self._channels = channels
        self._count = len(queries)
        self._runner = runner
        self._gains = plan.gains()
        self._memory = Hold()
        self.reset()

    def reset(self) -> None:
        self._input = np.zeros((self._channels, 0), dtype=np.float32)
        self._input_start = 0
        self._pushed = 0
        self._next = 0  # index of the next window
        self._released = 0
        self._tail = self._nothing()  # output after `_released`, still open to the next window
        self._ready: list[np.ndarray] = []
        self._runner.reset()
        self._memory.release()

    def set_queries(self, queries: Sequence[Query]) -> None:
        if len(queries) != self._count:
            raise PromptError(
                f"This stream separates {self._count} targets, not {len(queries)}. "
                "Start a new stream for another number."
            )
        self._runner.set_queries(queries)

    def push(self, chunk: np.ndarray) -> np.ndarray:
        self.feed(chunk)
        self.advance()
        return self.take()

    def feed(self, chunk: np.ndarray) -> None:
        """Buffer float32 `(channels, samples)` without running the network."""
        chunk = np.asarray(chunk, dtype=np.float32)
        if chunk.ndim != 2 or chunk.shape[0] != self._channels:
            raise AudioError(
                f"Audio of shape {chunk.shape} does not fit a stream of {self._channels} "
                "channels. Give (channels, samples)."
            )
        self._input = np.concatenate([self._input, chunk], axis=1)
        self._pushed += chunk.shape[1]

    @property
    def due(self) -> int:
        """Windows whose samples are all there."""
        complete = self._pushed // self.plan.hop - self.plan.waits
        return max(0, complete - self._next)

    def advance(self) -> None:
        """Run every due window."""
        while self.due:
            start = self._next * self.plan.hop
            self._run(start, start + self.plan.window)

    def take(self) -> np.ndarray:
        """The stems that became ready since the last call."""
        ready = np.concatenate([self._nothing(), *self._ready], axis=2)
        self._ready = []
        return ready

    def flush(self) -> np.ndarray:
        self.advance()
        plan, total = self.plan, self._pushed
        while self._released + self._tail.shape[2] < total:
            start = self._next * plan.hop
            if start + plan.window > total and plan.tail == "slide":
                start = total - plan.window
            self._run(max(0, start), min(start + plan.window, total))
        self._release(total)
        rest = self.take()
        self.reset()
        return rest

    def _nothing(self) -> np.ndarray:
        return np.zeros((self._count, self._channels, 0), dtype=np.float32)

    def _run(self, start: int, stop: int) -> None:
        """Run the window from `start` to `stop`, join it to the tail, release what is final."""
        plan = self.plan
        window = self._input[:, start - self._input_start : stop - self._input_start].copy()
        missing = plan.window - window.shape[1]
        if plan.tail == "fill" and missing > 0:
            window = np.pad(window, ((0, 0), (0, missing)))
        self._memory.take()
        stems = self._runner.run(window, start)[..., : stop - start]
        self._join(stems[..., self._released - start :], self._next * plan.hop + plan.left)
        self._next += 1
        self._input = self._input[:, start - self._input_start :]  # a last window may reach back
        self._input_start = start
        self._release(min(self._next * plan.hop, stop))

    def _join(self, stems: np.ndarray, seam: int) -> None:
        """Replace the tail by `stems`, both from `_released` on, cross-faded from `seam` on."""
        old = self._tail
        self._tail = np.array(stems)
        if old.shape[2] == 0:
            return
        before = max(0, seam - self._released)  # still the old window's
        after = max(0, self._released - seam)  # the part of the fade before the first sample
        gains = self._gains[after:]
        n = max(0, min(len(gains), old.shape[2] - before, stems.shape[2] - before))
        fade = slice(before, before + n)
        # Written so that equal windows join to the same samples, bit for bit.
        self._tail[..., fade] = old[..., fade] + gains[:n] * (stems[..., fade] - old[..., fade])
        self._tail[..., :before] = old[..., :before]

    def _release(self, until: int) -> None:
        n = until - self._released
        if n > 0:
            self._ready.append(self._tail[..., :n].copy())
            self._tail = self._tail[..., n:]
            self._released = until
