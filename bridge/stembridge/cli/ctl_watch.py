"""`stembridge ctl watch`: the sessions' meters, drawn from what the server sends.

State is collected by `Picture.take`, one event at a time; drawing it is a pure function, so
that both are tested without a terminal.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..server.client import Client

RATE_HZ = 10.0
RENEW_SECONDS = 5.0
LOWEST_DB = -60.0
BAR_CHARACTERS = 24
_BLOCKS = " ▏▎▍▌▋▊▉█"


@dataclass
class Picture:
    """The newest values of every session that is watched."""

    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    levels: dict[str, list[float]] = field(default_factory=dict)

    def take(self, path: str, values: list[Any]) -> None:
        """One event. What is not of a session is ignored."""
        parts = path.split("/")
        if len(parts) != 4 or parts[1] != "session":
            return
        id, name = parts[2], parts[3]
        if name == "status":
            self.status[id] = dict(zip(values[::2], values[1::2], strict=False))
        elif name == "levels" and len(values) == 6:
            self.levels[id] = values
        elif name == "closed":
            self.status.pop(id, None)
            self.levels.pop(id, None)


def bar(level_db: float, characters: int = BAR_CHARACTERS) -> str:
    """A level from -60 to 0 dB as a bar of eighth blocks, always `characters` wide."""
    eighths = round(characters * 8 * min(1.0, max(0.0, 1.0 - level_db / LOWEST_DB)))
    full, part = divmod(eighths, 8)
    return (("█" * full) + (_BLOCKS[part] if part else "")).ljust(characters)


def line(id: str, status: dict[str, Any], levels: list[float]) -> str:
    """One session in one line, for pipes and logs."""
    return (
        f"{id} {status.get('preset', '?')} {status.get('mode', '?')} {status.get('state', '?')} "
        f"input {levels[0]:.0f} dB target {levels[2]:.0f} dB remainder {levels[4]:.0f} dB "
        f"load {100 * status.get('load', 0.0):.0f} % misses {status.get('misses', 0)}"
    )


def table(picture: Picture) -> Table:
    """All sessions as a rich table with bars."""
    from rich.table import Table

    result = Table(box=None, pad_edge=False, title=None)
    for heading in ("session", "preset", "mode", "state", "level", "dB", "load", "misses"):
        result.add_column(heading, no_wrap=True)
    for id, status in picture.status.items():
        levels = picture.levels.get(id, [-120.0] * 6)
        load = f"{100 * status.get('load', 0.0):3.0f} %"
        cells = [id, status["preset"], status["mode"], status["state"]]
        for row, (name, colour) in enumerate(
            (("input", "white"), ("target", "green"), ("remainder", "magenta"))
        ):
            level = levels[2 * row]
            first = cells if row == 0 else ["", "", "", ""]
            last = [load, str(status["misses"])] if row == 0 else ["", ""]
            drawn = f"[{colour}]{bar(level)}[/] {name}"
            result.add_row(*first, drawn, f"{max(level, -99):4.0f}", *last)
    if not picture.status:
        result.add_row("no sessions: open the plugin in a DAW", *[""] * 7)
    return result


def watch(client: Client, session: str, seconds: float | None) -> int:
    """Follow one session or all until Ctrl-C, or for so long."""
    picture = Picture()
    end = time.monotonic() + seconds if seconds else None
    if sys.stdout.isatty():
        from rich.live import Live

        with Live(table(picture), auto_refresh=False, screen=False) as live:
            for _ in _rounds(client, session, picture, end, 1.0 / RATE_HZ):
                live.update(table(picture), refresh=True)
    else:
        for _ in _rounds(client, session, picture, end, 1.0):
            for id, status in picture.status.items():
                print(line(id, status, picture.levels.get(id, [-120.0] * 6)), flush=True)
    return 0


def _rounds(client: Client, session: str, picture: Picture, end: float | None, pause: float) -> Any:
    """Collect events for `pause` seconds at a time; subscriptions are renewed in between."""
    renew = 0.0
    while end is None or time.monotonic() < end:
        if time.monotonic() >= renew:
            renew = time.monotonic() + RENEW_SECONDS
            ids = [session] if session else [e[0] for e in client.request_all("/session/list")]
            for id in ids:
                client.request(f"/session/{id}/status/subscribe", RATE_HZ)
            for id in set(picture.status) - set(ids):
                picture.take(f"/session/{id}/closed", [])
        for path, values in client.events(pause):
            picture.take(path, values)
        yield
