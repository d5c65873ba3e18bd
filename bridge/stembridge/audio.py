"""What a piece of audio is here: shape, layout, rate and levels, checked and cleaned.

Everything in this file is pure: no files, no state, and the caller's arrays are never
changed. Audio is float32 `(channels, samples)`, full scale is 1.0 and may be exceeded.
People hand over other shapes (samples first, one dimension) and hosts hand over NaN; the
functions here turn both into the one form that the rest of the package works on, or
refuse with an `AudioError` that says what to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import AudioError

MIN_SAMPLE_RATE_HZ = 1_000
MAX_SAMPLE_RATE_HZ = 768_000
LARGEST_SAMPLE = 1e12
"""Louder than any scaling mistake (32-bit integers as floats are 2e9), yet its square
times a window still fits float32: beyond it a sample is garbage, like NaN."""
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Layout:
    """How the caller lays out audio, so that the answer can be given the same way.

    `samples_axis` is 1 for `(channels, samples)`, 0 for `(samples, channels)`;
    `flat` is true for one dimension (mono).
    """

    channels: int
    samples_axis: int = 1
    flat: bool = False

    def restore(self, audio: np.ndarray) -> np.ndarray:
        """`(channels, samples)` back into the caller's layout."""
        if self.flat:
            return audio[0]
        return np.ascontiguousarray(audio.T) if self.samples_axis == 0 else audio


def check_sample_rate(sample_rate: float) -> int:
    """The sample rate in Hz as a whole number.

    Raises:
        AudioError: if it is not a whole number within 1 kHz and 768 kHz.
    """
    try:
        value = float(sample_rate)
    except (TypeError, ValueError):
        value = math.nan
    if not (MIN_SAMPLE_RATE_HZ <= value <= MAX_SAMPLE_RATE_HZ) or value != int(value):
        raise AudioError(
            f"The sample rate {sample_rate!r} cannot be used. Give a whole number of Hz "
            f"from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ}, for example 44100."
        )
    return int(value)


def check_channels(channels: int) -> int:
    """The number of channels, at least 1. Raises AudioError otherwise."""
    if isinstance(channels, bool) or int(channels) != channels or not 1 <= channels <= 256:
        raise AudioError(f"{channels!r} channels cannot be processed. Give 1 to 256.")
    return int(channels)


def check_block(audio: Any, channels: int) -> np.ndarray:
    """The audio as float32 `(channels, samples)`; float64 is converted, float32 is not copied.

    Raises:
        AudioError: for another number of channels or dimensions, or for integers, whose
            full scale only the caller knows.
    """
    block = _as_float32(audio)
    if block.ndim != 2 or block.shape[0] != channels:
        raise AudioError(
            f"Expected audio of shape ({channels}, samples), got {block.shape}. "
            "Put the channels first and keep their number for the whole stream."
        )
    return block


def as_channels_first(audio: Any, hint: Layout | None = None) -> tuple[np.ndarray, Layout]:
    """Find out the layout of an array and return it as float32 `(channels, samples)`.

    The guess is the one pedalboard makes: one dimension is mono, of two dimensions the
    shorter is the channels. Where shapes leave it open (square, or a stream's last chunk
    that is shorter than its channels) `hint`, the layout of earlier audio of the same
    stream, decides.

    Raises:
        AudioError: for integers, no or more than two dimensions, no channels, or a square
            array without a hint.
    """
    block = _as_float32(audio)
    if block.ndim == 1:
        return block[np.newaxis, :], Layout(1, 1, flat=True)
    if block.ndim != 2:
        raise AudioError(
            f"Audio of shape {block.shape} has {block.ndim} dimensions. "
            "Give (samples,), (channels, samples) or (samples, channels)."
        )
    rows, columns = block.shape
    if hint is not None and not hint.flat and block.shape[1 - hint.samples_axis] == hint.channels:
        axis = hint.samples_axis
    elif rows == columns == 0:
        raise AudioError("The audio has no channels. Give at least one channel.")
    elif 0 in (rows, columns):
        axis = 0 if rows == 0 else 1
    elif rows == columns and rows > 1:
        raise AudioError(
            f"Cannot tell channels from samples in an array of shape {block.shape}. Give "
            "more samples at once, or audio of another shape first to show the layout."
        )
    else:
        axis = 1 if rows <= columns else 0
    if axis == 0:
        return np.ascontiguousarray(block.T), Layout(columns, 0)
    return block, Layout(rows, 1)


def sanitize(audio: np.ndarray) -> np.ndarray:
    """A float32 copy in which NaN, infinities, absurd values and denormals are zero.

    Denormals slow recurrent filters down a hundredfold, one NaN silences a network's
    state for good; neither carries any sound.
    """
    clean = np.array(audio, dtype=np.float32, order="C")
    magnitude = np.abs(clean)
    good = (magnitude >= SMALLEST_NORMAL) & (magnitude <= LARGEST_SAMPLE)
    if not good.all():
        clean[~good] = 0.0
    return clean


def db_to_gain(gain_db: float) -> float:
    """Decibels to a linear gain; minus infinity is 0.

    Raises:
        AudioError: for NaN, or more than 60 dB, which is a slip of the pen.
    """
    value = float(gain_db)
    if math.isnan(value) or value > 60.0:
        raise AudioError(f"A gain of {gain_db!r} dB cannot be used. Give -inf to 60 dB.")
    return 0.0 if value == -math.inf else 10.0 ** (value / 20.0)


def _as_float32(audio: Any) -> np.ndarray:
    array = np.asarray(audio)
    if array.dtype == np.float32:
        return array
    if array.dtype != np.float64:
        raise AudioError(
            f"Audio of type {array.dtype} cannot be processed. Convert it to float32 with "
            "full scale at 1.0, for example audio.astype('float32') / 32768 for 16 bits."
        )
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def leading_silence(block: np.ndarray) -> int:
    """How many samples of `(channels, samples)` come before the first that is not zero."""
    loud = block.any(axis=0)
    return int(loud.argmax()) if loud.any() else block.shape[1]
