"""The verbs of the server itself: hello, status, separators, latencies, presets, sessions."""

from __future__ import annotations

from .protocol import PROTOCOL
from .verb import COUNT, FIXED, INDEX, LATENCY, MODES, PAIRS, RATE_HZ, TEXT, Verb
from .verb import argument as _a

SERVER_VERBS: tuple[Verb, ...] = (
    Verb(
        "/server/hello",
        "Who are you: first message of every client. A wrong protocol gives `version` and a "
        "message with both versions. The token (from the server's file) lets the client name "
        "any file and quit the server; it is asked for again after a minute without messages.",
        (
            _a("protocol", "i", "the protocol version the client speaks", low=0),
            _a("client", "s", "name and version, for the log", longest=200),
            _a("token", "s", "from server.json, or empty", default="", longest=200),
        ),
        (
            _a("protocol", "i", f"the server's, now {PROTOCOL}"),
            _a("version", "s", "of Stembridge"),
            _a("trusted", "i", "1 = the token was right"),
            _a("capabilities", "s", "words separated by spaces"),
            _a("pid", "i", "process id of the server"),
        ),
        (PROTOCOL, "my-script 1.0"),
    ),
    Verb(
        "/server/ping",
        "Answers at once with the same number; keeps subscriptions and trust alive.",
        (_a("number", "i", "comes back", default=0),),
        (_a("number", "i", "as sent"), _a("sessions", "i", "open sessions")),
        (7,),
    ),
    Verb("/server/status/get", "State of the server.", (), (PAIRS,)),
    Verb(
        "/server/status/subscribe",
        "Sends `/server/status` at a rate, for 30 s after the client's last message.",
        (RATE_HZ,),
        (RATE_HZ,),
        (1.0,),
    ),
    Verb("/server/quit", "Ends the server; plugins go on with their dry signal.", trusted=True),
    Verb(
        "/separator/list",
        "The separators of this installation, one reply each.",
        (),
        (
            INDEX,
            COUNT,
            _a("name", "s", "as in presets"),
            _a("available", "i", "1 = can run here"),
            _a("summary", "s", "for people, or why it cannot run and what to do"),
        ),
    ),
    Verb(
        "/separator/names",
        "The sounds a separator knows by name, one reply each (for menus and completion).",
        (_a("separator", "s", "its name, or auto", default="unet", longest=100),),
        (INDEX, COUNT, _a("name", "s", "a name for keep or remove")),
        ("unet",),
    ),
    Verb(
        "/latency/get",
        "The latency of a mode before a link is open, so that a plugin can report it while "
        "the server is away.",
        (
            _a("separator", "s", "its name, or auto", longest=100),
            _a("mode", "s", "latency mode", choices=MODES),
            _a("sample_rate", "i", "of the host, Hz", low=8000, high=384000),
            _a("block_samples", "i", "the host's largest block", low=1, high=65536),
            FIXED,
            _a(
                "preset",
                "s",
                "name or text of a preset, which then decides on the separator and its options "
                "(a checkpoint, chunking); what auto takes depends on the prompts",
                default="",
            ),
        ),
        LATENCY,
        ("unet", "mix", 48000, 512),
    ),
    Verb(
        "/preset/list",
        "All presets by name, one reply each, factory ones first.",
        (),
        (
            INDEX,
            COUNT,
            _a("name", "s", "what `load` takes"),
            _a("group", "s", "factory or user", choices=("factory", "user", "")),
            _a("description", "s", "one line"),
        ),
    ),
    Verb(
        "/preset/get",
        "The text of a stored preset, in parts.",
        (_a("name", "s", "a preset's name", longest=1000),),
        TEXT,
        ("vocals",),
    ),
    Verb(
        "/session/list",
        "The open sessions, one reply each.",
        (),
        (
            INDEX,
            COUNT,
            _a("id", "s", "what stands for <id>"),
            _a("preset", "s", "its preset"),
            _a("mode", "s", "its mode"),
            _a("state", "s", "as in status"),
        ),
    ),
)
