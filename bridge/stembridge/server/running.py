"""Whether a server of this user runs and answers, and how it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from ..errors import ServerError
from .client import Client
from .files import ServerInfo, is_locked, read_info

Row = tuple[Literal["ok", "optional", "note", "problem"], str, dict[str, Any]]
"""How it is, in a sentence and as data."""


def find_running(folder: Path | None = None, wait_seconds: float = 0.0) -> ServerInfo | None:
    """The server that answers hello, waiting for it so long; None if there is none."""
    end = time.monotonic() + wait_seconds
    while True:
        info = read_info(folder)
        if info is not None:
            try:
                Client.connect("probe", info=info).close()
                return info
            except ServerError:
                pass
        if time.monotonic() >= end:
            return None
        time.sleep(0.1)


def health(folder: Path | None = None) -> list[Row]:
    """The server's rows for `stembridge doctor`: version, port, sessions, load, what is late.

    Changes nothing and starts nothing.
    """
    info = read_info(folder)
    if info is None or not is_locked(folder):
        text = "none runs; the plugin starts one by itself, or: stembridge serve"
        return [("optional", text, {"running": False})]
    where = f"{info.host}:{info.port}"
    data: dict[str, Any] = {"running": True, "host": info.host, "port": info.port, "pid": info.pid}
    try:
        with Client.connect("doctor", info=info) as client:
            status = _pairs(client.request("/server/status/get"))
            sessions = [entry[0] for entry in client.request_all("/session/list")]
            states = {id: _pairs(client.request(f"/session/{id}/status/get")) for id in sessions}
    except ServerError as error:
        text = f"process {info.pid} does not answer on {where} ({error}) If that stays, end it"
        return [("problem", f"{text}: kill {info.pid}", data)]
    data |= {"server": status, "sessions": states}
    count = len(states)
    text = (
        f"version {status['version']} on {where}, process {info.pid}, "
        f"{count} session{'s' * (count != 1)}, load {100 * status['load']:.0f} % of one core "
        f"({status['workers']} workers)"
    )
    rows: list[Row] = [("ok", text, data)]
    if status["version"] != (own := _own_version()):
        text = f"the running server is version {status['version']}, this is {own}. End it"
        rows.append(("note", f"{text}: stembridge ctl quit", {}))
    for id, state in states.items():
        if state["state"] in ("late", "error"):
            text = f"session {id}, {state['preset']!r} in {state['mode']}: {state['message']}"
            rows.append(("note", text, {}))
    return rows


def _pairs(values: list[Any]) -> dict[str, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


def _own_version() -> str:
    from .. import __version__

    return __version__
