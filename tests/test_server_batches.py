"""How many steps go into one call: the rule, a simulation of it, and the engine that follows it.

The simulation has a time of its own: sessions whose steps fall due at a host's callbacks, and
workers whose calls take as long as the test says. It compares rules; no machine speed is in it.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from identity import IdentitySeparator
from stembridge.server import batches, engine
from stembridge.server.batches import GATHER_SECONDS, MOST_IN_BATCH, Costs, batch_size, comes_along
from stembridge.server.engine import Engine
from stembridge.server.server import warm_up
from stembridge.server.session import Session

LIVE = (0.0464, 0.040, 0.0086, 0.0140)
"""Seconds of a step and to its deadline; of a call in all and for each session: as measured."""
MIX = (0.1858, 0.150, 0.0064, 0.0245)
CALLBACK = 512 / 48000


def call_seconds(mode: tuple[float, ...], sessions: int, streams: int | None = None) -> float:
    """Sessions that hear the same add 1.5 ms each to the call."""
    streams = sessions if streams is None else streams
    return mode[2] + mode[3] * streams + 0.0015 * (sessions - streams)


def learned(mode: tuple[float, ...], *sessions: int) -> Costs:
    costs = Costs()
    for count in sessions:
        costs.learn(count, call_seconds(mode, count))
    return costs


# --- the rule ---------------------------------------------------------------------------------


def test_costs_are_bounded_by_what_is_known() -> None:
    costs = Costs()
    assert not costs.known and costs.seconds(3) == 0.0
    costs.learn(4, 0.100)
    assert costs.seconds(2) == pytest.approx(0.050), "at least, so it will be tried"
    assert costs.seconds(8) == pytest.approx(0.200), "no more for each than in a smaller call"
    costs.learn(1, 0.040)
    assert costs.seconds(2) == pytest.approx(0.080)
    assert costs.seconds(3) == pytest.approx(0.100), "no more than a larger call"


def test_one_call_that_was_held_up_is_forgotten() -> None:
    costs = learned(MIX, 1, 2)
    costs.learn(4, 5.0)
    assert costs.seconds(4) == pytest.approx(2 * call_seconds(MIX, 2)), "by the smaller calls"
    for seconds in (0.031, 3.0, 0.031):
        costs.learn(1, seconds)
    assert costs.seconds(1) == pytest.approx(0.031)


@pytest.mark.parametrize("waiting", [1, 2, 3, 5, 8, 16, 40])
@pytest.mark.parametrize("idle", [1, 2, 4])
@pytest.mark.parametrize("slack_seconds", [-1.0, 0.0, 0.02, 0.05, 0.16, 0.5, 10.0])
def test_a_call_keeps_the_first_deadline(waiting: int, idle: int, slack_seconds: float) -> None:
    costs = learned(MIX, *range(1, 17))
    size = batch_size(waiting, slack_seconds, idle, costs)
    shared = math.ceil(min(waiting, MOST_IN_BATCH) / idle)
    assert 1 <= size <= min(waiting, MOST_IN_BATCH)
    if costs.seconds(1) > slack_seconds:
        assert size == shared, "late whatever it does: all at once, on all workers"
        return
    fitting = [n for n in range(1, waiting + 1) if costs.seconds(n) <= slack_seconds]
    largest = min(fitting[-1], MOST_IN_BATCH)
    roomy = costs.seconds(largest) <= 0.5 * slack_seconds
    assert size == (largest if roomy or idle == 1 else min(largest, shared))


def test_sessions_that_hear_the_same_stay_together() -> None:
    """A call that ends soon is not split: the second worker would do the same work again."""
    costs = Costs()
    for sessions in (1, 4, 8):
        costs.learn(sessions, call_seconds(MIX, sessions, streams=1))
    assert batch_size(8, 0.16, 2, costs) == 8


def test_those_of_one_callback_are_waited_for_and_nobody_else() -> None:
    before = 17.0
    assert not comes_along(before, [])
    assert comes_along(before, [16.9, 17.0 + 0.5 * GATHER_SECONDS])
    assert comes_along(before, [17.0 - 0.5 * GATHER_SECONDS])
    assert not comes_along(before, [16.9, 17.0 + 2 * GATHER_SECONDS, 17.1])


# --- the simulation ---------------------------------------------------------------------------


@dataclass
class Studio:
    """Sessions of one host in time of its own; every step due is answered by a call."""

    mode: tuple[float, ...]
    phases: list[float]
    workers: int = 2
    alone: bool = False
    shares: bool = True
    hold_ups: bool = False
    same: bool = False
    costs: Costs = field(default_factory=Costs)
    busy_seconds: float = 0.0
    calls: int = 0

    def misses(self, seconds: float = 12.0, settled_seconds: float = 1.0) -> int:
        """Steps that came late, once the costs are known."""
        step, budget = self.mode[:2]
        due = [(self._callback(phase), i, 0) for i, phase in enumerate(self.phases)]
        ready: list[tuple[float, float, int]] = []
        running: list[tuple[float, float, list[tuple[float, float, int]]]] = []
        now, missed = 0.0, 0
        while now < seconds:
            for call in [call for call in running if call[0] <= now]:
                running.remove(call)
                self.costs.learn(len(call[2]), call[0] - call[1])
                if call[0] > settled_seconds:
                    missed += sum(call[0] > deadline for deadline, _, _ in call[2])
            for item in [item for item in due if item[0] <= now]:
                due.remove(item)
                arrived, i, count = item
                ready.append((arrived + budget + CALLBACK, arrived, i))
                due.append((self._callback(self.phases[i] + (count + 1) * step), i, count + 1))
            ready.sort()
            while ready and len(running) < self.workers:
                idle = self.workers - len(running) if self.shares else 1
                size = batch_size(len(ready), ready[0][0] - now, idle, self.costs)
                batch, ready = self._split(ready, 1 if self.alone else size)
                took = call_seconds(self.mode, len(batch), 1 if self.same else None)
                self.calls += 1
                took *= 1.15 if self.hold_ups and self.calls % 7 == 0 else 1.0
                running.append((now + took, now, batch))
                self.busy_seconds += took
            now = min([item[0] for item in due] + [call[0] for call in running])
        return missed

    @staticmethod
    def _callback(moment: float) -> float:
        return math.ceil(moment / CALLBACK - 1e-9) * CALLBACK

    @staticmethod
    def _split(ready: list[Any], size: int) -> tuple[list[Any], list[Any]]:
        return ready[:size], ready[size:]


def spread(sessions: int, step: float, seed: int) -> list[float]:
    return list(np.random.default_rng(seed).uniform(0.0, step, sessions))


@pytest.mark.parametrize(("mode", "sessions"), [(LIVE, 3), (MIX, 10)])
def test_steps_that_fall_due_together_use_both_workers(
    mode: tuple[float, ...], sessions: int
) -> None:
    """As many as just fit before the deadline in one call are late at the first hold-up."""
    phases = [0.005] * sessions
    assert Studio(mode, phases, hold_ups=True).misses() == 0
    assert Studio(mode, phases, hold_ups=True, shares=False).misses() > 0


@pytest.mark.parametrize(("mode", "sessions"), [(LIVE, 16), (MIX, 40)])
def test_sessions_that_hear_the_same_cost_little_more_than_one(
    mode: tuple[float, ...], sessions: int
) -> None:
    studio = Studio(mode, [0.005] * sessions, same=True)
    assert studio.misses() == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("mode", "sessions"), [(LIVE, 3), (MIX, 11)])
def test_steps_that_fall_due_at_other_times_are_in_time(
    mode: tuple[float, ...], sessions: int, seed: int
) -> None:
    """And cost no more than each alone."""
    phases = spread(sessions, mode[0], seed)
    batched, alone = Studio(mode, phases), Studio(mode, phases, alone=True)
    assert batched.misses() == 0
    alone.misses()
    assert batched.busy_seconds <= alone.busy_seconds * 1.001


@pytest.mark.parametrize("seed", range(4))
def test_where_calls_are_short_they_grow(seed: int) -> None:
    """More than the workers carry one by one: queues grow, and with them the calls."""
    phases = spread(13, MIX[0], seed)
    alone, batched = Studio(MIX, phases, alone=True), Studio(MIX, phases)
    assert alone.misses(30.0) > 1000, "one by one it falls behind without end"
    assert batched.misses(30.0) < 100


# --- the engine -------------------------------------------------------------------------------


class Stub:
    """What the engine asks of a session, with a network call that the test watches."""

    def __init__(self, name: str, separator: Any, mode: str = "mix", offline: bool = False) -> None:
        self.id, self.mode = name, mode
        self.lock = threading.Lock()
        self.ended = self.leaving = self.silent = False
        self.error, self.busy_seconds, self.steps_due = "", 0.0, 1
        self.ready_before = self.ready_seconds = 0.0
        self.slack = 0.25 if offline else 0.1
        self.link = SimpleNamespace(offline=offline, interrupt=lambda: None)
        self.wait_position = 1
        self.pace = SimpleNamespace(need=0.1)
        self.chain = SimpleNamespace(separator=separator, streams=[self], due=1)
        self.chain.advance = lambda: separator.advance([self])

    def slack_seconds(self) -> float:
        return self.slack

    def pull(self) -> None: ...
    def deliver(self) -> None: ...
    def learn_pace(self, seconds: float, pressure: float) -> None: ...


class Calls:
    """A separator whose calls wait for one another: so many must run at the same time."""

    def __init__(self, together: int) -> None:
        self.seen: list[list[Stub]] = []
        self._barrier = threading.Barrier(together)

    def advance(self, streams: list[Stub]) -> None:
        self.seen.append(streams)
        self._barrier.wait(60.0)
        for stream in streams:
            stream.chain.due = 0


def run_once(separator: Calls, sessions: list[Stub], workers: int) -> list[list[str]]:
    """The calls of one turn of each session, all of them ready before the workers start."""

    def wait_any(links: Any, positions: Any, seconds: float) -> list[int]:
        return []

    engine = Engine(workers, wait_any)
    for session in sessions:
        engine.add(cast(Session, session))
    engine.start()
    try:
        for session in sessions:
            # A turn that is over has let go of the session.
            while session.chain.due or engine.busy:
                threading.Event().wait(0.01)
    finally:
        engine.close()
    return sorted(sorted(stream.id for stream in call) for call in separator.seen)


def test_idle_workers_share_what_is_due() -> None:
    separator = Calls(2)
    calls = run_once(separator, [Stub(f"a{i}", separator) for i in range(4)], 2)
    assert [len(call) for call in calls] == [2, 2]


def test_one_worker_takes_all_that_is_due() -> None:
    separator = Calls(1)
    calls = run_once(separator, [Stub(f"a{i}", separator) for i in range(4)], 1)
    assert [len(call) for call in calls] == [4]


def test_modes_and_who_renders_have_calls_of_their_own() -> None:
    separator = Calls(1)
    sessions = [Stub("live1", separator, "live"), Stub("live2", separator, "live")]
    sessions += [Stub("mix1", separator), Stub("mix2", separator)]
    sessions += [Stub("render1", separator, offline=True), Stub("render2", separator, offline=True)]
    calls = run_once(separator, sessions, 1)
    assert calls == [["live1", "live2"], ["mix1", "mix2"], ["render1", "render2"]]


@pytest.mark.parametrize("urgent", ["live", "mix"])
def test_the_most_urgent_goes_first_whatever_its_mode(urgent: str) -> None:
    """However many of another mode wait, and however much they could share."""
    separator = Calls(1)
    sessions = [Stub(f"{mode}{i}", separator, mode) for mode in ("live", "mix") for i in range(4)]
    for session in sessions:
        session.slack = 0.03 if session.id == f"{urgent}3" else 0.1
    run_once(separator, sessions, 1)
    assert any(stream.id == f"{urgent}3" for stream in separator.seen[0])
    assert {stream.mode for stream in separator.seen[0]} == {urgent}
    assert sorted(stream.id for call in separator.seen for stream in call) == sorted(
        session.id for session in sessions
    )


PATIENT_SECONDS = 60.0
"""So long an engine under test would wait for others: whoever waits in vain is seen to."""


def patient(monkeypatch: pytest.MonkeyPatch, *sessions: Stub) -> Engine:
    """An engine that plays the sessions, none of which has anything due yet."""
    monkeypatch.setattr(engine, "GATHER_SECONDS", PATIENT_SECONDS)
    monkeypatch.setattr(batches, "GATHER_SECONDS", PATIENT_SECONDS)

    def wait_any(links: Any, positions: Any, seconds: float) -> list[int]:
        threading.Event().wait(0.01)
        return []

    playing = Engine(1, wait_any)
    for session in sessions:
        session.chain.due, session.slack = 0, 100 * PATIENT_SECONDS
        playing.add(cast(Session, session))
    playing.start()
    while playing.busy:
        threading.Event().wait(0.01)
    return playing


def fall_due(playing: Engine, *sessions: Stub) -> None:
    """One after the other, with a moment between, as in a host's callback."""
    for session in sessions:
        threading.Event().wait(0.05)
        session.chain.due = 1
        playing.poke(cast(Session, session))


