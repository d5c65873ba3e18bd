"""A picture of one separation: waveforms and spectrograms of mixture, target and remainder.

`Picture` collects while the audio streams by and keeps a bounded number of columns: when
there are too many, neighbours are joined and the step doubles, so an hour costs no more
memory than a minute. All three rows share one scale, so that levels can be compared. The
drawing needs matplotlib (extra `plot`); nothing here shows a window.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import Draft
from .errors import AudioError, NotAvailableError

ROWS = ("mixture", "target (kept)", "remainder (removed)")
MAX_COLUMNS = 1600
WINDOW_SAMPLES = 4096
FIRST_STEP_SAMPLES = 512
BANDS = 220
LOWEST_HZ = 30.0
RANGE_DB = 80.0
_COLOURS = ("#5b6472", "#0f9d8a", "#d9722b")
_MAPS = ("bone", "viridis", "inferno")


def require_matplotlib() -> None:
    """Raises NotAvailableError, with the way out, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NotAvailableError(
            'Pictures need matplotlib. Install it with: pip install "stembridge[plot]"'
        )


class Picture:
    """Collects float32 `(channels, samples)` of three aligned signals, then draws them.

    Args:
        title: stands above the picture.
        sample_rate: in Hz.
    """

    def __init__(self, title: str, sample_rate: int) -> None:
        self.title = title
        self.sample_rate = sample_rate
        self.samples = 0
        self._step = FIRST_STEP_SAMPLES
        self._tail = np.zeros((3, 1, 0), dtype=np.float32)
        self._low: list[np.ndarray] = []
        self._high: list[np.ndarray] = []
        self._power: list[np.ndarray] = []
        self._window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
        self._edges = _band_edges(sample_rate)
        self._history = np.zeros((3, WINDOW_SAMPLES), dtype=np.float32)

    def add(self, mixture: np.ndarray, target: np.ndarray, remainder: np.ndarray) -> None:
        """Append a block of each; the blocks have one shape."""
        block = np.stack([mixture, target, remainder])
        self.samples += block.shape[2]
        if self._tail.shape[1] != block.shape[1]:
            self._tail = np.zeros((3, block.shape[1], 0), dtype=np.float32)
        held = np.concatenate([self._tail, block], axis=2)
        while held.shape[2] >= self._step:
            self._add_column(held[:, :, : self._step])
            held = held[:, :, self._step :]
            if len(self._low) > 2 * MAX_COLUMNS and len(self._low) % 2 == 0:
                self._join_neighbours()
        self._tail = held

    def _add_column(self, piece: np.ndarray) -> None:
        self._low.append(piece.min(axis=(1, 2)))
        self._high.append(piece.max(axis=(1, 2)))
        middle = piece.mean(axis=1)
        recent = np.concatenate([self._history, middle], axis=1)[:, -WINDOW_SAMPLES:]
        self._history = recent
        power = np.abs(np.fft.rfft(recent * self._window, axis=1)) ** 2
        self._power.append(np.maximum.reduceat(power, self._edges[:-1], axis=1).astype(np.float32))

    def _join_neighbours(self) -> None:
        self._low = [np.minimum(a, b) for a, b in zip(self._low[::2], self._low[1::2], strict=True)]
        self._high = [
            np.maximum(a, b) for a, b in zip(self._high[::2], self._high[1::2], strict=True)
        ]
        self._power = [
            (a + b) / 2 for a, b in zip(self._power[::2], self._power[1::2], strict=True)
        ]
        self._step *= 2

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Draw into a PNG file of about 1500 x 1100 points.

        Raises:
            NotAvailableError: without matplotlib.
            AudioError: if there is nothing to draw, or the file cannot be written.
        """
        require_matplotlib()
        path = Path(path)
        if self.samples == 0:
            raise AudioError(f"{path}: there is no sound to draw.")
        if self._tail.shape[2]:
            self._add_column(self._tail)
            self._tail = self._tail[:, :, :0]
        figure = self._draw()
        try:
            with Draft(path, overwrite) as draft:
                figure.savefig(draft.temporary, format="png", dpi=110)
        except OSError as error:
            raise AudioError(
                f"{path} cannot be written ({error.strerror or error}). Use --overwrite to "
                "replace a picture, or choose another folder."
            ) from None
        return path

    def _draw(self) -> Any:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        low, high = np.array(self._low).T, np.array(self._high).T
        level_db = 10 * np.log10(np.stack(self._power, axis=2) + 1e-20)
        top_db = float(level_db[0].max())
        seconds = self.samples / self.sample_rate
        figure = Figure(figsize=(13.5, 10), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(self.title, fontsize=14, fontweight="bold", parse_math=False)
        grid = figure.add_gridspec(6, 1, height_ratios=(1, 2.2) * 3)
        peak = max(1e-3, float(max(np.abs(low).max(), high.max())))
        times = np.linspace(0, seconds, low.shape[1])
        for row, name in enumerate(ROWS):
            wave = figure.add_subplot(grid[2 * row])
            wave.fill_between(times, low[row], high[row], color=_COLOURS[row], linewidth=0.3)
            wave.set_xlim(0, seconds)
            wave.set_ylim(-1.05 * peak, 1.05 * peak)
            wave.set_ylabel("level", fontsize=9)
            rms_db = _peak_db(low[row], high[row])
            wave.set_title(f"{name}   peak {rms_db}", loc="left", fontsize=11, color=_COLOURS[row])
            wave.tick_params(labelbottom=False, labelsize=8)
            wave.grid(alpha=0.25, linewidth=0.5)
            heat = figure.add_subplot(grid[2 * row + 1])
            image = heat.imshow(
                level_db[row] - top_db,
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, BANDS),
                vmin=-RANGE_DB,
                vmax=0,
                cmap=_MAPS[row],
                interpolation="nearest",
            )
            ticks, labels = _frequency_ticks(self.sample_rate)
            heat.set_yticks(ticks, labels, fontsize=8)
            heat.set_ylabel("frequency (Hz)", fontsize=9)
            heat.xaxis.set_major_formatter(_clock)
            heat.tick_params(axis="x", labelsize=8)
            bar = figure.colorbar(image, ax=heat, pad=0.01, fraction=0.03)
            bar.set_label("dB below the loudest", fontsize=8)
            bar.ax.tick_params(labelsize=8)
            if row == len(ROWS) - 1:
                heat.set_xlabel("time (minutes:seconds)", fontsize=9)
        return figure


def _band_edges(sample_rate: int) -> np.ndarray:
    """Bin numbers where each of the BANDS bands starts, evenly in the logarithm; each band
    has a bin of its own or repeats its neighbour's."""
    top_hz = sample_rate / 2
    edges_hz = np.geomspace(min(LOWEST_HZ, top_hz / 4), top_hz, BANDS + 1)
    bins = np.floor(edges_hz / sample_rate * WINDOW_SAMPLES).astype(int)
    return np.clip(bins, 0, WINDOW_SAMPLES // 2)


def _frequency_ticks(sample_rate: int) -> tuple[list[float], list[str]]:
    top_hz = sample_rate / 2
    bottom_hz = min(LOWEST_HZ, top_hz / 4)
    shown = [f for f in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 40000) if f < top_hz]
    ticks = [BANDS * np.log(f / bottom_hz) / np.log(top_hz / bottom_hz) for f in shown]
    return ticks, [f"{f // 1000} k" if f >= 1000 else str(f) for f in shown]


def _peak_db(low: np.ndarray, high: np.ndarray) -> str:
    peak = float(max(np.abs(low).max(), np.abs(high).max()))
    return f"{20 * np.log10(peak):.1f} dBFS" if peak > 0 else "silent"


def _clock(value: float, position: float = 0.0) -> str:
    minutes, seconds = divmod(max(0.0, value), 60)
    text = f"{seconds:04.1f}" if value % 1 else f"{seconds:02.0f}"
    return f"{int(minutes)}:{text}"
