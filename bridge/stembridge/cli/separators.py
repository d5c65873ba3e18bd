"""`stembridge separators`: which there are, what they take, whether they run here."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_json_argument, add_verb, console_out, print_json

_EPILOG = """examples:
  stembridge separators
  stembridge separators --json
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "separators", "the separators, their prompts, delay and state", epilog=_EPILOG
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..separators import SEPARATORS

    rows = [_row(name) for name in SEPARATORS]
    if args.json:
        print_json({"separators": rows})
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in sorted(rows, key=lambda row: not row["ready"]):
        state = "[green]ready[/]" if row["ready"] else "[dim]not installed[/]"
        table.add_row(f"[bold]{row['name']}[/]", f"{escape(row['summary'])}  {state}")
        details = _abilities(row) if row["ready"] else [row["missing"]]
        for line in details:
            table.add_row("", f"[dim]{escape(line)}[/]")
        table.add_row("", "")
    console_out().print(table)
    return 0


def _abilities(row: dict[str, Any]) -> list[str]:
    names = row["names"]
    shown = [*names[:12], f"and {len(names) - 12} more names"] if len(names) > 12 else names
    kinds = {"text": "words", "examples": "example clips", "tuned": "tuned prompts"}
    prompts = [*shown, *(word for kind, word in kinds.items() if row[kind])]
    delays = ", ".join(f"{mode} {_span(s)}" for mode, s in row["latency_seconds"].items())
    return [f"prompts: {', '.join(prompts)}", *([f"delay: {delays}"] if delays else [])]


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _row(name: str) -> dict[str, Any]:
    """One separator; a part that is missing gives its reason instead of its abilities."""
    from ..errors import StembridgeError
    from ..separators import SEPARATORS, load_separator

    entry = SEPARATORS[name]
    row: dict[str, Any] = {
        "name": name,
        "summary": entry.summary,
        "embedded": entry.embedded,
        "ready": False,
        "missing": "",
        "names": [],
        "text": False,
        "examples": False,
        "tuned": False,
        "negative": False,
        "sample_rate": None,
        "space": None,
        "modes": [],
        "latency_seconds": {},
    }
    try:
        separator = load_separator(name)
    except (StembridgeError, ImportError, OSError) as error:
        return row | {"missing": str(error)}
    able = separator.capabilities
    latency = {}
    for mode in separator.modes:
        try:
            latency[mode] = round(separator.latency_samples(mode) / separator.sample_rate, 4)
        except (StembridgeError, NotImplementedError):
            continue
    return row | {
        "ready": True,
        "names": list(able.names),
        "text": able.text,
        "examples": able.examples,
        "tuned": able.tuned,
        "negative": able.negative,
        "sample_rate": separator.sample_rate,
        "space": separator.space,
        "modes": list(separator.modes),
        "latency_seconds": latency,
    }
