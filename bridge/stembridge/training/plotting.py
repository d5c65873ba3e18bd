"""A training log as a picture: the smoothed losses above, real songs below."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..errors import NotAvailableError, StembridgeError

_LOSSES = ("drums", "bass", "other", "sound")
_FIGURES = ("vocals", "drums", "bass", "other")


def plot_log(log: Path, picture: Path, smooth_steps: int = 50) -> None:
    """Draw `log` (JSON lines) into `picture` (PNG).

    Raises:
        NotAvailableError: without matplotlib.
        StembridgeError: a log that is missing or empty.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise NotAvailableError(
            'Plotting needs matplotlib: pip install "stembridge[plot]".'
        ) from error
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise StembridgeError(f"Cannot read the training log {log}.") from error
    steps = [line for line in lines if not line.get("validation")]
    checks = [line for line in lines if line.get("validation")]
    if not steps:
        raise StembridgeError(f"The training log {log} has no steps yet.")
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 7), sharex=True)
    at = np.array([line["step"] for line in steps])
    for name in _LOSSES:
        values = np.array([line.get(name, np.nan) for line in steps], dtype=float)
        if np.isfinite(values).any():
            width = min(smooth_steps, len(values))
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            above.plot(at[width - 1 :], smooth, label=name)
    above.set_ylabel(f"loss, mean of {smooth_steps} steps")
    above.legend()
    for name in _FIGURES:
        points = [(line["step"], line[name]) for line in checks if name in line]
        if points:
            below.plot(*zip(*points, strict=True), marker="o", label=name)
    below.set_ylabel("SDR on real songs, dB")
    below.set_xlabel("step")
    if below.lines:
        below.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
