"""The sounds of the few-shot benchmark: what training never heard, and what to hide it in.

Three kinds, by what the shipped weights know of them (`training.sounds` says which clips
were kept from training):

| kind | clips | the label |
|---|---|---|
| recording | ESC-10 recordings of the fifth fold, held out | was trained on |
| label | everyday sounds whose whole label is held out | was never heard |
| instrument | General MIDI programs that training never rendered, by a font | was never heard |

The interferers of the test are recordings that tuning does not have (not in its bundled set),
two thirds of them held out from training as well. Everything is drawn with fixed seeds.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile

from stembridge.prompts import Clip
from stembridge.training.sounds import is_held_out

RECORDINGS = ("env-dog-bark", "env-rain", "env-rooster", "env-clock-tick", "env-person-sneeze")
LABELS = ("env-bird", "env-chimeballs", "env-driving")
PROGRAMS = {"bagpipe": 109, "shamisen": 106, "steel drums": 114, "shanai": 111}
"""Training renders programs below 104, and those above in a song that asks for them: none of
its songs asks for these."""
CLIP_SECONDS = 3.0
_TEST_SHARE = 0.4
_SCALE = (0, 2, 4, 5, 7, 9, 11)


@dataclass(frozen=True)
class Sound:
    """Clips of one sound. `heard` counts the last of `few`, which training did hear."""

    name: str
    kind: str
    few: tuple[Clip, ...]
    unseen: tuple[Clip, ...]
    heard: int = 0


def sounds(pack: Path, font: Path | None) -> Iterator[Sound]:
    """All sounds of the benchmark, the kinds in turn; instruments only with a sound font."""
    rows = _rows(pack)
    recorded = [partial(_recorded, pack, rows, label) for label in RECORDINGS]
    labelled = [partial(_labelled, pack, rows, label) for label in LABELS]
    played = [partial(_played, font, *item) for item in PROGRAMS.items()] if font else []
    for three in itertools.zip_longest(recorded, played, labelled):
        yield from (make() for make in three if make is not None)


def interferers(pack: Path, count: int = 36) -> list[Clip]:
    """Sounds to hide in, in which nothing of `sounds` and nothing bundled occurs."""
    rows = [r for r in _rows(pack) if r["label"] not in (*RECORDINGS, *LABELS)]
    rows = [r for r in rows if float(r["dur_s"]) >= 1.0]
    unheard = [r for r in rows if _is_unheard(r)]
    heard = [r for r in rows if not _is_unheard(r) and r["class"] not in ("env", "speech")]
    order = np.random.default_rng(31)
    chosen = [unheard[i] for i in order.permutation(len(unheard))[: count * 2 // 3]]
    kinds = sorted({r["class"] for r in heard})
    for kind in [kinds[i % len(kinds)] for i in range(count - len(chosen))]:
        fitting = [r for r in heard if r["class"] == kind]
        chosen.append(fitting[int(order.integers(len(fitting)))])
    return [_read(pack, row, 10.0) for row in chosen]


def _rows(pack: Path) -> list[dict[str, str]]:
    """The index without what tuning's own bundle of interferers was made of."""
    text = (resources.files("stembridge") / "assets" / "interferers.json").read_text("utf-8")
    bundled = {(s["source"], s["name"]) for s in json.loads(text)["sounds"]}
    with (pack / "index.csv").open(encoding="utf-8", newline="") as handle:
        return [r for r in csv.DictReader(handle) if (r["source"], r["name"]) not in bundled]


def _is_unheard(row: dict[str, str]) -> bool:
    if row["class"] not in ("env", "speech"):
        return False
    who = row["name"].split("-")[0] if row["class"] == "speech" else row["label"]
    return is_held_out(who) or ("ESC-10" in row["source"] and row["name"].startswith("5-"))


def _recorded(pack: Path, rows: list[dict[str, str]], label: str) -> Sound:
    """Two or more unheard recordings to test by; the few begin with the other unheard ones.

    Names read fold-recording-take: takes of one recording are on one side only.
    """
    mine = [r for r in rows if r["label"] == label and "ESC-10" in r["source"]]
    unheard = [r for r in mine if _is_unheard(r)]
    heard = [r for r in mine if not _is_unheard(r)][:8]
    origins = list(dict.fromkeys(r["name"].split("-")[1] for r in unheard))
    test: list[dict[str, str]] = []
    while len(test) < 2:
        origin = origins.pop(0)
        test += [r for r in unheard if r["name"].split("-")[1] == origin]
    few = [r for r in unheard if r not in test]
    return Sound(
        label.removeprefix("env-").replace("-", " "),
        "recording",
        tuple(_read(pack, r) for r in (*few, *heard)),
        tuple(_read(pack, r) for r in test),
        len(heard),
    )


