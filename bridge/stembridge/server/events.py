"""The messages that the server sends unasked, and the keys of a status, as tables."""

from __future__ import annotations

from .protocol import Argument
from .verb import LATENCY, PAIRS, Event
from .verb import argument as _a

_RMS = "dBFS, -120 = silence"
EVENTS: tuple[Event, ...] = (
    Event("/server/status", "State of the server, at the subscribed rate.", (PAIRS,)),
    Event("/session/<id>/status", "State of the session, at the subscribed rate.", (PAIRS,)),
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
        LATENCY,
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
