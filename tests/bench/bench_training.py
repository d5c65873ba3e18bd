"""What a training step costs, and whether the data side keeps the trainer busy.

    python tests/bench/bench_training.py --data RECORDINGS [--cache FOLDER] [--device cuda]

Prints seconds of mixture per second for mixing alone and for whole steps, with the encoder
frozen and trained, in float32 and bfloat16, and the share of a step spent on mixing. On the
CPU these are seconds of CPU time, so that a busy machine changes little; on a GPU they are
seconds of the clock, which is what counts there.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from stembridge.training.memory import keep_freed_memory
from stembridge.training.mixer import Mixer, Recipe
from stembridge.training.network import published_pair, start_model
from stembridge.training.prepare import prepare
from stembridge.training.settings import Settings
from stembridge.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    _, shelves = prepare(args.data, args.cache, seed=1)
    mixer = Mixer(shelves, Recipe())
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    began, count = clock(), 32
    for index in range(count):
        mixer.draw(np.random.default_rng(index))
    each = (clock() - began) / count
    print(f"mixing alone: {mixer.recipe.seconds / each:.0f} times real time", flush=True)
    pair = published_pair()
    base = Settings(batch=4, accumulate=1, steps=args.steps)
    for frozen in (True, False):
        for half in (False, True):
            settings = dataclasses.replace(base, freeze_encoder=frozen, bfloat16=half)
            trainer = Trainer(start_model(), pair, mixer, settings, args.device)
            trainer.step()
            took = []
            for _ in range(args.steps):
                began = clock()
                trainer.step()
                took.append(clock() - began)
            step = float(np.median(took))
            speed = settings.batch * mixer.recipe.seconds / step
            share = settings.batch * each / step
            what = (
                f"encoder {'frozen' if frozen else 'trained'}, {'bfloat16' if half else 'float32'}"
            )
            print(
                f"{what}: {speed:.1f} times real time, {100 * share:.0f} % of it mixing", flush=True
            )


if __name__ == "__main__":
    main()