@pytest.mark.parametrize("other", ["at other moments", "in another mode", "nobody"])
def test_a_lone_step_begins_at_once(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    separator = Calls(1)
    lone, second = Stub("lone", separator), Stub("second", separator)
    second.mode = "live" if other == "in another mode" else "mix"
    playing = patient(monkeypatch, lone, *([] if other == "nobody" else [second]))
    try:
        if other == "at other moments":
            second.ready_seconds -= 2 * PATIENT_SECONDS
        fall_due(playing, lone)
        end = threading.Event()
        for _ in range(1000):  # a sixth of the time that it would wait
            if not lone.chain.due:
                break
            end.wait(0.01)
        assert [[stream.id for stream in call] for call in separator.seen] == [["lone"]]
    finally:
        playing.close()


def test_those_of_one_callback_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    separator = Calls(1)
    sessions = [Stub(f"a{i}", separator) for i in range(3)]
    playing = patient(monkeypatch, *sessions)
    try:
        fall_due(playing, *sessions)
        while any(session.chain.due for session in sessions):
            threading.Event().wait(0.01)
        assert sorted(stream.id for stream in separator.seen[0]) == ["a0", "a1", "a2"]
    finally:
        playing.close()


def test_every_size_of_call_that_is_in_time_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """In time of its own: a call takes 12 ms for each stream, 3 of which are in time in live."""
    now, sizes = [0.0], []
    monkeypatch.setattr("stembridge.server.server.time", SimpleNamespace(monotonic=lambda: now[0]))
    separator = IdentitySeparator(step_samples=256, together=True)

    def advance(streams: list[Any]) -> None:
        assert all(stream.due_steps == 1 for stream in streams)
        sizes.append(len(streams))
        now[0] += 0.012 * len(streams)

    monkeypatch.setattr(separator, "advance", advance)
    warm_up(separator)
    assert sizes == [*range(1, 14), *range(1, 5)], "one past what is in time, mix and then live"
    separator = IdentitySeparator(step_samples=256)
    warm_up(separator)
    assert separator.streams_made == 2
