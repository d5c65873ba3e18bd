"""Do windows leave seams? The level of the error around borders, beside the level elsewhere.

The published code cuts a song into windows of 512 frames and borders each with zeros, so its
error grows near the cuts. Here the error of any method is laid beside the error of a
*reference* on the same hops, since music is far louder in one place than in another:

    level  = 10 log10((|error|^2 + floor) / (|reference error|^2 + floor)) of a hop
    excess = mean level near a border minus mean level far from every border

with a floor 30 dB under the mixture of that hop: fainter errors are nobody's concern.
The reference is the published windows themselves, moved on by half a window: where the first
has a border, the second has its middle. So the published windows show an excess well over
0 dB, and a method without seams shows none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stembridge.separators.layers.unet import UNet
from stembridge.separators.layers.unet_masks import continue_mask, ratio_masks

HOP_SAMPLES = 1024
WINDOW_SAMPLES = 4096
WINDOW_FRAMES = 512
NEAR_HOPS = 4
FAR_HOPS = 64
HEARD_POWER = 1e-6
"""-60 dB of full scale: hops under it say nothing."""


def published_vocals(pair: tuple[UNet, UNet], mixture: np.ndarray, moved_frames: int) -> np.ndarray:
    """Vocals of `(2, samples)` by the published arithmetic in windows of 512 frames.

    Args:
        pair: the networks of vocals and of the rest.
        moved_frames: the first window has only so many frames of the song (0: all 512).
    """
    window = torch.hann_window(WINDOW_SAMPLES)
    with torch.inference_mode():
        spectra = torch.stft(
            torch.from_numpy(mixture),
            WINDOW_SAMPLES,
            HOP_SAMPLES,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        magnitudes = spectra[:, :1024].abs().transpose(1, 2)[None]
        frames = magnitudes.shape[2]
        masks = []
        start = moved_frames - WINDOW_FRAMES if moved_frames else 0
        while start < frames:
            piece = magnitudes[:, :, max(0, start) : start + WINDOW_FRAMES]
            before, after = max(0, -start), WINDOW_FRAMES - piece.shape[2] - max(0, -start)
            piece = torch.nn.functional.pad(piece, (0, 0, before, after))
            mask = ratio_masks(torch.stack([network(piece)[0] for network in pair]))[0]
            masks.append(mask[:, before : WINDOW_FRAMES - after])
            start += WINDOW_FRAMES
        whole = continue_mask(torch.cat(masks, dim=1), spectra.shape[1]).transpose(1, 2)
        made = torch.istft(
            spectra * whole, WINDOW_SAMPLES, HOP_SAMPLES, window=window, length=mixture.shape[1]
        )
    return made.numpy()


@dataclass(frozen=True)
class Excess:
    """Levels of a method's error against the reference's, in dB, per border."""

    per_border_db: np.ndarray
    """For each border: its near hops, minus the mean of all far hops."""

    @property
    def mean_db(self) -> float:
        return float(self.per_border_db.mean())

    @property
    def error_db(self) -> float:
        """The standard error of the mean."""
        return float(self.per_border_db.std(ddof=1) / np.sqrt(self.per_border_db.size))

    @property
    def size_db(self) -> float:
        """The mean size of the excess, to either side: a seam may also be a dip."""
        return float(np.abs(self.per_border_db).mean())

    @property
    def largest_db(self) -> float:
        """The border that stands out most, to either side."""
        return float(np.abs(self.per_border_db).max())


def border_excess(
    error: np.ndarray, reference_error: np.ndarray, mixture: np.ndarray
) -> np.ndarray:
    """The excess in dB at each border that is heard; all `(channels, samples)`."""
    heard, floor = _hop_power(mixture), 1e-3 * _hop_power(mixture)
    ratio = (_hop_power(error) + floor) / np.maximum(_hop_power(reference_error) + floor, 1e-20)
    levels = np.where(heard > HEARD_POWER, 10 * np.log10(np.maximum(ratio, 1e-20)), np.nan)
    # A border lies between two frames, and frame f is centred on sample 1024 f.
    centres = np.arange(levels.size) + 0.5
    inner = levels.size - FAR_HOPS
    borders = np.arange(WINDOW_FRAMES, inner, WINDOW_FRAMES) - 0.5
    halves = np.arange(WINDOW_FRAMES // 2, levels.size, WINDOW_FRAMES) - 0.5
    distance = np.abs(centres[:, None] - np.concatenate([borders, halves])).min(axis=1)
    # A song's own beginning and end are borders for every method, of different kinds.
    far = (distance > FAR_HOPS) & (centres > WINDOW_FRAMES // 2) & (centres < inner)
    elsewhere = np.nanmean(levels[far])
    near = [levels[np.abs(centres - border) <= NEAR_HOPS] for border in borders]
    return np.array([np.nanmean(piece) - elsewhere for piece in near if _heard(piece)])


def _heard(levels: np.ndarray) -> bool:
    return bool(np.isfinite(levels).mean() > 0.5)


def _hop_power(audio: np.ndarray) -> np.ndarray:
    """The mean square of each hop, all channels together."""
    count = audio.shape[1] // HOP_SAMPLES
    cut = audio[:, : count * HOP_SAMPLES].astype(np.float64)
    return np.mean(cut.reshape(len(audio), count, HOP_SAMPLES) ** 2, axis=(0, 2))
