"""The text tower of CLAP: RoBERTa-base and the vector of its pooler.

Token ids with a mask go in; 12 post-norm layers of 768; the first token's state through a
dense layer and tanh comes out. Padding is masked, so its amount does not matter. (Liu et al.,
"RoBERTa", 2019.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY = 50265
POSITIONS = 514
PAD = 1
"""Id of the padding token; real positions are counted from `PAD + 1`."""
WIDTH = 768
HEADS = 12
LAYERS = 12
EPS = 1e-5


class Layer(nn.Module):
    """Attention and a GELU feed-forward, each residual with the norm after it."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.mixed_norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.inner = nn.Linear(WIDTH, 4 * WIDTH)
        self.outer = nn.Linear(4 * WIDTH, WIDTH)
        self.outer_norm = nn.LayerNorm(WIDTH, eps=EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        b, n, _ = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(b, n, HEADS, WIDTH // HEADS).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x)), attn_mask=mask
        )
        x = self.mixed_norm(x + self.mixed(mixed.transpose(1, 2).reshape(b, n, WIDTH)))
        return self.outer_norm(x + self.outer(F.gelu(self.inner(x))))


class Roberta(nn.Module):
    """Token ids to one vector per text."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(1, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.pooler = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `(B, tokens)`, padded with `PAD`, to `(B, 768)`."""
        real = ids != PAD
        positions = real.cumsum(dim=1) * real + PAD
        x = self.words(ids) + self.positions(positions) + self.types(torch.zeros_like(ids))
        x = self.norm(x)
        mask = real[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return torch.tanh(self.pooler(x[:, 0]))
