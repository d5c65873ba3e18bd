"""What a step of a stream costs alone and with others in one call, in CPU milliseconds.

    python tests/bench/bench_unet_batches.py --modes mix live --names vocals --streams 1 2 4 8

The whole of `Unet.advance`: spectra, networks and stems, on streams of different noise, each
past its first windows (which are computed whole). Calls of all sizes take turns, so that
whoever else uses the machine disturbs them alike; the gain is the ratio of the medians. What
streams keep from window to window is counted too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from stembridge.prompts import NamePrompt, Query
from stembridge.separators import Mode
from stembridge.separators.unet import Unet
from stembridge.separators.unet_stream import UnetStream

WARM_STEPS = 30  # by then nothing is left of the first windows


def kept_bytes(stream: UnetStream) -> int:
    """Memory of the columns that a stream holds, storages counted once."""
    storages = {
        column.untyped_storage().data_ptr(): column.untyped_storage().nbytes()
        for kept in stream._memory._kept.values()
        for columns in kept.columns.values()
        for column in columns.values()
    }
    return sum(storages.values())


def measure(
    unet: Unet, mode: Mode, names: list[str], sizes: list[int], repeats: int
) -> list[dict[str, object]]:
    random = np.random.default_rng(0)
    queries = [Query(keep=(unet.encode(NamePrompt(name)),), label=name) for name in names]
    groups = {size: [unet.stream(queries, mode) for _ in range(size)] for size in sizes}
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(WARM_STEPS + repeats):
        for size, streams in groups.items():
            for stream in streams:
                noise = 0.1 * random.standard_normal((2, stream.step_samples))
                stream.feed(noise.astype(np.float32))
            start = time.thread_time()
            unet.advance(streams)
            cost = time.thread_time() - start
            for stream in streams:
                stream.take()
            if number >= WARM_STEPS:
                costs[size].append(1000 * cost / size)
    alone = statistics.median(costs[sizes[0]])
    rows: list[dict[str, object]] = []
    for size in sizes:
        median = statistics.median(costs[size])
        kept = sum(map(kept_bytes, groups[size])) / size
        rows.append(
            {
                "mode": mode,
                "names": names,
                "streams": size,
                "ms_per_step_and_stream": round(median, 2),
                "best": round(min(costs[size]), 2),
                "gain": round(alone / median, 2),
                "kept_mb_per_stream": round(kept / 1e6, 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="What a step costs alone and in a batch.")
    parser.add_argument("--modes", choices=("live", "mix"), nargs="+", default=["mix", "live"])
    parser.add_argument("--names", nargs="+", default=["vocals"])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    args = parser.parse_args()
    torch.set_num_threads(1)
    unet = Unet(precision=args.precision)
    for mode in args.modes:
        for row in measure(unet, mode, args.names, args.streams, args.repeats):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
