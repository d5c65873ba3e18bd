"""Bands from MIDI: songs cut, transposed, sorted into parts, and rendered in slots.

A song's minute becomes one *slot* of `SLOT_SECONDS` in a long MIDI file, one file per
part and sound font, so that one fluidsynth run renders every song and all parts stay
aligned to the sample. Each slot begins with every channel's controllers, program and
bend reset. The same notes are kept as plain numbers for the sampler.

    slot 0            slot 1            slot 2
    |song a: 60 s|4 s|song b: 60 s|4 s|…      drums.raw, bass.raw, guitar.raw, …
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mido
import numpy as np

from ..errors import AudioError, NotAvailableError
from .pack import SAMPLE_RATE

Message = Any
"""A `mido.Message`, whose attributes exist only at run time."""

SLOT_SECONDS = 64
PLAYED_SECONDS = 60
PARTS = ("drums", "bass", "guitar", "keys", "strings", "winds", "synth")
_TICKS_PER_SECOND = 960  # 480 ticks a beat at 120 beats a minute
_DRUM_KITS = (0, 8, 16, 24, 32, 40)
_FAMILIES = {
    "bass": range(32, 40),
    "guitar": range(24, 32),
    "keys": range(0, 24),
    "strings": range(40, 52),
    "winds": range(56, 80),
    "synth": range(80, 104),
}


@dataclass(frozen=True)
class Note:
    """Start and length in seconds, MIDI pitch (semitones) and velocity (1 to 127)."""

    start_seconds: float
    length_seconds: float
    pitch: int
    velocity: int
    channel: int = 0


@dataclass
class Slot:
    """One song's minute: raw MIDI events by part, and the notes of each part."""

    name: str
    events: dict[str, list[tuple[float, Message]]] = field(default_factory=dict)
    notes: dict[str, list[Note]] = field(default_factory=dict)


def part_of(channel: int, program: int) -> str | None:
    """The part a channel with a program belongs to, None for sound effects."""
    if channel == 9:
        return "drums"
    if program < 24:
        return "keys"
    if program < 32:
        return "guitar"
    if program < 40:
        return "bass"
    if program < 56:
        return "strings"
    if program < 80:
        return "winds"
    return "synth" if program < 112 else None


def read_events(path: Path) -> list[tuple[float, Message]]:
    """All channel messages with their time in seconds; an unreadable file gives none."""
    try:
        song = mido.MidiFile(path, clip=True)
        now, events = 0.0, []
        for message in song:
            now += message.time
            if not message.is_meta and hasattr(message, "channel"):
                events.append((now, message))
    except (OSError, ValueError, EOFError, KeyError, IndexError):
        return []
    return events


def has_band(events: Sequence[tuple[float, Message]], least_notes: int = 40) -> bool:
    """Whether drums, bass and anything else each play at least so many notes."""
    program = [0] * 16
    count = {"drums": 0, "bass": 0, "rest": 0}
    for _, message in events:
        if message.type == "program_change":
            program[message.channel] = message.program
        elif message.type == "note_on" and message.velocity > 0:
            part = part_of(message.channel, program[message.channel])
            if part is not None:
                count[part if part in count else "rest"] += 1
    return min(count.values()) >= least_notes


