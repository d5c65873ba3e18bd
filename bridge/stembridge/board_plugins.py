"""pedalboard's own effects as `Board` runs them: over a whole piece, or as a stream.

A stream gives the samples of the one-shot call. The effects are fed in whole buffers of
`buffer_size`, because they forget their state when a longer one comes, and what they hold
back is brought out at the end, so that the output is as long as the input and aligned with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pedalboard

from .effect_base import StreamFormat
from .errors import AudioError
from .latency import SampleQueue

_LONGEST_DELAY_SECONDS = 60
_WHOLE_ONLY = (pedalboard.PitchShift, pedalboard.GSMFullRateCompressor)
"""Called chunk by chunk, pedalboard 0.9 gives silence or other samples for these than for the
whole piece; streams wait for `flush` and run them once."""


class PluginStage:
    """One pedalboard effect as a stream of whole buffers. Waits for `buffer_size` samples, or
    for the end where the effect cannot be streamed."""

    def __init__(self, plugin: Any, asked: StreamFormat) -> None:
        self._plugin = plugin
        self._asked = asked
        self._waiting = SampleQueue((asked.channels,))
        self._taken = self._returned = 0
        self._at_end = any(isinstance(part, _WHOLE_ONLY) for part in plugin_parts(plugin))
        plugin.reset()

    def _push(self, audio: np.ndarray) -> np.ndarray:
        self._waiting.append(audio.copy())
        self._taken += audio.shape[1]
        size = self._asked.buffer_size
        pieces = [np.zeros((self._asked.channels, 0), dtype=np.float32)]
        while self._waiting.samples >= size and not self._at_end:
            pieces.append(self._run(self._waiting.take(size)))
        return np.concatenate(pieces, axis=1)

    def _close(self) -> np.ndarray:
        if self._at_end:
            whole = self._waiting.take(self._waiting.samples)
            return whole_plugin(self._plugin, whole, self._asked)
        missing = self._taken - self._returned
        silence = np.zeros((self._asked.channels, self._asked.buffer_size), dtype=np.float32)
        pieces = [np.zeros((self._asked.channels, 0), dtype=np.float32)]
        fed = 0
        while sum(piece.shape[1] for piece in pieces) < missing:
            if fed > _LONGEST_DELAY_SECONDS * self._asked.sample_rate:
                raise AudioError(
                    f"The effect {type(self._plugin).__name__} holds back its output. "
                    "Remove it from the board, or call the board with reset=True."
                )
            pieces.append(self._push(silence))
            fed += silence.shape[1]
        self._plugin.reset()
        return np.concatenate(pieces, axis=1)[:, :missing]

    def reset(self) -> None:
        self._plugin.reset()

    def _run(self, block: np.ndarray) -> np.ndarray:
        out = _call(self._plugin, block, self._asked, reset=False)
        self._returned += out.shape[1]
        return out


def whole_plugin(plugin: Any, audio: np.ndarray, asked: StreamFormat) -> np.ndarray:
    """A pedalboard effect over a whole piece, of any length."""
    samples = audio.shape[1]
    if samples == 0:
        return audio.copy()
    return _call(plugin, audio, asked, reset=True)[:, :samples]


def _call(plugin: Any, audio: np.ndarray, asked: StreamFormat, reset: bool) -> np.ndarray:
    """Call a pedalboard effect so that it cannot mistake channels for samples."""
    channels, samples = audio.shape
    if samples <= channels and channels > 1:
        # Blocks as short as their channels are only met at the end of a piece, or with tiny
        # buffers: there the layout is shown by one sample at a time as mono would be wrong,
        # so silence is appended and what belongs to it is dropped again.
        if not reset:
            raise AudioError(
                f"A buffer_size of {asked.buffer_size} is too small to stream {channels} "
                f"channels through {type(plugin).__name__}. Use more than {channels}."
            )
        audio = np.concatenate(
            (audio, np.zeros((channels, channels + 1), dtype=np.float32)), axis=1
        )
    out = plugin.process(
        np.ascontiguousarray(audio), asked.sample_rate, asked.buffer_size, reset=reset
    )
    if out.shape[1] == 0 or out.shape[0] == 0:
        return np.zeros((channels, 0), dtype=np.float32)
    if out.shape[0] != channels:
        raise AudioError(
            f"The effect {type(plugin).__name__} turned {channels} channels into "
            f"{out.shape[0]}. Convert the audio to {out.shape[0]} channels before the board."
        )
    return out


def plugin_parts(effect: Any) -> Iterator[Any]:
    """The effect and, where it is one of pedalboard's containers, all that is inside."""
    yield effect
    if isinstance(effect, pedalboard.PluginContainer):
        for inner in effect:
            yield from plugin_parts(inner)
