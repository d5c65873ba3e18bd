"""Reading the text form of presets, strictly: from text to a valid `Preset` or an error.

An unknown field is an error and not ignored, since a misspelt gain that does nothing is worse
than a message. What is embedded is measured before it is decoded, all clips of a preset
together; files are read only from the preset's own folder and by their hash. Nothing is ever
executed or imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import PresetError
from .presets_effects import EffectSpec
from .presets_fields import Fields, short
from .presets_flac import decode_clip
from .presets_limits import (
    MAX_CLIP_FILE_BYTES,
    MAX_CLIP_VALUES,
    MAX_CLIPS,
    MAX_EFFECTS,
    MAX_PROMPTS,
    MAX_SCALARS,
    MAX_TEXT_BYTES,
    MAX_VECTOR_DIMENSIONS,
)
from .presets_model import PathClip, Preset
from .prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt

FORMAT_VERSION = 1
FORMAT_KEY = "stembridge_preset"
TEXT_FIELDS = ("group", "description", "author", "licence")
GAIN_FIELDS = ("target_gain_db", "remainder_gain_db")
_FIELDS = (
    FORMAT_KEY,
    "name",
    *TEXT_FIELDS,
    "separator",
    "options",
    "mode",
    "output",
    *GAIN_FIELDS,
    "keep",
    "remove",
    "effects",
    "tuning",
)


class Reader(Fields):
    """Reads one text: a method for each kind of entry. Raises PresetError.

    Args:
        source: what errors name.
        folder: where clips are looked for that are referenced by a relative path.
    """

    def __init__(self, source: str, folder: Path | None) -> None:
        super().__init__(source)
        self.folder = folder
        self.values_left = MAX_CLIP_VALUES

    def preset(self, text: str, source: str) -> Preset:
        table = self.parse(text)
        self.check_version(table)
        self.check_fields(table, _FIELDS, "")
        values: dict[str, Any] = {"source": source}
        for name in ("name", *TEXT_FIELDS, "separator", "output", "mode"):
            if name in table:
                values[name] = self.text(table[name], name)
        if "name" not in values:
            raise self.bad("name", "it is missing", 'Add "name": "…".')
        for name in GAIN_FIELDS:
            if name in table:
                values[name] = self.gain(table[name], name)
        for side in ("keep", "remove"):
            entries = self.items(table.get(side, []), side, MAX_PROMPTS)
            values[side] = tuple(self.prompt(e, f"{side}[{i}]") for i, e in enumerate(entries))
        entries = self.items(table.get("effects", []), "effects", MAX_EFFECTS)
        values["effects"] = tuple(self.effect(e, f"effects[{i}]") for i, e in enumerate(entries))
        for name in ("options", "tuning"):
            values[name] = self.table(table.get(name, {}), name)
            if len(values[name]) > MAX_SCALARS:
                raise self.bad(name, f"{len(values[name])} entries", f"Keep to {MAX_SCALARS}.")
        return Preset(**values)

    def check_version(self, table: Mapping[str, Any]) -> None:
        version = table.get(FORMAT_KEY)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise self.bad(
                FORMAT_KEY,
                "this is not a Stembridge preset" if version is None else f"{version!r}",
                f'A preset begins with "{FORMAT_KEY}": {FORMAT_VERSION}. Check the file.',
            )
        if version > FORMAT_VERSION:
            raise self.bad(
                FORMAT_KEY,
                f"it was written by a newer Stembridge (format {version}, this one reads "
                f"{FORMAT_VERSION})",
                "Update Stembridge, or export the preset there for the older format.",
            )

    def effect(self, value: Any, where: str) -> EffectSpec:
        table = self.table(value, where)
        self.check_fields(table, ("plugin", "parameters"), where)
        plugin = self.text(table.get("plugin", ""), f"{where}.plugin")
        parameters = self.table(table.get("parameters", {}), f"{where}.parameters")
        try:
            return EffectSpec(plugin, parameters)
        except PresetError as error:
            raise PresetError(f"{self.source}: {where}: {error}") from None

    def prompt(self, value: Any, where: str) -> Prompt:
        if isinstance(value, str):
            return NamePrompt(value)
        kinds = ("name", "text", "example", "tuned")
        if not isinstance(value, dict) or len(value) != 1:
            raise self.bad(
                where,
                f"{short(value)} is not a prompt",
                'Write a name such as "vocals", or one of {"text": …}, {"example": […]}, '
                '{"tuned": {…}}.',
            )
        self.check_fields(value, kinds, where)
        kind, content = next(iter(value.items()))
        where = f"{where}.{kind}"
        if kind == "name":
            return NamePrompt(self.text(content, where))
        if kind == "text":
            return TextPrompt(self.text(content, where))
        if kind == "tuned":
            return self.tuned(self.table(content, where), where)
        clips = self.items(content, where, MAX_CLIPS)
        return ExamplePrompt(tuple(self.clip(c, f"{where}[{i}]") for i, c in enumerate(clips)))

    def tuned(self, table: Mapping[str, Any], where: str) -> TunedPrompt:
        self.check_fields(table, ("label", "space", "vector"), where)
        label = self.text(table.get("label", "tuned"), f"{where}.label")
        space = self.text(table.get("space", ""), f"{where}.space")
        data = self.base64(table.get("vector"), f"{where}.vector", MAX_VECTOR_DIMENSIONS * 4)
        if not data or len(data) % 4:
            raise self.bad(f"{where}.vector", f"{len(data)} bytes", "Tune the prompt again.")
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
        vector.setflags(write=False)
        return TunedPrompt(vector=vector, space=space, label=label)

    def clip(self, value: Any, where: str) -> Clip:
        table = self.table(value, where)
        self.check_fields(table, ("label", "flac", "scale", "path", "sha256"), where)
        label = self.text(table.get("label", ""), f"{where}.label")
        if ("flac" in table) == ("path" in table):
            raise self.bad(where, "it needs one of flac and path", "Add the clip again.")
        if "path" in table:
            return self.clip_by_path(table, where, label)
        data = self.base64(table["flac"], f"{where}.flac", MAX_TEXT_BYTES)
        if not data.startswith(b"fLaC"):
            raise self.bad(f"{where}.flac", "this is not FLAC", "Add the clip again.")
        scale = table.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1024:
            raise self.bad(f"{where}.scale", short(scale), "Give a number from 0 to 1024.")
        try:
            audio, sample_rate = self.decoded(data, float(scale))
        except ValueError as error:
            raise self.bad(f"{where}.flac", str(error), "Add the clip again.") from None
        audio.setflags(write=False)
        return Clip(audio, sample_rate, label)

    def decoded(self, data: bytes, scale: float) -> tuple[np.ndarray, int]:
        audio, sample_rate = decode_clip(data, scale, self.values_left)
        self.values_left -= audio.size
        return audio, sample_rate

    def clip_by_path(self, table: Mapping[str, Any], where: str, label: str) -> Clip:
        self.check_fields(table, ("label", "path", "sha256"), where)
        name = self.text(table["path"], f"{where}.path")
        digest = self.text(table.get("sha256", ""), f"{where}.sha256").lower()
        if self.folder is None:
            raise self.bad(
                f"{where}.path",
                f"{name!r} is a reference to a file, which cannot travel",
                "Embed the clip: stembridge presets export.",
            )
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise self.bad(
                f"{where}.path",
                f"{name!r} leads out of the preset's folder",
                "Put the clip beside the preset, or embed it.",
            )
        path = self.folder / name
        try:
            if not path.is_file():
                raise self.bad(
                    f"{where}.path", f"{path} is missing", "Put the clip there or embed it."
                )
            if path.stat().st_size > MAX_CLIP_FILE_BYTES:
                raise self.bad(f"{where}.path", f"{path} is too large", "Cut a shorter clip.")
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise self.bad(f"{where}.path", f"{path}: {error}", "Check the path.") from None
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise self.bad(
                f"{where}.sha256",
                f"{path} is not the clip that was meant (it has {found[:12]}…)",
                "Put the original back, or add the clip again.",
            )
        try:
            audio, sample_rate = self.decoded(data, 1.0)
        except ValueError as error:
            raise self.bad(f"{where}.path", f"{path}: {error}", "Use another clip.") from None
        audio.setflags(write=False)
        return PathClip(audio, sample_rate, label, name, digest)
