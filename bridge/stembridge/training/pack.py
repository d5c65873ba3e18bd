"""The folder of recordings: clips by an index, decoded once and kept as memory maps.

`index.csv` cuts long Opus chunks into clips. Decoding is slow and random access into
Opus is not exact, so each chunk is decoded whole, resampled to `SAMPLE_RATE` and kept in
the cache as float16 (its error lies 66 dB under the sample, far under the noise of the
recordings). Only audio inside a row of the index is ever handed out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

from ..errors import AudioError

SAMPLE_RATE = 44100
_COLUMNS = ("chunk", "start_s", "dur_s", "class", "label", "licence", "source", "name")


@dataclass(frozen=True)
class Clip:
    """One row of the index. Times in seconds inside the chunk."""

    chunk: str
    start_seconds: float
    duration_seconds: float
    kind: str
    label: str
    licence: str
    source: str
    name: str


def read_index(folder: Path) -> list[Clip]:
    """The clips of `folder/index.csv`.

    Raises:
        AudioError: when the index is missing, has no rows, or a row is broken.
    """
    path = folder / "index.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or [])]
            if missing:
                raise AudioError(
                    f"{path} lacks the columns {', '.join(missing)}. "
                    f"The first line must name: {', '.join(_COLUMNS)}."
                )
            clips = []
            for row in reader:
                try:
                    clips.append(
                        Clip(
                            row["chunk"],
                            float(row["start_s"]),
                            float(row["dur_s"]),
                            *(row[c] for c in _COLUMNS[3:]),
                        )
                    )
                except (TypeError, ValueError) as error:
                    raise AudioError(
                        f"{path}, line {reader.line_num}: start_s and dur_s must be numbers."
                    ) from error
    except OSError as error:
        raise AudioError(
            f"Cannot read {path}. Give the folder that holds index.csv, as --data FOLDER."
        ) from error
    if not clips:
        raise AudioError(f"{path} has no rows: there is nothing to train on.")
    return clips


class Pack:
    """Random access to the clips of a folder. Not thread-safe while it decodes.

    Args:
        folder: holds `index.csv` and the chunks it names.
        cache: where decoded chunks are kept; made when missing.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache / "chunks"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.clips = read_index(folder)
        self._open: dict[str, np.ndarray] = {}

    def of(self, *kinds: str) -> list[Clip]:
        """The clips of the given classes, in the order of the index."""
        return [clip for clip in self.clips if clip.kind in kinds]

    def kinds(self) -> list[str]:
        """The classes of the index, in order of first appearance."""
        return list(dict.fromkeys(clip.kind for clip in self.clips))

    def decode_all(self) -> Iterator[tuple[int, int]]:
        """Decode what the cache lacks, yielding (chunks finished, chunks in all)."""
        chunks = sorted({clip.chunk for clip in self.clips})
        for number, chunk in enumerate(chunks):
            self._samples(chunk)
            yield number + 1, len(chunks)

    def audio(self, clip: Clip) -> np.ndarray:
        """The samples of a clip: float32 `(samples,)` at `SAMPLE_RATE`, mono."""
        samples = self._samples(clip.chunk)
        start = round(clip.start_seconds * SAMPLE_RATE)
        stop = start + round(clip.duration_seconds * SAMPLE_RATE)
        return np.asarray(samples[start:stop], dtype=np.float32)

    def _samples(self, chunk: str) -> np.ndarray:
        if chunk not in self._open:
            path = self.cache / (chunk + ".npy")
            if not path.exists():
                decoded = _decode(self.folder / chunk)
                # written aside and renamed, so that a killed run leaves no half file
                aside = path.with_suffix(".part.npy")
                np.save(aside, decoded.astype(np.float16))
                aside.rename(path)
            self._open[chunk] = np.load(path, mmap_mode="r")
        return self._open[chunk]


def _decode(path: Path) -> np.ndarray:
    try:
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        raise AudioError(
            f"Cannot decode {path}, which the index names. Fetch the folder again."
        ) from error
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        divisor = np.gcd(rate, SAMPLE_RATE)
        mono = resample_poly(mono, SAMPLE_RATE // divisor, rate // divisor)
    return np.clip(mono, -60000, 60000)
