"""The verbs of one session: its link, preset, prompts, gains, mode and status."""

from __future__ import annotations

from .verb import FIXED, GAIN_DB, LATENCY, MODES, OUTPUTS, PAIRS, RATE_HZ, SIDES, TEXT, Verb
from .verb import argument as _a

SESSION_VERBS: tuple[Verb, ...] = (
    Verb(
        "/session/<id>/link/open",
        "Opens the session on the shared-memory link that the plugin made. An id that is open "
        "already moves to the new link. An empty preset means the one given by `preset/set` "
        "or `preset/send` before the opening, else the factory default.",
        (
            _a("link", "s", "name of the shared-memory object", longest=200),
            _a("preset", "s", "a preset's name or its whole text, or empty", default=""),
            FIXED,
        ),
        LATENCY,
        ("/stembridge-5f0c2a91d3", "vocals"),
    ),
    Verb("/session/<id>/link/close", "Ends the session; the link may be removed then."),
    Verb(
        "/session/<id>/preset/load",
        "Loads a preset by name or by path (a path inside the preset folders or those allowed "
        "at the start; anywhere with the token). Cross-faded, no gap.",
        (_a("name", "s", "a name or path", longest=4000),),
        (_a("name", "s", "as the preset calls itself"), *LATENCY),
        ("vocals",),
    ),
    Verb(
        "/session/<id>/preset/set",
        "Loads a preset by content: its whole text. Before `link/open` the text is kept for "
        "the opening (the reply then has latency 0).",
        (_a("text", "s", "the whole text, at most 8000 bytes"),),
        (_a("name", "s", "as the preset calls itself"), *LATENCY),
        ('{"stembridge_preset": 1, "name": "Mine", "keep": ["vocals"]}',),
    ),
    Verb(
        "/session/<id>/preset/send",
        "The same for a longer text, in parts from 0 on and in order; part 0 begins anew. The "
        "reply to the last part is that of `preset/set`, the others are answered with the "
        "part's number.",
        TEXT,
        (_a("name", "s", "or the number of the part"), *LATENCY),
        (0, 1, '{"stembridge_preset": 1, "name": "Mine", "keep": ["vocals"]}'),
    ),
    Verb(
        "/session/<id>/preset/get",
        "The session's present preset as text, in parts: what a plugin's state carries.",
        (),
        TEXT,
    ),
    Verb(
        "/session/<id>/preset/save",
        "Writes the session's preset under a name into the user's presets.",
        (
            _a("name", "s", "the new preset's name", longest=200),
            _a("replace", "i", "1 = replace one of that name", low=0, high=1, default=0),
        ),
        (_a("name", "s", "as saved"), _a("path", "s", "of the file")),
        ("My vocals", 0),
    ),
    Verb(
        "/session/<id>/keep/set",
        "What to keep: names or free text, one per argument or separated by commas; none "
        "clears the side. Refused (`prompt`, with the nearest names) leaves all as it was.",
        (_a("prompts", "s", "a name or a text", many=True, longest=1000),),
        (_a("prompts", "s", "as understood, one per prompt", many=True),),
        ("vocals",),
    ),
    Verb(
        "/session/<id>/remove/set",
        "What to remove, in the same way.",
        (_a("prompts", "s", "a name or a text", many=True, longest=1000),),
        (_a("prompts", "s", "as understood, one per prompt", many=True),),
        ("drums", "bass"),
    ),
    Verb(
        "/session/<id>/example/set",
        "Takes an audio file as the example of one side, in place of what was there (a path "
        "inside the allowed folders; anywhere with the token).",
        (
            _a("side", "s", "which side", choices=SIDES),
            _a("path", "s", "an audio file", longest=4000),
            _a("start_seconds", "f", "begin of the clip", low=0, high=86400, default=0.0),
            _a("length_seconds", "f", "0 = to the end, at most 60", low=0, high=60, default=0.0),
        ),
        (_a("side", "s", "as sent"), _a("seconds", "f", "length of the clip used")),
        ("keep", "organ.wav", 2.0, 5.0),
    ),
    Verb(
        "/session/<id>/gain/set",
        "Gains of target and remainder in mix output; -60 means off. Ramped.",
        (
            _a("target_db", "f", "gain of the target, dB", low=GAIN_DB[0], high=GAIN_DB[1]),
            _a("remainder_db", "f", "of the remainder, dB", low=GAIN_DB[0], high=GAIN_DB[1]),
        ),
        (_a("target_db", "f", "as set"), _a("remainder_db", "f", "as set")),
        (0.0, -12.0),
    ),
    Verb(
        "/session/<id>/mode/set",
        "Latency mode; the reply and the event `latency` carry the new latency.",
        (_a("mode", "s", "latency mode", choices=MODES),),
        (_a("mode", "s", "as set"), *LATENCY),
        ("live",),
    ),
    Verb(
        "/session/<id>/output/set",
        "What is heard: the target alone, the remainder alone, or both with their gains.",
        (_a("output", "s", "output", choices=OUTPUTS),),
        (_a("output", "s", "as set"),),
        ("remainder",),
    ),
    Verb(
        "/session/<id>/bypass/set",
        "1 = the dry signal, aligned, at the same latency; costs no separation.",
        (_a("bypass", "i", "0 or 1", low=0, high=1),),
        (_a("bypass", "i", "as set"),),
        (1,),
    ),
    Verb("/session/<id>/status/get", "State of the session.", (), (PAIRS,)),
    Verb(
        "/session/<id>/status/subscribe",
        "Sends the session's events: `status`, `levels` and `spectrum` at the rate, the others "
        "as they happen; for 30 s after the client's last message.",
        (
            RATE_HZ,
            _a("spectrum", "i", "1 = with spectrum", low=0, high=1, default=0),
        ),
        (RATE_HZ,),
        (15.0, 1),
    ),
)
