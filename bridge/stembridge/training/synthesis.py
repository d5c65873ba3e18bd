"""Electronic instruments made of nothing: drum machines, synthesizer basses, chords, leads.

Recorded collections hold acoustic kits, played basses and few synthesizers; electronic
songs are made of swept sines, filtered noise and band-limited waves under a moving low-pass
filter. Each row draws one sound of each piece and a pattern of sixteenths that repeats with
small changes, as a sequencer's does. Invariants: mono float32 at `SAMPLE_RATE`, finite,
peak at most 1; the same generator gives the same samples.

    table (cutoffs x 2048 phases)  <- harmonics of the wave x response of the filter
    note = table[cutoff(t), phase(t)] x envelope(t)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import butter, sosfilt

from .pack import SAMPLE_RATE

_PHASES = 2048
_CUTOFFS = 8
_SCALES = ((0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11), (0, 3, 5, 7, 10), (0, 2, 3, 7, 8))
WAVES = ("saw", "square", "pulse", "sine", "organ")
Rng = np.random.Generator


def _time(seconds: float) -> np.ndarray:
    return np.arange(max(8, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE


def _noise(seconds: float, low_hz: float, high_hz: float, rng: Rng) -> np.ndarray:
    band = [max(20.0, low_hz), min(0.49 * SAMPLE_RATE, high_hz)]
    sections = butter(2, band, "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, rng.standard_normal(_time(seconds).size)))


def unit_peak(audio: np.ndarray) -> np.ndarray:
    """Scaled to a peak of 1, float32; silence stays silence."""
    peak = float(np.abs(audio).max(initial=0.0))
    return (audio / peak if peak > 1e-9 else audio).astype(np.float32)


def kick(rng: Rng) -> np.ndarray:
    """A sine that falls to its pitch, with a click."""
    decay = float(rng.uniform(0.06, 0.35))
    at = _time(5 * decay)
    base, sweep = rng.uniform(38, 65), rng.uniform(1, 9)
    hertz = base * (1 + sweep * np.exp(-at / rng.uniform(0.008, 0.05)))
    body = np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE) * np.exp(-at / decay)
    click = rng.standard_normal(at.size) * np.exp(-at / 0.002) * rng.uniform(0, 0.4)
    return unit_peak(np.tanh(rng.uniform(0.8, 5) * (body + click)))


def snare(rng: Rng) -> np.ndarray:
    """A short tone and bright noise; at times a clap of several bursts."""
    decay = float(rng.uniform(0.04, 0.18))
    at = _time(5 * decay)
    noise = _noise(5 * decay, rng.uniform(500, 1500), rng.uniform(6000, 16000), rng)
    if rng.random() < 0.4:
        bursts = sum(
            (at > wait) * np.exp(-np.maximum(at - wait, 0) / 0.006)
            for wait in np.cumsum(rng.uniform(0.007, 0.014, 3))
        )
        return unit_peak(noise * (bursts + 0.7 * np.exp(-at / decay)))
    tone = sum(np.sin(2 * np.pi * hz * at) for hz in rng.uniform(160, 350, 2))
    return unit_peak(tone * np.exp(-at / (0.5 * decay)) * 0.4 + noise * np.exp(-at / decay))


def hat(rng: Rng, decay: float) -> np.ndarray:
    """Noise or six clashing squares, high-passed."""
    at = _time(5 * decay)
    if rng.random() < 0.5:
        ring = _noise(5 * decay, rng.uniform(5000, 9000), 18000, rng)
    else:
        squares = sum(np.sign(np.sin(2 * np.pi * hz * at)) for hz in rng.uniform(2000, 9000, 6))
        sections = butter(2, 7000, "highpass", fs=SAMPLE_RATE, output="sos")
        ring = np.asarray(sosfilt(sections, squares))
    return unit_peak(ring * np.exp(-at / decay))


def blip(rng: Rng) -> np.ndarray:
    """A tom, a rim or a bell: one or two tones with a fall."""
    decay = float(rng.uniform(0.02, 0.2))
    at = _time(5 * decay)
    hertz = float(np.exp(rng.uniform(np.log(90), np.log(1800))))
    fall = 1 + rng.uniform(0, 0.8) * np.exp(-at / 0.03)
    first = np.sin(2 * np.pi * np.cumsum(hertz * fall) / SAMPLE_RATE)
    second = np.sin(2 * np.pi * hertz * rng.uniform(1.2, 2.8) * at)
    return unit_peak((first + rng.uniform(0, 0.7) * second) * np.exp(-at / decay))


def _steps(rng: Rng, busy: float, on: Sequence[int] = ()) -> np.ndarray:
    """Velocities of 16 steps: those in `on`, and others at random."""
    pattern = (rng.random(16) < busy) * rng.uniform(0.3, 1.0, 16)
    pattern[list(on)] = 1.0
    return pattern


def drum_machine(seconds: float, rng: Rng) -> np.ndarray:
    """A beat: four on the floor or broken, with fills; mono `(samples,)`."""
    pieces = [kick(rng), snare(rng), hat(rng, rng.uniform(0.01, 0.04))]
    pieces += [hat(rng, rng.uniform(0.08, 0.3)), blip(rng), blip(rng)]
    straight = rng.random() < 0.5
    bar = [
        _steps(rng, 0.05, (0, 4, 8, 12) if straight else (0, int(rng.choice([6, 7, 10])))),
        _steps(rng, 0.04, (4, 12)) * (rng.random() < 0.9),
        _steps(rng, rng.uniform(0.1, 0.5), range(0, 16, int(rng.choice([1, 2, 4])))),
        _steps(rng, 0.03, (2, 6, 10, 14) if rng.random() < 0.4 else ()),
        _steps(rng, rng.uniform(0, 0.25)) * (rng.random() < 0.6),
        _steps(rng, rng.uniform(0, 0.15)) * (rng.random() < 0.4),
    ]
    levels = np.array([0.8, 0.8, 0.35, 0.35, 0.4, 0.4]) * 10 ** (rng.uniform(-4, 3, 6) / 20)
    step = 60 / rng.uniform(85, 175) / 4
    swing = float(rng.uniform(0, 0.25)) * (rng.random() < 0.4)
    out = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    for number in range(int(seconds / step)):
        at = round((number + swing * (number % 2)) * step * SAMPLE_RATE)
        fill = number % 64 >= 60
        for piece, pattern, level in zip(pieces, bar, levels, strict=True):
            velocity = pattern[number % 16]
            if rng.random() < (0.4 if fill else 0.02):
                velocity = rng.uniform(0, 0.8) * (velocity == 0)
            _add(out, piece, at, float(velocity * level))
    return unit_peak(out)


def _add(out: np.ndarray, sound: np.ndarray, at: int, level: float) -> None:
    count = min(sound.size, out.size - at)
    if count > 0 and level > 0:
        out[at : at + count] += level * sound[:count]


def wave(name: str, hertz: float, rng: Rng) -> np.ndarray:
    """Amplitudes of the harmonics 1, 2, … below 16 kHz of a wave."""
    orders = np.arange(1, max(2, min(_PHASES // 2, int(16000 / hertz))))
    if name == "square":
        return (orders % 2) / orders
    if name == "pulse":
        return np.sin(np.pi * orders * rng.uniform(0.08, 0.4)) / orders
    if name == "sine":
        return 1.0 / orders**4
    if name == "organ":
        return np.exp(-orders / 4) * rng.uniform(0, 1, orders.size)
    return 1.0 / orders


def note(hertz: float, seconds: float, name: str, touch: dict[str, float], rng: Rng) -> np.ndarray:
    """One note under a low-pass filter whose cutoff falls from the note's start."""
    at = _time(seconds + touch["release"])
    amplitudes = wave(name, hertz, rng)
    orders = np.arange(1, amplitudes.size + 1)
    low = max(touch["cutoff"], 0.5 * hertz)
    cutoffs = low * (touch["open"] ** np.linspace(0, 1, _CUTOFFS))[:, None]
    ratio = orders * hertz / cutoffs
    response = 1 / np.sqrt((1 - ratio**2) ** 2 + (ratio / touch["resonance"]) ** 2)
    spectra = np.zeros((_CUTOFFS, _PHASES // 2 + 1), dtype=np.complex128)
    spectra[:, 1 : amplitudes.size + 1] = -1j * amplitudes * response
    tables = np.fft.irfft(spectra, axis=1) * _PHASES / 4
    where = (_CUTOFFS - 1) * np.exp(-at / touch["decay"])
    below = np.minimum(where.astype(int), _CUTOFFS - 2)
    mix = where - below
    envelope = np.minimum(at / touch["attack"], 1.0)
    envelope *= touch["sustain"] + (1 - touch["sustain"]) * np.exp(-at / touch["fade"])
    envelope *= np.clip((seconds + touch["release"] - at) / touch["release"], 0, 1)
    out = np.zeros(at.size)
    for _ in range(int(touch["voices"])):
        bend = 2 ** (rng.normal(0, touch["detune"]) / 12)
        phase = (hertz * bend * at + rng.random()) % 1 * _PHASES
        index = phase.astype(int) % _PHASES
        out += tables[below, index] * (1 - mix) + tables[below + 1, index] * mix
    return (out * envelope / max(1.0, np.abs(out).max(initial=0.0))).astype(np.float32)


def _touch(rng: Rng, slow: bool, bass: bool) -> dict[str, float]:
    return {
        "cutoff": float(np.exp(rng.uniform(np.log(90 if bass else 250), np.log(2500)))),
        "open": float(rng.uniform(1, 12)),
        "resonance": float(rng.uniform(0.6, 5)),
        "decay": float(rng.uniform(0.05, 1.5 if slow else 0.4)),
        "attack": float(rng.uniform(0.1, 0.6)) if slow else float(rng.uniform(0.002, 0.02)),
        "sustain": float(rng.uniform(0.5, 1) if slow else rng.uniform(0, 0.9)),
        "fade": float(rng.uniform(0.08, 0.8)),
        "release": float(rng.uniform(0.2, 1) if slow else rng.uniform(0.01, 0.15)),
        "voices": float(rng.integers(1, 3) if bass else rng.integers(1, 5)),
        "detune": float(rng.uniform(0.02, 0.15)),
    }


def _sequence(
    seconds: float, step: float, rng: Rng, busy: float, play: Callable[[int], np.ndarray]
) -> np.ndarray:
    """Sixteen steps that repeat; `play(number)` makes the sound of a step, once each."""
    pattern = _steps(rng, busy, (0,))
    sounds: dict[int, np.ndarray] = {}
    out = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)
    turn = int(rng.choice([1, 2, 4]))  # bars until the harmony comes round
    for number in range(int(seconds / step)):
        place = number % (16 * turn)
        velocity = pattern[number % 16]
        if velocity > 0 and rng.random() > 0.03:
            if place not in sounds:
                sounds[place] = play(place)
            _add(out, sounds[place], round(number * step * SAMPLE_RATE), float(velocity))
    return unit_peak(out)


def synth_bass(seconds: float, rng: Rng) -> np.ndarray:
    """A bass line of a synthesizer; mono `(samples,)`."""
    step = 60 / rng.uniform(85, 175) / 4
    root, scale = int(rng.integers(26, 40)), _SCALES[int(rng.integers(len(_SCALES)))]
    name = str(
        rng.choice(["saw", "square", "pulse", "sine", "organ"], p=[0.35, 0.2, 0.15, 0.2, 0.1])
    )
    touch = _touch(rng, slow=False, bass=True)
    long = float(rng.uniform(0.6, 4))
    roam = int(rng.integers(1, 5))
    bars = rng.integers(-2, 5, 4)

    def play(place: int) -> np.ndarray:
        degree = int(bars[place // 16]) + (int(rng.integers(0, roam)) if place % 4 else 0)
        octaves, inside = divmod(degree, len(scale))
        pitch = root + 12 * octaves + scale[inside] + 12 * int(rng.random() < 0.12)
        hertz = 440 * 2 ** ((min(pitch, 52) - 69) / 12)
        sound = note(hertz, long * step, name, touch, rng)
        sub = np.sin(2 * np.pi * hertz * np.arange(sound.size) / SAMPLE_RATE)
        return sound + (0.5 * sub * np.abs(sound).max(initial=0.0) * _fade(sound.size)).astype(
            np.float32
        )

    return _sequence(seconds, step, rng, rng.uniform(0.1, 0.6), play)


def _fade(samples: int) -> np.ndarray:
    edge = min(400, samples // 2)
    gain = np.ones(samples)
    gain[:edge] = np.linspace(0, 1, edge)
    gain[samples - edge :] = np.linspace(1, 0, edge)
    return gain


def synth_part(seconds: float, rng: Rng) -> np.ndarray:
    """Chords, broken chords or a lead of a synthesizer; mono `(samples,)`."""
    step = 60 / rng.uniform(85, 175) / 4
    manner = str(rng.choice(["chords", "pad", "broken", "lead"]))
    scale = _SCALES[int(rng.integers(2))]
    root = int(rng.integers(48, 64)) + 12 * (manner in ("lead", "broken"))
    name = str(rng.choice(WAVES, p=[0.45, 0.15, 0.15, 0.1, 0.15]))
    touch = _touch(rng, slow=manner == "pad", bass=False)
    lengths = {"chords": rng.uniform(1, 6), "pad": 16.0, "broken": 1.2, "lead": rng.uniform(1, 4)}
    bars = rng.integers(-3, 5, 4)

    def play(place: int) -> np.ndarray:
        base = int(bars[place // 16])
        whole = manner in ("chords", "pad")
        degrees = [base, base + 2, base + 4] if whole else [base + 2 * int(rng.integers(0, 5))]
        sounds = []
        for degree in degrees:
            octaves, inside = divmod(degree, 7)
            pitch = root + 12 * octaves + scale[inside]
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            sounds.append(note(hertz, lengths[manner] * step, name, touch, rng))
        return np.stack(sounds).sum(axis=0, dtype=np.float32)

    busy = {"chords": 0.15, "pad": 0.0, "broken": 0.8, "lead": 0.3}[manner]
    return _sequence(seconds, step, rng, busy, play)


MAKERS: dict[str, Callable[[float, Rng], np.ndarray]] = {
    "drums": drum_machine,
    "bass": synth_bass,
    "synth": synth_part,
}
"""What is synthesised for a part."""
