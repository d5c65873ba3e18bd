"""What one session has learned or is about to: tape, marks, and the two prompts A and B.

A is the prompt that plays without learning, B the one made of the marks, as an example or
tuned. Only the prompts are swapped: gains, output and effects that a person changes in
between stay changed. A is taken down at the moment B begins to play, so "back" means back
to what was heard before, with the very same prompt objects.

Invariants: `tape` changes under the session's lock; marks are finite, audible and bounded;
everything else is changed on the control threads and by the job that `job` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..presets import Preset
from ..prompts import Clip, Prompt
from .learn_tape import Tape
from .protocol import RequestError, Value

if TYPE_CHECKING:
    from .learn_job import Job

DEFAULT_SECONDS = 30.0
MOST_MARKS = 32
MOST_MARKED_SECONDS = 300.0
MOST_MARKED_BYTES = 128 << 20
SILENT_PEAK = 1e-4
"""-80 dBFS."""


@dataclass(frozen=True)
class Prompts:
    """The part of a preset that A/B swaps."""

    keep: tuple[Prompt, ...]
    remove: tuple[Prompt, ...]
    tuning: Mapping[str, Any]
    description: str

    @classmethod
    def of(cls, preset: Preset) -> Prompts:
        return cls(preset.keep, preset.remove, preset.tuning, preset.description)

    def into(self, preset: Preset) -> Preset:
        """`preset` with these prompts."""
        return replace(
            preset,
            keep=self.keep,
            remove=self.remove,
            tuning=self.tuning,
            description=self.description,
        )

    def plays_in(self, preset: Preset) -> bool:
        return preset.keep is self.keep and preset.remove is self.remove


@dataclass(frozen=True)
class Lesson:
    """What came out: a prompt for one side and what is to be said about it."""

    side: str
    prompt: Prompt
    tuning: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


class SessionLearning:
    """The state of learning in one session."""

    def __init__(self) -> None:
        self.tape: Tape | None = None
        self.marks: list[Clip] = []
        self.lesson: Lesson | None = None
        self.before: Prompts | None = None
        """A, while B plays."""
        self.learned: Prompts | None = None
        """B as it plays or last played."""
        self.job: Job | None = None
        self.message = ""

    # -- marks -----------------------------------------------------------------------------

    @property
    def marked_seconds(self) -> float:
        return sum(clip.audio.shape[1] / clip.sample_rate for clip in self.marks)

    def cut(self, from_seconds: float, to_seconds: float, at_seconds: float = -1.0) -> Clip:
        """The selection as a clip; under the session's lock.

        `at_seconds` is the place on the tape that both count back from; below 0 = its end.

        Raises:
            RequestError: "server" when nothing is armed; "arguments" beyond the tape.
        """
        if self.tape is None:
            raise RequestError(
                "server", "The session keeps no input. Arm it first: learn/arm 30, and play."
            )
        since = self.tape.taped_seconds - at_seconds if at_seconds >= 0 else 0.0
        if since < 0:
            raise RequestError(
                "arguments",
                f"The tape has not come to {at_seconds:g} s: it was begun anew. Select again.",
            )
        audio = self.tape.cut(from_seconds + since, to_seconds + since)
        return Clip(audio, self.tape.sample_rate, f"mark {len(self.marks) + 1}")

    def mark(self, clip: Clip) -> None:
        """Keep a clip as an example.

        Raises:
            RequestError: "audio" for silence or NaN, "busy" when there are too many.
        """
        if not np.isfinite(clip.audio).all():
            raise RequestError(
                "audio", "The selection has samples that are not numbers. Select another."
            )
        if float(np.abs(clip.audio).max()) < SILENT_PEAK:
            raise RequestError(
                "audio", "The selection is silent. Select a stretch where the sound is heard."
            )
        seconds = self.marked_seconds + clip.audio.shape[1] / clip.sample_rate
        size = sum(kept.audio.nbytes for kept in self.marks) + clip.audio.nbytes
        if (
            len(self.marks) >= MOST_MARKS
            or seconds > MOST_MARKED_SECONDS
            or size > MOST_MARKED_BYTES
        ):
            raise RequestError(
                "busy",
                f"Marks hold at most {MOST_MARKS} clips, {MOST_MARKED_SECONDS:g} s and "
                f"{MOST_MARKED_BYTES >> 20} MiB. Forget some first: learn/forget.",
            )
        self.marks.append(clip)

    def forget(self, index: int) -> None:
        """Drop one mark, or all with -1. Raises RequestError for one that is not there."""
        if index < 0:
            self.marks = []
        elif index >= len(self.marks):
            raise RequestError("arguments", f"There are {len(self.marks)} marks, counted from 0.")
        else:
            del self.marks[index]

    def examples(self) -> tuple[Clip, ...]:
        """The marks. Raises RequestError "server" when there are none."""
        if not self.marks:
            raise RequestError(
                "server",
                "Nothing is marked. Play the sound and mark it: learn/mark 5 0 takes the last 5 s.",
            )
        return tuple(self.marks)

    # -- A and B ---------------------------------------------------------------------------

    def plays_learned(self, preset: Preset) -> bool:
        """Whether B is what plays now."""
        return self.learned is not None and self.learned.plays_in(preset)

    def with_learned(self, preset: Preset) -> Preset:
        """`preset` as it sounds with B.

        Raises:
            RequestError: "server" when nothing was learned yet.
        """
        if self.lesson is None:
            raise RequestError(
                "server", "Nothing was learned yet. Mark the sound, then learn/use or learn/tune."
            )
        lesson = self.lesson
        base = self._unlearned(preset)
        side: dict[str, Any] = {lesson.side: (lesson.prompt,)}
        return replace(base, **side, tuning=lesson.tuning, description=lesson.description)

    def without_learned(self, preset: Preset) -> Preset:
        """`preset` as it sounds with A: itself, unless B plays."""
        if self.lesson is None:
            raise RequestError(
                "server", "Nothing was learned yet. Mark the sound, then learn/use or learn/tune."
            )
        return self._unlearned(preset)

    def now_plays(self, before: Preset, after: Preset, learned: bool) -> None:
        """Take down what audition switched from and to."""
        if learned:
            if not self.plays_learned(before):
                self.before = Prompts.of(before)
            self.learned = Prompts.of(after)

    def _unlearned(self, preset: Preset) -> Preset:
        if self.before is not None and self.plays_learned(preset):
            return self.before.into(preset)
        return preset

    # -- words -----------------------------------------------------------------------------

    @property
    def state(self) -> str:
        if self.job is not None:
            return "learning"
        if self.lesson is not None:
            return "learned"
        return "armed" if self.tape is not None else "off"

    def status(self, preset: Preset, shown_seconds: float = 0.0) -> dict[str, Value]:
        """The keys that begin with `learn_`; `shown_seconds` is the session's."""
        tape, job = self.tape, self.job
        return {
            "learn_state": self.state,
            "learn_message": self.message,
            "learn_armed_seconds": tape.seconds if tape else 0.0,
            "learn_held_seconds": tape.held_seconds if tape else 0.0,
            "learn_taped_seconds": tape.taped_seconds if tape else 0.0,
            "learn_shown_seconds": shown_seconds if tape else 0.0,
            "learn_marks": len(self.marks),
            "learn_marked_seconds": float(self.marked_seconds),
            "learn_fraction": float(job.fraction) if job else 0.0,
            "learn_gain_db": float(job.gain_db) if job else self._gain_db(),
            "learn_audition": int(self.plays_learned(preset)),
        }

    def _gain_db(self) -> float:
        return float(self.lesson.tuning.get("gain_db", 0.0)) if self.lesson else 0.0
