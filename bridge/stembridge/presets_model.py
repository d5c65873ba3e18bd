"""The preset as an object: everything that makes one sound of Stembridge repeatable.

A `Preset` is immutable and valid from the moment it exists: whoever builds one, a file, a
script or the tuner, goes through the same checks and gets the same `PresetError`, which
names the source, the field and what to do. Sizes are bounded, because presets travel
between strangers. Reading and writing the text form is `presets_format`; folders are
`presets_store`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from .errors import PresetError
from .presets_effects import EffectSpec
from .prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt
from .separators import MODES, SEPARATORS, Mode

Output = Literal["target", "remainder", "mix"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
Scalar = bool | int | float | str
AUTO = "auto"
"""As `separator`: chosen by the prompts and by what is installed, when the chain is built."""

MAX_NAME_CHARACTERS = 80
MAX_TEXT_CHARACTERS = 4000
MAX_PROMPTS = 32
MAX_CLIPS = 64
MAX_CLIP_SECONDS = 600.0
MAX_CLIP_CHANNELS = 8
MAX_CLIP_VALUES = 600 * 96000 * 2
"""Samples of all channels of all clips: ten minutes of stereo at 96 kHz."""
MAX_VECTOR_DIMENSIONS = 65536
MAX_VECTOR_VALUE = 1e4
"""Far beyond what any encoder gives; larger numbers could overflow in a network."""
MAX_EFFECTS = 32
MAX_SCALARS = 64
MAX_GAIN_DB = 24.0


@dataclass(frozen=True)
class PathClip(Clip):
    """A clip that was read from `path`; `sha256` is the hash of that file's bytes."""

    path: str = ""
    sha256: str = ""


def complain(source: str, where: str, problem: str, what_to_do: str) -> PresetError:
    """The one shape of a preset's error: file, field, problem, next step."""
    place = f"{source}: " if source else ""
    return PresetError(f"{place}{where}: {problem}. {what_to_do}")


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
        self._check_prompts()
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

    def _check_prompts(self) -> None:
        if not self.prompts:
            raise self._bad(
                "keep", "nothing to keep and nothing to remove", 'Add a prompt, such as "vocals".'
            )
        clips, seconds = 0, 0.0
        for side in ("keep", "remove"):
            prompts = getattr(self, side)
            if len(prompts) > MAX_PROMPTS:
                raise self._bad(side, f"{len(prompts)} prompts", f"Keep to {MAX_PROMPTS}.")
            for index, prompt in enumerate(prompts):
                where = f"{side}[{index}]"
                self._check_prompt(where, prompt)
                if isinstance(prompt, ExamplePrompt):
                    clips += len(prompt.clips)
                    seconds += sum(c.audio.shape[-1] / c.sample_rate for c in prompt.clips)
        if clips > MAX_CLIPS or seconds > MAX_CLIP_SECONDS:
            raise self._bad(
                "keep and remove",
                f"{clips} example clips of {seconds:.0f} s in all are too much",
                f"Keep to {MAX_CLIPS} clips and {MAX_CLIP_SECONDS:.0f} s.",
            )

    def _check_prompt(self, where: str, prompt: Prompt) -> None:
        if isinstance(prompt, NamePrompt | TextPrompt):
            word = prompt.name if isinstance(prompt, NamePrompt) else prompt.text
            if not isinstance(word, str) or not word.strip():
                raise self._bad(where, "the prompt is empty", 'Name a sound, such as "vocals".')
            if len(word) > MAX_TEXT_CHARACTERS:
                raise self._bad(where, "the prompt is too long", f"Keep to {MAX_TEXT_CHARACTERS}.")
        elif isinstance(prompt, ExamplePrompt):
            if not prompt.clips:
                raise self._bad(where, "an example without clips", "Add a clip of the sound.")
            for number, clip in enumerate(prompt.clips):
                self._check_clip(f"{where}.example[{number}]", clip)
        elif isinstance(prompt, TunedPrompt):
            vector = prompt.vector
            if (
                not isinstance(vector, np.ndarray)
                or vector.ndim != 1
                or not (0 < vector.size <= MAX_VECTOR_DIMENSIONS)
            ):
                raise self._bad(
                    f"{where}.tuned.vector",
                    f"it needs 1 to {MAX_VECTOR_DIMENSIONS} numbers in one row",
                    "Tune the prompt again.",
                )
            if not np.isfinite(vector).all():
                raise self._bad(f"{where}.tuned.vector", "not finite", "Tune the prompt again.")
            if np.abs(vector).max() > MAX_VECTOR_VALUE:
                raise self._bad(
                    f"{where}.tuned.vector",
                    f"numbers beyond {MAX_VECTOR_VALUE:g}",
                    "Tune the prompt again.",
                )
            if not isinstance(prompt.space, str) or ":" not in prompt.space:
                raise self._bad(
                    f"{where}.tuned.space",
                    f"{prompt.space!r} is not a space",
                    'A space reads "separator:hash of its weights". Tune the prompt again.',
                )
            owner = prompt.space.split(":", 1)[0]
            if owner != self.separator != AUTO:
                raise self._bad(
                    f"{where}.tuned.space",
                    f"the vector belongs to the separator {owner!r}, not to {self.separator!r}",
                    f"Set separator to {owner!r}, or tune the prompt again with this one.",
                )
        else:
            raise self._bad(
                where,
                f"{type(prompt).__name__} is not a prompt",
                "Use NamePrompt, TextPrompt, ExamplePrompt or TunedPrompt.",
            )

    def _check_clip(self, where: str, clip: Clip) -> None:
        audio = clip.audio
        if audio.ndim != 2 or not 1 <= audio.shape[0] <= MAX_CLIP_CHANNELS or not audio.shape[1]:
            raise self._bad(
                where,
                f"a clip of shape {audio.shape}",
                f"Give (channels, samples) with 1 to {MAX_CLIP_CHANNELS} channels and sound in it.",
            )
        if not 1000 <= clip.sample_rate <= 768000:
            raise self._bad(where, f"a rate of {clip.sample_rate} Hz", "Use 8000 to 192000 Hz.")
        if not np.isfinite(audio).all():
            raise self._bad(where, "the clip holds NaN or infinity", "Export the clip again.")

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
    def prompt(value: Prompt) -> tuple[Any, ...]:
        if isinstance(value, NamePrompt):
            return ("name", value.name)
        if isinstance(value, TextPrompt):
            return ("text", value.text)
        if isinstance(value, ExamplePrompt):
            return (
                "example",
                *(
                    (c.label, c.sample_rate, c.audio.shape, np.asarray(c.audio, "<f4").tobytes())
                    for c in value.clips
                ),
            )
        return (
            "tuned",
            np.asarray(value.vector, np.float32).tobytes(),
            value.space,
            value.label,
        )

    return (
        preset.name,
        tuple(prompt(p) for p in preset.keep),
        tuple(prompt(p) for p in preset.remove),
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
