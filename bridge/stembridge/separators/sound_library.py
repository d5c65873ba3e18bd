"""Sounds that the U-Net knows beyond its stems: named prompts, a library of labels, examples.

One file, `unet-sounds.safetensors`, holds the vectors of further names ("guitar"), the
average vector of every label of the training recordings ("dog bark"), and the example
encoder that made them. Text finds a label by its words, by synonyms, then by spelling; a
clip is encoded in pieces, silent pieces are left out, and the rest is averaged.

Invariants: immutable; vectors are float32 `(prompt_size,)` of length sqrt(prompt_size);
the same clips in any order give the same vector.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError, PromptError
from ..prompts import Clip
from ..resample import resample
from .layers.example_encoder import ExampleEncoder, average
from .layers.unet_weights import read_weights

SAMPLE_RATE = 44100
PIECE_SECONDS = 3.0
_LONGEST_SECONDS = 600.0
_SILENCE = 1e-4
_ENCODER = "encoder."

SYNONYMS = {
    "dog": "dog bark",
    "barking": "dog bark",
    "dog barking": "dog bark",
    "rooster crowing": "rooster",
    "cock": "rooster",
    "sneeze": "person sneeze",
    "sneezing": "person sneeze",
    "baby": "baby cry",
    "crying baby": "baby cry",
    "ticking": "clock tick",
    "clock": "clock tick",
    "fire": "fire crackling",
    "waves": "sea waves",
    "sea": "sea waves",
    "chain saw": "chainsaw",
    "chopper": "helicopter",
    "raining": "rain",
    "piano": "keys",
    "keyboard": "keys",
    "keyboards": "keys",
    "organ": "keys",
    "electric piano": "keys",
    "acoustic guitar": "guitar",
    "electric guitar": "guitar",
    "guitars": "guitar",
    "violin": "strings",
    "cello": "strings",
    "viola": "strings",
    "fiddle": "strings",
    "brass": "winds",
    "saxophone": "winds",
    "sax": "winds",
    "flute": "winds",
    "trumpet": "winds",
    "trombone": "winds",
    "clarinet": "winds",
    "horns": "winds",
    "woodwind": "winds",
    "woodwinds": "winds",
    "wind": "winds",
    "synthesizer": "synth",
    "synths": "synth",
    "dialogue": "speech",
    "dialog": "speech",
    "talking": "speech",
    "voice over": "speech",
    "effects": "sfx",
    "sound effects": "sfx",
    "fx": "sfx",
}


def words(text: str) -> str:
    """Text as it is compared: lower case, single spaces, no punctuation."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return " ".join(kept.split())


