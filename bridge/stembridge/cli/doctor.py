"""`stembridge doctor`: is this installation whole, fit for its machine, and how fast?

`CHECKS` is a table; a part that is installed besides adds a row. A check returns findings
and never raises: what breaks inside one becomes its finding.
"""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_json_argument, add_verb, console_err, console_out, print_json
from .doctor_findings import Check, Context, Finding
from .doctor_machine import check_device, check_threads, check_versions, torch_advice
from .doctor_parts import (
    check_native,
    check_plugin,
    check_presets,
    check_programs,
    check_separators,
    check_server,
    check_speed,
)

__all__ = ["CHECKS", "Check", "Context", "Finding", "add_parser", "run", "torch_advice"]

_EPILOG = """examples:
  stembridge doctor
  stembridge doctor --quick       without the measurement of speed
  stembridge doctor --json        for a bug report
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "doctor", "check this installation and measure its speed", epilog=_EPILOG
    )
    parser.add_argument("--quick", action="store_true", help="do not measure the speed")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    context = Context(quick=args.quick)
    findings: list[Finding] = []
    out = console_err() if args.json else console_out()
    for check in CHECKS:
        for finding in _findings(check, context):
            findings.append(finding)
            if not args.json:
                _print(out, finding)
    problems = sum(f.level == "problem" for f in findings)
    notes = sum(f.level == "note" for f in findings)
    if args.json:
        rows = [
            {"level": f.level, "subject": f.subject, "text": f.text, "data": f.data}
            for f in findings
        ]
        print_json({"ok": not problems, "problems": problems, "notes": notes, "findings": rows})
    elif problems:
        out.print(f"\n[red]{problems} problem{'s' * (problems > 1)}[/] to solve, see above.")
    else:
        out.print("\n[green]Stembridge is ready.[/]")
    return 1 if problems else 0


def _findings(check: Check, context: Context) -> list[Finding]:
    try:
        return check.run(context)
    except Exception as error:  # a diagnosis must never be what breaks
        return [Finding("problem", check.name, f"{type(error).__name__}: {error}")]


def _print(out: Any, finding: Finding) -> None:
    from rich.markup import escape
    from rich.table import Table

    marks = {"ok": "[green]✓", "optional": "[dim]·", "note": "[yellow]!", "problem": "[red]✗"}
    mark = f"{marks[finding.level]}[/]"
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=11)
    line.add_column(overflow="fold")
    style = "dim" if finding.level == "optional" else ""
    line.add_row(mark, f"[bold]{escape(finding.subject)}[/]", escape(finding.text), style=style)
    out.print(line)


CHECKS: list[Check] = [
    Check("versions", check_versions),
    Check("device", check_device),
    Check("threads", check_threads),
    Check("native", check_native),
    Check("separators", check_separators),
    Check("presets", check_presets),
    Check("programs", check_programs),
    Check("server", check_server),
    Check("plugin", check_plugin),
    Check("speed", check_speed),
]
