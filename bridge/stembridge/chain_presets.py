"""What a chain reads out of presets: separator, mode, encoded prompts and what is heard.

A chain takes presets or bare queries, one or several. Several share one pass of one
separator, so they must agree on separator, options and mode; who does not is told so before
any audio flows. Encoded prompts are remembered by preset, since an example clip takes a
while to encode: presets are values, and separators never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from .chain_mix import Mix
from .errors import PresetError
from .prompts import Query
from .separators import Mode, Separator, load_separator
from .separators.auto import resolved

if TYPE_CHECKING:
    from .presets import Preset

SeparatorKey = tuple[str, tuple[tuple[str, object], ...]]


def separator_key(items: Sequence[Preset | Query]) -> SeparatorKey | None:
    """Separator and options that all the presets need; None if there are only queries.

    Raises:
        PresetError: if they need different ones.
    """
    keys: dict[SeparatorKey, str] = {}
    for item in items:
        if not isinstance(item, Query):
            item, _ = resolved(item)
            options = tuple(sorted((name, value) for name, value in item.options.items()))
            keys.setdefault((item.separator, options), item.name)
    if len(keys) > 1:
        names = ", ".join(repr(name) for name in keys.values())
        raise PresetError(
            f"The presets {names} need different separators or options and cannot share one "
            "pass. Run them one after the other."
        )
    return next(iter(keys), None)


def common_mode(items: Sequence[Preset | Query]) -> Mode:
    """The mode that the presets ask for, "render" if none does.

    Raises:
        PresetError: if they ask for different ones.
    """
    wanted: Mode | None = None
    for item in items:
        mode = None if isinstance(item, Query) else item.mode
        if mode is not None and wanted not in (None, mode):
            raise PresetError(
                f"The presets ask for different modes ({wanted} and {mode}). "
                "Give one mode for all, or run them one after the other."
            )
        wanted = mode or wanted
    return wanted or "render"


def separator_of(presets: Sequence[Preset | Query]) -> Separator:
    """The separator that all the presets name, loaded.

    Raises:
        PresetError: if they name different ones, or there are only queries.
        NotAvailableError: if it is not to be had here.
    """
    key = separator_key(presets)
    if key is None:
        raise PresetError("Bare queries need a separator. Give separator=load_separator(name).")
    name, options = key
    return load_separator(name, **dict(options))


def encode_query(item: Preset | Query, separator: Separator) -> Query:
    """The encoded prompts of a preset, which are remembered; a query is returned as it is."""
    if isinstance(item, Query):
        return item
    return encode_preset(item, separator)


@lru_cache(maxsize=64)
def encode_preset(preset: Preset, separator: Separator) -> Query:
    """Encode a preset's prompts and remember the result, so that chains need not wait for it.

    Thread-safe; raises PresetError for prompts that the separator cannot take.
    """
    from .presets import query_of

    return query_of(preset, separator)


def mix_of(item: Preset | Query) -> Mix:
    """What is heard of it: a bare query is heard as its target, at the gain it comes with."""
    if isinstance(item, Query):
        return Mix()
    return Mix(item.output, item.target_gain_db, item.remainder_gain_db, item.effects)
