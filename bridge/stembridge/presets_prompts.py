"""The prompts of a preset: what they must be, and when two of them are the same.

Everything that travels in a prompt is measured and looked through here, so that no network
meets an empty clip, a number that is not finite, or a vector of another separator's space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import PresetError
from .presets_limits import (
    MAX_CLIP_CHANNELS,
    MAX_CLIP_SECONDS,
    MAX_CLIPS,
    MAX_PROMPTS,
    MAX_TEXT_CHARACTERS,
    MAX_VECTOR_DIMENSIONS,
    MAX_VECTOR_VALUE,
)
from .prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt

Complain = Callable[[str, str, str], PresetError]
"""Makes the error of a place in the preset, the problem and what to do."""


def check_prompts(
    keep: tuple[Prompt, ...], remove: tuple[Prompt, ...], separator: str | None, bad: Complain
) -> None:
    """Refuse prompts that no separator could use, or not this one.

    Args:
        separator: the one that the preset names, or None if it leaves the choice open.
        bad: makes the error of a place, a problem and what to do.

    Raises:
        PresetError: as `bad` words it, for the first prompt that is not right.
    """
    if not keep and not remove:
        raise bad(
            "keep", "nothing to keep and nothing to remove", 'Add a prompt, such as "vocals".'
        )
    clips, seconds = 0, 0.0
    for side, prompts in (("keep", keep), ("remove", remove)):
        if len(prompts) > MAX_PROMPTS:
            raise bad(side, f"{len(prompts)} prompts", f"Keep to {MAX_PROMPTS}.")
        for index, prompt in enumerate(prompts):
            where = f"{side}[{index}]"
            _check_prompt(where, prompt, separator, bad)
            if isinstance(prompt, ExamplePrompt):
                clips += len(prompt.clips)
                seconds += sum(c.audio.shape[-1] / c.sample_rate for c in prompt.clips)
    if clips > MAX_CLIPS or seconds > MAX_CLIP_SECONDS:
        raise bad(
            "keep and remove",
            f"{clips} example clips of {seconds:.0f} s in all are too much",
            f"Keep to {MAX_CLIPS} clips and {MAX_CLIP_SECONDS:.0f} s.",
        )


def _check_prompt(where: str, prompt: Prompt, separator: str | None, bad: Complain) -> None:
    if isinstance(prompt, NamePrompt | TextPrompt):
        word = prompt.name if isinstance(prompt, NamePrompt) else prompt.text
        if not isinstance(word, str) or not word.strip():
            raise bad(where, "the prompt is empty", 'Name a sound, such as "vocals".')
        if len(word) > MAX_TEXT_CHARACTERS:
            raise bad(where, "the prompt is too long", f"Keep to {MAX_TEXT_CHARACTERS}.")
    elif isinstance(prompt, ExamplePrompt):
        if not prompt.clips:
            raise bad(where, "an example without clips", "Add a clip of the sound.")
        for number, clip in enumerate(prompt.clips):
            _check_clip(f"{where}.example[{number}]", clip, bad)
    elif isinstance(prompt, TunedPrompt):
        _check_tuned(f"{where}.tuned", prompt, separator, bad)
    else:
        raise bad(
            where,
            f"{type(prompt).__name__} is not a prompt",
            "Use NamePrompt, TextPrompt, ExamplePrompt or TunedPrompt.",
        )


def _check_clip(where: str, clip: Clip, bad: Complain) -> None:
    audio = clip.audio
    if audio.ndim != 2 or not 1 <= audio.shape[0] <= MAX_CLIP_CHANNELS or not audio.shape[1]:
        raise bad(
            where,
            f"a clip of shape {audio.shape}",
            f"Give (channels, samples) with 1 to {MAX_CLIP_CHANNELS} channels and sound in it.",
        )
    if not 1000 <= clip.sample_rate <= 768000:
        raise bad(where, f"a rate of {clip.sample_rate} Hz", "Use 8000 to 192000 Hz.")
    if not np.isfinite(audio).all():
        raise bad(where, "the clip holds NaN or infinity", "Export the clip again.")


def _check_tuned(where: str, prompt: TunedPrompt, separator: str | None, bad: Complain) -> None:
    vector = prompt.vector
    if (
        not isinstance(vector, np.ndarray)
        or vector.ndim != 1
        or not (0 < vector.size <= MAX_VECTOR_DIMENSIONS)
    ):
        raise bad(
            f"{where}.vector",
            f"it needs 1 to {MAX_VECTOR_DIMENSIONS} numbers in one row",
            "Tune the prompt again.",
        )
    if not np.isfinite(vector).all():
        raise bad(f"{where}.vector", "not finite", "Tune the prompt again.")
    if np.abs(vector).max() > MAX_VECTOR_VALUE:
        raise bad(
            f"{where}.vector",
            f"numbers beyond {MAX_VECTOR_VALUE:g}",
            "Tune the prompt again.",
        )
    if not isinstance(prompt.space, str) or ":" not in prompt.space:
        raise bad(
            f"{where}.space",
            f"{prompt.space!r} is not a space",
            'A space reads "separator:hash of its weights". Tune the prompt again.',
        )
    owner = prompt.space.split(":", 1)[0]
    if separator is not None and owner != separator:
        raise bad(
            f"{where}.space",
            f"the vector belongs to the separator {owner!r}, not to {separator!r}",
            f"Set separator to {owner!r}, or tune the prompt again with this one.",
        )


def comparable(value: Prompt) -> tuple[Any, ...]:
    """What makes two prompts equal: kind, words, and every sample or number."""
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
