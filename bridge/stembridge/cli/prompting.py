"""From words and clips on the command line to prompts and presets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audiofile import open_audio
from ..errors import AudioError
from ..presets import Preset
from ..presets_limits import MAX_CLIP_SECONDS
from ..prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt
from .common import open_separator
from .separate_plan import prompt_label

if TYPE_CHECKING:
    from ..separators import Separator


def prompt_from_words(words: str, separator: Separator) -> Prompt:
    """A name if the separator knows one in that spelling; else a text, where it takes text.

    Where it takes none the words stay a name, so that its error names the nearest ones.
    """
    for name in separator.capabilities.names:
        if name.casefold() == words.strip().casefold():
            return NamePrompt(name)
    return TextPrompt(words) if separator.capabilities.text else NamePrompt(words.strip())


def clip_from_file(path: str | Path) -> Clip:
    """An example clip: the whole file, which must not be longer than a preset may hold.

    Raises:
        AudioError: for a file that cannot be read or is too long.
    """
    import numpy as np

    blocks, samples = [], 0
    with open_audio(path) as reader:
        for block in reader.blocks():
            samples += block.shape[1]
            if samples > MAX_CLIP_SECONDS * reader.sample_rate:
                raise AudioError(
                    f"{path} is longer than {MAX_CLIP_SECONDS:.0f} s. An example is a few "
                    "seconds of the sound: cut it out first."
                )
            blocks.append(block)
        if not blocks:
            raise AudioError(f"{path} holds no samples. Export it again.")
        return Clip(np.concatenate(blocks, axis=1), reader.sample_rate, Path(path).name)


def prompted_preset(
    keep: Sequence[str],
    remove: Sequence[str],
    examples: Sequence[str],
    separator_name: str | None = None,
    options: dict[str, Any] | None = None,
    name: str = "",
) -> Preset:
    """The preset that `--keep`, `--remove` and `--example` describe.

    Raises:
        StembridgeError: from the separator, the clips or the preset's own checks.
    """
    separator = open_separator(separator_name or "unet", **(options or {}))
    kept = [prompt_from_words(words, separator) for words in keep]
    if examples:
        kept.append(ExamplePrompt(tuple(clip_from_file(path) for path in examples)))
    removed = [prompt_from_words(words, separator) for words in remove]
    labels = [*keep, *(Path(path).stem for path in examples)]
    return Preset(
        name or prompt_label(labels or [f"without {words}" for words in remove]),
        keep=tuple(kept),
        remove=tuple(removed),
        separator=separator.name,
    )
