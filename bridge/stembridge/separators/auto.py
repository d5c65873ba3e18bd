"""Which separator to take when a preset leaves the choice open (`separator = "auto"`).

The first one that takes every prompt and is there wins, in the order of `ORDER`: what ships
with Stembridge first, then the one that takes most kinds of prompts. What was chosen, why, and
what was passed over is told in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..checkpoints import missing
from ..errors import NotAvailableError
from ..prompts import ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt

if TYPE_CHECKING:
    from ..presets import Preset

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """A separator, what to load it with, and the reason in words."""

    separator: str
    why: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """One way to run a separator: `refuses` says what it cannot take, `missing` what it lacks."""

    separator: str
    takes: Callable[[Prompt], bool]
    missing: Callable[[], str | None]
    options: dict[str, str] = field(default_factory=dict)


def _unet_takes(prompt: Prompt) -> bool:
    """Names and examples; free words wait for a system that was made for them."""
    return not isinstance(prompt, TextPrompt) and _unet_library(prompt)


def _unet_library(prompt: Prompt) -> bool:
    """Also words, where its library of sounds happens to have them."""
    from ..errors import StembridgeError
    from . import load_separator

    unet = load_separator("unet")
    if isinstance(prompt, ExamplePrompt):
        return unet.capabilities.examples
    try:
        unet.encode(prompt)
    except StembridgeError:
        return False
    return True


def _tuss_takes(prompt: Prompt) -> bool:
    from .layers.locoformer import NAMES

    return isinstance(prompt, NamePrompt) and prompt.name.strip().casefold() in NAMES


def _class_takes(prompt: Prompt) -> bool:
    from .uss import class_names

    return isinstance(prompt, NamePrompt) and prompt.name.strip().casefold() in {
        name.casefold() for name in class_names()
    }


def _words(prompt: Prompt) -> bool:
    return isinstance(prompt, NamePrompt | TextPrompt)


def _example(prompt: Prompt) -> bool:
    return isinstance(prompt, ExamplePrompt)


def _has(system: str) -> Callable[[], str | None]:
    return lambda: missing(system)


ORDER: tuple[Candidate, ...] = (
    Candidate("unet", _unet_takes, lambda: None),
    Candidate("clapsep", lambda p: _words(p) or _example(p), _has("clapsep")),
    Candidate("tuss", _tuss_takes, _has("tuss:medium")),
    Candidate("uss", _class_takes, _has("uss:classes"), {"query": "classes"}),
    Candidate("audiosep", _words, _has("audiosep")),
    Candidate("zeroshot", _example, _has("zeroshot")),
    Candidate("uss", _example, _has("uss:examples"), {"query": "examples"}),
    Candidate("unet", _unet_library, lambda: None),
)


def choose(prompts: Sequence[Prompt], order: Sequence[Candidate] = ORDER) -> Choice:
    """The separator for these prompts (all sides of a preset together).

    Raises:
        NotAvailableError: if none that is here takes them all; says what to fetch.
    """
    tuned = {p.space.split(":", 1)[0] for p in prompts if isinstance(p, TunedPrompt)}
    if len(tuned) > 1:
        raise NotAvailableError(
            f"The tuned prompts belong to different separators ({', '.join(sorted(tuned))}). "
            "Use them in presets of their own."
        )
    if tuned:
        (owner,) = tuned
        return Choice(owner, f"{owner}: the tuned prompt was made with it")
    lacking: list[str] = []
    for candidate in order:
        if not all(candidate.takes(prompt) for prompt in prompts):
            continue
        why_not = candidate.missing()
        if why_not is None:
            kinds = " and ".join(sorted({_KINDS[p.kind] for p in prompts})) or "every prompt"
            passed = f"; better, but not fetched: {', '.join(lacking)}" if lacking else ""
            return Choice(
                candidate.separator,
                f"{candidate.separator}: the first that takes {kinds}{passed}",
                dict(candidate.options),
            )
        lacking.append(":".join([candidate.separator, *candidate.options.values()]))
    shown = ", ".join(repr(_shown(prompt)) for prompt in prompts)
    if not lacking:
        raise NotAvailableError(
            f"No separator takes {shown} together. Use one kind of prompt in a preset."
        )
    raise NotAvailableError(
        f"What is here does not take {shown}. {lacking[0]} does: fetch it with "
        f"`stembridge models fetch {lacking[0]}`, or use a name that `stembridge separators` "
        "lists."
    )


_KINDS = {"name": "this name", "text": "free text", "example": "examples", "tuned": "tuned"}


def _shown(prompt: Prompt) -> str:
    if isinstance(prompt, NamePrompt):
        return prompt.name
    return prompt.text if isinstance(prompt, TextPrompt) else f"{prompt.kind} prompt"


def resolved(preset: Preset) -> tuple[Preset, Choice | None]:
    """The preset with its separator chosen, and the choice; presets that name one as they are.

    The options of the preset win over those of the choice.
    """
    if preset.separator != AUTO:
        return preset, None
    choice = choose([*preset.keep, *preset.remove])
    options = {**choice.options, **preset.options}
    return replace(preset, separator=choice.separator, options=options), choice
