"""Drive a session of a running server with nothing but python-osc.

    stembridge serve                      (in another terminal)
    python python_plugin_end.py vocals    (in a third one, or the plugin in a DAW)
    python osc_control.py                 lists sessions, then swaps presets while you listen
    python osc_control.py --session a1 --preset drums

Everything here is plain OSC, so the same messages work from Max, Pure Data, SuperCollider or a
tablet: see bridge/docs/osc.md.
"""

from __future__ import annotations

import argparse
import socket
import time
from typing import Any

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder


class Osc:
    """One UDP socket: the server answers to the port that a message came from."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, port))

    def send(self, path: str, *values: Any) -> None:
        builder = OscMessageBuilder(path)
        for value in values:
            builder.add_arg(value)
        self.socket.send(builder.build().dgram)

    def receive(self, seconds: float) -> tuple[str, list[Any]] | None:
        """The next message, or None after so long."""
        self.socket.settimeout(seconds)
        try:
            message = OscMessage(self.socket.recv(65536))
        except TimeoutError:
            return None
        return message.address, message.params

    def ask(self, path: str, *values: Any) -> list[list[Any]]:
        """Send a request and collect its replies: one, or `count` of them for a list."""
        self.send(path, *values)
        replies: list[list[Any]] = []
        while (message := self.receive(5.0)) is not None:
            kind, found = message
            if kind == "/error" and found[0] == path:
                raise SystemExit(f"{path}: {found[2]}")
            if kind == "/reply" and found[0] == path:
                if not path.endswith("/list"):
                    return [found[1:]]
                index, count, *entry = found[1:]
                replies += [entry] if count else []
                if index + 1 >= count:
                    return replies
        raise SystemExit("No answer. Is the server running? Start it: stembridge serve")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9137, help="server.json tells it")
    parser.add_argument("--session", help="default: the first one")
    parser.add_argument("--preset", action="append", help="default: vocals, drums, no-bass")
    parser.add_argument("--seconds", type=float, default=4.0, help="to listen to each preset")
    args = parser.parse_args()

    osc = Osc(args.host, args.port)
    protocol, version, *_ = osc.ask("/server/hello", 1, "osc_control.py")[0]
    print(f"Stembridge {version}, protocol {protocol}")

    sessions = osc.ask("/session/list")
    for id, preset, mode, state in sessions:
        print(f"  session {id}: {preset}, {mode}, {state}")
    names = [entry[0] for entry in osc.ask("/preset/list")]
    print(f"  {len(names)} presets: {', '.join(names)}")
    if not sessions:
        raise SystemExit("No session to drive. Open the plugin, or run python_plugin_end.py.")

    path = f"/session/{args.session or sessions[0][0]}"
    osc.ask(f"{path}/status/subscribe", 4.0)
    for preset in args.preset or ["vocals", "drums", "no-bass"]:
        name, latency, *_ = osc.ask(f"{path}/preset/load", preset)[0]
        print(f"{name}, {latency} samples late")
        end = time.monotonic() + args.seconds
        while (left := end - time.monotonic()) > 0:
            message = osc.receive(left)
            if message is not None and message[0].endswith("/levels"):
                source, _, target, _, remainder, _ = message[1]
                print(
                    f"  in {source:6.1f}  target {target:6.1f}  rest {remainder:6.1f} dBFS",
                    end="\r",
                )
        print()


if __name__ == "__main__":
    main()
