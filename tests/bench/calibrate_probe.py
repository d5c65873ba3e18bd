"""Fit the probe's model on songs with and without the target, and say how right it is.

    python tests/bench/calibrate_probe.py FOLDER [--seconds 10] [--excerpts 3]

FOLDER holds songs as folders of stem files (vocals, drums, bass, other). For each stem and
excerpt the probe's three ratios are measured on the full mixture (the stem is there) and on
the mixture without it (it is not). A ridge-regularised logistic regression is fitted on all
songs; its accuracy is measured leaving out one song at a time. Prints the weights to copy
into `stembridge/tuning/probe.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stembridge.audiofile import read_audio
from stembridge.presets import Preset
from stembridge.prompts import NamePrompt
from stembridge.tuning.probe import probe

NAMES = ("vocals", "drums", "bass", "other")


def songs(folder: Path) -> dict[str, dict[str, tuple[np.ndarray, int]]]:
    return {
        song.name: {f.stem: read_audio(f) for f in sorted(song.iterdir()) if f.stem in NAMES}
        for song in sorted(folder.iterdir())
        if song.is_dir()
    }


def measure(stems, seconds: float, excerpts: int):
    """Rows of `(share, kept, left)` in dB and whether the stem is there."""
    rate = next(iter(stems.values()))[1]
    length = min(audio.shape[1] for audio, _ in stems.values())
    starts = np.linspace(0, max(0, length - seconds * rate), excerpts + 2)[1:-1].astype(int)
    for start in starts:
        cut = {n: a[:, start : start + round(seconds * rate)] for n, (a, _) in stems.items()}
        full = np.sum(list(cut.values()), axis=0, dtype=np.float32)
        for name in NAMES:
            preset = Preset(name=name, keep=(NamePrompt(name),))
            stem = cut.get(name)
            # A stem more than 25 dB under the mix is neither clearly there nor absent.
            heard = stem is not None and np.square(stem).sum() > 0.003 * np.square(full).sum()
            if heard:
                yield probe(full, rate, preset).features_db, 1
            without = full if stem is None else full - stem
            if np.square(without).sum() > 1e-3:
                yield probe(without, rate, preset).features_db, 0


def fit(features: np.ndarray, labels: np.ndarray, ridge: float = 1e-2) -> np.ndarray:
    """Newton's method on the regularised logistic loss; returns intercept and slopes."""
    rows = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(rows.shape[1])
    penalty = ridge * np.eye(rows.shape[1])
    penalty[0, 0] = 0.0
    for _ in range(50):
        chance = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (chance - labels) + penalty @ weights
        curvature = rows.T @ (rows * (chance * (1 - chance))[:, None]) + penalty
        weights -= np.linalg.solve(curvature + 1e-9 * np.eye(len(weights)), gradient)
    return weights


def accuracy(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    logit = np.column_stack([np.ones(len(features)), features]) @ weights
    return float(np.mean((logit > 0) == (labels > 0.5)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--excerpts", type=int, default=3)
    args = parser.parse_args()
    table = {}
    for name, stems in songs(args.folder).items():
        rows = list(measure(stems, args.seconds, args.excerpts))
        table[name] = (np.array([f for f, _ in rows]), np.array([float(y) for _, y in rows]))
        there = table[name][1] > 0.5
        print(f"{name}: {there.sum()} with, {(~there).sum()} without", flush=True)
        for label, rows_of in (("with", there), ("without", ~there)):
            share, kept, left = table[name][0][rows_of].mean(axis=0)
            print(f"  {label:8} share {share:6.1f}  kept {kept:6.1f}  left {left:6.1f} dB")
    for held in table:
        others = [table[name] for name in table if name != held]
        stacked = [np.concatenate(column) for column in zip(*others, strict=True)]
        weights = fit(*stacked)
        print(f"held out {held}: {100 * accuracy(weights, *table[held]):.0f} % right")
    features = np.concatenate([f for f, _ in table.values()])
    labels = np.concatenate([y for _, y in table.values()])
    weights = fit(features, labels)
    print(f"all: {100 * accuracy(weights, features, labels):.0f} % right")
    print("WEIGHTS =", tuple(round(float(w), 4) for w in weights))


if __name__ == "__main__":
    main()
