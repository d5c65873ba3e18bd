"""`stembridge evaluate`: median SDR and SI-SDR per stem on songs whose stems are known."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from .common import (
    add_device_arguments,
    add_json_argument,
    add_verb,
    console_err,
    console_out,
    open_separator,
    positive_float,
    print_json,
    progress_bar,
    use_threads,
)

if TYPE_CHECKING:
    from ..evaluation import Score
    from ..separators import Mode

_EPILOG = """examples:
  stembridge evaluate songs/
  stembridge evaluate songs/ -m render -m mix -m live --seconds 20
  stembridge evaluate songs/ --json > figures.json

Each subfolder is a song, each file in it a stem named as the prompt (vocals.wav); the mixture
is the sum of the files. SDR is the median over 1 s frames of 10 log10(sum s^2 / sum (s-e)^2),
frames with a silent stem left out; SI-SDR is that of the whole song after the best gain.
"mixture" scores the untouched mix, "ideal mask" the best ratio mask, for comparison.
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "evaluate", "measure the quality on songs whose stems you have", epilog=_EPILOG
    )
    parser.add_argument("folder", metavar="FOLDER", help="a folder of songs")
    parser.add_argument("--separator", "-n", default="unet", metavar="NAME")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights of a published separator")
    parser.add_argument(
        "-m",
        "--mode",
        action="append",
        choices=("live", "mix", "render"),
        help="may be given several times (default: render)",
    )
    parser.add_argument(
        "--stem", action="append", metavar="NAME", help="score this stem only (several times)"
    )
    parser.add_argument(
        "--seconds", type=positive_float, metavar="N", help="only the first N seconds of each song"
    )
    add_device_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..errors import PromptError, StembridgeError
    from ..evaluation_songs import evaluate_song, find_songs, read_song

    songs = find_songs(Path(args.folder))
    use_threads(args.threads)
    separator = open_separator(args.separator, device=args.device, checkpoint=args.checkpoint)
    names = args.stem or list(separator.capabilities.names)
    for name in args.stem or ():
        if name not in separator.capabilities.names:
            raise PromptError(
                f"The separator {separator.name!r} has no stem {name!r}. Choose from: "
                f"{', '.join(separator.capabilities.names)}."
            )
    modes: list[Mode] = list(dict.fromkeys(args.mode or [separator.modes[-1]]))
    results: dict[str, dict[str, dict[str, Score]]] = {}
    failed: dict[str, StembridgeError] = {}
    with progress_bar() as bars:
        whole = bars.add_task(f"{len(songs)} songs", total=len(songs))
        for folder in songs:
            try:
                song = read_song(folder, args.seconds)
                seconds = song.mixture.shape[1] / song.sample_rate
                task = bars.add_task(folder.name[:30], total=seconds * len(modes))
                results[folder.name] = evaluate_song(
                    song,
                    separator,
                    modes,
                    names,
                    lambda done, task=task: bars.update(task, completed=done),
                )
                bars.remove_task(task)
            except StembridgeError as error:
                failed[folder.name] = error
            bars.advance(whole)
    if args.json:
        print_json(_document(args, separator, results, failed))
    else:
        _print_tables(results, names)
    for name, error in failed.items():
        console_err().print(f"✗ {name}: {error}", style="red", markup=False)
    return 1 if failed or not results else 0


def _document(
    args: argparse.Namespace,
    separator: Any,
    results: dict[str, dict[str, dict[str, Score]]],
    failed: dict[str, Any],
) -> dict[str, Any]:
    from .. import __version__

    return {
        "ok": not failed,
        "stembridge": __version__,
        "separator": separator.name,
        "space": separator.space,
        "seconds": args.seconds,
        "songs": {
            song: {
                kind: {
                    stem: {
                        "sdr_db": _rounded(s.sdr_db),
                        "si_sdr_db": _rounded(s.si_sdr_db),
                        "frames": s.frames,
                    }
                    for stem, s in stems.items()
                }
                for kind, stems in kinds.items()
            }
            for song, kinds in results.items()
        },
        "summary": {
            kind: {
                stem: {key: _rounded(value) for key, value in figures.items()}
                for stem, figures in stems.items()
            }
            for kind, stems in summary(results).items()
        },
        "failed": {
            name: {"code": error.code, "message": str(error)} for name, error in failed.items()
        },
    }


def _rounded(value: float) -> float:
    return round(value, 3) if math.isfinite(value) else value


def summary(results: dict[str, dict[str, dict[str, Score]]]) -> dict[str, dict[str, Any]]:
    """Mean and median over the songs, by what was scored and stem."""
    from ..evaluation import average

    collected: dict[str, dict[str, list[Score]]] = {}
    for kinds in results.values():
        for kind, stems in kinds.items():
            for stem, value in stems.items():
                collected.setdefault(kind, {}).setdefault(stem, []).append(value)
    table: dict[str, dict[str, Any]] = {}
    for kind, stems in collected.items():
        table[kind] = {}
        for stem, scores in stems.items():
            mean, median = average([s.sdr_db for s in scores])
            si_mean, si_median = average([s.si_sdr_db for s in scores])
            table[kind][stem] = {
                "sdr_db_mean": mean,
                "sdr_db_median": median,
                "si_sdr_db_mean": si_mean,
                "si_sdr_db_median": si_median,
                "songs": sum(math.isfinite(s.sdr_db) for s in scores),
            }
    return table


def _print_tables(results: dict[str, dict[str, dict[str, Score]]], names: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console_out()
    totals = summary(results)
    present = {stem for stems in totals.values() for stem in stems}
    shown = [name for name in names if name in present]
    for kind, stems in totals.items():
        anchor = kind in ("mixture", "ideal mask")
        table = Table(
            title=f"{kind}   SDR / SI-SDR in dB",
            title_justify="left",
            title_style="dim" if anchor else "bold cyan",
            box=None,
            pad_edge=False,
            header_style="bold",
        )
        table.add_column("song", min_width=22)
        for name in shown:
            table.add_column(escape(name), justify="right", min_width=13)
        if not anchor or len(results) == 1:
            for song, kinds in results.items():
                scores = [kinds.get(kind, {}).get(name) for name in shown]
                cells = [_pair(s.sdr_db, s.si_sdr_db) if s else "–" for s in scores]
                table.add_row(escape(song), *cells)
        for label in ("mean", "median") if len(results) > 1 else ():
            cells = [
                _pair(stems[n][f"sdr_db_{label}"], stems[n][f"si_sdr_db_{label}"])
                if n in stems
                else "–"
                for n in shown
            ]
            table.add_row(f"[bold]{label}[/]", *cells, style="dim" if anchor else "")
        out.print(table)
        out.print()


def _pair(first: float, second: float) -> str:
    def shown(value: float) -> str:
        return f"{value:.1f}" if math.isfinite(value) else "–"

    return f"{shown(first)} / {shown(second)}"
