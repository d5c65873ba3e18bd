"""Prompts: what a person asks for, before and after a separator has encoded it.

A *prompt* is one thing to keep or to remove: a name ("vocals"), a text, an audio
example, or a tuned vector. A separator's `encode` turns each into an `EncodedPrompt`,
a float32 vector that carries its *space*: the identity of the encoder and weights it
belongs to. Vectors of different spaces must never meet, even when their sizes agree, so
`require_space` stands at every separator's door. A *query* groups the encoded prompts of
one wanted target: those to keep and those to remove.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import PromptError


@dataclass(frozen=True)
class NamePrompt:
    """A sound by a name the separator knows, such as "vocals"."""

    name: str
    kind = "name"


@dataclass(frozen=True)
class TextPrompt:
    """A sound in free words, such as "a dog barking in the distance"."""

    text: str
    kind = "text"


@dataclass(frozen=True)
class Clip:
    """A piece of audio: float32 `(channels, samples)` at `sample_rate` (Hz)."""

    audio: np.ndarray
    sample_rate: int
    label: str = ""


@dataclass(frozen=True)
class ExamplePrompt:
    """A sound by example: one clip, or several of the same sound, which are averaged."""

    clips: tuple[Clip, ...]
    kind = "example"


@dataclass(frozen=True)
class TunedPrompt:
    """A learned vector, kept in a preset: float32 `(dimensions,)` in `space`."""

    vector: np.ndarray
    space: str
    label: str = "tuned"
    kind = "tuned"


Prompt = NamePrompt | TextPrompt | ExamplePrompt | TunedPrompt


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt in a separator's own space: float32 `(dimensions,)`, finite, read-only."""

    space: str
    vector: np.ndarray
    label: str = ""

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float32).reshape(-1)
        if vector.size == 0 or not np.isfinite(vector).all():
            raise PromptError(
                f"The prompt {self.label!r} has an empty or non-finite vector. "
                "Encode or tune it again."
            )
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)


@dataclass(frozen=True)
class Query:
    """One wanted target: encoded prompts to keep and prompts to remove.

    With an empty `keep` the target is everything but `remove`.
    """

    keep: tuple[EncodedPrompt, ...] = ()
    remove: tuple[EncodedPrompt, ...] = ()
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.keep and not self.remove:
            raise PromptError(
                "Nothing to keep and nothing to remove. Give at least one prompt, "
                'for example --keep "vocals".'
            )


def require_space(prompts: Sequence[EncodedPrompt], space: str, separator: str) -> None:
    """Refuse encoded prompts of another space.

    Raises:
        PromptError: naming the prompt, both spaces, and the checkpoint that is needed.
    """
    for prompt in prompts:
        if prompt.space != space:
            raise PromptError(
                f"The prompt {prompt.label!r} belongs to {prompt.space!r}, but the separator "
                f"{separator!r} here runs {space!r}. Use the checkpoint the prompt was made "
                "with, or make the prompt again with this one."
            )
