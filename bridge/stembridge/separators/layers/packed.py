"""Linear layers whose weights lie as the processor's matrix kernels want them.

torch's own `linear` hands the weights over as they are; oneDNN multiplies a tenth to a quarter
faster with weights in its blocked order, and applies a GELU or ReLU to each result before it
leaves the cache. The packed weights replace the plain ones, so nothing is held twice; gradients
with respect to the input still flow (tuning learns a prompt through frozen weights). Where
oneDNN is not there, layers stay what they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 1024
"""Rows of a typical input, from which oneDNN chooses the order; any number runs."""


def can_pack(device: torch.device) -> bool:
    """Whether packed layers run on this device with this build of torch."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


class PackedLinear(nn.Module):
    """`nn.Linear` in inference, its weights packed, in the precision `dtype`."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        weight = layer.weight.detach().to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(self, x: Tensor, activation: str = "none") -> Tensor:
        """`activation`: "none", "gelu" (exact) or "relu"."""
        x = x.to(self.dtype)
        if torch.is_grad_enabled() and x.requires_grad:
            return _activated(_Differentiable.apply(x, self), activation)
        return self.multiply(x, activation)

    def multiply(self, x: Tensor, activation: str = "none") -> Tensor:
        """As `forward`, without gradients."""
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, activation, [], "none" if activation == "gelu" else ""
        )


class _Differentiable(torch.autograd.Function):
    """Gradients with respect to the input; the weights are unpacked only for that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return layer.multiply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.weight.to_dense(), None


def _activated(x: Tensor, activation: str) -> Tensor:
    if activation == "gelu":
        return F.gelu(x)
    return F.relu(x) if activation == "relu" else x


def activated(layer: nn.Module, x: Tensor, activation: str) -> Tensor:
    """`layer(x)` and its activation, in one pass where the layer is packed."""
    if isinstance(layer, PackedLinear):
        return layer(x, activation)
    return _activated(layer(x), activation)


def pack_linears(module: nn.Module, dtype: torch.dtype) -> None:
    """Pack every linear layer inside `module`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child, dtype))
        else:
            pack_linears(child, dtype)
