"""The training loop: seeded, resumable to the bit, logged as it goes.

Every random number of step `n` comes from `(seed, n)`, so a run carries no hidden state:
a checkpoint is weights, their moving average, the optimiser's moments and the step, and a
resumed run draws the very mixtures the unbroken one would have drawn. Norm statistics stay
those of the published network. The moving average of the weights is what is validated and
exported.

    shelves ─> mixer ─> spectra ─> frozen pair: m_v ──────────────┐
                           └─> encoder ─> decoder x prompts ─> ratio masks ─> loss
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..separators.layers.example_encoder import ExampleEncoder
from ..separators.layers.unet import UNet
from .checkpoint import read_checkpoint, write_checkpoint
from .losses import ratio_masks, spectrum, stem_loss
from .mixer import STEMS, Mixer, stem_targets
from .prompted import Prompted
from .settings import Settings
from .sounds import SoundMixer
from .validation import PublishedPair, estimate_all


class Trainer:
    """One run. `step()` does one optimiser step and returns its figures.

    Args:
        model: the network and prompts to train, changed in place.
        pair: the frozen published networks that take the vocals out.
        mixer: where examples come from.
        device: "cpu" or "cuda"; everything else is the same.
        command: what started the run, kept in the checkpoints for the files' metadata.
    """

    def __init__(
        self,
        model: Prompted,
        pair: PublishedPair,
        mixer: Mixer,
        settings: Settings,
        device: str = "cpu",
        sounds: SoundMixer | None = None,
        command: str = "",
    ) -> None:
        if settings.batch + settings.sound_batch == 0:
            raise ValueError("a step needs bands (batch) or sounds (sound_batch)")
        if settings.sound_batch and (sounds is None or model.encoder is None):
            raise ValueError("sound_batch needs a SoundMixer and a model with an encoder")
        self.model, self.pair, self.mixer = model.to(device), pair, mixer
        self.sounds, self.command = sounds, command
        self.settings, self.device = settings, device
        for network in (pair.vocals, pair.accompaniment, model.network):
            # measured a quarter faster than the default layout on the CPU
            network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.at_step = 0
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        if settings.freeze_encoder:
            for name, parameter in model.network.named_parameters():
                parameter.requires_grad_(not name.startswith(("d.", "df.")))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        prompt_side, trunk = [], []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                side = name == "tok" or ".f." in name
                (prompt_side if side else trunk).append(parameter)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": trunk, "factor": 1.0},
                {"params": prompt_side, "factor": settings.prompt_rate_factor},
            ],
            lr=settings.rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def batch(self, step: int, part: int) -> Tensor:
        """Targets of a batch, `(batch, 4, 2, samples)`; the mixture is their sum."""
        samples = self.mixer.recipe.samples
        rows = []
        for index in range(self.settings.batch):
            rng = np.random.default_rng([self.settings.seed, step, part, index])
            rows.append(stem_targets(self.mixer.draw(rng), samples))
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def loss(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and its part of every stem (for the log)."""
        settings = self.settings
        kind = torch.device(self.device).type
        with torch.no_grad():
            parts = spectrum(targets)
            mixture = parts.sum(dim=1)
            size = mixture.abs().contiguous(memory_format=torch.channels_last)
            with torch.autocast(kind, torch.bfloat16, enabled=settings.bfloat16):
                vocals = self.pair.vocals_mask(size)
        with torch.autocast(kind, torch.bfloat16, enabled=settings.bfloat16):
            raw = estimate_all(self.model.network, size, self.model.tok[: len(STEMS)])
        raw = raw.float()
        masks = (1 - vocals.float())[:, None] * ratio_masks(raw)
        each = stem_loss(
            masks,
            raw,
            mixture,
            parts[:, : len(STEMS)],
            phase_aware=settings.phase_aware,
            raw_weight=settings.raw_weight,
        ).mean(dim=0)
        return each.sum(), each.detach()

    def sound_loss(self, step: int) -> tuple[Tensor, Tensor]:
        """Loss of a batch of sounds, each asked for by its name or by a clip; beside it the
        plain error and the contrast between clips of one sound and of others."""
        settings = self.settings
        assert self.sounds is not None and self.model.encoder is not None
        generators = [
            np.random.default_rng([settings.seed, step, 1000, index])
            for index in range(settings.sound_batch)
        ]
        audio, clips, rows, weight = self.sounds.batch(
            generators, self.model.names, settings.band_share, settings.name_share
        )
        parts = spectrum(torch.from_numpy(audio).to(self.device))
        mixture = parts.sum(dim=1)
        size = mixture.abs().contiguous(memory_format=torch.channels_last)
        kind = torch.device(self.device).type
        heard = self.model.encoder(torch.from_numpy(clips).to(self.device).flatten(0, 1))
        heard = heard.view(*rows.shape, -1)
        chosen = torch.from_numpy(rows).to(self.device)
        named = self.model.tok[chosen.clamp(min=0)]
        prompts = torch.where((chosen >= 0)[..., None], named, heard)
        with torch.autocast(kind, torch.bfloat16, enabled=settings.bfloat16):
            raw = self.model.network.decode_many(self.model.network.encode(size), prompts)
        raw = raw.float()
        each = stem_loss(raw, raw, mixture, parts[:, :2], raw_weight=0.0)
        weights = torch.from_numpy(weight).to(self.device)
        error = (each * weights).sum() / weights.sum().clamp(min=1)
        contrast = torch.zeros((), device=self.device)
        if settings.contrast_weight:
            own = torch.from_numpy(audio[:, :2].mean(axis=2)).to(self.device).flatten(0, 1)
            keep = (weights > 0).flatten()
            there = self.model.encoder(own)[keep] / math.sqrt(heard.shape[-1])
            here = heard.flatten(0, 1)[keep] / math.sqrt(heard.shape[-1])
            likeness = here @ there.T / 0.1
            contrast = nn.functional.cross_entropy(
                likeness, torch.arange(likeness.shape[0], device=self.device)
            )
        return error + settings.contrast_weight * contrast, torch.stack([error, contrast]).detach()

    def step(self) -> dict[str, float]:
        """One optimiser step over `accumulate` batches."""
        settings = self.settings
        began = time.perf_counter()
        rate = settings.learning_rate(self.at_step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros(len(STEMS))
        mixing = 0.0
        for part in range(settings.accumulate if settings.batch else 0):
            started = time.perf_counter()
            targets = self.batch(self.at_step, part)
            mixing += time.perf_counter() - started
            loss, each = self.loss(targets)
            (loss / settings.accumulate).backward()
            total += each.cpu() / settings.accumulate
        sound = torch.full((2,), math.nan)
        if settings.sound_batch:
            loss, sound = self.sound_loss(self.at_step)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.at_step += 1
        decay = min(settings.average_decay, (1 + self.at_step) / (10 + self.at_step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[key].lerp_(value, 1 - decay)
        took = time.perf_counter() - began
        examples = settings.batch * settings.accumulate + settings.sound_batch
        seconds = examples * self.mixer.recipe.seconds
        line = {"step": self.at_step, "loss": float(total.sum() if settings.batch else sound[0])}
        if settings.batch:
            line |= {name: float(value) for name, value in zip(STEMS, total, strict=True)}
        if settings.sound_batch:
            line |= {"sound": float(sound[0]), "contrast": float(sound[1])}
        return line | {
            "gradient": float(norm),
            "rate": rate,
            "audio_seconds": seconds,
            "seconds_per_second": seconds / took,
            "mixing_share": mixing / took,
        }

    def averaged(self) -> Prompted:
        """A copy of the model with the moving average of its weights, for judging."""
        network = UNet(self.model.network.prompt_size, self.model.network.condition)
        encoder = ExampleEncoder(network.prompt_size) if self.model.encoder else None
        copy = Prompted(network, self.model.tok.detach().cpu(), self.model.names, encoder)
        copy.load_state_dict({k: v.cpu() for k, v in self.average.items()})
        return copy.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        """Write a checkpoint beside its place, then rename it there."""
        content = {
            "command": self.command,
            "settings": asdict(self.settings),
            "names": list(self.model.names),
            "step": self.at_step,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        write_checkpoint(path, content)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same settings.

        Raises:
            CheckpointError: a broken file, another format, or other settings.
        """
        content = read_checkpoint(path)
        stored = content["settings"]
        mine = asdict(self.settings)
        changed = sorted(k for k in mine if k != "steps" and stored.get(k) != mine[k])
        if changed or list(self.model.names) != content["names"]:
            raise CheckpointError(
                f"{path} was trained with other settings ({', '.join(changed) or 'prompts'}). "
                "Resume with the same ones, or start a new file with --out."
            )
        try:
            self.model.load_state_dict(content["model"])
            self.optimiser.load_state_dict(content["optimiser"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} does not fit this network. Start a new file with --out."
            ) from error
        self.average = {k: v.to(self.device) for k, v in content["average"].items()}
        self.at_step = int(content["step"])


def run(
    trainer: Trainer,
    checkpoint: Path,
    log: Path,
    validate: Callable[[Prompted], dict[str, float]] | None = None,
    *,
    save_every: int = 200,
    validate_every: int = 400,
    until: float | None = None,
    tell: Callable[[dict[str, float]], None] | None = None,
) -> None:
    """Train to the last step (or to the wall-clock time `until`), logging a line a step.

    The log is JSON lines; lines of validation carry `"validation": true`. A checkpoint is
    written every `save_every` steps, before each validation and at the end.
    """
    with log.open("a", encoding="utf-8") as file:

        def note(line: dict) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()
            if tell is not None:
                tell(line)

        while trainer.at_step < trainer.settings.steps:
            if until is not None and time.time() > until:
                break
            line = trainer.step()
            if not math.isfinite(line["loss"]):
                raise CheckpointError(
                    f"The loss is not finite at step {trainer.at_step}. Resume from "
                    f"{checkpoint} with a lower --rate."
                )
            note(line)
            last = trainer.at_step == trainer.settings.steps
            if trainer.at_step % save_every == 0 or last:
                trainer.save(checkpoint)
            if validate is not None and (trainer.at_step % validate_every == 0 or last):
                note({"step": trainer.at_step, "validation": True, **validate(trainer.averaged())})
        trainer.save(checkpoint)
