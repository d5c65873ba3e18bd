"""CLAPSep's decoder: encoder features and a condition to a magnitude mask.

The encoder's deepest tokens are modulated by the condition, up-sampled through four Swin
stages with modulated skips, laid out as a time-frequency picture, joined with the mixture's
spectrum, and read by a small transformer over time. (Ma et al., "CLAPSep", 2024.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .htsat import BANDS, PATCH, SIDE, unfold
from .packed import activated
from .swin import PatchExpand, SwinBlock

BINS = 513
CONDITION = 1024
WIDTH = 640
LAYERS = 3
WIDTHS = (1024, 512, 256, 128)
HEADS = (32, 16, 8, 4)


class Film(nn.Module):
    """`norm(gamma(e) * project(skip) + beta(e) + x)`; gamma multiplies as it is, without 1 +."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.feature_proj = nn.Linear(dim, dim)
        self.gamma = nn.Linear(CONDITION, dim)
        self.beta = nn.Linear(CONDITION, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, skip: Tensor, condition: Tensor, x: Tensor | None = None) -> Tensor:
        out = self.feature_proj(skip)
        out = self.gamma(condition)[:, None] * out + self.beta(condition)[:, None]
        return self.norm(out if x is None else out + x)


class Stage(nn.Module):
    """Up-sampling (but for the deepest stage), then one Swin block."""

    def __init__(self, dim: int, side: int, heads: int, expand: bool) -> None:
        super().__init__()
        self.expand = PatchExpand(2 * dim, side // 2) if expand else None
        self.block = SwinBlock(dim, heads, side, shifted=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x if self.expand is None else self.expand(x))


class TimeLayer(nn.Module):
    """One post-norm transformer layer over time, ReLU inside, no positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        b, t, dim = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, dim)
        x = self.norm1(x + self.proj(mixed))
        return self.norm2(x + self.linear2(activated(self.linear1, x, "relu")))


class ClapsepDecoder(nn.Module):
    """The whole decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.film = Film(WIDTHS[0])
        self.stages = nn.ModuleList(
            Stage(dim, 8 << index, heads, expand=index > 0)
            for index, (dim, heads) in enumerate(zip(WIDTHS, HEADS, strict=True))
        )
        # The skips come after the stage of the same index, but are as wide as the stage.
        self.skips = nn.ModuleList(Film(dim) for dim in WIDTHS)
        self.patch_norm = nn.LayerNorm(WIDTHS[-1])
        self.patch_conv = nn.ConvTranspose2d(WIDTHS[-1], 1, PATCH, PATCH)
        self.spectrum_norm = nn.BatchNorm2d(BINS)
        self.join = nn.Linear(BINS + BANDS, WIDTH)
        self.join_norm = nn.LayerNorm(WIDTH)
        self.time_layers = nn.ModuleList(TimeLayer(WIDTH, 8) for _ in range(LAYERS))
        self.out = nn.Linear(WIDTH, BINS)

    def forward(self, magnitude: Tensor, features: Sequence[Tensor], condition: Tensor) -> Tensor:
        """Mask in 0..1 `(B, frames, 513)`.

        Args:
            magnitude: of the mixture, `(B, frames, 513)`, at most 1024 frames.
            features: tokens after the encoder's patches and its four stages.
            condition: `(B, 1024)`, kept and removed halves.
        """
        b, frames, _ = magnitude.shape
        x = self.film(features[4], condition)
        for stage, skip, feature in zip(self.stages, self.skips, features[3::-1], strict=True):
            x = skip(feature, condition, stage(x))
        side = SIDE // PATCH
        image = self.patch_norm(x).transpose(1, 2).reshape(b, WIDTHS[-1], side, side)
        picture = unfold(self.patch_conv(image))[:, :frames]
        spectrum = self.spectrum_norm(magnitude.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        z = self.join_norm(self.join(torch.cat([spectrum, picture], dim=2)))
        for layer in self.time_layers:
            z = layer(z)
        return torch.sigmoid(self.out(z).float())
