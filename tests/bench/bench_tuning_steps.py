"""What a step of tuning costs on each system, in CPU seconds, on one thread.

    python tests/bench/bench_tuning_steps.py [--systems unet uss clapsep] [--steps 2]

The published systems run on weights of the reproducible fill: speed does not depend on
their values. Segments and precision are the tuner's own. Printed: what is done once
per mixture, a step (forwards and backwards, a batch of four), judging a batch (forwards), and
what a whole tuning at the default settings costs if it takes all its steps.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from stembridge.separators import load_separator
from stembridge.tuning.learn import BACKTRACK, EVALUATE_EVERY, _Adam, _gradient, _prepare, _scores
from stembridge.tuning.mixtures import Batch
from test_tuning_systems import BUILD

SETTINGS = importlib.import_module("stembridge.tuning.tune")


def cpu_seconds(work: Callable[[], Any], times: int) -> float:
    """Mean over `times`, after one that warms up; what takes seconds is not warmed up."""
    began = time.process_time()
    work()
    if (first := time.process_time() - began) > 1.0:
        return first
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def measure(name: str, steps: int) -> str:
    separator: Any = load_separator("unet") if name == "unet" else BUILD[name]()
    tunable = separator.tunable()
    random = np.random.default_rng(0)
    # The published systems work a batch off one by one.
    mixtures = SETTINGS.BATCH_SIZE if name == "unet" else 1
    shape = (mixtures, tunable.channels, tunable.segment_samples)
    wanted, other = (0.1 * random.standard_normal((2, *shape))).astype(np.float32)
    batch = Batch(wanted, wanted + other)
    start = torch.from_numpy(tunable.start([wanted[0]]))
    offset = torch.zeros_like(start[tunable.learnable], requires_grad=True)
    adam = _Adam(offset, tunable.step_size, SETTINGS.STEPS)
    with torch.no_grad():
        once = cpu_seconds(lambda: _prepare(tunable, batch), steps)
        prepared = _prepare(tunable, batch)
    step = cpu_seconds(lambda: adam.step(_gradient(tunable, prepared, start, offset)), steps)
    judge = cpu_seconds(lambda: _scores(tunable, [prepared], start), steps)
    once, step, judge = (x * SETTINGS.BATCH_SIZE / mixtures for x in (once, step, judge))
    judged = SETTINGS.JUDGING_BATCHES
    batches = SETTINGS.POOL_BATCHES + 2 * judged
    looks = SETTINGS.STEPS // EVALUATE_EVERY + 2 + len(BACKTRACK)
    whole = batches * once + SETTINGS.STEPS * step + (looks + 2) * judged * judge
    once /= SETTINGS.BATCH_SIZE
    return f"| `{name}` | {once:.2f} | {step:.2f} | {judge:.2f} | {whole / 60:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--systems", nargs="+", default=["unet", *BUILD])
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| system | once per mixture | step | judging a batch | minutes for 160 steps |")
    print("|---|---|---|---|---|")
    for name in args.systems:
        print(measure(name, args.steps), flush=True)


if __name__ == "__main__":
    main()
