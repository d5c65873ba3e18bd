"""How to go on above 11 kHz, where the networks do not look: ways compared on real songs.

    python tests/bench/bench_unet_continuation.py FOLDER [--seconds 30] [--start 0]

Each subfolder of FOLDER is a song as stem files. The masks of the four leaves are made once;
each way then says what they are above bin 1024 (11.025 kHz). Per stem, mean over the songs
that have it: the SDR of the whole band (median over 1 s frames, as `stembridge evaluate`), and
what is left in the band above 11 kHz: the energy of the error there against the energy of the
true stem there, in dB (0: as bad as silence; lower is better). In the last column the errors of
all stems above 11 kHz are added up before they are laid against the stems, so that a stem with
hardly any energy there counts for what it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench_unet_quality import RATE_HZ, STEMS, frame_sdr_db, read_song
from torch import Tensor

from stembridge.prompts import NamePrompt, Query
from stembridge.separators.layers.unet import BINS
from stembridge.separators.unet import Unet
from stembridge.separators.unet_engine import prepare
from stembridge.separators.unet_windows import WindowJob, window_masks

Way = Callable[[Tensor, Tensor], Tensor]
"""Masks `(…, BINS)` and magnitudes to the level above, `(…, 1)`."""


def mean_from(first: int) -> Way:
    return lambda mask, _: mask[..., first:].mean(dim=-1, keepdim=True)


def by_energy_from(first: int) -> Way:
    """The share of the energy: loud bins count for more. Levels of all stems still sum to 1."""

    def level(mask: Tensor, magnitudes: Tensor) -> Tensor:
        weight = magnitudes[..., first:].square() + 1e-10
        return (mask[..., first:] * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)

    return level


WAYS: dict[str, Way] = {
    "cut (published)": lambda mask, _: torch.zeros_like(mask[..., :1]),
    "mean of all bins": mean_from(0),
    **{f"mean from bin {first}": mean_from(first) for first in (384, 512, 640, 704, 768, 896, 992)},
    **{f"by energy from bin {first}": by_energy_from(first) for first in (512, 768)},
}


Figures = tuple[float, float, float]
"""SDR in dB of the whole band; energy above 11.025 kHz of the error and of the truth."""


def stem_figures(truth: np.ndarray, estimate: np.ndarray) -> Figures:
    edge = int(truth.shape[1] * BINS * RATE_HZ / 4096 / RATE_HZ)
    high, wrong = (np.abs(np.fft.rfft(x)[:, edge:]) ** 2 for x in (truth, truth - estimate))
    sdr = float(np.median(frame_sdr_db(truth, estimate)))
    return sdr, float(wrong.sum()), float(high.sum())


def left_db(wrong: float, high: float) -> float:
    return float(10 * np.log10((wrong + 1e-9) / (high + 1e-9)))


def measure(song: dict[str, np.ndarray], separator: Unet) -> dict[str, dict[str, Figures]]:
    mixture = torch.from_numpy(np.stack(list(song.values())).sum(axis=0, dtype=np.float32))
    window = torch.hann_window(4096)
    spectra = torch.stft(mixture, 4096, 1024, window=window, return_complex=True).transpose(1, 2)
    magnitudes = spectra[..., :BINS].abs()
    frames = magnitudes.shape[1]
    filled = torch.nn.functional.pad(magnitudes, (0, 0, 0, -frames % 64))
    queries = [Query(keep=(separator.encode(NamePrompt(name)),)) for name in STEMS]
    prepared = prepare(separator.plan(queries), separator.layout, separator.networks("render"))
    masks = window_masks([WindowJob(prepared, filled)], 0, frames)[0]
    found: dict[str, dict[str, Figures]] = {}
    for way, level in WAYS.items():
        above = level(masks, magnitudes).expand(*masks.shape[:-1], spectra.shape[-1] - BINS)
        whole = torch.cat([masks, above], dim=-1)
        for name, mask in zip(STEMS, whole, strict=True):
            if name in song and len(frame_sdr_db(song[name], song[name])):
                made = torch.istft(
                    (spectra * mask).transpose(1, 2), 4096, 1024, window=window,
                    length=mixture.shape[1],
                )  # fmt: skip
                found.setdefault(way, {})[name] = stem_figures(song[name], made.numpy())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--start", type=float, default=0.0, help="the first second of each song")
    options = parser.parse_args()
    torch.set_num_threads(1)
    separator = Unet()
    table: dict[str, list[dict[str, Figures]]] = {}
    for path in sorted(p for p in options.folder.iterdir() if p.is_dir()):
        song = read_song(path, options.start + options.seconds)
        if not song:
            continue
        first = int(options.start * RATE_HZ)
        with torch.inference_mode():
            found = measure({k: v[:, first:] for k, v in song.items()}, separator)
        for way, stems in found.items():
            table.setdefault(way, []).append(stems)
    print("SDR of the whole band / error above 11 kHz, dB, mean of songs")
    print(f"{'':24}" + "".join(f"{name:>16}" for name in STEMS) + f"{'all':>16}")
    for way, songs in table.items():
        cells = []
        for name in STEMS:
            known = [song[name] for song in songs if name in song]
            pairs = [(sdr, left_db(wrong, high)) for sdr, wrong, high in known]
            cells.append(np.mean(pairs or [(np.nan, np.nan)], axis=0))
        sums = [np.sum(list(song.values()), axis=0)[1:] for song in songs]
        everything = (
            np.nanmean([cell[0] for cell in cells]),
            np.mean([left_db(wrong, high) for wrong, high in sums]),
        )
        cells.append(np.array(everything))
        print(f"{way:24}" + "".join(f"{sdr:8.3f} /{left:+6.2f}" for sdr, left in cells))


if __name__ == "__main__":
    main()
