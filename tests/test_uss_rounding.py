"""The quick form of USS's network rounds no more than the plain one does.

Under some fills the logits reach 1e5 while masks change within a few units of zero, so two
float32 computations that differ only in the order of their sums give audibly equal but not
numerically close stems. Comparing the two with each other then says nothing about who is
right; both are held against the same network in float64, at its logits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import plain_systems
from filled import fill, scaled
from stembridge.checkpoints_keys import install, on_meta
from stembridge.separators import uss_keys
from stembridge.separators.layers.resunet import ResUnet30
from stembridge.separators.uss import Uss

CONDITION = 2048
FRAMES = 32
LEEWAY = 1.5
"""Folded norms, products for 1 x 1 and channels last together came to 0.99 to 1.01."""


def filled(prefix: str, scale: float) -> ResUnet30:
    table = uss_keys.separator_table(CONDITION)
    state = {name: fill(prefix + name, shape) for name, shape in table.shapes().items()}
    network = on_meta(lambda: ResUnet30(CONDITION))
    assert isinstance(network, ResUnet30)
    install(network, table.convert(scaled(state, scale), "the fill"))
    return network


def logits(network: ResUnet30, run: Callable[[], object]) -> Tensor:
    """What the last convolution gives while `run` runs, in float64."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        seen.append(out)

    hook = network.after_conv.register_forward_hook(keep)
    run()
    hook.remove()
    return seen[0].double()


@torch.inference_mode()
@pytest.mark.parametrize(("prefix", "loudness", "scale"), [("", 1.0, 1.0), ("y.", 100.0, 1.5)])
def test_rounding_is_that_of_plain_arithmetic(prefix: str, loudness: float, scale: float) -> None:
    """`loudness`: of the condition, which is an embedding that grows with its network's weights."""
    generator = torch.Generator().manual_seed(3)
    magnitude = 3.0 * torch.randn((1, FRAMES, 1025), generator=generator).abs() + 1e-5
    condition = loudness * torch.randn((1, CONDITION), generator=generator).relu()
    network = filled(prefix, scale)
    exact = copy.deepcopy(network).double()
    truth = logits(
        exact, lambda: plain_systems.resunet(exact, magnitude.double(), condition.double())
    )
    plain = logits(network, lambda: plain_systems.resunet(network, magnitude, condition))
    quick = Uss(network).network  # brought into its quick form in place
    ours = logits(quick, lambda: quick(magnitude, condition))
    peak = truth.abs().max()
    errors = [float((found - truth).square().mean().sqrt() / peak) for found in (ours, plain)]
    assert 0 < errors[0] <= LEEWAY * errors[1], errors
