"""How many sessions two cores carry under other rules of sharing calls: a simulation.

    python tests/bench/bench_server_rules.py                     both modes, two minutes
    python tests/bench/bench_server_rules.py --modes mix --sessions 12 13 --songs 50

Time is the simulation's own, so any machine gives the same answer, and a busy one too. Each
session's steps fall due at a host callback and must be answered by another (`server/budget.py`);
their phases are random. Calls cost what was measured (`COST_MS`: one thread, different songs,
resampling included, median of nine), 3 % more or less, and one in a hundred is held up for 5 ms;
a call that has the machine to itself is 13 % faster. The rules:

- `alone`: each step by itself, the most urgent first.
- `batched`: the server's own (`batches.batch_size`).
- `hold`: the same, but a worker that could begin waits for the next step, where that takes less
  than twice what sharing would save and the deadline leaves room.
- `both`: the server's own, with one call at a time on both cores, which is faster than on one
  core by `--speed-up`.

A cell says in how many of the draws no step was late, how busy the cores were, and how many
sessions a call had.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass, field

import numpy as np

from stembridge.server.batches import Costs, batch_size
from stembridge.server.budget import COMPUTE_SECONDS

RATE = 48000
STEP_SAMPLES = {"live": 2048 * RATE / 44100, "mix": 8192 * RATE / 44100}
COST_MS = {
    "live": (17.7, 27.0, 35.0, 44.0, 53.3, 63.7, 73.9, 84.1),
    "mix": (24.4, 40.9, 56.5, 71.7, 88.4, 104.2, 119.6, 135.0),
}
"""A call with 1 to 8 sessions; each further one costs as much as the last."""
SPARE = 0.7
"""Of the time to the first deadline a call that was held back may end after so much."""
NOISE, HOLD_UPS, HOLD_UP_SECONDS, SOLO = 0.03, 0.01, 0.005, 0.87
SESSIONS = {"live": [4, 5, 6, 7, 8], "mix": [14, 15, 16, 17, 18, 20, 22, 24]}


def cost_seconds(mode: str, sessions: int) -> float:
    """Of a call beside another one."""
    table = COST_MS[mode]
    more = max(0, sessions - len(table)) * (table[-1] - table[-2])
    return (table[min(sessions, len(table)) - 1] + more) / 1000


@dataclass(order=True)
class Step:
    """One that is due: by when, for whom, and since when."""

    deadline: float
    session: int
    due: float


@dataclass
class Call:
    left_seconds: float
    steps: list[Step]


@dataclass
class Machine:
    """Two cores that serve sessions of one mode by one rule."""

    rule: str
    mode: str
    block: int
    phases: list[float]
    speed_up: float
    dice: random.Random
    calls: int = 0
    steps: int = 0
    late: int = 0
    busy_seconds: float = 0.0
    _ready: list[Step] = field(default_factory=list)
    _running: list[Call] = field(default_factory=list)
    _held: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        self._workers = 1 if self.rule == "both" else 2
        self._costs = Costs()
        for sessions in range(1, 17):
            self._costs.learn(sessions, self._seconds(sessions))

    def _seconds(self, sessions: int) -> float:
        alone = cost_seconds(self.mode, sessions)
        return alone * SOLO / self.speed_up if self.rule == "both" else alone

    def _times(self, session: int, count: int) -> tuple[float, float, float]:
        """When a step's last sample was played to us, at which callback it is due, and by which
        the plugin needs it."""
        end = self.phases[session] + (count + 1) * STEP_SAMPLES[self.mode]
        last = end + self.block + COMPUTE_SECONDS[self.mode] * RATE  # type: ignore[index]
        callback = self.block / RATE
        return end / RATE, end // self.block * callback, last // self.block * callback

    def play(self, seconds: float) -> None:
        coming = [0] * len(self.phases)
        now = 0.0
        while now < seconds:
            for session, count in enumerate(coming):
                _, due, deadline = self._times(session, count)
                if due <= now + 1e-9:
                    self._ready.append(Step(deadline, session, due))
                    coming[session] += 1
            self._ready.sort()
            wake = self._begin(now, coming)
            speed = 1.0 if self._workers == 1 or len(self._running) > 1 else 1.0 / SOLO
            events = [self._times(session, count)[1] for session, count in enumerate(coming)]
            events += [now + call.left_seconds / speed for call in self._running]
            after = max(now, min([*events, wake]))
            for call in self._running:
                call.left_seconds -= (after - now) * speed
            self.busy_seconds += (after - now) * len(self._running) * (2 / self._workers)
            now = after
            for call in [call for call in self._running if call.left_seconds <= 1e-9]:
                self._running.remove(call)
                self.late += sum(now > step.deadline for step in call.steps)

    def _begin(self, now: float, coming: list[int]) -> float:
        """Start what may start; the moment to look again."""
        while self._ready and len(self._running) < self._workers:
            idle = self._workers - len(self._running)
            slack = self._ready[0].deadline - now
            size = batch_size(len(self._ready), slack, idle, self._costs)
            if self.rule == "alone":
                size = 1
            elif self.rule == "hold" and size == len(self._ready):
                wait = self._wait(now, slack, idle, coming)
                if wait is not None:
                    return now + wait
            steps, self._ready = self._ready[:size], self._ready[size:]
            seconds = self._seconds(size) * (1 + abs(self.dice.gauss(0.0, NOISE)))
            seconds += HOLD_UP_SECONDS if self.dice.random() < HOLD_UPS else 0.0
            self._running.append(Call(seconds, steps))
            self.calls += 1
            self.steps += size
        return math.inf

    def _wait(self, now: float, slack: float, idle: int, coming: list[int]) -> float | None:
        """How long to wait for the next step, by what a server can know: positions."""
        size = len(self._ready)
        if self._held[0] != size:
            self._held = (size, now)
        played = (math.floor(now * RATE / self.block + 1e-9) + 1) * self.block / RATE
        ends = (self._times(session, count)[0] for session, count in enumerate(coming))
        wait = max(0.0005, min(ends) - played)
        more = self._seconds(size + 1)
        saved = self._seconds(1) + self._seconds(size) - more
        worth = now - self._held[1] + wait <= 2.0 * saved
        together = batch_size(size + 1, slack - wait, idle, self._costs) == size + 1
        return wait if worth and together and wait + more <= SPARE * slack else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Rules of sharing calls, simulated.")
    parser.add_argument("--modes", nargs="+", choices=("live", "mix"), default=["mix", "live"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--sessions", nargs="+", type=int)
    parser.add_argument("--songs", type=int, default=20, help="draws of phases for each cell")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--speed-up", nargs="+", type=float, default=[1.9, 1.7, 1.5])
    args = parser.parse_args()
    rules = [("alone", 1.0), ("batched", 1.0), ("hold", 1.0)]
    rules += [("both", speed_up) for speed_up in args.speed_up]
    for mode in args.modes:
        for block in args.blocks:
            for rule, speed_up in rules:
                cells = []
                for sessions in args.sessions or SESSIONS[mode]:
                    machines = []
                    for seed in range(args.songs):
                        dice = random.Random(1000 * sessions + seed)
                        phases = [dice.random() * STEP_SAMPLES[mode] for _ in range(sessions)]
                        machine = Machine(rule, mode, block, phases, speed_up, dice)
                        machine.play(args.seconds)
                        machines.append(machine)
                    clean = sum(machine.late == 0 for machine in machines)
                    busy = np.mean([m.busy_seconds / (2 * args.seconds) for m in machines])
                    size = np.mean([m.steps / m.calls for m in machines])
                    cells.append(f"{sessions}: {clean}/{args.songs} {100 * busy:.0f}% {size:.1f}")
                name = rule if rule != "both" else f"{rule} {speed_up}"
                print(f"{mode} {block:4d} {name:9s}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
