"""The separator network of Zero-shot ASP: a U-Net on magnitudes with added query biases.

Input and output are magnitudes `(B, frames, 1025)`. Each convolution is normalised, passed
through a ReLU, and only then shifted by its own projection of the query vector. Six halvings
need the frames in multiples of 64. (Chen et al., AAAI 2022.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .folded import Pointwise, fold

BINS = 1025
LATENT = 2048
MULTIPLE = 64
"""Frames are padded with zeros to a multiple of this."""


def _shifted(x: Tensor, bias: Tensor) -> Tensor:
    """A ReLU, then the query's bias per channel `(B, channels)`; in place, but for tuning."""
    x = F.relu_(x)
    bias = bias[:, :, None, None]
    return x + bias if torch.is_grad_enabled() else x.add_(bias)


class ConvBlock(nn.Module):
    """Twice: convolution 3 x 3, norm, ReLU, plus a bias from the query."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(outputs)
        self.emb1 = nn.Linear(LATENT, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(outputs)
        self.emb2 = nn.Linear(LATENT, outputs)

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        x = _shifted(self.bn1(self.conv1(x)), self.emb1(query))
        return _shifted(self.bn2(self.conv2(x)), self.emb2(query))


class DecoderBlock(nn.Module):
    """Doubles both axes, joins the encoder's features, and convolves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(outputs)
        self.emb1 = nn.Linear(LATENT, outputs)
        self.conv_block2 = ConvBlock(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor, query: Tensor) -> Tensor:
        # n becomes 2 n + 1 on both axes; the last row and column go.
        x = self.conv1(x)[:, :, :-1, :-1]
        x = _shifted(self.bn1(x), self.emb1(query))
        return self.conv_block2(torch.cat([x, skip], dim=1), query)


class ZeroshotUnet(nn.Module):
    """Magnitudes and a query vector to a mask."""

    WIDTHS = (32, 64, 128, 256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        widths = self.WIDTHS
        self.bn0 = nn.BatchNorm2d(BINS)
        self.encoders = nn.ModuleList(
            ConvBlock(inputs, outputs)
            for inputs, outputs in zip((1, *widths[:-1]), widths, strict=True)
        )
        self.bottom = ConvBlock(widths[-1], 2 * widths[-1])
        self.decoders = nn.ModuleList(DecoderBlock(2 * width, width) for width in reversed(widths))
        self.after_block = ConvBlock(widths[0], widths[0])
        self.after_conv = Pointwise(widths[0], 1)

    def fold(self) -> None:
        """Fold every norm that follows a convolution into it."""
        for block in self.modules():
            if isinstance(block, (ConvBlock, DecoderBlock)):
                fold(block.conv1, block.bn1)
                block.bn1 = nn.Identity()
            if isinstance(block, ConvBlock):
                fold(block.conv2, block.bn2)
                block.bn2 = nn.Identity()

    def forward(self, magnitude: Tensor, query: Tensor) -> Tensor:
        """`magnitude` `(B, frames, 1025)`, `query` `(B, 2048)`: mask in 0..1 of that shape.

        The Nyquist bin, which the network never sees, gets 0.5.
        """
        frames = magnitude.shape[1]
        x = self.bn0(magnitude[:, None].transpose(1, 3)).transpose(1, 3)
        x = F.pad(x[..., :-1], (0, 0, 0, -frames % MULTIPLE))
        skips = []
        for encoder in self.encoders:
            skip = encoder(x, query)
            skips.append(skip)
            x = F.avg_pool2d(skip, 2)
        x = self.bottom(x, query)
        for decoder in self.decoders:
            x = decoder(x, skips.pop(), query)
        x = self.after_conv(self.after_block(x, query))[:, 0, :frames]
        return torch.sigmoid(F.pad(x.float(), (0, 1)))
