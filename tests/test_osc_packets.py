"""Datagrams from anywhere: understood whole, or refused with one exception and no harm.

python-osc alone would loop for ever on a bundle element of negative size, sleep for a far
time tag and log each of 60,000 unknown type tags.
"""

from __future__ import annotations

import contextlib
import random
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.server.packet import MOST_MESSAGES, PacketError, parse
from stembridge.server.wire import encode

BUNDLE = b"#bundle\0"
NOW = struct.pack(">Q", 1)


def bundle(*elements: bytes, tag: bytes = NOW) -> bytes:
    return BUNDLE + tag + b"".join(struct.pack(">i", len(e)) + e for e in elements)


@given(
    st.lists(
        st.one_of(
            st.integers(-(2**31), 2**31 - 1),
            st.floats(width=32, allow_nan=False),
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
            st.binary(min_size=1),
        ),
        max_size=20,
    )
)
def test_what_is_encoded_is_read_back(values: list[object]) -> None:
    (message,) = parse(encode("/a/b", values)).messages
    assert message.path == "/a/b"
    assert message.values == values


def test_bundles_are_walked_in_order() -> None:
    first, second, third = (encode("/m", (i,)) for i in range(3))
    packet = parse(bundle(first, bundle(second), third))
    assert [m.values for m in packet.messages] == [[0], [1], [2]]
    assert packet.far_timetags == 0


def test_far_time_tags_are_counted_and_not_waited_for() -> None:
    began = time.monotonic()
    packet = parse(bundle(encode("/m", ()), tag=b"\xff" * 8))
    assert len(packet.messages) == 1
    assert packet.far_timetags == 1
    assert time.monotonic() - began < 1.0


def nested(depth: int) -> bytes:
    data = encode("/m", ())
    for _ in range(depth):
        data = bundle(data)
    return data


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"/",
        b"/abc",
        b"abcd",
        b"/abc\0\0\0\0,i\0\0",  # the number is missing
        b"/abc\0\0\0\0,s\0\0",
        b"/abc\0\0\0\0,b\0\0\x7f\xff\xff\xff",  # a blob of 2 GB
        b"/abc\0\0\0\0,s\0\0\xff\xfe\0\0",  # not UTF-8
        b"/\xff\xfe\0\0\0\0\0",
        b"/abc\0\0\0\0,zzz\0\0\0\0",
        b"/abc\0\0\0\0,[[[\0\0\0\0",
        b"/abc\0\0\0\0," + b"i" * 60000,
        b"/abc\0\0\0\0," + b"T" * 60000 + b"\0" * 7,
        BUNDLE,
        BUNDLE + NOW + struct.pack(">i", -4),
        BUNDLE + NOW + struct.pack(">i", -24) * 3,
        BUNDLE + NOW + struct.pack(">i", 0),
        BUNDLE + NOW + struct.pack(">i", 2**31 - 1) + b"/m\0\0",
        nested(3000),
        bundle(*[encode("/m", ())] * (MOST_MESSAGES + 1)),
    ],
    ids=lambda d: repr(d[:24]),
)
def test_broken_datagrams_are_refused(datagram: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(PacketError):
        parse(datagram)
    assert time.monotonic() - began < 2.0


@given(st.binary(max_size=512))
def test_any_bytes(datagram: bytes) -> None:
    with contextlib.suppress(PacketError):
        parse(datagram)


def test_ten_thousand_damaged_packets() -> None:
    dice = random.Random(1)
    models = [
        encode("/session/a1/gain/set", (0.0, -6.0)),
        encode("/session/a1/keep/set", ("vocals", "drums")),
        bundle(encode("/server/ping", (1,)), bundle(encode("/server/ping", (2,)))),
        encode("/x", (b"\1\2\3", 5, "text", 0.5)),
    ]
    refused = 0
    for _ in range(10_000):
        data = bytearray(dice.choice(models))
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 0x2F, 0x80, 0xFF))
        data = data[: dice.randint(0, len(data))] if dice.random() < 0.3 else data
        try:
            parse(bytes(data))
        except PacketError:
            refused += 1
    assert 1000 < refused < 10_000
