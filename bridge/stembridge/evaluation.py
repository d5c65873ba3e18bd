"""Quality in decibels: how close estimated stems are to the true ones.

Two figures, both in dB, higher is better, computed on all channels together:

- **SDR** of a stem: the median over 1 s frames of `10 log10(sum s^2 / sum (s - e)^2)`, with
  `s` the true stem and `e` its estimate. Frames in which the true stem is silent (RMS below
  -60 dB of full scale) say nothing about it and are skipped; a last frame shorter than half
  a second too. No filter and no gain is fitted, so a wrong level costs.
- **SI-SDR** (Le Roux et al., ICASSP 2019) of the whole: the same ratio after the best gain.

Two anchors stand beside them: the *mixture* itself as the estimate (doing nothing), and the
*ideal ratio mask*, which no method that only scales the mixture's spectrum with a mask of
this kind can be expected to pass. Everything here is pure; `evaluation_songs` reads files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FRAME_SECONDS = 1.0
SILENCE_RMS = 1e-3
LIMIT_DB = 100.0
MASK_WINDOW_SAMPLES = 4096
MASK_HOP_SAMPLES = 1024


@dataclass(frozen=True)
class Score:
    """The figures of one stem in one song; NaN where the true stem is silent throughout."""

    sdr_db: float
    si_sdr_db: float
    frames: int
    """How many 1 s frames the median was taken over."""


def frame_sdr_db(
    reference: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int,
    frame_seconds: float = FRAME_SECONDS,
) -> np.ndarray:
    """SDR of each frame that is not silent in `reference`, within ±100 dB.

    Args:
        reference, estimate: float `(channels, samples)`, of equal shape.

    Raises:
        ValueError: for different shapes.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {estimate.shape}")
    frame = max(1, round(frame_seconds * sample_rate))
    values = []
    for start in range(0, reference.shape[1], frame):
        true = reference[:, start : start + frame].astype(np.float64)
        wrong = estimate[:, start : start + frame].astype(np.float64) - true
        if true.shape[1] < frame / 2 or np.sqrt(np.mean(true**2)) < SILENCE_RMS:
            continue
        values.append(_ratio_db(float(np.sum(true**2)), float(np.sum(wrong**2))))
    return np.array(values)


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant SDR of the whole signal, within ±100 dB; NaN for a silent reference."""
    true = reference.astype(np.float64).ravel()
    guess = estimate.astype(np.float64).ravel()
    energy = float(true @ true)
    if energy <= SILENCE_RMS**2 * true.size:
        return float("nan")
    best = (float(guess @ true) / energy) * true
    return _ratio_db(float(best @ best), float(np.sum((guess - best) ** 2)))


def _ratio_db(wanted: float, unwanted: float) -> float:
    if wanted == 0.0:
        return -LIMIT_DB
    if unwanted == 0.0:
        return LIMIT_DB
    return float(np.clip(10 * np.log10(wanted / unwanted), -LIMIT_DB, LIMIT_DB))


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> Score:
    """Both figures of one stem; float `(channels, samples)`, aligned, of equal shape."""
    frames = frame_sdr_db(reference, estimate, sample_rate)
    median = float(np.median(frames)) if frames.size else float("nan")
    return Score(median, si_sdr_db(reference, estimate), int(frames.size))


def ideal_ratio_masks(stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the best ratio mask makes of the sum of `stems`: float32 like each stem.

    The mask of a stem is its power over the sum of the powers, per channel and bin of a
    4096/1024 Hann STFT; the estimates add up to the mixture.
    """
    names = list(stems)
    channels, samples = next(iter(stems.values())).shape
    window = np.hanning(MASK_WINDOW_SAMPLES + 1)[:-1]
    hop = MASK_HOP_SAMPLES
    frames = -(-(samples + MASK_WINDOW_SAMPLES) // hop)
    padded = np.zeros((len(names), frames * hop + MASK_WINDOW_SAMPLES))
    result = {name: np.zeros((channels, samples), dtype=np.float32) for name in names}
    weight = np.zeros(padded.shape[1])
    for frame in range(frames):
        weight[frame * hop : frame * hop + MASK_WINDOW_SAMPLES] += window**2
    for channel in range(channels):
        padded[:] = 0
        for index, name in enumerate(names):
            padded[index, MASK_WINDOW_SAMPLES // 2 :][:samples] = stems[name][channel]
        total = np.zeros_like(padded)
        for frame in range(frames):
            piece = slice(frame * hop, frame * hop + MASK_WINDOW_SAMPLES)
            spectra = np.fft.rfft(padded[:, piece] * window, axis=1)
            power = np.abs(spectra) ** 2
            masks = power / (power.sum(axis=0) + 1e-20)
            made = np.fft.irfft(masks * spectra.sum(axis=0), axis=1)
            total[:, piece] += made * window
        total /= np.maximum(weight, 1e-8)
        for index, name in enumerate(names):
            result[name][channel] = total[index, MASK_WINDOW_SAMPLES // 2 :][:samples]
    return result


def with_instrumental(stems: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stems and, where there are vocals and something else, "instrumental": the rest."""
    known = dict(stems)
    rest = [audio for name, audio in stems.items() if name != "vocals"]
    if "vocals" in known and rest and "instrumental" not in known:
        known["instrumental"] = np.stack(rest).sum(axis=0, dtype=np.float32)
    return known


def average(values: list[float]) -> tuple[float, float]:
    """Mean and median of the finite values; NaN of none."""
    finite = np.array([v for v in values if np.isfinite(v)])
    if finite.size == 0:
        return float("nan"), float("nan")
    return float(finite.mean()), float(np.median(finite))
