"""The prompted U-Net as the tuner sees it: spectra in, masked spectra out, frozen.

The vector is that of `unet_queries`: head, prompt numbers, FiLM offsets. The head is fixed
to the prompted network; everything after it may be learned. With a network whose encoder
knows no prompt, everything up to the first FiLM is computed once per mixture (`prepare`):
the way down, the deepest step up, and of every further step the half that comes from the
skip, since a transposed convolution is linear in its input channels. What a step of
learning repeats is less than half of the network.

Invariants: the mask is `own_mask`, the very function that streams apply to tuned prompts;
the linear domain is the spectrum of the networks' 1024 bins, as real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..prompts import Clip, ExamplePrompt
from .layers.unet import BINS, FRAME_MULTIPLE, STEPS, Film, PromptedNorm
from .layers.unet_masks import own_mask
from .layers.unet_stft import HOP_SAMPLES, WINDOW_SAMPLES
from .tunable import Tunable
from .unet_queries import HEADS

if TYPE_CHECKING:
    from .unet import Unet


class Shared(NamedTuple):
    """The parts of the way up that no vector changes."""

    deepest: Tensor
    """Before the first FiLM."""
    skips: list[Tensor]
    """Per further step, what its skip adds before the nonlinearity."""


class Prepared(NamedTuple):
    """What does not depend on the vector; `shared` only where the encoder knows no prompt."""

    spectra: Tensor
    shared: Shared | None


class UnetTunable(Tunable):
    """`Unet`'s prompted network over one vector of prompt numbers and FiLM offsets."""

    step_size = 0.02

    def __init__(self, separator: Unet) -> None:
        self.sample_rate, self.channels = separator.sample_rate, separator.channels
        # 63 hops, centred windows: 64 frames, the least that the network takes.
        self.segment_samples = (FRAME_MULTIPLE - 1) * HOP_SAMPLES
        self.space = separator.space
        self._separator = separator
        self._network = separator.prompted_module
        for parameter in self._network.parameters():
            parameter.requires_grad_(False)
        self._layout = separator.layout
        self.dimensions = self._layout.size + self._layout.offsets
        self.learnable = slice(len(HEADS), self.dimensions)
        self._window = torch.hann_window(WINDOW_SAMPLES)

    def start(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The mean of the encoded clips; without an example encoder, the nearest stem.

        The nearest stem is the one whose prompt lets most of the clips through.
        """
        vector = np.zeros(self.dimensions, np.float32)
        vector[HEADS.index("prompted")] = 1.0
        if self._separator.capabilities.examples:
            example = ExamplePrompt(tuple(Clip(clip, self.sample_rate) for clip in clips))
            encoded = self._separator.encode(example).vector
            vector[: len(encoded)] = encoded
            return vector
        row = max(self._layout.rows, key=lambda row: self._passed(row, clips))
        vector[len(HEADS) : self._layout.size] = row
        return vector

    def _passed(self, row: np.ndarray, clips: Sequence[np.ndarray]) -> float:
        """The energy that the prompt `row` keeps of up to eight clips heard by themselves."""
        vector = torch.zeros(self.dimensions)
        vector[len(HEADS) : self._layout.size] = torch.from_numpy(row)
        heard = torch.zeros(min(8, len(clips)), self.channels, self.segment_samples)
        for place, clip in zip(heard, clips, strict=False):
            part = torch.from_numpy(np.ascontiguousarray(clip[:, : self.segment_samples]))
            place[:, : part.shape[1]] = part / part.abs().max().clamp(min=1e-6)
        with torch.no_grad():
            return float(self.estimate(self.prepare(heard), vector).square().sum())

    def reference(self, audio: Tensor) -> Tensor:
        """Spectra `(batch, channels, 64, BINS, 2)`."""
        return torch.view_as_real(self._spectra(audio))

    def prepare(self, mixtures: Tensor) -> Prepared:
        spectra = self._spectra(mixtures)
        known = self._network.condition == "decoder"
        shared = self._shared(self._network.encode(spectra.abs())) if known else None
        return Prepared(torch.view_as_real(spectra), shared)

    def estimate(self, prepared: Prepared, vector: Tensor) -> Tensor:
        spectra = prepared.spectra
        magnitudes = torch.view_as_complex(spectra).abs()
        batch = len(spectra)
        numbers = vector[len(HEADS) : self._layout.size].expand(batch, -1)
        offsets = vector[self._layout.size :].expand(batch, -1)
        film = self._network.film(numbers, offsets)
        if prepared.shared is None:
            skips = self._network.encode(magnitudes, film=film)
            sigmoid = self._network.decode(skips, film=film)
        else:
            sigmoid = self._decode(prepared.shared, film[len(self._network.df) :])
        mask = own_mask(magnitudes, sigmoid * magnitudes)
        return spectra * mask[..., None]

    def _shared(self, skips: Sequence[Tensor]) -> Shared:
        network = self._network
        norm = network.uf[0]
        assert isinstance(norm, PromptedNorm)
        deepest = norm.bn(F.relu(_crop(network.u[0](skips[-1]))))
        halves = []
        for step in range(1, STEPS):
            skip = skips[STEPS - 1 - step]
            weight = _convolution(network.u[step]).weight[: skip.shape[1]]
            halves.append(_crop(F.conv_transpose2d(skip, weight, stride=2)).contiguous())
        return Shared(deepest, halves)

    def _decode(self, shared: Shared, film: Sequence[Film | None]) -> Tensor:
        """As `UNet.decode`, with what is shared put in where it belongs."""
        network = self._network
        assert film[0] is not None
        gain, shift = film[0]
        x = shared.deepest * (1 + gain[:, :, None, None]) + shift[:, :, None, None]
        for step, half in enumerate(shared.skips, 1):
            up = _convolution(network.u[step])
            own = F.conv_transpose2d(x, up.weight[-x.shape[1] :], up.bias, stride=2)
            x = network.uf[step](F.relu(_crop(own) + half), film[step])
        return torch.sigmoid(network.last(x))

    def _spectra(self, audio: Tensor) -> Tensor:
        """Complex `(batch, channels, frames, BINS)` of `(batch, channels, samples)`."""
        batch, channels, samples = audio.shape
        spectra = torch.stft(
            audio.reshape(batch * channels, samples),
            WINDOW_SAMPLES,
            HOP_SAMPLES,
            window=self._window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        spectra = spectra[:, :BINS].transpose(1, 2)
        return spectra.reshape(batch, channels, *spectra.shape[1:])


def _convolution(step: nn.Module) -> nn.ConvTranspose2d:
    assert isinstance(step, nn.ConvTranspose2d)
    return step


def _crop(x: Tensor) -> Tensor:
    """Drop one sample before and two after on both axes, as every step up does."""
    return x[..., 1:-2, 1:-2]
