"""Few-shot benchmark of tuning: mean embedding against tuned prompt, per class and shots.

    python tests/bench/bench_tuning.py PACK [--labels env-rain …] [--shots 1 5] [--out FILE]

PACK is the training pack (index.csv beside its chunks). For each label, up to `shots` clips
are tuned on; the test is mixtures at 0 dB of *other* clips of the label with bundled
sounds that tuning only judged by, never learned from. Printed per class: SDR of the mean,
of the tuned vector as it was learned, and as it was kept, and how many classes lost more
than 0.2 dB with and without the rule that keeps only what is clearly better.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from stembridge.prompts import Clip
from stembridge.resample import resample
from stembridge.separators import load_separator
from stembridge.tuning import interferers, tune
from stembridge.tuning.learn import sdr_db
from stembridge.tuning.mixtures import make_batches
from stembridge.tuning.tune import tunable_of

LABELS = (
    "env-rain", "env-dog-bark", "env-helicopter", "env-sea-waves", "env-baby-cry",
    "env-clock-tick", "env-chainsaw", "env-rooster", "env-fire-crackling",
    "env-person-sneeze", "winds", "keys", "guitar", "strings",
)  # fmt: skip
TEST_CLIPS = 12
CLIP_SECONDS = 5.0


def clips_of(pack: Path, label: str) -> list[Clip]:
    """Clips of a label in an order drawn once; a class name stands for its label."""
    with (pack / "index.csv").open(encoding="utf-8", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if label in (r["label"], r["class"])]
    rows = [r for r in rows if float(r["dur_s"]) >= 0.5]
    order = np.random.default_rng(7).permutation(len(rows))
    return [_read(pack, rows[i]) for i in order[: TEST_CLIPS + 10]]


def _read(pack: Path, row: dict[str, str]) -> Clip:
    with soundfile.SoundFile(pack / row["chunk"]) as handle:
        handle.seek(round(float(row["start_s"]) * handle.samplerate))
        seconds = min(CLIP_SECONDS, float(row["dur_s"]))
        audio = handle.read(round(seconds * handle.samplerate), dtype="float32", always_2d=True)
        return Clip(audio.T.copy(), handle.samplerate, row["name"])


def score(tunable, vectors: dict[str, np.ndarray], clips: list[Clip]) -> dict[str, float]:
    """Mean SDR of each vector on mixtures of unseen clips with judging sounds."""
    audio = [
        interferers.fit_channels(
            resample(c.audio, c.sample_rate, tunable.sample_rate), tunable.channels
        )
        for c in clips
    ]
    noise = interferers.bundled(tunable.sample_rate, tunable.channels).held_out
    batches = make_batches(
        audio,
        noise,
        segment_samples=tunable.segment_samples,
        batches=10,
        batch_size=4,
        generator=np.random.default_rng(1234),
        vary=False,
    )
    found: dict[str, list[torch.Tensor]] = {name: [] for name in (*vectors, "mixture")}
    with torch.no_grad():
        for batch in batches:
            targets = tunable.reference(torch.from_numpy(batch.targets))
            mixtures = torch.from_numpy(batch.mixtures)
            found["mixture"].append(sdr_db(tunable.reference(mixtures), targets))
            prepared = tunable.prepare(mixtures)
            for name, vector in vectors.items():
                estimate = tunable.estimate(prepared, torch.from_numpy(np.array(vector)))
                found[name].append(sdr_db(estimate, targets))
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--labels", nargs="+", default=LABELS)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 3, 5, 10])
    parser.add_argument("--separator", default="unet")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_separator(args.separator)
    tunable = tunable_of(model)
    rows = []
    for label in args.labels:
        clips = clips_of(args.pack, label)
        for shots in args.shots:
            few, unseen = clips[TEST_CLIPS:][:shots], clips[:TEST_CLIPS]
            options = {} if args.steps is None else {"steps": args.steps}
            began = time.process_time()
            result = tune(few, name=label, separator=model, **options)
            cost = time.process_time() - began
            start = tunable.start([interferers.fit_channels(
                resample(c.audio, c.sample_rate, tunable.sample_rate), tunable.channels
            ) for c in few])  # fmt: skip
            vectors = {"mean": start, "tuned": result.learned, "kept": result.preset.keep[0].vector}
            row = {"label": label, "shots": len(few), "cpu_seconds": cost,
                   **score(tunable, vectors, unseen)}  # fmt: skip
            rows.append(row)
            print(
                f"{label:22} {len(few):2} shots  mixture {row['mixture']:5.1f}  mean "
                f"{row['mean']:5.2f}  tuned {row['tuned']:5.2f}  kept {row['kept']:5.2f} dB  "
                f"{cost:4.0f} s of CPU, {result.report.steps} steps",
                flush=True,
            )
    for shots in args.shots:
        chosen = [r for r in rows if r["shots"] == shots]
        if not chosen:
            continue
        gain = np.array([r["kept"] - r["mean"] for r in chosen])
        raw = np.array([r["tuned"] - r["mean"] for r in chosen])
        print(
            f"{shots:2} shots: mean gain {gain.mean():+.2f} dB (no rule: {raw.mean():+.2f}); "
            f"classes that lost over 0.2 dB: {(gain < -0.2).sum()} of {len(gain)} "
            f"(without the rule {(raw < -0.2).sum()}); worst {gain.min():+.2f} dB"
        )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
