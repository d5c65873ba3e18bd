"""Figures that decide: signal-to-distortion ratios on real songs and on fixed mixtures.

A song is a folder of stems whose sum is the mixture. The figure of a stem is the median
over one-second frames of the excerpt in which the stem sounds; a set's figure is the mean
over songs. Evaluation songs are never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from scipy.signal import resample_poly
from torch import Tensor

from ..errors import AudioError
from ..separators.layers.unet import BINS, FRAME_MULTIPLE, UNet
from .losses import HOP_SAMPLES, WINDOW_SAMPLES, ratio_masks
from .pack import SAMPLE_RATE

STEM_ORDER = ("vocals", "drums", "bass", "other")
_SILENT = 1e-5


@dataclass(frozen=True)
class Song:
    """A real song: stems float32 `(2, samples)` at `SAMPLE_RATE` by name."""

    name: str
    stems: dict[str, np.ndarray]

    @property
    def mixture(self) -> np.ndarray:
        """The sum of the stems."""
        return np.sum(list(self.stems.values()), axis=0)


def read_song(folder: Path, seconds: float | None = 20.0, start_seconds: float = 0.0) -> Song:
    """Read the stems of a folder, named by their files; stereo, equal in length.

    Raises:
        AudioError: when there are no stems or one cannot be decoded.
    """
    stems: dict[str, np.ndarray] = {}
    for path in sorted(folder.iterdir()):
        if path.stem not in STEM_ORDER:
            continue
        try:
            audio, rate = sf.read(path, dtype="float32", always_2d=True)
        except (OSError, sf.LibsndfileError) as error:
            raise AudioError(f"Cannot decode the stem {path}. Fetch it again.") from error
        first = round(start_seconds * rate)
        last = None if seconds is None else first + round(seconds * rate)
        audio = audio[first:last].T
        audio = np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio[:2]
        if rate != SAMPLE_RATE:
            divisor = int(np.gcd(rate, SAMPLE_RATE))
            audio = resample_poly(audio, SAMPLE_RATE // divisor, rate // divisor, axis=1)
        stems[path.stem] = audio.astype(np.float32)
    if not stems:
        raise AudioError(f"{folder} holds no stems named {', '.join(STEM_ORDER)}.")
    length = min(audio.shape[1] for audio in stems.values())
    return Song(folder.name, {name: audio[:, :length] for name, audio in stems.items()})


def frame_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Median over one-second frames of 10 log10(|s|^2 / |s - e|^2); silent frames are
    skipped, and NaN says that every frame was silent."""
    frames = reference.shape[1] // SAMPLE_RATE
    values = []
    for frame in range(frames):
        cut = slice(frame * SAMPLE_RATE, (frame + 1) * SAMPLE_RATE)
        wanted = reference[:, cut].astype(np.float64)
        power = float(np.sum(wanted**2))
        if power < _SILENT * wanted.size:
            continue
        error = float(np.sum((wanted - estimate[:, cut]) ** 2))
        values.append(10 * np.log10(power / max(error, 1e-12)))
    return float(np.median(values)) if values else float("nan")


class PublishedPair:
    """The frozen vocals and accompaniment networks."""

    def __init__(self, vocals: UNet, accompaniment: UNet) -> None:
        self.vocals, self.accompaniment = vocals.eval(), accompaniment.eval()

    @torch.no_grad()
    def vocals_mask(self, magnitudes: Tensor) -> Tensor:
        """`v^2 / (v^2 + a^2)` of `(batch, 2, frames, BINS)` magnitudes."""
        both = torch.stack([self.vocals(magnitudes), self.accompaniment(magnitudes)], dim=1)
        return ratio_masks(both)[:, 0]


@torch.no_grad()
def separate(
    mixture: np.ndarray,
    masks_of: Callable[[Tensor], Tensor],
) -> np.ndarray:
    """Apply `masks_of(magnitudes (1, 2, frames, BINS)) -> (stems, 2, frames, BINS)` to a
    mixture `(2, samples)`; the band above continues the mean mask of its top 32 bins.
    Returns `(stems, 2, samples)`."""
    window = torch.hann_window(WINDOW_SAMPLES)
    audio = torch.from_numpy(np.ascontiguousarray(mixture))
    settings = {"window": window, "center": True}
    bins = torch.stft(
        audio, WINDOW_SAMPLES, HOP_SAMPLES, pad_mode="constant", return_complex=True, **settings
    )
    low = bins[:, :BINS].transpose(1, 2)
    frames = low.shape[1]
    padded = torch.zeros(1, 2, -(-frames // FRAME_MULTIPLE) * FRAME_MULTIPLE, BINS)
    padded[0, :, :frames] = low.abs()
    masks = masks_of(padded)[:, :, :frames].transpose(2, 3).float()
    top = masks[:, :, -32:].mean(dim=2, keepdim=True)
    full = torch.cat([masks, top.expand(-1, -1, bins.shape[1] - BINS, -1)], dim=2)
    flat = (full * bins[None]).reshape(-1, *bins.shape[1:])
    out = torch.istft(flat, WINDOW_SAMPLES, HOP_SAMPLES, length=audio.shape[1], **settings)
    return out.reshape(masks.shape[0], 2, -1).numpy()


def hierarchical(pair: PublishedPair, network: UNet, prompts: Tensor) -> Callable[[Tensor], Tensor]:
    """Masks of vocals and of one stem per prompt, as `separate` takes them."""

    def masks_of(magnitudes: Tensor) -> Tensor:
        vocals = pair.vocals_mask(magnitudes)
        estimates = estimate_all(network, magnitudes, prompts)[0]
        rest = (1 - vocals) * ratio_masks(estimates, dim=0)
        return torch.cat([vocals, rest])

    return masks_of


def estimate_all(network: UNet, magnitudes: Tensor, prompts: Tensor) -> Tensor:
    """The masks of several prompts by one network: `(batch, prompts, 2, frames, BINS)`."""
    if network.condition == "decoder":
        return network.decode_many(network.encode(magnitudes), prompts)
    batch, count = magnitudes.shape[0], prompts.shape[0]
    rows = prompts.repeat(batch, 1)
    each = magnitudes.repeat_interleave(count, dim=0)
    masks = network.decode(network.encode(each, rows), rows)
    return masks.view(batch, count, *masks.shape[1:])


def evaluate(
    songs: Sequence[Song], masks_of: Callable[[Tensor], Tensor], order: Sequence[str] = STEM_ORDER
) -> dict[str, dict[str, float]]:
    """Per song and "mean": the figure of every stem in dB."""
    table: dict[str, dict[str, float]] = {}
    for song in songs:
        stems = separate(song.mixture, masks_of)
        table[song.name] = {
            name: frame_sdr(song.stems[name], stems[index])
            for index, name in enumerate(order)
            if name in song.stems
        }
    table["mean"] = mean_figures(table)
    return table


def mean_figures(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over songs of every stem, songs without it left out."""
    names = dict.fromkeys(name for row in table.values() for name in row)
    out = {}
    for name in names:
        values = [row[name] for row in table.values() if name in row]
        values = [value for value in values if np.isfinite(value)]
        if values:
            out[name] = float(np.mean(values))
    return out
