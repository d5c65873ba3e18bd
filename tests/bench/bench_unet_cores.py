"""How much sooner a step is over on two cores than on one: wall time, on an idle machine.

    python tests/bench/bench_unet_cores.py [--presets vocals,drums] [--modes live,mix]

One call with the due steps of 1, 2 and 4 sessions at 48 kHz, on noise, with one core and with
two in turns (`stembridge serve --threads`). Medians of --repeats rounds; the ratio means nothing
where another process uses the second core.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from stembridge.chain import SeparationChain
from stembridge.presets import load_preset
from stembridge.separators.auto import resolved
from stembridge.separators.side_by_side import use_cores
from stembridge.server.session import build_chain

SESSIONS = (1, 2, 4)
RATE_HZ = 48000


def call_ms(chains: list[SeparationChain], rng: np.random.Generator) -> float:
    """Milliseconds of one call with the next step of every chain."""
    for chain in chains:
        while not chain.due:
            chain.feed((0.1 * rng.standard_normal((2, 2048))).astype(np.float32))
    began = time.perf_counter()
    streams = [stream for chain in chains for stream in chain.streams]
    chains[0].separator.advance(streams)  # type: ignore[attr-defined]
    took = 1000 * (time.perf_counter() - began)
    for chain in chains:
        chain.take()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default="vocals,drums")
    parser.add_argument("--modes", default="live,mix")
    parser.add_argument("--repeats", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print("| preset | mode | sessions | one core, ms | two cores, ms | times as fast |")
    print("|---|---|---|---|---|---|")
    for name in args.presets.split(","):
        for mode in args.modes.split(","):
            preset = resolved(replace(load_preset(name), mode=mode))[0]
            chains = [build_chain(preset, RATE_HZ, 2, mode) for _ in range(max(SESSIONS))]
            taken: dict[tuple[int, int], list[float]] = {}
            for _ in range(args.repeats + 2):  # the first two rounds touch memory
                for cores in (1, 2):
                    use_cores(cores)
                    for count in SESSIONS:
                        taken.setdefault((count, cores), []).append(call_ms(chains[:count], rng))
            for count in SESSIONS:
                one, two = (float(np.median(taken[count, cores][2:])) for cores in (1, 2))
                print(f"| {name} | {mode} | {count} | {one:.1f} | {two:.1f} | {one / two:.2f} |")


if __name__ == "__main__":
    main()
