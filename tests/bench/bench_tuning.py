"""Few-shot benchmark of tuning: mean embedding against tuned prompt, per sound and shots.

    python tests/bench/bench_tuning.py PACK --font FluidR3_GM.sf2 [--shots 5 1] [--out FILE]
    python tests/bench/bench_tuning.py --table FILE

PACK is the training pack (index.csv beside its chunks); `tuning_sounds` says which of its
clips, and which instruments of the sound font, training never heard. A prompt is tuned on
`shots` clips and tested on mixtures at 0 dB of other clips with sounds that tuning never
had. Printed per sound: SDR of the mixture, of the mean of the encoded clips, of the tuned
vector as it was learned, and of what the preset carries; then how many sounds lost more
than 0.2 dB with and without the rule that keeps only what is clearly better. Rows are
written as they come, and an existing FILE of the same weights is gone on with.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tuning_sounds import Sound, interferers, sounds

from stembridge.prompts import Clip
from stembridge.separators import load_separator
from stembridge.separators.tunable import Tunable
from stembridge.tuning import tune
from stembridge.tuning.learn import sdr_db
from stembridge.tuning.mixtures import Batch, make_batches
from stembridge.tuning.tune import at_rate, tunable_of

BATCHES, BATCH_SIZE = 10, 4
LOST_DB = 0.2


def test_mixtures(tunable: Tunable, targets: list[Clip], noise: list[Clip]) -> list[Batch]:
    """Forty mixtures at 0 dB, the same for every number of shots."""
    drawn = make_batches(
        [at_rate(clip, tunable) for clip in targets],
        [at_rate(clip, tunable) for clip in noise],
        segment_samples=tunable.segment_samples,
        batches=BATCHES,
        batch_size=BATCH_SIZE,
        generator=np.random.default_rng(1234),
        vary=False,
    )
    return list(drawn)


@torch.no_grad()
def score(
    tunable: Tunable, vectors: dict[str, np.ndarray], batches: list[Batch]
) -> dict[str, float]:
    """Mean SDR of each vector over the mixtures, and of the mixtures themselves."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in (*vectors, "mixture")}
    for batch in batches:
        targets = tunable.reference(torch.from_numpy(batch.targets))
        mixtures = torch.from_numpy(batch.mixtures)
        found["mixture"].append(sdr_db(tunable.reference(mixtures), targets))
        prepared = tunable.prepare(mixtures)
        for name, vector in vectors.items():
            estimate = tunable.estimate(prepared, torch.from_numpy(np.array(vector)))
            found[name].append(sdr_db(estimate, targets))
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def measure(model: Any, sound: Sound, shots: int, batches: list[Batch]) -> dict[str, Any]:
    """Tune on the first `shots` clips of a sound and score the outcome."""
    tunable, few = tunable_of(model), list(sound.few[:shots])
    began = time.process_time()
    result = tune(few, name=sound.name, separator=model)
    cost = time.process_time() - began
    (prompt,) = result.preset.keep
    vectors = {
        "mean": tunable.start([at_rate(clip, tunable) for clip in few]),
        "tuned": result.learned,
        "kept": prompt.vector,  # type: ignore[union-attr]
    }
    return {
        "space": model.space,
        "sound": sound.name,
        "kind": sound.kind,
        "shots": shots,
        "heard": max(0, shots - (len(sound.few) - sound.heard)),
        "rule": result.report.kept,
        "steps": result.report.steps,
        "cpu_seconds": round(cost, 1),
        **{key: round(value, 3) for key, value in score(tunable, vectors, batches).items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """All rows and the summary by shots, as Markdown."""
    lines = [f"Weights `{space}`." for space in dict.fromkeys(r["space"] for r in rows)]
    lines += [
        "",
        "| sound | known to training | shots | mixture | mean | tuned | in the preset | gain "
        "| CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    known = {"recording": "the label", "label": "no", "instrument": "no"}
    for r in rows:
        shots = f"{r['shots']}{' *' if r['heard'] else ''}"
        lines.append(
            f"| {r['sound']} | {known[r['kind']]} | {shots} | {r['mixture']:.1f} | {r['mean']:.2f} "
            f"| {r['tuned']:.2f} | {r['kept']:.2f} | {r['kept'] - r['mean']:+.2f} "
            f"| {r['cpu_seconds']:.0f} |"
        )
    lines += [
        "",
        "| shots | sounds | gain with the rule | without | worst with | worst without "
        "| lost with | lost without |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for shots in sorted({r["shots"] for r in rows}):
        chosen = [r for r in rows if r["shots"] == shots]
        with_rule = np.array([r["kept"] - r["mean"] for r in chosen])
        without = np.array([r["tuned"] - r["mean"] for r in chosen])
        lines.append(
            f"| {shots} | {len(chosen)} | {with_rule.mean():+.2f} dB | {without.mean():+.2f} dB "
            f"| {with_rule.min():+.2f} dB | {without.min():+.2f} dB "
            f"| {(with_rule < -LOST_DB).sum()} | {(without < -LOST_DB).sum()} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pack", type=Path, nargs="?")
    parser.add_argument("--font", type=Path, help="General MIDI sound font, for the instruments")
    parser.add_argument("--shots", nargs="+", type=int, default=[5, 1, 10, 3])
    parser.add_argument("--sounds", nargs="+", help="only these")
    parser.add_argument("--separator", default="unet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON rows, written as they come")
    parser.add_argument("--table", type=Path, help="only print the tables of such a file")
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text(encoding="utf-8"))))
        return
    if args.pack is None:
        parser.error("name the training pack")
    torch.set_num_threads(args.threads)
    model = load_separator(args.separator)
    rows: list[dict[str, Any]] = []
    if args.out and args.out.exists():
        rows = json.loads(args.out.read_text(encoding="utf-8"))
        rows = [row for row in rows if row["space"] == model.space]
    done = {(row["sound"], row["shots"]) for row in rows}
    noise = interferers(args.pack)
    for shots in args.shots:
        for sound in sounds(args.pack, args.font):
            unasked = bool(args.sounds) and sound.name not in args.sounds
            if unasked or len(sound.few) < shots or (sound.name, shots) in done:
                continue
            batches = test_mixtures(tunable_of(model), list(sound.unseen), noise)
            row = measure(model, sound, shots, batches)
            rows.append(row)
            print(json.dumps(row), flush=True)
            if args.out:
                args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
