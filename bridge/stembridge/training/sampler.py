"""Played parts on recorded samples: pitched banks and drum kits, in float32.

A *bank* is one instrument of the pack: samples with the pitch and the loudness layer that
their names tell. A *kit* holds, per drum piece, hits ordered from soft to loud. Both are
played from the same notes as the sound fonts, so a real bass string stands on a real
song's line. No I/O here: the samples come in, mono, and audio goes out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .pack import SAMPLE_RATE
from .songs import Note

_PITCH = re.compile(r"(?:^|[-_])([a-g])(b|#|-(?=\d))?(\d)(?=[-_.a-z]|$)")
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_LAYERS = {"ppp": 0.1, "pp": 0.2, "p": 0.35, "mp": 0.5, "mf": 0.6, "f": 0.75, "ff": 0.9, "fff": 1.0}
_OCTAVE_TOO_HIGH = ("growlybass", "swagbass")

DRUM_PIECES = {
    "kick": (35, 36),
    "snare": (38, 40, 39),
    "rim": (37,),
    "tom": (41, 43, 45, 47, 48, 50, 58),
    "closed": (42, 22, 44),
    "open": (46, 26),
    "crash": (49, 57, 52, 55),
    "ride": (51, 53, 59),
}
PIECE_LEVEL = {
    "kick": 1.0,
    "snare": 0.9,
    "rim": 0.5,
    "tom": 0.7,
    "closed": 0.28,
    "open": 0.33,
    "crash": 0.5,
    "ride": 0.3,
    "perc": 0.3,
}


def pitch_of(name: str, source: str = "") -> int | None:
    """The MIDI pitch a file name tells ("gb4-f-rr4" is 66), None when it tells none."""
    found = _PITCH.search(name.lower())
    if found is None:
        return None
    step, sign, octave = found.groups()
    pitch = 12 * (int(octave) + 1) + _STEPS[step] + {"b": -1, "#": 1, "-": 1, None: 0}[sign]
    return pitch - 12 if any(word in source for word in _OCTAVE_TOO_HIGH) else pitch


def layer_of(name: str) -> float:
    """The loudness layer a file name tells, 0 to 1; 0.6 when it tells none."""
    stem = name.lower().rsplit(".", 1)[0]
    for word in re.split(r"[-_]", stem):
        if word in _LAYERS:
            return _LAYERS[word]
        if re.fullmatch(r"vl\d", word):
            return int(word[2]) / 4
    ending = re.search(r"\d(p{1,3}|mp|mf|f{1,3})$", stem)
    return _LAYERS[ending.group(1)] if ending else 0.6


def from_onset(audio: np.ndarray) -> np.ndarray:
    """The sample from 2 ms before its first sound on, normalised over its first 0.2 s."""
    loud = np.abs(audio)
    peak = float(loud.max(initial=0.0))
    if peak <= 0:
        return audio[:0]
    start = max(0, int(np.argmax(loud > 0.05 * peak)) - SAMPLE_RATE // 500)
    cut = audio[start:]
    level = float(np.sqrt(np.mean(cut[: SAMPLE_RATE // 5] ** 2)))
    return (cut * (0.1 / max(level, 1e-5))).astype(np.float32)


@dataclass
class Bank:
    """Samples of one instrument, each with its MIDI pitch and layer."""

    name: str
    samples: list[np.ndarray] = field(default_factory=list)
    pitches: list[int] = field(default_factory=list)
    layers: list[float] = field(default_factory=list)

    def add(self, audio: np.ndarray, pitch: int, layer: float) -> None:
        """Add a recording; near-silent ones are left out."""
        cut = from_onset(audio)
        if cut.size > SAMPLE_RATE // 20:
            self.samples.append(cut)
            self.pitches.append(pitch)
            self.layers.append(layer)

    def nearest(self, pitch: float, velocity: float, rng: np.random.Generator) -> int:
        """The sample nearest by |semitones| + 2.5 |layer|, ties broken at random."""
        distance = np.abs(np.asarray(self.pitches) - pitch)
        distance = distance + 2.5 * np.abs(np.asarray(self.layers) - velocity)
        return int(np.argmin(distance + rng.uniform(0, 0.5, distance.size)))


@dataclass(frozen=True)
class Touch:
    """How a song's player holds the instrument."""

    lowest: int
    highest: int
    legato: bool = False
    muted: bool = False
    release_seconds: float = 0.05
    jitter_seconds: float = 0.0


