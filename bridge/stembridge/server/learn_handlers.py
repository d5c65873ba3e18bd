"""What the learn verbs of a session do.

Marks, example and A/B run on the control threads like every change of a session; tuning
runs on the `Learner`'s thread and reports by `progress` events with the task "learn".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..presets import Preset, save_preset
from ..prompts import ExamplePrompt
from ..tuning.tune import tunable_of
from .handlers import slow
from .learn import Lesson
from .learn_job import Job
from .learn_tape import Tape
from .log import event
from .osc import Handler, Request
from .protocol import RequestError
from .reports import words
from .session import Session

if TYPE_CHECKING:
    from .session_handlers import SessionHandlers


class LearnHandlers:
    """Handlers of `/session/<id>/learn/…`, on top of those of the session."""

    def __init__(self, handlers: SessionHandlers) -> None:
        self.handlers = handlers
        self.server = handlers.server

    def table(self) -> dict[str, Handler]:
        """Verb path to handler."""
        working: dict[str, Handler] = {
            "arm": self.arm,
            "mark": self.mark,
            "forget": self.forget,
            "use": self.use,
            "tune": self.tune,
            "cancel": self.cancel,
            "audition": self.audition,
            "save": self.save,
        }
        return {f"/session/<id>/learn/{name}": self._slowly(do) for name, do in working.items()}

    def _slowly(self, handler: Handler) -> Handler:
        return lambda request: slow(self.server, request, lambda: handler(request))

    def _session(self, request: Request) -> Session:
        return self.server.session(request.session)

    # -- the tape and its marks ------------------------------------------------------------

    def arm(self, request: Request) -> None:
        session, seconds = self._session(request), request.values["seconds"]
        tape = Tape(session.sample_rate, session.channels, seconds) if seconds > 0 else None
        with session.lock:
            session.learning.tape = tape
        request.reply(seconds)

    def mark(self, request: Request) -> None:
        session, values = self._session(request), request.values
        learning = session.learning
        with session.lock:
            clip = learning.cut(values["from_seconds"], values["to_seconds"], values["at_seconds"])
        learning.mark(clip)
        seconds = clip.audio.shape[1] / clip.sample_rate
        request.reply(len(learning.marks), seconds, float(learning.marked_seconds))

    def forget(self, request: Request) -> None:
        learning = self._session(request).learning
        learning.forget(request.values["index"])
        request.reply(len(learning.marks), float(learning.marked_seconds))

    # -- from marks to a prompt ------------------------------------------------------------

    def use(self, request: Request) -> None:
        session, side = self._session(request), request.values["side"]
        learning = session.learning
        clips = learning.examples()
        if learning.job is not None:
            raise RequestError(
                "busy", "This session is learning. Wait for it, or learn/cancel first."
            )
        previous = learning.lesson
        learning.lesson = Lesson(side, ExamplePrompt(clips))
        try:
            self._switch(request, session, learning.with_learned(session.preset), learned=True)
        except BaseException:
            learning.lesson = previous
            raise
        many = "the example" if len(clips) == 1 else f"{len(clips)} examples"
        learning.message = f"Plays {many} of what to {side}."
        request.reply(side, len(clips), float(learning.marked_seconds))

    def tune(self, request: Request) -> None:
        session, values = self._session(request), request.values
        learning = session.learning
        clips = learning.examples()
        tunable_of(session.separator)  # refused now rather than in the background
        handlers = self.handlers

        def progress(fraction: float, text: str) -> None:
            handlers.progress(request, "learn", fraction, text)

        job = Job(learning, session.separator, clips, values["side"], values["steps"], progress)
        self.server.learner.start(job)
        event("Learning", session=session.id, marks=len(clips), steps=values["steps"])
        request.reply(values["side"], len(clips), float(learning.marked_seconds))

    def cancel(self, request: Request) -> None:
        keep = bool(request.values["keep"])
        if not self.server.learner.cancel(self._session(request).learning, keep):
            raise RequestError("server", "This session is not learning. Start with learn/tune.")
        request.reply(int(keep))

    # -- A, B, and keeping B ---------------------------------------------------------------

    def audition(self, request: Request) -> None:
        session, learned = self._session(request), bool(request.values["learned"])
        learning, present = session.learning, session.preset
        wanted = learning.with_learned(present) if learned else learning.without_learned(present)
        if wanted is not present:
            self._switch(request, session, wanted, learned=learned)
        request.reply(int(learned))

    def save(self, request: Request) -> None:
        session, values = self._session(request), request.values
        learning = session.learning
        plays = learning.plays_learned(session.preset)
        preset = replace(
            learning.with_learned(session.preset),
            name=values["name"],
            mode=session.mode,
            group="tuned" if learning.lesson and learning.lesson.tuning else "",
        )
        path = save_preset(preset, overwrite=bool(values["replace"]))
        if plays:
            learning.now_plays(session.preset, preset, learned=True)
            session.preset = preset
            self.handlers.changed(request, "preset", preset.name)
        request.reply(preset.name, str(path))

    def _switch(self, request: Request, session: Session, wanted: Preset, *, learned: bool) -> None:
        present = session.preset
        self.handlers.apply(request, session, wanted)
        session.learning.now_plays(present, session.preset, learned=learned)
        for side in ("keep", "remove"):
            if getattr(present, side) is not getattr(session.preset, side):
                self.handlers.changed(request, side, words(getattr(session.preset, side)))
