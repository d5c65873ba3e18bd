"""What decides the outcome of a training, and how it is read back.

Settings are stored in every checkpoint, and a run resumes only under the settings it began
with (its length apart). Invariants: frozen; unknown keys are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import CheckpointError


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run, besides the data and the first weights."""

    seed: int = 1
    steps: int = 2000
    batch: int = 4
    accumulate: int = 2
    rate: float = 3e-4
    prompt_rate_factor: float = 4.0
    warmup_steps: int = 50
    final_rate_share: float = 0.05
    average_decay: float = 0.995
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    freeze_encoder: bool = False
    phase_aware: bool = True
    raw_weight: float = 0.1
    bfloat16: bool = False
    sound_batch: int = 0
    """Pairs of sounds per step beside the bands; 0 trains the stems alone."""
    band_share: float = 0.35
    """Share of those in which one instrument of a band is wanted."""
    name_share: float = 0.5
    """How often a sound that has a name is asked for by it instead of by a clip."""
    contrast_weight: float = 0.05

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to `final_rate_share` of the rate."""
        if step < self.warmup_steps:
            return self.rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        low = self.final_rate_share
        return self.rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def settings_from(stored: dict) -> Settings:
    """Settings of a checkpoint or a JSON file; unknown keys are refused."""
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(stored) - known)
    if unknown:
        raise CheckpointError(
            f"Unknown training settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
        )
    return Settings(**stored)
