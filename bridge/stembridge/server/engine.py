"""The threads that separate: one that sleeps until input is here, a few that work it off.

    rings ──wait_any──> waiter ──ready──> workers: pull … advance (one network call) … deliver
                           ^                                   |
                           └──────────── next position <───────┘

Sessions of one separator whose steps are due together go through the network together
(`separator.advance`), earliest deadline first: the worker takes the most urgent session and
others of the same separator, as many as the rule of `batches` allows. Who renders offline
never rides with who plays. A session that gets no input is one position in the waiter's list
and costs nothing.

Invariants: a session is waiting, ready, or in one worker's hands, never two of these; a
session that fails is put into its error state and the others play on.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import LinkError, StembridgeError
from .batches import GATHER_SECONDS, Costs, batch_size, comes_along
from .ending import Ending
from .load import WINDOW_SECONDS, Load
from .log import event, failure
from .session import Session

Key = tuple[int, str, int]
"""Separator, mode and streams of a session: calls of equal ones cost the same."""
WaitAny = Callable[[Sequence[Any], Sequence[int], float], list[int]]


class Engine:
    """Runs the turns of all sessions between `start` and `close`.

    Args:
        workers: threads that separate.
        wait_any: `_native.wait_any`; blocks until a link has what its session waits for.
        batching: False runs every session alone (to measure what batching gives).
    """

    def __init__(self, workers: int, wait_any: WaitAny, *, batching: bool = True) -> None:
        self.batching = batching
        self.load = Load()
        self._wait_any = wait_any
        self._changed = threading.Condition()
        self._waiting: dict[str, Session] = {}
        self._ready: list[Session] = []
        self._asleep_on: list[Session] = []
        self._interrupted = False
        self._working: set[str] = set()
        self._closing = False
        self._costs: dict[Key, Costs] = {}
        self._workers = workers
        self._idle = workers
        self._needs: dict[str, tuple[float, float]] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"stembridge-work-{i}", daemon=True)
            for i in range(workers)
        ]
        self._threads.append(
            threading.Thread(target=self._wait, name="stembridge-wait", daemon=True)
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self, ending: Ending | None = None) -> None:
        """Stop all threads; sessions stay with their owner."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._interrupt()
        ending = ending or Ending()
        for thread in self._threads:
            ending.join(thread)

    @property
    def busy(self) -> bool:
        """Whether any session is ready or in a worker's hands."""
        with self._changed:
            return bool(self._ready or self._working)

    def add(self, session: Session) -> None:
        with self._changed:
            self._make_ready(session)
            self._changed.notify_all()

    def remove(self, session: Session, wait_seconds: float | None = None) -> None:
        """Returns when no worker holds the session any more, or after so long. A worker that
        holds it then ends its turn, and `session.close` waits for that no longer."""
        with self._changed:
            session.ended = True
            self._needs.pop(session.id, None)  # who left presses nobody
            self._waiting.pop(session.id, None)
            if session in self._ready:
                self._ready.remove(session)
            self._changed.wait_for(lambda: session.id not in self._working, wait_seconds)
        self._interrupt()

    def poke(self, session: Session) -> None:
        """Give the session a turn although it waits: its preset or bypass changed."""
        with self._changed:
            if self._waiting.pop(session.id, None) is not None:
                self._make_ready(session)
                self._changed.notify_all()

    # -- the waiter ------------------------------------------------------------------------

    def _wait(self) -> None:
        while True:
            with self._changed:
                self._asleep_on = []
                self._interrupted = False
                if self._closing:
                    return
                sessions = list(self._waiting.values())
                if not sessions:
                    self._changed.wait(0.5)
                    continue
                positions = [session.wait_position for session in sessions]
                self._asleep_on = sessions
            try:
                woken = self._wait_any([s.link for s in sessions], positions, 0.5)
            except Exception as error:  # a link was closed at this moment
                event("Waiting for links failed", level=logging.DEBUG, reason=error)
                time.sleep(0.005)
                continue
            with self._changed:
                for index in woken:
                    session = sessions[index]
                    if index == 0 and self._interrupted:
                        # It names the interrupted link, too; if that has work it will again.
                        self._interrupted = False
                    elif self._waiting.get(session.id) is session:
                        del self._waiting[session.id]
                        self._make_ready(session)
                if self._ready:
                    self._changed.notify_all()

    def _interrupt(self) -> None:
        """End a running wait_any, so that it sees the present list."""
        with self._changed:
            if not self._asleep_on or self._interrupted:
                return
            self._interrupted = True
            with contextlib.suppress(LinkError):
                self._asleep_on[0].link.interrupt()

    # -- the workers -----------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            batch = self._take_batch()
            if not batch:
                return
            began = time.monotonic()
            try:
                self._turn(batch)
            except Exception as error:  # whatever it is, the other sessions play on
                self._blame(batch, error)
            busy = time.monotonic() - began
            self.load.add(busy, len(batch))
            with self._changed:
                for session in batch:
                    session.busy_seconds += busy / len(batch)
                    self._working.discard(session.id)
                    if not session.ended:
                        self._waiting[session.id] = session
                self._idle += 1
                self._changed.notify_all()
            for session in batch:
                if session.leaving:
                    session.close()  # who wanted to could not wait for this turn
            self._interrupt()

    def _take_batch(self) -> list[Session]:
        """The most urgent ready session and those that may share its network call."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._ready or self._closing)
                if self._closing:
                    return []
                slack = {session.id: session.slack_seconds() for session in self._ready}
                queue = sorted(self._ready, key=lambda session: slack[session.id])
                first = queue[0]
                if not self._gathers(first, slack[first.id]):
                    break
                self._changed.wait(GATHER_SECONDS)
            batch = self._choose(queue, slack[first.id])
            for session in batch:
                self._ready.remove(session)
                self._working.add(session.id)
            self._idle -= 1
            return batch

    def _gathers(self, first: Session, slack_seconds: float) -> bool:
        """Whether to wait a moment for sessions that will be ready too.

        The instances of a host write one after the other in one callback; without this the
        first would always go alone.
        """
        waited = time.monotonic() - first.ready_seconds
        if not self.batching or waited >= GATHER_SECONDS or slack_seconds < 10 * GATHER_SECONDS:
            return False
        key, others = _key(first), self._waiting.values()
        alike = (other.ready_seconds for other in others if _key(other) == key)
        return key is not None and comes_along(first.ready_before, alike)

    def _choose(self, queue: list[Session], slack_seconds: float) -> list[Session]:
        first = queue[0]
        key, offline = _key(first), first.link.offline
        if not self.batching or key is None:
            return [first]
        alike = [s for s in queue if _key(s) == key and s.link.offline == offline]
        slack_seconds = 0.0 if offline else slack_seconds  # who waits wants it soon, no more
        costs = self._costs.setdefault(key, Costs())
        return alike[: batch_size(len(alike), slack_seconds, self._idle, costs)]

    def _make_ready(self, session: Session) -> None:
        session.ready_before, session.ready_seconds = session.ready_seconds, time.monotonic()
        self._ready.append(session)

    def _turn(self, batch: list[Session]) -> None:
        with contextlib.ExitStack() as stack:
            for session in batch:
                stack.enter_context(session.lock)
            live = [session for session in batch if not session.ended and not session.error]
            began = time.monotonic()
            for session in live:
                session.pull()
            due = [session for session in live if session.chain.due]
            if due:
                advance(due)
            for session in live:
                session.deliver()
            if due:
                seconds = time.monotonic() - began
                self._learn_cost(due, seconds)
                for session in due:
                    session.learn_pace(seconds / len(due), self._pressure(session))

    def _pressure(self, session: Session) -> float:
        """What the sessions that played of late need together, for each worker."""
        now = time.monotonic()
        with self._changed:
            if not (session.link.offline or session.ended):  # who renders comes after all others
                self._needs[session.id] = (now, session.pace.need)
            self._needs = {k: v for k, v in self._needs.items() if now - v[0] < WINDOW_SECONDS}
            return sum(need for _, need in self._needs.values()) / self._workers

    def _learn_cost(self, due: list[Session], seconds: float) -> None:
        key = _key(due[0])
        if key is None or any(session.steps_due != 1 or session.silent for session in due):
            return  # several steps for each, or none of the network
        with self._changed:
            self._costs.setdefault(key, Costs()).learn(len(due), seconds)

    def _blame(self, batch: list[Session], error: Exception) -> None:
        """Put a single session into its error state; a batch is tried again one by one."""
        if len(batch) > 1:
            for session in batch:
                try:
                    self._turn([session])
                except Exception as own:
                    self._blame([session], own)
            return
        text = str(error) if isinstance(error, StembridgeError) else f"{type(error).__name__}"
        batch[0].fail(f"Separation stopped: {text}. Load a preset to start again.")
        failure("A session failed", error, session=batch[0].id, reason=text)


def _key(session: Session) -> Key | None:
    """What batches have in common, or None for a separator that runs alone."""
    chain = session.chain
    together = hasattr(chain.separator, "advance")
    return (id(chain.separator), session.mode, len(chain.streams)) if together else None


def advance(sessions: Sequence[Session]) -> None:
    """Run all due steps of sessions that share a separator, in common calls where it can.

    `separator.advance` runs the oldest due step of each stream, so it is called until
    nothing is due.
    """
    separator = sessions[0].chain.separator
    if len(sessions) == 1 or not hasattr(separator, "advance"):
        for session in sessions:
            session.chain.advance()
        return
    while due := [session.chain for session in sessions if session.chain.due]:
        separator.advance([stream for chain in due for stream in chain.streams])  # type: ignore[attr-defined]
