"""The prompted U-Net as the tuner sees it: spectra in, masked spectra out, frozen.

The vector is that of `unet_queries`: head, prompt numbers, FiLM offsets. The head is fixed
to the prompted network; everything after it may be learned. With a network whose encoder
knows no prompt, the way down is computed once per mixture (`prepare`) and only the way up
is repeated.

Invariants: the mask is `own_mask`, the very function that streams apply to tuned prompts;
the linear domain is the spectrum of the networks' 1024 bins, as real and imaginary parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..prompts import Clip, ExamplePrompt
from .layers.unet import BINS, FRAME_MULTIPLE
from .layers.unet_masks import own_mask
from .layers.unet_stft import HOP_SAMPLES, WINDOW_SAMPLES
from .tunable import Tunable
from .unet_queries import HEADS

if TYPE_CHECKING:
    from .unet import Unet


class Prepared(NamedTuple):
    """What does not depend on the vector; `skips` only where the encoder knows no prompt."""

    spectra: Tensor
    magnitudes: Tensor
    skips: list[Tensor] | None


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
        magnitudes = spectra.abs()
        shared = self._network.condition == "decoder"
        skips = self._network.encode(magnitudes) if shared else None
        return Prepared(torch.view_as_real(spectra), magnitudes, skips)

    def estimate(self, prepared: Prepared, vector: Tensor) -> Tensor:
        batch = prepared.magnitudes.shape[0]
        numbers = vector[len(HEADS) : self._layout.size].expand(batch, -1)
        offsets = vector[self._layout.size :].expand(batch, -1)
        film = self._network.film(numbers, offsets)
        skips = prepared.skips
        if skips is None:
            skips = self._network.encode(prepared.magnitudes, film=film)
        sigmoid = self._network.decode(skips, film=film)
        mask = own_mask(prepared.magnitudes, sigmoid * prepared.magnitudes)
        return prepared.spectra * mask[..., None]

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
