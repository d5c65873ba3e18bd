"""What is trained: the conditioned network, the prompt vectors of its names, the encoder.

Invariant: the first names are the stems drums, bass and other, in this order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..separators.layers.example_encoder import ExampleEncoder, to_length
from ..separators.layers.unet import UNet
from .mixer import STEMS


class Prompted(nn.Module):
    """The conditioned network, the prompt vectors of its names, and the example encoder.

    The first rows of `tok` are `STEMS`; further names may follow.
    """

    def __init__(
        self,
        network: UNet,
        prompts: Tensor,
        names: tuple[str, ...],
        encoder: ExampleEncoder | None = None,
    ) -> None:
        super().__init__()
        if len(names) != prompts.shape[0] or names[: len(STEMS)] != STEMS:
            raise ValueError("one name per row of the prompts, the stems first")
        self.network = network
        self.tok = nn.Parameter(prompts.clone())
        self.names = names
        self.encoder = encoder

    def extended(self, names: tuple[str, ...], seed: int) -> Prompted:
        """The same network with these names after the stems, and an encoder.

        Rows of names that are there already are kept, further ones are drawn at random.
        """
        generator = torch.Generator().manual_seed(seed)
        drawn = to_length(torch.randn(len(names), self.tok.shape[1], generator=generator))
        mine = self.tok.detach().cpu()
        rows = [
            mine[self.names.index(name)] if name in self.names else row
            for name, row in zip(names, drawn, strict=True)
        ]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = self.encoder or ExampleEncoder(self.tok.shape[1])
        prompts = torch.stack([*mine[: len(STEMS)], *rows])
        return Prompted(self.network, prompts, (*STEMS, *names), encoder)
