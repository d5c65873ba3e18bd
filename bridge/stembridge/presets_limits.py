"""How large a preset and its parts may be, and how an error about one reads.

Presets travel between strangers, so every size is bounded, for the object as for the text
form. Errors have one shape wherever they are found: source, field, problem, next step.
"""

from __future__ import annotations

from .errors import PresetError

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
MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_CLIP_FILE_BYTES = 256 * 1024 * 1024


def complain(source: str, where: str, problem: str, what_to_do: str) -> PresetError:
    """The one shape of a preset's error: file, field, problem, next step."""
    place = f"{source}: " if source else ""
    return PresetError(f"{place}{where}: {problem}. {what_to_do}")
