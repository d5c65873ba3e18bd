"""What the native core costs the audio thread, per block: p50, p99, p99.9 and their ratios.

    python tests/bench/bench_native.py [--scale 1]

Builds `native/tests/bench_core.cpp` in Release and runs it (about half a minute at scale 1).
All rows come from one run on one machine, so the ratios mean something when the machine is
not quiet; the time of one look at the clock is part of every figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from argparse import RawTextHelpFormatter
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "native-bench"


def build() -> Path:
    for command in (
        [
            *("cmake", "-S", str(ROOT / "native"), "-B", str(FOLDER), "-G", "Ninja"),
            *("-DCMAKE_BUILD_TYPE=Release", "-DSTEMBRIDGE_TESTS=ON", "-DSTEMBRIDGE_PYTHON=OFF"),
        ],
        ["cmake", "--build", str(FOLDER), "--target", "bench_core"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return FOLDER / "tests" / "bench_core"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="length of the run (default: 1)")
    scale = parser.parse_args().scale
    done = subprocess.run([str(build()), str(scale)], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    copy = {row["block"]: row for row in rows if row["what"] == "copy"}
    trip = {row["block"]: row for row in rows if row["what"] == "round trip"}
    table = Table(title="stereo float32, microseconds per block")
    for name in ("block", "what", "blocks", "p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="left" if name == "what" else "right")
    table.add_column("p50 / copy", justify="right")
    table.add_column("p50 / round trip", justify="right")
    for row in rows:
        block = row["block"]
        table.add_row(
            str(block),
            row["what"],
            str(row["count"]),
            *(f"{row[key]:.2f}" for key in ("p50_us", "p99_us", "p999_us", "max_us")),
            f"{row['p50_us'] / copy[block]['p50_us']:.1f}",
            f"{row['p50_us'] / trip[block]['p50_us']:.3f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
