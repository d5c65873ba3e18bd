"""Shelves: each part's rows of finished material in one long file, drawn from at random.

`<part>.pcm` is raw interleaved stereo int16 at `SAMPLE_RATE`; `<part>.json` lists its
rows: where each starts, how long it is, how it was made, and which song it belongs to.
`<part>.loud` holds the level of every tenth of a second, so that a crop of silence can be
refused without reading it. Building is resumable by part: a part without its `.json` is
made again from nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import AudioError
from .material import Material
from .pack import SAMPLE_RATE

LEVEL_HOP = SAMPLE_RATE // 10
"""Samples per entry of the level table."""


@dataclass(frozen=True)
class Row:
    """One row of a shelf. `song` is "pass/slot" for rows that align with others, else ""."""

    start: int
    samples: int
    way: str
    song: str
    key: str


def build_shelf(material: Material, part: str, folder: Path) -> float:
    """Make a part's shelf unless it is there; returns its length in seconds."""
    table = folder / f"{part}.json"
    if table.exists():
        return sum(row["samples"] for row in json.loads(table.read_text())) / SAMPLE_RATE
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    levels: list[np.ndarray] = []
    start = 0
    with (folder / f"{part}.pcm").open("wb") as file:
        for job in material.jobs():
            if job.part != part:
                continue
            audio = material.make_row(job)
            count = audio.shape[1] // LEVEL_HOP * LEVEL_HOP  # rows start on the level grid
            audio = audio[:, :count]
            if count == 0 or not np.abs(audio).max() > 1e-3:
                continue
            file.write(np.round(audio.T * 32767).astype("<i2").tobytes())
            power = np.square(audio).mean(axis=0).reshape(-1, LEVEL_HOP).mean(axis=1)
            levels.append(np.sqrt(power).astype(np.float32))
            song = f"{job.song[0]}/{job.song[1]}" if job.song else ""
            rows.append(Row(start, count, job.way, song, job.key))
            start += count
    np.save(folder / f"{part}.loud.npy", np.concatenate([*levels, np.zeros(0, np.float32)]))
    table.write_text(json.dumps([asdict(row) for row in rows]))
    return start / SAMPLE_RATE


class Shelf:
    """A part's rows, open for reading. `draw` gives crops that are not silent."""

    def __init__(self, folder: Path, part: str) -> None:
        try:
            rows = json.loads((folder / f"{part}.json").read_text())
            self.rows = [Row(**row) for row in rows]
            self._levels = np.load(folder / f"{part}.loud.npy")
        except (OSError, ValueError, TypeError) as error:
            raise AudioError(
                f"The shelf {part!r} in {folder} is broken or missing. Remove its files and "
                "start the training again: it is made anew."
            ) from error
        path = folder / f"{part}.pcm"
        total = path.stat().st_size // 4
        self._pcm = (
            np.memmap(path, dtype="<i2", mode="r").reshape(-1, 2)
            if total
            else np.zeros((0, 2), dtype=np.int16)
        )
        self.part = part
        self.by_song = {row.song: row for row in self.rows if row.song}
        self.by_way: dict[str, list[Row]] = {}
        for row in self.rows:
            self.by_way.setdefault(row.way, []).append(row)

    def crop(self, row: Row, offset: int, samples: int) -> np.ndarray:
        """Samples `offset…` of a row: float32 `(2, samples)`, zeros past its end."""
        out = np.zeros((2, samples), dtype=np.float32)
        first = max(0, offset)
        count = min(samples, row.samples - first)
        if count > 0:
            piece = self._pcm[row.start + first : row.start + first + count]
            out[:, :count] = piece.T.astype(np.float32) / 32768
        return out

    def level(self, row: Row, offset: int, samples: int) -> float:
        """Root mean square of a crop, to a tenth of a second."""
        first = (row.start + max(0, offset)) // LEVEL_HOP
        last = (row.start + min(row.samples, offset + samples)) // LEVEL_HOP
        part = self._levels[first:last]
        return float(np.sqrt(np.mean(part**2))) if part.size else 0.0

    def draw(
        self, rng: np.random.Generator, samples: int, ways: dict[str, float] | None = None
    ) -> np.ndarray:
        """A crop of a random row, loud enough to count as present.

        Args:
            ways: share of each way of making; missing ways are left out. Without it every
                second of the shelf is equally likely.
        """
        rows = self.rows
        if ways:
            here = [way for way in ways if way in self.by_way]
            if here:
                weights = np.array([ways[way] for way in here])
                rows = self.by_way[here[int(rng.choice(len(here), p=weights / weights.sum()))]]
        out = np.zeros((2, samples), dtype=np.float32)
        for _ in range(8):
            row = rows[int(rng.integers(len(rows)))]
            offset = int(rng.integers(0, max(1, row.samples - samples)))
            if self.level(row, offset, samples) > 0.01:
                return self.crop(row, offset, samples)
            out = self.crop(row, offset, samples)
        return out
