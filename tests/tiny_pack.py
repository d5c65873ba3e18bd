"""A tiny folder of recordings for the training's tests: tones, clicks and noise, seconds long.

Every class the recipe knows is there, each sound distinct enough to be recognised, with
names that tell pitches as the real collections' do. Chunks are FLAC at 48 kHz, so decoding
and resampling run as they do on the real folder.
"""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import mido
import numpy as np
import soundfile as sf

RATE = 48000


def tone(midi: int, seconds: float, harmonics: int = 4) -> np.ndarray:
    """A plucked tone at a MIDI pitch."""
    at = np.arange(round(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((midi - 69) / 12)
    waves = sum(np.sin(2 * np.pi * hertz * h * at) / h for h in range(1, harmonics + 1))
    return (0.3 * waves * np.exp(-3 * at)).astype(np.float32)


def burst(seconds: float, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A noise burst that dies away."""
    at = np.arange(round(seconds * RATE)) / RATE
    return (0.4 * rng.standard_normal(at.size) * np.exp(-decay * at)).astype(np.float32)


def _clips(rng: np.random.Generator) -> list[tuple[str, str, str, str, np.ndarray]]:
    names = ["c", "db", "d", "eb", "e", "f", "gb", "g", "ab", "a"]
    out = []
    for kind, octave, source in (
        ("bass", 2, "tiny/bass"),
        ("guitar", 3, "tiny/guitar"),
        ("keys", 4, "tiny/keys"),
    ):
        for step, name in enumerate(names):
            sound = tone(12 * (octave + 1) + step, 0.8)
            out.append((kind, kind, source, f"{name}{octave}-mf.flac", sound))
    for index, (piece, decay) in enumerate(
        (("kick", 20), ("snare", 15), ("hihatclosed", 60), ("crash", 4))
    ):
        for take in range(2):
            sound = burst(0.4, decay, rng) * (0.5 + 0.5 * take)
            out.append(("drum-oneshot", "drum-oneshot", "tiny/kit", f"{piece}-{take}.flac", sound))
        del index
    loop = np.concatenate([burst(0.5, 20, rng) for _ in range(16)])
    out.append(("drums-loop", "drums-loop", "tiny/loops", "beat.flac", loop))
    pad = np.concatenate([tone(60, 4, 8), tone(64, 4, 8)])
    out.append(("synth", "synth", "tiny/synths", "pad.flac", pad))
    for take in range(3):
        vowel = tone(57 + take, 3.0, 12)
        out.append(("vocals-singing", "vocals-singing", "tiny/voice", f"ah{take}.flac", vowel))
        out.append(("speech", "speech", "tiny/talk", f"{100 + take}-0.flac", tone(50, 2.0, 16)))
    for label in ("env-hiss", "env-thud", "env-beep", "env-bird", "env-velcro", "env-spring"):
        for take in range(2):
            rings = tone(90 + take, 1.0, 1) if label == "env-beep" else burst(1.0, 2 + take, rng)
            out.append(("env", label, "tiny/world", f"{label}{take}.flac", rings))
    return out


def write_tiny_pack(folder: Path, *, midi: bool = False, seed: int = 3) -> Path:
    """Write the folder and return it. With `midi`, also an archive with one short band."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    audio: list[np.ndarray] = []
    rows = []
    at = 0
    for kind, label, source, name, sound in _clips(rng):
        rows.append(
            ("all.flac", at / RATE, sound.size / RATE, kind, label, "CC0-1.0", source, name)
        )
        audio += [sound, np.zeros(RATE // 20, np.float32)]
        at += sound.size + RATE // 20
    sf.write(folder / "all.flac", np.concatenate(audio), RATE)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["chunk", "start_s", "dur_s", "class", "label", "licence", "source", "name"]
        )
        writer.writerows(rows)
    if midi:
        song = folder / "band.mid"
        write_band(song)
        with tarfile.open(folder / "midi.tar.gz", "w:gz") as archive:
            archive.add(song, "freedoom/band.mid")
        song.unlink()
    return folder


def write_band(path: Path, beats: int = 120) -> None:
    """A song of drums, bass and piano: a note of each on every beat, 120 beats a minute."""
    song = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    song.tracks.append(track)
    track.append(mido.Message("program_change", channel=0, program=33))
    track.append(mido.Message("program_change", channel=1, program=0))
    for beat in range(beats):
        notes = ((9, 36 if beat % 2 else 38), (0, 36 + beat % 5), (1, 60 + beat % 7))
        for channel, pitch in notes:
            track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90))
        for index, (channel, pitch) in enumerate(notes):
            time = 480 if index == 0 else 0
            track.append(mido.Message("note_off", channel=channel, note=pitch, time=time))
    song.save(path)
