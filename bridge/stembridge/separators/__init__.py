"""The separators by name: one system per module, loaded only when asked for.

`SEPARATORS` is the table the faces list from; nothing heavy is imported by reading it.
`load_separator` builds one (weights read once per process and options) and hands the
same object to every caller, since separators are immutable.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import Any

from ..errors import NotAvailableError
from .base import MODES, Capabilities, Mode, Separator, SeparatorStream

__all__ = [
    "MODES",
    "SEPARATORS",
    "Capabilities",
    "Mode",
    "Separator",
    "SeparatorEntry",
    "SeparatorStream",
    "load_separator",
]


@dataclass(frozen=True)
class SeparatorEntry:
    """One row of the table. `module` has a `load(**options) -> Separator` function and may
    have `missing() -> str | None`: why it cannot run here and what to do, or None (not asked
    when the caller names a `checkpoint`)."""

    name: str
    module: str
    summary: str
    embedded: bool


SEPARATORS: dict[str, SeparatorEntry] = {
    entry.name: entry
    for entry in (
        SeparatorEntry("unet", "unet", "stems and sounds by name, nothing to download", True),
        SeparatorEntry("speech", "speech", "speech and dialogue with 30 ms of delay", True),
        SeparatorEntry("clapsep", "clapsep", "any sound by text or examples, negatives", False),
        SeparatorEntry("zeroshot", "zeroshot", "any sound by audio examples", False),
        SeparatorEntry("uss", "uss", "examples, or the 527 AudioSet classes by name", False),
        SeparatorEntry("audiosep", "audiosep", "any sound by text", False),
        SeparatorEntry("demucs", "demucs", "the strongest drums, bass, vocals, other", False),
        SeparatorEntry("tuss", "tuss", "eight kinds of sound, any number in one pass", False),
    )
}

_loaded: dict[tuple[str, tuple[tuple[str, Any], ...]], Separator] = {}
_lock = threading.Lock()


def load_separator(name: str, **options: Any) -> Separator:
    """The separator `name`, built at most once per process for the same options.

    Raises:
        NotAvailableError: for an unknown name (with the known ones) or a part that is not
            installed (with the command that installs it).
    """
    entry = SEPARATORS.get(name)
    if entry is None:
        known = ", ".join(SEPARATORS)
        raise NotAvailableError(f"There is no separator {name!r}. Choose one of: {known}.")
    key = (name, tuple(sorted(options.items())))
    with _lock:
        if key not in _loaded:
            module = importlib.import_module(f".{entry.module}", __package__)
            ask = hasattr(module, "missing") and not options.get("checkpoint")
            why = module.missing() if ask else None
            if why is not None:
                raise NotAvailableError(why)
            try:
                _loaded[key] = module.load(**options)
            except TypeError as error:
                if "unexpected keyword" not in str(error):
                    raise
                option = str(error).rpartition("argument ")[2]
                raise NotAvailableError(
                    f"The separator {name!r} has no option {option}. Take it out of the preset "
                    "or the command."
                ) from None
        return _loaded[key]
