"""`stembridge ctl`: look at the running server and steer its sessions from a terminal.

Speaks OSC like every other client and imports neither torch nor audio. `watch` draws live
meters on a terminal and prints one line a second elsewhere.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import add_json_argument, add_verb, positive_float

if TYPE_CHECKING:
    from ..server.client import Client

_EPILOG = """examples:
  stembridge ctl list
  stembridge ctl load drums               the only session, or: --session a1
  stembridge ctl set keep vocals piano
  stembridge ctl set gain 0 -12
  stembridge ctl status --json
  stembridge ctl learn arm 30             then: learn mark 5 0, learn tune,
                                          learn audition 1, learn save "My organ"
  stembridge ctl watch
  stembridge ctl quit"""

_SETTABLE = ("keep", "remove", "example", "gain", "mode", "output", "bypass")
_LEARN = ("arm", "mark", "forget", "use", "tune", "cancel", "audition", "save")


def add_parser(subparsers: Any) -> None:
    """Describe the verb."""
    parser = add_verb(subparsers, "ctl", "look at the running server and steer it", _EPILOG)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the sessions and what they play")
    add_json_argument(listing)
    load = actions.add_parser("load", help="load a preset into a session")
    load.add_argument("preset", help="a preset's name or file")
    setting = actions.add_parser("set", help="change one thing of a session")
    setting.add_argument("what", choices=_SETTABLE)
    setting.add_argument("values", nargs="*", help="as in docs/osc.md")
    learning = actions.add_parser("learn", help="learn a prompt from what the session plays")
    learning.add_argument("what", choices=_LEARN)
    learning.add_argument("values", nargs="*", help="as in docs/osc.md")
    status = actions.add_parser("status", help="everything about the server and a session")
    add_json_argument(status)
    watch = actions.add_parser("watch", help="live meters, load and misses")
    watch.add_argument("--seconds", type=positive_float, help="end after so long")
    for action in (load, setting, learning, status, watch):
        action.add_argument("--session", metavar="ID", default="", help="default: the only one")
    actions.add_parser("quit", help="end the server")


def run(args: argparse.Namespace) -> int:
    """Find the server, do one thing, and return the exit code."""
    from ..server.client import Client

    with Client.connect("stembridge ctl", timeout_seconds=60.0) as client:
        if args.action == "list":
            return _list(client, args.json)
        if args.action == "quit":
            client.request("/server/quit")
            return 0
        if args.action == "status":
            return _status(client, args.session, args.json)
        if args.action == "watch":
            from .ctl_watch import watch

            return watch(client, args.session, args.seconds)
        session = _session(client, args.session)
        if args.action == "load":
            name = _absolute(args.preset)
            reply = client.request(f"/session/{session}/preset/load", name)
            print(f"{session} plays {reply[0]!r}, {reply[1]} samples late.")
        elif args.action == "learn":
            _learn(client, session, args.what, args.values)
        else:
            values = [_value(word) for word in args.values]
            if args.what == "example" and len(values) > 1:
                values[1] = _absolute(str(values[1]))
            reply = client.request(f"/session/{session}/{args.what}/set", *values)
            print(f"{session}: {args.what} is {', '.join(str(word) for word in reply)}.")
    return 0


def _learn(client: Client, session: str, what: str, words: list[str]) -> None:
    """One learn verb; `tune` waits for the outcome, and Ctrl-C keeps the best until then."""
    path = f"/session/{session}/learn"
    # A preset's name may look like a number.
    values = [word if what == "save" and i == 0 else _value(word) for i, word in enumerate(words)]
    reply = client.request(f"{path}/{what}", *values)
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in reply]
    print(f"{session}: {what} {', '.join(shown)}")
    if what == "tune":
        _await_lesson(client, session)


def _await_lesson(client: Client, session: str) -> None:
    import sys
    import time

    said = ""
    while True:
        try:
            values = _pairs(client.request(f"/session/{session}/status/get"))
            if values["learn_state"] != "learning":
                print(values["learn_message"])
                return
            done, gain_db = values["learn_fraction"], values["learn_gain_db"]
            text = f"{done:4.0%}, {gain_db:+.1f} dB so far" if done else "Mixing the marks."
            if text != said:
                print(text, file=sys.stderr)
            said = text
            time.sleep(1.0)
        except KeyboardInterrupt:
            client.request(f"/session/{session}/learn/cancel", 1)


def _list(client: Client, as_json: bool) -> int:
    from .common import print_json

    entries = client.request_all("/session/list")
    if as_json:
        keys = ("id", "preset", "mode", "state")
        print_json([dict(zip(keys, entry, strict=True)) for entry in entries])
    elif not entries:
        print("No sessions. Open the plugin in a DAW.")
    for id, preset, mode, state in () if as_json else entries:
        print(f"{id:<20} {preset:<24} {mode:<7} {state}")
    return 0


def _status(client: Client, session: str, as_json: bool) -> int:
    from .common import print_json

    ids = [session] if session else [entry[0] for entry in client.request_all("/session/list")]
    document = {"server": _pairs(client.request("/server/status/get")), "sessions": {}}
    for id in ids:
        document["sessions"][id] = _pairs(client.request(f"/session/{id}/status/get"))
    if as_json:
        print_json(document)
        return 0
    for title, values in (("server", document["server"]), *document["sessions"].items()):
        print(title)
        for key, value in values.items():
            shown = f"{value:.2f}" if isinstance(value, float) else value
            print(f"  {key.replace('_', ' '):<28} {shown}")
    return 0


def _session(client: Client, wanted: str) -> str:
    """The session asked for, or the only one.

    Raises:
        ServerError: there is none, or there are several to choose from.
    """
    from ..errors import ServerError

    if wanted:
        return wanted
    ids = [entry[0] for entry in client.request_all("/session/list")]
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise ServerError("There is no session. Open the plugin in a DAW.")
    raise ServerError(f"There are {len(ids)} sessions. Choose one: --session {' or '.join(ids)}.")


def _pairs(values: list[Any]) -> dict[str, Any]:
    return dict(zip(values[::2], values[1::2], strict=False))


def _value(word: str) -> str | float:
    """Numbers as numbers, the rest as it is."""
    try:
        return float(word)
    except ValueError:
        return word


def _absolute(word: str) -> str:
    """A file of this folder by its full path, since the server works in another one."""
    from pathlib import Path

    path = Path(word)
    return str(path.resolve()) if path.is_file() else word
