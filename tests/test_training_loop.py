"""The training itself: what it minimises, how it resumes, what it writes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stembridge.cli import main
from stembridge.errors import CheckpointError, StembridgeError
from stembridge.separators.layers.unet import BINS, UNet
from stembridge.separators.layers.unet_weights import build_unet, read_weights
from stembridge.training import losses, network, validation
from stembridge.training.checkpoint import read_checkpoint
from stembridge.training.export import export_network
from stembridge.training.mixer import STEMS, Mixer, Recipe, stem_targets
from stembridge.training.pack import SAMPLE_RATE
from stembridge.training.plotting import plot_log
from stembridge.training.prepare import prepare
from stembridge.training.prompted import Prompted
from stembridge.training.settings import Settings, settings_from
from stembridge.training.sounds import NAMES, SoundMixer, make_groups
from stembridge.training.trainer import Trainer, run
from tiny_pack import write_tiny_pack

SHORT = Recipe(seconds=65536 / SAMPLE_RATE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A prepared tiny pack, and a function that builds a fresh trainer on it."""
    root = tmp_path_factory.mktemp("bench")
    pack, shelves = prepare(write_tiny_pack(root / "data"), root / "cache", seed=1)
    mixer = Mixer(shelves, SHORT)
    pair = network.published_pair()

    def build(settings: Settings) -> Trainer:
        model = network.start_model()
        if not settings.sound_batch:
            return Trainer(model, pair, mixer, settings)
        sounds = SoundMixer(pack, shelves, make_groups(pack, shelves, held_out=False), mixer)
        return Trainer(model.extended(NAMES, 1), pair, mixer, settings, sounds=sounds)

    return build


def test_ratio_masks_share_out_everything() -> None:
    masks = losses.ratio_masks(torch.rand(2, 3, 2, 4, 8))
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 2, 4, 8))
    empty = losses.ratio_masks(torch.zeros(1, 3, 2, 1, 1))
    torch.testing.assert_close(empty, torch.full_like(empty, 1 / 3))


def test_spectra_have_whole_frames() -> None:
    bins = losses.spectrum(torch.randn(2, 3, 65536))
    assert bins.shape == (2, 3, 64, BINS) and bins.is_complex()


def test_the_phase_aware_loss_prefers_the_mask_of_least_error() -> None:
    """Where two sources cancel, the best real mask is Re(s/x), not |s|/|x|."""
    source = torch.full((1, 1, 2, 1, 1), 1.0 + 0j)
    other = torch.full((1, 1, 2, 1, 1), 0.0 + 1j)
    mixture = (source + other)[:, 0]

    def at(mask: float, phase_aware: bool) -> float:
        masks = torch.full((1, 1, 2, 1, 1), mask)
        loss = losses.stem_loss(
            masks, masks, mixture, source, phase_aware=phase_aware, raw_weight=0.0
        )
        return float(loss)

    grid = [round(0.05 * step, 2) for step in range(21)]
    assert min(grid, key=lambda mask: at(mask, True)) == 0.5
    assert min(grid, key=lambda mask: at(mask, False)) == 0.7


def test_loss_is_zero_for_the_truth_and_scales_with_nothing() -> None:
    parts = torch.randn(2, 2, 2, 4, 8, dtype=torch.complex64)
    mixture = parts.sum(dim=1)
    whole = torch.ones(2, 1, 2, 4, 8)
    loss = losses.stem_loss(whole, whole, mixture, mixture[:, None], raw_weight=0.0)
    assert float(loss.max()) < 1e-3
    masks = torch.rand(2, 2, 2, 4, 8)
    quiet = losses.stem_loss(masks, masks, mixture, parts)
    loud = losses.stem_loss(masks, masks, 100 * mixture, 100 * parts)
    torch.testing.assert_close(quiet, loud, rtol=2e-3, atol=1e-3)


def test_sdr_against_an_oracle() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.standard_normal((2, 5 * SAMPLE_RATE)).astype(np.float32)
    noise = rng.standard_normal(wanted.shape).astype(np.float32)
    assert abs(validation.frame_sdr(wanted, wanted + 0.1 * noise) - 20.0) < 0.1
    half_silent = wanted.copy()
    half_silent[:, : 2 * SAMPLE_RATE] = 0
    assert abs(validation.frame_sdr(half_silent, half_silent + 0.1 * noise) - 20.0) < 0.1
    assert np.isnan(validation.frame_sdr(np.zeros_like(wanted), noise))


@pytest.mark.parametrize("samples", [1, 8193, 100_000])
def test_masks_of_one_give_the_mixture_back(samples: int) -> None:
    mixture = np.random.default_rng(1).standard_normal((2, samples)).astype(np.float32)
    out = validation.separate(mixture, lambda magnitudes: torch.ones(1, *magnitudes.shape[1:]))
    assert out.shape == (1, 2, samples)
    np.testing.assert_allclose(out[0], mixture, atol=1e-4)


def test_sharing_the_encoder_keeps_the_mean_prompt_exactly() -> None:
    """With one prompt, folding it into the norms changes nothing at all."""
    torch.manual_seed(0)
    full = UNet(32, "all").eval()
    for parameter in full.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    prompt = torch.randn(1, 32)
    magnitudes = torch.rand(1, 2, 64, BINS)
    with torch.no_grad():
        shared = network.share_encoder(full, prompt)
        assert shared.condition == "decoder"
        torch.testing.assert_close(
            shared(magnitudes, prompt), full(magnitudes, prompt), rtol=1e-4, atol=1e-5
        )
    assert network.share_encoder(shared, prompt) is shared


