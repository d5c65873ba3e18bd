"""The text form of presets: JSON, version 1, both ways.

JSON and not TOML, because a preset is written as often as it is read (the DAW's state, the
tuner, `presets save`): Python's standard library writes JSON and only reads TOML, JUCE
reads JSON in the plugin, and there is one way to spell each value. `dumps` is canonical:
equal presets give equal text, and fields at their default are left out.

Reading is strict. An unknown field is an error and not ignored, since a misspelt gain that
does nothing is worse than a message; duplicate keys, NaN and deep nesting are refused; what
is embedded is measured before it is decoded. Nothing is ever executed or imported.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from .errors import PresetError
from .presets_effects import EffectSpec
from .presets_model import (
    MAX_CLIP_CHANNELS,
    MAX_CLIP_SECONDS,
    MAX_CLIP_VALUES,
    MAX_CLIPS,
    MAX_EFFECTS,
    MAX_PROMPTS,
    MAX_SCALARS,
    MAX_VECTOR_DIMENSIONS,
    PathClip,
    Preset,
    complain,
)
from .prompts import Clip, ExamplePrompt, NamePrompt, Prompt, TextPrompt, TunedPrompt

FORMAT_VERSION = 1
FORMAT_KEY = "stembridge_preset"
MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_CLIP_FILE_BYTES = 256 * 1024 * 1024
_TEXT_FIELDS = ("group", "description", "author", "licence")
_GAIN_FIELDS = ("target_gain_db", "remainder_gain_db")
_FIELDS = (
    FORMAT_KEY,
    "name",
    *_TEXT_FIELDS,
    "separator",
    "options",
    "mode",
    "output",
    *_GAIN_FIELDS,
    "keep",
    "remove",
    "effects",
    "tuning",
)
_FULL_SCALE = 1 << 23


def loads(text: str, source: str = "", folder: Path | None = None) -> Preset:
    """The preset written in `text`.

    Args:
        source: named in errors and kept in `Preset.source`, such as the file's path.
        folder: where clips that are referenced by a relative path are looked for. Without
            it (text that came over a wire) clips must be embedded.

    Raises:
        PresetError: naming the source, the field and what to do.
    """
    return _Reader(source or "this preset", folder).preset(text, source)


def dumps(preset: Preset, embed: bool = True) -> str:
    """The preset as canonical JSON text, ending in a line feed.

    Example clips are embedded as 24-bit FLAC, so the text stands alone; with `embed` False
    clips that were read from a file are referenced by its path and hash. Vectors are
    embedded as base64 of little-endian float32.
    """
    table: dict[str, Any] = {FORMAT_KEY: FORMAT_VERSION, "name": preset.name}
    for name in _TEXT_FIELDS:
        if getattr(preset, name):
            table[name] = getattr(preset, name)
    table["separator"] = preset.separator
    if preset.options:
        table["options"] = dict(sorted(preset.options.items()))
    if preset.mode is not None:
        table["mode"] = preset.mode
    table["output"] = preset.output
    for name in _GAIN_FIELDS:
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
    data, scale = _encode_flac(clip)
    if scale != 1.0:
        table["scale"] = scale
    return table | {"flac": base64.b64encode(data).decode("ascii")}


def _encode_flac(clip: Clip) -> tuple[bytes, float]:
    """FLAC bytes and the power of two that they were divided by (clips may exceed 1)."""
    import soundfile

    audio = np.asarray(clip.audio, dtype=np.float64)
    peak = float(np.abs(audio).max())
    scale = 2.0 ** math.ceil(math.log2(peak)) if peak > 1.0 else 1.0
    steps = np.clip(np.rint(audio / scale * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    pcm = (steps.astype(np.int32) << 8).T
    soundfile.write(buffer, pcm, clip.sample_rate, format="FLAC", subtype="PCM_24")
    return buffer.getvalue(), scale


def _decode_clip(data: bytes, scale: float, most_values: int) -> tuple[np.ndarray, int]:
    """Float32 `(channels, samples)`, at most so many numbers, and the rate.

    A few bytes of silence can stand for hours of it, so the header is asked first.

    Raises:
        ValueError: with the reason.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / max(1, file.samplerate)
            if file.channels > MAX_CLIP_CHANNELS or not 0 < seconds <= MAX_CLIP_SECONDS:
                raise ValueError(f"it lasts {seconds:.1f} s with {file.channels} channels")
            if file.frames * file.channels > most_values:
                raise ValueError(
                    f"with it, the clips are larger than {MAX_CLIP_VALUES >> 20} million samples"
                )
            if file.subtype in ("PCM_S8", "PCM_16", "PCM_24"):
                pcm = np.asarray(file.read(dtype="int32", always_2d=True), dtype=np.int32)
                audio = (pcm >> 8).astype(np.float32) * np.float32(scale / _FULL_SCALE)
            else:
                audio = np.asarray(file.read(dtype="float32", always_2d=True))
                audio = audio * np.float32(scale)
            return np.ascontiguousarray(audio.T), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"it cannot be decoded ({error.error_string})") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {twice!r} stands there twice")
    return table


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


