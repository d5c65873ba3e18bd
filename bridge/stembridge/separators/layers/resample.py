"""Windowed-sinc resampling with the constants that the published systems were trained with.

CLAPSep's encoder hears the 32 kHz mixture at 48 kHz through this very filter, so its width
and roll-off are part of the network. It also brings query clips to an encoder's rate. The
filter is symmetric: output sample `n` stands at the time of input sample `n * from / to`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZEROS = 6
"""Zero crossings of the sinc on each side."""
ROLLOFF = 0.99
"""Cut-off as a fraction of the lower Nyquist frequency."""


@lru_cache(maxsize=16)
def _filters(source: int, target: int, device: torch.device) -> tuple[Tensor, int]:
    """One filter per output phase, `(target, 1, taps)`, and how far it reaches to the left."""
    cutoff = min(source, target) * ROLLOFF
    reach = math.ceil(ZEROS * source / cutoff)
    taps = torch.arange(-reach, reach + source, dtype=torch.float64)[None, None] / source
    phase = torch.arange(target, dtype=torch.float64)[:, None, None] / target
    time = ((taps - phase) * cutoff).clamp(-ZEROS, ZEROS)
    window = torch.cos(time * math.pi / (2 * ZEROS)).square()
    kernel = torch.sinc(time) * window * (cutoff / source)
    return kernel.to(torch.float32).to(device), reach


def resample(signal: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """`(..., samples)` at `from_hz` to `(..., ceil(samples * to_hz / from_hz))` at `to_hz`."""
    common = math.gcd(from_hz, to_hz)
    source, target = from_hz // common, to_hz // common
    if source == target:
        return signal
    kernel, reach = _filters(source, target, signal.device)
    shape = signal.shape
    flat = F.pad(signal.reshape(-1, 1, shape[-1]), (reach, reach + source))
    out = F.conv1d(flat, kernel, stride=source).transpose(1, 2).reshape(*shape[:-1], -1)
    return out[..., : -(-shape[-1] * target // source)]
