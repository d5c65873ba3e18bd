"""A client of the server for scripts, the command line and tests: one socket, no thread.

    client = Client.connect()
    client.request("/session/a1/preset/load", "vocals")
    for path, values in client.events(seconds=5): ...

A request waits for its `/reply` or `/error`; messages that come in between are kept as
events. Needs python-osc only, neither torch nor audio.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ServerError
from .files import ServerInfo, read_info
from .packet import PacketError, parse
from .protocol import PART_BYTES, PROTOCOL, RequestError
from .wire import encode, split_text

Event = tuple[str, list[Any]]


class Client:
    """Talks to the server at `host:port` from a free local port. Close it, or use `with`."""

    def __init__(self, host: str, port: int, timeout_seconds: float = 5.0) -> None:
        self.timeout_seconds = timeout_seconds
        self._address = (host, port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._events: deque[Event] = deque(maxlen=4096)
        try:
            self._socket.connect(self._address)
        except OSError as error:
            self._socket.close()
            raise ServerError(f"Cannot reach {host}:{port} ({error}). Check the address.") from None

    @classmethod
    def connect(
        cls,
        name: str = "python",
        *,
        info: ServerInfo | None = None,
        folder: Path | None = None,
        timeout_seconds: float = 5.0,
        hello_seconds: float = 2.0,
    ) -> Client:
        """Find this user's server by its file and say hello.

        Raises:
            ServerError: no server, no answer to hello in time, or another protocol.
        """
        info = info or read_info(folder)
        if info is None:
            raise ServerError("No server runs. Start one: stembridge serve")
        client = cls(info.host, info.port, timeout_seconds)
        try:
            client.hello(name, info.token, hello_seconds)
        except BaseException:
            client.close()
            raise
        return client

    def hello(self, name: str, token: str = "", timeout_seconds: float = 2.0) -> list[Any]:
        """First message: protocol, version, trust, capabilities, process id."""
        values = (PROTOCOL, name, token)
        return self.request("/server/hello", *values, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, path: str, *values: Any) -> None:
        """Send a message and wait for nothing."""
        try:
            self._socket.send(encode(path, values))
        except ConnectionError as error:
            raise self._away() from error

    def request(self, path: str, *values: Any, timeout_seconds: float | None = None) -> list[Any]:
        """Send a request and return the values of its reply.

        Raises:
            RequestError: the server's `/error`, with its code.
            ServerError: no answer in time.
        """
        self._drain()
        self.send(path, *values)
        return self._reply(path, timeout_seconds)

    def request_all(self, path: str, *values: Any) -> list[list[Any]]:
        """A request that is answered once per entry: the entries without index and count."""
        self._drain()
        self.send(path, *values)
        _, count, *entry = self._reply(path, None)
        entries = [entry] if count else []
        while len(entries) < count:
            entries.append(self._reply(path, None)[2:])
        return entries

    def get_text(self, path: str, *values: Any) -> str:
        """A request that is answered with a text in parts."""
        return "".join(entry[0] for entry in self.request_all(path, *values))

    def send_preset(self, session: str, text: str) -> list[Any]:
        """Give a session (also one that is not open yet) its whole preset."""
        if len(text.encode()) <= PART_BYTES:
            return self.request(f"/session/{session}/preset/set", text)
        parts = split_text(text)
        reply: list[Any] = []
        for index, part in enumerate(parts):
            reply = self.request(f"/session/{session}/preset/send", index, len(parts), part)
        return reply

    def events(self, seconds: float) -> Iterator[Event]:
        """What the server sends unasked, for so long."""
        end = time.monotonic() + seconds
        while True:
            while self._events:
                yield self._events.popleft()
            left = end - time.monotonic()
            if left <= 0:
                return
            received = self._receive(left)
            if received is not None:
                self._events.append(received)

    def _reply(self, path: str, timeout_seconds: float | None) -> list[Any]:
        end = time.monotonic() + (timeout_seconds or self.timeout_seconds)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise self._away()
            received = self._receive(left)
            if received is None:
                continue
            kind, values = received
            if kind == "/reply" and values and values[0] == path:
                return values[1:]
            if kind == "/error" and len(values) == 3 and values[0] == path[:200]:
                raise RequestError(str(values[1]), str(values[2]))
            if kind not in ("/reply", "/error"):
                self._events.append(received)

    def _drain(self) -> None:
        """Old answers of requests that were given up must not answer the next one."""
        while (received := self._receive(0.0)) is not None:
            if received[0] not in ("/reply", "/error"):
                self._events.append(received)

    def _receive(self, timeout_seconds: float) -> Event | None:
        self._socket.settimeout(max(timeout_seconds, 0.0))
        try:
            datagram = self._socket.recv(65536)
        except (TimeoutError, BlockingIOError):
            return None
        except ConnectionError as error:
            raise self._away() from error
        with contextlib.suppress(PacketError, IndexError):
            message = parse(datagram).messages[0]
            return message.path, message.values
        return None

    def _away(self) -> ServerError:
        host, port = self._address
        return ServerError(
            f"The server at {host}:{port} does not answer. Start it: stembridge serve"
        )
