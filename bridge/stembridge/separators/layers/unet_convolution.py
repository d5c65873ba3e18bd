"""Convolutions arranged for a CPU: weights in oneDNN's order, transposed ones as plain ones.

- A transposed convolution of stride 2 is four plain ones that waste nothing. With `n` the
  input frame, output frame `2n` has the taps 1 and 3 (frames n, n-1) and `2n+1` the taps
  0, 2, 4 (frames n+1, n, n-1); bins work alike.
- A layer with one or two output channels would leave most of a vector idle, so neighbouring
  bins are made at once: 8 bins of 2 frames as 16 channels of a convolution that moves on by
  4 input bins, and 8 bins of 2 channels likewise.
- Weights are reordered once for oneDNN where it is built in; elsewhere torch's own
  convolution runs.

Invariants: a packed convolution is immutable; nothing depends on earlier calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_PHASE_TAPS = ([3, 1], [4, 2, 0])
"""Kernel taps that meet the input frames (n-1, n, n+1) in output frames 2n and 2n+1."""
FOLD = 8
"""Neighbouring output bins that one convolution of the last two steps makes at once."""


@dataclass(frozen=True)
class Convolution:
    """One convolution with its weights in the order that the CPU likes."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    pad_bins: int
    dilation: tuple[int, int]
    relu: bool
    packed: bool

    def __call__(self, x: Tensor, added: Tensor | None = None, pad_frames: int = 0) -> Tensor:
        """`(batch, frames, bins, channels)` to the same layout, valid over frames.

        `added`, of the result's shape, comes in before the ReLU. `pad_frames` columns of zeros
        are thought before the first frame and after the last: oneDNN multiplies none of them.
        """
        x = x.permute(0, 3, 1, 2)
        added = None if added is None else added.permute(0, 3, 1, 2)
        pad = (pad_frames, self.pad_bins)
        if self.packed:
            attribute = "relu" if self.relu else "none"
            given = (self.weight, self.bias, pad, self.stride, self.dilation, 1)
            run = torch.ops.mkldnn._convolution_pointwise
            if added is None:
                y = run(x, *given, attribute, [], "")
            else:
                unary = attribute if self.relu else None
                y = run.binary(x, added, *given, "add", 1.0, unary, [], "")
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, pad, self.dilation)
            y = y if added is None else y + added
            y = y.relu_() if self.relu else y
        return y.permute(0, 2, 3, 1)


def pack(
    weight: Tensor,
    bias: Tensor,
    bins: int,
    dtype: torch.dtype,
    *,
    relu: bool,
    stride: tuple[int, int] = (1, 1),
    pad_bins: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> Convolution:
    """`bins` (of a typical input) lets oneDNN choose its order once and for all."""
    weight, bias = weight.to(dtype), bias.to(dtype)
    packed = torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
    if packed:
        frames = 16 * stride[0] + 3
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.contiguous(),
            (0, pad_bins),
            stride,
            dilation,
            1,
            [1, weight.shape[1], frames, bins],
        )
    else:
        weight = weight.contiguous(memory_format=torch.channels_last)
    return Convolution(weight, bias, stride, pad_bins, dilation, relu, packed)


def phase_kernel(weight: Tensor, time_phase: int, bin_phase: int) -> Tensor:
    """The plain kernel of one phase of a transposed convolution `(in, out, 5, 5)`.

    Returns: `(out, in, 2 or 3, 2 or 3)`, for inputs n-1, n and, in phase 1, n+1.
    """
    taps = weight.permute(1, 0, 2, 3)
    return taps[:, :, _PHASE_TAPS[time_phase]][:, :, :, _PHASE_TAPS[bin_phase]].contiguous()


def _all_phases_kernel(weight: Tensor) -> Tensor:
    """All four phases of a transposed convolution as one kernel of `(4 * out, in, 3, 3)`."""
    blocks = [
        F.pad(phase_kernel(weight, t, b), (0, 1 - b, 0, 1 - t)) for t in (0, 1) for b in (0, 1)
    ]
    return torch.cat(blocks)


def folded_up_kernel(weight: Tensor) -> Tensor:
    """A transposed convolution to one channel as `(2 * FOLD, in, 3, FOLD / 2 + 2)`.

    Output channels are the `FOLD` bins of the even frame, then those of the odd one; the
    input moves on by `FOLD / 2` bins.
    """
    half = FOLD // 2
    phases = _all_phases_kernel(weight)
    folded = weight.new_zeros(2 * FOLD, weight.shape[0], 3, half + 2)
    for time_phase in (0, 1):
        for bin_out in range(FOLD):
            first = bin_out // 2
            phase = phases[2 * time_phase + bin_out % 2]
            folded[time_phase * FOLD + bin_out, :, :, first : first + 3] = phase
    return folded


def folded_last_kernel(weight: Tensor) -> Tensor:
    """The last layer `(2, 1, 4, 4)`, dilation 2, as `(2 * FOLD, 1, 4, FOLD + 6)`.

    Output channels are `FOLD` bins of the first channel, then those of the second; the
    dilation in bins is in the kernel, that in frames is not.
    """
    folded = weight.new_zeros(2 * FOLD, 1, 4, FOLD + 6)
    for channel in (0, 1):
        for bin_out in range(FOLD):
            folded[channel * FOLD + bin_out, :, :, bin_out : bin_out + 7 : 2] = weight[channel]
    return folded
