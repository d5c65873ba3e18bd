"""Spectra in and stems out, hop by hop: the 4096/1024 transform of the U-Net's streams.

Frame `f` is centred at sample `1024 f`, as in the published code, and spans 2048 samples to
either side. Three quarters of every window overlap its neighbours, and a periodic Hann
window applied on the way in and out sums to exactly 1.5, so a mask of ones returns the
input. Frame -1 still holds the first 1023 samples; it exists here and nowhere else.

    step k brings samples [kS, (k+1)S), S = 1024 H, and finishes the frames
    kH - 1 … (k+1)H - 2; after frame f is added, samples below 1024 (f - 1) are final.

Invariants: pure bookkeeping and FFTs, no network; zeros in give exact zeros out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .unet import BINS

WINDOW_SAMPLES = 4096
HOP_SAMPLES = 1024
SPECTRUM_BINS = WINDOW_SAMPLES // 2 + 1
OVERLAP_SAMPLES = WINDOW_SAMPLES - HOP_SAMPLES
"""What a step keeps of its past, and how far synthesis lags behind the newest frame."""
CACHED_FRAMES = 32
"""Frames that are transformed, masked and made sound at once: they stay in the CPU's cache."""
_OVERLAP_SUM = 1.5
_HOPS = WINDOW_SAMPLES // HOP_SAMPLES


class Analysis:
    """Steps of samples to complex spectra. Delay: none beyond the window itself.

    Args:
        channels: of the audio.
        step_samples: samples per `push`, a multiple of `HOP_SAMPLES`.
    """

    def __init__(self, channels: int, step_samples: int) -> None:
        self._window = torch.hann_window(WINDOW_SAMPLES)
        self._tail = torch.zeros(channels, OVERLAP_SAMPLES)
        self._step = step_samples

    def push(self, step: Tensor) -> Tensor:
        """`(channels, step_samples)` to complex `(channels, frames, SPECTRUM_BINS)`."""
        if step.shape[1] != self._step:
            raise ValueError(f"a step has {self._step} samples, not {step.shape[1]}")
        span = torch.cat([self._tail, step], dim=1)
        self._tail = span[:, -OVERLAP_SAMPLES:].clone()
        frames = span.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
        spectra = span.new_empty(*frames.shape[:2], SPECTRUM_BINS, dtype=torch.complex64)
        for first in range(0, frames.shape[1], CACHED_FRAMES):
            part = slice(first, first + CACHED_FRAMES)
            spectra[:, part] = torch.fft.rfft(frames[:, part] * self._window)
        return spectra


class Synthesis:
    """Masked spectra back to samples by overlap and add. Lags the newest frame by 3072.

    The first three hops belong to times before the input began; the stream drops them.
    """

    def __init__(self, *shape: int) -> None:
        window = torch.hann_window(WINDOW_SAMPLES) / _OVERLAP_SUM
        self._window = window.unflatten(0, (_HOPS, HOP_SAMPLES))
        self._sum = torch.zeros(*shape, _HOPS - 1, HOP_SAMPLES)

    def push(self, spectra: Tensor) -> Tensor:
        """Complex `(…, frames, SPECTRUM_BINS)` to `(…, frames * HOP_SAMPLES)`."""
        pieces = torch.fft.irfft(spectra, n=WINDOW_SAMPLES).unflatten(-1, (_HOPS, HOP_SAMPLES))
        frames = pieces.shape[-3]
        out = pieces.new_zeros(*pieces.shape[:-3], frames + _HOPS - 1, HOP_SAMPLES)
        out[..., : _HOPS - 1, :] = self._sum
        # Hop h is the last quarter of frame h - 3, … the first of frame h: oldest first.
        for hop in reversed(range(_HOPS)):
            there = out[..., hop : hop + frames, :]
            torch.addcmul(there, pieces[..., hop, :], self._window[hop], out=there)
        self._sum = out[..., frames:, :].clone()
        return out[..., :frames, :].flatten(-2)


def magnitudes_of(spectra: Tensor) -> Tensor:
    """What the network sees: the lowest `BINS` of `(channels, frames, SPECTRUM_BINS)`."""
    known = spectra[:, :, :BINS]
    # Several times as fast as `abs`, which guards against squares beyond float32's range.
    return known.real.square().addcmul_(known.imag, known.imag).sqrt_()
