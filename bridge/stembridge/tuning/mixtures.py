"""Training mixtures: crops of the wanted sound against crops of other sounds.

A mixture is `target + interferer`, the interferer brought to the target's energy and then
moved by a few dB. Both are varied first, in level, colour and speed, so that a handful of
clips stands for more than itself. All random choices come from one seeded generator, so
the same clips and seed give the same mixtures.

Invariants: `mixture == target + interferer` exactly as summed in float32; every mixture has
`segment_samples` samples and a target that is not silent; peaks stay below 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL_SPREAD_DB = 3.0
"""How far the interferer strays from 0 dB (standard deviation)."""
COLOUR_DB = 4.0
"""Largest gain of the random equaliser at one of its nodes."""
SPEED = 0.05
"""Largest change of speed, as a fraction."""
MOST_RATIO = 50.0
"""Interferers are scaled by at most this (and at least its inverse)."""


@dataclass(frozen=True)
class Batch:
    """Targets and mixtures, float32 `(batch, channels, segment_samples)`."""

    targets: np.ndarray
    mixtures: np.ndarray


def make_batches(
    targets: Sequence[np.ndarray],
    interferers: Sequence[np.ndarray],
    *,
    segment_samples: int,
    batches: int,
    batch_size: int,
    generator: np.random.Generator,
    vary: bool = True,
) -> Iterator[Batch]:
    """Draw `batches` batches of mixtures from pieces `(channels, samples)`, one by one.

    Pieces are drawn with a chance that grows with the root of their length, so that one
    long recording does not drown the short ones.
    """
    for _ in range(batches):
        pairs = [
            _mix(
                _crop(_draw(targets, generator), segment_samples, generator),
                _crop(_draw(interferers, generator), segment_samples, generator),
                generator,
                vary,
            )
            for _ in range(batch_size)
        ]
        wanted, mixed = (np.stack(side) for side in zip(*pairs, strict=True))
        yield Batch(wanted, mixed)


def _draw(pieces: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    weights = np.sqrt([piece.shape[1] for piece in pieces])
    return pieces[generator.choice(len(pieces), p=weights / weights.sum())]


def _crop(piece: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """A random stretch; the loudest of three, since quiet crops teach little.

    A piece shorter than the stretch is laid at a random place in silence.
    """
    length = piece.shape[1]
    if length <= samples:
        out = np.zeros((piece.shape[0], samples), dtype=np.float32)
        start = int(generator.integers(0, samples - length + 1))
        out[:, start : start + length] = piece
        return out
    starts = generator.integers(0, length - samples + 1, size=3)
    crops = [piece[:, s : s + samples] for s in starts]
    return max(crops, key=lambda crop: float(np.square(crop).sum()))


def vary_sound(audio: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Change speed by a few per cent, colour by a smooth random curve; same length.

    The curve is linear between seven nodes on a logarithmic frequency axis and applied to
    the spectrum of the whole crop (zero phase).
    """
    samples = audio.shape[1]
    speed = 1.0 + generator.uniform(-SPEED, SPEED)
    places = np.minimum(np.arange(samples) * speed, samples - 1)
    moved = np.stack([np.interp(places, np.arange(samples), row) for row in audio])
    nodes_db = generator.uniform(-COLOUR_DB, COLOUR_DB, size=7)
    spectrum = np.fft.rfft(moved, axis=1)
    position = np.log2(np.linspace(0, 1, spectrum.shape[1]) * 1023 + 1) / 10 * 6
    gain = 10 ** (np.interp(position, np.arange(7), nodes_db) / 20)
    return np.fft.irfft(spectrum * gain, n=samples, axis=1).astype(np.float32)


def _mix(
    target: np.ndarray, interferer: np.ndarray, generator: np.random.Generator, vary: bool
) -> tuple[np.ndarray, np.ndarray]:
    if vary:
        target = vary_sound(target, generator)
        interferer = vary_sound(interferer, generator)
    wanted = float(np.square(target, dtype=np.float64).sum())
    other = float(np.square(interferer, dtype=np.float64).sum())
    ratio = np.sqrt(wanted / max(other, 1e-12))
    if vary:
        ratio *= 10 ** (generator.normal(0.0, LEVEL_SPREAD_DB) / 20)
    interferer = interferer * np.float32(np.clip(ratio, 1 / MOST_RATIO, MOST_RATIO))
    peak = float(np.abs(target + interferer).max(initial=0.0))
    # Finished music peaks near full scale; the networks were trained at such levels.
    level = generator.uniform(0.25, 0.9) if vary else 0.7
    gain = np.float32(level / max(peak, 1e-6))
    target, interferer = target * gain, interferer * gain
    return target, target + interferer
