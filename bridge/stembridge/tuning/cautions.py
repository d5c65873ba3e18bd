"""What a person should know before a tuned preset disappoints: in words, for every face.

A vector means something to one set of weights alone. Those of `unet` ship with the package,
so whether a preset was tuned on others can be said at once; published systems are asked
when they are loaded, which may be gigabytes away.

Invariants: nothing is said of a preset without tuned prompts, and nothing is loaded for it.
"""

from __future__ import annotations

from ..presets import Preset
from ..prompts import TunedPrompt
from ..separators import Separator, load_separator

EMBEDDED = "unet"


def cautions(preset: Preset, separator: Separator | None = None) -> list[str]:
    """All that is to be said of the tuning of a preset, with the separator if it is loaded."""
    return [*_of_the_report(preset), *foreign_prompts(preset, separator)]


def foreign_prompts(preset: Preset, separator: Separator | None = None) -> list[str]:
    """One sentence for each set of weights that the preset needs and that is not here."""
    spaces: dict[str, str] = {}
    for prompt in preset.prompts:
        if isinstance(prompt, TunedPrompt):
            spaces.setdefault(prompt.space, prompt.label)
    if separator is None:
        ours = {space for space in spaces if space.partition(":")[0] == EMBEDDED}
        if not ours or "weights" in preset.options:
            return []
        separator = load_separator(EMBEDDED)
        spaces = {space: spaces[space] for space in ours}
    return [
        f"{label!r} was tuned on other weights ({space}) than those here ({separator.space}) "
        "and cannot be played with them. Install the version of Stembridge that it was made "
        "with, or tune it again from its clips."
        for space, label in spaces.items()
        if space != separator.space
    ]


def _of_the_report(preset: Preset) -> list[str]:
    if preset.tuning.get("kept") is False:
        return ["tuning did not beat the mean of the clips; more or cleaner clips may help"]
    return []
