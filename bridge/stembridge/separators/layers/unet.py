"""The U-Net of Spleeter as a torch module, plain or steered by a prompt vector.

The arithmetic is the published one (Hennequin et al., JOSS 2020, doi 10.21105/joss.02154;
the U-Net of Jansson et al., ISMIR 2017): magnitudes `(batch, 2, frames, 1024)` in, an
estimate of the same shape out, the sigmoid of the last layer times the input. A prompt
enters as FiLM (Perez et al., 2018) after every norm it conditions:
`y = norm(x) * (1 + g) + b`, with `(g, b)` the halves of one linear layer of the prompt.

            frames x bins      channels
    d.0   T/2  x 512   ──────  16 ─────────skip────┐      down: pad 1|2, 5x5, stride 2
    d.1   T/4  x 256   ──────  32 ───────skip────┐ │      (the skip is taken BEFORE norm)
    …                                            │ │      norm, FiLM, leaky ReLU 0.2
    d.5   T/64 x 16    ────── 512                │ │
    u.0 … u.5  back to T x 1024, 1 channel  <────┘<┘      up: 5x5 transposed, stride 2,
    last  4x4, dilation 2, 2 channels, sigmoid            crop 1|2, ReLU, norm, FiLM

Invariants:
- `condition="decoder"` leaves the encoder free of the prompt, so `encode` runs once for
  any number of prompts and `decode_many` shares everything that precedes the first FiLM.
- Frames must be a multiple of `FRAME_MULTIPLE`; bins are `BINS`.
- Names of parameters are those of the weight files (`d.0.weight`, `uf.3.bn.running_var`,
  `df.0.f.weight`, …), so a state dict is a weight file expanded.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BINS = 1024
"""Lowest bins of the 4096-point spectrum that the network sees (0 to 11.01 kHz)."""
STEPS = 6
FRAME_MULTIPLE = 2**STEPS
NORM_EPS = 1e-3
LEAK = 0.2
DOWN_CHANNELS = (2, 16, 32, 64, 128, 256, 512)
UP_CHANNELS = (256, 128, 64, 32, 16, 1)

Condition = Literal["none", "decoder", "all"]
"""Which norms the prompt reaches."""
Film = tuple[Tensor, Tensor]
"""Gain and shift of one conditioned norm, each `(batch, channels)`."""


class PromptedNorm(nn.Module):
    """Batch norm, then FiLM by a prompt where `prompt_size` is not 0.

    Args:
        channels: channels of the input.
        prompt_size: numbers in a prompt; 0 leaves the plain norm.

    Shape: `(batch, channels, frames, bins)`, with `film` of the batch, to the input's shape.
    """

    def __init__(self, channels: int, prompt_size: int = 0) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=NORM_EPS)
        self.f = nn.Linear(prompt_size, 2 * channels) if prompt_size else None
        if self.f is not None:
            # A fresh FiLM changes nothing: the network starts as the plain one.
            nn.init.zeros_(self.f.weight)
            nn.init.zeros_(self.f.bias)

    def film(self, prompt: Tensor) -> Film:
        """Gain and shift, each `(batch, channels)`, that the prompt asks for."""
        assert self.f is not None, "this norm is not conditioned"
        gain, shift = self.f(prompt).chunk(2, dim=1)
        return gain, shift

    def forward(self, x: Tensor, film: Film | None = None) -> Tensor:
        x = self.bn(x)
        if self.f is None:
            return x
        if film is None:
            raise ValueError("this norm is conditioned: give a prompt of shape (batch, size)")
        gain, shift = film
        return x * (1 + gain[:, :, None, None]) + shift[:, :, None, None]


class UNet(nn.Module):
    """One network: plain (`condition="none"`) or steered by a prompt.

    Args:
        prompt_size: numbers in a prompt vector (0 for the plain network).
        condition: "none", "decoder" (one encoder pass serves all prompts) or "all".
    """

    def __init__(self, prompt_size: int = 0, condition: Condition = "none") -> None:
        super().__init__()
        if (condition == "none") != (prompt_size == 0):
            raise ValueError("prompt_size must be 0 exactly when condition is 'none'")
        self.prompt_size = prompt_size
        self.condition: Condition = condition
        down_prompt = prompt_size if condition == "all" else 0
        pairs = list(itertools.pairwise(DOWN_CHANNELS))
        self.d = nn.ModuleList(nn.Conv2d(i, o, 5, stride=2) for i, o in pairs)
        self.df = nn.ModuleList(PromptedNorm(o, down_prompt) for _, o in pairs[:-1])
        skips = (0, *DOWN_CHANNELS[-2:0:-1])
        inputs = [DOWN_CHANNELS[-1]] + [
            u + s for u, s in zip(UP_CHANNELS[:-1], skips[1:], strict=True)
        ]
        self.u = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 5, stride=2) for i, o in zip(inputs, UP_CHANNELS, strict=True)
        )
        self.uf = nn.ModuleList(PromptedNorm(o, prompt_size) for o in UP_CHANNELS)
        self.last = nn.Conv2d(1, 2, 4, dilation=2, padding=3)

    @property
    def film_size(self) -> int:
        """Numbers in a vector of FiLM offsets: gains and shifts of every conditioned norm."""
        return sum(2 * n.bn.num_features for n in self.norms if n.f is not None)

    @property
    def norms(self) -> list[PromptedNorm]:
        """All norms, down steps first."""
        return [n for n in (*self.df, *self.uf) if isinstance(n, PromptedNorm)]

    def film(self, prompt: Tensor | None, offsets: Tensor | None = None) -> list[Film | None]:
        """What a prompt does to every norm, down steps first; None where it does nothing.

        Args:
            prompt: `(batch, prompt_size)`; None for the plain network.
            offsets: `(batch, film_size)` added on top: per conditioned norm, in this order,
                its gains and then its shifts. A tuned prompt carries them.
        """
        films: list[Film | None] = []
        used = 0
        for norm in self.norms:
            if norm.f is None:
                films.append(None)
                continue
            if prompt is None:
                raise ValueError("this network is conditioned: give a prompt (batch, size)")
            gain, shift = norm.film(prompt)
            if offsets is not None:
                channels = gain.shape[1]
                gain = gain + offsets[:, used : used + channels]
                shift = shift + offsets[:, used + channels : used + 2 * channels]
                used += 2 * channels
            films.append((gain, shift))
        return films

    def encode(
        self,
        magnitudes: Tensor,
        prompt: Tensor | None = None,
        film: Sequence[Film | None] | None = None,
    ) -> list[Tensor]:
        """The six outputs of the down path, shallowest first (before their norms).

        Shape: `(batch, 2, frames, BINS)`; `prompt` `(batch, prompt_size)`, or `film` made of
        it, is needed only with `condition="all"`.
        """
        if film is None:
            film = self.film(prompt) if self.condition == "all" else [None] * len(self.df)
        if magnitudes.shape[-1] != BINS or magnitudes.shape[-2] % FRAME_MULTIPLE:
            raise ValueError(
                f"magnitudes must be (batch, 2, multiple of {FRAME_MULTIPLE}, {BINS}), "
                f"not {tuple(magnitudes.shape)}"
            )
        skips: list[Tensor] = []
        x = magnitudes
        for step, convolution in enumerate(self.d):
            x = convolution(F.pad(x, (1, 2, 1, 2)))
            skips.append(x)
            if step < STEPS - 1:
                x = F.leaky_relu(self.df[step](x, film[step]), LEAK)
        return skips

    def decode(
        self,
        skips: Sequence[Tensor],
        prompt: Tensor | None = None,
        film: Sequence[Film | None] | None = None,
    ) -> Tensor:
        """The mask `(batch, 2, frames, BINS)` in 0..1, for one prompt per batch element."""
        up_film = (self.film(prompt) if film is None else film)[len(self.df) :]
        x = skips[-1]
        for step, convolution in enumerate(self.u):
            if step:
                x = torch.cat([skips[STEPS - 1 - step], x], dim=1)
            x = _crop(convolution(x))
            x = self.uf[step](F.relu(x), up_film[step])
        return torch.sigmoid(self.last(x))

    def decode_many(self, skips: Sequence[Tensor], prompts: Tensor) -> Tensor:
        """Masks of several prompts from one encoding: `(batch, prompts, 2, frames, BINS)`.

        A transposed convolution is linear in its input channels, so the half that comes
        from the skip is computed once and added to every prompt's own half.

        Args:
            prompts: `(prompts, prompt_size)`, the same for every element of the batch, or
                `(batch, prompts, prompt_size)`.
        """
        batch, count = skips[0].shape[0], prompts.shape[-2]
        per_row = prompts.repeat(batch, 1) if prompts.dim() == 2 else prompts.flatten(0, 1)
        up_film = self.film(per_row)[len(self.df) :]
        first = F.relu(_crop(self.u[0](skips[-1])))
        x = self.uf[0](first.repeat_interleave(count, dim=0), up_film[0])
        for step in range(1, STEPS):
            skip = skips[STEPS - 1 - step]
            up = self.u[step]
            assert isinstance(up, nn.ConvTranspose2d)
            weight, bias = up.weight, up.bias
            own = F.conv_transpose2d(x, weight[skip.shape[1] :], bias, stride=2)
            shared = F.conv_transpose2d(skip, weight[: skip.shape[1]], stride=2)
            x = _crop(own + shared.repeat_interleave(count, dim=0))
            x = self.uf[step](F.relu(x), up_film[step])
        masks = torch.sigmoid(self.last(x))
        return masks.view(batch, count, *masks.shape[1:])

    def forward(self, magnitudes: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Estimated magnitudes of the target, `(batch, 2, frames, BINS)` like the input."""
        return self.decode(self.encode(magnitudes, prompt), prompt) * magnitudes


def _crop(x: Tensor) -> Tensor:
    """Drop one sample before and two after on both axes: 2n + 3 back to 2n."""
    return x[..., 1:-2, 1:-2]
