"""JSON values taken for what they must be, or the error that names the place.

Strict: JSON with duplicate keys, NaN or deep nesting is refused, and so is an unknown field,
with the nearest known one. Every error has the shape of `complain` and names the source.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from .errors import PresetError
from .presets_limits import MAX_TEXT_BYTES, complain


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {twice!r} stands there twice")
    return table


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


class Fields:
    """The fields of one text; `source` is what its errors name. `where` is the place in it."""

    def __init__(self, source: str) -> None:
        self.source = source

    def bad(self, where: str, problem: str, what_to_do: str) -> PresetError:
        """The error to raise."""
        return complain(self.source, where, problem, what_to_do)

    def parse(self, text: str) -> Mapping[str, Any]:
        """The text as one JSON object."""
        if len(text) > MAX_TEXT_BYTES:
            raise self.bad(
                "size", f"{len(text) >> 20} MB of text", f"A preset has {MAX_TEXT_BYTES >> 20}."
            )
        try:
            table = json.loads(
                text.removeprefix("\ufeff"),
                object_pairs_hook=_no_duplicates,
                parse_constant=_no_constant,
            )
        except json.JSONDecodeError as error:
            raise self.bad(
                f"line {error.lineno}, column {error.colno}",
                f"this is not JSON: {error.msg}",
                "Correct that place, or save or export the preset again.",
            ) from None
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise self.bad("text", reason, "Correct it, or export the preset again.") from None
        if not isinstance(table, dict):
            raise self.bad("text", "a preset is one JSON object { … }", "Export it again.")
        return table

    def check_fields(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        """Refuse fields that are not known."""
        for name in table:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
                place = f"{where}.{name[:60]}" if where else name[:60]
                raise self.bad(place, "unknown field", hint)

    def text(self, value: Any, where: str) -> str:
        """A text."""
        if not isinstance(value, str):
            raise self.bad(where, f"{short(value)} is not text", "Write it in quotes.")
        return value

    def items(self, value: Any, where: str, limit: int) -> list[Any]:
        """A list of at most so many entries."""
        if not isinstance(value, list):
            raise self.bad(where, f"{short(value)} is not a list", "Write it in [ ].")
        if len(value) > limit:
            raise self.bad(where, f"{len(value)} entries", f"Keep to {limit}.")
        return value

    def table(self, value: Any, where: str) -> dict[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            raise self.bad(where, f"{short(value)} is not an object", "Write it in { }.")
        return value

    def gain(self, value: Any, where: str) -> float:
        """Decibels; "-inf" is off."""
        if value == "-inf":
            return -math.inf
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(where, short(value), 'Give decibels as a number, or "-inf" for off.')
        return float(max(-1e6, min(1e6, value)))  # a whole number may exceed any float

    def base64(self, value: Any, where: str, limit_bytes: int) -> bytes:
        """Bytes written as base64, measured before they are decoded."""
        text = self.text(value, where)
        if len(text) > limit_bytes * 4 // 3 + 4:
            raise self.bad(where, "it is too large", f"Keep to {limit_bytes} bytes.")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self.bad(where, "this is not base64", "Export the preset again.") from None


def short(value: Any) -> str:
    """The value as an error shows it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
