"""Demucs: the strongest fixed stems, through the authors' `demucs` package (extra `[demucs]`).

Hybrid Transformer Demucs gives drums, bass, other and vocals (with htdemucs_6s also guitar and
piano) in stereo at 44.1 kHz; names and sums of names are its prompts. Networks come from the
package's own loader, after the file was checked to name nothing but Demucs' classes. Windows
are ours; `chunking="demucs-apply"` runs the package's way over whole files instead (without
its random shifts). On a processor the layers of the loaded networks are replaced by equal ones
that run faster (`layers/hybrid.py`); the package itself stays as it is. (Rouard et al., "Hybrid
Transformers for Music Source Separation", 2023.)
"""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .. import checkpoints
from ..checkpoints_read import read_package
from ..errors import CheckpointError, NotAvailableError, PromptError
from ..prompts import EncodedPrompt, NamePrompt, Prompt, Query
from .base import Capabilities, Mode, Progress
from .fingerprint import fingerprint
from .layers.hybrid import quicken
from .segmented import PRECISIONS, TAKERS, Precision, SegmentedSeparator, pick_device
from .segments import SegmentPlan

CLASSES = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs")
"""What a checkpoint may ask to be built."""
CONTEXT = 16_384
KEPT = 3 / 4
"""Hop over window, as the authors' overlap of a quarter."""
INSTALL = "Install it with `pip install 'stembridge[demucs]'`."
CHUNKINGS = ("stembridge", "demucs-apply")


def _package() -> Any:
    """The package, or the error that says how to install it."""
    if importlib.util.find_spec("demucs") is None:
        raise NotAvailableError(f"The separator 'demucs' needs the package demucs. {INSTALL}")
    import demucs.apply  # pyright: ignore[reportMissingImports]
    import demucs.hf  # pyright: ignore[reportMissingImports]
    import demucs.states  # pyright: ignore[reportMissingImports]

    return demucs


def read_network(path: Path) -> Any:
    """One network of a bag, from a `.safetensors` or `.th` file of the package's layout.

    Raises:
        CheckpointError: for damaged files, and for those that name other classes than
            Demucs' own, which loading would build.
    """
    package = _package()
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}. Check the path.")
    try:
        if path.suffix == ".safetensors":
            _check_metadata(path)
            return package.hf.load_safetensors_model(path)
        from fractions import Fraction

        from demucs.hdemucs import HDemucs  # pyright: ignore[reportMissingImports]
        from demucs.htdemucs import HTDemucs  # pyright: ignore[reportMissingImports]

        content = read_package(path, [HTDemucs, HDemucs, Fraction])
        if not isinstance(content, dict) or content.get("klass") not in (HTDemucs, HDemucs):
            raise CheckpointError(
                f"{path} is not a Demucs checkpoint. Give the file that the authors published "
                "(stembridge models list)."
            )
        return package.states.load_model(content)
    except CheckpointError:
        raise
    except Exception as error:  # the package checks little, so anything may come
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"The Demucs checkpoint {path} cannot be loaded ({reason[:200]}). Fetch it again."
        ) from error


