"""Checkpoints of a training: written aside and renamed, read without running anything.

A checkpoint holds everything a run needs to go on to the bit: settings, step, weights,
their moving average and the optimiser's moments.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

FORMAT = 1


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside its place, then rename it there."""
    part = path.with_name(path.name + ".part")
    torch.save({"format": FORMAT, **content}, part)
    part.replace(path)


def read_checkpoint(path: Path) -> dict:
    """The content of a checkpoint, loaded without running anything in it.

    Raises:
        CheckpointError: a missing, truncated, unsafe or foreign file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"Cannot resume from {path}: {type(error).__name__}. "
            "Give an intact checkpoint, or start again without --resume."
        ) from error
    needed = {"format", "settings", "names", "step", "model", "average", "optimiser"}
    if not isinstance(content, dict) or not needed <= content.keys():
        raise CheckpointError(f"{path} is not a training checkpoint. Give the .ckpt of a run.")
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {content['format']}, this version reads {FORMAT}. "
            "Resume with the version that wrote it."
        )
    return content
