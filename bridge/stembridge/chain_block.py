"""A piece of separated audio on its way from the chain to what is heard.

Target and remainder always cover the same samples of the stream, and blocks follow each
other without gap or overlap, so the position of the first sample says where a block belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ChainBlock:
    """A piece of the separated stream, float32 `(channels, samples)`.

    In a chain of several presets there is a leading axis, `(presets, channels, samples)`.
    `start_samples` is the position of the first sample in the stream.
    """

    start_samples: int
    target: np.ndarray
    remainder: np.ndarray

    @property
    def samples(self) -> int:
        return self.target.shape[-1]

    def of(self, index: int) -> ChainBlock:
        """The share of one preset of several."""
        return ChainBlock(self.start_samples, self.target[index], self.remainder[index])


def joined(blocks: Sequence[ChainBlock]) -> ChainBlock:
    """Blocks that follow each other, at least one, as one block."""
    if len(blocks) == 1:
        return blocks[0]
    return ChainBlock(
        blocks[0].start_samples,
        np.concatenate([block.target for block in blocks], axis=-1),
        np.concatenate([block.remainder for block in blocks], axis=-1),
    )
