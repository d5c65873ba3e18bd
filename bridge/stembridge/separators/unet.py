"""The embedded separator `unet`: named stems and prompted sounds from magnitudes.

Two published networks (vocals, instrumental; Spleeter, JOSS 2020) share out every bin
between voice and the rest; a third, steered by a prompt vector, shares out the rest
between drums, bass and other and answers prompts of its own. The sum of the four leaves
is the mixture. 44.1 kHz stereo, spectra of 4096 samples every 1024; above 11 kHz, where
the networks do not look, a mask is continued from its topmost bins.

Invariants: immutable once built, so shared by all sessions (state lives in
`unet_stream.UnetStream`); weights come from the package alone; `space` changes with any
byte of them.
"""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..errors import CheckpointError, PromptError
from ..prompts import (
    EncodedPrompt,
    ExamplePrompt,
    NamePrompt,
    Prompt,
    Query,
    TextPrompt,
    TunedPrompt,
)
from ..prompts import require_space as require_prompt_space
from .base import Capabilities, Mode, Separator
from .layers.unet import UNet
from .layers.unet_delta import apply_delta
from .layers.unet_packed import PackedUNet
from .layers.unet_weights import build_unet, read_weights, weights_hash
from .sound_library import SoundLibrary
from .unet_queries import HEADS, Layout, check_vector, plan_queries
from .unet_stream import UnetStream, advance_streams

if TYPE_CHECKING:
    from .unet_tunable import UnetTunable

PAIR_FILE = "unet-vocals-instrumental.safetensors"
PROMPTED_FILE = "unet-drums-bass-other.safetensors"
SOUNDS_FILE = "unet-sounds.safetensors"
"""Further names, the library of labels and the example encoder; may be absent."""
ALIASES = {
    "vocal": "vocals",
    "voice": "vocals",
    "singing": "vocals",
    "accompaniment": "instrumental",
    "backing": "instrumental",
    "drum": "drums",
    "percussion": "drums",
    "bass guitar": "bass",
    "rest": "other",
}
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Networks:
    """The networks in one precision; `sounds` answers prompts beyond the leaves."""

    vocals: PackedUNet
    instrumental: PackedUNet
    prompted: PackedUNet
    sounds: PackedUNet


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16) and oneDNN is there."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(torch.backends.mkldnn.is_available() and probe is not None and probe())


