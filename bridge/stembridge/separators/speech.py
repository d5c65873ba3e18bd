"""The separator `speech`: DeepFilterNet3 keeps or removes speech, 30 ms late, at 48 kHz.

Schröter et al. (Interspeech 2023) filter noise from speech: gains on 32 bands, then deep
filtering of the lowest frequencies, frame by frame. That makes it a separator with two
stems: speech, and the rest, which is the input minus speech. It knows no other sound;
singing is partly kept. Mono: the chain runs one stream, with one native state, for each
channel.

Streaming and offline are the same frames of 480 samples, so the samples are equal bit for
bit, for all modes. With the network's silence handling, silence in is silence out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import PromptError
from ..prompts import EncodedPrompt, NamePrompt, Prompt, Query, require_space
from .base import Capabilities, Mode, Separator, SeparatorStream
from .speech_runtime import (
    DELAY_SAMPLES,
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    NativeState,
    missing,
    model_hash,
)

__all__ = ["Speech", "SpeechStream", "load", "missing"]

NAMES = ("speech", "dialogue")
"""Two words for the one sound it knows."""


def load() -> Speech:
    """The separator; its network is loaded by the first frame of each stream.

    Raises:
        NotAvailableError: where the runtime does not exist.
    """
    return Speech()


class Speech(Separator):
    """Speech kept or removed, 1,440 samples of look-ahead in steps of 480, at 48 kHz."""

    name = "speech"
    sample_rate = SAMPLE_RATE_HZ
    channels = 1
    capabilities = Capabilities(names=NAMES)

    def __init__(self) -> None:
        self.space = f"speech:{model_hash()[:8]}"

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """The one vector there is, for "speech" and "dialogue" by name."""
        if not isinstance(prompt, NamePrompt):
            raise PromptError(
                f"The separator 'speech' takes no {prompt.kind} prompts, only the names "
                "'speech' and 'dialogue'. Choose another separator for other sounds."
            )
        if prompt.name not in NAMES:
            raise PromptError(
                f"The separator 'speech' does not know {prompt.name!r}, only 'speech' and "
                "'dialogue'. For singing and instruments choose the separator 'unet'."
            )
        return EncodedPrompt(self.space, np.ones(1, dtype=np.float32), prompt.name)

    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> SeparatorStream:
        """A fresh stream; all modes are the same, since there is nothing to trade."""
        return SpeechStream(self.space, queries)


class SpeechStream(SeparatorStream):
    """One channel through one native state, looking ahead 1,440 samples."""

    step_samples = FRAME_SAMPLES
    lookahead_samples = DELAY_SAMPLES

    def __init__(self, space: str, queries: Sequence[Query]) -> None:
        self._space = space
        self._wanted = self._shares(queries)
        self._state = NativeState()
        self._fresh = False
        self.reset()

    def _shares(self, queries: Sequence[Query]) -> np.ndarray:
        """For each query 1 (speech is kept) or 0 (speech is removed): the share of speech."""
        for query in queries:
            require_space([*query.keep, *query.remove], self._space, "speech")
            if query.keep and query.remove:
                raise PromptError(
                    "The separator 'speech' cannot keep and remove speech at once. "
                    "Give one of the two."
                )
        return np.array([1.0 if query.keep else 0.0 for query in queries], dtype=np.float32)

    def set_queries(self, queries: Sequence[Query]) -> None:
        wanted = self._shares(queries)
        if wanted.size != self._wanted.size:
            raise ValueError("the number of queries of a stream stays the same")
        self._wanted = wanted

    def reset(self) -> None:
        if not self._fresh:
            self._state.reset()
        self._fresh = True
        self._share = self._wanted
        self._frame = np.zeros((1, 0), dtype=np.float32)  # input short of a frame
        self._dry = np.zeros((1, DELAY_SAMPLES), dtype=np.float32)  # input of the look-ahead
        self._skip = DELAY_SAMPLES  # output before the first sample
        self._pushed = self._returned = 0

    def push(self, chunk: np.ndarray) -> np.ndarray:
        if chunk.ndim != 2 or chunk.shape[0] != 1:
            raise ValueError(f"expected (1, samples), got {chunk.shape}")
        self._pushed += chunk.shape[1]
        waiting = np.concatenate((self._frame, chunk), axis=1)
        frames = waiting.shape[1] // FRAME_SAMPLES
        self._frame = waiting[:, frames * FRAME_SAMPLES :].copy()
        steps = [
            self._step(waiting[:, i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
            for i in range(frames)
        ]
        stems = np.concatenate([self._nothing(), *steps], axis=2)
        skip = min(self._skip, stems.shape[2])
        self._skip -= skip
        self._returned += stems.shape[2] - skip
        return stems[:, :, skip:]

    def flush(self) -> np.ndarray:
        rest = self._pushed - self._returned
        stems = self._nothing()
        if rest:
            # Whole frames of silence, enough to bring out the last real sample.
            silence = -(self._pushed + DELAY_SAMPLES) % FRAME_SAMPLES + DELAY_SAMPLES
            stems = self.push(np.zeros((1, silence), dtype=np.float32))[:, :, :rest]
        self.reset()
        return stems

    def _nothing(self) -> np.ndarray:
        return np.zeros((self._wanted.size, 1, 0), dtype=np.float32)

    def _step(self, frame: np.ndarray) -> np.ndarray:
        """One frame to stems `(queries, 1, 480)` of 1,440 samples ago."""
        self._fresh = False
        speech = self._state.process(frame[0])
        waiting = np.concatenate((self._dry, frame), axis=1)
        dry, self._dry = waiting[0, :FRAME_SAMPLES], waiting[:, FRAME_SAMPLES:].copy()
        if not dry.any():
            speech[:] = 0.0  # digital silence: nothing is heard of the network's tail
        share = self._share[:, np.newaxis]
        if not np.array_equal(self._share, self._wanted):
            fade = np.arange(1, FRAME_SAMPLES + 1, dtype=np.float32) / FRAME_SAMPLES
            share = share + fade * (self._wanted - self._share)[:, np.newaxis]
            self._share = self._wanted
        stems = share * speech + (1.0 - share) * (dry - speech)
        return stems[:, np.newaxis, :]