class _Reader:
    """Reads one text; keeps what its errors need to name."""

    def __init__(self, source: str, folder: Path | None) -> None:
        self.source = source
        self.folder = folder
        self.values_left = MAX_CLIP_VALUES

    def bad(self, where: str, problem: str, what_to_do: str) -> PresetError:
        return complain(self.source, where, problem, what_to_do)

    def preset(self, text: str, source: str) -> Preset:
        table = self.parse(text)
        self.check_version(table)
        self.check_fields(table, _FIELDS, "")
        values: dict[str, Any] = {"source": source}
        for name in ("name", *_TEXT_FIELDS, "separator", "output", "mode"):
            if name in table:
                values[name] = self.text(table[name], name)
        if "name" not in values:
            raise self.bad("name", "it is missing", 'Add "name": "…".')
        for name in _GAIN_FIELDS:
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

    def parse(self, text: str) -> Mapping[str, Any]:
        if len(text) > MAX_TEXT_BYTES:
            raise self.bad(
                "size", f"{len(text) >> 20} MB of text", f"A preset has {MAX_TEXT_BYTES >> 20}."
            )
        try:
            table = json.loads(
                text.removeprefix("\ufeff"),
                object_pairs_hook=_no_duplicates,
                parse_constant=_no_constant,
            )
        except json.JSONDecodeError as error:
            raise self.bad(
                f"line {error.lineno}, column {error.colno}",
                f"this is not JSON: {error.msg}",
                "Correct that place, or save or export the preset again.",
            ) from None
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise self.bad("text", reason, "Correct it, or export the preset again.") from None
        if not isinstance(table, dict):
            raise self.bad("text", "a preset is one JSON object { … }", "Export it again.")
        return table

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

    def check_fields(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for name in table:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
                place = f"{where}.{name[:60]}" if where else name[:60]
                raise self.bad(place, "unknown field", hint)

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise self.bad(where, f"{_short(value)} is not text", "Write it in quotes.")
        return value

    def items(self, value: Any, where: str, limit: int) -> list[Any]:
        if not isinstance(value, list):
            raise self.bad(where, f"{_short(value)} is not a list", "Write it in [ ].")
        if len(value) > limit:
            raise self.bad(where, f"{len(value)} entries", f"Keep to {limit}.")
        return value

    def table(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.bad(where, f"{_short(value)} is not an object", "Write it in { }.")
        return value

    def gain(self, value: Any, where: str) -> float:
        if value == "-inf":
            return -math.inf
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(where, _short(value), 'Give decibels as a number, or "-inf" for off.')
        return float(max(-1e6, min(1e6, value)))  # a whole number may exceed any float

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
                f"{_short(value)} is not a prompt",
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
            raise self.bad(f"{where}.scale", _short(scale), "Give a number from 0 to 1024.")
        try:
            audio, sample_rate = self.decoded(data, float(scale))
        except ValueError as error:
            raise self.bad(f"{where}.flac", str(error), "Add the clip again.") from None
        audio.setflags(write=False)
        return Clip(audio, sample_rate, label)

    def decoded(self, data: bytes, scale: float) -> tuple[np.ndarray, int]:
        audio, sample_rate = _decode_clip(data, scale, self.values_left)
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

    def base64(self, value: Any, where: str, limit_bytes: int) -> bytes:
        text = self.text(value, where)
        if len(text) > limit_bytes * 4 // 3 + 4:
            raise self.bad(where, "it is too large", f"Keep to {limit_bytes} bytes.")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self.bad(where, "this is not base64", "Export the preset again.") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
