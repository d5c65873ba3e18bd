"""Clips of any length in bounded memory: of a long one, seconds spread evenly over it.

An hour of a sound teaches no more than a few minutes of it, but costs gigabytes. So whole
seconds are collected; when there are too many, every second one is let go and from then on
only every second (fourth, eighth…) is taken. How long the audio will be need not be known.

Invariants: at most a second more than asked for is kept and, of longer audio, at least half
of it; what is not too long is kept whole; the same audio gives the same seconds in any
blocks; reading holds `MOST_SECONDS` twice at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audiofile import open_audio
from ..errors import AudioError
from ..prompts import Clip

MOST_SECONDS = 600.0


def thin(
    blocks: Iterable[np.ndarray], sample_rate: int, most_seconds: float = MOST_SECONDS
) -> tuple[np.ndarray, float]:
    """The audio of blocks `(channels, samples)`, thinned, and how many seconds came in all."""
    kept: list[np.ndarray] = []
    stride, second, total = 1, 0, 0
    waiting: list[np.ndarray] = []
    held = 0
    for block in blocks:
        total += block.shape[1]
        start = 0
        while start < block.shape[1]:
            piece = block[:, start : start + sample_rate - held]
            waiting.append(piece)
            held += piece.shape[1]
            start += piece.shape[1]
            if held < sample_rate:
                break
            if second % stride == 0:
                # A copy, so that a second kept does not keep its whole block.
                kept.append(np.concatenate(waiting, axis=1))
            second, waiting, held = second + 1, [], 0
            if len(kept) > most_seconds:
                kept, stride = kept[::2], 2 * stride
    if waiting and stride == 1:
        kept.append(np.concatenate(waiting, axis=1))
    if not kept:
        return np.zeros((1, 0), dtype=np.float32), 0.0
    return np.concatenate(kept, axis=1), total / sample_rate


@dataclass(frozen=True)
class ThinnedClip(Clip):
    """A clip of which seconds were left out; `of_seconds` is how long it was."""

    of_seconds: float = 0.0


def read_clips(paths: Iterable[Path]) -> list[Clip]:
    """Files as clips, together not much longer than `MOST_SECONDS`, whatever their lengths.

    Raises:
        AudioError: a file that cannot be read or holds no samples.
    """
    clips: list[Clip] = []
    for path in paths:
        with open_audio(path) as reader:
            rate = reader.sample_rate
            audio, seconds = thin(reader.blocks(), rate)
        if not audio.shape[1]:
            raise AudioError(f"{path} holds no samples. Export it again.")
        clips = bounded([*clips, _clip(audio, rate, Path(path).name, seconds)])
    return clips


def bounded(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, the longest of them thinned alike until all last `MOST_SECONDS` at most."""
    lengths = [_seconds(clip) for clip in clips]
    if sum(lengths) <= MOST_SECONDS:
        return list(clips)
    left, share = MOST_SECONDS, 0.0
    for place, length in enumerate(sorted(lengths)):
        share = left / (len(lengths) - place)
        if length > share:
            break
        left -= length
    return [
        _thinned(clip, max(1.0, share)) if length > max(1.0, share) else clip
        for clip, length in zip(clips, lengths, strict=True)
    ]


def note_of(clips: Iterable[Clip]) -> tuple[str, ...]:
    """What was left out of them, in words: one note or none."""
    thinned = [clip for clip in clips if isinstance(clip, ThinnedClip)]
    if not thinned:
        return ()
    kept = sum(_seconds(clip) for clip in thinned)
    whole = sum(clip.of_seconds for clip in thinned)
    what = thinned[0].label or "a clip"
    if len(thinned) > 1:
        what = f"{len(thinned)} long clips"
    return (f"of {what} ({whole:.0f} s) {kept:.0f} s were used, spread over the whole",)


def _seconds(clip: Clip) -> float:
    shape = np.shape(clip.audio)
    return shape[-1] / clip.sample_rate if shape and clip.sample_rate > 0 else 0.0


def _thinned(clip: Clip, most_seconds: float) -> Clip:
    audio = np.atleast_2d(np.asarray(clip.audio))
    kept, seconds = thin([audio], clip.sample_rate, most_seconds)
    whole = clip.of_seconds if isinstance(clip, ThinnedClip) else seconds
    return _clip(kept, clip.sample_rate, clip.label, whole)


def _clip(audio: np.ndarray, rate: int, label: str, seconds: float) -> Clip:
    if audio.shape[1] >= round(seconds * rate):
        return Clip(audio, rate, label)
    return ThinnedClip(audio, rate, label, seconds)
