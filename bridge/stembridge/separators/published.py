"""What the published systems have in common: masks on an STFT, windows, prompts, stereo.

Each system gives masks for one mono window; everything around that is here. The mask of the
mid channel (of the side, where the mid is all but silent) is applied to every channel, which
keeps the stereo image for one network pass; `stereo="channels"` runs each channel by itself.
Windows of exact silence cost nothing. The network's input gain is undone at its output.

Systems without a negative prompt get one by arithmetic: prompts to keep add up (to at most
the whole mixture), prompts to remove take their share out of what is left.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import PromptError
from ..prompts import (
    EncodedPrompt,
    ExamplePrompt,
    NamePrompt,
    Prompt,
    Query,
    TextPrompt,
    TunedPrompt,
    require_space,
)
from .layers.resample import resample
from .layers.resunet import ResUnet30
from .layers.stft import Stft
from .layers.zeroshot_unet import ZeroshotUnet
from .segmented import PRECISIONS, TAKERS, Precision, SegmentedSeparator, pick_device
from .segments import SegmentPlan

Stereo = Literal["mid", "channels"]

SIDE_RATIO = 1e-3
"""Below this share of the energy the mid counts as silent, and the side leads."""


class PublishedSeparator(SegmentedSeparator):
    """A published system behind the contract. Subclasses give `masks` and `encode_*`."""

    stft: Stft
    plans: ClassVar[dict[str, SegmentPlan]]
    """Ours is "stembridge"; the others are the authors' own ways, in mono."""

    def __init__(
        self,
        chunking: str | SegmentPlan = "stembridge",
        precision: Precision = "float32",
        stereo: Stereo = "mid",
        device: str = "cpu",
    ) -> None:
        self.check_options(precision=(precision, PRECISIONS), stereo=(stereo, get_args(Stereo)))
        if isinstance(chunking, str):
            self.check_options(chunking=(chunking, tuple(self.plans)))
            self.chunking, self.plan = chunking, self.plans[chunking]
        else:
            self.chunking, self.plan = "given", chunking
        self.precision = precision
        self.stereo = stereo
        self.channels = 2 if self.plan.tail == "slide" else 1  # the authors' ways are mono
        self.device = pick_device(device)

    @property
    def weights_dtype(self) -> torch.dtype:
        """What large weights are stored and multiplied in."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def quicken(self, network: ZeroshotUnet | ResUnet30) -> None:
        """Bring a network of convolutions into the form that runs fastest: norms folded in,
        channels last, large weights in the chosen precision. The numbers stay otherwise."""
        network.fold()
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.to(self.weights_dtype)
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    # What a system gives

    @abstractmethod
    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        """Masks of one window: `(samples,)` and prompt vectors `(N, n)` to `(N, frames, bins)`,
        real or complex."""

    def level(self, mono: Tensor) -> Tensor:
        """A window at the level that the network expects; masks do not feel the difference."""
        peak = float(mono.abs().max())
        return mono * (0.9 / peak) if peak > 1.0 else mono

    def encode_name(self, name: str) -> np.ndarray:
        """A known name to a vector."""
        raise self.refusal("name", name)

    def encode_text(self, text: str) -> np.ndarray:
        """Free words to a vector."""
        raise self.refusal("text", text)

    def encode_clips(self, clips: Sequence[Tensor]) -> np.ndarray:
        """Mono clips `(samples,)` at `example_rate` to one vector."""
        raise self.refusal("example", "")

    def vector_sizes(self) -> tuple[int, ...]:
        """Sizes that a tuned vector may have."""
        raise NotImplementedError

    example_rate: int = 32000
    """The rate, in Hz, at which `encode_clips` wants its clips."""

    # The contract

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        if isinstance(prompt, NamePrompt):
            return EncodedPrompt(self.space, self.encode_name(prompt.name), prompt.name)
        if isinstance(prompt, TextPrompt):
            return EncodedPrompt(self.space, self.encode_text(prompt.text), prompt.text)
        if isinstance(prompt, ExamplePrompt):
            if not self.capabilities.examples:
                raise self.refusal("example", "")
            label = ", ".join(clip.label for clip in prompt.clips if clip.label) or "example"
            return EncodedPrompt(self.space, self.encode_clips(self._mono_clips(prompt)), label)
        return self._encode_tuned(prompt)

    def runner(self, queries: Sequence[Query]) -> MaskRunner:
        """What runs the windows of one stream."""
        return MaskRunner(self, queries)

    def combine(self, query: Query) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The vectors whose masks are added, and those whose masks are taken out."""
        return [p.vector for p in query.keep], [p.vector for p in query.remove]

    def refusal(self, kind: str, what: str) -> PromptError:
        """The error for a kind of prompt that this system cannot take."""
        takers = ", ".join(t for t in TAKERS[kind].split(", ") if t != self.name)
        words = {
            "name": "names",
            "text": "free text",
            "example": "audio examples",
            "tuned": "tuned vectors",
        }[kind]
        shown = f" {what!r}" if what else ""
        return PromptError(
            f"{self.name} cannot take the {kind} prompt{shown}: it takes no {words} as it is "
            f"loaded here. These separators can: {takers}."
        )

    def _mono_clips(self, prompt: ExamplePrompt) -> list[Tensor]:
        clips = []
        for clip in prompt.clips:
            audio = torch.from_numpy(np.array(clip.audio, dtype=np.float32, ndmin=2))
            if audio.shape[1] == 0 or not torch.isfinite(audio).all() or not audio.any():
                raise PromptError(
                    f"The example {clip.label or 'clip'!r} is empty, silent or not finite. "
                    "Give a clip in which the wanted sound can be heard."
                )
            clips.append(resample(audio.mean(dim=0), clip.sample_rate, self.example_rate))
        return clips

    def _encode_tuned(self, prompt: TunedPrompt) -> EncodedPrompt:
        encoded = EncodedPrompt(prompt.space, prompt.vector, prompt.label)
        require_space([encoded], self.space, self.name)
        if encoded.vector.size not in self.vector_sizes():
            raise PromptError(
                f"The tuned prompt {prompt.label!r} has {encoded.vector.size} numbers; "
                f"{self.name} needs {' or '.join(map(str, self.vector_sizes()))}. Tune it again."
            )
        return encoded


