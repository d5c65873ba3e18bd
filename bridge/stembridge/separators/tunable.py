"""What a separator shows to the tuner: itself, frozen, as a function of one vector.

Audio Prompt Tuning (Liu et al., arXiv 2311.18399) learns the prompt alone: with the
separator `f`, mixtures `x = s + n` and a prompt vector `v`, minimise the distance of
`f(x, v)` to `s` over `v`. `Tunable` splits `f` at the point where the vector enters:
`prepare` computes once per mixture what does not depend on it, `estimate` does the rest,
differentiably. Both ends live in a *linear* domain (a waveform, or a spectrum with real
and imaginary parts as a last axis), so that a ratio of energies there is an SDR.

Invariants: no parameter of the separator ever requires a gradient, norms use their stored
statistics, and `reference(a + b) == reference(a) + reference(b)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor


class Tunable(ABC):
    """A frozen separator as the tuner sees it. Immutable."""

    sample_rate: int
    """In Hz."""
    channels: int
    segment_samples: int
    """Length of one training mixture."""
    space: str
    dimensions: int
    """Numbers in the vector."""
    learnable: slice
    """The part of the vector that the tuner may change."""
    step_size: float = 1e-2
    """First step of Adam on `learnable`: about a tenth of what those numbers span."""

    @abstractmethod
    def start(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The mean encoded example of clips `(channels, samples)`: float32 `(dimensions,)`."""

    @abstractmethod
    def reference(self, audio: Tensor) -> Tensor:
        """Audio `(batch, channels, segment_samples)` in the linear domain of `estimate`."""

    @abstractmethod
    def prepare(self, mixtures: Tensor) -> Any:
        """All that does not depend on the vector, for `(batch, channels, segment_samples)`."""

    @abstractmethod
    def estimate(self, prepared: Any, vector: Tensor) -> Tensor:
        """The target in the linear domain, differentiable in `vector` `(dimensions,)`."""
