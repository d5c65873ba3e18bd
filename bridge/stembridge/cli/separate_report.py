"""What `separate` says at the end: a line per song, a summary, or one JSON document."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from .. import __version__
from .separate_job import Group, Outcome

MAX_NAMES = 6


def done_line(outcome: Outcome) -> str:
    """The song, where its stems lie, how long it took; rich markup."""
    from rich.markup import escape

    paths = list(outcome.track.outputs.values())
    folder = os.path.commonpath([path.parent for path in paths])
    names = [os.path.relpath(path, folder) for path in paths]
    if len(names) > MAX_NAMES:
        names = [*names[: MAX_NAMES - 1], f"and {len(names) - MAX_NAMES + 1} more"]
    speed = outcome.seconds / max(1e-3, outcome.elapsed_seconds)
    line = (
        f"[green]✓[/] [bold]{escape(outcome.track.path.name)}[/] → {escape(folder)}{os.sep}  "
        f"{escape(', '.join(names))}\n"
        f"  [dim]{clock(outcome.seconds)} in {clock(outcome.elapsed_seconds)}, "
        f"{speed:.1f}× real time[/]"
    )
    if outcome.gain != 1.0:
        line += (
            f"\n  [dim]all stems turned down by {-20 * math.log10(outcome.gain):.1f} dB together, "
            "to fit full scale (--bits 32f keeps the level)[/]"
        )
    for picture in outcome.pictures:
        line += f"\n  [dim]picture: {escape(str(picture))}[/]"
    return line


def summary_line(outcomes: Sequence[Outcome]) -> str:
    """How many songs were done, skipped, stopped, failed."""
    counts = {
        word: sum(o.status == status for o in outcomes)
        for status, word in (
            ("done", "done"),
            ("exists", "skipped"),
            ("cancelled", "stopped"),
            ("failed", "failed"),
        )
    }
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n or word == "done")


def clock(seconds: float) -> str:
    """Minutes and seconds: 75.2 → "1:15", 3.21 → "3.2 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def report_json(outcomes: Sequence[Outcome], groups: Sequence[Group]) -> dict[str, Any]:
    """The document of `--json`. Fields are added in later versions, never renamed."""
    return {
        "ok": all(o.status in ("done", "exists") for o in outcomes),
        "stembridge": __version__,
        "results": [outcome.as_json(groups) for outcome in outcomes],
        "done": sum(o.status == "done" for o in outcomes),
        "failed": sum(o.status == "failed" for o in outcomes),
    }