class SoundLibrary:
    """Names, labels and the example encoder of one set of weights.

    Args:
        names: vectors of further named prompts, in the order people expect.
        labels: vectors of library labels.
        encoder: the example encoder, or None where the file has none.
        tensors: everything stored, for the identity of the prompt space.
    """

    def __init__(
        self,
        names: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        encoder: ExampleEncoder | None,
        tensors: Mapping[str, np.ndarray],
    ) -> None:
        self.names = dict(names)
        self.labels = dict(labels)
        self.tensors = dict(tensors)
        self.encoder = encoder
        self._known = {words(name): name for name in [*self.labels, *self.names]}

    @classmethod
    def read(cls, path: Path) -> SoundLibrary:
        """Read a sounds file.

        Raises:
            CheckpointError: missing, broken, or of another layout.
        """
        stored, metadata = read_weights(path)
        try:
            names, labels = json.loads(metadata["names"]), json.loads(metadata["labels"])
            named, vectors = stored["names"], stored["library"]
            if named.shape[0] != len(names) or vectors.shape[0] != len(labels):
                raise ValueError("rows and names differ in number")
            state = {k[len(_ENCODER) :]: v for k, v in stored.items() if k.startswith(_ENCODER)}
            encoder = None
            if state:
                encoder = ExampleEncoder(int(vectors.shape[1]), state["layers.0.weight"].shape[0])
                encoder.load_state_dict(
                    {k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()}
                )
                encoder.eval().requires_grad_(False)
        except (KeyError, ValueError, RuntimeError, IndexError) as error:
            raise CheckpointError(
                f"{path.name} is not a file of sounds for this network ({error}). "
                "Install Stembridge again."
            ) from error
        as_float = lambda rows: [row.astype(np.float32) for row in rows]  # noqa: E731
        return cls(
            dict(zip(names, as_float(named), strict=True)),
            dict(zip(labels, as_float(vectors), strict=True)),
            encoder,
            stored,
        )

    def find(self, text: str) -> tuple[str, np.ndarray] | None:
        """The label (or name) that a text means and its vector; None when nothing is near.

        Tried in turn: the very words, a synonym, the singular, all words of the text within
        one label, and spelling within about one letter in five.
        """
        key = words(text)
        if not key:
            return None
        candidates = [key, SYNONYMS.get(key, ""), key.removesuffix("s"), key + "s"]
        for candidate in candidates:
            if candidate in self._known:
                return self._entry(self._known[candidate])
        wanted = set(key.split())
        holding = [known for known in self._known if wanted <= set(known.split())]
        if holding:
            return self._entry(self._known[min(holding, key=lambda known: (len(known), known))])
        pool = [*self._known, *SYNONYMS]
        near = difflib.get_close_matches(key, pool, n=1, cutoff=0.8)
        if near:
            known = SYNONYMS.get(near[0], near[0]) if near[0] not in self._known else near[0]
            if known in self._known:
                return self._entry(self._known[known])
        return None

    def knows(self, text: str) -> bool:
        """Whether a text is a label, a name or a synonym of one, as it is written."""
        key = words(text)
        return key in self._known or SYNONYMS.get(key) in self._known

    def nearest(self, text: str, count: int = 3) -> list[str]:
        """Labels and names spelt most like a text, best first (for error messages)."""
        near = difflib.get_close_matches(words(text), list(self._known), n=count, cutoff=0.5)
        return [self._known[key] for key in near]

    @property
    def takes_examples(self) -> bool:
        """Whether the file carries an example encoder."""
        return self.encoder is not None

    @torch.no_grad()
    def encode(self, clips: Sequence[Clip]) -> np.ndarray:
        """The prompt of one or several clips of a sound: float32 `(prompt_size,)`.

        Clips weigh equally, whatever their lengths.

        Raises:
            PromptError: no clips, silence throughout, or no encoder in the weights.
        """
        if self.encoder is None:
            raise PromptError(
                "These weights take names, not audio examples. Use one of the names, or tune "
                "a prompt from the clips."
            )
        vectors = [average(self._pieces(clip)) for clip in clips if self._sounds(clip)]
        if not vectors:
            raise PromptError(
                "The example is silent: there is nothing to learn the sound from. "
                "Give a clip in which the sound is heard."
            )
        return average(vectors).numpy().astype(np.float32)

    def _sounds(self, clip: Clip) -> bool:
        return clip.audio.size > 0 and float(np.abs(clip.audio).max()) > _SILENCE

    def _pieces(self, clip: Clip) -> list[torch.Tensor]:
        assert self.encoder is not None
        mono = np.nan_to_num(np.atleast_2d(clip.audio).mean(axis=0).astype(np.float32))
        if float(np.abs(mono).max()) <= _SILENCE:  # sides in opposite phase
            mono = np.atleast_2d(clip.audio)[0].astype(np.float32)
        mono = mono[: round(_LONGEST_SECONDS * clip.sample_rate)]
        if clip.sample_rate != SAMPLE_RATE:
            mono = resample(mono[None], clip.sample_rate, SAMPLE_RATE)[0]
        size = round(PIECE_SECONDS * SAMPLE_RATE)
        count = max(1, math.ceil(mono.size / size))
        padded = np.zeros(count * size, dtype=np.float32)
        padded[: mono.size] = mono
        pieces = padded.reshape(count, size)
        loud = np.sqrt(np.mean(pieces**2, axis=1))
        kept = pieces[loud > max(_SILENCE, 0.03 * float(loud.max()))]
        return list(self.encoder(torch.from_numpy(kept)))

    def _entry(self, name: str) -> tuple[str, np.ndarray]:
        return name, self.labels[name] if name in self.labels else self.names[name]
