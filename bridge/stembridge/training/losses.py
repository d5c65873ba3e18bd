"""What a separation is judged by: ratio masks on the complex spectrum of the mixture.

Masks are hierarchical, as the separator applies them: the published pair takes the
vocals out, `m_v = v^2 / (v^2 + a^2)`, and the stems share the rest,
`m_s = (1 - m_v) e_s^2 / sum e^2`. The error is that of the *complex* spectrum, since the
separated sound carries the mixture's phase: judged by magnitudes alone a mask grows
beyond the one of least squared error wherever phases cancel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..separators.layers.unet import BINS

WINDOW_SAMPLES, HOP_SAMPLES = 4096, 1024
_TINY = 1e-8


def spectrum(audio: Tensor) -> Tensor:
    """Complex spectra `(…, frames, BINS)` of `(…, samples)`, centred with zeros; the last
    frame, half outside, is dropped so that whole multiples of the hop give whole frames."""
    window = torch.hann_window(WINDOW_SAMPLES, device=audio.device)
    flat = audio.reshape(-1, audio.shape[-1])
    bins = torch.stft(
        flat,
        WINDOW_SAMPLES,
        HOP_SAMPLES,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    bins = bins[:, :BINS, :-1].transpose(1, 2)
    return bins.reshape(*audio.shape[:-1], *bins.shape[1:])


def ratio_masks(estimates: Tensor, dim: int = 1) -> Tensor:
    """Squares of the estimates over their sum along `dim`; equal shares where all vanish."""
    power = estimates.float() ** 2 + _TINY
    return power / power.sum(dim=dim, keepdim=True)


def stem_loss(
    masks: Tensor,
    raw: Tensor,
    mixture: Tensor,
    targets: Tensor,
    *,
    phase_aware: bool = True,
    raw_weight: float = 0.1,
) -> Tensor:
    """Loss of every stem of every example: `(batch, stems)`.

    Root mean square error of the masked mixture, plus half of its mean absolute error, plus
    `raw_weight` of the mean absolute error of the raw estimate; all relative to the
    mixture's own root mean square (or mean), so that loud examples weigh no more.

    Args:
        masks: `(batch, stems, 2, frames, bins)`, what the separator would apply.
        raw: same shape, each network estimate as a mask by itself.
        mixture: complex `(batch, 2, frames, bins)`.
        targets: complex `(batch, stems, 2, frames, bins)`.
        phase_aware: compare complex spectra; False compares magnitudes.
    """
    mixed = mixture[:, None]
    over = (2, 3, 4)
    size = mixed.abs()
    heard, wanted = (mixed, targets) if phase_aware else (size, targets.abs())
    error = (masks * heard - wanted).abs()
    scale = size.square().mean(dim=over).sqrt() + 1e-4
    rms = (error.square().mean(dim=over) + 1e-10).sqrt() / scale
    mean = error.mean(dim=over) / (size.mean(dim=over) + 1e-4)
    loose = (raw * size - targets.abs()).abs().mean(dim=over) / (size.mean(dim=over) + 1e-4)
    return rms + 0.5 * mean + raw_weight * loose
