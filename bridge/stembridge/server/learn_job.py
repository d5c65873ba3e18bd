"""Tuning beside the audio: one background thread for the whole server.

The thread runs torch on one core and gives Python up within half a millisecond whenever a
thread that separates wants it. It has no lower priority than they: a thread that is put
aside while it holds Python's lock stops all others (measured on a busy machine at nice 10:
one block in twenty came late). Its result is a `Lesson`; nothing that plays is changed by
it. Cancelling takes effect at the next gradient step.

Invariants: at most one job at a time; a job ends before the server does; whatever goes
wrong in it is a message to the session, never the end of anything else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable

from ..errors import StembridgeError
from ..prompts import Clip
from ..separators import Separator
from .calm import SWITCH_SECONDS
from .ending import Ending
from .learn import Lesson, SessionLearning
from .log import failure
from .protocol import RequestError

REPORT_SECONDS = 0.25

Progress = Callable[[float, str], None]


class _DroppedError(Exception):
    """The job was cancelled and its result is not wanted."""


class Job:
    """One tuning. `fraction` and `gain_db` say how far it is."""

    def __init__(
        self,
        learning: SessionLearning,
        separator: Separator,
        clips: tuple[Clip, ...],
        side: str,
        steps: int,
        progress: Progress,
    ) -> None:
        self.learning = learning
        self.fraction = 0.0
        self.gain_db = 0.0
        self._work = (separator, clips, side, steps)
        self._progress = progress
        self._cancelled = ""
        self._said_seconds = 0.0

    def cancel(self, keep: bool) -> None:
        """End at the next step; `keep` takes the best prompt so far."""
        self._cancelled = "keep" if keep else "drop"

    def run(self) -> None:
        """On the job's own thread."""
        with one_quiet_core():
            try:
                text = self._tune()
            except _DroppedError:
                text = "Cancelled; nothing was changed."
            except StembridgeError as error:
                text = f"Learning failed: {error}"
            except Exception as error:  # audio and control go on whatever it is
                text = f"Learning failed ({type(error).__name__}). See the server's log."
                failure("Learning failed", error)
        self.learning.message = text
        self.learning.job = None

    def say_end(self) -> None:
        """Tell the clients the outcome; after the job has ended."""
        self._progress(1.0, self.learning.message)

    def _tune(self) -> str:
        from ..tuning import tune

        separator, clips, side, steps = self._work
        result = tune(clips, name="learned", separator=separator, steps=steps, on_step=self._step)
        if self._cancelled == "drop":
            raise _DroppedError
        preset, report = result.preset, result.report
        self.learning.lesson = Lesson(side, preset.keep[0], preset.tuning, preset.description)
        notes = "".join(f" {note[:1].upper()}{note[1:]}." for note in report.notes)
        return f"{report.sentence()}{notes}"

    def _step(self, fraction: float, gain_db: float) -> None:
        self.fraction, self.gain_db = fraction, gain_db
        if self._cancelled == "drop":
            raise _DroppedError
        if self._cancelled == "keep":
            raise KeyboardInterrupt
        now = time.monotonic()
        if now - self._said_seconds >= REPORT_SECONDS:
            self._said_seconds = now
            self._progress(min(fraction, 0.99), f"Learning: {gain_db:+.1f} dB so far.")


class Learner:
    """The server's one place at the desk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self, job: Job) -> None:
        """Run it in the background.

        Raises:
            RequestError: "busy" while another job runs, of whatever session.
        """
        with self._lock:
            if self._closing:
                raise RequestError("server", "The server is ending. Start it again.")
            if self._job is not None:
                whose = "This" if self._job.learning is job.learning else "Another"
                raise RequestError(
                    "busy", f"{whose} session is learning. Wait for it, or learn/cancel there."
                )
            self._job = job
            job.learning.job = job
            job.learning.message = "Preparing."
            self._thread = threading.Thread(
                target=self._run, args=(job,), name="stembridge-learn", daemon=True
            )
            self._thread.start()

    def cancel(self, learning: SessionLearning, keep: bool) -> bool:
        """Cancel the job of that session; False if it has none."""
        with self._lock:
            if self._job is None or self._job.learning is not learning:
                return False
            self._job.cancel(keep)
            return True

    def close(self, ending: Ending | None = None) -> None:
        """Drop what runs and wait for its thread."""
        with self._lock:
            self._closing = True
            thread = self._thread
            if self._job is not None:
                self._job.cancel(keep=False)
        (ending or Ending()).join(thread)

    def _run(self, job: Job) -> None:
        job.run()
        with self._lock:
            self._job = None
        job.say_end()


@contextlib.contextmanager
def one_quiet_core():
    """One torch thread, and Python shared in short turns while it runs.

    A separation step asks for Python's lock a few hundred times, after each operation of
    torch; at the usual 5 ms a turn it would be late as soon as this thread is at Python.
    """
    import torch

    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    sys.setswitchinterval(min(interval, SWITCH_SECONDS))
    if threads != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if threads != 1:
            torch.set_num_threads(threads)
