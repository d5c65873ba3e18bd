"""The text form of presets: what is written is read back, the same by value and as text.

Presets that code makes are held to the same rules as those in files.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from presets_support import VOCALS, refused, table
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
