"""What the verbs share: help with examples, output for people and machines, progress.

Results go to standard output; progress, notes and errors go to standard error, so that
`--json` and pipes stay clean. Progress bars appear on a terminal only.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ..separators import Separator


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' lines as they are and gives options room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(100, _columns()))
        self._action_max_length = 16  # argparse forgets the verbs' indent when it measures


def _columns() -> int:
    import shutil

    return max(60, shutil.get_terminal_size().columns - 2)


def add_verb(
    subparsers: Any, name: str, summary: str, epilog: str = "", description: str = ""
) -> argparse.ArgumentParser:
    """A verb's parser with the house's help format; `epilog` holds the examples."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=description or summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=HelpFormatter,
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """`--json`: one JSON document on standard output."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """`--device` and `--threads`, which `use_threads` and `device_options` read."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, mps or auto (default: what the separator chooses)",
    )
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads to use")


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a number from 1")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a number above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError("give a number above 0")
    return value


def use_threads(threads: int | None, jobs: int = 1) -> int:
    """Set how many threads one separation may use and return that number."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = threads or max(1, (cores or 1) // jobs)
    torch.set_num_threads(count)
    return count


def open_separator(name: str, **options: Any) -> Separator:
    """`load_separator`, with an error that helps if the separator has not got an option.

    Options that are None are left out.

    Raises:
        NotAvailableError: for an unknown or uninstalled separator, or an unknown option.
    """
    import importlib

    from ..errors import NotAvailableError
    from ..separators import SEPARATORS, load_separator

    given = {key: value for key, value in options.items() if value is not None}
    entry = SEPARATORS.get(name)
    if entry is not None and given:
        load = importlib.import_module(f"..separators.{entry.module}", __package__).load
        known = inspect.signature(load).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
        for key in given:
            if key not in known and not takes_any:
                has = ", ".join(known) or "none"
                raise NotAvailableError(
                    f"The separator {name!r} has no option {key!r} (it has: {has}). Leave it out."
                )
    return load_separator(name, **given)


def console_err() -> Console:
    """For notes and progress: colours and bars on a terminal, plain text elsewhere."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def console_out() -> Console:
    """For results that people read."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else 160
    return Console(highlight=False, width=wide)


def print_json(document: Any) -> None:
    """Print one JSON document; numbers that are not finite become null."""
    print(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def progress_bar(speed_unit: str = "×") -> Iterator[Progress]:
    """A rich progress display on standard error; invisible unless that is a terminal.

    Tasks count seconds of audio, so that the speed reads "4.2×".
    """
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:5.1f}{speed_unit}" if speed else "", style="cyan")

    console = console_err()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        Speed(),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        yield progress
