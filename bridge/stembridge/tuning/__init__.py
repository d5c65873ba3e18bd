"""Audio Prompt Tuning: learn a prompt from a few clips, the separator frozen.

`tune` makes the preset; `probe` says how much of a mix a prompt takes and whether it fits.
The files below are, from the outside in: `tune` (the whole), `clips` (a person's material),
`interferers` (what to ignore), `mixtures` (both together), `learn` (the gradient steps).
"""

from __future__ import annotations

from .tune import TuningReport, TuningResult, tune

__all__ = ["TuningReport", "TuningResult", "tune"]
