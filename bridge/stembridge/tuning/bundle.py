"""Make the bundled interferers from a pack of free recordings: a maintainer's command.

    python -m stembridge.tuning.bundle PACK OUT

PACK has `index.csv` (chunk, start_s, dur_s, class, label, licence, source, name) beside its
Opus files, as the training pack does. Sounds are drawn by class with a fixed seed, only
from rows whose licence allows sharing without further conditions than attribution.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np

SECONDS = 2.5
RATE_HZ = 44100
FREE = ("CC0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY", "Public domain")
DRAW = {
    "env": 14, "synth": 6, "drums-loop": 5, "guitar": 4, "keys": 4, "winds": 4,
    "strings": 3, "bass": 3, "vocals-singing": 4, "speech": 4,
}  # fmt: skip


def main(pack: Path, out: Path) -> None:
    """Draw the sounds, write `interferers.ogg` and `interferers.json` into `out`."""
    import soundfile

    with (pack / "index.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    generator = np.random.default_rng(20)
    pieces: list[np.ndarray] = []
    sounds: list[dict[str, object]] = []
    for kind, count in DRAW.items():
        fitting = [r for r in rows if r["class"] == kind and _is_free(r["licence"])]
        sources: dict[str, int] = {}
        for index in generator.permutation(len(fitting)):
            row = fitting[index]
            if sum(s["class"] == kind for s in sounds) == count:
                break
            # Several recordings of one label are one sound to a listener: take each once.
            if any(s["label"] == row["label"] != kind for s in sounds):
                continue
            if sources.get(row["source"], 0) * 2 > count or float(row["dur_s"]) < 1.0:
                continue
            piece = _read(soundfile, pack, row)
            if np.sqrt(np.mean(piece**2)) < 1e-3:
                continue
            sources[row["source"]] = sources.get(row["source"], 0) + 1
            sounds.append(
                {
                    "start_seconds": round(sum(map(len, pieces)) / RATE_HZ, 6),
                    "duration_seconds": round(len(piece) / RATE_HZ, 6),
                    **{key: row[key] for key in ("class", "label", "licence", "source", "name")},
                }
            )
            pieces.append(piece)
    # Every fourth sound is held out; shuffled, so that each class is on both sides.
    order = generator.permutation(len(sounds)).tolist()
    listing = {"sample_rate_hz": RATE_HZ, "sounds": [sounds[i] for i in order]}
    (out / "interferers.json").write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    audio = np.concatenate(pieces)
    with soundfile.SoundFile(
        out / "interferers.ogg", "w", RATE_HZ, 1, format="OGG", subtype="VORBIS",
        compression_level=0.7,
    ) as handle:  # fmt: skip
        for start in range(0, len(audio), RATE_HZ):
            handle.write(audio[start : start + RATE_HZ])


def _is_free(licence: str) -> bool:
    return any(licence.startswith(free) for free in FREE) and "SA" not in licence


def _read(soundfile, pack: Path, row: dict[str, str]) -> np.ndarray:
    """The loudest `SECONDS` of a row at 44.1 kHz, brought to a peak of 0.5."""
    from ..resample import resample

    with soundfile.SoundFile(pack / row["chunk"]) as handle:
        handle.seek(round(float(row["start_s"]) * handle.samplerate))
        audio = handle.read(round(float(row["dur_s"]) * handle.samplerate), dtype="float32")
        rate = handle.samplerate
    audio = audio if audio.ndim == 1 else audio.mean(axis=1)
    audio = resample(audio[None], rate, RATE_HZ)[0]
    length = round(SECONDS * RATE_HZ)
    if len(audio) > length:
        power = np.concatenate([[0.0], np.cumsum(audio.astype(np.float64) ** 2)])
        start = int(np.argmax(power[length:] - power[:-length]))
        audio = audio[start : start + length]
    return (audio * (0.5 / max(float(np.abs(audio).max()), 1e-6))).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
