"""The steps of the way up as convolutions: transposed ones of stride 2, then ReLU.

- A transposed convolution of stride 2 is four plain ones that waste nothing: see
  `unet_convolution.phase_kernel`. `DirectUp` runs them.
- The last step has one output channel, which would leave most of a vector idle, so `FoldedUp`
  makes 8 bins of 2 frames at once, as 16 channels of a convolution that moves on by 4 input bins.
- `unet_winograd.FastUp` makes four columns at a time with half the multiplications.

All are linear until `write`, so prompts that share an encoding share the parts of the skip:

    skip   ──read──> ──parts──┐ (once)
    buffer ──read──> ──parts──+──write──> even and odd columns

Invariants: immutable; nothing depends on earlier calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .unet import BINS, STEPS
from .unet_convolution import FOLD, folded_up_kernel, pack, phase_kernel

_LONG_ROW = 64
"""So many numbers side by side keep torch's loops at the speed of memory."""


@dataclass(frozen=True)
class Cut:
    """What a step may leave out; one that cannot computes it nevertheless."""

    whole: bool = False
    """The border columns on both sides are zeros."""
    first_even: bool = False
    """Nobody reads the first even column."""


NO_CUT = Cut()


@dataclass(frozen=True)
class Data:
    """What an up step reads, in the order that it likes."""

    odd: Tensor
    """For odd columns, or for all."""
    even: Tensor
    """For even columns."""
    pads: tuple[int, int] = (0, 0)
    """Columns of zeros to think at either end, for even and for odd columns."""


class UpStep(Protocol):
    """What the three kinds have in common."""

    @property
    def bin_phases(self) -> Sequence[int]:
        """Phases of the bins that are computed apart."""
        ...

    def read(self, buffer: Tensor, cut: Cut = NO_CUT) -> Data:
        """Columns n-1 … n+pairs, `(batch, pairs + 2, bins, in)`, as `parts` wants them."""
        ...

    def parts(self, data: Data, phase: int, added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """What is linear in the input: sums of one phase of the bins, batch first.

        `added` are parts of another step of the same shape and cut, without a bias.
        """
        ...

    def write(
        self,
        parts: Sequence[Tensor],
        phase: int,
        affine: tuple[Tensor, Tensor],
        even: Tensor,
        odd: Tensor,
    ) -> None:
        """The finished columns of one phase of the bins, after ReLU and an affine map.

        Args:
            even, odd: columns 2n and 2n+1 with all bins, `(batch, pairs, 2 * bins, out)`.
        """
        ...


class DirectUp:
    """Four plain convolutions, one for each phase of frames and bins.

    Args:
        weight: `(in, out, 5, 5)`.
        relu: False for parts that are added to others.
    """

    bin_phases = (0, 1)

    def __init__(
        self, step: int, weight: Tensor, bias: Tensor, dtype: torch.dtype, relu: bool = True
    ) -> None:
        bins = BINS >> (STEPS - step)
        self._phases = [
            [
                pack(phase_kernel(weight, time, phase), bias, bins, dtype, pad_bins=1, relu=relu)
                for time in (0, 1)
            ]
            for phase in self.bin_phases
        ]

    def read(self, buffer: Tensor, cut: Cut = NO_CUT) -> Data:
        late = cut.first_even and buffer.shape[1] > 3
        # Each convolution would copy for itself what does not lie in one piece.
        if cut.whole:
            inside = buffer[:, 1:-1].contiguous()
            # Padding at both ends makes an even column too many.
            return Data(inside, inside, (0 if late else 1, 1))
        # Even columns do not read the last one.
        return Data(buffer.contiguous(), buffer[:, 1 if late else 0 : -1].contiguous())

    def parts(self, data: Data, phase: int, added: Sequence[Tensor] | None = None) -> list[Tensor]:
        even, odd = self._phases[phase]
        more = (None, None) if added is None else added
        return [even(data.even, more[0], data.pads[0]), odd(data.odd, more[1], data.pads[1])]

    def write(
        self,
        parts: Sequence[Tensor],
        phase: int,
        affine: tuple[Tensor, Tensor],
        even: Tensor,
        odd: Tensor,
    ) -> None:
        gain, shift = affine
        for raw, out in zip(parts, (even, odd), strict=True):
            there = out[:, max(0, out.shape[1] - raw.shape[1]) :, phase::2]
            # Two taps leave one bin too many at the end.
            data = raw[:, : there.shape[1], : there.shape[2]]
            if data.shape[3] < _LONG_ROW:
                # In between, all bins of a column are one row.
                there.copy_(torch.addcmul(shift, gain, data))
            else:
                torch.addcmul(shift, gain, data, out=there)


class FoldedUp:
    """The last step, to one channel: one convolution makes `FOLD` bins of both columns."""

    bin_phases = (0,)

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, relu: bool = True) -> None:
        kernel, bias = folded_up_kernel(weight), bias.repeat(2 * FOLD)
        stride = (1, FOLD // 2)
        self._convolution = pack(
            kernel, bias, BINS // 2, dtype, stride=stride, pad_bins=1, relu=relu
        )

    def read(self, buffer: Tensor, cut: Cut = NO_CUT) -> Data:
        return Data(buffer, buffer)

    def parts(self, data: Data, phase: int, added: Sequence[Tensor] | None = None) -> list[Tensor]:
        return [self._convolution(data.odd, None if added is None else added[0])]

    def write(
        self,
        parts: Sequence[Tensor],
        phase: int,
        affine: tuple[Tensor, Tensor],
        even: Tensor,
        odd: Tensor,
    ) -> None:
        gain, shift = affine
        for raw, out in zip(parts[0].float().chunk(2, dim=3), (even, odd), strict=True):
            torch.addcmul(shift, gain, raw, out=out.view(*out.shape[:2], -1, FOLD))
