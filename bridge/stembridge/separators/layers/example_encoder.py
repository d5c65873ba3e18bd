"""The example encoder: a clip of a sound in, a prompt vector of the U-Net out.

A log-mel picture of the clip (the U-Net's own 4096/1024 spectrum, 64 bands up to 11 kHz)
passes four strided convolutions; each remaining column of time votes with a weight that it
chooses itself, and the sum is projected to the prompt's size and scaled to the length that
the named prompts have. Invariants: the clip's level does not matter (pictures are
normalised to the loudest column), silent columns carry no vote, so padding changes nothing,
and a clip that is silent throughout is the caller's error to refuse.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 64
_WINDOW_SAMPLES, _HOP_SAMPLES, _BINS = 4096, 1024, 1024
_SAMPLE_RATE = 44100
_FLOOR = 1e-4  # of the loudest column's energy: 40 dB below it is silence


def mel_matrix() -> Tensor:
    """Triangles on the mel scale, `(BANDS, 1024)`, each of unit sum (HTK's formula)."""
    top = _SAMPLE_RATE / _WINDOW_SAMPLES * _BINS
    highest = 2595 * math.log10(1 + top / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, BANDS + 2) / 2595) - 1)
    at = torch.arange(_BINS) * _SAMPLE_RATE / _WINDOW_SAMPLES
    rising = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    # the lowest bands are narrower than a bin: give such a band its nearest bin
    for band in torch.nonzero(triangles.sum(dim=1) < 1e-3).flatten().tolist():
        triangles[band, int(torch.argmin((at - edges[band + 1]).abs()))] = 1.0
    return triangles / triangles.sum(dim=1, keepdim=True)


class ExampleEncoder(nn.Module):
    """Clips to prompt vectors.

    Args:
        prompt_size: numbers in a prompt vector.
        width: channels after the first convolution.
    """

    def __init__(self, prompt_size: int = 32, width: int = 24) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in itertools.pairwise(sizes)
        )
        features = sizes[-1] * BANDS // 16
        self.vote = nn.Linear(features, 1)
        self.out = nn.Sequential(
            nn.Linear(features, 128), nn.LeakyReLU(0.2), nn.Linear(128, prompt_size)
        )
        self.mel: Tensor
        self.register_buffer("mel", mel_matrix(), persistent=False)
        self.prompt_size = prompt_size

    def picture(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel pictures `(batch, 1, frames, BANDS)` in about -1..1, and which frames
        sound `(batch, frames)`, of mono clips `(batch, samples)` at 44.1 kHz."""
        window = torch.hann_window(_WINDOW_SAMPLES, device=clips.device)
        bins = torch.stft(
            clips,
            _WINDOW_SAMPLES,
            _HOP_SAMPLES,
            window=window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = bins[:, :_BINS].abs().square().transpose(1, 2) @ self.mel.T
        loudest = power.mean(dim=2).amax(dim=1)[:, None, None].clamp(min=1e-10)
        sounding = power.mean(dim=2) > _FLOOR * loudest[:, :, 0]
        log = torch.log10(power / loudest + 1e-6) / 3 + 1
        return log[:, None], sounding

    def forward(self, clips: Tensor) -> Tensor:
        """Prompt vectors `(batch, prompt_size)` of length sqrt(prompt_size)."""
        x, sounding = self.picture(clips)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        columns = x.permute(0, 2, 1, 3).flatten(2)
        heard = F.adaptive_max_pool1d(sounding.float()[:, None], columns.shape[1])[:, 0] > 0
        votes = self.vote(columns)[..., 0].masked_fill(~heard, -1e4)
        mean = (torch.softmax(votes, dim=1)[..., None] * columns).sum(dim=1)
        return to_length(self.out(mean))


def to_length(vectors: Tensor) -> Tensor:
    """Scale vectors `(…, size)` to length sqrt(size), the length of the named prompts."""
    return F.normalize(vectors, dim=-1) * math.sqrt(vectors.shape[-1])


def average(vectors: Sequence[Tensor]) -> Tensor:
    """The prompt of several clips of one sound: the mean vector at a prompt's length."""
    return to_length(torch.stack(list(vectors)).mean(dim=0))
