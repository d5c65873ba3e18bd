"""Cnn14, the tagging network whose embedding is the query of USS.

Audio at 32 kHz becomes a log-mel picture, six convolution blocks, one vector. The embedding
(2048 numbers, never negative, not normalised) describes a sound; the probabilities of the
527 AudioSet classes come from it. (Kong et al., "PANNs", 2020.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stft import Stft, log_mel, power

SAMPLE_RATE = 32000
EMBEDDING = 2048
CLASSES = 527
LEAST_FRAMES = 32
"""Five halvings leave nothing of fewer frames."""


class ConvBlock(nn.Module):
    """Twice convolution 3 x 3, norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn2(self.conv2(F.relu_(self.bn1(self.conv1(x))))))


class Cnn14(nn.Module):
    """The encoder, in inference only."""

    WIDTHS = (64, 128, 256, 512, 1024, 2048)
    STFT = Stft(1024, 320)

    def __init__(self) -> None:
        super().__init__()
        widths = self.WIDTHS
        self.bn0 = nn.BatchNorm2d(64)
        self.blocks = nn.ModuleList(
            ConvBlock(inputs, outputs)
            for inputs, outputs in zip((1, *widths[:-1]), widths, strict=True)
        )
        self.fc1 = nn.Linear(widths[-1], EMBEDDING)
        self.fc_audioset = nn.Linear(EMBEDDING, CLASSES)

    def embed(self, signal: Tensor) -> Tensor:
        """Audio `(B, samples)` of at least `LEAST_FRAMES` frames to `(B, 2048)`."""
        mel = log_mel(power(self.STFT.analyse(signal)), SAMPLE_RATE).unsqueeze(1)
        x = self.bn0(mel.transpose(1, 3)).transpose(1, 3)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < 5:
                x = F.avg_pool2d(x, 2)
        x = x.mean(dim=3)
        return F.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))

    def classify(self, embedding: Tensor) -> Tensor:
        """Embeddings `(B, 2048)` to the probabilities of the classes `(B, 527)`."""
        return torch.sigmoid(self.fc_audioset(embedding))
