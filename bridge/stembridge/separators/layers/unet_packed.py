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
from .unet_convolution import FOLD, Phases, folded_last_kernel, pack, pack_up

Affine = tuple[Tensor, Tensor]
"""Gain and shift, each `(1 or batch, 1, 1, channels)`."""


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
    """

    def __init__(self, network: UNet, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.condition = network.condition
        self.prompt_size = network.prompt_size
        self._network = network
        state = network.state_dict()
        self._down = [
            pack(
                state[f"d.{step}.weight"],
                state[f"d.{step}.bias"],
                (BINS >> step) + 3,
                dtype,
                stride=(2, 2),
                relu=False,
            )
            for step in range(STEPS)
        ]
        self._up: list[Phases] = []
        self._own: list[Phases] = []
        self._shared: list[Phases] = []
        for step in range(STEPS):
            weight, bias = state[f"u.{step}.weight"], state[f"u.{step}.bias"]
            self._up.append(pack_up(step, weight, bias, dtype))
            if step and self.condition == "decoder":
                skip = DOWN_CHANNELS[STEPS - step]
                nothing = torch.zeros_like(bias)
                self._own.append(pack_up(step, weight[skip:], bias, dtype))
                self._shared.append(pack_up(step, weight[:skip], nothing, dtype, relu=False))
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
                raw = both[..., time_phase * FOLD : (time_phase + 1) * FOLD]
                there = out.view(*out.shape[:2], -1, FOLD)
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
        y = y.unflatten(3, (2, FOLD)).permute(0, 3, 1, 2, 4)
        torch.sigmoid(y, out=masks.view(batch, 2, frames, groups, FOLD))
        return masks
