"""TUSS: any number of eight learned sounds in one pass, at 48 kHz.

speech, sfx, sfxbg, drums, bass, vocals, other and musicbg are tokens that the network reads
before the mixture; it answers with one complex mask each. All queries of a stream share the
pass, so a stem depends on what else is asked for: naming what is there, and throwing it away,
is how to remove it. speech and sfx may be asked for several times; from window to window their
stems are matched by what they played in the overlap, so that two of them never swap.
(Saijo et al., "Task-Aware Unified Source Separation", ICASSP 2025.)
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import checkpoints
from ..checkpoints_keys import install, on_meta
from ..checkpoints_read import read_state, select
from ..errors import CheckpointError, NotAvailableError, PromptError
from ..prompts import Query
from .base import Capabilities
from .fingerprint import fingerprint
from .layers.locoformer import LARGE, MEDIUM, NAMES, Locoformer
from .layers.packed import can_pack, pack_linears
from .layers.stft import Stft
from .published import MaskRunner, PublishedSeparator
from .segments import SegmentPlan
from .tuss_keys import separator_table

if TYPE_CHECKING:
    from .published_tunable import NamedTunable

RATE = 48000
REPEATABLE = ("speech", "sfx")
"""Names that were trained to occur more than once."""
CONFIGS = {64: MEDIUM, 128: LARGE}
BRUTE_FORCE = 6
"""Up to so many equal prompts all orders are tried; beyond, the best pairs first."""


def build(state: Mapping[str, Tensor], origin: str) -> Locoformer:
    """The network from tensors by published names, with or without `model.` in front."""
    own = select(state, "model.") or dict(state)
    start = own.get("separator.sos_token")
    config = CONFIGS.get(start.shape[0]) if start is not None and start.ndim == 3 else None
    if config is None:
        raise CheckpointError(
            f"{origin} is no TUSS checkpoint of 64 or 128 features: the tensor "
            "'separator.sos_token' is missing or of another size. Give the file that the "
            "authors published (stembridge models list)."
        )
    network = on_meta(lambda: Locoformer(config))
    assert isinstance(network, Locoformer)
    install(network, separator_table(config).convert(own, origin))
    return network


class Tuss(PublishedSeparator):
    """TUSS behind the contract."""

    name = "tuss"
    sample_rate = RATE
    stft = Stft(2048, 512, "sqrt-hann", "zero")
    capabilities = Capabilities(names=NAMES, tuned=True)
    plans: ClassVar[dict[str, SegmentPlan]] = {
        # The 6 s it was trained on; 0.25 s of context on both sides, cross-fades of 0.5 s.
        "stembridge": SegmentPlan(288_000, 240_000, left=12_000, right=12_000),
        # The authors' defaults for long files: 6 s, no overlap.
        "tuss-separate": SegmentPlan(288_000, 288_000, tail="fill"),
        # Their documentation's example: 8 s every 4 s, the overlap averaged.
        "tuss-overlap": SegmentPlan(384_000, 192_000, tail="fill", join="average"),
    }

    def __init__(self, network: Locoformer, **options: Any) -> None:
        super().__init__(**options)
        self.network = network.to(self.device)
        self.space = f"tuss:{fingerprint(network.tokens.state_dict(), network.split.state_dict())}"
        if can_pack(self.device):
            pack_linears(network.cross[0], torch.float32)  # as `Locoformer.forward` runs it
            pack_linears(network, self.weights_dtype)

    def token(self, name: str) -> np.ndarray:
        """The learned token of a name."""
        return self.network.tokens[name].detach().flatten().cpu().numpy()

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        return self.network(self.stft.analyse(mono[None]), vectors)[0]

    def level(self, mono: Tensor) -> Tensor:
        return mono / (mono.std() + 1e-8) if mono.numel() > 1 else mono

    def runner(self, queries: Sequence[Query]) -> TussRunner:
        return TussRunner(self, queries)

    def encode_name(self, name: str) -> np.ndarray:
        wanted = name.strip().casefold()
        if wanted not in NAMES:
            near = difflib.get_close_matches(wanted, NAMES, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise PromptError(f"tuss does not know {name!r}. {hint}It knows: {', '.join(NAMES)}.")
        return self.token(wanted)

    def vector_sizes(self) -> tuple[int, ...]:
        return (self.network.config.dim,)

    def tunable(self) -> NamedTunable:
        """As the tuner sees it: over one token, asked for by itself."""
        from .published_tunable import NamedTunable

        tokens = [self.token(name) for name in NAMES]
        size = float(np.sqrt(np.mean(np.square(tokens))))
        return NamedTunable(self, step_size=0.05 * size, named=lambda: tokens)


class TussRunner(MaskRunner):
    """Runs all queries of a stream in one pass and keeps equal prompts in their order."""

    separator: Tuss

    def set_queries(self, queries: Sequence[Query]) -> None:
        separator = self.separator
        separator.require_own(queries)
        repeatable = {separator.token(name).tobytes() for name in REPEATABLE}
        self._tokens: list[bytes] = []
        vectors: list[np.ndarray] = []

        def add(vector: np.ndarray) -> int:
            self._tokens.append(vector.tobytes())
            vectors.append(vector)
            return len(vectors) - 1

        def places(key: bytes) -> list[int]:
            return [i for i, token in enumerate(self._tokens) if token == key]

        kept = []
        for query in queries:
            row = []
            for prompt in query.keep:
                key = prompt.vector.tobytes()
                again = key in repeatable or not places(key)
                row.append(add(prompt.vector) if again else places(key)[0])
            kept.append(sorted(set(row)))
        self._recipes = []
        for query, row in zip(queries, kept, strict=True):
            removed: set[int] = set()
            for prompt in query.remove:
                others = [i for i in places(prompt.vector.tobytes()) if i not in row]
                removed.update(others or [add(prompt.vector)])
            self._recipes.append((row, sorted(removed)))
        self._vectors = torch.from_numpy(np.stack(vectors)).to(separator.device)
        self.reset()

    def reset(self) -> None:
        self._last: tuple[int, np.ndarray] | None = None

    @torch.inference_mode()
    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        channels, samples = window.shape
        if not window.any():
            self._last = None
            return np.zeros((len(self._recipes), channels, samples), dtype=np.float32)
        separator = self.separator
        parts = np.zeros((len(self._tokens), channels, samples), dtype=np.float32)
        audio = torch.from_numpy(window).to(separator.device)
        for rows, group in self._groups(audio):
            masks = self._masks(self._leader((rows, group)))
            spectrum = separator.stft.analyse(group)
            for index, mask in enumerate(masks):
                out = separator.stft.synthesise(spectrum * mask, samples)
                parts[index, rows] = out.cpu().numpy()
        if separator.plan.tail == "slide":  # the authors' ways do not match
            parts = parts[self._match(parts, start_samples)]
            self._last = (start_samples, parts)
        stems = []
        for keep, remove in self._recipes:
            stems.append(parts[keep].sum(axis=0) if keep else window - parts[remove].sum(axis=0))
        return np.stack(stems).astype(np.float32)

    def _match(self, parts: np.ndarray, start: int) -> list[int]:
        """Which new part continues each old one: equal prompts are told apart by the overlap."""
        order = list(range(len(parts)))
        if self._last is None:
            return order
        last_start, last = self._last
        old = last[..., start - last_start :]
        new = parts[..., : old.shape[2]]
        old = old[..., : new.shape[2]]
        for key in set(self._tokens):
            same = [i for i, token in enumerate(self._tokens) if token == key]
            if len(same) > 1 and old.shape[2]:
                error = np.array([[np.square(old[i] - new[j]).sum() for j in same] for i in same])
                for place, chosen in zip(same, assignment(error), strict=True):
                    order[place] = same[chosen]
        return order


def assignment(cost: np.ndarray) -> list[int]:
    """For each row a column of its own, so that the sum of `cost` is least."""
    n = len(cost)
    if n <= BRUTE_FORCE:
        rows = np.arange(n)
        best = min(itertools.permutations(range(n)), key=lambda p: float(cost[rows, p].sum()))
        return list(best)
    left = cost.astype(np.float64).copy()
    chosen = [0] * n
    for _ in range(n):
        row, column = np.unravel_index(int(np.argmin(left)), left.shape)
        chosen[int(row)] = int(column)
        left[row, :] = np.inf
        left[:, column] = np.inf
    return chosen


def missing() -> str | None:
    """Why TUSS cannot run here and what to do, or None."""
    return checkpoints.missing_all("tuss:medium", "tuss:large")


def load(
    checkpoint: str | Path | None = None,
    size: Literal["medium", "large"] = "medium",
    **options: Any,
) -> Tuss:
    """TUSS from its published file. `size` chooses the fetched one; a `checkpoint` says by
    itself which one it is."""
    if size not in ("medium", "large"):
        raise NotAvailableError(f"tuss has no size {size!r}. Choose one of: medium, large.")
    path = checkpoints.require(f"tuss:{size}", "separator", checkpoint)
    return Tuss(build(read_state(path), str(path)), **options)
