"""The curve of a tuning run as a picture: held-out SDR over steps, mean and result marked."""

from __future__ import annotations

from pathlib import Path

from ..errors import NotAvailableError
from .tune import TuningReport


def plot_curve(report: TuningReport, title: str, path: Path) -> None:
    """Write the curve as PNG to `path`.

    Raises:
        NotAvailableError: matplotlib is not installed (extra `[plot]`).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NotAvailableError(
            'The plot needs matplotlib. Install it with: pip install "stembridge[plot]"'
        ) from None
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    steps, scores = zip(*report.curve, strict=True)
    axes.plot(steps, scores, color="#2a7fb8", linewidth=2, label="held-out mixtures, choosing")
    axes.axhline(scores[0], color="#888888", linestyle="--", label="mean of the clips")
    axes.set_xlabel("step")
    axes.set_ylabel("SDR (dB)")
    axes.set_title(f"{title}: {'kept' if report.kept else 'mean kept'}, {report.gain_db:+.1f} dB")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
