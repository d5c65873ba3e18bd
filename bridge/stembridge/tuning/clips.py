"""A person's clips, made ready for learning: checked, silence taken out, split in two.

Learning and judging must not see the same sound, so the material is split before anything
is learned: whole clips are held out when there are several, the last third of the sound
when there is one. Both parts are lists of mono-or-stereo pieces at the separator's rate.

Invariants: every piece is finite float32 `(channels, samples)` and audible; a second of
sound appears in one part only; at most `MOST_SECONDS` are used, spread evenly over longer
material.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import AudioError
from ..prompts import Clip

MOST_SECONDS = 300.0
"""More than this adds nothing to a few hundred mixtures and costs memory."""
SILENCE_DB = -50.0
"""Frames this far below a clip's loudest frame are silence."""
FRAME_SECONDS = 0.05


@dataclass(frozen=True)
class Material:
    """Pieces to learn from and pieces to judge by, at one rate and layout."""

    learn: tuple[np.ndarray, ...]
    held_out: tuple[np.ndarray, ...]
    clips: int
    seconds: float
    """Audible seconds in use."""
    notes: tuple[str, ...]
    """What was left out, in words."""


def audible(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The audio without its silent stretches, float32 `(channels, samples)`.

    Frames of 50 ms count as sound when they reach -50 dB of the loudest one; kept frames
    are joined as they stand, because a mixture of short crops does not mind the joints.
    """
    frame = max(1, round(FRAME_SECONDS * sample_rate))
    count = -(-audio.shape[1] // frame)
    padded = np.zeros((audio.shape[0], count * frame), dtype=np.float32)
    padded[:, : audio.shape[1]] = audio
    framed = padded.reshape(audio.shape[0], count, frame)
    energy = np.square(framed, dtype=np.float64).sum(axis=(0, 2))
    if count == 0 or energy.max() <= frame * 1e-10:
        return np.zeros((audio.shape[0], 0), dtype=np.float32)
    keep = energy >= energy.max() * 10 ** (SILENCE_DB / 10)
    kept = framed[:, keep].reshape(audio.shape[0], -1)
    return kept[:, : audio.shape[1]]


def split(clips: Sequence[Clip], audio: Sequence[np.ndarray], sample_rate: int) -> Material:
    """Split clips into a part to learn from and a part to judge by.

    Args:
        clips: for their names in messages.
        audio: the same clips at `sample_rate`, float32 `(channels, samples)`.

    Raises:
        AudioError: no clips, a clip that is not finite, or nothing but silence.
    """
    if not audio:
        raise AudioError("No clips were given. Name at least one audio file of the sound.")
    notes: list[str] = []
    pieces: list[np.ndarray] = []
    for number, (clip, samples) in enumerate(zip(clips, audio, strict=True), 1):
        name = clip.label or f"clip {number}"
        if not np.isfinite(samples).all():
            raise AudioError(
                f"{name} has samples that are not numbers (NaN or infinite). Export it again."
            )
        sound = audible(samples, sample_rate)
        if sound.shape[1] < sample_rate // 20:
            notes.append(f"{name} is silent and was left out")
        else:
            pieces.append(sound)
    if not pieces:
        raise AudioError(
            "All clips are silent. Choose clips in which the sound can be heard by itself."
        )
    seconds = sum(piece.shape[1] for piece in pieces) / sample_rate
    if seconds > MOST_SECONDS:
        pieces = [_thin(piece, MOST_SECONDS / seconds, sample_rate) for piece in pieces]
        notes.append(f"{seconds:.0f} s of sound were thinned to {MOST_SECONDS:.0f} s")
        seconds = sum(piece.shape[1] for piece in pieces) / sample_rate
    if len(pieces) == 1:
        cut = max(1, (2 * pieces[0].shape[1]) // 3)
        learn, held = [pieces[0][:, :cut]], [pieces[0][:, cut:]]
    else:
        count = max(1, len(pieces) // 4)
        # Spread over the list: recordings that lie side by side tend to be alike.
        chosen = {round((i + 1) * len(pieces) / (count + 1)) - 1 for i in range(count)}
        learn = [p for i, p in enumerate(pieces) if i not in chosen]
        held = [p for i, p in enumerate(pieces) if i in chosen]
    return Material(tuple(learn), tuple(held), len(pieces), seconds, tuple(notes))


def _thin(piece: np.ndarray, share: float, sample_rate: int) -> np.ndarray:
    """Keep `share` of a long piece as whole seconds spread evenly over it."""
    seconds = piece.shape[1] // sample_rate
    wanted = max(1, int(seconds * share))
    if seconds <= wanted:
        return piece
    starts = (np.arange(wanted) * (seconds / wanted)).astype(int) * sample_rate
    return np.concatenate([piece[:, s : s + sample_rate] for s in starts], axis=1)
