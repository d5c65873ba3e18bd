"""Quality of the `unet` separator per mode: SDR on real songs, beside the offline figure.

    python tests/bench/bench_unet_quality.py FOLDER [--seconds 20] [--modes render,mix] [--json]

Each subfolder of FOLDER is a song as stem files (vocals, drums, bass, other); the mixture is
their sum. SDR is the median over 1 s frames of 10 log10(|s|^2 / |s - e|^2), over frames in
which the stem is heard (above -60 dB of full scale). No pass or fail: figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from stembridge.prompts import NamePrompt, Query
from stembridge.resample import resample
from stembridge.separators.unet import Unet

RATE_HZ = 44100
STEMS = ("vocals", "drums", "bass", "other")


def read_song(folder: Path, seconds: float) -> dict[str, np.ndarray]:
    """The stems of a song at 44.1 kHz, stereo, cut to their first seconds."""
    stems: dict[str, np.ndarray] = {}
    for path in sorted(folder.iterdir()):
        if path.stem in STEMS and path.suffix in (".opus", ".wav", ".flac", ".ogg", ".mp3"):
            with soundfile.SoundFile(path) as file:
                audio = file.read(int(seconds * file.samplerate), "float32", always_2d=True).T
                audio = resample(audio, file.samplerate, RATE_HZ)
            stems[path.stem] = np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio[:2]
    length = min((s.shape[1] for s in stems.values()), default=0)
    return {name: stem[:, :length] for name, stem in stems.items()}


def frame_sdr_db(truth: np.ndarray, estimate: np.ndarray) -> list[float]:
    """SDR of every whole second in which the truth is heard."""
    out: list[float] = []
    for start in range(0, truth.shape[1] - RATE_HZ + 1, RATE_HZ):
        s = truth[:, start : start + RATE_HZ].astype(np.float64)
        error = s - estimate[:, start : start + RATE_HZ]
        if np.mean(s**2) > 1e-6:
            out.append(float(10 * np.log10(np.sum(s**2) / (np.sum(error**2) + 1e-12))))
    return out


def measure(folder: Path, seconds: float, modes: list[str], separator: Unet) -> dict:
    """Median SDR per mode, stem and song, and the mixture itself as the anchor."""
    queries = [Query(keep=(separator.encode(NamePrompt(stem)),)) for stem in STEMS]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for song in sorted(p for p in folder.iterdir() if p.is_dir()):
        stems = read_song(song, seconds)
        if not stems:
            continue
        mixture = np.sum(list(stems.values()), axis=0, dtype=np.float32)
        results = {"mixture": np.repeat(mixture[None], len(STEMS), axis=0)}
        for mode in modes:
            results[mode] = separator.separate(mixture, queries, mode)  # type: ignore[arg-type]
        for mode, estimates in results.items():
            for index, stem in enumerate(STEMS):
                if stem in stems:
                    frames = frame_sdr_db(stems[stem], estimates[index])
                    if frames:
                        median = float(np.median(frames))
                        table.setdefault(mode, {}).setdefault(stem, {})[song.name] = median
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--modes", default="render,mix,live")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    separator = Unet(precision=options.precision)
    table = measure(options.folder, options.seconds, options.modes.split(","), separator)
    if options.json:
        print(json.dumps(table, indent=2))
        return
    print(f"{'mode':10}" + "".join(f"{stem:>16}" for stem in STEMS) + "   (mean of songs, dB)")
    for mode, stems in table.items():
        found = [list(stems.get(stem, {}).values()) for stem in STEMS]
        cells = "".join(f"{np.mean(v):12.2f} ({len(v)})" if v else " " * 16 for v in found)
        print(f"{mode:10}{cells}")


if __name__ == "__main__":
    main()
