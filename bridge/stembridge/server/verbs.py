"""Every verb that the server understands, and every message it sends unasked, as a table.

The dispatcher is built from `VERBS`, the documentation page `docs/osc.md` is written from
it by `server.tables` and a test holds the two together, so a verb cannot exist without its
line in the manual. Paths are lower-case nouns with the verb last; `<id>` stands for a
session. Adding a verb or a trailing optional argument keeps `PROTOCOL`; anything else
raises it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import PROTOCOL, TEXT_BYTES, Argument, Value

_MODES = ("live", "mix", "render")
_OUTPUTS = ("target", "remainder", "mix")
_SIDES = ("keep", "remove")
_GAIN_DB = (-60.0, 12.0)


@dataclass(frozen=True)
class Verb:
    """One request. `trusted` ones need the token in `/server/hello`."""

    path: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    reply: tuple[Argument, ...] = ()
    example: tuple[Value, ...] = ()
    trusted: bool = False
    reserved: bool = False
    """Answered with "unavailable" until the part behind it is built."""

    @property
    def of_session(self) -> bool:
        return self.path.startswith("/session/<id>/")


@dataclass(frozen=True)
class Event:
    """One message that the server sends to subscribers."""

    path: str
    summary: str
    arguments: tuple[Argument, ...] = ()


def _a(name: str, kind: str, summary: str, **more: object) -> Argument:
    return Argument(name, kind, summary, **more)  # type: ignore[arg-type]


_INDEX = _a("index", "i", "from 0", low=0)
_COUNT = _a("count", "i", "how many replies there are; 0 = none, the rest is empty", low=0)
_PAIRS = _a("pairs", "s", "key, value, key, value, …: see the status keys", many=True)
_RATE = _a("rate_hz", "f", "messages a second; 0 ends it", low=0, high=60)
_FIXED = _a(
    "fixed",
    "i",
    "1 = all host blocks are the largest; of no effect any more, since steps are counted from the "
    "first sound, which may come anywhere in a block",
    low=0,
    high=1,
    default=0,
)
_LATENCY = (
    _a("latency_samples", "i", "what the host must be told: the sum of the parts", low=0),
    _a("adaptation_samples", "i", "host blocks against separator steps", low=0),
    _a("separator_samples", "i", "look-ahead, overlap and resampling", low=0),
    _a("deadline_samples", "i", "largest host block and the server's time for a step", low=0),
    _a("fade_samples", "i", "run-up of the plugin's cross-fade to dry", low=0),
)
_TEXT = (
    _a("part", "i", "from 0", low=0, high=4095),
    _a("parts", "i", "how many parts the text has", low=1, high=4096),
    _a("text", "s", f"at most 8000 bytes a part, {TEXT_BYTES >> 20} MiB in all"),
)

VERBS: tuple[Verb, ...] = (
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
    Verb("/server/status/get", "State of the server.", (), (_PAIRS,)),
    Verb(
        "/server/status/subscribe",
        "Sends `/server/status` at a rate, for 30 s after the client's last message.",
        (_RATE,),
        (_RATE,),
        (1.0,),
    ),
    Verb("/server/quit", "Ends the server; plugins go on with their dry signal.", trusted=True),
    Verb(
        "/separator/list",
        "The separators of this installation, one reply each.",
        (),
        (
            _INDEX,
            _COUNT,
            _a("name", "s", "as in presets"),
            _a("available", "i", "1 = can run here"),
            _a("summary", "s", "for people, or why it cannot run and what to do"),
        ),
    ),
    Verb(
        "/separator/names",
        "The sounds a separator knows by name, one reply each (for menus and completion).",
        (_a("separator", "s", "its name, or auto", default="unet", longest=100),),
        (_INDEX, _COUNT, _a("name", "s", "a name for keep or remove")),
        ("unet",),
    ),
    Verb(
        "/latency/get",
        "The latency of a mode before a link is open, so that a plugin can report it while "
        "the server is away.",
        (
            _a("separator", "s", "its name, or auto", longest=100),
            _a("mode", "s", "latency mode", choices=_MODES),
            _a("sample_rate", "i", "of the host, Hz", low=8000, high=384000),
            _a("block_samples", "i", "the host's largest block", low=1, high=65536),
            _FIXED,
            _a(
                "preset",
                "s",
                "name or text of a preset, which then decides on the separator and its options "
                "(a checkpoint, chunking); what auto takes depends on the prompts",
                default="",
            ),
        ),
        _LATENCY,
        ("unet", "mix", 48000, 512),
    ),
    Verb(
        "/preset/list",
        "All presets by name, one reply each, factory ones first.",
        (),
        (
            _INDEX,
            _COUNT,
            _a("name", "s", "what `load` takes"),
            _a("group", "s", "factory or user", choices=("factory", "user", "")),
            _a("description", "s", "one line"),
        ),
    ),
    Verb(
        "/preset/get",
        "The text of a stored preset, in parts.",
        (_a("name", "s", "a preset's name", longest=1000),),
        _TEXT,
        ("vocals",),
    ),
    Verb(
        "/session/list",
        "The open sessions, one reply each.",
        (),
        (
            _INDEX,
            _COUNT,
            _a("id", "s", "what stands for <id>"),
            _a("preset", "s", "its preset"),
            _a("mode", "s", "its mode"),
            _a("state", "s", "as in status"),
        ),
    ),
    Verb(
        "/session/<id>/link/open",
        "Opens the session on the shared-memory link that the plugin made. An id that is open "
        "already moves to the new link. An empty preset means the one given by `preset/set` "
        "or `preset/send` before the opening, else the factory default.",
        (
            _a("link", "s", "name of the shared-memory object", longest=200),
            _a("preset", "s", "a preset's name or its whole text, or empty", default=""),
            _FIXED,
        ),
        _LATENCY,
        ("/stembridge-5f0c2a91d3", "vocals"),
    ),
    Verb("/session/<id>/link/close", "Ends the session; the link may be removed then."),
    Verb(
        "/session/<id>/preset/load",
        "Loads a preset by name or by path (a path inside the preset folders or those allowed "
        "at the start; anywhere with the token). Cross-faded, no gap.",
        (_a("name", "s", "a name or path", longest=4000),),
        (_a("name", "s", "as the preset calls itself"), *_LATENCY),
        ("vocals",),
    ),
    Verb(
        "/session/<id>/preset/set",
        "Loads a preset by content: its whole text. Before `link/open` the text is kept for "
        "the opening (the reply then has latency 0).",
        (_a("text", "s", "the whole text, at most 8000 bytes"),),
        (_a("name", "s", "as the preset calls itself"), *_LATENCY),
        ('{"stembridge_preset": 1, "name": "Mine", "keep": ["vocals"]}',),
    ),
    Verb(
        "/session/<id>/preset/send",
        "The same for a longer text, in parts from 0 on and in order; part 0 begins anew. The "
        "reply to the last part is that of `preset/set`, the others are answered with the "
        "part's number.",
        _TEXT,
        (_a("name", "s", "or the number of the part"), *_LATENCY),
        (0, 1, '{"stembridge_preset": 1, "name": "Mine", "keep": ["vocals"]}'),
    ),
    Verb(
        "/session/<id>/preset/get",
        "The session's present preset as text, in parts: what a plugin's state carries.",
        (),
        _TEXT,
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
            _a("side", "s", "which side", choices=_SIDES),
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
            _a("target_db", "f", "gain of the target, dB", low=_GAIN_DB[0], high=_GAIN_DB[1]),
            _a("remainder_db", "f", "of the remainder, dB", low=_GAIN_DB[0], high=_GAIN_DB[1]),
        ),
        (_a("target_db", "f", "as set"), _a("remainder_db", "f", "as set")),
        (0.0, -12.0),
    ),
    Verb(
        "/session/<id>/mode/set",
        "Latency mode; the reply and the event `latency` carry the new latency.",
        (_a("mode", "s", "latency mode", choices=_MODES),),
        (_a("mode", "s", "as set"), *_LATENCY),
        ("live",),
    ),
    Verb(
        "/session/<id>/output/set",
        "What is heard: the target alone, the remainder alone, or both with their gains.",
        (_a("output", "s", "output", choices=_OUTPUTS),),
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
    Verb("/session/<id>/status/get", "State of the session.", (), (_PAIRS,)),
    Verb(
        "/session/<id>/status/subscribe",
        "Sends the session's events: `status`, `levels` and `spectrum` at the rate, the others "
        "as they happen; for 30 s after the client's last message.",
        (
            _RATE,
            _a("spectrum", "i", "1 = with spectrum", low=0, high=1, default=0),
        ),
        (_RATE,),
        (15.0, 1),
    ),
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
        (_a("side", "s", "which side", choices=_SIDES, default="keep"),),
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
            _a("side", "s", "which side", choices=_SIDES, default="keep"),
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

_RMS = "dBFS, -120 = silence"
EVENTS: tuple[Event, ...] = (
    Event("/server/status", "State of the server, at the subscribed rate.", (_PAIRS,)),
    Event("/session/<id>/status", "State of the session, at the subscribed rate.", (_PAIRS,)),
    Event(
        "/session/<id>/levels",
        "RMS and peak since the last such message, at the subscribed rate.",
        tuple(
            _a(f"{part}_{kind}_db", "f", _RMS)
            for part in ("input", "target", "remainder")
            for kind in ("rms", "peak")
        ),
    ),
    Event(
        "/session/<id>/spectrum",
        "A column of the picture of what is kept and removed, 20 for each second of sound: 64 "
        "bands spaced evenly in log frequency from 40 Hz to 18 kHz, of 4096 samples; byte = dB "
        "above -96 dBFS times 255/96.",
        (
            _a("target", "b", "64 bytes"),
            _a("remainder", "b", "64 bytes"),
            _a("place_seconds", "f", "on the learning tape; -1 = nothing is armed"),
        ),
    ),
    Event(
        "/session/<id>/latency",
        "The session's latency changed (mode or sample rate): tell the host.",
        _LATENCY,
    ),
    Event(
        "/session/<id>/change",
        "Another client changed something: preset, keep, remove, output, mode, bypass, "
        "target_gain_db, remainder_gain_db.",
        (_a("key", "s", "as in the status keys"), _a("value", "s", "the new value as text")),
    ),
    Event(
        "/session/<id>/progress",
        "Long work goes on: loading weights, encoding, learning. Also sent to who asked for it.",
        (
            _a("task", "s", "one word"),
            _a("fraction", "f", "0 to 1; 1 = done", low=0, high=1),
            _a("text", "s", "for people"),
        ),
    ),
    Event(
        "/session/<id>/closed",
        "The session is gone, and with it the subscription.",
        (_a("reason", "s", "asked, plugin gone, replaced, server ends, or an error"),),
    ),
)

SESSION_STATUS: tuple[Argument, ...] = (
    _a("state", "s", "waiting, playing, late, silent, idle, bypass, error"),
    _a("message", "s", "one sentence for people; what to do in states error and late"),
    _a("preset", "s", "name of the present preset"),
    _a("keep", "s", "prompts to keep, separated by commas"),
    _a("remove", "s", "prompts to remove, separated by commas"),
    _a("separator", "s", "name of the separator"),
    _a("model", "s", "its weights and prompt space"),
    _a("mode", "s", "live, mix or render"),
    _a("output", "s", "target, remainder or mix"),
    _a("target_gain_db", "f", "gain of the target"),
    _a("remainder_gain_db", "f", "gain of the remainder"),
    _a("bypass", "i", "0 or 1"),
    _a("sample_rate", "i", "of the link, Hz"),
    _a("channels", "i", "of the link"),
    _a("latency_samples", "i", "sum of the next four"),
    _a("latency_adaptation_samples", "i", "host blocks against separator steps"),
    _a("latency_separator_samples", "i", "look-ahead, overlap and resampling"),
    _a("latency_deadline_samples", "i", "largest host block and the server's time for a step"),
    _a("latency_fade_samples", "i", "run-up of the plugin's cross-fade to dry"),
    _a("load", "f", "share of one core over the last seconds, 1 = all of it"),
    _a("need", "f", "share of real time that its steps take here; above 1 it cannot keep up"),
    _a("queue_samples", "i", "input that waits for the server"),
    _a("processed_samples", "s", "separated since the opening (a long number, as text)"),
    _a("misses", "i", "deliveries that came too late to be heard whole"),
    _a("late_samples", "s", "samples that came too late (a long number, as text)"),
    _a("lost_samples", "s", "input that the server never got to read (the same)"),
    _a("dry_samples", "s", "of the last offline render, dry for want of a server (as text)"),
    _a("kept_share", "f", "energy of the target over that of the input, last 3 s; -1 = silence"),
    _a("learn_state", "s", "off, armed, learning, learned"),
    _a("learn_message", "s", "the outcome of learning, or what went wrong"),
    _a("learn_armed_seconds", "f", "length of the tape; 0 = not armed"),
    _a("learn_held_seconds", "f", "how much input is on it"),
    _a("learn_taped_seconds", "f", "how much was put on it since it was armed: the place of now"),
    _a("learn_shown_seconds", "f", "the place on it of the newest finished sound"),
    _a("learn_marks", "i", "examples marked"),
    _a("learn_marked_seconds", "f", "their length"),
    _a("learn_fraction", "f", "of the steps, while learning"),
    _a("learn_gain_db", "f", "what tuning has gained over the mean of the marks"),
    _a("learn_audition", "i", "1 = the learned prompt plays"),
    _a("probe_state", "s", "off, listening, working, done, or old: the prompts changed since"),
    _a("probe_fraction", "f", "of listening or working"),
    _a("probe_match", "f", "probability that the prompt's sound is there; -1 = not known"),
    _a("probe_share", "f", "of the mix that the prompt takes, 0 to 1; -1 = not known"),
    _a("probe_message", "s", "the outcome in a sentence, or why there is none"),
)
SERVER_STATUS: tuple[Argument, ...] = (
    _a("version", "s", "of Stembridge"),
    _a("protocol", "i", "of this page"),
    _a("pid", "i", "process id"),
    _a("uptime_seconds", "i", "since the start"),
    _a("sessions", "i", "open sessions"),
    _a("load", "f", "cores used over the last seconds"),
    _a("memory_bytes", "s", "resident (a long number, as text)"),
    _a("workers", "i", "threads that separate"),
    _a("batch", "f", "mean sessions per network call over the last seconds"),
    _a("packets", "i", "datagrams received"),
    _a("malformed", "i", "of them not OSC"),
    _a("refused", "i", "requests answered with /error"),
    _a("far_timetags", "i", "bundles with a time tag more than 1 s away; they run at once"),
    _a("clients", "i", "clients heard in the last 30 s"),
    _a("presets", "i", "presets known"),
)
