"""How many due steps go through a network in one call: what calls have cost, and the rule.

A call with several sessions costs less than as many calls, since weights are read once and
sessions that hear the same share the work. But all that is in a call is ready at its end, and
a call runs on one worker. So, with the most urgent session first:

- A call takes as many as let it end before the first deadline.
- Where that would use up more than half of the time until then, and other workers have nothing
  to do, the steps are shared out among these.
- Where no call can keep the first deadline, all go: that is the soonest way out of being late.

To wait for steps that fall due later gains nothing: where calls are the shortage they queue,
and a step that has waited leaves the next one less time (`tests/test_server_batches.py` has the
simulation). The instances of one host callback are another matter: they come within a moment,
and they come together every time. So a step waits for those, and only those, that came along
with it the last time (`comes_along`); whoever plays alone, or at other moments, begins at once.

Pure arithmetic: threads, clocks and who is urgent are the engine's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

MOST_IN_BATCH = 16
_CALLS = 3
"""The median of so many calls counts: one that was held up says nothing of the next."""
GATHER_SECONDS = 0.002
"""How long a due step may wait for those of other instances of its host's callback."""
ROOMY = 0.5
"""The share of the time to the first deadline that one call may fill beside an idle worker."""


class Costs:
    """What calls of one separator took, by how many sessions were in them.

    More sessions never cost less, nor more for each: that bounds what is not known yet, and
    what was measured in a bad moment and would else never be tried again.
    """

    def __init__(self) -> None:
        self._calls: dict[int, deque[float]] = {}
        self._seconds: dict[int, float] = {}

    def learn(self, sessions: int, seconds: float) -> None:
        """A call with so many took so long."""
        calls = self._calls.setdefault(sessions, deque(maxlen=_CALLS))
        calls.append(seconds)
        self._seconds[sessions] = median(calls)

    @property
    def known(self) -> bool:
        return bool(self._seconds)

    def seconds(self, sessions: int) -> float:
        """What a call with so many will take; 0 while nothing is known."""
        known = self._seconds
        if not known:
            return 0.0
        least = min(known)
        if sessions < least:
            return known[least] * sessions / least
        return min(t * sessions / n if n < sessions else t for n, t in known.items())


def comes_along(before: float, others_ready: Iterable[float]) -> bool:
    """Whether a step that has just fallen due is one of several of a callback.

    Args:
        before: when the step before it of this session fell due.
        others_ready: when sessions that could share its call, and have nothing due yet, fell due
            the last time. Whoever did so at the same moment as this one is about to come.
    """
    return any(abs(ready - before) < GATHER_SECONDS for ready in others_ready)


def batch_size(waiting: int, slack_seconds: float, idle_workers: int, costs: Costs) -> int:
    """How many of the sessions that wait for the same network go into the next call.

    Args:
        waiting: at least 1, the most urgent first.
        slack_seconds: until the first deadline; below 0 it has passed.
        idle_workers: who has nothing to do, the one that asks included.
    """
    size = most = min(waiting, MOST_IN_BATCH)
    if costs.seconds(1) <= slack_seconds:
        while size > 1 and costs.seconds(size) > slack_seconds:
            size -= 1
    hurry = not costs.known or costs.seconds(size) > ROOMY * slack_seconds
    if idle_workers > 1 and hurry:
        size = min(size, -(-most // idle_workers))
    return size
