"""HTS-AT, the audio transformer behind CLAP, CLAPSep's encoder and Zero-shot ASP's query.

A log-mel picture of at most 1024 frames and 64 bands is folded into a square of 256 x 256
(four quarters of time stacked), cut into patches and passed through four Swin stages. The
mean of the last tokens is the *latent*. Two published sizes exist; both are this class.
(Chen et al., "HTS-AT", ICASSP 2022.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stft import Stft, log_mel, power
from .swin import PatchMerging, SwinBlock

FRAMES = 1024
BANDS = 64
SIDE = 256
PATCH = 4
CLASSES = 527


@dataclass(frozen=True)
class HtsatConfig:
    """Sizes of one HTS-AT. `dim` is the width of the first stage; the latent is 8 x `dim`."""

    sample_rate: int
    stft: Stft
    dim: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int] = (4, 8, 16, 32)

    @property
    def latent(self) -> int:
        """Length of the latent vector."""
        return 8 * self.dim


CLAP_BASE = HtsatConfig(48000, Stft(1024, 480), 128, (2, 2, 12, 2))
ZEROSHOT_2048 = HtsatConfig(32000, Stft(1024, 320), 256, (2, 2, 6, 2))


class PatchEmbed(nn.Module):
    """Patches of 4 x 4 as tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, PATCH, PATCH)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.proj(image).flatten(2).transpose(1, 2))


class Stage(nn.Module):
    """Swin blocks, every second one shifted, then (but for the last stage) a merge."""

    def __init__(self, dim: int, side: int, depth: int, heads: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, side, shifted=index % 2 == 1) for index in range(depth)
        )
        self.downsample = PatchMerging(dim, side) if merge else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


def fold(mel: Tensor) -> Tensor:
    """`(B, 1, 1024, 64)` to `(B, 1, 256, 256)`: quarter `q`'s band `f` is row `64 q + f`."""
    quarters = mel.view(mel.shape[0], 4, FRAMES // 4, BANDS)
    return quarters.transpose(2, 3).reshape(-1, 1, SIDE, SIDE)


def unfold(image: Tensor) -> Tensor:
    """Inverse of `fold`, without the channel axis: `(B, 1, 256, 256)` to `(B, 1024, 64)`."""
    quarters = image.view(image.shape[0], 4, BANDS, FRAMES // 4)
    return quarters.transpose(2, 3).reshape(-1, FRAMES, BANDS)


class Htsat(nn.Module):
    """The encoder, in inference only."""

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.bn0 = nn.BatchNorm2d(BANDS)
        self.patch_embed = PatchEmbed(dim)
        self.layers = nn.ModuleList(
            Stage(dim << i, (SIDE // PATCH) >> i, depth, heads, merge=i < 3)
            for i, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True))
        )
        self.norm = nn.LayerNorm(config.latent)
        self.tscam_conv = nn.Conv2d(config.latent, CLASSES, (2, 3), padding=(0, 1))

    def mel(self, powers: Tensor) -> Tensor:
        """Power spectra `(B, frames, bins)` to normalised decibels `(B, 1, frames, 64)`."""
        mel = log_mel(powers, self.config.sample_rate).unsqueeze(1)
        return self.bn0(mel.transpose(1, 3)).transpose(1, 3)

    def stages(self, mel: Tensor) -> list[Tensor]:
        """Normalised decibels `(B, 1, 1024, 64)` to the tokens after the patches and after
        each stage: five tensors `(B, tokens, channels)`."""
        x = self.patch_embed(fold(mel))
        outputs = [x]
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs

    def tokens(self, signal: Tensor, repeat: bool = False) -> Tensor:
        """Audio `(B, samples)` of at most 1024 frames to the final tokens `(B, 64, latent)`.

        Fewer frames are stretched to 1024; with `repeat`, first repeated as often as they fit
        (Zero-shot ASP does so with its queries, CLAP repeats the audio itself).
        """
        mel = self.mel(power(self.config.stft.analyse(signal)))
        if repeat:
            mel = mel.repeat(1, 1, FRAMES // mel.shape[2], 1)
        if mel.shape[2] < FRAMES:
            mel = F.interpolate(mel, (FRAMES, BANDS), mode="bicubic", align_corners=True)
        return self.norm(self.stages(mel)[-1])

    def latent(self, signal: Tensor, repeat: bool = False) -> Tensor:
        """Audio `(B, samples)` to latents `(B, latent)`: the mean of `tokens`."""
        return self.tokens(signal, repeat).mean(dim=1)

    def tag(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Final tokens to the probabilities of the 527 AudioSet classes.

        Returns:
            for the clip `(B, 527)`, and for each frame `(B, 1024, 527)`.
        """
        b, _, c = tokens.shape
        image = tokens.transpose(1, 2).reshape(b, c, 4, 2, 8)  # quarter, pair of bands, frame
        image = image.permute(0, 1, 3, 2, 4).reshape(b, c, 2, 32)
        logits = self.tscam_conv(image)[:, :, 0]
        clip = torch.sigmoid(logits.mean(dim=2))
        frame = torch.sigmoid(logits).transpose(1, 2).repeat_interleave(32, dim=1)
        return clip, frame
