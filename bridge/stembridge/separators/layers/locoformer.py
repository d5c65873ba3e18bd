"""TUSS's network: band split, TF-Locoformer blocks, prompt tokens, band-wise decoding.

The spectrum's 1025 bins become 61 bands of `dim` features each. Prompt tokens stand before
the frames on the time axis; the cross-prompt blocks let all of them meet, then the features
are multiplied by each prompt and refined per source by shared blocks. The mask is complex and
unbounded. Prompts are ordered: rotary positions tell equal prompts apart. (Saijo et al.,
"TF-Locoformer", 2024, and "Task-Aware Unified Source Separation", 2025.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = (2,) * 22 + (4,) * 11 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (66, 66, 66, 67)
BINS = sum(BANDS)
NAMES = ("speech", "sfx", "sfxbg", "drums", "bass", "vocals", "other", "musicbg")
GROUPS = 8
ROPE_BASE = 10000.0
PIECE_VALUES = 1 << 22
"""About so many numbers of the widest layer are worked on at once. Smaller pieces were not
faster, and on a busy machine threads wait for each other after every operation."""


@dataclass(frozen=True)
class BlockConfig:
    """A row of equal blocks: attention width and heads, inner width, kernels."""

    blocks: int
    attention: int
    heads: int
    inner: int
    kernel_freq: int
    kernel_frame: int


@dataclass(frozen=True)
class LocoformerConfig:
    """Sizes of one TUSS network."""

    dim: int
    cross: BlockConfig
    source: BlockConfig


MEDIUM = LocoformerConfig(64, BlockConfig(4, 128, 4, 384, 4, 1), BlockConfig(2, 96, 4, 256, 4, 4))
LARGE = LocoformerConfig(128, BlockConfig(6, 256, 8, 384, 4, 1), BlockConfig(3, 192, 8, 256, 4, 4))


class GroupRmsNorm(nn.Module):
    """Each of 8 groups of channels (last axis) divided by its root mean square."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, (GROUPS, -1))
        size = groups.square().mean(dim=-1, keepdim=True).sqrt() + 1e-5
        return (groups / size).flatten(-2) * self.gamma


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept for tuning, too, which needs gradients
def _rotation(length: int, head: int, device: torch.device) -> Tensor:
    """The rotary positions as complex factors of magnitude 1, `(length, head / 2)`."""
    steps = torch.arange(0, head, 2, dtype=torch.float32, device=device)
    rates = 1.0 / ROPE_BASE ** (steps / head)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), rates)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor) -> Tensor:
    """Rotary positions on `(..., length, head)`: neighbouring channels are the pairs."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    turned = pairs * _rotation(x.shape[-2], x.shape[-1], x.device)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Self-attention over the middle axis of `(sequences, length, dim)`."""

    def __init__(self, dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * width, bias=False)
        self.out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        qkv = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        mixed = F.scaled_dot_product_attention(rotate(q), rotate(k), v)
        return self.out(mixed.transpose(1, 2).reshape(n, length, -1))


