"""The one STFT of the published separators, and the log-mel front end of their encoders.

Frames are centred (frame `t` around sample `t * hop`), one-sided and unscaled; spectra are
complex `(..., frames, bins)`. Two padding conventions exist: reflection with one frame more
than `samples // hop` (CLAPSep, Zero-shot ASP, USS, AudioSep, HTS-AT, Cnn14), and zeros with
the end filled up to a whole hop (TUSS). Nothing here is learned, so published checkpoints'
`stft.*`, `istft.*` and `melW` tensors are dropped on load; windows and filters are computed
once per device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-10
"""Least power before the logarithm, and least magnitude before a division."""


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # kept for tuning, too, which needs gradients
def _window(size: int, kind: str, device: torch.device) -> Tensor:
    if kind == "sqrt-hann":  # the root of the rounded window, as the network was trained
        return torch.hann_window(size, periodic=True, dtype=torch.float32).sqrt().to(device)
    hann = torch.hann_window(size, periodic=True, dtype=torch.float64)
    return hann.to(torch.float32).to(device)


@dataclass(frozen=True)
class Stft:
    """A short-time Fourier transform; sizes in samples.

    `pad_mode="zero"` also fills the signal's end up to a whole number of hops.
    """

    size: int
    hop: int
    window: Literal["hann", "sqrt-hann"] = "hann"
    pad_mode: Literal["reflect", "zero"] = "reflect"

    @property
    def bins(self) -> int:
        """Number of frequency bins, Nyquist included."""
        return self.size // 2 + 1

    @property
    def least_samples(self) -> int:
        """The shortest signal that `analyse` takes (reflection needs half a frame)."""
        return self.size // 2 + 1 if self.pad_mode == "reflect" else 1

    def frames(self, samples: int) -> int:
        """Number of frames of a signal of `samples` samples."""
        whole = samples // self.hop
        if self.pad_mode == "zero" and samples % self.hop:
            whole += 1
        return whole + 1

    def analyse(self, signal: Tensor) -> Tensor:
        """`(..., samples)` float32 to complex `(..., frames, bins)`."""
        shape = signal.shape
        flat = signal.reshape(-1, shape[-1])
        if self.pad_mode == "zero":
            flat = F.pad(flat, (0, -shape[-1] % self.hop))
        spectrum = torch.stft(
            flat,
            self.size,
            self.hop,
            self.size,
            _window(self.size, self.window, signal.device),
            center=True,
            pad_mode="reflect" if self.pad_mode == "reflect" else "constant",
            return_complex=True,
        )
        return spectrum.transpose(1, 2).reshape(*shape[:-1], -1, self.bins)

    def synthesise(self, spectrum: Tensor, samples: int | None = None) -> Tensor:
        """Complex `(..., frames, bins)` to `(..., samples)`; None: all that the frames cover."""
        shape = spectrum.shape
        flat = spectrum.reshape(-1, shape[-2], shape[-1]).transpose(1, 2)
        signal = torch.istft(
            flat,
            self.size,
            self.hop,
            self.size,
            _window(self.size, self.window, spectrum.device),
            center=True,
            length=samples,
        )
        return signal.reshape(*shape[:-2], -1)


def power(spectrum: Tensor) -> Tensor:
    """Squared magnitude of a complex tensor."""
    return spectrum.real.square() + spectrum.imag.square()


@lru_cache(maxsize=8)
def mel_filters(
    sample_rate: int, size: int, bands: int, low_hz: float, high_hz: float, device: torch.device
) -> Tensor:
    """Triangular filters of unit area on Slaney's mel scale, `(size // 2 + 1, bands)`.

    The scale is linear below 1 kHz (200/3 Hz per mel) and logarithmic above (27 mels to a
    factor of 6.4): Slaney, Auditory Toolbox, 1998.
    """
    hz_per_mel, knee_hz, log_step = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0
    knee_mel = knee_hz / hz_per_mel

    def to_mel(hz: float) -> float:
        if hz < knee_hz:
            return hz / hz_per_mel
        return knee_mel + math.log(hz / knee_hz) / log_step

    mels = torch.linspace(to_mel(low_hz), to_mel(high_hz), bands + 2, dtype=torch.float64)
    edges = torch.where(
        mels < knee_mel, mels * hz_per_mel, knee_hz * torch.exp(log_step * (mels - knee_mel))
    )
    grid = torch.linspace(0.0, sample_rate / 2.0, size // 2 + 1, dtype=torch.float64)[:, None]
    rising = (grid - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - grid) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))).to(torch.float32).to(device)


def log_mel(
    powers: Tensor,
    sample_rate: int,
    low_hz: float = 50.0,
    high_hz: float = 14000.0,
    bands: int = 64,
) -> Tensor:
    """Power spectra `(..., frames, bins)` to decibels `(..., frames, bands)`, floor -100 dB."""
    size = (powers.shape[-1] - 1) * 2
    filters = mel_filters(sample_rate, size, bands, low_hz, high_hz, powers.device)
    with torch.autocast(powers.device.type, enabled=False):  # decibels need every digit
        return 10.0 * torch.log10((powers.float() @ filters).clamp(min=FLOOR))