class Unet(Separator):
    """The separator over loaded weights. Latency by mode: see `unet_stream.MODE_SHAPES`.

    Args:
        weights: folder of the two weight files; None for those in the package.
        precision: of the convolutions in modes live and mix; "auto" takes bfloat16 where
            the CPU has it. Mode render is always float32.

    Raises:
        CheckpointError: a weight file that is missing, broken or of another layout.
    """

    name = "unet"
    sample_rate = 44100
    channels = 2

    def __init__(self, weights: Path | None = None, precision: Precision = "auto") -> None:
        if precision not in ("auto", "float32", "bfloat16"):
            raise CheckpointError(
                f"There is no precision {precision!r}. Choose auto, float32 or bfloat16."
            )
        folder = (
            Path(str(resources.files("stembridge") / "weights")) if weights is None else weights
        )
        pair, _ = read_weights(folder / PAIR_FILE)
        prompted, metadata = read_weights(folder / PROMPTED_FILE)
        sounds = folder / SOUNDS_FILE
        self.sounds = SoundLibrary.read(sounds) if sounds.exists() else None
        more = [] if self.sounds is None else [self.sounds.tensors]
        self.space = f"unet:{weights_hash(pair, prompted, *more)}"
        rows, names = _prompt_rows(prompted, metadata)
        prompted = {key: value for key, value in prompted.items() if key != "tok"}
        self._modules = {
            "vocals": build_unet(_part(pair, "vocals.")),
            "instrumental": build_unet(_part(pair, "instrumental.")),
            "prompted": build_unet(prompted),
        }
        self._modules["sounds"] = self._modules["prompted"]
        if self.sounds is not None:
            self._modules["sounds"] = apply_delta(self._modules["prompted"], self.sounds.tensors)
        self.layout = Layout(rows, self._modules["prompted"].film_size)
        self._vectors = {"vocals": self.layout.leaf_vector(0)}
        self._vectors["instrumental"] = self.layout.instrumental_vector()
        self._leaf_names = tuple(names)
        for row, name in enumerate(names):
            self._vectors[name] = self.layout.leaf_vector(row + 1)
        if self.sounds is not None:
            for name, numbers in self.sounds.names.items():
                self._vectors[name] = self._prompted_vector(numbers)
        self.capabilities = Capabilities(
            names=tuple(self._vectors),
            text=self.sounds is not None,
            examples=self.sounds is not None and self.sounds.takes_examples,
            tuned=True,
            negative=True,
        )
        fast = precision == "bfloat16" or (precision == "auto" and has_bfloat16())
        self._stream_dtype = torch.bfloat16 if fast else torch.float32
        self._packed: dict[bool, Networks] = {}  # whether for mode render
        self._lock = threading.Lock()

    @property
    def default_names(self) -> tuple[str, ...]:
        """Names that share out the mixture: what is written when nothing is asked for."""
        return ("vocals", *self._leaf_names)

    @property
    def modules(self) -> dict[str, UNet]:
        """The networks as modules, frozen: the plain arithmetic, for comparison."""
        return dict(self._modules)

    @property
    def prompted_module(self) -> UNet:
        """The network of prompts beyond the leaves, frozen: for tuning, which needs gradients."""
        return self._modules["sounds"]

    @property
    def stems_module(self) -> UNet:
        """The network of the leaves drums, bass and other, frozen."""
        return self._modules["prompted"]

    def networks(self, mode: Mode) -> Networks:
        """The networks as a mode runs them, packed on first use."""
        render = mode == "render"
        dtype = torch.float32 if render else self._stream_dtype
        with self._lock:
            if render not in self._packed:
                packed = {id(m): PackedUNet(m, dtype, render) for m in self._modules.values()}
                self._packed[render] = Networks(
                    **{name: packed[id(module)] for name, module in self._modules.items()}
                )
            return self._packed[render]

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """A name, a text that the library knows, clips of a sound, or a tuned vector."""
        if isinstance(prompt, NamePrompt | TextPrompt):
            wanted = prompt.name if isinstance(prompt, NamePrompt) else prompt.text
            key = " ".join(wanted.lower().split())
            key = ALIASES.get(key, key)
            if key not in self._vectors:
                return self._encode_text(wanted, key)
            return EncodedPrompt(self.space, self._vectors[key], key)
        if isinstance(prompt, TunedPrompt):
            encoded = EncodedPrompt(prompt.space, prompt.vector, prompt.label)
            require_prompt_space([encoded], self.space, self.name)
            check_vector(encoded.vector, self.layout, prompt.label)
            return encoded
        if isinstance(prompt, ExamplePrompt) and self.capabilities.examples:
            assert self.sounds is not None
            numbers = self.sounds.encode(prompt.clips)
            label = next((clip.label for clip in prompt.clips if clip.label), "example")
            return EncodedPrompt(self.space, self._prompted_vector(numbers), label)
        raise PromptError(
            "The separator 'unet' takes names and tuned prompts, not audio examples. Tune a "
            f"prompt from the clips, or use one of the names: {', '.join(self._vectors)}."
        )

    def _encode_text(self, wanted: str, key: str) -> EncodedPrompt:
        """A sound of the library, unless the text is a misspelt name."""
        near = difflib.get_close_matches(key, [*self._vectors, *ALIASES], n=3)
        misspelt = difflib.get_close_matches(key, [*self._vectors, *ALIASES], n=1, cutoff=0.8)
        if self.sounds is not None and (not misspelt or self.sounds.knows(wanted)):
            found = self.sounds.find(wanted)
            if found is not None:
                return EncodedPrompt(self.space, self._prompted_vector(found[1]), found[0])
            near = near or self.sounds.nearest(wanted)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise PromptError(
            f"The separator 'unet' does not know the sound {wanted!r}. {hint}It knows: "
            f"{', '.join(self._vectors)}. For free text use the separator 'clapsep'."
        )

    def _prompted_vector(self, numbers: np.ndarray) -> np.ndarray:
        """The vector of a sound beyond the leaves: the prompted network steered by `numbers`."""
        vector = np.zeros(self.layout.size, np.float32)
        vector[HEADS.index("prompted")] = 1.0
        vector[len(HEADS) :] = numbers
        return vector

    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> UnetStream:
        """A fresh stream. Raises PromptError for vectors of another space or shape."""
        return UnetStream(self, queries, mode)

    def plan(self, queries: Sequence[Query]):
        """Check and resolve queries (see `unet_queries`)."""
        for query in queries:
            require_prompt_space([*query.keep, *query.remove], self.space, self.name)
        return plan_queries(queries, self.layout)

    def tunable(self) -> UnetTunable:
        """The prompted network, frozen, as the tuner sees it."""
        from .unet_tunable import UnetTunable

        return UnetTunable(self)

    def advance(self, streams: Sequence[UnetStream]) -> None:
        """Run the oldest due step of each given stream, in common network calls.

        Streams of any modes may be mixed. The samples equal those of `push` within 1e-5.
        """
        advance_streams(streams)


def _part(stored: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}


def _prompt_rows(
    stored: dict[str, np.ndarray], metadata: dict[str, str]
) -> tuple[np.ndarray, list[str]]:
    """The prompt numbers of the leaves and their names, as the file says them."""
    rows = stored.get("tok")
    try:
        names = json.loads(metadata.get("prompts", ""))
    except ValueError:
        names = None
    if rows is None or rows.ndim != 2 or not isinstance(names, list) or len(names) != len(rows):
        raise CheckpointError(
            f"{PROMPTED_FILE} does not name its prompt rows. Install Stembridge again, or give "
            "weights with `tok` and a JSON list `prompts` in their metadata."
        )
    return np.ascontiguousarray(rows, np.float32), [str(name) for name in names]


def load(weights: str | Path | None = None, precision: Precision = "auto") -> Unet:
    """Build the separator (called by `load_separator("unet", **options)`)."""
    return Unet(None if weights is None else Path(weights), precision)
