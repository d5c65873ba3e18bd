"""Probe: how much of a mix a prompt takes, over time, and whether it fits the mix at all.

A separator always answers: asked for drums where there are none, it hands over scraps of
something else. Two ratios tell scraps from a sound. Separate the mixture `x` into target
`t` and remainder `r = x - t`, then ask both again with the same prompt:

    kept = |f(t)|^2 / |t|^2      a real target is mostly the target of itself: near 1
    left = |f(r)|^2 / |r|^2      and what remains holds little more of it: near 0

Together with the share `|t|^2 / |x|^2` they enter a logistic model whose three weights were
fitted on real songs with and without the target (`tests/bench/calibrate_probe.py`), so
that `match` is the probability that the sound is there.

Invariants: pure on arrays, no I/O; silence has share 0 and match 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..chain import SeparationChain
from ..presets import Preset
from ..separators import Separator

FRAME_SECONDS = 0.5
MATCH_SECONDS = 20.0
"""The two questions are asked on the loudest stretch of this length."""
FLOOR_DB = -60.0
WEIGHTS: tuple[float, float, float, float] = (5.68, 0.2487, 0.176, 0.087)
"""Intercept, then per dB: share, kept, left. Fitted by tests/bench/calibrate_probe.py."""

Advance = Callable[[float], None]


@dataclass(frozen=True)
class Probe:
    """What a prompt does to a mix."""

    share: float
    """Energy of the target over that of the mix, 0 to 1."""
    times_seconds: np.ndarray
    """Start of each frame of half a second."""
    share_db: np.ndarray
    """Target over mix per frame in dB, at least -60; -60 where the mix is silent."""
    match: float
    """Probability, 0 to 1, that the prompt's sound is in the audio."""
    features_db: tuple[float, float, float]
    """Share, kept and left, as the model takes them."""

    def sentence(self) -> str:
        """The outcome in one sentence for people."""
        taken = f"takes {100 * self.share:.0f} % of the mix"
        if self.match >= 0.7:
            return f"matches your audio {self.match:.2f}: {taken}"
        if self.match >= 0.3:
            return f"matches your audio {self.match:.2f}: it may be faint or mixed up; {taken}"
        return f"matches your audio {self.match:.2f}: expect little; {taken}"


def probe(
    audio: np.ndarray,
    sample_rate: int,
    preset: Preset,
    *,
    separator: Separator | None = None,
    advance: Advance | None = None,
) -> Probe:
    """Probe `audio`, float32 `(channels, samples)`, with a preset's prompts.

    `advance` is called with the finished fraction and may raise to stop.

    Raises:
        StembridgeError: as the chain does for the preset or the audio.
    """
    said = advance or (lambda _fraction: None)
    target = _target(audio, sample_rate, preset, separator)
    said(0.5)
    first, last = _loudest(audio, round(MATCH_SECONDS * sample_rate))
    mix, part = audio[:, first:last], target[:, first:last]
    again = _target(part, sample_rate, preset, separator)
    said(0.75)
    rest = mix - part
    features = (
        ratio_db(part, mix),
        ratio_db(again, part),
        ratio_db(_target(rest, sample_rate, preset, separator), rest),
    )
    said(1.0)
    times, shares = _over_time(target, audio, sample_rate)
    share = 10 ** (ratio_db(target, audio) / 10)
    heard = features[0] > FLOOR_DB
    return Probe(
        share=min(1.0, share) if heard else 0.0,
        times_seconds=times,
        share_db=shares,
        match=match_of(features) if heard else 0.0,
        features_db=features,
    )


def match_of(features_db: tuple[float, float, float]) -> float:
    """The logistic model over share, kept and left in dB."""
    intercept, *slopes = WEIGHTS
    logit = intercept + sum(w * f for w, f in zip(slopes, features_db, strict=True))
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def ratio_db(part: np.ndarray, whole: np.ndarray) -> float:
    """Energy of `part` over that of `whole` in dB, between `FLOOR_DB` and 0."""
    above = float(np.square(part, dtype=np.float64).sum())
    below = float(np.square(whole, dtype=np.float64).sum())
    if below <= 1e-12 or above <= 1e-12 * below:
        return FLOOR_DB
    return float(np.clip(10 * np.log10(above / below), FLOOR_DB, 0.0))


def _target(
    audio: np.ndarray, sample_rate: int, preset: Preset, separator: Separator | None
) -> np.ndarray:
    chain = SeparationChain(preset, sample_rate, audio.shape[0], mode="render", separator=separator)
    piece = 10 * sample_rate
    parts = [
        chain.push(audio[:, start : start + piece]).target
        for start in range(0, audio.shape[1], piece)
    ]
    return np.concatenate([*parts, chain.flush().target], axis=1)


def _loudest(audio: np.ndarray, samples: int) -> tuple[int, int]:
    """The stretch of `samples` with the most energy."""
    if audio.shape[1] <= samples:
        return 0, audio.shape[1]
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64).sum(axis=0))])
    first = int(np.argmax(energy[samples:] - energy[:-samples]))
    return first, first + samples


def _over_time(
    target: np.ndarray, audio: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    frame = max(1, round(FRAME_SECONDS * sample_rate))
    starts = np.arange(0, audio.shape[1], frame)
    shares = [ratio_db(target[:, s : s + frame], audio[:, s : s + frame]) for s in starts]
    return starts / sample_rate, np.array(shares, dtype=np.float64)
