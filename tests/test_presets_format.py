"""The text form of presets: what is written is read back, and what is wrong is said.

Each bad preset must give one PresetError that names the source, the field and a next step.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from stembridge.errors import PresetError
from stembridge.presets import (
    OUTPUTS,
    EffectSpec,
    PathClip,
    Preset,
    dumps,
    loads,
    query_of,
    read_preset,
)
from stembridge.prompts import Clip, ExamplePrompt, NamePrompt, TextPrompt, TunedPrompt

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


# --- round trips -----------------------------------------------------------------------


def full_preset(random: np.random.Generator) -> Preset:
    noise = (0.7 * random.standard_normal((2, 3001))).astype(np.float32)
    return Preset(
        name="Örgel Nr. 5",
        keep=(
            NamePrompt("vocals"),
            TextPrompt("a dog barking\nfar away"),
            ExamplePrompt((Clip(noise, 44100, "a.wav"), Clip(noise[:1, :7], 8000))),
            TunedPrompt(random.standard_normal(35).astype(np.float32), "unet:12ab34cd", "organ"),
        ),
        remove=(NamePrompt("drums"),),
        options={"precision": "bfloat16", "fast": True, "n": 3},
        mode="mix",
        output="mix",
        target_gain_db=-3.5,
        remainder_gain_db=-math.inf,
        effects=(
            EffectSpec("HighpassFilter", {"cutoff_frequency_hz": 80}),
            EffectSpec("LadderFilter", {"mode": "HPF24", "cutoff_hz": 500.0}),
            EffectSpec("Invert"),
        ),
        group="Mine",
        description="two\nlines",
        author="A. Nonymous",
        licence="CC-BY-4.0",
        tuning={"clips": 2, "gain_db": 1.25},
    )


def test_everything_survives_the_text_form(random: np.random.Generator) -> None:
    preset = full_preset(random)
    once = loads(dumps(preset))
    assert once.keep[0] == preset.keep[0] and once.keep[1] == preset.keep[1]
    clips = once.keep[2].clips  # type: ignore[union-attr]
    for new, old in zip(clips, preset.keep[2].clips, strict=True):  # type: ignore[union-attr]
        assert (new.sample_rate, new.label) == (old.sample_rate, old.label)
        # 24 bits of the next power of two above the peak
        assert np.abs(new.audio - old.audio).max() <= 4 / 2**24
    tuned, before = once.keep[3], preset.keep[3]
    assert isinstance(tuned, TunedPrompt) and isinstance(before, TunedPrompt)
    assert np.array_equal(tuned.vector, before.vector)
    for name in ("name", "options", "mode", "output", "target_gain_db", "remainder_gain_db"):
        assert getattr(once, name) == getattr(preset, name), name
    for name in ("effects", "group", "description", "author", "licence", "tuning", "separator"):
        assert getattr(once, name) == getattr(preset, name), name


def test_the_text_is_canonical(random: np.random.Generator) -> None:
    text = dumps(full_preset(random))
    again = loads(text)
    assert dumps(again) == text
    assert loads(dumps(again)) == again
    assert text.endswith("}\n") and "\r" not in text


gains = st.floats(-120, 24).map(lambda g: round(g, 3)) | st.just(-math.inf)
words = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
    str.strip
)


@given(
    name=words,
    keep=st.lists(words, min_size=1, max_size=4),
    remove=st.lists(words, max_size=3),
    output=st.sampled_from(OUTPUTS),
    mode=st.sampled_from([None, "live", "mix", "render"]),
    target_gain_db=gains,
    remainder_gain_db=gains,
    options=st.dictionaries(words, st.booleans() | st.integers(-9, 9) | words, max_size=4),
)
def test_any_preset_of_names_round_trips(
    name: str, keep: list[str], remove: list[str], **fields: Any
) -> None:
    preset = Preset(
        name,
        keep=tuple(map(NamePrompt, keep)),
        remove=tuple(map(TextPrompt, remove)),
        **fields,
    )
    assert loads(dumps(preset)) == preset


def test_a_clip_louder_than_full_scale_keeps_its_level() -> None:
    loud = np.array([[3.5, -3.75, 0.25]], dtype=np.float32)
    preset = Preset("loud", keep=(ExamplePrompt((Clip(loud, 44100),)),))
    (prompt,) = loads(dumps(preset)).keep
    assert isinstance(prompt, ExamplePrompt)
    assert np.abs(prompt.clips[0].audio - loud).max() < 1e-6


def test_presets_are_compared_by_value() -> None:
    vector = np.ones(4, np.float32)
    one = Preset("a", keep=(TunedPrompt(vector, "unet:1"),), source="x")
    two = Preset("a", keep=(TunedPrompt(vector.copy(), "unet:1"),), source="y")
    other = Preset("a", keep=(TunedPrompt(2 * vector, "unet:1"),))
    assert one == two and hash(one) == hash(two) and one != other and one != "a"


def test_a_byte_order_mark_does_no_harm() -> None:
    assert loads("\ufeff" + json.dumps(table())).name == "test"


# --- clips by path ----------------------------------------------------------------------


def clip_file(folder: Path, name: str = "clip.wav") -> tuple[Path, str]:
    path = folder / name
    soundfile.write(path, np.linspace(-0.5, 0.5, 400), 8000, subtype="PCM_16")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_clip_by_path_is_read_checked_and_kept_as_a_reference(tmp_path: Path) -> None:
    _, digest = clip_file(tmp_path)
    text = json.dumps(table(keep=[{"example": [{"path": "clip.wav", "sha256": digest}]}]))
    (tmp_path / "p.preset").write_text(text)
    preset = read_preset(tmp_path / "p.preset")
    (prompt,) = preset.keep
    assert isinstance(prompt, ExamplePrompt)
    (clip,) = prompt.clips
    assert isinstance(clip, PathClip) and clip.audio.shape == (1, 400)
    assert digest in dumps(preset, embed=False) and "flac" not in dumps(preset, embed=False)
    alone = loads(dumps(preset))  # embedded: needs no folder any more
    assert np.array_equal(alone.keep[0].clips[0].audio, clip.audio)  # type: ignore[union-attr]


def test_references_are_refused_when_they_do_not_fit(tmp_path: Path) -> None:
    path, digest = clip_file(tmp_path)

    def text(**clip: Any) -> str:
        return json.dumps(table(keep=[{"example": [clip]}]))

    good = {"path": "clip.wav", "sha256": digest}
    refused(text(**good), "keep[0].example[0].path", "Embed")
    refused(text(path="no.wav", sha256=digest), "missing", folder=tmp_path)
    refused(text(path="clip.wav", sha256="0" * 64), "sha256", "not the clip", folder=tmp_path)
    refused(text(path="clip.wav"), "sha256", folder=tmp_path)
    refused(text(path="x\0y", sha256=digest), "path", folder=tmp_path)
    path.write_bytes(b"RIFF no audio")
    broken = hashlib.sha256(path.read_bytes()).hexdigest()
    refused(text(path="clip.wav", sha256=broken), "cannot be decoded", folder=tmp_path)


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


# --- presets made by code ------------------------------------------------------------------


def test_a_preset_checks_itself_when_code_makes_it() -> None:
    for wrong in (
        {"keep": ()},
        {"keep": ("vocals",)},
        {"keep": VOCALS, "separator": "nope"},
        {"keep": VOCALS, "effects": ("Reverb",)},
        {"keep": VOCALS, "target_gain_db": math.nan},
        {"keep": (TunedPrompt(np.full(3, np.nan), "unet:1"),)},
        {"keep": (TunedPrompt(np.zeros((2, 2)), "unet:1"),)},
        {"keep": (ExamplePrompt((Clip(np.zeros(5, np.float32), 44100),)),)},
        {"keep": (ExamplePrompt((Clip(np.full((1, 5), np.inf), 44100),)),)},
        {"keep": (ExamplePrompt((Clip(np.zeros((1, 5)), 0),)),)},
    ):
        with pytest.raises(PresetError, match="preset 'made'"):
            Preset("made", **wrong)  # type: ignore[arg-type]


def test_a_vector_of_other_weights_names_the_field_and_both_spaces(tmp_path: Path) -> None:
    from identity import IdentitySeparator
    from stembridge.prompts import EncodedPrompt, Prompt

    class Tunable(IdentitySeparator):
        def encode(self, prompt: Prompt) -> EncodedPrompt:
            if isinstance(prompt, TunedPrompt):
                return EncodedPrompt(prompt.space, prompt.vector, prompt.label)
            return super().encode(prompt)

    separator = Tunable()
    separator.space = "unet:new"
    preset = Preset("old", keep=(TunedPrompt(np.ones(3, np.float32), "unet:old"),), source="o.p")
    with pytest.raises(PresetError) as caught:
        query_of(preset, separator)
    for word in ("o.p: keep[0]", "unet:old", "unet:new", "checkpoint"):
        assert word in str(caught.value)
    with pytest.raises(PresetError, match=r"preset 'x': remove\[0\]"):
        query_of(Preset("x", remove=(NamePrompt("kazoo"),)), separator)
