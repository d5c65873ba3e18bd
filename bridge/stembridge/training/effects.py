"""What a studio does to a stem: random pedalboard chains per part, and stereo width.

Every function takes float32 `(channels, samples)` at `SAMPLE_RATE` and returns stereo of
the same length. Delay of the effects does not matter here: the processed stem *is* the
training target, so mixture and target stay equal by construction.
"""

from __future__ import annotations

import numpy as np
import pedalboard as pb
from pedalboard._pedalboard import Pedalboard

from .pack import SAMPLE_RATE

_AMP_DRIVE_DB = (-6.0, 30.0)


def _bells(rng: np.random.Generator, count: int, most_db: float) -> list[pb.Plugin]:
    return [
        pb.PeakFilter(
            cutoff_frequency_hz=float(np.exp(rng.uniform(np.log(120), np.log(9000)))),
            gain_db=float(rng.uniform(-most_db, most_db)),
            q=float(rng.uniform(0.4, 1.5)),
        )
        for _ in range(count)
    ]


def _compressor(rng: np.random.Generator, threshold_db: float) -> pb.Plugin:
    return pb.Compressor(
        threshold_db=threshold_db + float(rng.uniform(-6, 6)),
        ratio=float(rng.uniform(2, 5)),
        attack_ms=float(rng.uniform(1, 30)),
        release_ms=float(rng.uniform(50, 250)),
    )


def _room(rng: np.random.Generator, largest: float, wettest: float) -> pb.Plugin:
    wet = float(rng.uniform(0.03, wettest))
    return pb.Reverb(
        room_size=float(rng.uniform(0.05, largest)),
        damping=float(rng.uniform(0.1, 0.9)),
        wet_level=wet,
        dry_level=1.0 - 0.5 * wet,
        width=float(rng.uniform(0.5, 1.0)),
    )


def random_board(part: str, rng: np.random.Generator) -> Pedalboard:
    """A chain of effects for a part: "drums", "bass", "guitar", "vocals", or anything else."""
    chain: list[pb.Plugin] = []
    if part == "drums":
        chain += _bells(rng, 3, 5.0)
        chain.append(
            pb.LowShelfFilter(
                cutoff_frequency_hz=float(rng.uniform(70, 130)), gain_db=float(rng.uniform(0, 9))
            )
        )
        if rng.random() < 0.5:
            chain.append(_compressor(rng, -22))
        if rng.random() < 0.55:
            chain.append(_room(rng, 0.6, 0.3))
        if rng.random() < 0.35:
            chain.append(pb.Distortion(drive_db=float(rng.uniform(2, 12))))
    elif part == "bass":
        if rng.random() < 0.3:
            chain.append(pb.Distortion(drive_db=float(rng.uniform(6, 28))))
        if rng.random() < 0.7:
            cutoff = float(np.exp(rng.uniform(np.log(300), np.log(3500))))
            poles = int(rng.integers(1, 3))
            chain += [pb.LowpassFilter(cutoff_frequency_hz=cutoff) for _ in range(poles)]
        chain.append(
            pb.LowShelfFilter(
                cutoff_frequency_hz=float(rng.uniform(80, 160)), gain_db=float(rng.uniform(0, 10))
            )
        )
        if rng.random() < 0.5:
            chain.append(_compressor(rng, -24))
    elif part == "guitar" and rng.random() < 0.65:
        chain.append(pb.HighpassFilter(cutoff_frequency_hz=float(rng.uniform(70, 250))))
        chain.append(pb.Distortion(drive_db=float(rng.uniform(*_AMP_DRIVE_DB))))
        cutoff = float(rng.uniform(3800, 6500))
        chain += [pb.LowpassFilter(cutoff_frequency_hz=cutoff) for _ in range(3)]
        chain += _bells(rng, 2, 4.0)
        if rng.random() < 0.4:
            chain.append(_room(rng, 0.6, 0.25))
    elif part == "vocals":
        chain.append(pb.HighpassFilter(cutoff_frequency_hz=float(rng.uniform(60, 140))))
        chain += _bells(rng, 2, 4.0)
        chain.append(_compressor(rng, -24))
        if rng.random() < 0.3:
            chain.append(
                pb.Delay(
                    delay_seconds=float(rng.uniform(0.08, 0.45)),
                    feedback=float(rng.uniform(0, 0.4)),
                    mix=float(rng.uniform(0.05, 0.3)),
                )
            )
        if rng.random() < 0.7:
            chain.append(_room(rng, 0.85, 0.35))
    else:
        chain += _bells(rng, 2, 4.0)
        if rng.random() < 0.25:
            chain.append(pb.HighpassFilter(cutoff_frequency_hz=float(rng.uniform(80, 300))))
        if rng.random() < 0.15:
            chain.append(pb.Distortion(drive_db=float(rng.uniform(3, 18))))
        if rng.random() < 0.2:
            chain.append(
                pb.Chorus(rate_hz=float(rng.uniform(0.3, 2)), depth=float(rng.uniform(0.1, 0.4)))
            )
        if rng.random() < 0.12:
            chain.append(pb.Phaser(rate_hz=float(rng.uniform(0.2, 1.5))))
        if rng.random() < 0.3:
            chain.append(_compressor(rng, -24))
        if rng.random() < 0.5:
            chain.append(_room(rng, 0.9, 0.4))
    return Pedalboard(chain)


def widen(audio: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """Place a mono stem in stereo: centre, pan, short double, or slightly different sides."""
    mono = audio.mean(axis=0) if audio.ndim == 2 else audio
    way = rng.random()
    centred = part in ("bass", "vocals", "drums")
    if way < (0.75 if centred else 0.2):
        return np.stack([mono, mono]).astype(np.float32)
    if way < (0.85 if centred else 0.5):
        angle = (rng.uniform(-0.9, 0.9) * (0.4 if centred else 1.0) + 1) * np.pi / 4
        return np.stack([mono * np.cos(angle), mono * np.sin(angle)]).astype(np.float32) * 1.414
    if way < 0.8:
        late = np.roll(mono, int(rng.uniform(0.006, 0.03) * SAMPLE_RATE))
        sides = [mono, late * rng.uniform(0.6, 1.0)]
        if rng.random() < 0.5:
            sides.reverse()
        return np.stack(sides).astype(np.float32)
    sides = []
    for _ in range(2):
        board = Pedalboard(_bells(rng, 3, 5.0))
        sides.append(board(mono[None].astype(np.float32), SAMPLE_RATE)[0])
    return np.stack(sides)


def is_narrow(audio: np.ndarray) -> bool:
    """Whether a stereo stem is as good as mono (sides 40 dB under the middle)."""
    if audio.shape[0] == 1:
        return True
    side = float(np.mean((audio[0] - audio[1]) ** 2))
    middle = float(np.mean((audio[0] + audio[1]) ** 2))
    return side < 1e-4 * middle


def produce(audio: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """One stem as a studio would hand it over: effects, width, peak at 0.9.

    Silence stays silence; a non-finite effect output falls back to the dry stem.
    """
    dry = np.atleast_2d(audio).astype(np.float32)
    peak = float(np.abs(dry).max(initial=0.0))
    if peak < 1e-5:
        return np.zeros((2, dry.shape[1]), dtype=np.float32)
    dry = dry * (0.5 / peak)
    if is_narrow(dry):
        dry = widen(dry, part, rng)
    wet = random_board(part, rng)(dry, SAMPLE_RATE)
    if not np.isfinite(wet).all() or np.abs(wet).max() < 1e-5:
        wet = dry
    return (wet * (0.9 / np.abs(wet).max())).astype(np.float32)
