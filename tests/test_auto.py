"""The open choice of a separator: by prompt, by what is there, and said in words."""

from __future__ import annotations

import numpy as np
import pytest

from stembridge.errors import NotAvailableError
from stembridge.presets import Preset
from stembridge.prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt
from stembridge.separators.auto import ORDER, Candidate, choose, resolved

EXAMPLE = ExamplePrompt((Clip(np.ones((1, 100), np.float32), 44100),))


def order(*there: str) -> list[Candidate]:
    """The real order, with only some of the published systems fetched."""
    out = []
    for item in ORDER:
        name = ":".join([item.separator, *item.options.values()])
        present = item.separator == "unet" or name in there
        out.append(Candidate(item.separator, item.takes,
                             (lambda: None) if present else (lambda: "not fetched"),
                             item.options))  # fmt: skip
    return out


@pytest.mark.parametrize(
    ("prompts", "there", "chosen"),
    [
        ([NamePrompt("vocals")], ["clapsep", "tuss"], "unet"),
        ([TextPrompt("a dog barking")], ["clapsep", "audiosep"], "clapsep"),
        ([TextPrompt("a dog barking")], ["audiosep"], "audiosep"),
        ([TextPrompt("a dog barking")], [], "unet"),
        ([NamePrompt("vocals"), TextPrompt("rain")], [], "unet"),
        ([NamePrompt("musicbg")], ["tuss"], "tuss"),
        ([NamePrompt("Fire alarm")], ["uss:classes"], "uss"),
        ([NamePrompt("vocals"), TextPrompt("a dog barking")], ["clapsep"], "clapsep"),
        ([TunedPrompt(np.ones(2, np.float32), "tuss:01234567")], [], "tuss"),
    ],
)
def test_the_prompt_and_what_is_there_decide(
    prompts: list[Prompt], there: list[str], chosen: str
) -> None:
    choice = choose(prompts, order(*there))
    assert choice.separator == chosen
    assert choice.why.startswith(chosen)


def test_what_was_passed_over_is_said() -> None:
    assert "not fetched: clapsep" in choose([TextPrompt("rain")], order("audiosep")).why


def test_what_would_help_is_said() -> None:
    with pytest.raises(NotAvailableError, match="stembridge models fetch clapsep"):
        choose([TextPrompt("rain on a tin roof")], order())
    with pytest.raises(NotAvailableError, match="presets of their own"):
        choose([TunedPrompt(np.ones(2, np.float32), f"{s}:1") for s in ("uss", "tuss")])


def test_presets_that_name_a_separator_stay_as_they_are() -> None:
    named = Preset("x", keep=(NamePrompt("vocals"),))
    assert resolved(named) == (named, None)
    opened = Preset("x", keep=(NamePrompt("vocals"),), separator="auto")
    chosen, choice = resolved(opened)
    assert chosen.separator == "unet"
    assert choice is not None
    assert chosen.keep == opened.keep
