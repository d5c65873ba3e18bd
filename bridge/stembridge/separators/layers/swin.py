"""Swin transformer parts shared by HTS-AT and CLAPSep's decoder.

Tokens are `(batch, height * width, channels)`, row by row, on a square image. Attention runs
inside windows of 8 x 8 tokens with a learned bias per relative position; odd blocks shift the
windows by half a window, and a mask keeps apart what the cyclic shift brought together. What
depends on sizes alone (the index into the bias table, the mask) is computed, not stored.
(Liu et al., "Swin Transformer", 2021.)
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import activated

WINDOW = 8
MASKED = -100.0
"""Added to the logits between tokens that are not neighbours."""


@lru_cache(maxsize=4)
def _relative_index(window: int, device: torch.device) -> Tensor:
    """Row of the bias table for each pair of tokens in a window, `(window**4,)`."""
    steps = torch.arange(window, device=device)
    rows, columns = (grid.reshape(-1) for grid in torch.meshgrid(steps, steps, indexing="ij"))
    down = rows[:, None] - rows[None, :] + window - 1
    right = columns[:, None] - columns[None, :] + window - 1
    return (down * (2 * window - 1) + right).reshape(-1)


def _to_windows(image: Tensor, window: int) -> Tensor:
    """`(B, H, W, C)` to `(B * windows, window**2, C)`."""
    b, h, w, c = image.shape
    tiles = image.view(b, h // window, window, w // window, window, c)
    return tiles.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, c)


def _from_windows(tiles: Tensor, window: int, b: int, h: int, w: int) -> Tensor:
    """Inverse of `_to_windows`."""
    image = tiles.view(b, h // window, w // window, window, window, -1)
    return image.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)


@lru_cache(maxsize=8)
def _shift_mask(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    """0 or `MASKED` for each window and pair of tokens, `(windows, 1, window**2, window**2)`."""
    edge = torch.zeros(side, dtype=torch.long, device=device)
    edge[side - window : side - shift] = 1
    edge[side - shift :] = 2
    region = (edge[:, None] * 3 + edge[None, :]).view(1, side, side, 1)
    tiles = _to_windows(region, window)[..., 0]
    apart = tiles[:, None, :, None] != tiles[:, None, None, :]
    return apart.to(torch.float32) * MASKED


class WindowAttention(nn.Module):
    """Self-attention of the tokens of each window with a relative position bias."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tiles: Tensor, mask: Tensor | None) -> Tensor:
        n, tokens, dim = tiles.shape
        q, k, v = (
            self.qkv(tiles).view(n, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
        table = self.relative_position_bias_table
        bias = table[_relative_index(self.window, table.device)]
        bias = bias.view(1, tokens, tokens, self.heads).permute(0, 3, 1, 2)
        if mask is not None:
            bias = (bias + mask.to(bias.dtype)).repeat(n // mask.shape[0], 1, 1, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, dim))


class Mlp(nn.Module):
    """Two layers with an exact GELU between, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(activated(self.fc1, x, "gelu"))


class SwinBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`, on tokens of a `side` x `side` image."""

    def __init__(self, dim: int, heads: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.side = side
        self.window = min(WINDOW, side)
        self.shift = self.window // 2 if shifted and side > self.window else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, self.window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        side, window, shift = self.side, self.window, self.shift
        image = self.norm1(x).view(b, side, side, c)
        mask = None
        if shift:
            image = torch.roll(image, (-shift, -shift), (1, 2))
            mask = _shift_mask(side, window, shift, x.device)
        tiles = self.attn(_to_windows(image, window), mask)
        image = _from_windows(tiles, window, b, side, side)
        if shift:
            image = torch.roll(image, (shift, shift), (1, 2))
        x = x + image.reshape(b, side * side, c)
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Halves the image's sides and doubles the channels."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        image = x.view(b, self.side // 2, 2, self.side // 2, 2, c)
        # (row, column) offsets in the order (0,0), (1,0), (0,1), (1,1): column slowest.
        merged = image.permute(0, 1, 3, 4, 2, 5).reshape(b, -1, 4 * c)
        return self.reduction(self.norm(merged))


class PatchExpand(nn.Module):
    """Doubles the image's sides and halves the channels."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.expand = nn.Linear(dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(dim // 2)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        # Four channel groups; group i + 2j goes to row offset i and column offset j.
        groups = self.expand(x).view(b, self.side, self.side, 2, 2, c // 2)
        return self.norm(groups.permute(0, 1, 4, 2, 3, 5).reshape(b, -1, c // 2))
