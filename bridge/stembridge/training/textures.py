"""What electronic songs hold beside drums, bass and notes: swept noise, beds of hiss, drones.

A network that has only met noise as a cymbal and lows as a kick or a bass hands a riser to
the drums and a low pad to the bass. These rows teach it otherwise; they belong to "synth",
so to the stem "other". Invariants as in `synthesis`: mono float32 at `SAMPLE_RATE`, finite,
peak at most 1; the same generator gives the same samples.

    sweep(t) = gate(t) * noise under a band whose centre moves   (frames of 4096, overlap-add)
    drone(t) = swell(t) * sum of a few low partials that beat against one another
"""

from __future__ import annotations

import numpy as np

from .pack import SAMPLE_RATE
from .synthesis import Rng, unit_peak

_FRAME = 4096
_HOP = 1024
_CURVE_HZ = 50
"""Points per second of envelopes and moving bands."""


def moving_noise(centres_hz: np.ndarray, octaves: np.ndarray, samples: int, rng: Rng) -> np.ndarray:
    """Noise under a bell of `octaves` width around a moving centre.

    Args:
        centres_hz, octaves: one value per hop of 1024 samples, the last one is held.
    """
    frames = -(-samples // _HOP) + _FRAME // _HOP
    noise = rng.standard_normal(frames * _HOP + _FRAME)
    window = np.hanning(_FRAME + 1)[:_FRAME]
    hertz = np.maximum(np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE), 1.0)
    out = np.zeros(noise.size)
    for frame in range(frames):
        at = min(frame, centres_hz.size - 1)
        bell = np.exp(-0.5 * (np.log2(hertz / centres_hz[at]) / octaves[at]) ** 2)
        start = frame * _HOP
        piece = np.fft.rfft(noise[start : start + _FRAME] * window) * bell
        out[start : start + _FRAME] += np.fft.irfft(piece) * window
    return out[_FRAME // 2 : _FRAME // 2 + samples]


def _curve(points: np.ndarray, samples: int) -> np.ndarray:
    """A curve of `_CURVE_HZ` points a second, one value per sample."""
    at = np.arange(samples) * (_CURVE_HZ / SAMPLE_RATE)
    return np.interp(at, np.arange(points.size), points)


def _gate(seconds: float, beat: float, rng: Rng) -> np.ndarray:
    """How loud, in points: risers with a cut, falls, pumping with the beat, or steady."""
    at = np.arange(round(seconds * _CURVE_HZ)) / _CURVE_HZ
    bars = beat * float(rng.choice([4, 8, 16, 32]))
    inside = (at % bars) / bars
    manner = int(rng.integers(4))
    if manner == 0:
        return inside ** rng.uniform(0.7, 3) * (at // bars % int(rng.integers(1, 3)) == 0)
    if manner == 1:
        return np.exp(-inside * rng.uniform(2, 6))
    if manner == 2:
        return ((at % beat) / beat) ** rng.uniform(0.3, 1.5)
    swing = np.sin(2 * np.pi * at * rng.uniform(0.03, 0.4) + rng.uniform(0, 6))
    return 1 + rng.uniform(0, 0.8) * swing


def sweep(seconds: float, rng: Rng) -> np.ndarray:
    """Noise that rises, falls, pumps or lies under everything; mono `(samples,)`."""
    samples = round(seconds * SAMPLE_RATE)
    beat = 60 / rng.uniform(80, 175)
    points = -(-samples // _HOP) + 1
    at = np.arange(points) * _HOP / SAMPLE_RATE
    turn = beat * float(rng.choice([8, 16, 32]))
    low, high = np.sort(np.log2(rng.uniform(300, 14000, 2)))
    place = (at % turn) / turn
    if rng.random() < 0.3:
        place = 1 - place
    centres = 2 ** (low + (high - low) * place)
    noise = moving_noise(centres, np.full(points, rng.uniform(0.3, 2.0)), samples, rng)
    return unit_peak(noise * _curve(_gate(seconds, beat, rng), samples))


def drone(seconds: float, rng: Rng) -> np.ndarray:
    """Low partials that swell and beat, at times with filtered noise; mono `(samples,)`."""
    samples = round(seconds * SAMPLE_RATE)
    at = np.arange(samples) / SAMPLE_RATE
    base = float(2 ** rng.uniform(np.log2(32), np.log2(130)))
    out = np.zeros(samples)
    for _ in range(int(rng.integers(2, 7))):
        order = float(rng.choice([1, 1, 1.5, 2, 2, 3, 4, 5]))
        hertz = base * order * 2 ** (rng.normal(0, 0.08) / 12)
        swell = 1 + 0.9 * np.sin(2 * np.pi * at * rng.uniform(0.02, 0.5) + rng.uniform(0, 6))
        out += np.sin(2 * np.pi * hertz * at + rng.uniform(0, 6)) * swell / order
    out = np.tanh(out * rng.uniform(0.1, 0.8))
    if rng.random() < 0.4:
        points = -(-samples // _HOP) + 1
        centre = np.full(points, base * rng.uniform(2, 12))
        bed = moving_noise(centre, np.full(points, rng.uniform(0.5, 1.5)), samples, rng)
        out += bed * rng.uniform(0.1, 0.6) / max(1e-9, float(np.abs(bed).max(initial=0.0)))
    # A new chord's root every few seconds in half of them: no note begins sharply.
    turn = rng.uniform(2, 8)
    edges = np.clip(np.minimum(at % turn, turn - at % turn) / rng.uniform(0.1, 0.8), 0, 1)
    return unit_peak(out * (edges if rng.random() < 0.5 else 1.0))


def texture(seconds: float, rng: Rng) -> np.ndarray:
    """A sweep, a drone, or both; mono float32 `(samples,)`."""
    kind = rng.random()
    if kind < 0.5:
        return sweep(seconds, rng)
    if kind < 0.85:
        return drone(seconds, rng)
    return unit_peak(sweep(seconds, rng) * rng.uniform(0.2, 0.8) + drone(seconds, rng))
