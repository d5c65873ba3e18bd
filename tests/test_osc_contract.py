"""The OSC contract: one table from which page, dispatcher and argument checks are made.

A verb without documentation, a documented verb without handler, or an argument that slips
through its range would break every client that trusts the page.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.server import tables
from stembridge.server.clients import MOST_CLIENTS, Clients
from stembridge.server.osc import split_path
from stembridge.server.protocol import (
    ERROR_CODES,
    PART_BYTES,
    SESSION_ID,
    Argument,
    RequestError,
    check_arguments,
)
from stembridge.server.verbs import EVENTS, VERBS, Verb
from stembridge.server.wire import encode, split_text

PAGE = Path(__file__).parents[1] / "bridge" / "docs" / "osc.md"


def test_page_holds_the_tables_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    written = text.split(tables.BEGIN)[1].split(tables.END)[0].strip()
    assert written == tables.markdown().strip(), (
        "docs/osc.md is older than the code: python -m stembridge.server.tables bridge/docs/osc.md"
    )


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.path)
def test_verbs_keep_the_grammar(verb: Verb) -> None:
    parts = verb.path.split("/")[1:]
    assert all(part == "<id>" or (part.isalpha() and part.islower()) for part in parts)
    assert (parts[0] == "session" and parts[1] == "<id>") == verb.of_session or parts[1] == "list"
    optional = [a.default is not None or a.many for a in verb.arguments]
    assert optional == sorted(optional), "arguments with a default come last"
    assert all(not a.many for a in verb.arguments[:-1])
    if verb.example or not verb.reserved:
        check_arguments(verb.arguments, list(verb.example))  # the page's example is valid


def test_paths_are_unique() -> None:
    paths = [verb.path for verb in VERBS] + [event.path for event in EVENTS]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        (Argument("n", "i", "", low=0, high=5), 3.0, 3),  # control surfaces send floats
        (Argument("n", "i", "", low=0, high=5), True, 1),
        (Argument("x", "f", "", low=-1, high=1), 1, 1.0),
        (Argument("m", "s", "", choices=("a", "b")), "b", "b"),
        (Argument("d", "b", ""), b"\0\1", b"\0\1"),
    ],
)
def test_arguments_are_taken(argument: Argument, value: object, expected: object) -> None:
    result = argument.check(value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        (Argument("n", "i", "", low=0, high=5), 6, "0 to 5"),
        (Argument("n", "i", ""), 0.5, "whole"),
        (Argument("n", "i", ""), "3", "number"),
        (Argument("x", "f", ""), math.nan, "finite"),
        (Argument("x", "f", ""), math.inf, "finite"),
        (Argument("x", "f", ""), None, "number"),
        (Argument("s", "s", ""), b"blob", "string"),
        (Argument("s", "s", ""), "x" * (PART_BYTES + 1), "limit"),
        (Argument("s", "s", ""), "ä" * (PART_BYTES // 2 + 1), "limit"),
        (Argument("m", "s", "", choices=("a", "b")), "c", "a, b"),
    ],
)
def test_arguments_are_refused_by_name(argument: Argument, value: object, words: str) -> None:
    with pytest.raises(RequestError, match=f"<{argument.name}>.*{words}") as caught:
        argument.check(value)
    assert caught.value.code == "arguments"


def test_missing_and_superfluous_arguments() -> None:
    arguments = (Argument("a", "i", ""), Argument("b", "f", "", default=2.0))
    assert check_arguments(arguments, [1]) == {"a": 1, "b": 2.0}
    with pytest.raises(RequestError, match="<a> is missing"):
        check_arguments(arguments, [])
    with pytest.raises(RequestError, match="too many"):
        check_arguments(arguments, [1, 2.0, 3])
    many = (Argument("w", "s", "", many=True),)
    assert check_arguments(many, []) == {"w": ()}
    assert check_arguments(many, ["x", "y"]) == {"w": ("x", "y")}


@given(st.lists(st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.none())))
def test_no_list_of_values_breaks_the_checks(values: list[object]) -> None:
    for verb in VERBS:
        try:
            checked = check_arguments(verb.arguments, list(values))
        except RequestError as error:
            assert error.code in ERROR_CODES
        else:
            assert set(checked) == {a.name for a in verb.arguments}


def test_session_paths() -> None:
    assert split_path("/session/a1/mode/set") == ("/session/<id>/mode/set", "a1")
    assert split_path("/session/list") == ("/session/list", "")
    assert split_path("/server/ping") == ("/server/ping", "")
    for bad in ("A", "..", "-a", "a_b", "x" * 33, "", "a\n"):
        assert not SESSION_ID.fullmatch(bad)
        with pytest.raises(RequestError):
            split_path(f"/session/{bad}/mode/set")


@given(st.text())
def test_parts_join_to_the_text_and_fit_a_datagram(text: str) -> None:
    parts = split_text(text, most_bytes=64)
    assert "".join(parts) == text
    assert all(len(part.encode(errors="replace")) <= 64 for part in parts)
    assert len(encode("/session/" + "x" * 32 + "/preset/send", (0, 1, "y" * PART_BYTES))) < 9216


def test_clients_are_bounded_and_keep_the_trusted() -> None:
    clients = Clients()
    friend = clients.heard(("127.0.0.1", 1))
    friend.trusted_at = friend.heard_seconds
    for port in range(2, 3 * MOST_CLIENTS):
        clients.heard(("127.0.0.1", port))
    assert len(list(clients)) == MOST_CLIENTS
    assert clients.heard(("127.0.0.1", 1)) is friend


def test_a_newcomer_finds_room_among_nothing_but_trusted() -> None:
    clients = Clients()
    for port in range(1, MOST_CLIENTS + 50):
        client = clients.heard(("127.0.0.1", port))
        client.trusted_at = client.heard_seconds
        assert clients.heard(("127.0.0.1", port)) is client
    assert len(list(clients)) == MOST_CLIENTS


def test_subscriptions_come_at_their_rate() -> None:
    clients = Clients()
    client = clients.heard(("127.0.0.1", 1))
    clients.subscribe(client, "a1", rate_hz=10.0)
    start = client.subscriptions["a1"].next_seconds
    sent = sum(len(clients.due(start + i / 100)) for i in range(100))
    assert sent == 10
    clients.subscribe(client, "a1", rate_hz=0.0)
    assert clients.next_due() is None
