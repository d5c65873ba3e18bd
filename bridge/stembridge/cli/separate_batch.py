"""The songs of one `stembridge separate`, several at once, each told of as it is finished.

Every song gives one outcome, in the order of the command line, whatever happens to the
others. Ctrl-C stops at the next block: finished songs stay, and nothing half done is left.
Lines for people go above the progress bars; where standard output is a pipe, the finished
songs go there.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .common import console_out, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from .separate_job import Group, Outcome, Settings
    from .separate_plan import Track


def run_batch(
    args: argparse.Namespace, tracks: list[Track], groups: list[Group], settings: Settings
) -> list[Outcome]:
    """Run the songs on `-j` worker threads. The main thread only waits and draws, so that
    Ctrl-C always finds it: the workers then stop at their next block and clean up."""
    import threading
    from concurrent.futures import Future, ThreadPoolExecutor, wait

    from .separate_job import Outcome, separate_track

    cancel = threading.Event()
    outcomes: dict[int, Outcome] = {}
    with progress_bar() as bars, ThreadPoolExecutor(args.jobs) as pool:

        def work(track: Track) -> Outcome:
            if track.problem is not None:
                return Outcome(track, "failed", track.problem)
            if track.exists:
                return _existing(track, args.skip_existing)
            task = bars.add_task(track.path.name[:40], total=None)

            def advance(done_seconds: float, total_seconds: float) -> None:
                bars.update(task, completed=done_seconds, total=total_seconds or None)

            try:
                return separate_track(track, groups, settings, cancel, advance)
            finally:
                bars.remove_task(task)

        futures: dict[Future[Outcome], int] = {}
        waiting: set[Future[Outcome]] = set()
        for index, track in enumerate(tracks):
            future = pool.submit(work, track)
            futures[future] = index
            waiting.add(future)
        while waiting:
            try:
                finished, waiting = wait(waiting, timeout=0.2)
                for future in finished:
                    outcome = outcomes[futures[future]] = future.result()
                    _tell(args, outcome, bars.console)
            except KeyboardInterrupt:
                if not cancel.is_set():
                    bars.console.print("Stopping; finished songs stay, the rest is removed…")
                cancel.set()
    return [outcomes[index] for index in sorted(outcomes)]


def _existing(track: Track, skip: bool) -> Outcome:
    from ..errors import AudioError
    from .separate_job import Outcome

    if skip:
        return Outcome(track, "exists")
    there = next(path for path in track.outputs.values() if path.exists() or path.is_symlink())
    return Outcome(
        track,
        "failed",
        AudioError(
            f"{track.path}: {there} exists already. Replace it with --overwrite, or leave such "
            "songs out with --skip-existing."
        ),
    )


def _tell(args: argparse.Namespace, outcome: Outcome, above_bars: Console) -> None:
    """One line per song as soon as it is finished; on a terminal it goes above the bars."""
    from rich.markup import escape

    from .separate_report import done_line

    name = escape(str(outcome.track.path))
    if outcome.status == "done":
        to_stdout = not args.json and not sys.stdout.isatty()
        (console_out() if to_stdout else above_bars).print(done_line(outcome))
    elif outcome.status == "exists":
        above_bars.print(f"[yellow]–[/] {name}: has results already, skipped")
    elif outcome.status == "failed":
        above_bars.print(f"[red]✗[/] {escape(str(outcome.error))}")
