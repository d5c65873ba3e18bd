"""What a verb and an event are, and the arguments that several of them share.

The verbs themselves are in `verbs_server`, `verbs_session` and `verbs_learn`, the events and
the keys of a status in `events`; `verbs` puts the table together.
"""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import TEXT_BYTES, Argument, Value

MODES = ("live", "mix", "render")
OUTPUTS = ("target", "remainder", "mix")
SIDES = ("keep", "remove")
GAIN_DB = (-60.0, 12.0)


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


def argument(name: str, kind: str, summary: str, **more: object) -> Argument:
    return Argument(name, kind, summary, **more)  # type: ignore[arg-type]


INDEX = argument("index", "i", "from 0", low=0)
COUNT = argument("count", "i", "how many replies there are; 0 = none, the rest is empty", low=0)
PAIRS = argument("pairs", "s", "key, value, key, value, …: see the status keys", many=True)
RATE_HZ = argument("rate_hz", "f", "messages a second; 0 ends it", low=0, high=60)
FIXED = argument(
    "fixed",
    "i",
    "1 = all host blocks are the largest; of no effect any more, since steps are counted from the "
    "first sound, which may come anywhere in a block",
    low=0,
    high=1,
    default=0,
)
LATENCY = (
    argument("latency_samples", "i", "what the host must be told: the sum of the parts", low=0),
    argument("adaptation_samples", "i", "host blocks against separator steps", low=0),
    argument("separator_samples", "i", "look-ahead, overlap and resampling", low=0),
    argument("deadline_samples", "i", "largest host block and the server's time for a step", low=0),
    argument("fade_samples", "i", "run-up of the plugin's cross-fade to dry", low=0),
)
TEXT = (
    argument("part", "i", "from 0", low=0, high=4095),
    argument("parts", "i", "how many parts the text has", low=1, high=4096),
    argument("text", "s", f"at most 8000 bytes a part, {TEXT_BYTES >> 20} MiB in all"),
)
