"""Finished audio on its way to the plugin: lanes, room in the ring, and what came too late.

A preset without effects sends its target alone (share 0) and the plugin mixes, with its own
gains, at once. A preset with effects sends what is heard as well (share 1). Where the one
follows the other the share lane ramps over the plugin's cross-fade; where one chain follows
another, its first samples fade in over the tail of the old. What finds no room in the ring
waits here; positions are those of the input, so order is all that matters.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .handover import fade_over

if TYPE_CHECKING:
    from .._native import ServerLink
    from ..chain import ChainBlock, SeparationChain


@dataclass
class _Delivery:
    start: int
    target: np.ndarray
    heard: np.ndarray | None
    share: np.ndarray | float

    def after(self, samples: int) -> _Delivery:
        """What is left when so many samples were taken."""
        share = self.share[samples:] if isinstance(self.share, np.ndarray) else self.share
        heard = None if self.heard is None else self.heard[:, samples:]
        return _Delivery(self.start + samples, self.target[:, samples:], heard, share)


class Outbox:
    """One session's. Not thread-safe: used under the session's lock."""

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        self._waiting: deque[_Delivery] = deque()
        self._share = 0.0
        self._tail: tuple[int, np.ndarray, np.ndarray | None] | None = None
        self.late = False
        """The newest delivery came after its time."""
        self.written = 0
        """One past the newest sample that the plugin has got."""
        self.misses = 0
        self.late_samples = 0

    def __bool__(self) -> bool:
        """Whether something waits for room."""
        return bool(self._waiting)

    def restart(self, position: int, *, with_effects: bool) -> None:
        """Forget what waits; output goes on at `position`."""
        self._waiting.clear()
        self._tail = None
        self._share = 1.0 if with_effects else 0.0
        self.late = False
        self.written = position

    def add(self, block: ChainBlock, chain: SeparationChain, *, with_effects: bool) -> None:
        """Take the chain's next block; `finish` runs only where its result is sent."""
        goal = 1.0 if with_effects else 0.0
        start, target, tail = block.start_samples, block.target, self._tail
        if tail is not None:
            if start >= tail[0] + tail[1].shape[1]:
                self._tail = tail = None
            else:
                target = fade_over(tail[1], tail[0], target, start)
        if self._share == goal == 0.0:
            self._waiting.append(_Delivery(start, target, None, 0.0))
            return
        heard = chain.finish(block)
        if tail is not None and tail[2] is not None:
            heard = fade_over(tail[2], tail[0], heard, start)
        share: np.ndarray | float = goal
        if self._share != goal:
            step = (goal - self._share) / max(1, self._link.format.fade_samples)
            ramp = self._share + step * np.arange(1, block.samples + 1, dtype=np.float32)
            share = np.clip(ramp, 0.0, 1.0).astype(np.float32)
            self._share = float(share[-1])
        self._waiting.append(_Delivery(start, target, heard, share))

    def fade_from(self, tail: ChainBlock, chain: SeparationChain, *, with_effects: bool) -> None:
        """What is added next begins where `tail` begins, and fades in over it."""
        heard = chain.finish(tail) if with_effects else None
        self._tail = (tail.start_samples, tail.target, heard)

    def send(self) -> bool:
        """Write as much as there is room for. True: something came too late to be heard."""
        late = False
        while self._waiting:
            first = self._waiting[0]
            samples = first.target.shape[1]
            late |= self._count_late(self._link.play_position - first.start, samples)
            taken = self._link.write(first.start, first.target, first.heard, first.share)
            self.written = first.start + taken
            if taken < samples:
                self._waiting[0] = first.after(taken)
                return late
            self._waiting.popleft()
        return late

    def _count_late(self, late: int, samples: int) -> bool:
        if self._link.offline:
            return False
        if late > 0:
            self.late_samples += min(late, samples)
            if not self.late:
                self.misses += 1
        self.late = late > 0
        return self.late
