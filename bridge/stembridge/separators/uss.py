"""USS: a sound by audio examples, or one of the 527 AudioSet classes by name, at 32 kHz.

Two published checkpoints exist. The one for examples is conditioned on Cnn14's embedding
(2048 numbers) of the clips; the one for classes on Cnn14's probabilities in the mixture
itself, all but the wanted classes set to zero, and keeps silent where none of them is heard.
(Kong et al., "Universal Source Separation with Weakly Labelled Data", 2023; the base of
"Audio Prompt Tuning", Liu et al., 2024.)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import checkpoints
from ..checkpoints_keys import install, on_meta
from ..checkpoints_read import read_state, select
from ..errors import CheckpointError, NotAvailableError, PromptError
from .base import Capabilities
from .fingerprint import fingerprint
from .layers.cnn14 import CLASSES, Cnn14
from .layers.resunet import ResUnet30
from .layers.stft import Stft
from .published import PublishedSeparator
from .segments import SegmentPlan
from .uss_keys import CONDITIONS, cnn14_table, separator_table

if TYPE_CHECKING:
    from .published_tunable import PublishedTunable

RATE = 32000
SEGMENT = 64_000
FRAME = 3_200
QUIET = 0.02
"""Frames of an example, 0.1 s each, that never exceed this peak count as silence."""
HEARD = 0.2
"""Least probability of a wanted class; below it nothing is separated."""
LEAST_MAGNITUDE = 1e-5

STEMBRIDGE = SegmentPlan(327_360, 295_360, left=12_800, right=12_800)
"""1024 frames, a multiple of the network's 32; 0.4 s of context, cross-fades of 0.2 s."""


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """The 527 AudioSet classes in order (from the AudioSet ontology, CC BY-SA 4.0)."""
    path = Path(__file__).parent / "layers" / "audioset_classes.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def read_resunet(state: Mapping[str, Tensor], origin: str) -> ResUnet30:
    """ResUNet30 from a whole training checkpoint or from the bare network's tensors.

    Raises:
        CheckpointError: also for tensors that belong to no part of such a checkpoint.
    """
    own = select(state, "ss_model.")
    if own:
        parts = ("ss_model.", "query_net.", "query_encoder.", "anchor_segment_detector.")
        strangers = [name for name in state if not name.startswith(parts)]
        if strangers:
            raise CheckpointError(
                f"{origin} holds the unknown tensor {strangers[0]!r}. Give the file that the "
                "authors published (stembridge models list)."
            )
    own = own or dict(state)
    width = own.get("film.conv_block7a->conv_block1->beta1.weight")
    condition = 0 if width is None else width.shape[-1]
    if condition not in CONDITIONS:
        raise CheckpointError(
            f"{origin} is no ResUNet30 for 512, 527 or 2048 numbers: the tensor "
            "'film.conv_block7a->conv_block1->beta1.weight' is missing or of another width. "
            "Give the file that the authors published (stembridge models list)."
        )
    network = on_meta(lambda: ResUnet30(condition))
    assert isinstance(network, ResUnet30)
    install(network, separator_table(condition).convert(own, origin))
    return network


def read_cnn14(path: Path) -> Cnn14:
    """Cnn14 from its own file, or from inside a USS checkpoint."""
    state = read_state(path)
    network = on_meta(Cnn14)
    assert isinstance(network, Cnn14)
    install(network, cnn14_table().convert(select(state, "query_net.base.") or state, str(path)))
    return network


class ResUnetSeparator(PublishedSeparator):
    """What USS and AudioSep share: the network and its mask."""

    sample_rate = RATE
    stft = Stft(2048, 320)

    def __init__(self, network: ResUnet30, **options: Any) -> None:
        super().__init__(**options)
        self.network = network.to(self.device)
        parts = (
            network.pre_conv.state_dict(),
            network.after_conv.state_dict(),
            network.bottom.state_dict(),
        )
        self.space = f"{self.name}:{fingerprint(*parts)}"
        self.quicken(self.network)

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        magnitude = self.stft.analyse(mono[None]).abs().clamp(min=LEAST_MAGNITUDE)
        return torch.cat([self.network(magnitude, row[None]) for row in vectors])

    def level(self, mono: Tensor) -> Tensor:
        return super().level(mono) if self.chunking == "stembridge" else mono

    def vector_sizes(self) -> tuple[int, ...]:
        return (self.network.condition,)


