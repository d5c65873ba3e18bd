"""`Board`: a list of effects, pedalboard's and ours, that never leaves one out silently.

    Board([Separate("vocals"), pedalboard.Reverb(), Board([...]), pedalboard.Mix([...])])

pedalboard runs its effects in C++ and knows nothing of methods written in Python: in a
`Pedalboard`, a Python subclass of one of its effects is bypassed without a word, and ours
cannot be put in at all. So this is the container for both. It behaves like a list and is
called like a `Pedalboard`. What it cannot run is a TypeError that says what to do.

Streams (`reset=False`) give the samples of the one-shot call, see `board_plugins` for
pedalboard's effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, SupportsIndex, overload

import numpy as np
import pedalboard

from .board_plugins import PluginStage, plugin_parts, whole_plugin
from .effect_base import Effect, StreamFormat
from .errors import AudioError

__all__ = ["Board"]


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
        self._stages: list[Effect | PluginStage] = []
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
                audio = whole_plugin(effect, audio, asked)
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
                self._stages.append(PluginStage(effect, asked))

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
    if not isinstance(effect, Board):
        yield from plugin_parts(effect)
        return
    yield effect
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
        for part in plugin_parts(effect):
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
