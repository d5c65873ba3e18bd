"""What the verbs of the server, of separators and of presets do.

Quick ones answer on the OSC thread; those that read files or load weights go to `control`
and answer when they are done.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..chain import SeparationChain, separator_of
from ..errors import StembridgeError
from ..presets import dumps, list_presets
from ..prompts import EncodedPrompt, NamePrompt, Query
from ..separators import SEPARATORS, Separator, SeparatorEntry, load_separator
from ..separators.auto import AUTO, choose
from .budget import latency_of
from .choices import Doors, preset_from, preset_named
from .clients import SERVER
from .log import event
from .osc import Handler, Request, same_token
from .protocol import PART_BYTES, PROTOCOL, RequestError
from .reports import pairs, server_status
from .wire import split_text

if TYPE_CHECKING:
    from .server import Server

CAPABILITIES = "presets examples levels spectrum parts effects"


def server_handlers(server: Server) -> dict[str, Handler]:
    """Handlers of all verbs that are not of a session."""
    return {
        "/server/hello": lambda r: hello(server, r),
        "/server/ping": lambda r: r.reply(r.values["number"], len(server.sessions)),
        "/server/status/get": lambda r: r.reply(*pairs(server_status(server))),
        "/server/status/subscribe": lambda r: subscribe(server, r),
        "/server/quit": lambda r: quit_server(server, r),
        "/separator/list": lambda r: slow(server, r, lambda: list_separators(r)),
        "/separator/names": lambda r: slow(server, r, lambda: list_names(r)),
        "/latency/get": lambda r: slow(server, r, lambda: get_latency(server, r)),
        "/preset/list": lambda r: slow(server, r, lambda: send_presets(r)),
        "/preset/get": lambda r: slow(server, r, lambda: get_preset(server, r)),
        "/session/list": lambda r: send_sessions(server, r),
    }


def slow(server: Server, request: Request, work: Callable[[], None]) -> None:
    """Do `work` in the background, in order for the session, and report its errors."""

    def guarded() -> None:
        try:
            work()
        except Exception as error:
            request.fail(error)

    key = request.session or f"{request.client.address}"
    server.control.run(key, guarded)


def hello(server: Server, request: Request) -> None:
    values = request.values
    if values["protocol"] != PROTOCOL:
        raise RequestError(
            "version",
            f"This server (Stembridge {__version__}) speaks protocol {PROTOCOL}, "
            f"{values['client']!r} speaks {values['protocol']}. Install the same version of both.",
        )
    client = request.client
    new = not client.name
    client.name = values["client"] or "unnamed"
    if values["token"]:
        if not same_token(values["token"], server.info.token):
            client.trusted_at = None
            raise RequestError(
                "forbidden", "The token is not this server's. Read server.json again."
            )
        client.trusted_at = client.heard_seconds
    if new:
        event("Hello", level=logging.DEBUG, client=client.name, address=client.address)
    request.reply(PROTOCOL, __version__, int(client.trusted), CAPABILITIES, server.info.pid)


def subscribe(server: Server, request: Request) -> None:
    rate_hz = request.values["rate_hz"]
    server.clients.subscribe(request.client, SERVER, rate_hz)
    server.housekeeping.wake()
    request.reply(rate_hz)


def quit_server(server: Server, request: Request) -> None:
    request.reply()
    event("Asked to end", client=request.client.name)
    server.stop("asked to quit")


def list_separators(request: Request) -> None:
    for index, entry in enumerate(SEPARATORS.values()):
        why = why_missing(entry)
        text = (why or entry.summary)[:PART_BYTES]
        request.reply(index, len(SEPARATORS), entry.name, int(why is None), text)


def why_missing(entry: SeparatorEntry) -> str | None:
    """Why a separator cannot run here and what to do, or None. Loads no weights."""
    try:
        module = importlib.import_module(f"..separators.{entry.module}", __package__)
        return module.missing() if hasattr(module, "missing") else None
    except (ImportError, OSError, StembridgeError) as error:
        return str(error)


def named_separator(name: str) -> Separator:
    """The separator of that name; "auto" is the one that it takes for a plain name."""
    return load_separator(choose(()).separator if name == AUTO else name)


def list_names(request: Request) -> None:
    names = named_separator(request.values["separator"]).capabilities.names
    for index, name in enumerate(names):
        request.reply(index, len(names), name)
    if not names:
        request.reply(0, 0, "")


def get_latency(server: Server, request: Request) -> None:
    values = request.values
    if values["preset"]:
        doors = Doors(server.options.allowed_folders, request.client.trusted)
        separator = separator_of([preset_from(values["preset"], doors)])
    else:
        separator = named_separator(values["separator"])
    chain = SeparationChain(
        any_query(separator), values["sample_rate"], 2, mode=values["mode"], separator=separator
    )
    request.reply(*latency_of(chain, values["block_samples"]).values)


def any_query(separator: Separator) -> Query:
    """Some query, for what depends on the separator and its options alone: no clip is encoded
    and no text understood to learn a delay.

    Raises:
        RequestError: for a separator that knows no names and tells no size of its vectors.
    """
    if names := separator.capabilities.names:
        return Query(keep=(separator.encode(NamePrompt(names[0])),))
    sizes: tuple[int, ...] = getattr(separator, "vector_sizes", tuple)()
    if not sizes:
        raise RequestError(
            "unavailable",
            f"{separator.name} knows no sound by name. Open a link to learn its delay.",
        )
    vector = np.zeros(sizes[0], dtype=np.float32)
    return Query(keep=(EncodedPrompt(separator.space, vector),))


def send_presets(request: Request) -> None:
    entries = [e for e in list_presets() if e.preset is not None and not e.hidden]
    entries.sort(key=lambda e: e.origin == "user")
    for index, entry in enumerate(entries):
        description = entry.preset.description.replace("\n", " ")[:500] if entry.preset else ""
        request.reply(index, len(entries), entry.name, entry.origin, description)
    if not entries:
        request.reply(0, 0, "", "", "")


def get_preset(server: Server, request: Request) -> None:
    name = request.values["name"]
    doors = Doors(server.options.allowed_folders, request.client.trusted)
    send_text(request, dumps(preset_named(name, doors)))


def send_text(request: Request, text: str) -> None:
    """Reply `part parts text` for each part of at most PART_BYTES bytes."""
    parts = split_text(text)
    for index, part in enumerate(parts):
        request.reply(index, len(parts), part)


def send_sessions(server: Server, request: Request) -> None:
    sessions = server.all_sessions()
    for index, session in enumerate(sessions):
        request.reply(
            index, len(sessions), session.id, session.preset.name, session.mode, session.state
        )
    if not sessions:
        request.reply(0, 0, "", "", "", "")