def test_other_is_the_sum_of_its_layers() -> None:
    parts = {name: np.full((2, 4), i + 1, np.float32) for i, name in enumerate(("keys", "synth"))}
    targets = stem_targets(parts | {"drums": np.ones((2, 4), np.float32)}, 4)
    np.testing.assert_array_equal(targets[2], np.full((2, 4), 3))
    np.testing.assert_array_equal(targets[0], np.ones((2, 4)))
    assert not targets[1].any() and not targets[3].any()


def _same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_resumed_run_equals_the_unbroken_one_to_the_bit(bench, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = Settings(seed=5, steps=3, batch=1, accumulate=1, warmup_steps=1, sound_batch=1)
    whole = bench(settings)
    run(whole, tmp_path / "whole.ckpt", tmp_path / "whole.jsonl")
    broken = bench(settings)
    broken.step()
    broken.save(tmp_path / "broken.ckpt")
    taken_up = bench(settings)
    taken_up.resume(tmp_path / "broken.ckpt")
    run(taken_up, tmp_path / "broken.ckpt", tmp_path / "broken.jsonl")
    assert taken_up.at_step == whole.at_step == 3
    assert _same(whole.model.state_dict(), taken_up.model.state_dict())
    assert _same(whole.average, taken_up.average)
    lines = [json.loads(t)["loss"] for t in (tmp_path / "whole.jsonl").read_text().splitlines()]
    again = [json.loads(t)["loss"] for t in (tmp_path / "broken.jsonl").read_text().splitlines()]
    assert lines[1:] == again and all(np.isfinite(lines))
    before = network.start_model().state_dict()
    frozen = {k: v for k, v in whole.model.state_dict().items() if "running" in k}
    assert _same({k: before[k] for k in frozen}, frozen)
    plot_log(tmp_path / "whole.jsonl", tmp_path / "log.png")
    assert (tmp_path / "log.png").stat().st_size > 5000


def test_training_lowers_the_loss_of_a_fixed_batch(bench) -> None:
    settings = Settings(
        seed=2, steps=60, batch=1, accumulate=1, warmup_steps=1, rate=5e-4, freeze_encoder=True
    )
    trainer = bench(settings)
    targets = trainer.batch(0, 0)
    trainer.batch = lambda step, part: targets
    before = {k: v.clone() for k, v in trainer.model.network.d.state_dict().items()}
    found = [trainer.step()["loss"] for _ in range(8)]
    assert found[-1] < 0.9 * found[0]
    assert _same(before, trainer.model.network.d.state_dict())


def test_checkpoints_are_refused_with_reasons(bench, tmp_path: Path) -> None:
    settings = Settings(steps=2, batch=1)
    trainer = bench(settings)
    trainer.save(tmp_path / "a.ckpt")
    other = bench(dataclasses.replace(settings, rate=1e-3))
    with pytest.raises(CheckpointError, match="rate"):
        other.resume(tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="Cannot resume"):
        read_checkpoint(tmp_path / "b.ckpt")
    with pytest.raises(CheckpointError, match="Cannot resume"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "c.ckpt")
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        read_checkpoint(tmp_path / "c.ckpt")
    with pytest.raises(CheckpointError, match="Unknown training settings: colour"):
        settings_from({"colour": 1})
    with pytest.raises(StembridgeError, match="no steps"):
        (tmp_path / "empty.jsonl").write_text("")
        plot_log(tmp_path / "empty.jsonl", tmp_path / "x.png")


def test_a_pickle_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"format": Bad()}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


def test_exported_weights_are_the_network_within_eight_bits(tmp_path: Path) -> None:
    model = network.start_model()
    export_network(model, tmp_path / "w.safetensors", command="test", log="{}", clips=[])
    stored, metadata = read_weights(tmp_path / "w.safetensors")
    assert json.loads(metadata["prompts"]) == list(STEMS)
    assert (tmp_path / "w.safetensors").stat().st_size < 11 * 2**20
    assert {"origin", "licence", "attribution", "command", "log"} <= metadata.keys()
    tok = torch.from_numpy(stored.pop("tok"))
    torch.testing.assert_close(tok, model.tok.detach())
    magnitudes = torch.rand(1, 2, 64, BINS)
    with torch.no_grad():
        again = build_unet(stored)(magnitudes, tok[:1])
        first = model.network(magnitudes, model.tok[:1])
    assert float((again - first).abs().max()) < 0.02


def test_the_model_keeps_the_stems_first() -> None:
    with pytest.raises(ValueError, match="stems first"):
        Prompted(UNet(8, "decoder"), torch.zeros(3, 8), ("bass", "drums", "other"))


def test_the_verb_trains_resumes_and_exports(tmp_path: Path, capsys) -> None:
    data = write_tiny_pack(tmp_path / "data")
    out = tmp_path / "weights" / "new.safetensors"
    words = ["train", "--data", str(data), "--out", str(out), "--batch", "1", "--sounds", "1"]
    words += ["--threads", "1", "--seed", "3"]
    assert main([*words, "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err
    assert main([*words, "--steps", "1"]) == 0
    assert main([*words, "--steps", "1"]) == 1
    assert "--resume" in capsys.readouterr().err
    picture = tmp_path / "log.png"
    assert main([*words, "--steps", "2", "--resume", "--plot", str(picture)]) == 0
    assert picture.exists()
    lines = out.with_name(out.name + ".jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if '"validation"' not in line] == [1, 2]
    stored, metadata = read_weights(out)
    assert "tiny/bass (CC0-1.0; 10 clips)" in metadata["attribution"]
    assert stored["tok"].shape[0] == 3
    sounds, metadata = read_weights(out.with_name("new-sounds.safetensors"))
    assert "hiss" in json.loads(metadata["labels"])
    assert sounds["names"].shape[0] == len(NAMES)
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "x.st")]) == 1
    assert "index.csv" in capsys.readouterr().err
