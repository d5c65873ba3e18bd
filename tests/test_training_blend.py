"""Averages of weights, and the one command that makes the files that ship."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stembridge.cli import main
from stembridge.errors import CheckpointError
from stembridge.separators.layers.unet import UNet
from stembridge.separators.layers.unet_delta import apply_delta
from stembridge.separators.layers.unet_weights import build_unet, read_weights
from stembridge.training import network
from stembridge.training.blend import Share, blend, on_encoder_of, read_model
from stembridge.training.export import DELTA_RANK
from stembridge.training.mixer import STEMS
from stembridge.training.prompted import Prompted
from stembridge.training.sounds import NAMES
from tiny_pack import write_tiny_pack


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    """The arguments of a tiny pack and of a cache that its users share."""
    root = tmp_path_factory.mktemp("tiny")
    return ["--data", str(write_tiny_pack(root / "data")), "--cache", str(root / "cache")]


def _moved(model: Prompted, seed: int, size: float = 0.01) -> Prompted:
    """The same model with its decoder and prompts moved at random."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("network.d"):
                parameter.add_(size * torch.randn_like(parameter))
    return model


def _save(model: Prompted, path: Path) -> None:
    torch.save(
        {
            "format": 1,
            "settings": {},
            "names": list(model.names),
            "step": 1,
            "model": model.state_dict(),
            "average": model.state_dict(),
            "optimiser": {},
        },
        path,
    )


def test_shares_weigh_every_weight_and_prompt(tmp_path: Path) -> None:
    first, second = _moved(network.start_model(), 1), _moved(network.start_model(), 2)
    _save(second, tmp_path / "second.ckpt")
    start = network.package_weights() / network.PROMPTED_FILE
    shares = [Share(tmp_path / "second.ckpt", 0.3), Share(start, 0.2)]
    mean = blend(first, shares)
    shipped = network.start_model()
    for key in ("u.2.weight", "uf.3.f.bias", "d.1.weight"):
        states = [m.network.state_dict()[key] for m in (first, second, shipped)]
        wanted = 0.5 * states[0] + 0.3 * states[1] + 0.2 * states[2]
        torch.testing.assert_close(mean.network.state_dict()[key], wanted)
    rows = 0.5 * first.tok + 0.3 * second.tok + 0.2 * shipped.tok
    torch.testing.assert_close(mean.tok.detach(), rows.detach())
    assert mean.names == STEMS
    with pytest.raises(CheckpointError, match="less than 1"):
        blend(first, [Share(start, 0.6), Share(start, 0.4)])
    with pytest.raises(CheckpointError):
        blend(first, [Share(tmp_path / "none.safetensors", 0.5)])


def test_names_and_encoder_of_a_sounds_file_are_taken_up() -> None:
    """The start with the shipped sounds is the network, names and encoder that ship."""
    folder = network.package_weights()
    sounds = folder / network.SOUNDS_FILE
    model = network.start_model(sounds=sounds)
    stored, metadata = read_weights(sounds)
    named = json.loads(metadata["names"])
    assert model.names == (*STEMS, *named)
    longer = model.extended(NAMES, 1)
    assert longer.names == (*STEMS, *NAMES)
    for row, name in enumerate(named):
        mine = longer.tok[longer.names.index(name)].detach().numpy()
        np.testing.assert_array_equal(mine, stored["names"][row])
    assert model.encoder is not None and longer.encoder is model.encoder
    bias = model.encoder.state_dict()["out.2.bias"].numpy()
    np.testing.assert_array_equal(bias, stored["encoder.out.2.bias"].astype(np.float32))
    plain = network.start_model().network
    key = "u.1.weight"
    wanted = apply_delta(plain, stored).state_dict()[key]
    assert not torch.equal(model.network.state_dict()[key], plain.state_dict()[key])
    torch.testing.assert_close(model.network.state_dict()[key], wanted)


