"""Zero-shot ASP: a sound by audio examples alone, at 32 kHz.

HTS-AT turns examples into a vector of 2048 numbers; a U-Net with that vector in every layer
gives a magnitude mask. (Chen et al., "Zero-shot Audio Source Separation through Query-based
Learning from Weakly-labeled Data", AAAI 2022.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .. import checkpoints
from ..checkpoints_keys import install, on_meta
from ..checkpoints_read import read_state, select
from ..errors import NotAvailableError, PromptError
from ..prompts import Query
from .base import Capabilities, Progress
from .fingerprint import fingerprint
from .layers.htsat import ZEROSHOT_2048, Htsat
from .layers.stft import Stft
from .layers.zeroshot_unet import LATENT, ZeroshotUnet
from .published import PublishedSeparator
from .segments import SegmentPlan
from .zeroshot_keys import query_table, separator_table

if TYPE_CHECKING:
    from .published_tunable import PublishedTunable

RATE = 32000
SEGMENT = 64_000
LEAST_ENERGY = 0.1
"""Segments of an example with a smaller sum of squares count as silence."""


def build_separator(path: Path) -> ZeroshotUnet:
    """The separator network from its published file."""
    network = on_meta(ZeroshotUnet)
    assert isinstance(network, ZeroshotUnet)
    install(network, separator_table().convert(read_state(path), str(path)))
    return network


def build_query(path: Path) -> Htsat:
    """The query network from its published file."""
    network = on_meta(lambda: Htsat(ZEROSHOT_2048))
    assert isinstance(network, Htsat)
    state = read_state(path)
    own = select(state, "at_model.")
    install(network, query_table().convert(own or state, str(path)))
    return network


def wiener(spectrum: Tensor, magnitudes: Tensor) -> Tensor:
    """Refine several estimates of one mixture: one step of the Wiener expectation.

    Practically the mask `s_k**2 / sum_j s_j**2`.

    Args:
        spectrum: of the mixture, complex `(frames, bins)`.
        magnitudes: of the sources, `(sources, frames, bins)`.

    Returns:
        complex `(sources, frames, bins)`.
    """
    eps = 1e-9
    scale = max(1.0, float(spectrum.abs().max()) / 8.0)
    x = spectrum / scale
    estimates = x * (magnitudes / (eps + magnitudes.sum(dim=0)))
    variances = estimates.abs().square()
    power = variances.sum(dim=1)
    envelope = power / (eps + power)
    shares = variances * envelope[:, None]
    return scale * x * shares / (eps**0.5 + shares.sum(dim=0))


class Zeroshot(PublishedSeparator):
    """Zero-shot ASP behind the contract."""

    name = "zeroshot"
    sample_rate = RATE
    stft = Stft(2048, 320)
    capabilities = Capabilities(examples=True, tuned=True)
    plans: ClassVar[dict[str, SegmentPlan]] = {
        # 1024 frames, a multiple of the network's 64; 0.4 s of context, cross-fades of 0.2 s.
        "stembridge": SegmentPlan(327_360, 295_360, left=12_800, right=12_800),
        # The authors' command line: hard cuts of 2 s, the rest of the file is lost.
        "zsasp-cli": SegmentPlan(SEGMENT, SEGMENT, tail="fill"),
        # As their demonstration runs it: half a segment of linear cross-fade.
        "zsasp-overlap": SegmentPlan(96_000, SEGMENT, tail="fill"),
    }

    def __init__(
        self,
        network: ZeroshotUnet,
        query: Callable[[], Htsat] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.network = network.to(self.device)
        self.query = query
        parts = (network.after_block.state_dict(), network.encoders[0].state_dict())
        self.space = f"zeroshot:{fingerprint(*parts)}"
        self.quicken(self.network)

    def separate(
        self,
        mixture: np.ndarray,
        queries: Sequence[Query],
        mode: Any = "render",
        progress: Progress | None = None,
    ) -> np.ndarray:
        total = mixture.shape[1]
        whole = total if self.chunking == "stembridge" else total // SEGMENT * SEGMENT
        stems = super().separate(mixture[:, :whole], queries, mode, progress)
        return np.pad(stems, ((0, 0), (0, 0), (0, total - whole)))

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        magnitude = self.stft.analyse(mono[None]).abs()
        return torch.cat([self.network(magnitude, row[None]) for row in vectors])

    def level(self, mono: Tensor) -> Tensor:
        return super().level(mono) if self.chunking == "stembridge" else mono

    def encode_clips(self, clips: Sequence[Tensor]) -> np.ndarray:
        if self.query is None:
            raise NotAvailableError(
                "Examples need the query network htsat_audioset_2048d.ckpt beside the "
                "separator's file (stembridge models list)."
            )
        network = self.query()
        means = [self._latent(network, clip) for clip in clips]
        found = [mean for mean in means if mean is not None]
        if not found:
            raise PromptError(
                "The examples are too quiet for zeroshot: no 2 s of them have an energy over "
                f"{LEAST_ENERGY}. Give louder clips."
            )
        return torch.stack(found).mean(dim=0).numpy()

    @torch.inference_mode()
    def _latent(self, network: Htsat, clip: Tensor) -> Tensor | None:
        """The mean latent of a clip's segments of 2 s; a shorter clip is repeated."""
        if clip.shape[0] < SEGMENT:
            clip = clip.repeat(-(-SEGMENT // clip.shape[0]))[:SEGMENT]
        segments = clip[: clip.shape[0] // SEGMENT * SEGMENT].view(-1, SEGMENT)
        loud = segments[segments.square().sum(dim=1) > LEAST_ENERGY]
        if not len(loud):
            return None
        return torch.cat([network.latent(row[None], repeat=True) for row in loud]).mean(dim=0)

    def vector_sizes(self) -> tuple[int, ...]:
        return (LATENT,)

    def tunable(self) -> PublishedTunable:
        """As the tuner sees it: over one query vector."""
        from .published_tunable import PublishedTunable

        return PublishedTunable(self, step_size=1e-3)


def missing() -> str | None:
    """Why Zero-shot ASP cannot run here and what to do, or None."""
    return checkpoints.missing("zeroshot")


def load(
    checkpoint: str | Path | None = None, query: str | Path | None = None, **options: Any
) -> Zeroshot:
    """Zero-shot ASP from its published files: the separator's (or a folder with both), and
    the query network's, read only when an example is encoded."""
    separator = checkpoints.require("zeroshot", "separator", checkpoint)
    encoder = Path(query) if query else checkpoints.find("zeroshot", "query", checkpoint)
    return Zeroshot(
        build_separator(separator),
        None if encoder is None else lambda: build_query(encoder),
        **options,
    )
