"""Example clips inside presets: 24-bit FLAC, and float32 again.

Clips may exceed full scale, which FLAC cannot, so a power of two is divided out and written
beside them. What comes from strangers is measured by its header before it is decoded.
"""

from __future__ import annotations

import io
import math

import numpy as np

from .presets_limits import MAX_CLIP_CHANNELS, MAX_CLIP_SECONDS, MAX_CLIP_VALUES
from .prompts import Clip

_FULL_SCALE = 1 << 23


def encode_flac(clip: Clip) -> tuple[bytes, float]:
    """FLAC bytes and the power of two that they were divided by (clips may exceed 1)."""
    import soundfile

    audio = np.asarray(clip.audio, dtype=np.float64)
    peak = float(np.abs(audio).max())
    scale = 2.0 ** math.ceil(math.log2(peak)) if peak > 1.0 else 1.0
    steps = np.clip(np.rint(audio / scale * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    pcm = (steps.astype(np.int32) << 8).T
    soundfile.write(buffer, pcm, clip.sample_rate, format="FLAC", subtype="PCM_24")
    return buffer.getvalue(), scale


def decode_clip(data: bytes, scale: float, most_values: int) -> tuple[np.ndarray, int]:
    """Float32 `(channels, samples)`, at most so many numbers, and the rate.

    A few bytes of silence can stand for hours of it, so the header is asked first.

    Raises:
        ValueError: with the reason.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / max(1, file.samplerate)
            if file.channels > MAX_CLIP_CHANNELS or not 0 < seconds <= MAX_CLIP_SECONDS:
                raise ValueError(f"it lasts {seconds:.1f} s with {file.channels} channels")
            if file.frames * file.channels > most_values:
                raise ValueError(
                    f"with it, the clips are larger than {MAX_CLIP_VALUES >> 20} million samples"
                )
            if file.subtype in ("PCM_S8", "PCM_16", "PCM_24"):
                pcm = np.asarray(file.read(dtype="int32", always_2d=True), dtype=np.int32)
                audio = (pcm >> 8).astype(np.float32) * np.float32(scale / _FULL_SCALE)
            else:
                audio = np.asarray(file.read(dtype="float32", always_2d=True))
                audio = audio * np.float32(scale)
            return np.ascontiguousarray(audio.T), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"it cannot be decoded ({error.error_string})") from None
