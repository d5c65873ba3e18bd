"""The rows of material for every part: what is played, by whom, and through which effects.

A `Job` says how one row is made and carries its own key, from which its random numbers
come, so a row is the same whatever is built before or beside it. `make_row` does the
work: notes or clips in, produced stereo out.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from . import sampler
from .effects import produce
from .pack import SAMPLE_RATE, Clip, Pack
from .songs import PLAYED_SECONDS, SLOT_SECONDS, Note
from .synthesis import MAKERS
from .textures import texture

Way = Literal["font", "sampler", "riff", "clip", "collage", "groove", "synthetic", "texture"]
SHELVES = ("drums", "bass", "guitar", "keys", "strings", "winds", "synth", "vocals")
SAMPLER_SHARE = {"drums": 0.6, "bass": 0.6, "guitar": 0.55, "keys": 0.35, "strings": 0.3}
_KINDS = {
    "drums": ("drums-loop", "drum-oneshot"),
    "bass": ("bass",),
    "guitar": ("guitar",),
    "keys": ("keys",),
    "strings": ("strings",),
    "winds": ("winds",),
    "synth": ("synth",),
    "vocals": ("vocals-singing", "speech"),
}
_LOOP_SECONDS = 6.0
SYNTHETIC_ROWS = 120
"""Most rows of electronic instruments made for each of drums, bass and synth; half as many
as there are of recorded ones where that is fewer."""


@dataclass(frozen=True)
class Job:
    """One row to make. `song` is (pass, slot) for rows that align with others, else None."""

    part: str
    way: Way
    key: str
    seconds: float
    song: tuple[int, int] | None = None
    clips: tuple[Clip, ...] = ()
    notes: tuple[Note, ...] = ()


def generator(seed: int, key: str) -> np.random.Generator:
    """The random numbers that belong to `key` alone."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])


def is_kept(key: str, share: float) -> bool:
    """Whether `key` belongs to the share of the material that is produced."""
    return zlib.crc32(b"share " + key.encode()) % 1000 < 1000 * share


