"""Audio files in pieces, in bounded memory: reading any format, writing by `audiofile_write`.

Reading tries soundfile, then pedalboard, then the `ffmpeg` program where there is one (for
M4A and the like). Blocks are float32 `(channels, samples)` as the file holds them: no
resampling, no mixing, no scaling. Whatever goes wrong is one `AudioError` that names the
file. The names for writing are here too, so that callers need one module.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .audiofile_write import (
    BITS,
    FORMATS,
    AudioWriter,
    check_format,
    create_audio,
    write_audio,
)
from .errors import AudioError

__all__ = [
    "BITS",
    "FORMATS",
    "SUFFIXES",
    "AudioReader",
    "AudioWriter",
    "check_format",
    "create_audio",
    "open_audio",
    "read_audio",
    "write_audio",
]

BLOCK_SAMPLES = 1 << 16
SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("wav", "wave", "w64", "rf64", "flac", "aif", "aiff", "aifc", "caf", "au", "snd"),
        *("mp3", "ogg", "oga", "opus", "m4a", "mp4", "aac", "alac", "wma", "wv", "ape"),
    )
)
"""What is taken for audio when a folder is searched."""


class AudioReader(ABC):
    """An open audio file. `frames` is a hint: what really comes may be less or more."""

    path: Path
    sample_rate: int
    channels: int
    frames: int | None

    @abstractmethod
    def read(self, samples: int) -> np.ndarray:
        """The next float32 `(channels, up to samples)`; `(channels, 0)` at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; may be called twice."""

    def blocks(self, block_samples: int = BLOCK_SAMPLES) -> Iterator[np.ndarray]:
        """The rest of the file in blocks of `block_samples`; the last may be shorter."""
        while True:
            block = self.read(block_samples)
            if block.shape[1] == 0:
                return
            yield block

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _SoundfileReader(AudioReader):
    def __init__(self, path: Path) -> None:
        import soundfile

        self.path = path
        self._file = soundfile.SoundFile(str(path))
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.frames = int(self._file.frames) if 0 <= self._file.frames < 1 << 48 else None

    def read(self, samples: int) -> np.ndarray:
        try:
            block = self._file.read(samples, dtype="float32", always_2d=True)
        except RuntimeError as error:
            raise AudioError(
                f"{self.path} is damaged after {self._file.tell() / self.sample_rate:.1f} s "
                f"({error}). Export or convert it again."
            ) from None
        return np.ascontiguousarray(np.asarray(block).T)

    def close(self) -> None:
        self._file.close()


class _PedalboardReader(AudioReader):
    def __init__(self, path: Path) -> None:
        from pedalboard.io import AudioFile

        self.path = path
        self._file: Any = AudioFile(str(path))
        self.sample_rate = round(self._file.samplerate)
        self.channels = int(self._file.num_channels)
        self.frames = int(self._file.frames)

    def read(self, samples: int) -> np.ndarray:
        try:
            return np.ascontiguousarray(self._file.read(samples), dtype=np.float32)
        except (RuntimeError, ValueError) as error:
            raise AudioError(f"{self.path} is damaged ({error}). Convert it again.") from None

    def close(self) -> None:
        self._file.close()


class _FfmpegReader(AudioReader):
    """Owns one ffmpeg process; it may open nothing but the file it was given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        guard = ["-v", "error", "-protocol_whitelist", "file,pipe"]
        shown = "stream=sample_rate,channels,duration"
        probe = [_program("ffprobe"), *guard, "-select_streams", "a:0", "-of", "json"]
        told = subprocess.run(
            [*probe, "-show_entries", shown, f"file:{path}"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        streams = json.loads(told.stdout or b"{}").get("streams", [])
        if not streams:
            raise ValueError(told.stderr.decode(errors="replace").strip() or "no sound in it")
        self.sample_rate = int(streams[0]["sample_rate"])
        self.channels = int(streams[0]["channels"])
        seconds = float(streams[0].get("duration", 0) or 0)
        self.frames = round(seconds * self.sample_rate) or None
        command = [_program("ffmpeg"), *guard, "-nostdin", "-i", f"file:{path}", "-map", "0:a:0"]
        self._process = subprocess.Popen(
            [*command, "-f", "f32le", "-c:a", "pcm_f32le", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def read(self, samples: int) -> np.ndarray:
        assert self._process.stdout is not None
        data = self._process.stdout.read(samples * self.channels * 4)
        if len(data) < samples * self.channels * 4 and self._process.wait() != 0:
            raise AudioError(f"{self.path} is damaged (ffmpeg stopped). Convert it again.")
        whole = len(data) // (4 * self.channels) * self.channels
        block = np.frombuffer(data, dtype="<f4", count=whole).reshape(-1, self.channels)
        return np.ascontiguousarray(block.T, dtype=np.float32)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ValueError(f"{name} is not installed")
    return found


def open_audio(path: str | Path) -> AudioReader:
    """Open an audio file for reading in blocks; use it in a `with` statement.

    Raises:
        AudioError: for a missing, empty or unreadable file, or one that is not audio.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder. Name an audio file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"{path} is empty (0 bytes). Export or copy it again.")
    except FileNotFoundError:
        raise AudioError(f"There is no file {path}. Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{path} cannot be read ({reason}). Check its permissions.") from None
    first = ""
    for reader in (_SoundfileReader, _PedalboardReader, _FfmpegReader):
        try:
            opened = reader(path)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            first = first or str(getattr(error, "error_string", error)).rstrip(".")
            continue
        if 1 <= opened.channels <= 1024 and opened.sample_rate > 0:
            return opened
        opened.close()
        first = first or f"{opened.channels} channels at {opened.sample_rate} Hz"
    more = "" if shutil.which("ffmpeg") else ", or install ffmpeg"
    raise AudioError(
        f"{path} is not audio that can be read here ({first}). Convert it to WAV or FLAC{more}."
    )


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """A whole file: float32 `(channels, samples)` and its rate in Hz. Raises AudioError."""
    with open_audio(path) as reader:
        blocks = list(reader.blocks(1 << 20))
        if not blocks:
            return np.zeros((reader.channels, 0), dtype=np.float32), reader.sample_rate
        return np.concatenate(blocks, axis=1), reader.sample_rate