def random_touch(part: str, rng: np.random.Generator) -> Touch:
    """A player for a part: range, legato, palm mute, release and timing."""
    ranges = {"bass": (27, 55), "guitar": (40, 84), "keys": (24, 100), "strings": (28, 90)}
    lowest, highest = ranges.get(part, (34, 90))
    return Touch(
        lowest,
        highest,
        legato=part == "bass" and rng.random() < 0.6,
        muted=part in ("bass", "guitar") and rng.random() < (0.15 if part == "bass" else 0.2),
        release_seconds=float(
            rng.uniform(0.02, 0.09) if part != "keys" else rng.uniform(0.05, 0.4)
        ),
        jitter_seconds=0.012 if part == "guitar" else 0.004,
    )


def play(
    notes: Sequence[Note], bank: Bank, touch: Touch, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Play notes on a bank: float32 `(samples,)`, mono."""
    out = np.zeros(samples, dtype=np.float32)
    ordered = sorted(notes, key=lambda note: note.start_seconds)
    # a recording pitched much further than this no longer sounds like its instrument
    lowest = max(touch.lowest, min(bank.pitches) - 4)
    highest = max(min(touch.highest, max(bank.pitches) + 4), lowest + 11)
    for index, note in enumerate(ordered):
        pitch = note.pitch
        while pitch < lowest:
            pitch += 12
        while pitch > highest:
            pitch -= 12
        velocity = note.velocity / 127
        chosen = bank.nearest(pitch, velocity, rng)
        sample = bank.samples[chosen]
        start_seconds = note.start_seconds + float(rng.uniform(0, touch.jitter_seconds))
        length = note.length_seconds
        if touch.legato and index + 1 < len(ordered):
            gap = ordered[index + 1].start_seconds - note.start_seconds
            if 0.02 < gap < 1.5:
                length = gap
        release = round(touch.release_seconds * SAMPLE_RATE)
        start = round(start_seconds * SAMPLE_RATE)
        ratio = 2.0 ** ((pitch - bank.pitches[chosen]) / 12)
        count = min(
            round(length * SAMPLE_RATE) + release, int((sample.size - 1) / ratio), samples - start
        )
        if count < 32:
            continue
        voice = np.interp(np.arange(count) * ratio, np.arange(sample.size), sample)
        tail = min(release, count)
        voice[count - tail :] *= np.linspace(1, 0, tail)
        if touch.muted:
            voice *= np.exp(-np.arange(count) / (0.12 * SAMPLE_RATE))
        out[start : start + count] += voice * (0.35 + 0.65 * velocity**1.5)
    return out


def power_chords(notes: Sequence[Note], rng: np.random.Generator) -> list[Note]:
    """Low single notes thickened by a fifth (at 0.8) and an octave (at 0.6)."""
    out = list(notes)
    for note in notes:
        if note.pitch < 58:
            for step, share in ((7, 0.8), (12, 0.6)):
                loud = max(1, round(note.velocity * share))
                out.append(Note(note.start_seconds, note.length_seconds, note.pitch + step, loud))
    return out


Kit = dict[str, list[np.ndarray]]
"""Per piece, hits ordered from soft to loud, each normalised over its first 100 ms."""


def order_hits(hits: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sort raw hits by loudness, then cut each to its onset and level it."""
    head = SAMPLE_RATE // 10
    loudness = [float(np.mean(np.square(hit[:head]))) for hit in hits]
    ordered = [hits[i] for i in np.argsort(loudness)]
    out = []
    for hit in ordered:
        cut = from_onset(hit)
        level = float(np.sqrt(np.mean(cut[:head] ** 2))) if cut.size else 0.0
        if level > 0:
            out.append(cut * (0.2 / level))
    return out


def play_drums(
    notes: Sequence[Note], kit: Kit, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Play drum notes on a kit: float32 `(2, samples)`, pieces panned, hats choked."""
    out = np.zeros((2, samples), dtype=np.float32)
    piece_of = {pitch: piece for piece, pitches in DRUM_PIECES.items() for pitch in pitches}
    level = {p: g * 10 ** (rng.uniform(-2, 2) / 20) for p, g in PIECE_LEVEL.items()}
    tuning = {p: 2 ** (rng.uniform(-2.5, 2.5) / 12) for p in PIECE_LEVEL}
    width = rng.uniform(0, 0.8)
    pan = {p: width * rng.uniform(-1, 1) for p in PIECE_LEVEL}
    pan["kick"] = pan["snare"] = 0.0
    curve = rng.uniform(0.8, 1.8)
    ordered = sorted(notes, key=lambda note: note.start_seconds)
    hats = [n.start_seconds for n in ordered if piece_of.get(n.pitch) == "closed"]
    for note in ordered:
        piece = piece_of.get(note.pitch, "perc")
        hits = kit.get(piece) or kit.get("perc") or []
        if not hits:
            continue
        velocity = note.velocity / 127
        wanted = velocity * (len(hits) - 1) + rng.normal(0, 0.08 * len(hits))
        hit = hits[int(np.clip(round(wanted), 0, len(hits) - 1))]
        drop = {41: 0.75, 43: 0.82, 45: 0.9, 47: 0.95, 50: 1.12}.get(note.pitch, 1.0)
        ratio = tuning[piece] * (drop if piece == "tom" else 1.0)
        start = round(note.start_seconds * SAMPLE_RATE)
        count = min(int((hit.size - 1) / ratio), samples - start)
        if piece == "open":
            later = [at for at in hats if at > note.start_seconds + 0.02]
            if later:
                count = min(count, round((later[0] - note.start_seconds + 0.01) * SAMPLE_RATE))
        if count < 32:
            continue
        voice = np.interp(np.arange(count) * ratio, np.arange(hit.size), hit)
        tail = min(count, SAMPLE_RATE // 100)
        voice[count - tail :] *= np.linspace(1, 0, tail)
        if velocity < 0.6:  # softer hits are darker: a one-pole low-pass by a short mean
            voice = 0.5 * (voice + np.concatenate(([0.0], voice[:-1])))
        gain = (0.12 + 0.88 * velocity**curve) * level[piece]
        angle = (pan[piece] + 1) * np.pi / 4
        out[0, start : start + count] += voice * gain * np.cos(angle) * 1.414
        out[1, start : start + count] += voice * gain * np.sin(angle) * 1.414
    return out


def piece_of_name(name: str, source: str) -> str:
    """The drum piece that a one-shot's file name tells, "perc" when it tells none."""
    stem = name.lower().rsplit(".", 1)[0]
    if "gogodze" in source:
        head = stem.split("_")[0]
        return {
            "ks": "kick",
            "sc": "snare",
            "ss": "snare",
            "se": "rim",
            "th": "tom",
            "tm": "tom",
            "tl": "tom",
            "hc": "closed",
            "ht": "closed",
            "hf": "closed",
            "hh": "open",
            "hl": "open",
            "ho": "open",
        }.get(head, "perc")
    if "snarerest" in stem:
        return "perc"
    for words, piece in (
        (("kdrum", "kick", "bd_"), "kick"),
        (("snare", "sn_"), "snare"),
        (("rim", "stick"), "rim"),
        (("hihatclosed", "hihat-closed", "hat_", "hihat-metal", "cymbal_closed"), "closed"),
        (("hihatopen", "hihat-open", "cymbal_open"), "open"),
        (("crash", "china", "splash", "cymbal_hard"), "crash"),
        (("ride",), "ride"),
        (("tom",), "tom"),
    ):
        if any(word in stem for word in words) and "kicking" not in stem and "kickst" not in stem:
            return piece
    return "perc"
