"""The contract that every separator keeps, and the stream that carries its state.

A separator turns a mixture into one stem per `Query`. It works at its own
`sample_rate` with `channels` channels processed together; `SeparationChain` adapts
everything else (rates, layouts, remainder, gains), so nothing but the chain, tuning and
training touches a separator.

Invariants:
- A separator is immutable once built and may be shared between threads and sessions;
  whatever changes lives in a stream.
- A stream is push-style. After `n` samples in all have been pushed, the stems of the
  samples up to `max(0, floor(n / step_samples) * step_samples - lookahead_samples)` have
  been returned, whatever the sizes of the pushes were: sample `i` of the stems belongs to
  sample `i` of the mixture, and the values do not depend on the cuts. `flush` returns the
  rest, so that exactly as much comes out as went in.

      pushed   |----step----|----step----|--…
      returned |--------------…|<-lookahead->|

  A fixed delay that suits every block size is therefore
  `lookahead_samples + step_samples - 1`; with a fixed host block `b` it is
  `lookahead_samples + step_samples - gcd(b, step_samples)`.
- Offline is the stream of the mode run over the whole input, so both agree by
  construction. A subclass may override `separate` with a faster way to the same samples.
- Silence in gives silence out, and the caller's arrays are never changed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..prompts import EncodedPrompt, Prompt, Query

Mode = Literal["live", "mix", "render"]
MODES: tuple[Mode, ...] = get_args(Mode)

Progress = Callable[[float], None]
"""Called with the finished fraction, 0 to 1; raising from it cancels the work."""


@dataclass(frozen=True)
class Capabilities:
    """Which prompts a separator takes. `names` are listed in the order people expect."""

    names: tuple[str, ...] = ()
    text: bool = False
    examples: bool = False
    tuned: bool = False
    negative: bool = False
    """Prompts to remove enter the network (True), or are subtracted afterwards (False)."""
    several: bool = True
    """Several queries share one pass."""


class SeparatorStream(ABC):
    """The state of one separation carried over chunks of any size. Not thread-safe."""

    step_samples: int
    """The stream advances in steps of so many samples."""
    lookahead_samples: int
    """How far the newest returned stem sample lies behind the newest finished step."""

    @property
    def latency_samples(self) -> int:
        """The least constant delay that suits host blocks of any, changing size."""
        return self.lookahead_samples + self.step_samples - 1

    def latency_for_block(self, block_samples: int) -> int:
        """The least constant delay for host blocks of always `block_samples` samples."""
        step = self.step_samples
        return self.lookahead_samples + step - math.gcd(block_samples, step)

    @abstractmethod
    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Take float32 `(channels, samples)`, return stems `(queries, channels, ready)`."""

    @abstractmethod
    def flush(self) -> np.ndarray:
        """Return the stems of everything not yet returned, then `reset`."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all audio; the queries stay."""

    @abstractmethod
    def set_queries(self, queries: Sequence[Query]) -> None:
        """Replace the queries from the next step on, by a short cross-fade.

        The number of queries must stay the same. Raises PromptError for another space.
        """


class Separator(ABC):
    """One prompt-driven separator in memory. Immutable, safe to share between threads."""

    name: str
    """As in presets and on the command line, for example "unet"."""
    sample_rate: int
    """In Hz."""
    channels: int
    """Channels processed together (1 or 2); the chain hands exactly so many."""
    space: str
    """Identity of the prompt space: encoder and weights, for example "unet:3fa94c01"."""
    capabilities: Capabilities
    modes: tuple[Mode, ...] = MODES

    @abstractmethod
    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Encode a prompt into this separator's space.

        Raises:
            PromptError: for a kind, name or space it cannot take; the message names the
                nearest names or the separators that can.
        """

    @abstractmethod
    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> SeparatorStream:
        """A fresh stream at `sample_rate` for `channels` channels."""

    def separate(
        self,
        mixture: np.ndarray,
        queries: Sequence[Query],
        mode: Mode = "render",
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Separate a whole mixture: float32 `(channels, samples)` to
        `(queries, channels, samples)`, aligned, of equal length, in bounded working memory.
        """
        stream = self.stream(queries, mode)
        total = mixture.shape[1]
        stems = np.zeros((len(queries), mixture.shape[0], total), dtype=np.float32)
        piece = max(stream.step_samples, self.sample_rate * 10)
        done = 0
        for start in range(0, total, piece):
            ready = stream.push(mixture[:, start : start + piece])
            stems[:, :, done : done + ready.shape[2]] = ready
            done += ready.shape[2]
            if progress is not None:
                progress(min(1.0, (start + piece) / max(1, total)))
        rest = stream.flush()
        stems[:, :, done : done + rest.shape[2]] = rest
        return stems

    def latency_samples(self, mode: Mode) -> int:
        """Delay of `stream(mode)` for host blocks of any size, in samples at `sample_rate`."""
        names = self.capabilities.names
        if not names:
            raise NotImplementedError(f"{self.name} must say its latency itself")
        from ..prompts import NamePrompt

        query = Query(keep=(self.encode(NamePrompt(names[0])),))
        return self.stream([query], mode).latency_samples
