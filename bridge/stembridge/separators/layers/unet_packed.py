"""The U-Net's arithmetic arranged for speed: packed weights, norms as one multiply-add.

The module in `unet.py` says what is computed; here the same sums are ordered for a CPU.
- Tensors are `(batch, frames, bins, channels)` in memory ("channels last") and live in
  buffers that already hold the zero border of the next convolution. Magnitudes and masks
  are `(batch, 2, frames, bins)`, as spectra are.
- Norm and FiLM together are one affine map per channel, applied while a convolution's
  output is copied to where the next one reads it, so they cost no pass of their own.
- A transposed convolution of stride 2 is four plain ones that waste nothing. With `n` the
  input frame, output frame `2n` has the taps 1 and 3 (frames n, n-1) and `2n+1` the taps
  0, 2, 4 (frames n+1, n, n-1); bins work alike.
- The two steps with one or two output channels would leave most of a vector idle, so
  several neighbouring bins are made at once: 8 bins of 2 frames as 16 channels of a
  convolution that moves on by 4 input bins, and 8 bins of 2 channels likewise.
- A transposed convolution is linear in its input channels, so where several prompts share
  one encoding the half that reads the skip is computed once and added to each prompt's own.
- Weights are reordered once for oneDNN where it is built in; elsewhere torch's own
  convolution runs.

Invariants: a packed network is immutable and shared between threads; `float32` results
agree with `UNet` within 1e-5; nothing depends on earlier calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .unet import BINS, DOWN_CHANNELS, LEAK, STEPS, Film, PromptedNorm, UNet

Affine = tuple[Tensor, Tensor]
"""Gain and shift, each `(1 or batch, 1, 1, channels)`."""

_PHASE_TAPS = ([3, 1], [4, 2, 0])
"""Kernel taps that meet the input frames (n-1, n, n+1) in output frames 2n and 2n+1."""
_FOLD = 8
"""Neighbouring output bins that one convolution of the last two steps makes at once."""


@dataclass(frozen=True)
class Affines:
    """Norm and FiLM of a batch as affine maps, one per conditioned layer."""

    down: tuple[Affine, ...]
    up: tuple[Affine, ...]


@dataclass(frozen=True)
class _Convolution:
    """One convolution with its weights in the order that the CPU likes."""

    weight: Tensor
    bias: Tensor
    stride: tuple[int, int]
    pad_bins: int
    dilation: tuple[int, int]
    relu: bool
    packed: bool

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """`(batch, frames, bins, channels)` to the same layout, valid over frames.

        `added`, of the result's shape, comes in before the ReLU.
        """
        x = x.permute(0, 3, 1, 2)
        added = None if added is None else added.permute(0, 3, 1, 2)
        pad = (0, self.pad_bins)
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


def _pack(
    weight: Tensor,
    bias: Tensor,
    bins: int,
    dtype: torch.dtype,
    *,
    relu: bool,
    stride: tuple[int, int] = (1, 1),
    pad_bins: int = 0,
    dilation: tuple[int, int] = (1, 1),
) -> _Convolution:
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
    return _Convolution(weight, bias, stride, pad_bins, dilation, relu, packed)


def _phase_kernel(weight: Tensor, time_phase: int, bin_phase: int) -> Tensor:
    """The plain kernel of one phase of a transposed convolution `(in, out, 5, 5)`.

    Returns: `(out, in, 2 or 3, 2 or 3)`, for inputs n-1, n and, in phase 1, n+1.
    """
    taps = weight.permute(1, 0, 2, 3)
    return taps[:, :, _PHASE_TAPS[time_phase]][:, :, :, _PHASE_TAPS[bin_phase]].contiguous()


def _all_phases_kernel(weight: Tensor) -> Tensor:
    """All four phases of a transposed convolution as one kernel of `(4 * out, in, 3, 3)`."""
    blocks = [
        F.pad(_phase_kernel(weight, t, b), (0, 1 - b, 0, 1 - t)) for t in (0, 1) for b in (0, 1)
    ]
    return torch.cat(blocks)


def _folded_up_kernel(weight: Tensor) -> Tensor:
    """A transposed convolution to one channel as `(2 * _FOLD, in, 3, _FOLD / 2 + 2)`.

    Output channels are the `_FOLD` bins of the even frame, then those of the odd one; the
    input moves on by `_FOLD / 2` bins.
    """
    half = _FOLD // 2
    phases = _all_phases_kernel(weight)
    folded = weight.new_zeros(2 * _FOLD, weight.shape[0], 3, half + 2)
    for time_phase in (0, 1):
        for bin_out in range(_FOLD):
            first = bin_out // 2
            phase = phases[2 * time_phase + bin_out % 2]
            folded[time_phase * _FOLD + bin_out, :, :, first : first + 3] = phase
    return folded


def _folded_last_kernel(weight: Tensor) -> Tensor:
    """The last layer `(2, 1, 4, 4)`, dilation 2, as `(2 * _FOLD, 1, 4, _FOLD + 6)`.

    Output channels are `_FOLD` bins of the first channel, then those of the second; the
    dilation in bins is in the kernel, that in frames is not.
    """
    folded = weight.new_zeros(2 * _FOLD, 1, 4, _FOLD + 6)
    for channel in (0, 1):
        for bin_out in range(_FOLD):
            folded[channel * _FOLD + bin_out, :, :, bin_out : bin_out + 7 : 2] = weight[channel]
    return folded


_Phases = list[list[_Convolution]]
"""The convolutions of an up step, by phase of the frames and of the bins."""


def _pack_up(
    step: int, weight: Tensor, bias: Tensor, dtype: torch.dtype, relu: bool = True
) -> _Phases:
    """Up step `step` as convolutions: four phases, or one that makes all of them."""
    if step < STEPS - 1:
        kernels = [[_phase_kernel(weight, t, b) for b in (0, 1)] for t in (0, 1)]
        stride = (1, 1)
    else:
        kernels = [[_folded_up_kernel(weight)]]
        bias, stride = bias.repeat(2 * _FOLD), (1, _FOLD // 2)
    bins = BINS >> (STEPS - step)
    return [
        [_pack(k, bias, bins, dtype, stride=stride, pad_bins=1, relu=relu) for k in row]
        for row in kernels
    ]


class PackedUNet:
    """A `UNet` made ready to run, in `dtype` float32 or bfloat16.

    Args:
        network: the weights, in evaluation mode.
        dtype: of the convolutions; magnitudes, the last layer and the mask stay float32.
    """

    def __init__(self, network: UNet, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.condition = network.condition
        self.prompt_size = network.prompt_size
        self._network = network
        state = network.state_dict()
        self._down = [
            _pack(
                state[f"d.{step}.weight"],
                state[f"d.{step}.bias"],
                (BINS >> step) + 3,
                dtype,
                stride=(2, 2),
                relu=False,
            )
            for step in range(STEPS)
        ]
        self._up: list[_Phases] = []
        self._own: list[_Phases] = []
        self._shared: list[_Phases] = []
        for step in range(STEPS):
            weight, bias = state[f"u.{step}.weight"], state[f"u.{step}.bias"]
            self._up.append(_pack_up(step, weight, bias, dtype))
            if step and self.condition == "decoder":
                skip = DOWN_CHANNELS[STEPS - step]
                nothing = torch.zeros_like(bias)
                self._own.append(_pack_up(step, weight[skip:], bias, dtype))
                self._shared.append(_pack_up(step, weight[:skip], nothing, dtype, relu=False))
        self._last = _pack(
            _folded_last_kernel(state["last.weight"]),
            state["last.bias"].repeat_interleave(_FOLD),
            BINS,
            torch.float32,
            stride=(1, _FOLD),
            pad_bins=3,
            dilation=(2, 1),
            relu=False,
        )

    def affines(self, prompts: Tensor | None = None, offsets: Tensor | None = None) -> Affines:
        """Norm and FiLM for `(batch, prompt_size)` prompts; None for a plain network.

        `offsets` `(batch, film_size)` are a tuned prompt's own additions (see `UNet.film`).
        """

        def one(norm: PromptedNorm, film: Film | None, dtype: torch.dtype) -> Affine:
            bn = norm.bn
            assert bn.running_mean is not None and bn.running_var is not None
            gain = (bn.weight / torch.sqrt(bn.running_var + bn.eps))[None]
            shift = bn.bias - bn.running_mean * gain
            if film is not None:
                gain, shift = gain * (1 + film[0]), shift * (1 + film[0]) + film[1]
            return gain[:, None, None].to(dtype), shift[:, None, None].to(dtype)

        network = self._network
        with torch.inference_mode():
            films = network.film(prompts, offsets)
            norms = network.norms
            dtypes = [self.dtype] * (len(norms) - 1) + [torch.float32]
            affines = [one(n, f, d) for n, f, d in zip(norms, films, dtypes, strict=True)]
            return Affines(tuple(affines[: STEPS - 1]), tuple(affines[STEPS - 1 :]))

    def down_buffer(self, batch: int, step: int, frames: int, channels: int) -> Tensor:
        """Room for `frames` columns of level `step` with the zero border in bins (1 | 2)."""
        bins = BINS >> step
        buffer = torch.empty(batch, frames, bins + 3, channels, dtype=self.dtype)
        buffer[:, :, :1] = 0
        buffer[:, :, bins + 1 :] = 0
        return buffer

    def down(self, step: int, buffer: Tensor) -> Tensor:
        """Columns `(batch, frames, bins + 3, channels)` to `((frames - 3) // 2, bins / 2)`."""
        return self._down[step](buffer)

    def activate(self, step: int, raw: Tensor, affines: Affines, out: Tensor) -> None:
        """Norm, FiLM and leaky ReLU of a down step's output into the next step's buffer."""
        gain, shift = affines.down[step]
        torch.addcmul(shift, gain, raw, out=out)
        F.leaky_relu_(out, LEAK)

    def up(
        self,
        step: int,
        buffer: Tensor,
        affines: Affines,
        even: Tensor,
        odd: Tensor,
        skip: Tensor | None = None,
        spread: Tensor | None = None,
    ) -> None:
        """One transposed step: columns n-1 … n+pairs into `even` and `odd` output columns.

        Args:
            buffer: `(batch, pairs + 2, bins, channels)`, one column of border on each side.
            even, odd: where columns 2n and 2n+1 go, `(batch, pairs, 2 * bins, channels)`.
            skip: the skip's channels alone, if they are not in `buffer`, one of each encoding.
            spread: for every result the encoding that it belongs to. Step 0, which reads
                nothing but the encodings, takes it without `skip`.
        """
        bins = buffer.shape[2]
        gain, shift = affines.up[step]

        def phase(time: int, bin_phase: int, columns: slice) -> Tensor:
            if spread is None:
                return self._up[step][time][bin_phase](buffer[:, columns])
            if skip is None:
                return self._up[step][time][bin_phase](buffer[:, columns])[spread]
            added = self._shared[step - 1][time][bin_phase](skip[:, columns])[spread]
            return self._own[step - 1][time][bin_phase](buffer[:, columns], added)

        if step == STEPS - 1:
            both = phase(0, 0, slice(None)).float()
            for time_phase, out in ((0, even), (1, odd)):
                raw = both[..., time_phase * _FOLD : (time_phase + 1) * _FOLD]
                there = out.view(*out.shape[:2], -1, _FOLD)
                torch.addcmul(shift, gain, raw, out=there)
            return
        for time_phase, columns, out in ((0, slice(None, -1), even), (1, slice(None), odd)):
            for bin_phase in (0, 1):
                # Two taps leave one bin too many at the end.
                raw = phase(time_phase, bin_phase, columns)[:, :, :bins]
                torch.addcmul(shift, gain, raw, out=out[:, :, bin_phase::2])

    def last(self, columns: Tensor) -> Tensor:
        """The mask, float32 `(batch, 2, frames, BINS)`, of `frames + 6` columns of the top."""
        y = self._last(columns)
        batch, frames, groups, _ = y.shape
        masks = torch.empty(batch, 2, frames, BINS)
        y = y.unflatten(3, (2, _FOLD)).permute(0, 3, 1, 2, 4)
        torch.sigmoid(y, out=masks.view(batch, 2, frames, groups, _FOLD))
        return masks
