"""How fast a session's steps are worked out here, and what follows when that is too slow.

`need` is the share of real time that its steps take: at 1.3 a second of audio costs 1.3 s.
`pressure` is what all playing sessions need together, for each worker. Either above 1 means
that the server falls behind without end, and then audio must be left out. The rules:

- Who falls behind without end, but could be in time with a fresh start, starts anew at the newest
  input as soon as the next step would begin late: separated for a stretch, dry for a stretch, and
  no stutter in between.
- Otherwise late audio is worked on as long as a part of it will still be heard. After that, going
  on and starting anew are compared. Going on catches up in `late * speed / (1 - speed)` seconds;
  starting anew stays dry until the newest input is played, and its context is cold. The shorter
  way is taken, so a moment's hold-up loses nothing.

Pure arithmetic: who measures and who drops is the engine and the session.
"""

from __future__ import annotations

import time
from collections import deque
from statistics import median

_STEPS = 9
"""The median of so many steps counts: one that was held up says nothing of the next."""
_LEAST_STEPS = 3
LATE_SECONDS = 2.0
"""A session is called late for so long after the last thing that was."""


class Pace:
    """One session's. Written by the worker that holds the session, read by anyone."""

    def __init__(self) -> None:
        self.step_seconds = 0.0
        """What a step takes of late; 0 until some were worked out."""
        self.need = 0.0
        self.pressure = 0.0
        self.drops = 0
        """How often it was started anew at the newest input."""
        self._late_at = -LATE_SECONDS
        self._steps: deque[float] = deque(maxlen=_STEPS)

    def learn(self, step_seconds: float, audio_seconds: float) -> None:
        """A step of so much audio took so long."""
        self._steps.append(step_seconds)
        if len(self._steps) >= _LEAST_STEPS:
            self.step_seconds = median(self._steps)
            self.need = self.step_seconds / audio_seconds

    def forget(self) -> None:
        """Another chain: what was learned is of the former one."""
        self.step_seconds = self.need = 0.0
        self._steps.clear()

    def note_late(self) -> None:
        self._late_at = time.monotonic()

    @property
    def late(self) -> bool:
        """Whether something came too late within the last seconds."""
        return time.monotonic() - self._late_at < LATE_SECONDS

    def hopeless(
        self,
        late_seconds: float,
        audio_seconds: float,
        deadline_seconds: float,
        restart_seconds: float,
    ) -> bool:
        """Whether to start anew at the newest input.

        Args:
            late_seconds: by how much what was delivered last ends before what is played now;
                below 0 it is in time.
            audio_seconds: of a step. deadline_seconds: what a step in time may take.
            restart_seconds: until the newest input is played.
        """
        speed = max(self.need, self.pressure)
        done_seconds = late_seconds + self.step_seconds
        if speed >= 1.0 and self.step_seconds < deadline_seconds:
            return done_seconds > 0.0
        if late_seconds <= 0.0 or done_seconds < audio_seconds:
            return False  # the end of the next step will still be heard
        return speed >= 1.0 or late_seconds * speed / (1.0 - speed) > restart_seconds

    def sentence(self, separator: str, mode: str, deadline_seconds: float) -> str:
        """Why it is late and what to do, for people."""
        what = f"{separator} in mode {mode}"
        advice = "render offline, which waits"
        other = "use mode mix or another separator" if mode == "live" else "use another separator"
        if self.need >= 1.0:
            return (
                f"Cannot keep up: {what} needs {100 * self.need:.0f} % of real time here. "
                f"{other.capitalize()}, or {advice}."
            )
        if self.pressure >= 1.0:
            return (
                f"Cannot keep up: the sessions together need {100 * self.pressure:.0f} % of what "
                f"the workers have. Use fewer instances, or {advice}."
            )
        if self.step_seconds > deadline_seconds:
            return (
                f"Cannot keep up: a step of {what} takes {1000 * self.step_seconds:.0f} ms here "
                f"and may take {1000 * deadline_seconds:.0f}. {other.capitalize()}, or {advice}."
            )
        return "Late for a moment: something held this machine up."