class ConvSwiglu(nn.Module):
    """Gated convolution and its transpose along the middle axis of `(sequences, length, dim)`.

    Both are matrix products: of every `kernel` neighbours in a row, and to every `kernel`
    neighbours, which are then added up where they overlap.
    """

    def __init__(self, dim: int, inner: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.into = nn.Linear(kernel * dim, 2 * inner)
        self.back = nn.Linear(inner, kernel * dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        length, dim = x.shape[1:]
        reach = self.kernel - 1
        if reach:
            x = F.pad(x, (0, 0, reach, reach)).unfold(1, self.kernel, 1)
            x = x.transpose(2, 3).flatten(2)
        value, gate = self.into(x).chunk(2, dim=2)
        out = self.back(value * F.silu(gate))
        taps = out.unflatten(2, (self.kernel, dim))
        out = taps[:, :length, reach] + self.bias
        for tap in range(reach):
            out = out + taps[:, reach - tap : reach - tap + length, tap]
        return out


def into_matrix(conv: Tensor) -> Tensor:
    """A convolution's weights `(outputs, inputs, kernel)` as those of `ConvSwiglu.into`."""
    return conv.transpose(1, 2).flatten(1)


def back_matrix(deconv: Tensor) -> Tensor:
    """A transposed convolution's `(inputs, outputs, kernel)` as those of `ConvSwiglu.back`."""
    return deconv.permute(2, 1, 0).flatten(0, 1)


class Macaron(nn.Module):
    """Feed-forward, attention, feed-forward on `(sequences, length, dim)`, each residual."""

    def __init__(self, dim: int, config: BlockConfig, kernel: int) -> None:
        super().__init__()
        self.first_norm = GroupRmsNorm(dim)
        self.first = ConvSwiglu(dim, config.inner, kernel)
        self.attn_norm = GroupRmsNorm(dim)
        self.attn = Attention(dim, config.attention, config.heads)
        self.last_norm = GroupRmsNorm(dim)
        self.last = ConvSwiglu(dim, config.inner, kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(self.first_norm(x))
        x = x + self.attn(self.attn_norm(x))
        return x + self.last(self.last_norm(x))


class LocoformerBlock(nn.Module):
    """`(B, frames, bands, dim)`: first along the bands, then along the frames."""

    def __init__(self, dim: int, config: BlockConfig) -> None:
        super().__init__()
        self.widest = 2 * config.inner
        self.freq_path = Macaron(dim, config, config.kernel_freq)
        self.frame_path = Macaron(dim, config, config.kernel_frame)

    def forward(self, x: Tensor) -> Tensor:
        b, t, k, c = x.shape
        x = self._in_pieces(self.freq_path, x.reshape(b * t, k, c)).view(b, t, k, c)
        x = self._in_pieces(self.frame_path, x.transpose(1, 2).reshape(b * k, t, c))
        return x.view(b, k, t, c).transpose(1, 2)

    def _in_pieces(self, path: nn.Module, x: Tensor) -> Tensor:
        """Sequences know nothing of each other; a few at a time stay in the cache."""
        if x.device.type != "cpu":
            return path(x)
        few = max(1, PIECE_VALUES // (x.shape[1] * self.widest))
        return torch.cat([path(piece) for piece in x.split(few)])


class BandSplit(nn.Module):
    """Complex spectra to band features: norm over a band and time, then one projection."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, 2 * width) for width in BANDS)
        self.projections = nn.ModuleList(nn.Conv1d(2 * width, dim, 1) for width in BANDS)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex `(B, frames, 1025)` to `(B, frames, 61, dim)`."""
        parts = torch.view_as_real(spectrum).split(BANDS, dim=2)
        bands = [
            projection(norm(part.flatten(2).transpose(1, 2)))
            for part, norm, projection in zip(parts, self.norms, self.projections, strict=True)
        ]
        return torch.stack(bands, dim=2).permute(0, 3, 2, 1)


class BandDecoder(nn.Module):
    """Band features to a complex mask, band by band."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, dim) for _ in BANDS)
        self.first = nn.ModuleList(nn.Conv1d(dim, 4 * dim, 1) for _ in BANDS)
        self.second = nn.ModuleList(nn.Conv1d(4 * dim, 4 * dim, 1) for _ in BANDS)
        self.third = nn.ModuleList(nn.Conv1d(4 * dim, 4 * width, 1) for width in BANDS)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, frames, 61, dim)` to complex `(B, frames, 1025)`."""
        real, imaginary = [], []
        features = x.permute(2, 0, 3, 1)
        layers = zip(features, self.norms, self.first, self.second, self.third, strict=True)
        for band, norm, first, second, third in layers:
            y = F.glu(third(torch.tanh(second(torch.tanh(first(norm(band)))))), dim=1).float()
            width = y.shape[1] // 2
            real.append(y[:, :width])
            imaginary.append(y[:, width:])
        mask = torch.complex(torch.cat(real, dim=1), torch.cat(imaginary, dim=1))
        return mask.transpose(1, 2)


class Locoformer(nn.Module):
    """Spectra and prompt tokens to one complex mask per prompt."""

    def __init__(self, config: LocoformerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.start = nn.Parameter(torch.zeros(dim, 1, 1))
        self.tokens = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(dim, 1, 1)) for name in NAMES}
        )
        self.split = BandSplit(dim)
        self.cross = nn.ModuleList(
            LocoformerBlock(dim, config.cross) for _ in range(config.cross.blocks)
        )
        self.source = nn.ModuleList(
            LocoformerBlock(dim, config.source) for _ in range(config.source.blocks)
        )
        self.decode = BandDecoder(dim)

    def forward(self, spectrum: Tensor, prompts: Tensor) -> Tensor:
        """Complex `(B, frames, 1025)` and `(N, dim)` to masks `(B, N, frames, 1025)`."""
        b, n = spectrum.shape[0], prompts.shape[0]
        # What comes first stays exact under autocast: later blocks enlarge its errors.
        with torch.autocast(spectrum.device.type, enabled=False):
            features = self.split(spectrum)
            heading = torch.cat([prompts, self.start.flatten()[None]])[None, :, None]
            heading = heading.expand(b, -1, len(BANDS), -1)
            x = self.cross[0](torch.cat([heading, features], dim=1))
        for block in self.cross[1:]:
            x = block(x)
        wanted, x = x[:, :n], x[:, n + 1 :]
        masks = []
        # One source at a time: the same numbers as in one batch, a fraction of the memory.
        for index in range(n):
            y = x * wanted[:, index : index + 1]
            for block in self.source:
                y = block(y)
            masks.append(self.decode(y))
        return torch.stack(masks, dim=1)
