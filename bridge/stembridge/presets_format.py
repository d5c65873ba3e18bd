"""The text form of presets: JSON, version 1, both ways.

JSON and not TOML, because a preset is written as often as it is read (the DAW's state, the
tuner, `presets save`): Python's standard library writes JSON and only reads TOML, JUCE
reads JSON in the plugin, and there is one way to spell each value. `dumps` is canonical:
equal presets give equal text, and fields at their default are left out.

Reading is strict, see `presets_read`.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .presets_flac import encode_flac
from .presets_model import PathClip, Preset
from .presets_read import FORMAT_KEY, FORMAT_VERSION, GAIN_FIELDS, TEXT_FIELDS, Reader
from .prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt

__all__ = ["FORMAT_KEY", "FORMAT_VERSION", "dumps", "loads"]


def loads(text: str, source: str = "", folder: Path | None = None) -> Preset:
    """The preset written in `text`.

    Args:
        source: named in errors and kept in `Preset.source`, such as the file's path.
        folder: where clips that are referenced by a relative path are looked for. Without
            it (text that came over a wire) clips must be embedded.

    Raises:
        PresetError: naming the source, the field and what to do.
    """
    return Reader(source or "this preset", folder).preset(text, source)


def dumps(preset: Preset, embed: bool = True) -> str:
    """The preset as canonical JSON text, ending in a line feed.

    Example clips are embedded as 24-bit FLAC, so the text stands alone; with `embed` False
    clips that were read from a file are referenced by its path and hash. Vectors are
    embedded as base64 of little-endian float32.
    """
    table: dict[str, Any] = {FORMAT_KEY: FORMAT_VERSION, "name": preset.name}
    for name in TEXT_FIELDS:
        if getattr(preset, name):
            table[name] = getattr(preset, name)
    table["separator"] = preset.separator
    if preset.options:
        table["options"] = dict(sorted(preset.options.items()))
    if preset.mode is not None:
        table["mode"] = preset.mode
    table["output"] = preset.output
    for name in GAIN_FIELDS:
        gain_db = getattr(preset, name)
        if gain_db != 0.0:
            table[name] = gain_db if math.isfinite(gain_db) else "-inf"
    for side in ("keep", "remove"):
        prompts = getattr(preset, side)
        if prompts:
            table[side] = [_prompt_table(prompt, embed) for prompt in prompts]
    if preset.effects:
        table["effects"] = [
            {"plugin": e.plugin} | ({"parameters": dict(e.parameters)} if e.parameters else {})
            for e in preset.effects
        ]
    if preset.tuning:
        table["tuning"] = dict(sorted(preset.tuning.items()))
    return json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _prompt_table(prompt: Prompt, embed: bool) -> Any:
    if isinstance(prompt, NamePrompt):
        return prompt.name
    if isinstance(prompt, TextPrompt):
        return {"text": prompt.text}
    if isinstance(prompt, ExamplePrompt):
        return {"example": [_clip_table(clip, embed) for clip in prompt.clips]}
    vector = np.ascontiguousarray(prompt.vector, dtype="<f4")
    return {
        "tuned": {
            "label": prompt.label,
            "space": prompt.space,
            "vector": base64.b64encode(vector.tobytes()).decode("ascii"),
        }
    }


def _clip_table(clip: Clip, embed: bool) -> dict[str, Any]:
    table: dict[str, Any] = {"label": clip.label} if clip.label else {}
    if not embed and isinstance(clip, PathClip):
        return table | {"path": clip.path, "sha256": clip.sha256}
    data, scale = encode_flac(clip)
    if scale != 1.0:
        table["scale"] = scale
    return table | {"flac": base64.b64encode(data).decode("ascii")}
