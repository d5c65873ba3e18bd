"""Levels and a small picture of what a session plays, for editors and terminals.

The worker adds each finished block; any thread asks for the levels since a moment or for
the picture since a place. Memory is bounded, and what the picture needs is kept only once
somebody has asked for one; adding a block costs three sums.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

from .learn_tape import Tape

BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 40.0, 18000.0
WINDOW_SAMPLES = 4096
FLOOR_DB = -96.0
SILENCE_DB = -120.0
SHARE_SECONDS = 3.0
COLUMNS_HZ = 20.0
MOST_COLUMNS = 64
"""At once; what is older is left out."""
HISTORY_SECONDS = 4.0


def to_db(linear: float) -> float:
    """Full scale = 0 dB; -120 for silence."""
    return max(SILENCE_DB, 20.0 * float(np.log10(max(linear, 1e-12))))


class Meters:
    """RMS and peak of input, target and remainder, and the newest seconds of the latter."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int, np.ndarray, np.ndarray]] = deque(maxlen=256)
        self._history: Tape | None = None
        self.place = 0
        """How many samples were added."""
        self._lock = threading.Lock()
        self._window = np.hanning(WINDOW_SAMPLES).astype(np.float32)

    def add(self, target: np.ndarray, remainder: np.ndarray) -> None:
        """Both float32 `(channels, samples)`, aligned; the input is their sum."""
        samples = target.shape[1]
        if samples == 0:
            return
        parts = (target + remainder, target, remainder)
        squares = np.array([float(np.vdot(p, p)) / p.shape[0] for p in parts])
        peaks = np.array([float(np.abs(p).max(initial=0.0)) for p in parts])
        with self._lock:
            self.place += samples
            self._entries.append((time.monotonic(), samples, squares, peaks))
            if self._history is not None:
                self._history.write(np.stack([target.mean(axis=0), remainder.mean(axis=0)]))

    def levels(self, since_seconds: float) -> list[float]:
        """RMS and peak in dBFS of input, target and remainder since a monotonic time."""
        with self._lock:
            recent = [entry for entry in self._entries if entry[0] > since_seconds]
        if not recent:
            return [SILENCE_DB] * 6
        samples = sum(entry[1] for entry in recent)
        rms = np.sqrt(sum(entry[2] for entry in recent) / samples)
        peaks = np.max([entry[3] for entry in recent], axis=0)
        return [to_db(float(value)) for pair in zip(rms, peaks, strict=True) for value in pair]

    def kept_share(self, seconds: float = SHARE_SECONDS) -> float:
        """Energy of the target over that of the input, 0 to 1, of late; -1 for silence."""
        since = time.monotonic() - seconds
        with self._lock:
            recent = [entry[2] for entry in self._entries if entry[0] > since]
        energy = np.sum(recent, axis=0) if recent else np.zeros(3)
        return min(1.0, float(energy[1] / energy[0])) if energy[0] > 1e-9 else -1.0

    def columns(self, sample_rate: float, since: int) -> list[tuple[int, bytes, bytes]]:
        """The picture of what was added after the place `since`, a column 20 times a second.

        Each is (place, target, remainder): how many samples had been added at its end, and 64
        bands of the 4096 samples before, a byte each: dB above -96 dBFS times 255 / 96. A
        full-scale sine gives 255 in its band. Nothing is kept before the first call.
        """
        hop = round(sample_rate / COLUMNS_HZ)
        with self._lock:
            if self._history is None:
                self._history = Tape(1.0, 2, round(HISTORY_SECONDS * sample_rate))
            total, held = self.place, self._history.held_samples
            first = max(since, total - held + WINDOW_SAMPLES, total - MOST_COLUMNS * hop)
            ends = range(-(-(first + 1) // hop) * hop, total + 1, hop)
            if not ends:
                return []
            start = ends[0] - WINDOW_SAMPLES
            audio = self._history.cut(total - start, 0.0)
        windows = np.stack([audio[:, e - start - WINDOW_SAMPLES : e - start] for e in ends], 1)
        picture = self._bands(windows, sample_rate)
        return [
            (end, target.tobytes(), remainder.tobytes())
            for end, target, remainder in zip(ends, *picture, strict=True)
        ]

    def _bands(self, windows: np.ndarray, sample_rate: float) -> np.ndarray:
        """`(..., WINDOW_SAMPLES)` to `(..., BANDS)` bytes."""
        power = np.abs(np.fft.rfft(windows * self._window)) ** 2
        power *= (2.0 / float(self._window.sum())) ** 2
        edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * WINDOW_SAMPLES / sample_rate
        first = np.minimum(np.round(edges[:-1]).astype(int), power.shape[-1] - 1)
        last = np.clip(np.round(edges[1:]).astype(int), first + 1, power.shape[-1])
        bands = [power[..., a:b].max(axis=-1) for a, b in zip(first, last, strict=True)]
        db = 10.0 * np.log10(np.maximum(np.stack(bands, axis=-1), 1e-12))
        return np.clip((db - FLOOR_DB) * (255.0 / -FLOOR_DB), 0, 255).round().astype(np.uint8)
