"""The library of named sounds: the average encoded clip of every label of the pack.

Labels are the index's own ("env-dog-bark" is "dog bark"); instruments get an entry per
source collection ("emily guitar" by its file's collection would mean nothing to anyone, so
collections are grouped by what they play). Each clip is cut in pieces, encoded, and
averaged; each clip weighs the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch

from ..separators.layers.example_encoder import ExampleEncoder, average
from .pack import SAMPLE_RATE, Clip, Pack
from .prompted import Prompted
from .sampler import piece_of_name
from .sounds import MUSIC_KINDS, SoundMixer, clip_is_held_out

_PIECE = 131072
MOST_CLIPS = 48
COLLECTIONS = {
    "emilyguitar": "acoustic steel guitar",
    "shinyguitar": "clean electric guitar",
    "ganjo": "banjo",
    "SplendidGrandPiano": "grand piano",
    "E-Pianos": "electric piano",
    "double-bass": "double bass",
    "string-cyborgs": "synthetic strings",
    "SoloSax": "saxophone",
    "weresax": "baritone saxophone",
    "war-tuba": "tuba",
    "growlybass": "growling bass guitar",
    "swagbass": "electric bass guitar",
    "meatbass": "double bass",
    "merry-orks": "growls",
    "makam": "a cappella singing",
    "soulx-singer": "solo singing",
    "MuldjordKit": "drum kit",
    "gogodze": "dry drum kit",
}


def label_of(clip: Clip) -> str | None:
    """The library's label of a clip, None where it has none worth a name."""
    if clip.kind == "env":
        return re.sub(r"[-_]+", " ", clip.label.removeprefix("env-")).strip() or None
    if clip.kind == "drum-oneshot":
        piece = piece_of_name(clip.name, clip.source)
        names = {"kick": "kick drum", "snare": "snare drum", "tom": "tom", "closed": "hi hat"}
        names |= {"open": "hi hat", "crash": "crash cymbal", "ride": "ride cymbal"}
        return names.get(piece)
    for word, label in COLLECTIONS.items():
        if word in clip.source:
            if label == "double bass" and clip.kind == "strings":
                return "bowed double bass"
            return label
    if clip.source.startswith("Tonejs") and clip.kind in ("strings", "winds", "keys", "guitar"):
        words = re.sub(r"[\d_#]+|\.\w+$", " ", clip.name).strip().split()
        return " ".join(words[:2]).lower() or None
    return None


@torch.no_grad()
def encode_clip(encoder: ExampleEncoder, audio: np.ndarray) -> torch.Tensor | None:
    """The vector of a mono clip at `SAMPLE_RATE`; None when it is silent."""
    if audio.size == 0 or float(np.abs(audio).max()) < 1e-4:
        return None
    audio = audio[: 10 * SAMPLE_RATE]
    count = -(-audio.size // _PIECE)
    padded = np.zeros(count * _PIECE, dtype=np.float32)
    padded[: audio.size] = audio
    pieces = padded.reshape(count, _PIECE)
    loud = np.sqrt(np.mean(pieces**2, axis=1))
    kept = pieces[loud > 0.03 * float(loud.max())]
    return average(list(encoder(torch.from_numpy(kept))))


def build_library(
    encoder: ExampleEncoder, pack: Pack, *, held_out: bool = True
) -> dict[str, np.ndarray]:
    """Label to vector, float32 `(prompt_size,)`, in alphabetical order.

    Args:
        held_out: also clips that training never heard, as in the file that ships; False
            leaves them out, as the figures by library text must.
    """
    by_label: dict[str, list[torch.Tensor]] = {}
    for clip in pack.clips:
        label = label_of(clip)
        if label is None or (not held_out and clip_is_held_out(clip)):
            continue
        if len(by_label.setdefault(label, [])) >= MOST_CLIPS:
            continue
        vector = encode_clip(encoder, pack.audio(clip))
        if vector is not None:
            by_label[label].append(vector)
    return {
        label: average(vectors).numpy() for label, vectors in sorted(by_label.items()) if vectors
    }


def rows_of_names(
    model: Prompted, sounds: SoundMixer, names: Sequence[str], seed: int, count: int = 24
) -> dict[str, torch.Tensor]:
    """A first vector for named prompts: the mean of encoded clips of their class.

    Names of which there are no recordings are left out.
    """
    encoder = model.encoder
    assert encoder is not None
    rows: dict[str, torch.Tensor] = {}
    for number, name in enumerate(names):
        groups = [
            group
            for kind, each in sounds.by_kind.items()
            for group in each
            if group.name == name or (name == "music" and kind in MUSIC_KINDS)
        ]
        rng = np.random.default_rng([seed, 300 + number])
        vectors = []
        for _ in range(count if groups else 0):
            group = groups[int(rng.integers(len(groups)))]
            recording = group.recordings[int(rng.integers(len(group.recordings)))]
            clip = sounds.crop(recording, _PIECE, rng).mean(axis=0)
            vector = encode_clip(encoder, clip)
            if vector is not None:
                vectors.append(vector)
        if vectors:
            rows[name] = average(vectors)
    return rows
