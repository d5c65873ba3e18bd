"""ResUNet30, the separator network of USS and AudioSep.

A U-Net of pre-activated residual blocks on magnitudes `(B, frames, 1025)`. The condition (512
numbers for AudioSep, 527 or 2048 for USS) enters as a bias between every norm and its leaky
ReLU. The output is a magnitude mask and a rotation, returned as one complex mask. Five
halvings of time need the frames in multiples of 32. (Kong et al., "Universal Source
Separation with Weakly Labelled Data", 2023.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .folded import Pointwise, fold

BINS = 1025
SLOPE = 0.01
MULTIPLE = 32
"""Frames are padded with zeros to a multiple of this."""


class Gate(nn.Module):
    """Norm, plus the condition's bias, then the leaky ReLU."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.bn: nn.Module = nn.BatchNorm2d(channels)
        self.beta = nn.Linear(condition, channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        bn = self.bn
        assert isinstance(bn, nn.BatchNorm2d)
        shift = bn.bias + self.beta(condition)[0]
        x = F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, shift, eps=bn.eps)
        return F.leaky_relu_(x, SLOPE)

    def after(self, conv: nn.Conv2d, x: Tensor, condition: Tensor) -> Tensor:
        """`forward(conv(x))`, where the norm may be folded into `conv`."""
        if isinstance(self.bn, nn.BatchNorm2d):
            return self(conv(x), condition)
        assert conv.bias is not None
        bias = conv.bias + self.beta(condition)[0].to(conv.bias.dtype)
        return F.leaky_relu_(F.conv2d(x, conv.weight, bias, padding=conv.padding), SLOPE)  # pyright: ignore[reportArgumentType]


class ConvBlockRes(nn.Module):
    """Two gated convolutions 3 x 3 beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.gate1 = Gate(inputs, condition)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.gate2 = Gate(outputs, condition)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = Pointwise(inputs, outputs) if inputs != outputs else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.gate2.after(self.conv1, self.gate1(x, condition), condition)
        y = self.conv2(y)
        return y.add_(x if self.shortcut is None else self.shortcut(x))


class DecoderBlock(nn.Module):
    """Up-sampling by a transposed convolution, joined with the encoder's features."""

    def __init__(self, inputs: int, outputs: int, scale: tuple[int, int], condition: int) -> None:
        super().__init__()
        self.gate1 = Gate(inputs, condition)
        self.conv1 = nn.ConvTranspose2d(inputs, outputs, scale, scale, bias=False)
        self.conv_block2 = ConvBlockRes(2 * outputs, outputs, condition)

    def forward(self, x: Tensor, skip: Tensor, condition: Tensor) -> Tensor:
        x = self.conv1(self.gate1(x, condition))
        return self.conv_block2(torch.cat([x, skip], dim=1), condition)


class ResUnet30(nn.Module):
    """Magnitudes and a condition to a complex mask."""

    WIDTHS = (32, 64, 128, 256, 384, 384)
    SCALES = ((2, 2),) * 5 + ((1, 2),)

    def __init__(self, condition: int) -> None:
        super().__init__()
        self.condition = condition
        widths = self.WIDTHS
        self.bn0 = nn.BatchNorm2d(BINS)
        self.pre_conv = Pointwise(1, 32)
        self.encoders = nn.ModuleList(
            ConvBlockRes(inputs, outputs, condition)
            for inputs, outputs in zip((32, *widths[:-1]), widths, strict=True)
        )
        self.bottom = ConvBlockRes(widths[-1], widths[-1], condition)
        ups = list(zip((widths[-1], *widths[:0:-1]), widths[::-1], self.SCALES[::-1], strict=True))
        self.decoders = nn.ModuleList(
            DecoderBlock(inputs, outputs, scale, condition) for inputs, outputs, scale in ups
        )
        self.after_conv = Pointwise(32, 3)

    def fold(self) -> None:
        """Fold every norm that follows a convolution into it."""
        for block in self.modules():
            if isinstance(block, ConvBlockRes):
                fold(block.conv1, block.gate2.bn)
                block.gate2.bn = nn.Identity()

    def forward(self, magnitude: Tensor, condition: Tensor) -> Tensor:
        """`magnitude` `(B, frames, 1025)`, `condition` `(1, n)`: complex mask `(B, …)`.

        Its magnitude is in 0..1; at the Nyquist bin, which the network never sees, it is 0.
        """
        frames = magnitude.shape[1]
        x = self.bn0(magnitude[:, None].transpose(1, 3)).transpose(1, 3)
        x = self.pre_conv(F.pad(x[..., :-1], (0, 0, 0, -frames % MULTIPLE)))
        skips = []
        for encoder, scale in zip(self.encoders, self.SCALES, strict=True):
            x = encoder(x, condition)
            skips.append(x)
            x = F.avg_pool2d(x, scale)
        x = self.bottom(x, condition)
        for decoder in self.decoders:
            x = decoder(x, skips.pop(), condition)
        logits = F.pad(self.after_conv(x)[:, :, :frames].float(), (0, 1))
        size = torch.sigmoid(logits[:, 0])
        turn = torch.complex(torch.tanh(logits[:, 1]), torch.tanh(logits[:, 2]))
        return turn * (size / turn.abs().clamp(min=1e-10))