def _check_metadata(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stored:
        told = stored.metadata() or {}
    if told.get("klass") not in CLASSES or "structure" in told:
        raise CheckpointError(
            f"{path} asks to build {told.get('klass')!r}, which is none of Demucs' networks; it "
            "is refused. Fetch it again from where its authors published it."
        )
    for part in ("args", "kwargs"):
        json.loads(told[part])


def read_bag(folder: Path, variant: str) -> Any:
    """The package's bag of networks: `VARIANT.yaml` and the files it names, in one folder."""
    package = _package()
    import yaml

    listing = folder / f"{variant}.yaml"
    try:
        bag = yaml.safe_load(listing.read_text(encoding="utf-8"))
        names = [str(name) for name in bag["models"]]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise CheckpointError(
            f"{listing} is missing or no list of Demucs networks. Fetch it with `stembridge "
            f"models fetch demucs:{variant}`."
        ) from error
    paths = []
    for name in names:
        found = [p for p in (folder / f"{name}.safetensors", folder / f"{name}.th") if p.is_file()]
        found += sorted(folder.glob(f"{name}-*.th"))
        if not found or Path(name).name != name:
            raise CheckpointError(f"{listing} names {name!r}, which is not beside it.")
        paths.append(found[0])
    networks = [read_network(path) for path in paths]
    try:
        return package.apply.BagOfModels(networks, bag.get("weights"), bag.get("segment"))
    except AssertionError as error:
        raise CheckpointError(f"The networks of {listing} do not fit together.") from error


class Demucs(SegmentedSeparator):
    """Demucs behind the contract. The bag is taken over: its layers are replaced."""

    name = "demucs"

    def __init__(
        self,
        bag: Any,
        chunking: str = "stembridge",
        precision: Precision = "float32",
        device: str = "cpu",
    ) -> None:
        self.check_options(chunking=(chunking, CHUNKINGS), precision=(precision, PRECISIONS))
        self.chunking = chunking
        self.precision = precision
        self.device = pick_device(device)
        self.bag = bag.eval().requires_grad_(False).to(self.device)
        self.sample_rate = int(bag.samplerate)
        self.channels = int(bag.audio_channels)
        self.capabilities = Capabilities(names=tuple(bag.sources))
        self.space = f"demucs:{fingerprint(bag.state_dict())}"
        for network in self.bag.models:
            quicken(network, torch.bfloat16 if precision == "bfloat16" else torch.float32)
        window = int(self.sample_rate * min(float(m.segment) for m in bag.models))
        context = min(CONTEXT, window // 16)
        self.plan = SegmentPlan(window, int(window * KEPT), context, context)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        names = self.capabilities.names
        if not isinstance(prompt, NamePrompt):
            takers = TAKERS[prompt.kind]
            raise PromptError(
                f"demucs takes names alone ({', '.join(names)}), no {prompt.kind} prompt. These "
                f"separators can: {takers}."
            )
        wanted = prompt.name.strip().casefold()
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise PromptError(
                f"demucs does not know {prompt.name!r}. {hint}It knows: {', '.join(names)}."
            )
        row = np.zeros(len(names), dtype=np.float32)
        row[names.index(wanted)] = 1.0
        return EncodedPrompt(self.space, row, wanted)

    def runner(self, queries: Sequence[Query]) -> _Runner:
        """What runs the windows of one stream."""
        return _Runner(self, queries)

    def separate(
        self,
        mixture: np.ndarray,
        queries: Sequence[Query],
        mode: Mode = "render",
        progress: Progress | None = None,
    ) -> np.ndarray:
        if self.chunking == "stembridge" or mixture.shape[1] == 0:
            return super().separate(mixture, queries, mode, progress)
        runner = self.runner(queries)
        with torch.inference_mode():
            return runner.mix(mixture, self.stems(mixture, split=True))

    def stems(self, window: np.ndarray, split: bool) -> np.ndarray:
        """All of the network's stems, `(sources, channels, samples)`; `split` cuts longer
        audio in the package's way."""
        audio = torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))
        mono = audio.mean(dim=0)
        offset, spread = mono.mean(), mono.std() if mono.numel() > 1 else mono.new_tensor(1.0)
        level = (audio - offset) / (spread + 1e-8)
        with self.arithmetic():
            out = (
                _package()
                .apply.apply_model(
                    self.bag, level[None], shifts=0, split=split, device=self.device
                )[0]
                .float()
            )
        return (out.cpu() * (spread + 1e-8) + offset).numpy()


class _Runner:
    """Runs the windows of one stream."""

    def __init__(self, separator: Demucs, queries: Sequence[Query]) -> None:
        self.separator = separator
        self.set_queries(queries)

    def set_queries(self, queries: Sequence[Query]) -> None:
        self.separator.require_own(queries)
        self._queries = tuple(queries)

    def reset(self) -> None:
        """Windows know nothing of each other here."""

    @torch.inference_mode()
    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        channels, samples = window.shape
        if not window.any():
            return np.zeros((len(self._queries), channels, samples), dtype=np.float32)
        return self.mix(window, self.separator.stems(window, split=False))

    def mix(self, mixture: np.ndarray, stems: np.ndarray) -> np.ndarray:
        """Stems to the queries' targets: what is kept added up, what is removed left out."""
        targets = []
        for query in self._queries:
            removed = np.max([p.vector for p in query.remove], axis=0) if query.remove else 0.0
            if query.keep:
                kept = np.max([p.vector for p in query.keep], axis=0) * (1.0 - removed)
                targets.append(np.tensordot(kept, stems, axes=1))
            else:
                targets.append(mixture - np.tensordot(removed, stems, axes=1))
        return np.stack(targets).astype(np.float32)


def missing() -> str | None:
    """Why Demucs cannot run here and what to do, or None."""
    if importlib.util.find_spec("demucs") is None:
        return f"The separator 'demucs' needs the package demucs. {INSTALL}"
    return checkpoints.missing_all("demucs:htdemucs", "demucs:htdemucs_ft", "demucs:htdemucs_6s")


def load(
    checkpoint: str | Path | None = None,
    variant: Literal["htdemucs", "htdemucs_ft", "htdemucs_6s"] = "htdemucs",
    **options: Any,
) -> Demucs:
    """Demucs from the fetched files, from a folder with `VARIANT.yaml` and what it names, or
    from the file of a single network."""
    package = _package()
    if f"demucs:{variant}" not in checkpoints.CATALOGUE:
        raise NotAvailableError(
            f"demucs has no variant {variant!r}. Choose one of: htdemucs, htdemucs_ft, htdemucs_6s."
        )
    if checkpoint is not None:
        path = Path(checkpoint).expanduser()
        if path.is_file() and path.suffix != ".yaml":
            return Demucs(package.apply.BagOfModels([read_network(path)]), **options)
        if path.is_file():
            return Demucs(read_bag(path.parent, path.stem), **options)
        listings = sorted(path.glob("*.yaml"))
        chosen = [p for p in listings if p.stem == variant] or listings
        if not chosen:
            raise CheckpointError(
                f"{path} holds no list of Demucs networks ({variant}.yaml). Check the path."
            )
        return Demucs(read_bag(path, chosen[0].stem), **options)
    listing = checkpoints.require(f"demucs:{variant}", "bag")
    for file in checkpoints.published(f"demucs:{variant}").files:
        checkpoints.require(f"demucs:{variant}", file.role)
    return Demucs(read_bag(listing.parent, variant), **options)
