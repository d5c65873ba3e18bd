"""The U-Net's arithmetic arranged for speed: packed weights, norms as one multiply-add.

The module in `unet.py` says what is computed; here the same sums are ordered for a CPU.
- Tensors are `(batch, frames, bins, channels)` in memory ("channels last") and live in
  buffers that already hold the zero border of the next convolution. Magnitudes and masks
  are `(batch, 2, frames, bins)`, as spectra are.
- Norm and FiLM together are one affine map per channel, applied while a convolution's
  output is copied to where the next one reads it, so they cost no pass of their own.
- A transposed convolution is linear in its input channels, so where several prompts share
  one encoding the half that reads the skip is computed once and added to each prompt's own.
- How a convolution itself is made fast: `unet_convolution.py`.

Invariants: a packed network is immutable and shared between threads; `float32` results
agree with `UNet` within 1e-5; nothing depends on earlier calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .unet import BINS, DOWN_CHANNELS, LEAK, STEPS, Film, PromptedNorm, UNet
from .unet_convolution import FOLD, Convolution, folded_last_kernel, pack
from .unet_up import NO_CUT, Cut, DirectUp, FoldedUp, UpStep
from .unet_winograd import FastUp

Affine = tuple[Tensor, Tensor]
"""Gain and shift, each `(1 or batch, 1, 1 or bins, channels)`."""

_FAST_UP = (1, 2, 3)
"""Steps that make four columns at a time (measured: elsewhere it gains nothing)."""


@dataclass(frozen=True)
class Affines:
    """Norm and FiLM of a batch as affine maps, one per conditioned layer."""

    down: tuple[Affine, ...]
    up: tuple[Affine, ...]


class PackedUNet:
    """A `UNet` made ready to run, in `dtype` float32 or bfloat16.

    Args:
        network: the weights, in evaluation mode.
        dtype: of the convolutions; magnitudes, the last layer and the mask stay float32.
        many_columns: make four columns at a time where that is faster with many at hand, as
            on the endless grid; a window of which few columns are wanted is slower so.
    """

    def __init__(
        self,
        network: UNet,
        dtype: torch.dtype = torch.float32,
        many_columns: bool = False,
    ) -> None:
        if many_columns and dtype != torch.float32:
            raise ValueError("four columns at a time need the digits of float32")
        self.dtype = dtype
        self.condition = network.condition
        self._fast_up = _FAST_UP if many_columns else ()
        self.prompt_size = network.prompt_size
        self._network = network
        state = network.state_dict()
        self._down: list[Convolution] = []
        self._up: list[UpStep] = []
        self._shared: list[UpStep | None] = []
        for step in range(STEPS):
            self._down.append(
                pack(
                    state[f"d.{step}.weight"],
                    state[f"d.{step}.bias"],
                    (BINS >> step) + 3,
                    dtype,
                    stride=(2, 2),
                    relu=False,
                )
            )
            weight, bias = state[f"u.{step}.weight"], state[f"u.{step}.bias"]
            skip = DOWN_CHANNELS[STEPS - step] if step and self.shares_skips else 0
            self._up.append(self._pack_up(step, weight[skip:], bias))
            nothing = torch.zeros_like(bias)
            shared = self._pack_up(step, weight[:skip], nothing, relu=False) if skip else None
            self._shared.append(shared)
        self._last = pack(
            folded_last_kernel(state["last.weight"]),
            state["last.bias"].repeat_interleave(FOLD),
            BINS,
            torch.float32,
            stride=(1, FOLD),
            pad_bins=3,
            dilation=(2, 1),
            relu=False,
        )

    @property
    def shares_skips(self) -> bool:
        """Whether several prompts run on one encoding."""
        return self.condition == "decoder"

    def _pack_up(self, step: int, weight: Tensor, bias: Tensor, relu: bool = True) -> UpStep:
        if step == STEPS - 1:
            return FoldedUp(weight, bias, self.dtype, relu)
        if step in self._fast_up:
            return FastUp(step, weight, bias)
        return DirectUp(step, weight, bias, self.dtype, relu)

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
            down = (_per_bin(a, BINS >> (i + 1)) for i, a in enumerate(affines[: STEPS - 1]))
            up = affines[STEPS - 1 : -1]
            # An up step writes even and odd bins apart.
            up = (_per_bin(a, BINS >> (STEPS - i)) for i, a in enumerate(up))
            return Affines(tuple(down), (*up, affines[-1]))

    def down_buffer(self, batch: int, step: int, frames: int, channels: int) -> Tensor:
        """Room for `frames` columns of level `step` with the zero border in bins (1 | 2)."""
        bins = BINS >> step
        buffer = torch.empty(batch, frames, bins + 3, channels, dtype=self.dtype)
        buffer[:, :, :1] = 0
        buffer[:, :, bins + 1 :] = 0
        return buffer

    def down(self, step: int, buffer: Tensor, pad_frames: int = 0) -> Tensor:
        """Columns `(batch, frames, bins + 3, channels)` to `((frames - 3) // 2, bins / 2)`.

        `pad_frames` says how many columns of zeros to think at either end.
        """
        return self._down[step](buffer, None, pad_frames)

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
        cut: Cut = NO_CUT,
    ) -> None:
        """One transposed step: columns n-1 … n+pairs into `even` and `odd` output columns.

        Args:
            buffer: `(batch, pairs + 2, bins, channels)`, one column of border on each side.
            even, odd: where columns 2n and 2n+1 go, `(batch, pairs, 2 * bins, channels)`.
            skip: the skip's channels alone, one of each encoding, in a network that shares
                them; elsewhere they are in `buffer`.
            spread: there, for every result the encoding that it belongs to. Step 0 reads
                nothing but the encodings.
            cut: what need not be computed.
        """
        own, shared = self._up[step], self._shared[step]
        data = own.read(buffer, cut)
        data_skip = None if shared is None or skip is None else shared.read(skip, cut)
        for phase in own.bin_phases:
            added = None
            if shared is not None and data_skip is not None:
                added = [part[spread] for part in shared.parts(data_skip, phase)]
            parts = own.parts(data, phase, added)
            if spread is not None and added is None:
                parts = [part[spread] for part in parts]
            own.write(parts, phase, affines.up[step], even, odd)

    def last(self, columns: Tensor) -> Tensor:
        """The mask, float32 `(batch, 2, frames, BINS)`, of `frames + 6` columns of the top."""
        y = self._last(columns)
        batch, frames, groups, _ = y.shape
        masks = y.sigmoid_().unflatten(3, (2, FOLD)).permute(0, 3, 1, 2, 4)
        return masks.reshape(batch, 2, frames, groups * FOLD)


def _per_bin(affine: Affine, bins: int) -> Affine:
    """The same map with a number for each bin and channel.

    Few channels are a short row for torch's loops; bins and channels together a long one.
    """
    gain, shift = (x.expand(-1, -1, bins, -1).contiguous() for x in affine)
    return gain, shift