class MaskRunner:
    """Runs the windows of one stream of a `PublishedSeparator`."""

    def __init__(self, separator: PublishedSeparator, queries: Sequence[Query]) -> None:
        self.separator = separator
        self.set_queries(queries)

    def set_queries(self, queries: Sequence[Query]) -> None:
        separator = self.separator
        separator.require_own(queries)
        distinct: dict[bytes, int] = {}
        vectors: list[np.ndarray] = []

        def index(vector: np.ndarray) -> int:
            key = vector.tobytes()
            if key not in distinct:
                distinct[key] = len(vectors)
                vectors.append(vector)
            return distinct[key]

        self._recipes = []
        for query in queries:
            keep, remove = separator.combine(query)
            self._recipes.append(([index(v) for v in keep], [index(v) for v in remove]))
        self._vectors = torch.from_numpy(np.stack(vectors)).to(separator.device)

    def reset(self) -> None:
        """Windows know nothing of each other here."""

    @torch.inference_mode()
    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        """One window `(channels, samples)` to stems `(queries, channels, samples)`."""
        channels, samples = window.shape
        stems = np.zeros((len(self._recipes), channels, samples), dtype=np.float32)
        if not window.any():
            return stems
        separator = self.separator
        audio = torch.from_numpy(window).to(separator.device)
        audio = F.pad(audio, (0, max(0, separator.stft.least_samples - samples)))
        for group in self._groups(audio):
            masks = self._masks(self._leader(group))
            spectrum = separator.stft.analyse(group[1])
            for index, (keep, remove) in enumerate(self._recipes):
                mask = joined_mask(masks, keep, remove)
                out = separator.stft.synthesise(spectrum * mask, audio.shape[1])
                stems[index, group[0]] = out[:, :samples].cpu().numpy()
        return stems

    def _groups(self, audio: Tensor) -> list[tuple[list[int], Tensor]]:
        """Channels that share one mask: their indices and audio. Equal channels always do."""
        channels = audio.shape[0]
        together = self.separator.stereo == "mid" or bool((audio == audio[:1]).all())
        rows = [list(range(channels))] if together else [[i] for i in range(channels)]
        return [(row, audio[row]) for row in rows if audio[row].any()]

    def _leader(self, group: tuple[list[int], Tensor]) -> Tensor:
        """The mono signal whose mask serves the group."""
        audio = group[1]
        mid = audio.mean(dim=0)
        if audio.shape[0] == 2:
            side = (audio[0] - audio[1]) / 2
            if mid.square().sum() < SIDE_RATIO * (mid.square().sum() + side.square().sum()):
                return side
        return mid

    def _masks(self, mono: Tensor) -> Tensor:
        separator = self.separator
        with separator.arithmetic():
            return separator.masks(separator.level(mono), self._vectors)


def joined_mask(masks: Tensor, keep: Sequence[int], remove: Sequence[int]) -> Tensor:
    """One mask `(frames, bins)` out of those to keep, added up, and those to remove.

    A sum of several is held to the magnitude 1; without any to keep, all is kept.
    """
    if len(keep) == 1 and not remove:
        return masks[keep[0]]
    mask = torch.ones_like(masks[0]) if not keep else masks[list(keep)].sum(dim=0)
    if len(keep) > 1:
        mask = mask / mask.abs().clamp(min=1.0)
    for index in remove:
        mask = mask * (1.0 - masks[index])
    return mask
