"""Prompts by example and by library text: found by what people type, averaged, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stembridge.errors import CheckpointError, PromptError
from stembridge.prompts import Clip
from stembridge.separators.layers.example_encoder import (
    BANDS,
    ExampleEncoder,
    average,
    mel_matrix,
    to_length,
)
from stembridge.separators.layers.unet_weights import write_weights
from stembridge.separators.sound_library import SoundLibrary
from stembridge.training.export import export_sounds
from stembridge.training.library import build_library, label_of
from stembridge.training.network import start_model
from stembridge.training.pack import Pack
from stembridge.training.sound_figures import Case, by_example, by_name, improvements, summary
from stembridge.training.sounds import NAMES
from tiny_pack import write_tiny_pack

RATE = 44100


@pytest.fixture(scope="module")
def sounds_file(tmp_path_factory) -> Path:
    """A sounds file as training writes it, from an untrained encoder."""
    root = tmp_path_factory.mktemp("sounds")
    pack = Pack(write_tiny_pack(root / "data"), root / "cache")
    model = start_model().extended(NAMES, 1)
    assert model.encoder is not None
    library = build_library(model.encoder, pack)
    library["dog bark"] = library["hiss"]
    path = root / "unet-sounds.safetensors"
    export_sounds(
        model,
        path,
        names=("guitar", "speech", "keys"),
        library=library,
        command="test",
        log="{}",
        clips=pack.clips,
    )
    return path


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(0.1 * rng.standard_normal((1, round(seconds * rate))).astype(np.float32), rate)


def test_mel_bands_cover_every_bin_evenly() -> None:
    matrix = mel_matrix()
    assert matrix.shape == (BANDS, 1024)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(BANDS))
    assert bool((matrix >= 0).all())
    centres = (matrix * torch.arange(1024)).sum(dim=1)
    assert bool((centres[1:] >= centres[:-1]).all())


def test_level_and_padding_do_not_matter() -> None:
    torch.manual_seed(0)
    encoder = ExampleEncoder().eval()
    clip = torch.randn(1, RATE) * torch.linspace(1, 0.5, RATE)
    with torch.no_grad():
        vector = encoder(clip)
        torch.testing.assert_close(encoder(clip * 0.01), vector, rtol=1e-3, atol=1e-3)
        padded = encoder(torch.nn.functional.pad(clip, (0, 2 * RATE)))
    assert float(torch.cosine_similarity(padded, vector)) > 0.99
    torch.testing.assert_close(vector.norm(dim=1), torch.full((1,), 32**0.5))


def test_averages_keep_the_length_of_a_prompt() -> None:
    one, two = to_length(torch.randn(32)), to_length(torch.randn(32))
    mean = average([one, two])
    torch.testing.assert_close(mean.norm(), torch.tensor(32**0.5))
    torch.testing.assert_close(average([two, one]), mean)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("hiss", "hiss"),
        ("  HISS! ", "hiss"),
        ("dog", "dog bark"),
        ("barking", "dog bark"),
        ("dog barks", "dog bark"),
        ("piano", "keys"),
        ("acoustic guitar", "guitar"),
        ("guitars", "guitar"),
        ("dialogue", "speech"),
        ("veclro", "velcro"),
        ("kick", "kick drum"),
    ],
)
def test_text_finds_its_sound(sounds_file: Path, text: str, label: str) -> None:
    found = SoundLibrary.read(sounds_file).find(text)
    assert found is not None and found[0] == label
    assert found[1].shape == (32,) and found[1].dtype == np.float32


@pytest.mark.parametrize("text", ["", "!!", "quantum chromodynamics"])
def test_unknown_text_is_not_guessed(sounds_file: Path, text: str) -> None:
    library = SoundLibrary.read(sounds_file)
    assert library.find(text) is None
    assert library.nearest("velcrow") == ["velcro"]


def test_examples_are_averaged_in_any_order_and_silence_is_skipped(sounds_file: Path) -> None:
    library = SoundLibrary.read(sounds_file)
    one, two = noise(2.0, 1), noise(4.0, 2, 48000)
    mean = library.encode([one, two])
    np.testing.assert_allclose(library.encode([two, one]), mean, atol=1e-4)
    silent = Clip(np.zeros((2, RATE), np.float32), RATE)
    np.testing.assert_allclose(library.encode([one, silent, two]), mean, atol=1e-4)
    late = Clip(np.concatenate([np.zeros((1, 6 * RATE), np.float32), one.audio], axis=1), RATE)
    np.testing.assert_allclose(library.encode([late]), library.encode([one]), atol=1e-3)
    for clips in ([], [silent], [Clip(np.zeros((1, 0), np.float32), RATE)]):
        with pytest.raises(PromptError, match="silent"):
            library.encode(clips)


@pytest.mark.parametrize("samples", [1, 64, 65, 8193])
@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_short_clips_encode(sounds_file: Path, samples: int, rate: int) -> None:
    clip = Clip(np.full((2, samples), 0.2, np.float32), rate)
    assert np.isfinite(SoundLibrary.read(sounds_file).encode([clip])).all()


def test_a_foreign_file_is_refused(tmp_path: Path, sounds_file: Path) -> None:
    rows = np.zeros((1, 32), np.float32)
    for metadata in ({}, {"names": '["a", "b"]', "labels": '["c"]'}, {"names": "[", "labels": "]"}):
        path = tmp_path / "f.safetensors"
        write_weights(path, {"names": rows, "library": rows}, metadata)
        with pytest.raises(CheckpointError, match=r"f\.safetensors"):
            SoundLibrary.read(path)
    path.write_bytes(sounds_file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"f\.safetensors"):
        SoundLibrary.read(path)


def test_without_an_encoder_examples_are_refused(tmp_path: Path) -> None:
    rows = np.ones((1, 32), np.float32)
    path = tmp_path / "f.safetensors"
    write_weights(
        path,
        {"names": rows, "library": rows},
        {"names": json.dumps(["a"]), "labels": json.dumps(["b"])},
    )
    library = SoundLibrary.read(path)
    assert not library.takes_examples
    with pytest.raises(PromptError, match="names"):
        library.encode([noise(1.0)])


def test_labels_are_words_people_use(tmp_path: Path) -> None:
    pack = Pack(write_tiny_pack(tmp_path / "data"), tmp_path / "cache")
    labels = {label_of(clip) for clip in pack.clips}
    assert {"hiss", "beep", "kick drum", "snare drum", "hi hat", None} <= labels


def test_figures_of_sounds_follow_from_the_masks() -> None:
    """A network that answers one half everywhere improves a pair at 0 dB by 3 dB."""
    model = start_model().extended(NAMES, 1)
    with torch.no_grad():
        model.network.last.weight.zero_()
        model.network.last.bias.zero_()
    rng = np.random.default_rng(0)
    wanted, other = (0.1 * rng.standard_normal((2, 2, 65536))).astype(np.float32)
    case = Case("hiss", "env", wanted, other, wanted[0])
    for prompt_of in (by_example(model.eval()), by_name(model)):
        gains = improvements(model, [case], prompt_of)
        assert abs(gains["hiss"][0] - 3.0) < 0.1
    assert summary(gains)["cases"] == 1.0
    assert summary({})["cases"] == 0.0
