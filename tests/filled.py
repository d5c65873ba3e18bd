"""Networks filled with reproducible numbers, by the published names of their tensors.

The numbers of a tensor depend on its name and shape alone, so two implementations that share
nothing but the published names hold the same network, and their outputs can be compared.
The same fill writes checkpoints in the published layouts, for tests of loading.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from stembridge.checkpoints_keys import KeyTable, Shape


def fill(name: str, shape: Shape) -> Tensor:
    """The tensor of the published name `name`, float32.

    Variances are in 0.5 and up, means near 0, gains near 1, biases near 0, and weights of a
    size that keeps activations near 1.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    numbers = torch.randn(shape, generator=generator)
    if name.endswith("running_var"):
        return numbers.abs_().mul_(0.5).add_(0.5)
    if name.endswith("running_mean"):
        return numbers.mul_(0.1)
    if len(shape) < 2:
        if name.endswith(("weight", "gamma")):
            return numbers.mul_(0.1).add_(1.0)
        return numbers.mul_(0.05)
    return numbers.div_(math.sqrt(math.prod(shape[1:])))


def filled_state(table: KeyTable, prefix: str = "", fill_unused: bool = False) -> dict[str, Tensor]:
    """A published state dict for `table`; `prefix` stands before each name when filling.

    Unused tensors are zeros unless `fill_unused`, to save time.
    """
    return {
        name: torch.zeros(shape)
        if name in table.unused and not fill_unused
        else fill(prefix + name, shape)
        for name, shape in table.shapes().items()
    }


def scaled(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The weights of two and more dimensions times `scale`, which drives masks into the ends."""
    return {name: t * scale if t.ndim >= 2 else t for name, t in state.items()}
