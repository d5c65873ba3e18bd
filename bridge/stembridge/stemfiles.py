"""The files of one separated track: several stems of equal length that belong together.

Stems may exceed full scale where they cancel in the mix. `clip="rescale"` turns all files
of the track down by one common gain, so that they still add up in a DAW; it has to know
every peak first, so until then the samples rest as float32 in a temporary file that has no
name. `clip="clamp"` cuts at full scale, and 32-bit float needs neither. All files come into
place together at the end, or none does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from .atomic import WholeOrNothing
from .audiofile_write import AudioWriter
from .errors import AudioError

CLIP_MODES = ("rescale", "clamp")
CEILING = 0.9999
_MEMORY_BYTES = 8 << 20
_PIECE_SAMPLES = 1 << 16


class StemSet(WholeOrNothing):
    """Writes float32 `(channels, samples)` blocks to one file per name.

    Args:
        paths: where each stem goes.
        bits: "16", "24" or "32f".
        clip: "rescale" or "clamp", for formats that end at full scale.
        frames_hint: expected length in samples, 0 if unknown.

    Leaving the context without an exception puts all files in their places; then `gain` is
    the common gain that was applied, and `frames` the length in samples.
    """

    def __init__(
        self,
        paths: dict[str, Path],
        sample_rate: int,
        channels: int,
        bits: str = "24",
        clip: str = "rescale",
        overwrite: bool = False,
        frames_hint: int = 0,
    ) -> None:
        self.gain = 1.0
        self.frames = 0
        self.peaks = dict.fromkeys(paths, 0.0)
        self._channels = channels
        self._writers: dict[str, AudioWriter] = {}
        self._spools: dict[str, IO[bytes]] = {}
        is_float = bits == "32f" and all(p.suffix.lower() == ".wav" for p in paths.values())
        try:
            for name, path in paths.items():
                self._writers[name] = AudioWriter(
                    path, sample_rate, channels, bits, overwrite, frames_hint
                )
                if clip == "rescale" and not is_float:
                    spool = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=str(path.parent))  # noqa: SIM115
                    self._spools[name] = spool
        except BaseException:
            self.discard()
            raise

    def write(self, name: str, block: np.ndarray) -> None:
        """Append to the stem `name`."""
        if block.size:
            self.peaks[name] = max(self.peaks[name], float(np.abs(block).max()))
        if name not in self._spools:
            self._writers[name].write(block)
            return
        try:
            self._spools[name].write(np.ascontiguousarray(block.T, dtype="<f4").tobytes())
        except OSError as error:
            folder = self._writers[name].path.parent
            raise AudioError(
                f"{folder} has no room for the samples in progress ({error.strerror}). Free "
                "some space, choose another folder with -o, or use --clip clamp."
            ) from None

    def commit(self) -> None:
        """Finish every file, then move all of them to their places."""
        peak = max(self.peaks.values(), default=0.0)
        if self._spools and peak > CEILING:
            self.gain = CEILING / peak
        for name, spool in self._spools.items():
            spool.seek(0)
            while data := spool.read(_PIECE_SAMPLES * self._channels * 4):
                block = np.frombuffer(data, dtype="<f4").reshape(-1, self._channels).T
                self._writers[name].write(block * np.float32(self.gain) if peak else block)
            spool.close()
        for writer in self._writers.values():
            writer.finish()
        for writer in self._writers.values():
            writer.commit()
        self.frames = max((w.frames for w in self._writers.values()), default=0)

    def discard(self) -> None:
        """Remove everything that is not in place yet."""
        for spool in self._spools.values():
            spool.close()
        for writer in reversed(self._writers.values()):  # the first one made the folder
            writer.discard()

    def _keep(self) -> None:
        self.commit()
