"""A separator without a network, to test everything around separators with exact answers.

Its stems are the mixture times a number per prompt, worked out step by step like those of
a real one, with any rate, channel count, step and look-ahead; so every stage of the chain
can be held against arithmetic. "all" is the mixture, "half" half of it, "loud" one and a
half times it, "none" silence, "broken" NaN. It counts what reached it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stembridge.errors import PromptError
from stembridge.prompts import EncodedPrompt, NamePrompt, Prompt, Query, require_space
from stembridge.separators.base import Capabilities, Mode, Separator, SeparatorStream

GAINS = {"all": 1.0, "half": 0.5, "loud": 1.5, "none": 0.0, "broken": 1e30}


class IdentitySeparator(Separator):
    """Stems are multiples of the mixture, late and in steps as told."""

    name = "identity"

    def __init__(
        self,
        sample_rate: int = 44100,
        channels: int = 2,
        step_samples: int = 64,
        lookahead_samples: int = 100,
        several: bool = True,
        together: bool = False,
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.space = "identity:1"
        self.capabilities = Capabilities(names=tuple(GAINS), several=several)
        self.step_samples, self.lookahead_samples = step_samples, lookahead_samples
        self.worst_input = 0.0
        self.saw_only_finite = True
        self.streams_made = 0
        if together:
            self.advance = self._advance

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        if not isinstance(prompt, NamePrompt) or prompt.name not in GAINS:
            raise PromptError(f"identity knows only {', '.join(GAINS)}")
        return EncodedPrompt(self.space, np.array([GAINS[prompt.name]]), prompt.name)

    def query(self, keep: str = "", remove: str = "") -> Query:
        """A query by names, for example `query("half")` or `query(remove="half")`."""
        sides = [tuple(self.encode(NamePrompt(n)) for n in side.split()) for side in (keep, remove)]
        return Query(keep=sides[0], remove=sides[1])

    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> SeparatorStream:
        self.streams_made += 1
        kind = FeedableStream if hasattr(self, "advance") else IdentityStream
        return kind(self, queries)

    def _advance(self, streams: Sequence[FeedableStream]) -> None:
        for stream in streams:
            stream.run()


class IdentityStream(SeparatorStream):
    """Works in whole steps; a swap of queries fades over one step."""

    def __init__(self, separator: IdentitySeparator, queries: Sequence[Query]) -> None:
        self.separator = separator
        self.step_samples = separator.step_samples
        self.lookahead_samples = separator.lookahead_samples
        self._gains = self._gains_of(queries)
        self._next = self._gains
        self.reset()

    def _gains_of(self, queries: Sequence[Query]) -> np.ndarray:
        gains = []
        for query in queries:
            require_space([*query.keep, *query.remove], self.separator.space, "identity")
            gain = sum(float(p.vector[0]) for p in query.keep) if query.keep else 1.0
            gains.append(gain - sum(float(p.vector[0]) for p in query.remove))
        return np.array(gains, dtype=np.float32)

    def set_queries(self, queries: Sequence[Query]) -> None:
        gains = self._gains_of(queries)
        assert gains.size == self._gains.size
        self._next = gains

    def reset(self) -> None:
        self._gains = self._next
        channels = self.separator.channels
        self._input = np.zeros((channels, 0), np.float32)
        self._stems = np.zeros((self._gains.size, channels, 0), np.float32)
        self._stepped = self._returned = 0

    def push(self, chunk: np.ndarray) -> np.ndarray:
        assert chunk.shape[0] == self.separator.channels and chunk.dtype == np.float32
        self._look_at(chunk)
        self._input = np.concatenate((self._input, chunk), axis=1)
        pieces = [self._stems]
        while self._input.shape[1] >= self.step_samples:
            step, self._input = np.split(self._input, [self.step_samples], axis=1)
            fade = np.linspace(0, 1, self.step_samples, dtype=np.float32)
            gains = self._gains[:, None] + fade * (self._next - self._gains)[:, None]
            self._gains = self._next
            pieces.append(gains[:, None, :] * step)
            self._stepped += self.step_samples
        self._stems = np.concatenate(pieces, axis=2)
        due = max(0, self._stepped - self.lookahead_samples) - self._returned
        self._returned += due
        ready, self._stems = np.split(self._stems, [due], axis=2)
        return self._broken(ready)

    def flush(self) -> np.ndarray:
        stems = np.concatenate((self._stems, self._gains[:, None, None] * self._input), axis=2)
        self.reset()
        return self._broken(stems)

    @staticmethod
    def _broken(stems: np.ndarray) -> np.ndarray:
        return np.where(np.abs(stems) > 1e20, np.float32(np.nan), stems)

    def _look_at(self, chunk: np.ndarray) -> None:
        if chunk.size:
            finite = bool(np.isfinite(chunk).all())
            self.separator.saw_only_finite &= finite
            self.separator.worst_input = max(self.separator.worst_input, float(np.abs(chunk).max()))


class FeedableStream(IdentityStream):
    """The same with feeding and working apart, as separators that batch streams have it."""

    memory_samples = 500

    def __init__(self, separator: IdentitySeparator, queries: Sequence[Query]) -> None:
        super().__init__(separator, queries)
        self.done: list[np.ndarray] = []

    def reset(self) -> None:
        super().reset()
        self.fed: list[np.ndarray] = []
        self.done = []
        self._fed_samples = 0

    def feed(self, chunk: np.ndarray) -> None:
        self.fed.append(chunk)
        self._fed_samples += chunk.shape[1]

    @property
    def due_steps(self) -> int:
        return self._fed_samples // self.step_samples - self._stepped // self.step_samples

    def run(self) -> None:
        for chunk in self.fed:
            self.done.append(super().push(chunk))
        self.fed = []

    def push(self, chunk: np.ndarray) -> np.ndarray:
        self.feed(chunk)
        self.run()
        return self.take()

    def take(self) -> np.ndarray:
        shape = (self._gains.size, self.separator.channels, 0)
        taken = np.concatenate([np.zeros(shape, np.float32), *self.done], axis=2)
        self.done = []
        return taken

    def flush(self) -> np.ndarray:
        self.run()
        ready = self.take()
        return np.concatenate((ready, super().flush()), axis=2)
