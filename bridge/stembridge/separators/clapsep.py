"""CLAPSep: any sound by text or by example, with what to remove in the same network.

The mixture is heard at 48 kHz by CLAP's audio tower with trained additions; its features, the
mixture's spectrum at 32 kHz and a vector of two halves (wanted, unwanted) give a magnitude
mask up to 16 kHz. 10.24 s is the longest window. (Ma et al., "CLAPSep: Leveraging Contrastive
Pre-trained Model for Multi-Modal Query-Conditioned Target Sound Extraction", 2024.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import checkpoints
from ..checkpoints_keys import install, on_meta
from ..checkpoints_read import read_state
from ..prompts import Query
from .base import Capabilities, Progress
from .clap import Backend, ClapEncoder, encoder_of, read_clap
from .clap_keys import EMBEDDING, TRAINED, ClapsepNetwork, separator_table
from .fingerprint import fingerprint
from .layers.htsat import FRAMES
from .layers.packed import can_pack, pack_linears
from .layers.resample import resample
from .layers.stft import Stft, power
from .published import PublishedSeparator
from .segments import SegmentPlan

if TYPE_CHECKING:
    from .published_tunable import ClapsepTunable

RATE = 32000
ENCODER_RATE = 48000


def read_clapsep(checkpoint: Path, clap: Path | None) -> dict[str, Tensor]:
    """CLAPSep's tensors by the names inside its training module.

    The published file holds what was trained; the rest of the encoder comes from CLAP's file.
    A whole training checkpoint needs no second file.
    """
    state = read_state(checkpoint)
    if clap is not None and "audio_branch.bn0.weight" not in state:
        for name, tensor in read_clap(clap).items():
            if name.startswith("audio_branch.") and not TRAINED.fullmatch(name):
                state[name] = tensor
    return state


def build(state: Mapping[str, Tensor], origin: str) -> ClapsepNetwork:
    """The network from tensors by published names; low-rank additions are merged."""
    network = on_meta(ClapsepNetwork)
    assert isinstance(network, ClapsepNetwork)
    install(network, separator_table().convert(state, origin))
    return network


class Clapsep(PublishedSeparator):
    """CLAPSep behind the contract."""

    name = "clapsep"
    sample_rate = RATE
    stft = Stft(1024, 320)
    capabilities = Capabilities(text=True, examples=True, tuned=True, negative=True)
    example_rate = ENCODER_RATE
    plans: ClassVar[dict[str, SegmentPlan]] = {
        # All 1024 frames; 0.3 s of context on both sides, cross-fades of 0.2 s.
        "stembridge": SegmentPlan(window=327_360, hop=301_760, left=9_600, right=9_600),
        # The authors' demonstration: hard cuts of 10 s, the last one filled with zeros.
        "clapsep-space": SegmentPlan(320_000, 320_000, tail="fill"),
    }

    def __init__(
        self, network: ClapsepNetwork, encoder: ClapEncoder | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.network = network.to(self.device)
        self.encoder = encoder
        decoder = network.decoder
        self.space = f"clapsep:{fingerprint(decoder.film.state_dict(), decoder.out.state_dict())}"
        if can_pack(self.device):
            pack_linears(self.network, self.weights_dtype)

    def separate(
        self,
        mixture: np.ndarray,
        queries: Sequence[Query],
        mode: Any = "render",
        progress: Progress | None = None,
    ) -> np.ndarray:
        peak = float(np.abs(mixture).max(initial=0.0))
        if self.chunking == "clapsep-space" and peak > 1.0:  # the whole file, never undone
            mixture = mixture * np.float32(0.9 / peak)
        return super().separate(mixture, queries, mode, progress)

    def level(self, mono: Tensor) -> Tensor:
        return mono if self.chunking == "clapsep-space" else super().level(mono)

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        return self.masks_of(mono, self.features(mono[None]), vectors)

    def masks_of(self, mono: Tensor, features: Sequence[Tensor], vectors: Tensor) -> Tensor:
        """`masks` of a window whose `features` are known."""
        magnitude = self.stft.analyse(mono[None]).abs()
        condition = F.normalize(vectors, dim=-1)
        return torch.cat(
            [self.network.decoder(magnitude, features, row[None]) for row in condition]
        )

    def features(self, mono: Tensor) -> list[Tensor]:
        """What the encoder hears in windows `(B, samples)`, with silence up to 1024 frames."""
        encoder = self.network.encoder
        powers = power(encoder.config.stft.analyse(resample(mono, RATE, ENCODER_RATE)))
        powers = F.pad(powers, (0, 0, 0, FRAMES - powers.shape[1]))
        return encoder.stages(encoder.mel(powers))

    def combine(self, query: Query) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """One vector of two halves: the mean of what to keep, the mean of what to remove.

        A tuned vector may fill both halves by itself.
        """
        if len(query.keep) == 1 and not query.remove:
            vector = query.keep[0].vector
            if vector.size == 2 * EMBEDDING:
                return [vector], []

        def half(prompts: Sequence[Any]) -> np.ndarray:
            rows = [p.vector[:EMBEDDING] for p in prompts]
            return np.mean(rows, axis=0) if rows else np.zeros(EMBEDDING, np.float32)

        both = np.concatenate([half(query.keep), half(query.remove)])
        return [both.astype(np.float32)], []

    def encode_name(self, name: str) -> np.ndarray:
        return self.encode_text(f"the sound of {name}")

    def encode_text(self, text: str) -> np.ndarray:
        if self.encoder is None or not text.strip():
            raise self.refusal("text", text)
        return self.encoder.texts([text])[0]

    def encode_clips(self, clips: Sequence[Tensor]) -> np.ndarray:
        if self.encoder is None:
            raise self.refusal("example", "")
        return self.encoder.clips(clips).mean(axis=0)

    def vector_sizes(self) -> tuple[int, ...]:
        return (EMBEDDING, 2 * EMBEDDING)

    def tunable(self) -> ClapsepTunable:
        """As the tuner sees it: over the half of what is wanted."""
        from .published_tunable import ClapsepTunable

        return ClapsepTunable(self, step_size=2e-3)


def missing() -> str | None:
    """Why CLAPSep cannot run here and what to do, or None."""
    return checkpoints.missing("clapsep")


def load(
    checkpoint: str | Path | None = None,
    clap: str | Path | None = None,
    backend: Backend = "native",
    **options: Any,
) -> Clapsep:
    """CLAPSep from its published files.

    Args:
        checkpoint: the separator's file, or a folder with both; None: the fetched files.
        clap: CLAP's file, if it lies elsewhere.
        backend: "native", or "laion-clap" to encode prompts with the authors' package.
    """
    separator = checkpoints.require("clapsep", "separator", checkpoint)
    towers = Path(clap) if clap else checkpoints.find("clapsep", "clap", checkpoint)
    state = read_clapsep(separator, towers)
    if "audio_branch.bn0.weight" not in state:
        towers = checkpoints.require("clapsep", "clap", checkpoint)
    if towers is None and "clap_model.model.audio_projection.0.weight" in state:
        towers = separator
    encoder = encoder_of("clapsep", towers, checkpoint, backend)
    return Clapsep(build(state, str(separator)), encoder, **options)
