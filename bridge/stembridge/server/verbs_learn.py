"""The verbs by which a session learns a sound from what plays, probes a prompt and reports."""

from __future__ import annotations

from .verb import SIDES, Verb
from .verb import argument as _a

LEARN_VERBS: tuple[Verb, ...] = (
    Verb(
        "/session/<id>/learn/arm",
        "Keeps the last seconds of the session's input for learning; 0 disarms. Arming again "
        "begins with an empty tape; marks stay. At most 128 MiB. Nothing is kept in bypass.",
        (_a("seconds", "f", "how much", low=0, high=300, default=30.0),),
        (_a("seconds", "f", "as set"),),
        (30.0,),
    ),
    Verb(
        "/session/<id>/learn/mark",
        "Takes a stretch of the kept input as an example of the sound; several add up. Silence "
        "and what is no longer kept are refused.",
        (
            _a("from_seconds", "f", "begin, seconds ago", low=0, high=300),
            _a("to_seconds", "f", "end, seconds ago", low=0, high=300, default=0.0),
            _a(
                "at_seconds",
                "f",
                "the place on the tape that both count back from (learn_taped_seconds when the "
                "choice was made); -1 = now",
                low=-1,
                high=1e7,
                default=-1.0,
            ),
        ),
        (
            _a("marks", "i", "how many there are now"),
            _a("seconds", "f", "length of this one"),
            _a("marked_seconds", "f", "length of all"),
        ),
        (5.0, 0.0),
    ),
    Verb(
        "/session/<id>/learn/forget",
        "Drops a mark, or all of them.",
        (_a("index", "i", "which one, from 0; -1 = all", low=-1, high=31, default=-1),),
        (_a("marks", "i", "how many are left"), _a("marked_seconds", "f", "length of all")),
    ),
    Verb(
        "/session/<id>/learn/use",
        "Plays the marks as the example of one side at once, cross-faded; the prompt before "
        "is what `learn/audition 0` goes back to.",
        (_a("side", "s", "which side", choices=SIDES, default="keep"),),
        (
            _a("side", "s", "as sent"),
            _a("marks", "i", "how many are used"),
            _a("marked_seconds", "f", "length of all"),
        ),
        ("keep",),
    ),
    Verb(
        "/session/<id>/learn/tune",
        "Tunes a prompt on the marks in the background and answers when that has begun. Events "
        "`progress` with the task `learn` follow, the last with fraction 1 and the outcome. What "
        "plays is not changed: `learn/audition 1` plays the result. One at a time per server.",
        (
            _a("side", "s", "which side", choices=SIDES, default="keep"),
            _a("steps", "i", "gradient steps at most", low=1, high=2000, default=160),
        ),
        (
            _a("side", "s", "as sent"),
            _a("marks", "i", "how many are learned from"),
            _a("marked_seconds", "f", "length of all"),
        ),
        ("keep", 160),
    ),
    Verb(
        "/session/<id>/learn/cancel",
        "Ends learning at the next step.",
        (_a("keep", "i", "1 = keep the best so far, 0 = drop", low=0, high=1, default=0),),
        (_a("keep", "i", "as sent"),),
        (1,),
    ),
    Verb(
        "/session/<id>/learn/audition",
        "Hears the prompt before (0) or after (1) learning: a cross-fade at the same latency. "
        "Only the prompts change; gains, output and effects stay as they are.",
        (_a("learned", "i", "0 or 1", low=0, high=1),),
        (_a("learned", "i", "as sent"),),
        (1,),
    ),
    Verb(
        "/session/<id>/learn/save",
        "Writes the session's preset with what was learned under a name into the user's "
        "presets, whichever of both prompts plays.",
        (
            _a("name", "s", "the new preset's name", longest=200),
            _a("replace", "i", "1 = replace one of that name", low=0, high=1, default=0),
        ),
        (_a("name", "s", "as saved"), _a("path", "s", "of the file")),
        ("My organ", 0),
    ),
    Verb(
        "/session/<id>/probe/start",
        "Asks whether the prompt fits what is played: listens for so long (or takes it from an "
        "armed tape that holds as much) and then separates that again, beside the audio. The "
        "outcome is in the status keys that begin with `probe_`.",
        (_a("seconds", "f", "to listen", low=2, high=30, default=10.0),),
        (_a("seconds", "f", "as set"), _a("listening", "i", "0 = the tape held them already")),
        (10.0,),
    ),
    Verb(
        "/session/<id>/render/report",
        "The plugin tells how much of its last offline render was dry because no server came; "
        "0 takes that back. It is shown in the session's status.",
        (_a("dry_samples", "i", "of the last render", low=0),),
        (_a("dry_samples", "i", "as sent"),),
        (0,),
    ),
)
