"""The preset as an object: everything that makes one sound of Stembridge repeatable.

A `Preset` is immutable and valid from the moment it exists: whoever builds one, a file, a
script or the tuner, goes through the same checks and gets the same `PresetError`, which
names the source, the field and what to do. How large its parts may be is `presets_limits`,
what prompts must be `presets_prompts`. Reading and writing the text form is `presets_format`;
folders are `presets_store`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from .errors import PresetError
from .presets_effects import EffectSpec
from .presets_limits import (
    MAX_EFFECTS,
    MAX_GAIN_DB,
    MAX_NAME_CHARACTERS,
    MAX_SCALARS,
    MAX_TEXT_CHARACTERS,
    complain,
)
from .presets_prompts import check_prompts, comparable
from .prompts import Clip, Prompt
from .separators import MODES, SEPARATORS, Mode

Output = Literal["target", "remainder", "mix"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
Scalar = bool | int | float | str
AUTO = "auto"
"""As `separator`: chosen by the prompts and by what is installed, when the chain is built."""


@dataclass(frozen=True)
class PathClip(Clip):
    """A clip that was read from `path`; `sha256` is the hash of that file's bytes."""

    path: str = ""
    sha256: str = ""


def slug_of(name: str) -> str:
    """The name as a file name: lower-case letters, digits and dashes ("No Bass!" → "no-bass").

    Letters of every script stay; an empty result becomes "preset".
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[^\w+]+", "-", plain, flags=re.UNICODE).replace("_", "-").strip("-") or "preset"


@dataclass(frozen=True, eq=False)
class Preset:
    """A named, portable setting of the chain. Arrays in it are float32 and never changed.

    Args:
        name: shown as it is; `slug` is made of it.
        keep, remove: the prompts; at least one of both. With an empty `keep` the target is
            everything but `remove`.
        separator, options: handed to `load_separator(separator, **options)`.
        mode: "live", "mix" or "render"; None leaves it to the face: best quality
            ("render") in files and scripts, playback ("mix") in the DAW.
        output: what is heard: the target, the remainder, or both mixed.
        target_gain_db, remainder_gain_db: from −inf (off) to 24 dB.
        effects: run on the output, in this order.
        group: where a menu lists it, such as "Practice".
        tuning: what the tuner measured (clips, seconds, gain in dB…), for people to read.
        source: where it was read, for error messages; not compared and not written.

    Raises:
        PresetError: naming the source, the field and what to do.
    """

    name: str
    keep: tuple[Prompt, ...] = ()
    remove: tuple[Prompt, ...] = ()
    separator: str = "unet"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    mode: Mode | None = None
    output: Output = "target"
    target_gain_db: float = 0.0
    remainder_gain_db: float = 0.0
    effects: tuple[EffectSpec, ...] = ()
    group: str = ""
    description: str = ""
    author: str = ""
    licence: str = ""
    tuning: Mapping[str, Scalar] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("keep", "remove", "effects"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_texts()
        separator = None if self.separator == AUTO else self.separator
        check_prompts(self.keep, self.remove, separator, self._bad)
        self._check_separator()
        for name in ("target_gain_db", "remainder_gain_db"):
            object.__setattr__(self, name, self._checked_gain(name))
        if len(self.effects) > MAX_EFFECTS:
            raise self._bad("effects", f"{len(self.effects)} effects", f"Keep {MAX_EFFECTS}.")
        for index, effect in enumerate(self.effects):
            if not isinstance(effect, EffectSpec):
                raise self._bad(
                    f"effects[{index}]",
                    f"{type(effect).__name__} is not an EffectSpec",
                    'Write EffectSpec("Reverb", {"room_size": 0.3}).',
                )
        for name in ("options", "tuning"):
            object.__setattr__(self, name, self._checked_scalars(name))

    @property
    def slug(self) -> str:
        """The name as a file or stem name, for example "acapella-clean"."""
        return slug_of(self.name)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All prompts: those to keep, then those to remove."""
        return self.keep + self.remove

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Preset):
            return NotImplemented
        return _comparable(self) == _comparable(other)

    def __hash__(self) -> int:
        return hash((self.name, self.separator, self.output, len(self.keep), len(self.remove)))

    def _bad(self, where: str, problem: str, what_to_do: str) -> PresetError:
        source = self.source or (f"preset {self.name!r}" if isinstance(self.name, str) else "")
        return complain(source, where, problem, what_to_do)

    def _check_texts(self) -> None:
        limits = {"name": MAX_NAME_CHARACTERS, "group": MAX_NAME_CHARACTERS}
        for name in ("name", "group", "description", "author", "licence"):
            value = getattr(self, name)
            limit = limits.get(name, MAX_TEXT_CHARACTERS)
            if not isinstance(value, str):
                raise self._bad(name, f"{value!r} is not text", "Write it in quotes.")
            if len(value) > limit:
                raise self._bad(name, f"{len(value)} characters", f"Keep to {limit}.")
            allowed = "\n\t" if name == "description" else ""
            if any(unicodedata.category(c) == "Cc" and c not in allowed for c in value):
                raise self._bad(name, "it holds control characters", "Take them out.")
            if any(unicodedata.category(c) == "Cs" for c in value):
                raise self._bad(name, "it holds broken characters", "Write it again as UTF-8.")
        if not self.name.strip():
            raise self._bad("name", "it is empty", "Give the preset a name.")

    def _check_separator(self) -> None:
        if self.separator not in (*SEPARATORS, AUTO):
            raise self._bad(
                "separator",
                f"there is no separator {self.separator!r} here",
                f"Choose one of: {', '.join((*SEPARATORS, AUTO))}; or update Stembridge.",
            )
        if self.mode is not None and self.mode not in MODES:
            raise self._bad("mode", f"{self.mode!r}", f"Choose one of: {', '.join(MODES)}.")
        if self.output not in OUTPUTS:
            raise self._bad("output", f"{self.output!r}", f"Choose one of: {', '.join(OUTPUTS)}.")

    def _checked_gain(self, name: str) -> float:
        value = getattr(self, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or math.isnan(value) or value > MAX_GAIN_DB:
            raise self._bad(
                name, f"{value!r}", f'Give decibels up to {MAX_GAIN_DB:g}, or "-inf" for off.'
            )
        return float(value)

    def _checked_scalars(self, name: str) -> Mapping[str, Scalar]:
        value = getattr(self, name)
        if not isinstance(value, Mapping) or len(value) > MAX_SCALARS:
            raise self._bad(name, "not a short table", f"Give up to {MAX_SCALARS} entries.")
        for key, entry in value.items():
            finite = not isinstance(entry, float) or math.isfinite(entry)
            short = not isinstance(entry, str) or len(entry) <= MAX_TEXT_CHARACTERS
            if not (isinstance(key, str) and isinstance(entry, Scalar) and finite and short):
                raise self._bad(
                    f"{name}.{key}", f"{entry!r}", "Give a text, a number, or true or false."
                )
        return MappingProxyType(dict(value))


def _comparable(preset: Preset) -> tuple[Any, ...]:
    return (
        preset.name,
        tuple(comparable(p) for p in preset.keep),
        tuple(comparable(p) for p in preset.remove),
        preset.separator,
        dict(preset.options),
        preset.mode,
        preset.output,
        preset.target_gain_db,
        preset.remainder_gain_db,
        preset.effects,
        preset.group,
        preset.description,
        preset.author,
        preset.licence,
        dict(preset.tuning),
    )
