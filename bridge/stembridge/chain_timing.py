"""When a chain answers, in host samples: its delay, what that is made of, its steps.

The delay follows from the host's rate and the separator's rate, step and look-ahead alone,
so it is the same for every chain of one mode and never changes while one runs. The sum of
`latency_parts` is the delay.
"""

from __future__ import annotations

from functools import lru_cache

from .chain_streams import StemStreams
from .latency import BlockTiming, latency_samples
from .resample import Resampler
from .separators import Separator, SeparatorStream


class ChainTiming:
    """The timing of `SeparationChain`, which sets both attributes. Adds no delay itself."""

    latency_samples: int
    _stems: StemStreams

    @property
    def streams(self) -> list[SeparatorStream]:
        """The separator's streams, for who advances several chains in one call."""
        return self._stems.streams

    def latency_parts(self) -> dict[str, int]:
        """What the latency is made of, which is that of blocks of any size.

        `separator_samples` is its look-ahead, `resampler_samples` that of both rate
        changes, `adaptation_samples` the wait for whole steps. Their sum is the latency.
        Blocks of one size need no less: the first sound, from which steps are counted, may
        come anywhere in a block.
        """
        total = self.latency_samples
        resampler = self._stems.resampler_samples
        separator = int(self.streams[0].lookahead_samples * self._stems.rate_ratio)
        return {
            "separator_samples": separator,
            "resampler_samples": resampler,
            "adaptation_samples": total - separator - resampler,
        }

    @property
    def step_samples_host(self) -> float:
        """The separator's step; not a whole number where rates differ."""
        return self.streams[0].step_samples * self._stems.rate_ratio

    @property
    def samples_to_next_step(self) -> int:
        """How many more host samples must be fed until `due` grows; at least 1. Before the
        first sound: if it comes at once."""
        return self._stems.samples_to_next_step

    @property
    def memory_samples(self) -> int | None:
        """After so much digital silence the output is silent too; None if not known."""
        memory = getattr(self.streams[0], "memory_samples", None)
        if memory is None:
            return None
        return int(memory * self._stems.rate_ratio) + 2 * self._stems.resampler_samples + 1


def chain_latency(sample_rate: int, separator: Separator, stream: SeparatorStream) -> int:
    """The chain's delay in host samples, for a host that may send blocks of any size."""
    return _latency(
        sample_rate, separator.sample_rate, stream.step_samples, stream.lookahead_samples
    )


@lru_cache(maxsize=256)
def _latency(host_hz: int, own_hz: int, step: int, lookahead: int) -> int:
    """Host samples; the same stages as in `StemStreams`, whose lanes do not matter here."""
    there, back = Resampler(host_hz, own_hz, 1), Resampler(own_hz, host_hz, 1)
    return latency_samples([there.timing, BlockTiming(step, lookahead), back.timing])