def test_an_encoder_of_its_own_cannot_stand_beside_the_stems() -> None:
    base = network.start_model().network
    near = UNet(base.prompt_size, base.condition)
    near.load_state_dict(base.state_dict())
    parameters = dict(near.named_parameters())
    with torch.no_grad():
        parameters["d.0.weight"].mul_(1 + 1e-4)
        parameters["u.0.weight"].mul_(1.1)
    copy, theirs = on_encoder_of(base, near).state_dict(), base.state_dict()
    assert torch.equal(copy["d.0.weight"], theirs["d.0.weight"])
    assert torch.equal(copy["u.0.weight"], parameters["u.0.weight"])
    with torch.no_grad():
        parameters["d.3.weight"].mul_(1.1)
    with pytest.raises(CheckpointError, match="another encoder"):
        on_encoder_of(base, near)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    model = network.start_model()
    _save(model, tmp_path / "good.ckpt")
    again = read_model(tmp_path / "good.ckpt")
    assert torch.equal(again.tok, model.tok)
    content = torch.load(tmp_path / "good.ckpt", weights_only=True)
    content["average"].pop("network.u.0.weight")
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="does not fit"):
        read_model(tmp_path / "bad.ckpt")


def test_one_command_averages_and_exports_both_files(
    tmp_path: Path, folders: list[str], capsys, monkeypatch
) -> None:
    """The stems' file is the mean within 8 bits, and the sounds' file brings the run's own
    network back beside it."""
    out = tmp_path / "new.safetensors"
    words = ["train", *folders, "--out", str(out), "--threads", "1"]
    words += ["--batch", "1", "--sounds", "1", "--rate", "0.01"]
    monkeypatch.setattr("sys.argv", ["stembridge", *words, "--steps", "2"])
    assert main([*words, "--steps", "2"]) == 0
    trained = read_model(tmp_path / "new.safetensors.ckpt")
    start = network.package_weights() / network.PROMPTED_FILE
    words += ["--export-only", "--blend"]
    monkeypatch.setattr("sys.argv", ["stembridge", *words, f"{start}=0.75"])
    assert main([*words, f"{start}=0.75"]) == 0
    assert "new-sounds.safetensors" in capsys.readouterr().err.replace("\n", "")
    stored, metadata = read_weights(out)
    assert "--steps 2" in metadata["command"]
    assert f"--blend {start.name}=0.75" in metadata["command"]
    assert str(tmp_path) not in metadata["command"], "nobody's folders are told"
    tok = torch.from_numpy(stored.pop("tok"))
    mean = blend(trained, [Share(start, 0.75)])
    torch.testing.assert_close(tok, mean.tok.detach())
    stems = build_unet(stored)
    state = stems.state_dict()
    for key, value in mean.network.state_dict().items():
        step = float(value.abs().max()) / 127
        assert float((state[key] - value).abs().max()) <= 0.51 * step, key
    sounds, _ = read_weights(tmp_path / "new-sounds.safetensors")
    assert not any(key.startswith("delta.d") for key in sounds)
    own, again = trained.network.state_dict(), apply_delta(stems, sounds).state_dict()
    torch.testing.assert_close(again["uf.1.f.weight"], own["uf.1.f.weight"], rtol=1e-3, atol=1e-4)
    change = (own["u.2.weight"] - state["u.2.weight"]).flatten(1)
    left_out = torch.linalg.svdvals(change)[DELTA_RANK:].norm()
    missed = (again["u.2.weight"] - own["u.2.weight"]).norm()
    # what the rank leaves out, and the rounding of its factors to 8 bits
    assert 0 < float(missed) < float(left_out) + 0.05 * float(change.norm())
    assert float(left_out) < 0.5 * float(change.norm())
    with pytest.raises(SystemExit):
        main([*words, f"{start}=1.5"])
    assert "0 < SHARE < 1" in capsys.readouterr().err


def test_sounds_alone_leave_the_stems_as_they_are(
    tmp_path: Path, folders: list[str], capsys
) -> None:
    out = tmp_path / "more.safetensors"
    words = ["train", *folders, "--out", str(out), "--threads", "1"]
    words += ["--sounds", "1", "--start-sounds", "--steps", "1"]
    assert main([*words, "--batch", "0"]) == 0
    assert not out.exists()
    stored, metadata = read_weights(tmp_path / "more-sounds.safetensors")
    assert len(json.loads(metadata["names"])) == stored["names"].shape[0] == len(NAMES)
    assert any(key.startswith("delta.u") for key in stored)
    line = json.loads((tmp_path / "more.safetensors.jsonl").read_text().splitlines()[0])
    assert "drums" not in line and line["loss"] == line["sound"]
    assert main([*words[:-2], "--batch", "0", "--sounds", "0"]) == 1
    assert "--batch or --sounds" in capsys.readouterr().err
