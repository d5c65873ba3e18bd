"""The OSC contract as data: numbers, words, limits, and how arguments are checked.

Nothing here knows sockets, audio or presets. `Argument.check` is the one place where a
value that came over the network becomes a value that the server trusts: kind, range,
length and choice are verified, numbers that a control surface sends as floats are taken
as integers when they are whole, and everything else is refused with a sentence that
names the argument. The verbs themselves are in `verbs`, the messages that the server
sends unasked in `events`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ServerError

PROTOCOL = 1
"""Version of verbs and events together; raised when an old client would go wrong."""
DEFAULT_PORT = 9137
"""UDP port of the server when it is free and no other was asked for."""
PART_BYTES = 8000
"""Longest text in one message: a datagram of 9216 bytes passes on every system."""
TEXT_BYTES = 16 << 20
"""Longest text in parts."""
SESSION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""What may stand for `<id>` in a path."""

Kind = Literal["i", "f", "s", "b"]
Value = int | float | str | bytes
KINDS: dict[str, str] = {"i": "int32", "f": "float32", "s": "string", "b": "blob"}


class RequestError(ServerError):
    """A request that is refused; `code` is the word that goes into `/error`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


ERROR_CODES: dict[str, str] = {
    "path": "no such path; the message names the nearest one",
    "arguments": "wrong number, type or range of arguments",
    "version": "client and server speak different protocol versions",
    "session": "no session of that id is open",
    "busy": "too many sessions or marks, or learning goes on already",
    "forbidden": "a file outside the allowed folders, or a verb that needs the token",
    "link": "the shared-memory link is corrupt, of another version, or gone",
    "preset": "a preset that is broken, too new, or does not exist",
    "prompt": "a prompt that the separator cannot take",
    "audio": "an audio file that cannot be read, or silence where sound is needed",
    "checkpoint": "weights that are missing or unsafe",
    "unavailable": "a part that is not installed or not built yet",
    "server": "the server cannot do that now",
    "internal": "a fault of the server; its log tells more",
}


@dataclass(frozen=True)
class Argument:
    """One argument of a verb, a reply or an event."""

    name: str
    kind: Kind
    summary: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    default: Value | None = None
    """A value makes the argument optional."""
    many: bool = False
    """The last argument may be given any number of times, also never."""
    longest: int = PART_BYTES
    """Of a string or blob, in bytes."""

    def check(self, value: Any) -> Value:
        """The value as `kind`, or RequestError("arguments") naming what is wrong."""
        if isinstance(value, bool):
            value = int(value)
        if self.kind in "if":
            return self._number(value)
        wanted: type = str if self.kind == "s" else bytes
        if not isinstance(value, wanted):
            raise self._wrong(f"must be a {KINDS[self.kind]}")
        size = len(value.encode()) if isinstance(value, str) else len(value)
        if size > self.longest:
            raise self._wrong(f"is {size} bytes long, the limit is {self.longest}")
        if self.choices and value not in self.choices:
            raise self._wrong(f"must be one of {', '.join(self.choices)}, not {value!r}")
        return value

    def _number(self, value: Any) -> Value:
        if not isinstance(value, int | float):
            raise self._wrong(f"must be a number ({KINDS[self.kind]})")
        if not math.isfinite(value):
            raise self._wrong("must be finite")
        if self.kind == "i":
            if value != int(value):
                raise self._wrong(f"must be a whole number, not {value}")
            value = int(value)
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):
            raise self._wrong(f"is {value:g}, the range is {self.range_text}")
        return value if self.kind == "i" else float(value)

    def _wrong(self, what: str) -> RequestError:
        return RequestError("arguments", f"The argument <{self.name}> {what}.")

    @property
    def range_text(self) -> str:
        """The range in words, for messages and the documentation page."""
        if self.choices:
            return " · ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"from {self.low:g}"
        return ""


def check_arguments(arguments: tuple[Argument, ...], values: list[Any]) -> dict[str, Any]:
    """The values by name. A `many` argument gives a tuple.

    Raises:
        RequestError: "arguments", with the usage.
    """
    result: dict[str, Any] = {}
    rest = list(values)
    usage = " ".join(f"<{argument.name}>" for argument in arguments) or "no arguments"
    for argument in arguments:
        if argument.many:
            result[argument.name] = tuple(argument.check(value) for value in rest)
            rest = []
        elif rest:
            result[argument.name] = argument.check(rest.pop(0))
        elif argument.default is not None:
            result[argument.name] = argument.default
        else:
            raise RequestError(
                "arguments", f"The argument <{argument.name}> is missing; it takes {usage}."
            )
    if rest:
        raise RequestError(
            "arguments", f"{len(values)} arguments are {len(rest)} too many; it takes {usage}."
        )
    return result
