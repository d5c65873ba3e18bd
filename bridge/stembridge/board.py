"""`Board`: a list of effects, pedalboard's and ours, that never leaves one out silently.

    Board([Separate("vocals"), pedalboard.Reverb(), Board([...]), pedalboard.Mix([...])])

pedalboard runs its effects in C++ and knows nothing of methods written in Python: in a
`Pedalboard`, a Python subclass of one of its effects is bypassed without a word, and ours
cannot be put in at all. So this is the container for both. It behaves like a list and is
called like a `Pedalboard`. What it cannot run is a TypeError that says what to do.

Streams (`reset=False`) give the samples of the one-shot call: pedalboard's effects are fed
in whole buffers of `buffer_size`, because they forget their state when a longer one comes,
and latency is compensated by what `flush` brings out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, SupportsIndex, overload

import numpy as np
import pedalboard

from .effect_base import Effect, StreamFormat
from .errors import AudioError
from .latency import SampleQueue

__all__ = ["Board"]

_LONGEST_DELAY_SECONDS = 60
_WHOLE_ONLY = (pedalboard.PitchShift, pedalboard.GSMFullRateCompressor)
"""Called chunk by chunk, pedalboard 0.9 gives silence or other samples for these than for the
whole piece; streams wait for `flush` and run them once."""


class Board(Effect, MutableSequence[Any]):
    """Effects one after the other, with the calling contract of `Effect`.

    Args:
        effects: pedalboard plugins (containers of them too), `Separate`, or other boards.

    Raises:
        TypeError: for anything that could not be run.
    """

    def __init__(self, effects: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._effects: list[Any] = []
        self._stages: list[Effect | _PluginStage] = []
        self._streamed: list[Any] = []
        self.extend(effects or [])

    def __repr__(self) -> str:
        inside = ", ".join(repr(effect) for effect in self._effects)
        return f"<stembridge.Board with {len(self)} effects: [{inside}]>"

    # --- a list ------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._effects)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._effects[index]

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        changed = list(self._effects)
        if isinstance(index, slice):
            changed[index] = list(value)
        else:
            changed[index] = value
        _check_all(changed, self)
        self._effects = changed

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self._effects[index]

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Put an effect before `index`. Raises TypeError for what cannot be run."""
        changed = list(self._effects)
        changed.insert(index, value)
        _check_all(changed, self)
        self._effects = changed

    def reverse(self) -> None:
        """Turn the order round (an exchange in steps would hold an effect twice)."""
        self._effects.reverse()

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._effects))

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # --- the hooks of Effect -----------------------------------------------------------

    def _whole(
        self, audio: np.ndarray, asked: StreamFormat, report: Callable[[float], None]
    ) -> np.ndarray:
        """One effect after the other over the whole piece, each called as a whole."""
        _check_all(self._effects, self)  # containers of pedalboard's may have changed since
        total = len(self._effects)
        for done, effect in enumerate(self._effects):

            def part(fraction: float, done: int = done) -> None:
                report((done + fraction) / total)

            if isinstance(effect, Effect):
                with effect._lock:
                    effect.reset()
                    audio = effect._whole(audio, asked, part)
            else:
                audio = _whole_plugin(effect, audio, asked)
            part(1.0)
        return audio.copy() if total == 0 else audio

    def _begin(self, asked: StreamFormat) -> None:
        _check_all(self._effects, self)
        self._streamed = list(self._effects)
        self._stages = []
        for effect in self._effects:
            if isinstance(effect, Effect):
                effect._open(asked)
                self._stages.append(effect)
            else:
                self._stages.append(_PluginStage(effect, asked))

    def _push(self, audio: np.ndarray) -> np.ndarray:
        self._require_unchanged()
        for stage in self._stages:
            audio = stage._push(audio)
        return audio if self._stages else audio.copy()

    def _end(self) -> np.ndarray:
        self._require_unchanged()
        rest: np.ndarray | None = None
        for stage in self._stages:
            pieces = [] if rest is None else [stage._push(rest)]
            pieces.append(stage._close())
            rest = np.concatenate(pieces, axis=1)
        self._stages = []
        channels = self._format.channels if self._format else 0
        return np.zeros((channels, 0), dtype=np.float32) if rest is None else rest

    def _drop(self) -> None:
        for stage in self._stages:
            stage.reset()
        self._stages = []

    def _require_unchanged(self) -> None:
        same = len(self._streamed) == len(self._effects) and all(
            a is b for a, b in zip(self._streamed, self._effects, strict=True)
        )
        if not same:
            raise AudioError(
                "The board's effects changed within a stream. Call flush() or reset() before."
            )


class _PluginStage:
    """One pedalboard effect as a stream of whole buffers. Waits for `buffer_size` samples, or
    for the end where the effect cannot be streamed."""

    def __init__(self, plugin: Any, asked: StreamFormat) -> None:
        self._plugin = plugin
        self._asked = asked
        self._waiting = SampleQueue((asked.channels,))
        self._taken = self._returned = 0
        self._at_end = any(isinstance(part, _WHOLE_ONLY) for part in _parts(plugin))
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
            return _whole_plugin(self._plugin, whole, self._asked)
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


def _whole_plugin(plugin: Any, audio: np.ndarray, asked: StreamFormat) -> np.ndarray:
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


def _check_all(effects: list[Any], board: Board) -> None:
    """Refuse what could not be run as the user means it."""
    # Holding the parts keeps pedalboard's wrappers, and so their identities, alive.
    seen: dict[int, Any] = {}
    for effect in effects:
        _check(effect, board)
        for part in _parts(effect):
            if id(part) in seen:
                raise TypeError(
                    f"The effect {part!r} is in the board twice, but it has only one state. "
                    "Make a second one with the same settings."
                )
            seen[id(part)] = part


def _parts(effect: Any) -> Iterator[Any]:
    yield effect
    if isinstance(effect, (Board, pedalboard.PluginContainer)):
        for inner in effect:
            yield from _parts(inner)


def _check(effect: Any, board: Board) -> None:
    if isinstance(effect, Board):
        if any(part is board for part in _parts(effect)):
            raise TypeError("A board cannot contain itself. Put a copy with other effects into it.")
        return
    if isinstance(effect, Effect):
        return
    if isinstance(effect, type):
        raise TypeError(f"{effect.__name__} is a class. Put an object into the board: add ().")
    if isinstance(effect, pedalboard.Plugin):
        for part in _parts(effect):
            if getattr(part, "is_instrument", False):
                raise TypeError(
                    f"{part!r} is an instrument, which makes sound from notes. Render it first, "
                    "and call the board on the audio."
                )
            _check_native(part)
        return
    if callable(effect):
        raise TypeError(
            f"{effect!r} is a function, which keeps no state between chunks. Call it on the "
            "board's output, or write a subclass of stembridge.effect_base.Effect."
        )
    raise TypeError(
        f"A board cannot run {type(effect).__name__} objects. Give pedalboard plugins, "
        "stembridge.Separate or other boards."
    )


def _check_native(plugin: Any) -> None:
    """Methods that Python gives a pedalboard effect would never be called by pedalboard."""
    for kind in type(plugin).__mro__:
        if kind.__module__.split(".")[0] in ("pedalboard", "pedalboard_native"):
            return
        overridden = [name for name in ("process", "__call__", "reset") if name in vars(kind)]
        if overridden:
            raise TypeError(
                f"{kind.__name__} is a Python subclass of a pedalboard effect; pedalboard would "
                f"bypass its {overridden[0]}(). Write a subclass of "
                "stembridge.effect_base.Effect instead."
            )
