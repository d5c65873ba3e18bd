"""Averages of weights: a training's checkpoint with other checkpoints or weights files.

Weights of runs that began at the same place may be averaged, and the average often
separates real songs better than any of them. Files are read as they would be trained
further: the prompt-free encoder where a file has none yet, the moving average of a
checkpoint.

    --blend start.safetensors=0.5     0.5 of the run, 0.5 of the start
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import CheckpointError
from ..separators.layers.unet import UNet
from .checkpoint import read_checkpoint
from .mixer import STEMS
from .network import start_model
from .prompted import Prompted


@dataclass(frozen=True)
class Share:
    """A file to average with, and its share of the result (0 to 1)."""

    path: Path
    share: float


def read_model(path: Path, start: Path | None = None) -> Prompted:
    """The averaged model of a checkpoint (`.ckpt`), or the stems of a weights file.

    Args:
        start: a weights file of the checkpoint's layout (default: the shipped one).

    Raises:
        CheckpointError: a missing or foreign file.
    """
    if path.suffix != ".ckpt":
        return start_model(path)
    content = read_checkpoint(path)
    model = start_model(start)
    names = tuple(content["names"])
    if len(names) > len(STEMS):
        model = model.extended(names[len(STEMS) :], 0)
    try:
        with torch.no_grad():
            model.load_state_dict(content["average"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit this network.") from error
    return model.eval().requires_grad_(False)


@torch.no_grad()
def blend(model: Prompted, shares: Sequence[Share], start: Path | None = None) -> Prompted:
    """The stems of `model` averaged with others; `model` itself gets what the shares leave.

    Raises:
        CheckpointError: shares that leave nothing, or a network of another layout.
    """
    left = 1 - sum(each.share for each in shares)
    if left <= 0:
        raise CheckpointError("The shares of --blend must add up to less than 1.")
    network = UNet(model.network.prompt_size, model.network.condition)
    state = {k: left * v.float() for k, v in model.network.state_dict().items() if _is_weight(k)}
    prompts = left * model.tok[: len(STEMS)]
    for each in shares:
        other = read_model(each.path, start)
        theirs = other.network.state_dict()
        if any(key not in theirs or theirs[key].shape != v.shape for key, v in state.items()):
            raise CheckpointError(f"{each.path} is a network of another layout. Leave it out.")
        for key in state:
            state[key] += each.share * theirs[key].float()
        prompts = prompts + each.share * other.tok[: len(STEMS)]
    network.load_state_dict(state, strict=False)
    return Prompted(network, prompts, STEMS).eval().requires_grad_(False)


@torch.no_grad()
def on_encoder_of(base: UNet, network: UNet, tolerance: float = 2e-3) -> UNet:
    """A copy of `network` with the encoder of `base`, where both are one within rounding.

    Two networks that share an encoder need only one pass of it, and a difference between
    them then holds their decoders alone.

    Raises:
        CheckpointError: the encoders differ by more than `tolerance` of their largest weight.
    """
    mine, theirs = network.state_dict(), base.state_dict()
    for key, value in theirs.items():
        if not key.startswith(("d.", "df.")) or not _is_weight(key):
            continue
        # 8 bits move a weight by up to half a step of 1/127 of its channel's largest
        limit = (tolerance + 0.5 / 127) * float(value.abs().max().clamp(min=1e-6))
        if float((mine[key] - value).abs().max()) > limit:
            raise CheckpointError(
                "The sounds have another encoder than the stems they would be stored beside. "
                "Train without --train-encoder, or export without --blend."
            )
        mine[key] = value
    copy = UNet(network.prompt_size, network.condition)
    copy.load_state_dict(mine)
    return copy.eval().requires_grad_(False)


def _is_weight(key: str) -> bool:
    return "num_batches" not in key
