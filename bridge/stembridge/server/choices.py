"""From what a client names to presets, prompts and clips, with the door where files are.

A preset comes by name, by path or as its whole text; a prompt as a word; an example as a
file. Every file goes through `files.allowed_file`, and a preset from an untrusted client
may not smuggle a path in through its options: nothing is read that nobody named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..audiofile import open_audio
from ..errors import PromptError
from ..presets import SUFFIX, Preset, factory_folder, load_preset, loads, user_folder
from ..prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt
from ..separators import Separator
from .files import allowed_file
from .protocol import RequestError

LONGEST_EXAMPLE_SECONDS = 60.0


@dataclass(frozen=True)
class Doors:
    """What a client may open: `folders` for everyone, anything when `trusted`."""

    folders: Sequence[Path]
    trusted: bool

    def file(self, name: str) -> Path:
        """The file of that name, or RequestError "forbidden"."""
        return allowed_file(name, self.all_folders, self.trusted)

    @property
    def all_folders(self) -> list[Path]:
        return [user_folder(), factory_folder(), *self.folders]

    def check_options(self, preset: Preset) -> Preset:
        """The preset, unless an untrusted one names files in its options."""
        for value in preset.options.values():
            if isinstance(value, str) and ({"/", "\\", os.sep} & set(value)):
                self.file(value)
        return preset


def preset_named(name: str, doors: Doors) -> Preset:
    """By name, or by path through the door.

    Raises:
        PresetError: of the preset. RequestError: "forbidden".
    """
    is_path = name.endswith(SUFFIX) or bool({"/", "\\", os.sep, "\0"} & set(name))
    return doors.check_options(load_preset(doors.file(name) if is_path else name))


def preset_from_text(text: str, doors: Doors) -> Preset:
    """The preset that a client sent whole."""
    return doors.check_options(loads(text, source="the preset that was sent"))


def preset_from(word: str, doors: Doors) -> Preset:
    """Text when it looks like a preset's text, else a name or path."""
    return preset_from_text(word, doors) if word.lstrip()[:1] == "{" else preset_named(word, doors)


def prompts_from(words: Sequence[str], separator: Separator) -> tuple[Prompt, ...]:
    """One prompt per word; commas separate words too. Names win over free text.

    Raises:
        PromptError: from the separator, naming the nearest names.
    """
    plain = [part.strip() for word in words for part in word.split(",")]
    return tuple(prompt_from(part, separator) for part in plain if part)


def prompt_from(word: str, separator: Separator) -> Prompt:
    """A name if the separator knows it, else a text if it takes texts."""
    try:
        separator.encode(NamePrompt(word))
    except PromptError:
        if not separator.capabilities.text:
            raise
        separator.encode(TextPrompt(word))
        return TextPrompt(word)
    return NamePrompt(word)


def example_from(path: Path, start_seconds: float, length_seconds: float) -> ExamplePrompt:
    """A clip of the file, at most a minute.

    Raises:
        AudioError: a file that cannot be read. RequestError: a start behind its end.
    """
    with open_audio(path) as reader:
        rate = reader.sample_rate
        skip = round(start_seconds * rate)
        while skip > 0:
            passed = reader.read(min(skip, 1 << 16)).shape[1]
            if passed == 0:
                break
            skip -= passed
        audio = reader.read(round((length_seconds or LONGEST_EXAMPLE_SECONDS) * rate))
    if audio.shape[1] == 0:
        raise RequestError(
            "arguments", f"{path.name} has no sound from {start_seconds:g} s on. Start earlier."
        )
    return ExamplePrompt((Clip(audio, rate, path.stem),))


def shown(prompt: Prompt) -> str:
    """A prompt in one word or two, for status lines."""
    match prompt:
        case NamePrompt(name=name):
            return name
        case TextPrompt(text=text):
            return text
        case ExamplePrompt(clips=clips):
            return f"example {clips[0].label}".strip()
        case TunedPrompt(label=label):
            return label
