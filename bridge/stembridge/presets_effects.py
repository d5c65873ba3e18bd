"""The effects that a preset may carry: which pedalboard plugins, which parameters, what range.

The table is an allow-list. A preset can come from a stranger, so it names effects and
numbers, never classes, files or external plugins. Every effect here is without latency,
which keeps the output aligned with the input; `tests/test_presets_effects.py` holds the
table against pedalboard itself (names, defaults, both ends of each range, no delay).
Nothing here imports pedalboard before an effect is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import PresetError

if TYPE_CHECKING:
    import pedalboard

LADDER_MODES = ("LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24")
_CUTOFF_HZ = (10.0, 40000.0)
_GAIN_DB = (-60.0, 60.0)
_Q = (0.05, 20.0)
_ATTACK_MS = (0.01, 1000.0)
_RELEASE_MS = (1.0, 5000.0)
_PART = (0.0, 1.0)
_SWEEP_HZ = (0.0, 99.0)

Range = tuple[float, float]
EFFECTS: dict[str, dict[str, Range]] = {
    "Bitcrush": {"bit_depth": (1.0, 32.0)},
    "Chorus": {
        "rate_hz": _SWEEP_HZ,
        "depth": _PART,
        "centre_delay_ms": (1.0, 100.0),
        "feedback": (-0.99, 0.99),
        "mix": _PART,
    },
    "Clipping": {"threshold_db": (-100.0, 0.0)},
    "Compressor": {
        "threshold_db": (-100.0, 20.0),
        "ratio": (1.0, 100.0),
        "attack_ms": _ATTACK_MS,
        "release_ms": _RELEASE_MS,
    },
    "Delay": {"delay_seconds": (0.0, 30.0), "feedback": (0.0, 0.99), "mix": _PART},
    "Distortion": {"drive_db": (0.0, 80.0)},
    "Gain": {"gain_db": (-120.0, 60.0)},
    "HighShelfFilter": {"cutoff_frequency_hz": _CUTOFF_HZ, "gain_db": _GAIN_DB, "q": _Q},
    "HighpassFilter": {"cutoff_frequency_hz": _CUTOFF_HZ},
    "Invert": {},
    "LadderFilter": {
        "cutoff_hz": _CUTOFF_HZ,
        "resonance": _PART,
        "drive": (1.0, 100.0),
    },
    "Limiter": {"threshold_db": (-60.0, 0.0), "release_ms": _RELEASE_MS},
    "LowShelfFilter": {"cutoff_frequency_hz": _CUTOFF_HZ, "gain_db": _GAIN_DB, "q": _Q},
    "LowpassFilter": {"cutoff_frequency_hz": _CUTOFF_HZ},
    "NoiseGate": {
        "threshold_db": (-120.0, 0.0),
        "ratio": (1.0, 100.0),
        "attack_ms": _ATTACK_MS,
        "release_ms": _RELEASE_MS,
    },
    "PeakFilter": {"cutoff_frequency_hz": _CUTOFF_HZ, "gain_db": _GAIN_DB, "q": _Q},
    "Phaser": {
        "rate_hz": _SWEEP_HZ,
        "depth": _PART,
        "centre_frequency_hz": (10.0, 20000.0),
        "feedback": (-0.99, 0.99),
        "mix": _PART,
    },
    "Reverb": {
        "room_size": _PART,
        "damping": _PART,
        "wet_level": _PART,
        "dry_level": _PART,
        "width": _PART,
        "freeze_mode": _PART,
    },
}
"""Effect name to its parameters with their least and greatest value."""


@dataclass(frozen=True)
class EffectSpec:
    """One effect of a preset: a pedalboard plugin by name, with the parameters it changes.

    `parameters` maps names to numbers (`LadderFilter` also takes `mode`, one of
    `LADDER_MODES`); what is not given keeps pedalboard's default.

    Raises:
        PresetError: for an effect or a parameter that is not in `EFFECTS`, or out of range.
    """

    plugin: str
    parameters: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = effect_problem(self.plugin, dict(self.parameters))
        if problem is not None:
            raise PresetError(f"The effect {self.plugin!r}: {problem}")
        frozen = {
            name: value if isinstance(value, str) else float(value)
            for name, value in self.parameters.items()
        }
        object.__setattr__(self, "parameters", MappingProxyType(frozen))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EffectSpec):
            return NotImplemented
        return (self.plugin, dict(self.parameters)) == (other.plugin, dict(other.parameters))

    def __hash__(self) -> int:
        return hash((self.plugin, tuple(sorted(self.parameters.items()))))

    def build(self, sample_rate_hz: float | None = None) -> pedalboard.Plugin:
        """A fresh pedalboard plugin without latency. Corner frequencies that lie above what
        `sample_rate_hz` can carry are moved just under half of it: a filter set for 96 kHz
        would be unstable at 8 kHz."""
        import pedalboard

        values: dict[str, Any] = dict(self.parameters)
        if sample_rate_hz is not None:
            for name in values:
                if name in ("cutoff_frequency_hz", "cutoff_hz", "centre_frequency_hz"):
                    values[name] = min(values[name], 0.49 * sample_rate_hz)
        if "mode" in values:
            values["mode"] = getattr(pedalboard.LadderFilter.Mode, values["mode"])
        return getattr(pedalboard, self.plugin)(**values)


def effect_problem(plugin: object, parameters: Mapping[str, object]) -> str | None:
    """What is wrong with an effect, as a sentence that says what to do, or None."""
    if not isinstance(plugin, str) or plugin not in EFFECTS:
        close = get_close_matches(str(plugin), EFFECTS, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return f"presets cannot hold it. {hint}They can hold: {', '.join(EFFECTS)}."
    ranges = EFFECTS[plugin]
    for name, value in parameters.items():
        if plugin == "LadderFilter" and name == "mode":
            if value not in LADDER_MODES:
                return f"its mode cannot be {value!r}. Choose one of: {', '.join(LADDER_MODES)}."
            continue
        if name not in ranges:
            known = ", ".join(ranges) or "none"
            return f"it has no parameter {name!r}. It has: {known}."
        low, high = ranges[name]
        number = value if isinstance(value, int | float) else math.nan
        if isinstance(value, bool) or not low <= number <= high:
            return f"its {name} cannot be {value!r}. Give a number from {low:g} to {high:g}."
    return None