class Uss(ResUnetSeparator):
    """USS behind the contract."""

    name = "uss"
    plans: ClassVar[dict[str, SegmentPlan]] = {
        "stembridge": STEMBRIDGE,
        # The authors' command line: hard cuts of 2 s.
        "uss-cli": SegmentPlan(SEGMENT, SEGMENT, tail="fill"),
    }

    def __init__(
        self, network: ResUnet30, query: Callable[[], Cnn14] | None = None, **options: Any
    ) -> None:
        super().__init__(network, **options)
        self.query = query
        self.by_class = network.condition == CLASSES
        if self.by_class:
            self.capabilities = Capabilities(names=class_names(), tuned=True)
            if query is None:
                raise NotAvailableError(
                    "USS for classes listens with Cnn14, whose file is not here. Fetch it with "
                    "`stembridge models fetch uss:classes`, or put it beside the checkpoint."
                )
            self.tagger = query().to(self.device)
        else:
            self.capabilities = Capabilities(examples=True, tuned=True)

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        if not self.by_class:
            return super().masks(mono, vectors)
        return self.class_masks(mono, self.probabilities(mono), vectors)

    def probabilities(self, mono: Tensor) -> Tensor:
        """Of the 527 classes in a window `(samples,)`: `(1, 527)`."""
        needed = SEGMENT - mono.shape[0]
        return self.tagger.classify(self.tagger.embed(F.pad(mono, (0, max(0, needed)))[None]))

    def class_masks(self, mono: Tensor, probabilities: Tensor, vectors: Tensor) -> Tensor:
        """`masks` of a window whose class probabilities are known."""
        conditions = probabilities * vectors
        masks = super().masks(mono, conditions)
        there = conditions.amax(dim=1) >= HEARD
        return masks * there[:, None, None]

    def encode_name(self, name: str) -> np.ndarray:
        if not self.by_class:
            raise self.refusal("name", name)
        names = [known.casefold() for known in class_names()]
        wanted = name.strip().casefold()
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
            near += [n for n in names if wanted and wanted in n and n not in near][:3]
            shown = ", ".join(repr(class_names()[names.index(n)]) for n in near)
            raise PromptError(
                f"uss has no class {name!r}. "
                + (f"Nearest: {shown}." if shown else "It knows the 527 classes of AudioSet.")
            )
        vector = np.zeros(CLASSES, dtype=np.float32)
        vector[names.index(wanted)] = 1.0
        return vector

    def encode_clips(self, clips: Sequence[Tensor]) -> np.ndarray:
        if self.by_class or self.query is None:
            raise self.refusal("example", "")
        network = self.query()
        with torch.inference_mode():
            means = [embed_clip(network, clip) for clip in clips]
        return torch.stack(means).mean(dim=0).numpy()

    def tunable(self) -> PublishedTunable:
        """As the tuner sees it: over one embedding, or one number per class."""
        from .published_tunable import ClassTunable, PublishedTunable

        if self.by_class:
            return ClassTunable(self, step_size=2e-2)
        return PublishedTunable(self, step_size=1e-3)


def embed_clip(network: Cnn14, clip: Tensor) -> Tensor:
    """The mean embedding of a clip's segments of 2 s, silence left out, filled by repeating."""
    frames = clip.shape[0] // FRAME
    body = clip[: frames * FRAME].view(frames, FRAME)
    loud = body[body.abs().amax(dim=1) > QUIET].reshape(-1) if frames else clip
    if not len(loud):
        raise PromptError(
            f"An example is too quiet for uss: nothing in it exceeds {QUIET} of full scale. "
            "Give a louder clip."
        )
    whole = -(-len(loud) // SEGMENT) * SEGMENT
    segments = loud.repeat(-(-whole // len(loud)))[:whole].view(-1, SEGMENT)
    return torch.cat([network.embed(row[None]) for row in segments]).mean(dim=0)


def missing() -> str | None:
    """Why USS cannot run here and what to do, or None."""
    return checkpoints.missing_all("uss:examples", "uss:classes")


def load(
    checkpoint: str | Path | None = None,
    query: Literal["examples", "classes"] | None = None,
    cnn14: str | Path | None = None,
    **options: Any,
) -> Uss:
    """USS from its published files. `query` chooses the variant where both are there (None:
    examples); a `checkpoint` file says by itself which one it is. Cnn14 comes from its own
    file or from inside the checkpoint."""
    if query not in (None, "examples", "classes"):
        raise NotAvailableError(f"uss has no query {query!r}. Choose one of: examples, classes.")
    variants = [f"uss:{v}" for v in ([query] if query else ["examples", "classes"])]
    found = [v for v in variants if checkpoints.find(v, "separator", checkpoint) is not None]
    system = (found or variants)[0]
    path = checkpoints.require(system, "separator", checkpoint)
    state = read_state(path)
    tagger = Path(cnn14) if cnn14 else checkpoints.find(system, "query", checkpoint)
    if tagger is None and any(name.startswith("query_net.base.") for name in state):
        tagger = path
    return Uss(
        read_resunet(state, str(path)),
        None if tagger is None else lambda: read_cnn14(tagger),
        **options,
    )