class Material:
    """Everything the jobs need: the pack, rendered songs, banks and kits.

    Args:
        pack: the recordings.
        songs: folder of rendered parts, `<pass>-<part>.raw`.
        notes: per pass, per slot, the notes of each part.
        grooves: drum performances, each a list of notes.
        share: how much of what does not belong to songs to make, 0 to 1.
    """

    def __init__(
        self,
        pack: Pack,
        songs: Path,
        notes: Sequence[Sequence[dict[str, list[Note]]]],
        grooves: Sequence[Sequence[Note]],
        seed: int,
        share: float = 1.0,
    ) -> None:
        self.pack, self.songs, self.notes, self.grooves = pack, songs, notes, grooves
        self.seed, self.share = seed, share
        self._banks: dict[str, list[sampler.Bank]] = {}
        self._kits: list[sampler.Kit] | None = None

    def banks(self, part: str) -> list[sampler.Bank]:
        """The pitched instruments of a part with at least eight samples each."""
        if part not in self._banks:
            by_name: dict[str, sampler.Bank] = {}
            for clip in self.pack.of(*_KINDS[part]):
                pitch = sampler.pitch_of(clip.name, clip.source)
                if pitch is None or clip.duration_seconds > _LOOP_SECONDS:
                    continue
                manner = "dist" if "dist" in clip.name else ""
                name = clip.source + manner
                bank = by_name.setdefault(name, sampler.Bank(name))
                bank.add(self.pack.audio(clip), pitch, sampler.layer_of(clip.name))
            self._banks[part] = [b for b in by_name.values() if len(b.samples) >= 8]
        return self._banks[part]

    def kits(self) -> list[sampler.Kit]:
        """Drum kits by source, MuldjordKit first; cymbals are shared where a kit has none."""
        if self._kits is None:
            raw: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
            for clip in self.pack.of("drum-oneshot"):
                piece = sampler.piece_of_name(clip.name, clip.source)
                raw[clip.source][piece].append(self.pack.audio(clip))
            kits = [
                {piece: sampler.order_hits(hits) for piece, hits in pieces.items()}
                for _, pieces in sorted(raw.items(), key=lambda item: "Muldjord" not in item[0])
            ]
            kits = [kit for kit in kits if {"kick", "snare"} <= kit.keys()]
            for kit in kits[1:]:
                for piece, hits in kits[0].items():
                    kit.setdefault(piece, hits)
            self._kits = kits
        return self._kits

    def jobs(self) -> list[Job]:
        """All rows, in a fixed order."""
        jobs: list[Job] = []
        for number, slots in enumerate(self.notes):
            for slot, parts in enumerate(slots):
                for part, notes in parts.items():
                    if len(notes) < 8:
                        continue
                    key = f"{number}/{slot}/{part}"
                    played = generator(self.seed, key + "/way").random() < SAMPLER_SHARE.get(
                        part, 0.0
                    )
                    way: Way = "sampler" if played and self._can_play(part) else "font"
                    jobs.append(
                        Job(part, way, key, PLAYED_SECONDS, (number, slot), notes=tuple(notes))
                    )
        if self.kits():
            for number, notes in enumerate(self.grooves):
                jobs.append(Job("drums", "groove", f"groove/{number}", 32.0, notes=tuple(notes)))
        for part in SHELVES:
            if part not in ("drums", "vocals"):
                for bank in self.banks(part):
                    for take in range(8):
                        jobs.append(Job(part, "riff", f"riff/{part}/{bank.name}/{take}", 30.0))
            jobs.extend(self._clip_jobs(part))
        for part in MAKERS:
            recorded = sum(job.part == part for job in jobs)
            made = min(SYNTHETIC_ROWS, recorded // 2)
            for number in range(made):
                jobs.append(Job(part, "synthetic", f"synthetic/{part}/{number}", 30.0))
            if part == "synth":
                for number in range(made // 2):
                    jobs.append(Job(part, "texture", f"texture/{number}", 30.0))
        return [job for job in jobs if job.song or is_kept(job.key, self.share)]

    def _can_play(self, part: str) -> bool:
        return bool(self.kits()) if part == "drums" else bool(self.banks(part))

    def _clip_jobs(self, part: str) -> list[Job]:
        jobs = []
        short: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.pack.of(*_KINDS[part]):
            if clip.duration_seconds >= _LOOP_SECONDS and part != "vocals":
                key = f"clip/{clip.chunk}/{clip.start_seconds:g}"
                jobs.append(Job(part, "clip", key, clip.duration_seconds, clips=(clip,)))
            else:
                short[clip.source].append(clip)
        for source, clips in short.items():
            # pitched banks are heard as riffs; loose sounds and voices as collages
            total = sum(clip.duration_seconds for clip in clips)
            speech = clips[0].kind == "speech"
            rows = int(np.clip(total / (120.0 if speech else 25.0), 1, 60))
            if part not in ("vocals",) and any(b.name.startswith(source) for b in self.banks(part)):
                rows = min(rows, 3)
            for take in range(rows):
                chosen = generator(self.seed, f"{part}/{source}/{take}")
                count = min(len(clips), 24)
                picks = tuple(clips[i] for i in chosen.choice(len(clips), count, replace=False))
                key = f"collage/{part}/{source}/{take}"
                jobs.append(Job(part, "collage", key, 30.0, clips=picks))
        return jobs

    def make_row(self, job: Job) -> np.ndarray:
        """The audio of a job: float32 `(2, samples)`, peak at most 0.9."""
        rng = generator(self.seed, job.key)
        samples = round(job.seconds * SAMPLE_RATE)
        if job.way == "font":
            assert job.song is not None
            dry = self._font_part(job.song, job.part, samples)
        elif job.way == "clip":
            dry = self.pack.audio(job.clips[0])[None]
        elif job.way == "collage":
            dry = self._collage(job, samples, rng)[None]
        elif job.way == "synthetic":
            dry = MAKERS[job.part](job.seconds, rng)[None]
        elif job.way == "texture":
            dry = texture(job.seconds, rng)[None]
        elif job.part == "drums":
            kits = self.kits()
            kit = kits[0] if rng.random() < 0.5 else kits[int(rng.integers(len(kits)))]
            dry = sampler.play_drums(job.notes, kit, samples, rng)
        else:
            dry = self._played(job, samples, rng)
        return produce(dry, job.part, rng)

    def _font_part(self, song: tuple[int, int], part: str, samples: int) -> np.ndarray:
        path = self.songs / f"{song[0]}-{part}.raw"
        raw = np.memmap(path, dtype=np.int16, mode="r").reshape(-1, 2)
        start = song[1] * SLOT_SECONDS * SAMPLE_RATE
        return raw[start : start + samples].T.astype(np.float32) / 32768

    def _played(self, job: Job, samples: int, rng: np.random.Generator) -> np.ndarray:
        banks = self.banks(job.part)
        if job.way == "riff":
            name = job.key.split("/", 2)[2].rsplit("/", 1)[0]
            bank = next(bank for bank in banks if bank.name == name)
            notes = riff(job.part, job.seconds, rng)
        else:
            bank = banks[int(rng.integers(len(banks)))]
            notes = list(job.notes)
        touch = sampler.random_touch(job.part, rng)
        if job.part == "guitar" and rng.random() < 0.35:
            notes = sampler.power_chords(notes, rng)
        if job.part == "guitar" and rng.random() < 0.5:  # the part doubled on a second track
            return np.stack([sampler.play(notes, bank, touch, samples, rng) for _ in range(2)])
        return sampler.play(notes, bank, touch, samples, rng)[None]

    def _collage(self, job: Job, samples: int, rng: np.random.Generator) -> np.ndarray:
        out = np.zeros(samples, dtype=np.float32)
        at = 0
        beat = int(SAMPLE_RATE * rng.uniform(0.12, 0.35))
        voice = job.part == "vocals"
        while at < samples:
            clip = self.pack.audio(job.clips[int(rng.integers(len(job.clips)))])
            peak = float(np.abs(clip).max(initial=0.0))
            if peak > 1e-4:
                clip = clip * (0.5 / peak)
                ratio = 2 ** (rng.uniform(-2, 2) / 12) if voice else 2 ** (rng.uniform(-5, 5) / 12)
                count = min(int((clip.size - 1) / ratio), samples - at)
                if count > 32:
                    out[at : at + count] += np.interp(
                        np.arange(count) * ratio, np.arange(clip.size), clip
                    )
                    if voice:
                        at += count
            at += beat * int(rng.integers(1, 5)) if not voice else int(beat * rng.uniform(0, 3))
        return out


def riff(part: str, seconds: float, rng: np.random.Generator) -> list[Note]:
    """An invented line: a walk on a scale, chords, or broken chords at a steady pulse."""
    scale = np.array([(0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)][int(rng.integers(2))])
    root = int(rng.integers(36, 60)) if part != "bass" else int(rng.integers(28, 40))
    pulse = 60 / rng.uniform(70, 150) / int(rng.choice([1, 2, 4], p=[0.3, 0.5, 0.2]))
    manner = "walk" if part in ("bass", "winds") else str(rng.choice(["walk", "chords", "broken"]))
    degree, at, notes = int(rng.integers(0, 7)), 0.0, []
    chord = [0, 2, 4]
    while at < seconds:
        length = pulse * int(rng.choice([1, 1, 2, 4]))
        velocity = int(np.clip(rng.normal(85, 20), 20, 127))
        if rng.random() < 0.12:
            at += length
            continue
        if manner == "walk":
            degree = int(np.clip(degree + rng.integers(-3, 4), -5, 14))
            pitches = [root + 12 * (degree // 7) + int(scale[degree % 7])]
        else:
            if rng.random() < 0.3:
                chord = [c + int(rng.integers(-2, 3)) for c in (0, 2, 4)]
            pitches = [root + 12 * (c // 7) + int(scale[c % 7]) for c in chord]
            if manner == "broken":
                pitches = [pitches[int(rng.integers(len(pitches)))] + 12 * int(rng.integers(0, 2))]
            else:
                length = pulse * int(rng.choice([2, 4, 8]))
        notes += [Note(at, length * rng.uniform(0.6, 1.1), p, velocity) for p in pitches]
        at += length
    return notes
