"""From a U-Net's estimates to masks: pure functions, shared by streams and tuning.

All of them work on tensors of any equal shape and are differentiable. `estimate` is a
magnitude (a network's sigmoid times the input's magnitude), as published.

Invariants: masks lie in 0..1; masks of a complete set sum to 1, also where all is silent.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-10
"""Shared among the stems of a ratio, as in the published code."""
CONTINUED_FROM_BIN = 992
"""The mask above the network's range is the mean over the bins from here to its end."""


def ratio_masks(estimates: Tensor, dim: int = 0) -> Tensor:
    """Squared estimates over their sum along `dim`: `e_i^2 / sum_j e_j^2`."""
    power = estimates.square() + EPSILON / estimates.shape[dim]
    return power / power.sum(dim=dim, keepdim=True)


def own_mask(magnitudes: Tensor, estimate: Tensor) -> Tensor:
    """The mask of a target that has only its own estimate: the sigmoid itself, `e / |X|`."""
    return (estimate / (magnitudes + EPSILON)).clamp(0.0, 1.0)


def continue_mask(mask: Tensor, bins: int) -> Tensor:
    """Continue masks over the last axis to `bins` bins, by the mean of the topmost known."""
    known = mask.shape[-1]
    level = mask[..., CONTINUED_FROM_BIN:].mean(dim=-1, keepdim=True)
    return torch.cat([mask, level.expand(*mask.shape[:-1], bins - known)], dim=-1)


def apply_masks(masks: Tensor, spectra: Tensor) -> Tensor:
    """Continued masks times spectra, without a mask of all bins ever being made.

    Args:
        masks: float32 `(queries, channels, frames, known bins)`.
        spectra: complex64 `(channels, frames, bins)`.

    Returns: complex64 `(queries, channels, frames, bins)`, as `continue_mask(masks) * spectra`.
    """
    known = masks.shape[-1]
    level = masks[..., CONTINUED_FROM_BIN:].mean(dim=-1, keepdim=True)
    out = spectra.new_empty(*masks.shape[:-1], spectra.shape[-1])
    torch.mul(spectra[..., :known], masks, out=out[..., :known])
    torch.mul(spectra[..., known:], level, out=out[..., known:])
    return out
