"""The published systems as the tuner sees them: mono waveforms in and out, frozen.

The vector is the system's own prompt: what its encoder would give, or a name's token. An
estimate is the mixture's spectrum times the very mask that the separator's windows get for
that vector, made a waveform again; so what is learned is what will be played. Kept between
steps is only what no vector changes and what is dear to compute: CLAPSep's encoder features
(4 MiB a mixture), the class probabilities of USS; otherwise the mixture itself.

Tuning is mono, at the rate and in the precision of the separator.
The first steps of Adam are small beside what the prompts span, because all numbers of a
vector move at once: a bias in the network that sums n of them moves n times as far.

Invariants: weights ask for no gradient and norms use stored statistics; a vector is refused
by every other set of weights, since presets carry its space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..prompts import Clip, ExamplePrompt
from .tunable import Tunable

if TYPE_CHECKING:
    from .clapsep import Clapsep
    from .tuss import Tuss
    from .uss import ResUnetSeparator, Uss
    from .zeroshot import Zeroshot

SEGMENT_SECONDS = 2.0
"""What USS and Zero-shot ASP were trained on; the others take any length."""
HEARD_CLIPS = 4
"""The nearest named prompt is chosen by so many clips."""
TAGGED_SECONDS = 10


class Prepared(NamedTuple):
    """Mixtures `(batch, samples)`, and for each what no vector changes."""

    mono: Tensor
    known: list[Any]


class PublishedTunable(Tunable):
    """A system whose prompts are examples: USS, Zero-shot ASP; base of the others."""

    channels = 1

    def __init__(
        self, separator: Clapsep | Zeroshot | ResUnetSeparator | Tuss, step_size: float
    ) -> None:
        self.sample_rate, self.space = separator.sample_rate, separator.space
        self.segment_samples = round(SEGMENT_SECONDS * separator.sample_rate)
        self.dimensions = separator.vector_sizes()[0]
        self.learnable = slice(0, self.dimensions)
        self.step_size = step_size
        self._separator = separator
        separator.network.eval().requires_grad_(False)

    def start(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The separator's own mean of the encoded clips.

        Raises:
            PromptError: clips that the system's encoder cannot use, or no encoder loaded.
        """
        example = ExamplePrompt(tuple(Clip(clip, self.sample_rate) for clip in clips))
        return np.array(self._separator.encode(example).vector)

    def reference(self, audio: Tensor) -> Tensor:
        """The waveforms themselves, `(batch, samples)`."""
        return audio[:, 0].to(self._separator.device)

    def prepare(self, mixtures: Tensor) -> Prepared:
        mono = self.reference(mixtures)
        with torch.no_grad(), self._separator.arithmetic():
            return Prepared(mono, [self._known(self._separator.level(row)) for row in mono])

    def estimate(self, prepared: Prepared, vector: Tensor) -> Tensor:
        """Waveforms `(batch, samples)`."""
        separator = self._separator
        vectors = vector[None].to(separator.device)
        with separator.arithmetic():
            masks = [
                self._mask(separator.level(row), known, vectors)[0]
                for row, known in zip(prepared.mono, prepared.known, strict=True)
            ]
        spectra = separator.stft.analyse(prepared.mono) * torch.stack(masks)
        return separator.stft.synthesise(spectra, prepared.mono.shape[1])

    def _known(self, mono: Tensor) -> Any:
        """What the mask of a levelled window needs and no vector changes."""
        return None

    def _mask(self, mono: Tensor, known: Any, vectors: Tensor) -> Tensor:
        """The separator's mask of a levelled window for `vectors` `(1, dimensions)`."""
        return self._separator.masks(mono, vectors)


class ClapsepTunable(PublishedTunable):
    """CLAPSep over the half of what is wanted; the other half stays zero, as without
    anything to remove, and the whole is made a unit vector in every pass."""

    _separator: Clapsep

    def _known(self, mono: Tensor) -> list[Tensor]:
        return self._separator.features(mono[None])

    def _mask(self, mono: Tensor, known: list[Tensor], vectors: Tensor) -> Tensor:
        both = F.pad(vectors, (0, self.dimensions))
        return self._separator.masks_of(mono, known, both)


class ClassTunable(PublishedTunable):
    """USS for classes: how much each class that is heard counts, 527 numbers.

    A mixture in which no wanted class is heard stays silent, as it will when played, and
    teaches nothing.
    """

    _separator: Uss

    def __init__(self, separator: Uss, step_size: float) -> None:
        super().__init__(separator, step_size)
        separator.tagger.eval().requires_grad_(False)

    def start(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The one class that is heard most in the clips: it takes no examples."""
        heard = torch.zeros(self.dimensions, device=self._separator.device)
        for clip in clips:
            start = clip[:, : TAGGED_SECONDS * self.sample_rate].mean(axis=0, dtype=np.float32)
            mono = torch.from_numpy(start).to(heard.device)
            with torch.no_grad():
                heard += self._separator.probabilities(self._separator.level(mono))[0]
        vector = np.zeros(self.dimensions, dtype=np.float32)
        vector[int(heard.argmax())] = 1.0
        return vector

    def _known(self, mono: Tensor) -> Tensor:
        return self._separator.probabilities(mono)

    def _mask(self, mono: Tensor, known: Tensor, vectors: Tensor) -> Tensor:
        return self._separator.class_masks(mono, known, vectors)


class NamedTunable(PublishedTunable):
    """A system without examples: TUSS over one token, AudioSep over one text's vector.

    It starts at the one of `named()` whose mask leaves the clips most as they are.
    """

    def __init__(
        self,
        separator: ResUnetSeparator | Tuss,
        step_size: float,
        named: Callable[[], Sequence[np.ndarray]],
    ) -> None:
        super().__init__(separator, step_size)
        self._named = named

    def start(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The nearest known prompt, by the energy of what it changes in up to four clips."""
        named = self._named()
        if len(named) == 1:
            return np.array(named[0], dtype=np.float32)
        heard = torch.zeros(min(HEARD_CLIPS, len(clips)), 1, self.segment_samples)
        for place, clip in zip(heard, clips, strict=False):
            part = torch.from_numpy(np.ascontiguousarray(clip[:, : self.segment_samples]))
            place[:, : part.shape[1]] = part / part.abs().max().clamp(min=1e-6)
        prepared = self.prepare(heard)

        def error(vector: np.ndarray) -> float:
            with torch.no_grad():
                estimate = self.estimate(prepared, torch.from_numpy(np.array(vector)))
            return float((estimate - prepared.mono).square().sum())

        return np.array(min(named, key=error), dtype=np.float32)
