"""The way from one chain to another while audio plays: nothing is lost, nothing clicks.

When a preset wants another separator, options or mode, the new chain starts at the newest
input, while the old one still owes what it has heard (its latency's worth). So the old
chain gets one cross-fade more of input, then says all it knows (`flush`): what lies before
the change is delivered as it is, the rest fades into what the new chain makes of the same
samples.

    input      ────────────────┬──fade──┬────────────────
    old chain  ────────────────┴──tail──┘ flush
    new chain                  └─────────────────────────

Invariant: output has no gap, whatever the latencies of the two; the new chain's output is
held back until the old one has spoken. Used under the session's lock.
"""

from __future__ import annotations

import numpy as np

from ..chain import ChainBlock, SeparationChain


class Handover:
    """The old `chain` on its last samples.

    Args:
        chain: has been fed everything before `at_samples`.
        with_effects: whether its preset has any.
        at_samples: position of the change, where the new chain begins.
        fade_samples: how far both are heard together.
    """

    def __init__(
        self, chain: SeparationChain, *, with_effects: bool, at_samples: int, fade_samples: int
    ) -> None:
        self.chain = chain
        self.with_effects = with_effects
        self.at_samples = at_samples
        self.end_samples = at_samples + fade_samples
        self._next = at_samples

    @property
    def complete(self) -> bool:
        """Whether the old chain has got all that it gets."""
        return self._next >= self.end_samples

    def feed(self, audio: np.ndarray) -> None:
        """Give the old chain its share of new input, float32 `(channels, samples)`."""
        part = audio[:, : self.end_samples - self._next]
        if part.shape[1]:
            self.chain.feed(part)
            self._next += part.shape[1]

    def finish(self) -> tuple[ChainBlock, ChainBlock]:
        """All that was owed, and the tail that fades out from `at_samples` on.

        Runs the separator: as many steps as the old chain's latency holds.
        """
        rest = self.chain.flush()
        owed = max(0, self.at_samples - rest.start_samples)
        return (
            ChainBlock(rest.start_samples, rest.target[:, :owed], rest.remainder[:, :owed]),
            ChainBlock(rest.start_samples + owed, rest.target[:, owed:], rest.remainder[:, owed:]),
        )


def fade_over(tail: np.ndarray, tail_start: int, audio: np.ndarray, start: int) -> np.ndarray:
    """`audio`, whose first sample is at `start`, faded in over `tail`; a new array.

    Both float32 `(channels, samples)`; `start` is not before `tail_start`.
    """
    skipped = start - tail_start
    count = min(tail.shape[1] - skipped, audio.shape[1])
    if count <= 0:
        return audio
    steps = np.arange(skipped + 1, skipped + count + 1, dtype=np.float32)
    weight = steps / np.float32(tail.shape[1] + 1)
    faded = audio.copy()
    old = tail[:, skipped : skipped + count]
    faded[:, :count] = old + weight * (faded[:, :count] - old)
    return faded
