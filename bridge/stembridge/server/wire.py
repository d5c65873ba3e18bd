"""What goes out: plain values to OSC datagrams, long texts to parts. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pythonosc.osc_message_builder import OscMessageBuilder

from .protocol import PART_BYTES


def encode(path: str, values: Sequence[Any]) -> bytes:
    """One OSC message of int32, float32, strings and blobs.

    Strings lose zero bytes, empty blobs gain one, integers beyond 32 bits are sent as
    floats: nothing that is worth a failure on the way out.
    """
    builder = OscMessageBuilder(address=path)
    for value in values:
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            value = float(value)
        if isinstance(value, str):
            text = value.replace("\0", "").encode(errors="replace").decode()
            builder.add_arg(text, OscMessageBuilder.ARG_TYPE_STRING)
        elif isinstance(value, float):
            builder.add_arg(value, OscMessageBuilder.ARG_TYPE_FLOAT)
        elif isinstance(value, int):
            builder.add_arg(value, OscMessageBuilder.ARG_TYPE_INT)
        else:
            builder.add_arg(bytes(value) or b"\0", OscMessageBuilder.ARG_TYPE_BLOB)
    return builder.build().dgram


def split_text(text: str, most_bytes: int = PART_BYTES) -> list[str]:
    """Pieces of at most `most_bytes` bytes of UTF-8 that join to `text`; at least one."""
    most_characters = most_bytes if text.isascii() else most_bytes // 4
    count = max(1, math.ceil(len(text) / most_characters))
    return [text[i * most_characters : (i + 1) * most_characters] for i in range(count)]
