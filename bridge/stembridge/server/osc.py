"""The OSC face: one socket, one blocking thread, a dictionary from path to handler.

Datagrams are parsed by `packet`, arguments checked by `protocol`, and the handler is called
on this thread; handlers that work longer answer later through the `Request`. Nothing that
arrives can end the loop: what cannot be understood is counted, what is refused is answered
with `/error`, and a handler that fails unexpectedly is an "internal" error in the log.
Loopback unless the caller asked for another host.
"""

from __future__ import annotations

import contextlib
import difflib
import hmac
import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ServerError, StembridgeError
from .clients import Address, Client, Clients
from .ending import Ending
from .log import event
from .packet import Message, PacketError, parse
from .protocol import SESSION_ID, RequestError, check_arguments
from .verbs import VERBS, Verb
from .wire import encode

RECEIVE_BYTES = 4 << 20
_SHOWN = 200


@dataclass(frozen=True)
class Request:
    """One checked request: `values` by argument name, and the way back to the client."""

    verb: Verb
    path: str
    session: str
    values: dict[str, Any]
    client: Client
    face: OscFace

    def reply(self, *values: Any) -> None:
        self.face.send(self.client.address, "/reply", self.path, *values)

    def fail(self, error: BaseException) -> None:
        """Answer with `/error`; what is not a StembridgeError is logged with its traceback."""
        self.face.fail(self.client.address, self.path, error)


Handler = Callable[[Request], None]


@dataclass
class Counters:
    """What arrived since the start."""

    packets: int = 0
    malformed: int = 0
    refused: int = 0
    far_timetags: int = 0


class _UdpServer(socketserver.UDPServer):
    max_packet_size = 65536
    allow_reuse_address = False
    face: OscFace

    def handle_error(self, request: Any, client_address: Any) -> None:
        event("A packet could not be handled", level=logging.ERROR, sender=client_address)


class _PacketHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _UdpServer)
        self.server.face.receive(self.request[0], self.client_address)


class OscFace:
    """Receives, dispatches and sends. Owns the socket and its thread from `start` to `close`.

    Args:
        host, port: where to listen; port 0 takes a free one.
        handlers: verb path (with `<id>`) to handler; every verb of the table must have one.

    Raises:
        ServerError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, clients: Clients) -> None:
        self.clients = clients
        self.counters = Counters()
        self.handlers: dict[str, tuple[Verb, Handler]] = {}
        try:
            self._server = _UdpServer((host, port), _PacketHandler)
        except (OSError, OverflowError) as error:
            raise ServerError(
                f"Cannot listen on {host}:{port} ({error}). "
                "Choose another --osc-port or --osc-host."
            ) from error
        self._server.face = self
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.host = str(self._server.server_address[0])
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="stembridge-osc", daemon=True
        )

    def start(self, handlers: dict[str, Handler]) -> None:
        """Begin to answer. Each verb of the table needs its handler, reserved ones excepted."""
        for verb in VERBS:
            handler = _reserved if verb.reserved else handlers[verb.path]
            self.handlers[verb.path] = (verb, handler)
        self._thread.start()

    def close(self, ending: Ending | None = None) -> None:
        if self._thread.is_alive():
            (ending or Ending()).run(self._server.shutdown, self._thread.name)
        self._server.server_close()

    def receive(self, datagram: bytes, address: Address) -> None:
        """Handle one datagram. Never raises."""
        self.counters.packets += 1
        try:
            packet = parse(datagram)
        except PacketError:
            self.counters.malformed += 1
            return
        self.counters.far_timetags += packet.far_timetags
        for message in packet.messages:
            if message.path.startswith(("/reply", "/error")):
                continue  # never answered: two servers must not talk for ever
            try:
                self._dispatch(message, self.clients.heard(address))
            except Exception as error:
                self.fail(address, message.path, error)

    def _dispatch(self, message: Message, client: Client) -> None:
        key, session = split_path(message.path)
        entry = self.handlers.get(key)
        if entry is None:
            near = difflib.get_close_matches(key[:_SHOWN], self.handlers, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else " The verbs are in docs/osc.md."
            raise RequestError("path", f"There is no verb {message.path[:_SHOWN]!r}.{hint}")
        verb, handler = entry
        if verb.trusted and not client.trusted:
            raise RequestError(
                "forbidden", f"{verb.path} needs the token. Send it with /server/hello."
            )
        values = check_arguments(verb.arguments, message.values)
        handler(Request(verb, message.path, session, values, client, self))

    def send(self, address: Address, path: str, *values: Any) -> None:
        """Send one message; an address that cannot be reached is not an error."""
        try:
            self._server.socket.sendto(encode(path, values), address)
        except OSError as error:
            event("A message was not sent", level=logging.DEBUG, path=path, reason=error)

    def fail(self, address: Address, path: str, error: BaseException) -> None:
        self.counters.refused += 1
        if isinstance(error, StembridgeError):
            code, text = error.code, str(error)
        else:
            code, text = "internal", f"The server failed ({type(error).__name__}). See its log."
            event(text, level=logging.ERROR, path=path[:_SHOWN], reason=error)
            logging.getLogger("stembridge.server").debug("traceback", exc_info=error)
        self.send(address, "/error", path[:_SHOWN], code, text[:2000])


def _reserved(request: Request) -> None:
    raise RequestError(
        "unavailable", f"{request.verb.path} is not built yet. Update Stembridge when it is."
    )


def split_path(path: str) -> tuple[str, str]:
    """`/session/a1/mode/set` to (`/session/<id>/mode/set`, `a1`); other paths to (path, "").

    Raises:
        RequestError: "path" for an id that cannot be one.
    """
    parts = path.split("/")
    if len(parts) < 4 or parts[1] != "session":
        return path, ""
    if not SESSION_ID.fullmatch(parts[2]):
        raise RequestError(
            "path", f"{parts[2][:40]!r} is no session id. Use 1 to 32 of a-z, 0-9 and '-'."
        )
    return "/".join(["", "session", "<id>", *parts[3:]]), parts[2]


def same_token(given: str, real: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), real.encode())


def is_loopback(host: str) -> bool:
    """Whether nothing outside this machine reaches `host`."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def check_host(host: str, anywhere: bool) -> None:
    """Refuse to listen beyond loopback unless that was asked for; warn if it was.

    Raises:
        ServerError: naming the flag.
    """
    if is_loopback(host):
        return
    if not anywhere:
        raise ServerError(
            f"{host} is not loopback: anyone in the network could control the server. Add "
            "--osc-anywhere if that is wanted."
        )
    event(
        "Listening beyond this machine: anyone who reaches it can control sessions",
        level=logging.WARNING,
        host=host,
    )