def _labelled(pack: Path, rows: list[dict[str, str]], label: str) -> Sound:
    """The last recordings to test by; longer ones are cut into clips."""
    mine = [r for r in rows if r["label"] == label and _is_unheard(r)]
    split = len(mine) - max(1, round(_TEST_SHARE * len(mine)))

    def clips(chosen: list[dict[str, str]]) -> tuple[Clip, ...]:
        return tuple(piece for row in chosen for piece in _cut(_read(pack, row, 60.0)))

    name = label.removeprefix("env-").replace("-", " ")
    return Sound(name, "label", clips(mine[:split]), clips(mine[split:]))


def _cut(clip: Clip) -> list[Clip]:
    size = round(CLIP_SECONDS * clip.sample_rate)
    pieces = max(1, clip.audio.shape[1] // size)
    return [
        Clip(clip.audio[:, i * size : (i + 1) * size], clip.sample_rate, f"{clip.label} {i + 1}")
        for i in range(pieces)
    ]


def _played(font: Path, name: str, program: int) -> Sound:
    """Sixteen little melodies, each its own: ten to tune on, six to test by."""
    clips = _melodies(font, program, 16)
    return Sound(name, "instrument", clips[:10], clips[10:])


def _melodies(font: Path, program: int, count: int) -> tuple[Clip, ...]:
    """Melodies of a major scale at random paces and places, rendered in one go."""
    generator = np.random.default_rng(program)
    track = mido.MidiTrack([mido.Message("program_change", program=program, time=0)])
    slot = 5 * 960  # ticks: 5 s at 120 beats a minute, the rest after a melody lets it ring out
    for _ in range(count):
        root, step = int(generator.integers(55, 70)), int(generator.integers(6))
        ticks, left = int(480 * generator.uniform(0.5, 0.9)), slot
        for _ in range(8):
            step = int(np.clip(step + generator.integers(-3, 4), 0, 11))
            note = root + 12 * (step // 7) + _SCALE[step % 7]
            velocity = int(generator.integers(60, 120))
            track.append(mido.Message("note_on", note=note, velocity=velocity, time=0))
            track.append(mido.Message("note_off", note=note, velocity=0, time=ticks))
            left -= ticks
        track.append(mido.Message("control_change", control=1, value=0, time=left))
    song: Any = mido.MidiFile()
    song.tracks.append(track)
    with tempfile.TemporaryDirectory() as folder:
        midi, wave = Path(folder) / "m.mid", Path(folder) / "m.wav"
        song.save(midi)
        words = ["fluidsynth", "-q", "-ni", "-g", "0.6", "-r", "44100", "-F"]
        subprocess.run(
            [*words, str(wave), str(font), str(midi)], check=True, capture_output=True, timeout=300
        )
        audio, rate = soundfile.read(wave, dtype="float32", always_2d=True)
    size = round(CLIP_SECONDS * rate)
    return tuple(
        Clip(audio[start : start + size].T.copy(), rate, f"{i + 1}")
        for i, start in enumerate(range(0, 5 * rate * count, 5 * rate))
    )


def _read(pack: Path, row: dict[str, str], seconds: float = CLIP_SECONDS) -> Clip:
    """The loudest `seconds` of a row, or all of a shorter one."""
    with soundfile.SoundFile(pack / row["chunk"]) as handle:
        handle.seek(round(float(row["start_s"]) * handle.samplerate))
        length = round(float(row["dur_s"]) * handle.samplerate)
        audio = handle.read(length, dtype="float32", always_2d=True).T
        rate = handle.samplerate
    size = round(seconds * rate)
    if audio.shape[1] > size:
        power = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64).sum(axis=0))])
        start = int(np.argmax(power[size:] - power[:-size]))
        audio = audio[:, start : start + size]
    return Clip(np.ascontiguousarray(audio), rate, row["name"])
