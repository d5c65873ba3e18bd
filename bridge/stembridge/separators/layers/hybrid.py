"""Hybrid Demucs' branches in an equal form that runs faster on a processor.

The package's layers change between two orders of memory at every residual branch and write each
step out as a whole. Here pictures lie channels last, `(rows, time, channels)`, a row being one
frequency (the branch over time is a single row), so convolutions of one position are products
and every norm is one row's own. What follows a convolution runs over a few rows at a time, which
stay in the cache. The wide norm of a residual branch is not computed from its wide input: that is
linear in a few channels, so their covariance gives its mean and variance, and the norm with all
scales behind it becomes one small matrix for each row. The numbers stay but for rounding.

`quicken` replaces the layers of one loaded network; layers of another make than the published
networks have stay as they are.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hybrid_transformer import QuickTransformer
from .packed import PackedLinear, can_pack

CACHED = 1 << 20
"""Numbers of a picture that are worked on together: four megabytes in float32."""


def _linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> PackedLinear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().flatten(1).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach())
    return PackedLinear(layer, dtype)


def _gated(value: Tensor, gate: Tensor) -> Tensor:
    """GLU in place of `value`; halves in one tensor make it slow."""
    return value.mul_(gate.sigmoid_())


def _usual_order(x: Tensor) -> Tensor:
    """Channels last to channels first, as plain transpositions, which torch does in blocks."""
    out = x.new_empty(x.shape)
    for source, target in zip(x, out, strict=True):
        target.flatten(1).copy_(source.flatten(1))
    return out


class Convolution(nn.Module):
    """One- and two-dimensional (transposed) convolutions over channels-last pictures, of all
    outputs or of a part."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype, outputs: slice = slice(None)) -> None:
        super().__init__()
        known = cast(Any, layer)
        self.flat = isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d))
        weight = known.weight.detach()[outputs]
        weight = weight[:, :, None] if self.flat else weight
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if known.bias is None else known.bias.detach()[outputs].to(dtype)
        self.turned = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d))
        self.stride = (1, *known.stride) if self.flat else known.stride
        self.padding = (0, *known.padding) if self.flat else known.padding

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, rows, time)`, any order of memory; the result lies channels last."""
        x = x.to(self.weight.dtype).contiguous(memory_format=torch.channels_last)
        run = F.conv_transpose2d if self.turned else F.conv2d
        return run(x, self.weight, self.bias, self.stride, self.padding)


class Residual(nn.Module):
    """One step of a residual branch over time: narrow, norm, GELU, wide, norm, GLU, scale."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        narrow, norm, _, wide, wide_norm, _, scale = (cast(Any, layer) for layer in layers)
        self.dtype = dtype
        self.dilation = narrow.dilation[0]
        # `(3 h, C)`: the taps before, at and after each moment
        self.taps = narrow.weight.detach().permute(2, 0, 1).flatten(0, 1).to(dtype)
        self.bias = narrow.bias.detach()[:, None]
        self.norm = (norm.weight.detach(), norm.bias.detach(), norm.eps)
        self.weight = wide.weight.detach()[:, :, 0].clone()
        self.wide_bias = wide.bias.detach().clone()
        self.spread = self.weight.T @ self.weight / len(self.weight)
        self.wide_norm = (wide_norm.weight.detach(), wide_norm.bias.detach(), wide_norm.eps)
        ones = torch.ones_like(scale.scale.detach())
        self.scale = torch.cat([scale.scale.detach(), ones])

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch to `(rows, time, channels)` in place."""
        hidden = self.hidden(x)
        matrix = self.matrix(hidden)
        hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1).to(self.dtype)
        half = x.shape[2]
        step = max(1, CACHED // half)
        for start in range(0, x.shape[1], step):  # more than one step only over long rows
            part = hidden[..., start : start + step].transpose(1, 2)
            value = part @ matrix[..., :half]
            gate = (part @ matrix[..., half:]).sigmoid_()
            x[:, start : start + step].addcmul_(value, gate)
        return x

    def hidden(self, x: Tensor) -> Tensor:
        """The narrow signal behind its norm and GELU, float32 `(rows, h, time)`."""
        taps = torch.matmul(self.taps, x.transpose(1, 2)).float()
        size, shift = len(self.bias), self.dilation
        hidden = taps[:, size : 2 * size] + self.bias
        hidden[..., shift:] += taps[:, :size, :-shift]
        hidden[..., :-shift] += taps[:, 2 * size :, shift:]
        return F.gelu(F.group_norm(hidden, 1, *self.norm))

    def matrix(self, hidden: Tensor) -> Tensor:
        """What turns `hidden` and a one into both halves of the GLU, `(rows, h + 1, 2 C)`."""
        gain, offset, least = self.wide_norm
        middle = hidden.mean(dim=2)
        centred = hidden - middle[..., None]
        covariance = centred @ centred.transpose(1, 2) / hidden.shape[2]
        means = F.linear(middle, self.weight, self.wide_bias)
        mean = means.mean(dim=1, keepdim=True)
        variance = (covariance * self.spread).sum(dim=(1, 2))[:, None]
        variance = variance + (means - mean).square().mean(dim=1, keepdim=True)
        factor = torch.rsqrt(variance + least) * gain
        bias = ((self.wide_bias - mean) * factor + offset) * self.scale
        weight = self.weight.T * (factor * self.scale)[:, None]
        return torch.cat([weight, bias[:, None]], dim=1).to(self.dtype)


class _Layer(nn.Module):
    """What the layers of encoder and decoder share."""

    empty = False

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.freq, self.stride, self.pad = layer.freq, layer.stride, layer.pad
        steps = [] if layer.dconv is None else layer.dconv.layers
        self.steps = nn.ModuleList(Residual(step, dtype) for step in steps)

    def residual(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def rows(self, x: Tensor) -> list[Tensor]:
        """A picture `(B, C, rows, time)` as `(rows, time, C)`, a few rows at a time."""
        flat = x.permute(0, 2, 3, 1).flatten(0, 1)
        return list(flat.split(max(1, CACHED // (flat.shape[1] * flat.shape[2]))))

    @staticmethod
    def picture(rows: list[Tensor], batch: int) -> Tensor:
        """Inverse of `rows`."""
        return torch.cat(rows).unflatten(0, (batch, -1)).permute(0, 3, 1, 2)


class QuickEncoder(_Layer):
    """An `HEncLayer`, which may add the embedding of the frequencies `(rows, C)` behind it."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        self.conv = Convolution(layer.conv, dtype)
        value, gate = layer.rewrite.weight.chunk(2)
        value_bias, gate_bias = layer.rewrite.bias.chunk(2)
        self.value = _linear(value.flatten(1), value_bias, dtype)
        self.gate = _linear(gate.flatten(1), gate_bias, dtype)
        self.embedding: Tensor | None = None

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if not self.freq:
                x = x.reshape(len(x), -1, x.shape[-1])
                x = F.pad(x, (0, -x.shape[-1] % self.stride))[:, :, None]
            y = self.conv(x)
            if inject is not None:
                y = y + (inject[:, :, None] if inject.dim() == 3 else inject)
            batch = len(y)
            done = []
            for part in self.rows(y):
                part = self.residual(F.gelu(part))
                done.append(_gated(self.value(part), self.gate(part)))
            z = self.picture(done, batch)
            if self.embedding is not None:
                z += self.embedding.T[:, :, None].to(z.dtype)
        return z if self.freq else z[:, :, 0]


class QuickDecoder(_Layer):
    """An `HDecLayer`; the last one of a branch gives float32 in the usual order."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        self.last = layer.last
        self.channels = layer.chin
        self.value = Convolution(layer.rewrite, dtype, slice(0, layer.chin))
        self.gate = Convolution(layer.rewrite, dtype, slice(layer.chin, None))
        self.conv = Convolution(layer.conv_tr, dtype)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            if self.freq and x.dim() == 3:
                x = x.view(len(x), self.channels, -1, x.shape[-1])
            x = x + skip
            x = x if self.freq else x[:, :, None]
            value, gate = self.value(x), self.gate(x)
            for part, opening in zip(self.rows(value), self.rows(gate), strict=True):
                self.residual(_gated(part, opening))  # in place
            y = value
            z = self.conv(y)
            if self.freq:
                z = z[:, :, self.pad : z.shape[2] - self.pad]
            else:
                y = y[:, :, 0]
                z = z[:, :, 0, self.pad : self.pad + length]
            z = _usual_order(z.float()) if self.last else F.gelu(z)
        return z, y


class Pointwise(nn.Module):
    """A one-dimensional convolution of one position."""

    def __init__(self, layer: nn.Conv1d, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = _linear(layer.weight.flatten(1), layer.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


STEPS = ("Conv1d", "GroupNorm", "GELU", "Conv1d", "GroupNorm", "GLU", "LayerScale")
"""The make of a residual step that `Residual` computes."""


def _usual(layer: Any, kind: str) -> bool:
    """Whether a layer is of the make that is computed here."""
    if type(layer).__name__ != kind or layer.empty or layer.norm or layer.rewrite is None:
        return False
    if kind == "HEncLayer" and set(layer.rewrite.kernel_size) != {1}:
        return False
    for step in [] if layer.dconv is None else layer.dconv.layers:
        groups = {part.num_groups for part in step if isinstance(part, nn.GroupNorm)}
        if tuple(type(part).__name__ for part in step) != STEPS or groups != {1}:
            return False
    return True


def quicken(network: Any, dtype: torch.dtype) -> None:
    """Replace the layers of one loaded `HTDemucs` by quick ones, in place, with their large
    weights in `dtype`. Other networks, and devices without packed layers, stay as they are."""
    device = next(network.parameters()).device
    if type(network).__name__ != "HTDemucs" or not can_pack(device):
        return
    for name, make, kind in (
        ("encoder", QuickEncoder, "HEncLayer"), ("tencoder", QuickEncoder, "HEncLayer"),
        ("decoder", QuickDecoder, "HDecLayer"), ("tdecoder", QuickDecoder, "HDecLayer"),
    ):  # fmt: skip
        layers = getattr(network, name)
        for index, layer in enumerate(layers):
            if _usual(layer, kind):
                layers[index] = make(layer, dtype)
    first = network.encoder[0]
    if network.freq_emb is not None and isinstance(first, QuickEncoder):
        rows = torch.arange(network.freq_emb.embedding.num_embeddings, device=device)
        first.embedding = network.freq_emb_scale * network.freq_emb(rows).detach()
        network.freq_emb = None
    for name in ("channel_upsampler", "channel_downsampler"):
        for full in (name, f"{name}_t"):
            if network.bottom_channels:
                setattr(network, full, Pointwise(getattr(network, full), dtype))
    transformer = network.crosstransformer
    if transformer is not None and QuickTransformer.takes(transformer):
        network.crosstransformer = QuickTransformer(transformer, dtype)
