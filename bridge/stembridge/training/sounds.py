"""Sounds for prompts by name and by example: groups of recordings, mixed two at a time.

A *group* holds recordings of one sound: the clips of a label, the takes of an instrument,
the rows of a part. A query clip comes from the same group but another recording where
there is one, else from another place in it. Mixtures are two sounds of different classes
at about equal level, and bands in which one instrument is wanted. Labels whose hash says
so are held out from training, for the test of sounds that were never heard.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .mixer import OTHER_PARTS, Mixer, to_level
from .pack import SAMPLE_RATE, Clip, Pack
from .shelves import Row, Shelf

NAMES = ("guitar", "keys", "strings", "winds", "synth", "speech", "singing", "sfx", "music")
"""Named prompts beyond the stems, in the order of their rows after drums, bass and other."""
_KIND_NAME = {"env": "sfx", "speech": "speech", "vocals": "singing", "vocals-singing": "singing"}
MUSIC_KINDS = (*OTHER_PARTS, "drums", "bass")


@dataclass(frozen=True)
class Recording:
    """Something that can be cropped: a clip of the pack or a row of a shelf."""

    clip: Clip | None = None
    shelf: str = ""
    row: Row | None = None


@dataclass(frozen=True)
class Group:
    """Recordings of one sound. `kind` is its class: two sounds of a mixture differ in it
    (or, among everyday sounds, in the label)."""

    kind: str
    label: str
    recordings: tuple[Recording, ...]

    @property
    def name(self) -> str | None:
        """The named prompt that asks for this class, None where there is none."""
        if self.kind in NAMES:
            return self.kind
        return _KIND_NAME.get(self.kind)


def is_held_out(label: str, share: float = 0.12) -> bool:
    """Whether a label is kept from training, by its own hash alone."""
    return zlib.crc32(label.encode()) % 1000 < share * 1000


def clip_is_held_out(clip: Clip) -> bool:
    """Whether a clip is kept from training: its label or speaker is, or it belongs to the
    fifth fold of ESC-10, which tests other recordings of labels that were trained on."""
    who = clip.name.split("-")[0] if clip.kind == "speech" else clip.label
    return is_held_out(who) or ("ESC-10" in clip.source and clip.name.startswith("5-"))


def make_groups(pack: Pack, shelves: Mapping[str, Shelf], *, held_out: bool) -> list[Group]:
    """All groups of the clips that are held out, or of all others.

    Shelves count as training material only, so with `held_out` they are left out.
    """
    by_label: dict[tuple[str, str], list[Recording]] = {}
    for clip in pack.of("env", "speech"):
        if clip_is_held_out(clip) == held_out and clip.duration_seconds >= 0.25:
            label = clip.name.split("-")[0] if clip.kind == "speech" else clip.label
            by_label.setdefault((clip.kind, label), []).append(Recording(clip=clip))
    if not held_out:
        for part, shelf in shelves.items():
            for row in shelf.rows:
                if part == "vocals" and "speech" in row.key:
                    continue
                label = row.key.rsplit("/", 1)[0] if row.way in ("riff", "collage") else row.key
                recording = Recording(shelf=part, row=row)
                by_label.setdefault((part, label), []).append(recording)
    return [Group(kind, label, tuple(each)) for (kind, label), each in by_label.items()]


class SoundMixer:
    """Draws pairs of sounds and bands with one instrument wanted.

    Args:
        pack, shelves: where the audio is.
        groups: from `make_groups`.
        band: the mixer of bands, for instruments inside music.
    """

    def __init__(
        self, pack: Pack, shelves: Mapping[str, Shelf], groups: Sequence[Group], band: Mixer
    ) -> None:
        self.pack, self.shelves, self.band = pack, dict(shelves), band
        self.by_kind: dict[str, list[Group]] = {}
        for group in groups:
            self.by_kind.setdefault(group.kind, []).append(group)
        self.kinds = sorted(self.by_kind)

    def crop(self, recording: Recording, samples: int, rng: np.random.Generator) -> np.ndarray:
        """A crop that sounds: float32 `(2, samples)`."""
        if recording.row is not None:
            shelf, row = self.shelves[recording.shelf], recording.row
            offset = 0
            for _ in range(6):
                offset = int(rng.integers(0, max(1, row.samples - samples)))
                if shelf.level(row, offset, samples) > 0.01:
                    break
            return shelf.crop(row, offset, samples)
        assert recording.clip is not None
        audio = self.pack.audio(recording.clip)
        out = np.zeros((2, samples), dtype=np.float32)
        if audio.size >= samples:
            best = audio[:samples]
            for _ in range(4):
                offset = int(rng.integers(0, audio.size - samples + 1))
                best = audio[offset : offset + samples]
                if float(np.sqrt(np.mean(best**2))) > 0.25 * float(np.sqrt(np.mean(audio**2))):
                    break
            out[:] = best
        elif audio.size:
            at = int(rng.integers(0, samples - audio.size + 1))
            out[:, at : at + audio.size] = audio
            # short sounds come again, as barks and knocks do
            again = at + audio.size + int(rng.uniform(0.05, 0.6) * SAMPLE_RATE)
            while rng.random() < 0.7 and again + audio.size <= samples:
                out[:, again : again + audio.size] += audio
                again += audio.size + int(rng.uniform(0.05, 0.6) * SAMPLE_RATE)
        if rng.random() < 0.5:
            angle = (rng.uniform(-0.8, 0.8) + 1) * np.pi / 4
            out *= np.array([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32) * 1.414
        return out

    def query(
        self, group: Group, used: Recording, samples: int, rng: np.random.Generator
    ) -> np.ndarray:
        """A mono clip `(samples,)` of the group, another recording where there is one."""
        others = [r for r in group.recordings if r is not used] or [used]
        chosen = others[int(rng.integers(len(others)))]
        return to_level(self.crop(chosen, samples, rng).mean(axis=0), -20.0)

    def pair(
        self, rng: np.random.Generator, samples: int, spread_db: float = 4.0
    ) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        """Two sounds: sources `(2, 2, samples)`, queries `(2, samples)`, their names."""
        kinds = self.kinds
        weights = np.array([3.0 if k == "env" else 1.5 if k == "speech" else 1.0 for k in kinds])
        picks: list[Group] = []
        while len(picks) < 2:
            kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
            groups = self.by_kind[kind]
            group = groups[int(rng.integers(len(groups)))]
            if not picks or (
                group.label != picks[0].label and (kind == "env" or kind != picks[0].kind)
            ):
                picks.append(group)
        sources: list[np.ndarray] = []
        queries: list[np.ndarray] = []
        names: list[str | None] = []
        for group in picks:
            recording = group.recordings[int(rng.integers(len(group.recordings)))]
            audio = self.crop(recording, samples, rng)
            sources.append(to_level(audio, -22 + rng.uniform(-spread_db, spread_db)))
            queries.append(self.query(group, recording, samples, rng))
            names.append(group.name)
        if names[0] == names[1]:
            names = [None, None]  # two of a class: only the examples tell them apart
        elif (picks[0].kind in MUSIC_KINDS) != (
            picks[1].kind in MUSIC_KINDS
        ) and rng.random() < 0.5:
            names = ["music" if g.kind in MUSIC_KINDS else g.name for g in picks]
        return np.stack(sources), np.stack(queries), names

    def band_instrument(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        """An instrument of a band against all else; as `pair`, with the rest as the second
        source, whose name and query are those of another layer if there is one."""
        for _ in range(10):
            sources = self.band.draw(rng)
            layers = [name for name in sources if name in OTHER_PARTS]
            if layers and len(sources) > 1:
                break
        else:
            return self.pair(rng, self.band.recipe.samples)
        name = layers[int(rng.integers(len(layers)))]
        rest = np.sum([audio for key, audio in sources.items() if key != name], axis=0)
        second = "singing" if "vocals" in sources and rng.random() < 0.5 else None
        wanted = [sources[name], sources["vocals"] if second else rest]
        queries = np.stack([to_level(audio.mean(axis=0), -20.0) for audio in wanted])
        whole = np.stack([sources[name], rest])
        if second:  # the vocals are asked for, and the mixture is still the whole band
            return np.stack([*wanted, rest - sources["vocals"]]), queries, [name, second]
        return whole, queries, [name, None]

    def batch(
        self,
        generators: Sequence[np.random.Generator],
        names: Sequence[str],
        band_share: float,
        name_share: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """A training batch, one example per generator.

        Args:
            names: of the prompts' rows.
            band_share: how often one instrument of a band is wanted, else one of two sounds.
            name_share: how often a sound that has a name is asked for by it.

        Returns:
            Sources `(batch, 3, 2, samples)`, the first two wanted; query clips `(batch, 2,
            samples)`; the row that asks for each in their place, or -1; and 1 or 0 for each,
            whether its error counts.
        """
        count, samples = len(generators), self.band.recipe.samples
        audio = np.zeros((count, 3, 2, samples), dtype=np.float32)
        clips = np.zeros((count, 2, samples), dtype=np.float32)
        rows = np.full((count, 2), -1)
        weight = np.ones((count, 2), dtype=np.float32)
        for index, rng in enumerate(generators):
            if rng.random() < band_share:
                sources, queries, called = self.band_instrument(rng)
                weight[index, 1] = called[1] is not None
            else:
                sources, queries, called = self.pair(rng, samples)
            audio[index, : len(sources)], clips[index] = sources, queries
            for which, name in enumerate(called):
                if name is not None and rng.random() < name_share:
                    rows[index, which] = names.index(name)
        return audio, clips, rows, weight
