"""Writing audio files: WAV, FLAC, MP3 and OGG, in pieces, whole or not at all.

An `AudioWriter` writes to a `Draft` beside the wanted place and moves it there when
everything is written, closed and counted; any exception removes it. It does no DSP beyond
clamping whole-number formats at full scale. Whatever goes wrong is one `AudioError` that
names the file and the way out (a full disk is said to be one).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import Draft, WholeOrNothing
from .errors import AudioError

FORMATS = ("wav", "flac", "mp3", "ogg")
BITS = ("16", "24", "32f")
_PCM = {"16": "PCM_16", "24": "PCM_24"}
_SUBTYPES: dict[str, dict[str, str]] = {
    "wav": _PCM | {"32f": "FLOAT"},
    "flac": _PCM,
    "mp3": dict.fromkeys(BITS, "MPEG_LAYER_III"),
    "ogg": dict.fromkeys(BITS, "VORBIS"),
}
_LOSSY_LEVEL = {"mp3": 0.0, "ogg": 0.2}
_WAV_LIMIT_BYTES = (1 << 32) - (1 << 20)
_WRITE_PIECE_SAMPLES = 1 << 15


def check_format(suffix: str, bits: str, sample_rate: int, channels: int) -> None:
    """Refuse what a format cannot hold. Raises AudioError that says which one can."""
    if suffix not in _SUBTYPES:
        raise AudioError(f"Cannot write .{suffix} files. Choose one of: {', '.join(FORMATS)}.")
    if bits not in BITS:
        raise AudioError(f"Cannot write {bits} bits. Choose one of: {', '.join(BITS)}.")
    if bits not in _SUBTYPES[suffix]:
        raise AudioError("FLAC holds whole numbers: use --bits 24, or -f wav for 32-bit float.")
    if suffix == "mp3" and (channels > 2 or not 8000 <= sample_rate <= 48000):
        raise AudioError(
            f"MP3 cannot hold {channels} channels at {sample_rate} Hz (at most 2, at 8000 to "
            "48000 Hz). Use -f flac or -f wav."
        )
    if suffix == "flac" and channels > 8:
        raise AudioError(f"FLAC cannot hold {channels} channels (at most 8). Use -f wav.")


class AudioWriter(WholeOrNothing):
    """A file being written; whole numbers are clamped at full scale, floats kept as they are.

    Leaving the context without an exception puts the file in its place.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        bits: str = "24",
        overwrite: bool = False,
        frames_hint: int | None = None,
    ) -> None:
        import soundfile

        self.path = Path(path)
        suffix = self.path.suffix.lstrip(".").lower()
        check_format(suffix, bits, sample_rate, channels)
        self.channels = channels
        self.frames = 0
        self._is_exact = suffix in ("wav", "flac")
        self._pcm_bits = int(bits) if self._is_exact and bits != "32f" else 0
        self._is_float = self._is_exact and not self._pcm_bits
        size_bytes = (frames_hint or 0) * channels * {"16": 2, "24": 3, "32f": 4}[bits]
        container = "RF64" if suffix == "wav" and size_bytes > _WAV_LIMIT_BYTES else suffix
        lossy: dict[str, Any] = {}
        if suffix in _LOSSY_LEVEL:
            lossy["compression_level"] = _LOSSY_LEVEL[suffix]
        if suffix == "mp3":
            lossy["bitrate_mode"] = "CONSTANT"
        try:
            self._draft = Draft(self.path, overwrite)
        except OSError as error:
            raise _cannot_write(self.path, error) from None
        try:
            self._file = soundfile.SoundFile(
                str(self._draft.temporary),
                "w",
                sample_rate,
                channels,
                _SUBTYPES[suffix][bits],
                format=container.upper(),
                **lossy,
            )
        except BaseException as error:
            self._draft.discard()
            if isinstance(error, RuntimeError | ValueError | OSError):
                raise _cannot_write(self.path, error) from None
            raise

    def write(self, block: np.ndarray) -> None:
        """Append float32 `(channels, samples)`."""
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise AudioError(f"{self.path} takes {self.channels} channels, not {block.shape}.")
        # In small pieces: some releases of the Vorbis encoder overflow their stack on long ones.
        for start in range(0, block.shape[1], _WRITE_PIECE_SAMPLES):
            piece = block[:, start : start + _WRITE_PIECE_SAMPLES]
            try:
                self._file.write(np.ascontiguousarray(self._encoded(piece).T))
            except (RuntimeError, AssertionError, OSError) as error:
                raise _cannot_write(self.path, error) from None
            self.frames += piece.shape[1]

    def _encoded(self, piece: np.ndarray) -> np.ndarray:
        """What soundfile takes. Whole numbers are rounded here: the library cuts them off."""
        if self._is_float:
            return piece.astype(np.float32, copy=False)
        if not self._pcm_bits:
            return np.clip(piece, -1.0, 1.0).astype(np.float32, copy=False)
        full_scale = 1 << (self._pcm_bits - 1)
        steps = np.clip(np.rint(piece.astype(np.float64) * full_scale), -full_scale, full_scale - 1)
        return steps.astype(np.int32) << (32 - self._pcm_bits)

    def finish(self) -> None:
        """Close the temporary file and check that it is whole; `commit` then moves it."""
        import soundfile

        try:
            self._file.close()
            written = soundfile.info(str(self._draft.temporary)).frames
        except (RuntimeError, OSError) as error:
            raise _cannot_write(self.path, error) from None
        if self._is_exact and written != self.frames:
            raise _cannot_write(self.path, OSError(f"{written} of {self.frames} samples arrived"))

    def commit(self) -> None:
        """Move the finished file to its place."""
        try:
            self._draft.commit()
        except OSError as error:
            raise _cannot_write(self.path, error) from None

    def discard(self) -> None:
        """Remove what was written; nothing happens after `commit`."""
        try:
            self._file.close()
        except (RuntimeError, OSError):
            pass
        finally:
            self._draft.discard()

    def _keep(self) -> None:
        self.finish()
        self.commit()


create_audio = AudioWriter


def write_audio(
    path: str | Path,
    audio: np.ndarray,
    sample_rate: int,
    bits: str = "24",
    overwrite: bool = False,
) -> None:
    """Write float32 `(channels, samples)` as one whole file. Raises AudioError."""
    with AudioWriter(path, sample_rate, audio.shape[0], bits, overwrite, audio.shape[1]) as file:
        file.write(audio)


def _cannot_write(path: Path, error: Exception) -> AudioError:
    if isinstance(error, FileExistsError):
        return AudioError(f"{path} exists already. Replace it with --overwrite, or move it away.")
    try:
        folder = next(p for p in path.resolve().parents if p.exists())
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < 1 << 20:
            return AudioError(
                f"{path} cannot be written: the disk is full ({free_bytes >> 10} KB free). "
                "Free some space, or choose another folder with -o."
            )
    except (OSError, StopIteration):
        pass
    reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or error
    return AudioError(
        f"{path} cannot be written ({str(reason).rstrip('.')}). Check the folder's permissions, "
        "or choose another with -o."
    )
