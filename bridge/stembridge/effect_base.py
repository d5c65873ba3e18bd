"""The face of an effect in Python: pedalboard's way of calling, with nothing lost.

    effect(audio, sample_rate)                        a whole piece, aligned, of equal length
    effect(chunk, sample_rate, reset=False)  …        a stream: what is ready, aligned
    effect.flush()                                    … and the rest of it

As with pedalboard, audio is given as `(channels, samples)`, `(samples, channels)` or
`(samples,)` and comes back the same way, as float32, and a streaming call may return fewer
samples than it took. Unlike pedalboard, `flush` brings out the rest, so that the pieces of
a stream joined together are the samples of the one-shot call, however they were cut.
Subclasses work on float32 `(channels, samples)` only; layouts end here.
"""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .audio import Layout, as_channels_first, check_sample_rate
from .errors import AudioError

Progress = bool | Callable[[float], None]
"""True for a bar on the terminal, or a function that takes the finished fraction."""


@dataclass(frozen=True)
class StreamFormat:
    """What a stream is made of; constant from its first chunk to `flush` or `reset`."""

    sample_rate: int
    channels: int
    buffer_size: int


class Effect(ABC):
    """One effect with pedalboard's calling contract, whole or streamed. Thread-safe: calls
    from several threads follow one another, though a stream belongs to one of them."""

    is_effect = True
    is_instrument = False

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._format: StreamFormat | None = None
        self._layout: Layout | None = None

    def __call__(
        self,
        input_array: Any,
        sample_rate: float,
        buffer_size: int = 8192,
        reset: bool = True,
        *,
        progress: Progress = False,
    ) -> np.ndarray:
        """The same as `process`."""
        return self.process(input_array, sample_rate, buffer_size, reset, progress=progress)

    def process(
        self,
        input_array: Any,
        sample_rate: float,
        buffer_size: int = 8192,
        reset: bool = True,
        *,
        progress: Progress = False,
    ) -> np.ndarray:
        """Run the effect on audio; latency is compensated.

        Args:
            input_array: float32 or float64, `(samples,)`, `(channels, samples)` or
                `(samples, channels)`; the shorter dimension is taken as the channels.
            sample_rate: in Hz.
            buffer_size: samples per internal block; it does not change the result.
            reset: True for a whole piece: the state is fresh, and all of the output comes
                back. False for the next chunk of a stream: what is ready comes back, and
                `flush` ends it.
            progress: for whole pieces, True shows a bar on the terminal.

        Returns:
            float32 in the layout of the input.

        Raises:
            AudioError: for audio that cannot be processed, or a stream that changes its
                rate or channels.
        """
        rate = check_sample_rate(sample_rate)
        if isinstance(buffer_size, bool) or int(buffer_size) != buffer_size or buffer_size < 1:
            raise AudioError(f"A buffer_size of {buffer_size!r} cannot be used. Give 1 or more.")
        with self._lock:
            audio, layout = as_channels_first(input_array, self._layout)
            if reset:
                self.reset()
                self._layout = layout
                asked = StreamFormat(rate, layout.channels, int(buffer_size))
                with reporting(progress) as report:
                    return layout.restore(self._whole(audio, asked, report))
            if self._format is None:
                self._open(StreamFormat(rate, layout.channels, int(buffer_size)))
                self._layout = layout
            elif (rate, layout) != (self._format.sample_rate, self._layout):
                raise AudioError(
                    f"The stream has {self._format.channels} channels at "
                    f"{self._format.sample_rate} Hz, this chunk {layout.channels} at {rate} Hz, "
                    "or another layout. Call flush() or reset() before another stream."
                )
            return layout.restore(self._push(audio))

    def flush(self) -> np.ndarray:
        """End a stream and return the rest of it, in its layout; empty without a stream."""
        with self._lock:
            if self._format is None or self._layout is None:
                return np.zeros(0, dtype=np.float32)
            return self._layout.restore(self._close())

    def reset(self) -> None:
        """Forget all audio; an unfinished stream is dropped."""
        with self._lock:
            if self._format is not None:
                self._format = None
                self._drop()

    @property
    def streaming(self) -> bool:
        """Whether a stream is open: a chunk was processed and not yet flushed."""
        return self._format is not None

    def _open(self, asked: StreamFormat) -> None:
        """Start a stream, for callers that keep the layout themselves."""
        self.reset()
        self._begin(asked)
        self._format = asked

    def _close(self) -> np.ndarray:
        """End a stream begun by `_open` and return the rest as `(channels, samples)`."""
        rest = self._end()
        self._format = None
        return rest

    # --- what a subclass does, on float32 (channels, samples) --------------------------

    @abstractmethod
    def _begin(self, asked: StreamFormat) -> None:
        """Start a stream with fresh state."""

    @abstractmethod
    def _push(self, audio: np.ndarray) -> np.ndarray:
        """Take a chunk, return what is ready. The input must not be changed."""

    @abstractmethod
    def _end(self) -> np.ndarray:
        """Return the rest, so that as much is out as went in."""

    @abstractmethod
    def _drop(self) -> None:
        """Forget the stream's audio."""

    def _whole(
        self, audio: np.ndarray, asked: StreamFormat, report: Callable[[float], None]
    ) -> np.ndarray:
        """A whole piece at once, in pieces that keep working memory bounded."""
        self._begin(asked)
        out = np.empty(audio.shape, dtype=np.float32)
        done = 0
        size = max(asked.buffer_size, 2 * asked.sample_rate)
        try:
            for start in range(0, audio.shape[1], size):
                ready = self._push(audio[:, start : start + size])
                out[:, done : done + ready.shape[1]] = ready
                done += ready.shape[1]
                report(min(1.0, (start + size) / audio.shape[1]))
            out[:, done:] = self._end()
        except BaseException:
            self._drop()
            raise
        return out


@contextmanager
def reporting(progress: Progress) -> Iterator[Callable[[float], None]]:
    """A function for the finished fraction: the caller's, a terminal bar, or nothing."""
    if callable(progress):
        yield progress
    elif not progress or not sys.stderr.isatty():
        yield lambda _: None
    else:
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("separating", total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)
