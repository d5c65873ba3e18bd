"""Does the prompt fit what is played? The probe of `tuning.probe`, asked of a running session.

A session that is asked listens for some seconds, or takes them from an armed learning tape
that holds them already; then one background thread of low priority separates them again and
says how likely the prompt's sound is in there. What plays is not touched.

Invariants: nothing is kept before it was asked for, and at most `MOST_SECONDS` after; one
probe runs at a time, the others queue; the tape changes under the session's lock; a result
counts only for the very prompts that it was made of.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StembridgeError
from ..presets import Preset
from ..prompts import NamePrompt, Prompt, TextPrompt
from .ending import Ending
from .learn_job import one_quiet_core
from .learn_tape import Tape
from .log import failure
from .protocol import Value

if TYPE_CHECKING:
    from ..tuning.probe import Probe
    from .session import Session

DEFAULT_SECONDS = 10.0
MOST_SECONDS = 30.0


class _StoppedError(Exception):
    """The session or the server ends."""


class SessionProbing:
    """What one session asked, and what came out."""

    def __init__(self) -> None:
        self.tape: Tape | None = None
        """Open while it listens."""
        self.seconds = 0.0
        self.fraction = 0.0
        self.working = False
        self.stopped = False
        self.message = ""
        self.result: Probe | None = None
        self._asked_of: Preset | None = None

    def listen(self, sample_rate: float, channels: int, seconds: float) -> None:
        """Begin a tape of its own; under the session's lock."""
        self.tape, self.seconds, self.message = Tape(sample_rate, channels, seconds), seconds, ""

    def fit(self, sample_rate: float, channels: int) -> None:
        """A new rate or layout begins the listening anew."""
        if self.tape is not None and not self.tape.fits(sample_rate, channels):
            self.listen(sample_rate, channels, self.seconds)

    def finish(self, preset: Preset, result: Probe | None, message: str) -> None:
        self.result, self.message, self._asked_of = result, message, preset
        self.working = False

    def state(self, preset: Preset) -> str:
        """ "off", "listening", "working", "done", or "old": the prompts are others by now."""
        if self.working:
            return "working"
        if self.tape is not None:
            return "listening"
        if self._asked_of is None:
            return "off"
        return "done" if _same_prompts(self._asked_of, preset) else "old"

    def status(self, preset: Preset) -> dict[str, Value]:
        """The keys that begin with `probe_`."""
        state, tape, result = self.state(preset), self.tape, self.result
        fraction = {"done": 1.0, "working": self.fraction}.get(state, 0.0)
        if state == "listening" and tape is not None:
            fraction = tape.held_seconds / tape.seconds
        known = result if state == "done" else None
        return {
            "probe_state": state,
            "probe_fraction": float(min(1.0, fraction)),
            "probe_match": float(known.match) if known else -1.0,
            "probe_share": float(known.share) if known else -1.0,
            "probe_message": self.message if state == "done" else "",
        }


def _same_prompts(one: Preset, other: Preset) -> bool:
    """Whether both ask for the same; clips and vectors are the same only if they are one object."""

    def same(a: Prompt, b: Prompt) -> bool:
        return a is b or (isinstance(a, NamePrompt | TextPrompt) and a == b)

    return all(
        len(ours) == len(theirs) and all(map(same, ours, theirs))
        for ours, theirs in ((one.keep, other.keep), (one.remove, other.remove))
    )


class Prober:
    """The server's one thread that probes."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Session, np.ndarray, int, Preset] | None] = (
            queue.SimpleQueue()
        )
        self._closing = False
        self._thread: threading.Thread | None = None

    def look_at(self, session: Session) -> None:
        """Start the probe of a session that has listened for long enough. Called often."""
        probing = session.probing
        tape = probing.tape
        if tape is None or tape.held_seconds < tape.seconds:
            return
        if not session.lock.acquire(blocking=False):
            return  # in a worker's hands: the house is not kept waiting, it looks again soon
        try:
            audio = tape.cut(tape.held_seconds, 0.0)
            probing.tape = None
        finally:
            session.lock.release()
        self.start(session, audio, tape.sample_rate)

    def start(self, session: Session, audio: np.ndarray, sample_rate: int) -> None:
        """Probe `audio`, float32 `(channels, samples)`, with what the session plays now."""
        session.probing.working, session.probing.fraction = True, 0.0
        self._queue.put((session, audio, sample_rate, session.preset))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="stembridge-probe", daemon=True)
            self._thread.start()

    def close(self, ending: Ending | None = None) -> None:
        """Drop what waits and wait for the thread."""
        self._closing = True
        self._queue.put(None)
        (ending or Ending()).join(self._thread)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None and not self._closing:
            session, audio, sample_rate, preset = work
            result, message = None, ""
            try:
                with one_quiet_core():
                    result = self._probe(session, audio, sample_rate, preset)
                message = result.sentence()
            except _StoppedError:
                message = "Stopped."
            except StembridgeError as error:
                message = f"The probe failed: {error}"
            except Exception as error:  # audio and control go on whatever it is
                message = f"The probe failed ({type(error).__name__}). See the server's log."
                failure("A probe failed", error, session=session.id)
            session.probing.finish(preset, result, message)

    def _probe(
        self, session: Session, audio: np.ndarray, sample_rate: int, preset: Preset
    ) -> Probe:
        from ..tuning.probe import probe

        def advance(fraction: float) -> None:
            session.probing.fraction = fraction
            if self._closing or session.ended:
                raise _StoppedError

        # A preset that only removes is asked for what it removes.
        asked = preset if preset.keep else replace(preset, keep=preset.remove, remove=())
        return probe(audio, sample_rate, asked, separator=session.separator, advance=advance)
