"""The sounds that a tuned prompt learns to ignore: a small bundled set, and a person's own.

`assets/interferers.ogg` is one mono Vorbis file at 44.1 kHz; `assets/interferers.json` says where
each sound lies in it, what it is, and under which licence it came (CC0, CC-BY, public
domain). One in four sounds is set aside for judging, so that a prompt is never judged
against a sound it learned from.

Invariants: reading is the only I/O; the order of the sounds never depends on the platform.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from ..resample import resample

HELD_OUT_EVERY = 4


@dataclass(frozen=True)
class Interferers:
    """Sounds `(channels, samples)` for learning and for judging."""

    learn: tuple[np.ndarray, ...]
    held_out: tuple[np.ndarray, ...]


def bundled(sample_rate: int, channels: int) -> Interferers:
    """The bundled sounds at `sample_rate`, copied to `channels` channels."""
    import soundfile

    folder = resources.files("stembridge") / "assets"
    index = json.loads((folder / "interferers.json").read_text(encoding="utf-8"))
    stored = io.BytesIO((folder / "interferers.ogg").read_bytes())
    audio, rate = soundfile.read(stored, dtype="float32")
    sounds = [
        audio[round(row["start_seconds"] * rate) :][: round(row["duration_seconds"] * rate)]
        for row in index["sounds"]
    ]
    return divide([_fit(sound[None], rate, sample_rate, channels) for sound in sounds])


def divide(sounds: Sequence[np.ndarray]) -> Interferers:
    """Set every fourth sound aside for judging; a single sound serves both parts."""
    if len(sounds) == 1:
        return Interferers(tuple(sounds), tuple(sounds))
    held = [s for i, s in enumerate(sounds) if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
    learn = [s for i, s in enumerate(sounds) if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
    return Interferers(tuple(learn), tuple(held or sounds[-1:]))


def own(
    clips: Sequence[np.ndarray], rates_hz: Sequence[int], sample_rate: int, channels: int
) -> Interferers:
    """A person's own sounds to ignore, from clips `(channels, samples)` at `rates_hz`."""
    return divide(
        [
            _fit(clip, rate, sample_rate, channels)
            for clip, rate in zip(clips, rates_hz, strict=True)
        ]
    )


def together(first: Interferers, second: Interferers) -> Interferers:
    """Both sets; the second comes as often as the first by being repeated."""
    repeats = max(1, len(first.learn) // max(1, len(second.learn)))
    return Interferers(
        first.learn + second.learn * repeats, first.held_out + second.held_out * repeats
    )


def fit_channels(audio: np.ndarray, channels: int) -> np.ndarray:
    """`(any, samples)` to `(channels, samples)`: mono is copied, more is averaged to mono."""
    if audio.shape[0] == channels:
        return audio
    mono = audio.mean(axis=0, keepdims=True, dtype=np.float32)
    return np.repeat(mono, channels, axis=0)


def _fit(audio: np.ndarray, rate: int, sample_rate: int, channels: int) -> np.ndarray:
    audio = fit_channels(np.asarray(audio, dtype=np.float32), channels)
    return np.ascontiguousarray(resample(audio, rate, sample_rate), dtype=np.float32)
