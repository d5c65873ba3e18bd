"""What the tests of presets share: a small valid one as JSON, and what a refusal must say.

Each bad preset must give one PresetError that names the source, the field and a next step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stembridge.errors import PresetError
from stembridge.presets import (
    loads,
)
from stembridge.prompts import NamePrompt

VOCALS = (NamePrompt("vocals"),)


def table(**changes: Any) -> dict[str, Any]:
    """A small valid preset as a JSON table, with changes; a value of None takes a field out."""
    whole = {"stembridge_preset": 1, "name": "test", "separator": "unet", "keep": ["vocals"]}
    whole |= changes
    return {key: value for key, value in whole.items() if value is not None}


def refused(text: str, *words: str, folder: Path | None = None) -> str:
    """The message of the error that `text` gives; it must hold these words and the source."""
    with pytest.raises(PresetError) as caught:
        loads(text, source="bad.preset", folder=folder)
    message = str(caught.value)
    assert message.startswith("bad.preset: "), message
    for word in words:
        assert word in message, message
    assert message.rstrip().endswith((".", "?", "]}.")), message
    return message
