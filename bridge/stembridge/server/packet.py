"""From a datagram to checked OSC messages, for bytes from anywhere.

python-osc parses the messages; the structure around them is walked here first, because a
parser made for friendly packets can be led astray: element sizes that are negative or
larger than the bundle, bundles nested a thousand deep, thousands of unknown type tags
that are each logged, future time tags that are slept for. A datagram is either understood
whole or refused whole. Time tags are not waited for; far ones are counted.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any

from pythonosc.osc_message import OscMessage

MOST_MESSAGES = 256
MOST_ARGUMENTS = 1024
DEEPEST = 4
_BUNDLE = b"#bundle\0"
_NTP_OFFSET_SECONDS = 2208988800
_IMMEDIATELY = 1


class PacketError(ValueError):
    """A datagram that is not OSC, or more than the server takes."""


@dataclass(frozen=True)
class Message:
    """One message: its path and plain values (int, float, str, bytes, bool, None)."""

    path: str
    values: list[Any]


@dataclass(frozen=True)
class Packet:
    """The messages of one datagram, in order."""

    messages: list[Message]
    far_timetags: int = 0


def parse(datagram: bytes, now: float | None = None) -> Packet:
    """Raises PacketError, and nothing else, for whatever cannot be understood."""
    messages: list[Message] = []
    far = [0]
    try:
        _walk(datagram, messages, far, 0, time.time() if now is None else now)
    except PacketError:
        raise
    except Exception as error:  # python-osc raises many kinds for damaged messages
        raise PacketError(str(error)) from error
    return Packet(messages, far[0])


def _walk(data: bytes, messages: list[Message], far: list[int], depth: int, now: float) -> None:
    if not data.startswith(_BUNDLE):
        if len(messages) >= MOST_MESSAGES:
            raise PacketError(f"more than {MOST_MESSAGES} messages in one datagram")
        messages.append(_message(data))
        return
    if depth >= DEEPEST:
        raise PacketError(f"bundles nested more than {DEEPEST} deep")
    (tag,) = struct.unpack_from(">Q", data, len(_BUNDLE))
    seconds = (tag >> 32) - _NTP_OFFSET_SECONDS
    if tag != _IMMEDIATELY and abs(seconds - now) > 1.5:
        far[0] += 1
    index = len(_BUNDLE) + 8
    while index < len(data):
        (size,) = struct.unpack_from(">i", data, index)
        index += 4
        if size <= 0 or size % 4 or index + size > len(data):
            raise PacketError("a bundle element of impossible size")
        _walk(data[index : index + size], messages, far, depth + 1, now)
        index += size


def _message(data: bytes) -> Message:
    if not data.startswith(b"/") or len(data) % 4:
        raise PacketError("neither a message nor a bundle")
    end = data.find(b"\0")
    if end < 0:
        raise PacketError("a path without end")
    tags_at = (end // 4 + 1) * 4
    tags = data[tags_at : data.find(b"\0", tags_at)] if tags_at < len(data) else b","
    if not tags.startswith(b",") or len(tags) > MOST_ARGUMENTS or set(tags[1:]) - set(b"ifsbhdTFN"):
        raise PacketError("type tags that the server does not take")
    message = OscMessage(data)
    values = message.params
    if len(values) != len(tags) - 1:
        raise PacketError("fewer arguments than type tags")
    return Message(message.address, values)
