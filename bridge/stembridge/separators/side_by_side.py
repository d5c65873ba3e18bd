"""The networks of one step on several cores: independent calls, each by one thread.

A step of most separators runs two or more networks that do not need each other's results. With
`use_cores(2)` they run side by side, and the step is over sooner. The threads meet once at the
end of a step; the threads that torch itself would use meet after every operation, a few hundred
times, and wait for each other by spinning, which on a busy machine costs more than it brings.

Invariants: results are those of one core, bit for bit, since each call is one thread's work
whoever does it; whoever asks works too, so nothing waits for a helper that has not begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_helpers: ThreadPoolExecutor | None = None


def use_cores(cores: int, steps: int = 1) -> None:
    """From now on each of `steps` steps at a time may use so many cores.

    One core for each is what a process begins with.
    """
    global _helpers
    before, _helpers = _helpers, None
    if cores > 1:
        helpers = steps * (cores - 1)
        _helpers = ThreadPoolExecutor(helpers, thread_name_prefix="stembridge-beside")
    if before is not None:
        before.shutdown(wait=False)


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, in their order. The longest should come first.

    Runs under the caller's inference mode. An error of any call is raised once none runs.
    """
    helpers = _helpers
    if helpers is None or len(calls) < 2:
        return [call() for call in calls]
    inference = torch.is_inference_mode_enabled()

    def beside(call: Callable[[], T]) -> T:
        with torch.inference_mode(inference):
            return call()

    others: list[Future[T]] = [helpers.submit(beside, call) for call in calls[1:]]
    try:
        done = [calls[0]()]
        for call, other in zip(calls[1:], others, strict=True):
            # Cancelled: no helper has begun it.
            done.append(call() if other.cancel() else other.result())
        return done
    finally:
        for other in others:
            if not other.cancel():
                other.exception()
