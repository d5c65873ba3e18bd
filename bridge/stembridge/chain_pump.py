"""One separator stream whose feeding and working are apart, whatever kind of stream it is.

The chain feeds as audio arrives and separates when somebody calls `advance`, so that a
server can advance many streams in one pass of the network. A `Pump` gives every separator
that shape. It works at the separator's own rate and channels, changes no sample, and gives
the samples of the stream's own `push` and `flush`, however feeding and advancing alternate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .latency import SampleQueue
from .separators.base import Separator, SeparatorStream


class Pump:
    """One separator stream with feeding and working apart. Adds no delay.

    Streams that can be advanced together with others (`feed`, `take` and the separator's
    `advance`) are used as they are; for others the input is kept here until `advance`.
    """

    def __init__(self, separator: Separator, stream: SeparatorStream) -> None:
        self.stream = stream
        self._native: Any = stream if hasattr(stream, "feed") else None
        self._advance_together: Any = getattr(separator, "advance", None)
        if self._advance_together is None:
            self._native = None
        self._waiting = SampleQueue((separator.channels,))
        self.reset()

    def reset(self) -> None:
        self.stream.reset()
        self._waiting.clear()
        self._pushed = 0
        self._done: list[np.ndarray] = []

    def feed(self, chunk: np.ndarray) -> None:
        """Keep float32 `(separator channels, samples)` for later."""
        if self._native is not None:
            self._native.feed(chunk)
        else:
            self._waiting.append(chunk)

    @property
    def due(self) -> int:
        """Steps that can run now."""
        if self._native is not None:
            due = getattr(self._native, "due_steps", None)
            return int(self._native.due if due is None else due)
        step = self.stream.step_samples
        return (self._pushed + self._waiting.samples) // step - self._pushed // step

    def advance(self) -> None:
        """Run the due steps."""
        if self._native is not None:
            while self.due:
                self._advance_together([self._native])
        elif self._waiting.samples:
            self._pushed += self._waiting.samples
            self._done.append(self.stream.push(self._waiting.take(self._waiting.samples)))

    def take(self) -> list[np.ndarray]:
        """What became ready: arrays `(queries, separator channels, ready)`."""
        if self._native is not None:
            return [self._native.take()]
        done, self._done = self._done, []
        return done

    def flush(self) -> list[np.ndarray]:
        """Everything not yet taken; the stream is then as new."""
        self.advance()
        rest = [*self.take(), self.stream.flush()]
        self.reset()
        return rest
