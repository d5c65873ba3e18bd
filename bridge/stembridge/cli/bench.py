"""`stembridge bench`: seconds of CPU and of waiting per second of audio, for every mode."""

from __future__ import annotations

import argparse
from typing import Any

from .common import (
    add_device_arguments,
    add_json_argument,
    add_verb,
    console_err,
    console_out,
    open_separator,
    positive_float,
    print_json,
    use_threads,
)

_EPILOG = """examples:
  stembridge bench                     the embedded separator, all modes, its default stems
  stembridge bench -m mix --threads 1  can one core play along?
  stembridge bench --separator speech --seconds 30 --json

The load is how much of real time one separation takes: below 100 % it keeps up.
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(subparsers, "bench", "measure the speed of every mode", epilog=_EPILOG)
    parser.add_argument("--separator", "-n", default="unet", metavar="NAME")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights of a published separator")
    parser.add_argument("-m", "--mode", action="append", choices=("live", "mix", "render"))
    parser.add_argument(
        "--seconds", type=positive_float, default=20.0, metavar="N", help="of audio (default: 20)"
    )
    parser.add_argument("--stem", action="append", metavar="NAME", help="prompts by name")
    add_device_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    threads = use_threads(args.threads)
    separator = open_separator(args.separator, device=args.device, checkpoint=args.checkpoint)
    names = args.stem or [*separator.capabilities.names[:1]]
    rows = []
    for mode in args.mode or separator.modes:
        if mode not in separator.modes:
            console_err().print(f"{separator.name} has no mode {mode}", markup=False)
            return 1
        rows.append(measure(separator, mode, names, args.seconds))
    if args.json:
        print_json(
            {
                "separator": separator.name,
                "stems": list(names),
                "threads": threads,
                "modes": rows,
            }
        )
        return 0
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("mode", "delay", "CPU s per s", "load", "speed"):
        table.add_column(heading, justify="right" if heading != "mode" else "left")
    for row in rows:
        table.add_row(
            row["mode"],
            f"{row['latency_seconds'] * 1000:.0f} ms",
            f"{row['cpu_seconds_per_second']:.3f}",
            f"{100 * row['seconds_per_second']:.0f} %",
            f"{1 / row['seconds_per_second']:.1f}×",
        )
    out = console_out()
    out.print(f"{separator.name}: {', '.join(names)}; {threads} thread{'s' * (threads > 1)}")
    out.print(table)
    return 0


def measure(
    separator: Any, mode: Any, names: Any, seconds: float, limit_seconds: float = float("inf")
) -> dict[str, Any]:
    """Speed of one mode on noise at the separator's own rate, after a warm-up.

    On a slow or busy machine it stops after about `limit_seconds` and counts what was done.
    """
    import time

    import numpy as np

    from ..chain import SeparationChain
    from ..prompts import NamePrompt, Query

    rate = separator.sample_rate
    noise = np.random.default_rng(1).standard_normal((2, round(seconds * rate)))
    audio = (0.1 * noise).astype(np.float32)
    queries = [Query(keep=(separator.encode(NamePrompt(name)),)) for name in names]
    chain = SeparationChain(queries, rate, 2, mode=mode, separator=separator)
    chain.push(audio[:, :rate])
    chain.flush()
    wall, cpu, done = time.perf_counter(), time.process_time(), 0
    for start in range(0, audio.shape[1], rate):
        if time.perf_counter() - wall > limit_seconds:
            break
        block = audio[:, start : start + rate]
        chain.push(block)
        done += block.shape[1]
    chain.flush()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    spent = done / rate
    return {
        "mode": mode,
        "latency_seconds": round(chain.latency_samples / rate, 4),
        "seconds_per_second": round(wall / spent, 4),
        "cpu_seconds_per_second": round(cpu / spent, 4),
    }
