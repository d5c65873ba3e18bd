"""Presets that are wrong: every bad field and broken text is named, and nothing else breaks."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from presets_support import refused, table
from stembridge.errors import PresetError
from stembridge.presets import (
    dumps,
    loads,
)

# --- what is wrong is said ---------------------------------------------------------------

LONG = "x" * 5000
VECTOR = base64.b64encode(np.ones(3, "<f4").tobytes()).decode()


def flac(samples: int, rate: int = 8000, channels: int = 1) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((samples, channels)), rate, format="FLAC")
    return base64.b64encode(buffer.getvalue()).decode()


def tuned(**fields: Any) -> list[Any]:
    return [{"tuned": {"space": "unet:1", "vector": VECTOR} | fields}]


def example(**fields: Any) -> list[Any]:
    return [{"example": [fields]}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stembridge_preset": 2}, ("newer", "Update")),
        ({"stembridge_preset": 0}, ("stembridge_preset",)),
        ({"stembridge_preset": "1"}, ("stembridge_preset",)),
        ({"stembridge_preset": True}, ("stembridge_preset",)),
        ({"stembridge_preset": None}, ("not a Stembridge preset",)),
        ({"target_gain": 3}, ("target_gain", "unknown field", "'target_gain_db'")),
        ({"zzz": 3}, ("zzz", "Known: ")),
        ({"name": None}, ("name", "missing")),
        ({"name": ""}, ("name", "empty")),
        ({"name": 7}, ("name", "not text")),
        ({"name": LONG}, ("name", "characters")),
        ({"name": "a\x07b"}, ("name", "control")),
        ({"name": "a\ud800"}, ("name", "broken")),
        ({"description": LONG}, ("description",)),
        ({"separator": "spleeter"}, ("separator", "'spleeter'", "unet")),
        ({"mode": "fast"}, ("mode", "live, mix, render")),
        ({"mode": 3}, ("mode", "not text")),
        ({"output": "both"}, ("output", "target, remainder, mix")),
        ({"target_gain_db": "loud"}, ("target_gain_db", "-inf")),
        ({"target_gain_db": True}, ("target_gain_db",)),
        ({"remainder_gain_db": 25}, ("remainder_gain_db", "24")),
        ({"remainder_gain_db": 10**400}, ("remainder_gain_db",)),
        ({"keep": []}, ("keep", "nothing")),
        ({"keep": "vocals"}, ("keep", "[ ]")),
        ({"keep": [""]}, ("keep[0]", "empty")),
        ({"keep": [5]}, ("keep[0]", "not a prompt")),
        ({"keep": [{}]}, ("keep[0]", "not a prompt")),
        ({"keep": [{"nmae": "x"}]}, ("keep[0].nmae", "'name'")),
        ({"keep": [{"name": "x", "text": "y"}]}, ("keep[0]",)),
        ({"keep": [{"text": LONG}]}, ("keep[0]", "too long")),
        ({"keep": ["x"] * 33}, ("keep", "32")),
        ({"remove": [{"text": 3}]}, ("remove[0].text",)),
        ({"keep": tuned(space="uss:1")}, ("keep[0].tuned.space", "'uss'", "separator")),
        ({"keep": tuned(space="unet")}, ("keep[0].tuned.space", "not a space")),
        ({"keep": tuned(space=None)}, ("keep[0].tuned.space",)),
        ({"keep": tuned(vector="!!")}, ("keep[0].tuned.vector", "base64")),
        ({"keep": tuned(vector="")}, ("keep[0].tuned.vector",)),
        ({"keep": tuned(vector="AAAA")}, ("keep[0].tuned.vector", "3 bytes")),
        ({"keep": tuned(vector="AACAfw==")}, ("keep[0].tuned.vector", "finite")),
        ({"keep": tuned(vector="A" * 400_000)}, ("keep[0].tuned.vector", "large")),
        ({"keep": tuned(size=3)}, ("keep[0].tuned.size", "unknown field")),
        ({"keep": [{"example": []}]}, ("keep[0]", "without clips")),
        ({"keep": example()}, ("keep[0].example[0]", "flac and path")),
        ({"keep": example(flac="AAAA")}, ("keep[0].example[0].flac", "not FLAC")),
        ({"keep": example(flac="ZkxhQ0FB")}, ("keep[0].example[0].flac", "decoded")),
        ({"keep": example(flac=flac(0))}, ("keep[0].example[0].flac",)),
        ({"keep": example(flac=flac(9), scale=0)}, ("keep[0].example[0].scale",)),
        ({"keep": example(flac=flac(9), gain=1)}, ("keep[0].example[0].gain", "unknown")),
        ({"keep": example(flac=flac(8000 * 601))}, ("601",)),
        ({"keep": [*example(flac=flac(8000 * 350)), *example(flac=flac(8000 * 351))]}, ("701 s",)),
        ({"keep": [{"example": [{"flac": flac(9)}] * 65}]}, ("64",)),
        ({"effects": {}}, ("effects", "[ ]")),
        ({"effects": [{"plugin": "load_plugin"}]}, ("effects[0]", "load_plugin")),
        ({"effects": [{"plugin": "Convolution"}]}, ("effects[0]", "Convolution")),
        ({"effects": [{"plugin": "reverb"}]}, ("effects[0]", "'Reverb'")),
        ({"effects": [{"plugin": "Reverb", "params": {}}]}, ("effects[0].params",)),
        ({"effects": [{"plugin": "Reverb", "parameters": {"x": 1}}]}, ("'x'", "room_size")),
        ({"effects": [{"plugin": "Reverb", "parameters": {"width": 2}}]}, ("width", "0 to 1")),
        ({"effects": [{"plugin": "Reverb", "parameters": {"width": "1"}}]}, ("width",)),
        ({"effects": [{"plugin": "LadderFilter", "parameters": {"mode": "x"}}]}, ("LPF12",)),
        ({"effects": [{"plugin": "Gain"}] * 33}, ("effects", "32")),
        ({"options": []}, ("options", "{ }")),
        ({"options": {"a": [1]}}, ("options.a",)),
        ({"tuning": {"a": None}}, ("tuning.a",)),
        ({"tuning": {str(i): i for i in range(65)}}, ("tuning", "64")),
    ],
)
def test_every_bad_field_is_named(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(json.dumps(table(**changes)), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("line 1, column 1", "not JSON")),
        ("{", ("line 1", "not JSON")),
        ('{\n "a": 1,\n}', ("line 3", "not JSON")),
        ("[]", ("one JSON object",)),
        ("null", ("one JSON object",)),
        ('{"stembridge_preset": 1, "name": "a", "name": "b"}', ("'name'", "twice")),
        ('{"stembridge_preset": 1, "target_gain_db": NaN}', ("NaN",)),
        ('{"stembridge_preset": 1, "target_gain_db": -Infinity}', ("Infinity",)),
        ("[" * 200_000, ("nested",)),
        ('{"a":' * 100_000, ("nested",)),
        ('{"stembridge_preset": ' + "9" * 5000 + "}", ()),
        ("\x00\x01", ("not JSON",)),
        ("[preset]\nname = 'x'\n", ("not JSON",)),
    ],
)
def test_broken_text_is_refused_with_its_place(text: str, words: tuple[str, ...]) -> None:
    refused(text, *words)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(PresetError):
        loads(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(
    field=st.sampled_from(["name", "keep", "remove", "effects", "options", "tuning", "mode"])
    | st.sampled_from(["output", "separator", "target_gain_db", "description"]),
    value=json_values,
)
def test_any_value_in_any_field_loads_or_is_named(field: str, value: Any) -> None:
    text = json.dumps(table() | {field: value})
    try:
        preset = loads(text, source="fuzzed.preset")
    except PresetError as error:
        assert str(error).startswith("fuzzed.preset: ")
    else:
        assert loads(dumps(preset)) == preset