def cut_slot(name: str, events: Sequence[tuple[float, Message]], rng: np.random.Generator) -> Slot:
    """A random minute of a song: tempo x0.85 to 1.2, transposed by up to 4 semitones, half
    of the programs exchanged within their family."""
    tempo = float(rng.uniform(0.85, 1.2))
    shift = int(rng.integers(-4, 5))
    end = events[-1][0] / tempo
    first = float(rng.uniform(0, max(0.0, end - PLAYED_SECONDS)))
    swap: dict[tuple[int, int], int] = {}
    program = [0] * 16
    program[9] = int(rng.choice(_DRUM_KITS))
    state: dict[tuple[int, str, int], Message] = {}
    slot = Slot(name, {part: [] for part in PARTS}, {part: [] for part in PARTS})
    sounding: dict[tuple[int, int], tuple[float, int, str]] = {}
    started: set[int] = set()

    def exchanged(channel: int, number: int) -> int:
        if channel == 9:
            return program[9]
        if (channel, number) not in swap:
            part = part_of(channel, number)
            replace = part in _FAMILIES and rng.random() < 0.5
            swap[channel, number] = int(rng.choice(_FAMILIES[part])) if replace else number  # type: ignore[index]
        return swap[channel, number]

    def close(channel: int, pitch: int, at: float) -> None:
        begun = sounding.pop((channel, pitch), None)
        if begun is not None:
            start, velocity, part = begun
            slot.notes[part].append(Note(start, max(at - start, 0.02), pitch, velocity, channel))

    for when, message in events:
        at = when / tempo - first
        channel = message.channel
        if message.type == "program_change":
            if channel != 9:
                program[channel] = exchanged(channel, message.program)
                started.discard(channel)
            continue
        if message.type in ("control_change", "pitchwheel"):
            number = getattr(message, "control", -1)
            if number in (0, 32, 91, 93) or number >= 120:
                continue
            state[channel, message.type, number] = message
            part = part_of(channel, program[channel])
            if 0 <= at < PLAYED_SECONDS and channel in started and part is not None:
                slot.events[part].append((at, message.copy(time=0)))
            continue
        if message.type not in ("note_on", "note_off") or at >= PLAYED_SECONDS:
            continue
        part = part_of(channel, program[channel])
        if part is None or at < 0:
            continue
        pitch = message.note if channel == 9 else min(127, max(0, message.note + shift))
        if channel not in started:
            started.add(channel)
            setup = mido.Message("program_change", channel=channel, program=program[channel])
            slot.events[part].append((at, setup))
            for key, kept in state.items():
                if key[0] == channel:
                    slot.events[part].append((at, kept.copy(time=0)))
        if message.type == "note_on" and message.velocity > 0:
            close(channel, pitch, at)
            sounding[channel, pitch] = (at, message.velocity, part)
        else:
            close(channel, pitch, at)
        slot.events[part].append((at, message.copy(note=pitch, time=0)))
    for channel, pitch in list(sounding):
        part = sounding[channel, pitch][2]
        slot.events[part].append(
            (PLAYED_SECONDS, mido.Message("note_off", channel=channel, note=pitch))
        )
        close(channel, pitch, PLAYED_SECONDS)
    return slot


def write_part(slots: Sequence[Slot], part: str, path: Path) -> None:
    """All slots of one part as one MIDI file, each slot reset at its start."""
    timed: list[tuple[float, Message]] = []
    for number, slot in enumerate(slots):
        base = number * SLOT_SECONDS
        for channel in range(16):
            for control in (123, 121):  # all notes off, reset all controllers
                reset = mido.Message("control_change", channel=channel, control=control)
                timed.append((base, reset))
            for control, value in ((7, 100), (10, 64), (11, 127)):
                timed.append(
                    (
                        base,
                        mido.Message(
                            "control_change", channel=channel, control=control, value=value
                        ),
                    )
                )
            timed.append((base, mido.Message("pitchwheel", channel=channel)))
        timed.extend((base + at, message) for at, message in slot.events[part])
    timed.append(
        (len(slots) * SLOT_SECONDS, mido.Message("control_change", control=123, channel=0))
    )
    timed.sort(key=lambda pair: pair[0])
    track = mido.MidiTrack()
    last = 0
    for at, message in timed:
        tick = round(at * _TICKS_PER_SECOND)
        track.append(message.copy(time=tick - last))
        last = tick
    song = mido.MidiFile(ticks_per_beat=480)
    song.tracks.append(track)
    song.save(path)


def render(midi: Path, font: Path, out: Path) -> None:
    """Render a MIDI file to raw interleaved stereo int16 at `SAMPLE_RATE`.

    Raises:
        NotAvailableError: without fluidsynth.
        AudioError: when fluidsynth fails.
    """
    aside = out.with_suffix(".part")
    command = ["fluidsynth", "-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "0.35"]
    command += ["-r", str(SAMPLE_RATE), "-T", "raw", "-O", "s16", "-F", str(aside)]
    command += [str(font), str(midi)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise NotAvailableError(
            "Training renders MIDI with fluidsynth, which is not installed. "
            "Install the packages fluidsynth and fluid-soundfont-gm."
        ) from error
    if done.returncode != 0 or not aside.exists():
        words = done.stderr.decode(errors="replace").strip()
        raise AudioError(f"fluidsynth could not render {midi} with {font}: {words}")
    aside.rename(out)


def find_fonts() -> list[Path]:
    """The General MIDI sound fonts of the system, largest first, one per content."""
    found: dict[Path, int] = {}
    for folder in ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts"):
        for path in sorted(Path(folder).glob("*.sf[23]")):
            real = path.resolve()
            found[real] = real.stat().st_size
    return sorted(found, key=lambda path: -found[path])
