"""Hybrid Demucs' transformer between encoder and decoder, in an equal form that runs faster.

Two sequences, frequencies and time, attend to themselves and to each other in turn. Linear
layers multiply with packed weights, GELUs are applied in the same pass, the scales of the
residual branches are folded into the products before them, attention runs block by block, and
the sines that tell positions are computed once for each shape.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import PackedLinear

QUERIES = 336
"""Queries of a block whose scores are worked on together, in bfloat16."""


def _scaled(weight: Tensor, bias: Tensor | None, gamma: nn.Module, dtype: Any) -> PackedLinear:
    """A product with the scale of its residual branch (one per output, or none) folded in."""
    scale = getattr(gamma, "scale", torch.ones(len(weight), device=weight.device)).detach()
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach() * scale[:, None])
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach() * scale)
    return PackedLinear(layer, dtype)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of `(B, heads, tokens, size)`.

    In bfloat16 block by block of queries by products: torch's own attention multiplies in
    float32 on processors and was a third slower.
    """
    if q.dtype == torch.float32 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    turned = k.transpose(2, 3) * k.shape[3] ** -0.5
    blocks = [torch.softmax(block @ turned, dim=-1) @ v for block in q.split(QUERIES, dim=2)]
    return torch.cat(blocks, dim=2)


class QuickLayer(nn.Module):
    """One layer, of a sequence alone or across to the other one."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.across = hasattr(layer, "cross_attn")
        attention = layer.cross_attn if self.across else layer.self_attn
        self.heads = attention.num_heads
        size = attention.embed_dim
        none = nn.Identity()
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        parts = (slice(0, size), slice(size, None)) if self.across else (slice(None),)
        self.into = nn.ModuleList(
            _scaled(weight[part], None if bias is None else bias[part], none, dtype)
            for part in parts
        )
        out = attention.out_proj
        self.out = _scaled(out.weight, out.bias, layer.gamma_1, dtype)
        self.norms = nn.ModuleList([layer.norm1, layer.norm2])
        if self.across:
            self.norms.append(layer.norm3)
        self.wide = _scaled(layer.linear1.weight, layer.linear1.bias, none, dtype)
        self.narrow = _scaled(layer.linear2.weight, layer.linear2.bias, layer.gamma_2, dtype)
        self.norm_out = layer.norm_out

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """`(B, tokens, channels)`, float32; `other` is heard only by layers across."""
        x = x + self.out(self.attend(x, other)).float()
        x = x + self.narrow(self.wide(self.norms[-1](x), "gelu")).float()
        if self.norm_out is None:
            return x
        flat = x.flatten(1)  # one norm over all tokens and channels
        flat = F.layer_norm(flat, flat.shape[1:], eps=self.norm_out.eps)
        return torch.addcmul(self.norm_out.bias, flat.view_as(x), self.norm_out.weight)

    def attend(self, x: Tensor, other: Tensor) -> Tensor:
        def heads(y: Tensor, count: int) -> tuple[Tensor, ...]:
            parts = y.unflatten(-1, (count, self.heads, -1))
            return parts.permute(2, 0, 3, 1, 4).unbind(0)

        if self.across:
            (q,) = heads(self.into[0](self.norms[0](x)), 1)
            k, v = heads(self.into[1](self.norms[1](other)), 2)
        else:
            q, k, v = heads(self.into[0](self.norms[0](x)), 3)
        return attention(q, k, v).transpose(1, 2).flatten(2)


@lru_cache(maxsize=4)
def _positions(
    size: int, rows: int | None, length: int, period: float, device: torch.device
) -> Tensor:
    """The package's sines, `(rows * length, size)`, or `(length, size)` for one dimension."""
    transformer: Any = import_module("demucs.transformer")
    if rows is None:
        sines = transformer.create_sin_embedding(length, size, device=device, max_period=period)
        return sines[:, 0].float()
    picture = transformer.create_2d_sin_embedding(size, rows, length, device, period)
    return picture[0].flatten(1).T.contiguous()


class QuickTransformer(nn.Module):
    """A `CrossTransformerEncoder` as `takes` accepts it."""

    def __init__(self, encoder: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.norms = nn.ModuleList([encoder.norm_in, encoder.norm_in_t])
        self.weight, self.period = encoder.weight_pos_embed, encoder.max_period
        self.pairs = nn.ModuleList(
            nn.ModuleList([QuickLayer(layer, dtype), QuickLayer(layer_t, dtype)])
            for layer, layer_t in zip(encoder.layers, encoder.layers_t, strict=True)
        )

    @staticmethod
    def takes(encoder: Any) -> bool:
        """Whether an encoder is of the published make: sines for positions, norms first,
        GELU, dense attention."""
        if encoder.emb != "sin" or encoder.sin_random_shift:
            return False
        return all(
            not layer.sparse
            and layer.norm_first
            and layer.activation in (F.gelu, nn.functional.gelu)
            and isinstance(layer.norm1, nn.LayerNorm)
            and (layer.norm_out is None or layer.norm_out.num_groups == 1)
            for layer in (*encoder.layers, *encoder.layers_t)
        )

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, C, rows, time)` and `(B, C, time)` to the same."""
        rows, length = x.shape[2:]
        with torch.autocast(x.device.type, enabled=False):
            a = self.norms[0](x.float().flatten(2).transpose(1, 2))
            b = self.norms[1](xt.float().transpose(1, 2))
            place = (self.period, x.device)
            a = a + self.weight * _positions(a.shape[2], rows, length, *place)
            b = b + self.weight * _positions(b.shape[2], None, b.shape[1], *place)
            for layer, layer_t in self.pairs:  # pyright: ignore[reportGeneralTypeIssues]
                a, b = layer(a, b), layer_t(b, a)
        return a.transpose(1, 2).unflatten(2, (rows, length)), b.transpose(1, 2)
