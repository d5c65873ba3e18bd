"""Presets, the public face: what the chain, the server, the plugin and scripts import.

The object is in `presets_model`, with what its parts must be in `presets_limits`,
`presets_prompts` and `presets_effects`. Its text form is `presets_format`, read by
`presets_read` with `presets_fields` and `presets_flac`; the folders are in `presets_store`.
`query_of` is the one bridge from a preset to a separator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PresetError, PromptError
from .presets_effects import EFFECTS, EffectSpec
from .presets_format import FORMAT_VERSION, dumps, loads
from .presets_model import OUTPUTS, Output, PathClip, Preset, slug_of
from .presets_store import (
    FOLDER_VARIABLE,
    SUFFIX,
    PresetEntry,
    delete_preset,
    export_preset,
    factory_folder,
    import_preset,
    list_presets,
    load_preset,
    read_preset,
    save_preset,
    user_folder,
)
from .prompts import EncodedPrompt, Query, require_space

if TYPE_CHECKING:
    from .separators import Separator

__all__ = [
    "EFFECTS",
    "FOLDER_VARIABLE",
    "FORMAT_VERSION",
    "OUTPUTS",
    "SUFFIX",
    "EffectSpec",
    "Output",
    "PathClip",
    "Preset",
    "PresetEntry",
    "delete_preset",
    "dumps",
    "export_preset",
    "factory_folder",
    "import_preset",
    "list_presets",
    "load_preset",
    "loads",
    "query_of",
    "read_preset",
    "save_preset",
    "slug_of",
    "user_folder",
]


def query_of(preset: Preset, separator: Separator) -> Query:
    """The preset's prompts, encoded by `separator`.

    Raises:
        PresetError: naming the preset's source and the prompt's field, for a prompt that
            this separator does not know or a vector of another space.
    """
    sides: dict[str, tuple[EncodedPrompt, ...]] = {}
    for side in ("keep", "remove"):
        encoded = []
        for index, prompt in enumerate(getattr(preset, side)):
            try:
                vector = separator.encode(prompt)
                require_space([vector], separator.space, separator.name)
            except PromptError as error:
                source = preset.source or f"preset {preset.name!r}"
                raise PresetError(f"{source}: {side}[{index}]: {error}") from None
            encoded.append(vector)
        sides[side] = tuple(encoded)
    return Query(keep=sides["keep"], remove=sides["remove"], label=preset.name)
