"""Mixtures from shelves: bands as played or thrown together, at levels of finished music.

An example is a set of sources that add up to the mixture exactly: `vocals` and the parts
of a band, `drums`, `bass` and the layers of everything else by name. The limiter that
finished music has gone through becomes one gain curve applied to every source alike, so
the sum stays exact. No I/O beyond the shelves' memory maps, and little arithmetic: one
thread mixes far faster than it trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .pack import SAMPLE_RATE
from .shelves import Shelf

OTHER_PARTS = ("guitar", "keys", "strings", "winds", "synth")
STEMS = ("drums", "bass", "other")


@dataclass(frozen=True)
class Recipe:
    """Shares and levels of the mixtures. Levels are root mean squares in dB full scale."""

    coherent_share: float = 0.4
    present: tuple[tuple[str, float], ...] = (
        ("vocals", 0.75),
        ("drums", 0.88),
        ("bass", 0.88),
        ("other", 0.95),
    )
    level_db: tuple[tuple[str, float], ...] = (
        ("drums", -20.5),
        ("bass", -22.0),
        ("other", -21.5),
        ("vocals", -19.5),
    )
    level_spread_db: float = 5.0
    limited_share: float = 0.5
    pumped_share: float = 0.12
    """Share of mixtures whose bass and layers are ducked by the drums, as dance music's are."""
    seconds: float = 131072 / SAMPLE_RATE

    @property
    def samples(self) -> int:
        """Length of an example."""
        return round(self.seconds * SAMPLE_RATE)


_WAYS = {
    "drums": {
        "groove": 0.28,
        "clip": 0.31,
        "synthetic": 0.22,
        "sampler": 0.07,
        "font": 0.05,
        "collage": 0.07,
    },
    "bass": {
        "riff": 0.18,
        "sampler": 0.22,
        "font": 0.17,
        "synthetic": 0.31,
        "clip": 0.08,
        "collage": 0.04,
    },
    "guitar": {"sampler": 0.4, "font": 0.3, "riff": 0.2, "collage": 0.1},
    "synth": {"clip": 0.38, "font": 0.2, "synthetic": 0.2, "texture": 0.15, "collage": 0.07},
    "keys": {"font": 0.45, "riff": 0.25, "sampler": 0.25, "collage": 0.05},
    "strings": {"font": 0.5, "riff": 0.2, "sampler": 0.25, "collage": 0.05},
    "winds": {"font": 0.5, "riff": 0.35, "collage": 0.15},
}
_PART_WEIGHTS = {"guitar": 0.27, "keys": 0.2, "strings": 0.12, "winds": 0.08, "synth": 0.33}


def to_level(audio: np.ndarray, level_db: float) -> np.ndarray:
    """Scale to a root mean square in dB full scale; near-silence stays as it is."""
    rms = float(np.sqrt(np.mean(audio**2)))
    return audio if rms < 1e-4 else audio * np.float32(10 ** (level_db / 20) / rms)


