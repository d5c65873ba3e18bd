"""The second network kept as a small difference, and what the shipped files promise."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from stembridge.errors import CheckpointError, PromptError
from stembridge.prompts import Clip, ExamplePrompt, NamePrompt, Query, TextPrompt
from stembridge.separators import load_separator
from stembridge.separators.layers.unet import BINS, UNet
from stembridge.separators.layers.unet_delta import apply_delta, make_delta
from stembridge.separators.layers.unet_weights import read_weights, write_weights
from stembridge.training.network import SOUNDS_FILE


def _network(seed: int) -> UNet:
    torch.manual_seed(seed)
    return UNet(8, "decoder").eval().requires_grad_(False)


def test_a_change_of_low_rank_comes_back() -> None:
    base, other = _network(0), _network(0)
    torch.manual_seed(5)
    for convolution in list(other.u)[:5]:
        weight = convolution.weight
        flat = weight.reshape(weight.shape[0], -1)
        flat += 0.01 * torch.randn(flat.shape[0], 3) @ torch.randn(3, flat.shape[1])
    other.uf[2].bn.weight.mul_(1.25)
    stored = make_delta(base, other, rank=8)
    assert not any(".d." in key for key in stored)
    again = apply_delta(base, stored)
    magnitudes, prompt = torch.rand(1, 2, 64, BINS), torch.randn(1, 8)
    moved = (other(magnitudes, prompt) - base(magnitudes, prompt)).abs().mean()
    left = (other(magnitudes, prompt) - again(magnitudes, prompt)).abs().mean()
    assert float(left) < 0.05 * float(moved)


def test_a_difference_survives_its_file(tmp_path: Path) -> None:
    """Factors come out of the decomposition column by column; files hold rows."""
    base, other = _network(0), _network(0)
    torch.manual_seed(6)
    for convolution in list(other.u)[:5]:
        weight = convolution.get_parameter("weight")
        weight += 0.01 * torch.randn_like(weight)
    stored = make_delta(base, other, rank=8)
    write_weights(tmp_path / "d.safetensors", stored, {})
    again, _ = read_weights(tmp_path / "d.safetensors")
    direct, read = apply_delta(base, stored).state_dict(), apply_delta(base, again).state_dict()
    for key, value in direct.items():
        assert torch.equal(value, read[key]), key


def test_the_shipped_difference_is_a_decomposition() -> None:
    """The factors of a singular value decomposition have orthogonal columns and rows; a file
    whose values lie in another order has not."""
    stored, _ = read_weights(Path(str(resources.files("stembridge") / "weights")) / SOUNDS_FILE)
    for step in range(5):
        for role in ("left", "right"):
            key = f"delta.u.{step}.weight.{role}"
            factor = stored[key] * stored[f"{key}.scale"]
            columns = factor if role == "left" else factor.T
            unit = columns / np.linalg.norm(columns, axis=0)
            likeness = np.abs(unit.T @ unit - np.eye(unit.shape[1]))
            assert float(likeness.mean()) < 0.005, key


def test_no_change_is_no_file_and_no_copy() -> None:
    base = _network(0)
    assert make_delta(base, _network(0), rank=4) == {}
    assert apply_delta(base, {"names": np.zeros(1)}) is base


def test_a_difference_of_another_network_is_refused() -> None:
    base = _network(0)
    for stored in (
        {"delta.u.9.weight.whole": np.zeros(3, np.float16)},
        {"delta.u.5.weight.whole": np.zeros(3, np.float16)},
        {"delta.u.0.weight.left": np.zeros((512, 2), np.int8)},
    ):
        with pytest.raises(CheckpointError, match="does not fit"):
            apply_delta(base, stored)


def test_all_weights_stay_under_32_megabytes_and_say_where_they_come_from() -> None:
    folder = Path(str(resources.files("stembridge") / "weights"))
    files = sorted(folder.iterdir())
    assert sum(path.stat().st_size for path in files) <= 32_000_000
    for name in ("unet-drums-bass-other.safetensors", "unet-sounds.safetensors"):
        _, metadata = read_weights(folder / name)
        assert "tiny" not in metadata["attribution"]
        for kind in ("bass", "drums-loop", "env", "guitar", "keys", "speech", "vocals-singing"):
            assert f"{kind}: " in metadata["attribution"]
        assert "stembridge train" in metadata["command"]
        assert json.loads(metadata["log"])["steps"] > 0


def test_shipped_prompts_by_text_and_example_separate() -> None:
    """Noise against a low tone: the clip decides which of them is louder in the target."""
    unet = load_separator("unet")
    rng = np.random.default_rng(0)
    at = np.arange(3 * 44100) / 44100
    tone = 0.1 * np.sign(np.sin(2 * np.pi * 110 * at))
    hiss = 0.05 * np.diff(rng.standard_normal(at.size + 1))
    mixture = np.stack([tone + hiss] * 2).astype(np.float32)

    def query(prompt) -> Query:
        return Query(keep=(unet.encode(prompt),))

    clips = [ExamplePrompt((Clip(s[None].astype(np.float32), 44100),)) for s in (tone, hiss)]
    stems = unet.separate(mixture, [query(clip) for clip in clips], "mix")

    def share(stem: np.ndarray, source: np.ndarray) -> float:
        return float(np.abs(stem[0] @ source) / (source @ source))

    assert share(stems[1], hiss) / share(stems[1], tone) > share(stems[0], hiss) / share(
        stems[0], tone
    )
    assert unet.encode(TextPrompt("piano")).label == "keys"
    # "brass" is spelt almost as "bass" is
    for text, label in (("brass", "winds"), ("violin", "strings"), ("woodwinds", "winds")):
        assert unet.encode(TextPrompt(text)).label == label
    with pytest.raises(PromptError, match="'drums'"):
        unet.encode(TextPrompt("drumms"))
    assert np.array_equal(
        unet.encode(NamePrompt("rain")).vector, unet.encode(TextPrompt("Rain")).vector
    )
