"""CLAP as a query encoder: texts and audio examples to vectors of 512 numbers.

The towers run natively from the published CLAP file: the one that is needed is read, used and
dropped, so a separator never holds the text side in memory. `backend="laion-clap"` runs the
authors' package instead, in a process of its own (`clap_package`). Long examples are cut into
windows of 10 s and averaged. Texts need the tokenizer that the extra `[clap]` brings and the
vocabulary files that come with the fetched weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .. import checkpoints
from ..checkpoints_keys import KeyTable, install, on_meta
from ..checkpoints_read import read_state, select
from ..errors import CheckpointError, NotAvailableError
from .clap_keys import CLAP_UNUSED, AudioTower, TextTower, audio_table, text_table
from .layers.roberta import PAD

SAMPLE_RATE = 48000
WINDOW = 480_000
"""The longest example that CLAP hears at once, in samples."""
TOKENS = 77
"""Texts are cut to this many tokens."""

Backend = Literal["native", "laion-clap"]


def read_clap(path: Path) -> dict[str, Tensor]:
    """The tensors of a CLAP file, names without `module.`; the known unused ones left out."""
    state = read_state(path)
    state = select(state, "module.") or state
    state = select(state, "clap_model.model.") or state
    unused = KeyTable("", {}, {}, CLAP_UNUSED)
    return {name: t for name, t in state.items() if not unused.skips(name)}


def _tower(factory: Callable[[], nn.Module], table: KeyTable, path: Path, side: str) -> nn.Module:
    """One tower from a CLAP file; keys of neither tower are errors."""
    state = read_clap(path)
    other = {"audio": "text", "text": "audio"}[side]
    ours = {
        n: t
        for n, t in state.items()
        if not n.startswith((f"{other}_branch.", f"{other}_projection."))
    }
    module = on_meta(factory)
    install(module, table.convert(ours, str(path)))
    return module


def encoder_of(
    system: str, towers: Path | None, given: str | Path | None, backend: Backend
) -> ClapEncoder | None:
    """The encoder of a system out of its CLAP file `towers`, if that is there; the vocabulary
    lies in the `given` folder or in the caches."""
    if towers is None:
        return None
    vocabulary, merges = (
        checkpoints.find(system, role, given) for role in ("vocabulary", "merges")
    )
    return ClapEncoder(towers, vocabulary, merges, backend)


def windows(clip: Tensor, size: int = WINDOW) -> list[Tensor]:
    """A clip in pieces of at most `size` samples that cover all of it; the last one reaches
    back, so that every piece of a long clip is whole."""
    n = clip.shape[-1]
    if n <= size:
        return [clip]
    starts = [*range(0, n - size, size), n - size]
    return [clip[..., start : start + size] for start in starts]


def repeated(clip: Tensor, size: int = WINDOW) -> Tensor:
    """A short clip repeated as often as it fits whole, then filled with zeros."""
    times = max(1, size // clip.shape[-1])
    clip = clip.repeat(*([1] * (clip.ndim - 1)), times)
    return nn.functional.pad(clip, (0, size - clip.shape[-1]))


class ClapEncoder:
    """Texts and clips in, unit vectors out. Keeps paths, not weights."""

    def __init__(
        self,
        checkpoint: Path,
        vocabulary: Path | None = None,
        merges: Path | None = None,
        backend: Backend = "native",
    ) -> None:
        if backend not in ("native", "laion-clap"):
            raise NotAvailableError(
                f"There is no CLAP backend {backend!r}. Choose one of: native, laion-clap."
            )
        self.checkpoint = checkpoint
        self.vocabulary = vocabulary
        self.merges = merges
        self.backend = backend

    def token_ids(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to token ids `(texts, longest)`, padded.

        Raises:
            NotAvailableError: without the tokenizer or its files, with the way to get them.
        """
        try:
            from tokenizers import ByteLevelBPETokenizer  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise NotAvailableError(
                "Free text needs the tokenizer of the extra [clap]. Install it with "
                "`pip install 'stembridge[clap]'`."
            ) from None
        if self.vocabulary is None or self.merges is None:
            raise NotAvailableError(
                "Free text needs the files vocab.json and merges.txt of roberta-base. Fetch "
                "them with `stembridge models fetch clapsep`, or put them beside the checkpoint."
            )
        try:
            tokenizer = ByteLevelBPETokenizer(str(self.vocabulary), str(self.merges))
        except Exception as error:  # the library raises plain exceptions for bad files
            raise CheckpointError(
                f"The vocabulary {self.vocabulary} or {self.merges} is damaged ({error}). "
                "Fetch it again."
            ) from None
        rows = []
        for text in texts:
            ids = tokenizer.encode(text).ids[: TOKENS - 2]
            rows.append([0, *ids, 2])  # <s> … </s>
        longest = max(map(len, rows))
        return np.array([row + [PAD] * (longest - len(row)) for row in rows], dtype=np.int64)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `(texts, 512)`."""
        return self.ids(self.token_ids(texts))

    @torch.inference_mode()
    def ids(self, ids: np.ndarray) -> np.ndarray:
        """Token ids `(texts, tokens)` to unit vectors `(texts, 512)`."""
        if self.backend == "laion-clap":
            from .clap_package import run_package

            return run_package(self.checkpoint, ids=ids)
        tower = _tower(TextTower, text_table(), self.checkpoint, "text")
        return tower(torch.from_numpy(ids)).numpy()

    @torch.inference_mode()
    def clips(self, clips: Sequence[Tensor]) -> np.ndarray:
        """Mono clips at 48 kHz, of any length, to one unit vector each: `(clips, 512)`.

        A long clip's vector is the mean of its windows', made a unit vector again.
        """
        pieces = [windows(clip) for clip in clips]
        flat = torch.stack([repeated(piece) for clip in pieces for piece in clip])
        if self.backend == "laion-clap":
            from .clap_package import run_package

            vectors = torch.from_numpy(run_package(self.checkpoint, audio=flat.numpy()))
        else:
            tower = _tower(AudioTower, audio_table(), self.checkpoint, "audio")
            vectors = torch.cat([tower(piece[None]) for piece in flat])
        parts = vectors.split([len(clip) for clip in pieces])
        return nn.functional.normalize(torch.stack([p.mean(dim=0) for p in parts])).numpy()