def limiter_gain(mixture: np.ndarray, threshold: float, window: int = 264) -> np.ndarray:
    """The gain `(samples,)` of a peak limiter: `window` samples of maximum (6 ms), smoothed.

    Works on blocks of `window / 4` samples joined by straight lines, which is a limiter's
    slope at a fraction of the cost.
    """
    step = window // 4
    count = -(-mixture.shape[1] // step)
    peaks = np.zeros(count * step, dtype=np.float32)
    peaks[: mixture.shape[1]] = np.abs(mixture).max(axis=0)
    blocks = peaks.reshape(count, step).max(axis=1)
    padded = np.pad(blocks, 2, mode="edge")
    held = np.max([padded[i : i + count] for i in range(5)], axis=0)
    gain = np.minimum(1.0, threshold / np.maximum(held, 1e-6))
    at = np.arange(mixture.shape[1])
    return np.interp(at, np.arange(count) * step + step / 2, gain).astype(np.float32)


def stem_targets(sources: dict[str, np.ndarray], samples: int) -> np.ndarray:
    """Drums, bass, other and vocals of an example: float32 `(4, 2, samples)`."""
    out = np.zeros((4, 2, samples), dtype=np.float32)
    for name, audio in sources.items():
        index = 2 if name in OTHER_PARTS else (*STEMS, "vocals").index(name)
        out[index] += audio
    return out


def duck_gain(drums: np.ndarray, depth: float, release_seconds: float) -> np.ndarray:
    """The gain `(samples,)` of a compressor keyed by drums: down by `depth` (0 to 1) at
    their loudest, back within about `release_seconds`."""
    step = SAMPLE_RATE // 200
    count = drums.shape[1] // step + 1
    level = np.zeros(count * step, dtype=np.float32)
    level[: drums.shape[1]] = np.abs(drums).max(axis=0)
    peaks = level.reshape(count, step).max(axis=1)
    peaks = peaks / max(float(peaks.max()), 1e-6)
    fall = float(np.exp(-step / SAMPLE_RATE / release_seconds))
    held = 0.0
    for index, peak in enumerate(peaks):
        held = max(float(peak) ** 2, held * fall)
        peaks[index] = held
    at = np.arange(drums.shape[1])
    gain = 1 - depth * np.interp(at, np.arange(count) * step, peaks)
    return gain.astype(np.float32)


class Mixer:
    """Draws examples from shelves.

    Args:
        shelves: by part; "vocals" and every part that is there.
        recipe: shares and levels.
    """

    def __init__(self, shelves: Mapping[str, Shelf], recipe: Recipe) -> None:
        self.shelves = dict(shelves)
        self.recipe = recipe
        songs: dict[str, set[str]] = {}
        for part, shelf in self.shelves.items():
            for song in shelf.by_song:
                songs.setdefault(song, set()).add(part)
        self.songs = sorted(
            song
            for song, parts in songs.items()
            if {"drums", "bass"} <= parts and parts & set(OTHER_PARTS)
        )

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One example: sources by part, each float32 `(2, samples)`; absent parts are left
        out, and the mixture is their sum."""
        recipe = self.recipe
        coherent = bool(self.songs) and rng.random() < recipe.coherent_share
        band = self._song(rng) if coherent else self._thrown_together(rng)
        present = {name: rng.random() < share for name, share in recipe.present}
        level = {
            name: db + rng.uniform(-recipe.level_spread_db, recipe.level_spread_db)
            for name, db in recipe.level_db
        }
        sources: dict[str, np.ndarray] = {}
        for name in ("drums", "bass"):
            if name in band and present[name]:
                sources[name] = to_level(band[name], level[name])
        layers = {name: audio for name, audio in band.items() if name in OTHER_PARTS}
        if layers and (present["other"] or not sources):
            layers = {n: to_level(a, rng.uniform(-4, 4)) for n, a in layers.items()}
            whole = np.sum(list(layers.values()), axis=0)
            rms = float(np.sqrt(np.mean(whole**2)))
            if rms > 1e-4:
                gain = np.float32(10 ** (level["other"] / 20) / rms)
                sources |= {name: audio * gain for name, audio in layers.items()}
        if "vocals" in self.shelves and present["vocals"]:
            voice = self.shelves["vocals"].draw(rng, recipe.samples)
            sources["vocals"] = to_level(voice, level["vocals"])
        for name in sources:
            if rng.random() < 0.5:
                sources[name] = sources[name][::-1]
        if "drums" in sources and rng.random() < recipe.pumped_share:
            curve = duck_gain(sources["drums"], rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.25))
            for name in sources.keys() - {"drums", "vocals"}:
                sources[name] = sources[name] * curve
        return self._finish(sources, rng)

    def _song(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        song = self.songs[int(rng.integers(len(self.songs)))]
        rows = {p: s.by_song[song] for p, s in self.shelves.items() if song in s.by_song}
        least = min(row.samples for row in rows.values())
        offset = int(rng.integers(0, max(1, least - self.recipe.samples)))
        band = {}
        for part, row in rows.items():
            if self.shelves[part].level(row, offset, self.recipe.samples) > 0.003:
                band[part] = self.shelves[part].crop(row, offset, self.recipe.samples)
        return band

    def _thrown_together(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        samples = self.recipe.samples
        band = {}
        for part in ("drums", "bass"):
            if part in self.shelves:
                band[part] = self.shelves[part].draw(rng, samples, _WAYS[part])
        here = [part for part in OTHER_PARTS if part in self.shelves]
        weights = np.array([_PART_WEIGHTS[part] for part in here])
        if here:
            count = min(len(here), int(rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3])))
            for index in rng.choice(len(here), count, replace=False, p=weights / weights.sum()):
                part = here[index]
                band[part] = self.shelves[part].draw(rng, samples, _WAYS[part])
        return band

    def _finish(
        self, sources: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        if not sources:
            return {"drums": np.zeros((2, self.recipe.samples), dtype=np.float32)}
        mixture = np.sum(list(sources.values()), axis=0)
        gain = np.float32(10 ** (rng.uniform(-7, 3) / 20))
        if rng.random() < self.recipe.limited_share:
            share = rng.uniform(97, 99.7)
            threshold = float(np.percentile(np.abs(mixture[:, ::16]), share))
            curve = limiter_gain(mixture, max(threshold, 1e-4))
            loud = 0.5 / max(threshold, 0.05)  # make-up: finished music is loud
            gain = gain * np.float32(min(loud, 4.0)) * curve
        return {name: (audio * gain).astype(np.float32) for name, audio in sources.items()}
