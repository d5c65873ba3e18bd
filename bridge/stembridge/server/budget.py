"""What a session's latency is made of, and the one deadline budget that the server adds.

Reported latency = adaptation of host blocks to separator steps + the separator's own
(look-ahead, resampling) + deadline + the plugin's cross-fade. The adaptation is that of
blocks of any size, since steps are counted from the first sound. The deadline is the host's
largest block, because a block that arrives in one callback can be answered in the next at
the earliest, and `COMPUTE_SECONDS` of the mode, in which a step must be worked out. It
depends on nothing that changes while a mode is used: not on load, not on whether the
server is there.

Example: 48 kHz, blocks up to 512, mode live with 40 ms: 512 + 1920 = 2432 samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..separators import Mode

if TYPE_CHECKING:
    from ..chain import SeparationChain

COMPUTE_SECONDS: dict[Mode, float] = {"live": 0.040, "mix": 0.150, "render": 0.500}
"""Time for one step's arithmetic, its own and that of the sessions before it in the queue."""
FADE_SECONDS = 0.005
"""The plugin's cross-fade, when no link says it."""


@dataclass(frozen=True)
class LatencyParts:
    """All in samples at the host's rate."""

    adaptation_samples: int = 0
    separator_samples: int = 0
    deadline_samples: int = 0
    fade_samples: int = 0

    @property
    def latency_samples(self) -> int:
        return (
            self.adaptation_samples
            + self.separator_samples
            + self.deadline_samples
            + self.fade_samples
        )

    @property
    def values(self) -> tuple[int, int, int, int, int]:
        """As OSC replies carry them: the sum, then the parts."""
        return (
            self.latency_samples,
            self.adaptation_samples,
            self.separator_samples,
            self.deadline_samples,
            self.fade_samples,
        )


def deadline_samples(mode: Mode, sample_rate: float, largest_block_samples: int) -> int:
    """One host block there and back, and the mode's time for a step."""
    return largest_block_samples + math.ceil(COMPUTE_SECONDS[mode] * sample_rate)


def latency_of(
    chain: SeparationChain,
    largest_block_samples: int,
    *,
    fade_samples: int | None = None,
) -> LatencyParts:
    """The parts for a host whose blocks reach `largest_block_samples`."""
    parts = chain.latency_parts()
    rate = chain.sample_rate
    if fade_samples is None:
        fade_samples = math.ceil(FADE_SECONDS * rate)
    return LatencyParts(
        parts["adaptation_samples"],
        parts["separator_samples"] + parts["resampler_samples"],
        deadline_samples(chain.mode, rate, largest_block_samples),
        fade_samples,
    )
