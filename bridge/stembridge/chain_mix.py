"""From stems to what is heard: roles, gains and effects of one preset, without any delay.

A `Voice` is one preset's way through the chain. It is told stems and the dry input by
their position in the stream, so every fade is a function of the sample's index and the
result does not depend on how the audio is cut into blocks. Nothing here jumps: gains
ramp, and a preset swap cross-fades roles, gains and effects from the sample on at which
the separator starts to answer for the new prompts. Effects begin with the first sound since
a reset, so that a sweep does not depend on the silence before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .audio import db_to_gain, leading_silence
from .errors import PresetError
from .prompts import Query

if TYPE_CHECKING:
    import pedalboard

    from .presets import EffectSpec, Output

FADE_SECONDS = 0.02
EFFECT_BLOCK_SAMPLES = 8192


class Ramp:
    """A value over time: constant but for linear fades. Exact for every way of cutting."""

    def __init__(self, value: float) -> None:
        self._times = [0.0]
        self._values = [float(value)]

    @property
    def goal(self) -> float:
        """Where it is, or is on its way to."""
        return self._values[-1]

    def go(self, value: float, start: int, length: int) -> None:
        """Fade to `value` within `length` samples from sample `start` on; what was planned
        for later is dropped."""
        now = float(np.interp(start, self._times, self._values))
        kept = [i for i, time in enumerate(self._times) if time < start]
        self._times = [self._times[i] for i in kept] + [float(start), float(start + length)]
        self._values = [self._values[i] for i in kept] + [now, float(value)]

    def at(self, start: int, samples: int) -> float | np.ndarray:
        """The values for samples from `start` on: a number where constant, else float32
        `(samples,)`. Earlier times are forgotten."""
        while len(self._times) > 1 and self._times[1] <= start:
            del self._times[0], self._values[0]
        end = start + samples
        inside = [v for t, v in zip(self._times[1:], self._values[1:], strict=True) if t < end]
        if all(value == self._values[0] for value in inside) and (
            len(self._times) == 1 + len(inside) or self._values[1 + len(inside)] == self._values[0]
        ):
            return self._values[0]
        times = np.arange(start, end)
        return np.interp(times, self._times, self._values).astype(np.float32)


class Rack:
    """A preset's pedalboard effects as one stream. Delays nothing.

    More than two channels run in pairs, each with its own effects, since some effects know
    only stereo. A pedalboard plugin forgets its state when a longer block than ever before
    arrives, and takes two samples of stereo for stereo samples of two; showing it one
    full-length block of silence first prevents both.
    """

    def __init__(self, effects: tuple[EffectSpec, ...], sample_rate: int, channels: int) -> None:
        """Raises PresetError for an effect that delays the audio."""
        self.effects = effects
        self._sample_rate = sample_rate
        self._channels = channels
        self.reset()

    def reset(self) -> None:
        """Fresh effects without any memory."""
        self._pairs: list[tuple[slice, list[pedalboard.Plugin]]] = []
        if not self.effects:
            return
        for first in range(0, self._channels, 2):
            rows = slice(first, min(first + 2, self._channels))
            plugins = [effect.build(self._sample_rate) for effect in self.effects]
            silence = np.zeros((rows.stop - rows.start, EFFECT_BLOCK_SAMPLES), dtype=np.float32)
            for plugin in plugins:
                if self._run(plugin, silence).shape != silence.shape:
                    raise PresetError(
                        f"The effect {type(plugin).__name__} delays the audio, which a preset "
                        "cannot do. Remove it, or use it after the preset in a Board."
                    )
            self._pairs.append((rows, plugins))

    def process(self, audio: np.ndarray) -> np.ndarray:
        """Float32 `(channels, samples)` to the same shape."""
        if not self._pairs or audio.shape[1] == 0:
            return audio
        out = np.empty_like(audio)
        for rows, plugins in self._pairs:
            for start in range(0, audio.shape[1], EFFECT_BLOCK_SAMPLES):
                piece = np.ascontiguousarray(audio[rows, start : start + EFFECT_BLOCK_SAMPLES])
                for plugin in plugins:
                    piece = self._run(plugin, piece)
                out[rows, start : start + piece.shape[1]] = piece
        # An effect that blew up must not take loudspeakers with it.
        return out if np.isfinite(out).all() else np.nan_to_num(out, posinf=0.0, neginf=0.0)

    def _run(self, plugin: pedalboard.Plugin, piece: np.ndarray) -> np.ndarray:
        return plugin.process(piece, self._sample_rate, EFFECT_BLOCK_SAMPLES, reset=False)


@dataclass
class Mix:
    """What is heard of a separation: the choice, two gains, and effects after them."""

    output: Output = "target"
    target_gain_db: float = 0.0
    remainder_gain_db: float = 0.0
    effects: tuple[EffectSpec, ...] = ()

    @property
    def gains(self) -> tuple[float, float]:
        """Linear gains of target and remainder; 1, 1 in a "mix" is the input itself."""
        target = 0.0 if self.output == "remainder" else db_to_gain(self.target_gain_db)
        remainder = 0.0 if self.output == "target" else db_to_gain(self.remainder_gain_db)
        return target, remainder


class Voice:
    """One preset in the chain: its query, roles, gains and effects. Delays nothing.

    `inverted` is for presets that only remove: the separator is asked for what is to be
    removed, and the target is the input minus that, in full band at the host's rate.
    """

    def __init__(self, query: Query, mix: Mix, sample_rate: int, channels: int) -> None:
        self._sample_rate = sample_rate
        self._channels = channels
        self.fade_samples = max(1, round(FADE_SECONDS * sample_rate))
        self.query = query
        self.mix = mix
        self.reset()

    @property
    def asked(self) -> Query:
        """The query that goes to the separator: always with something to keep."""
        query = self.query
        return query if query.keep else Query(keep=query.remove, label=query.label)

    def reset(self, position: int = 0) -> None:
        """Forget audio and fades; what was asked for last holds from `position` on."""
        target, remainder = self.mix.gains
        self._position = position
        self._sounding = False  # whether something was heard since the reset
        self._inverted = Ramp(0.0 if self.query.keep else 1.0)
        self._target_gain, self._remainder_gain = Ramp(target), Ramp(remainder)
        self._rack = Rack(self.mix.effects, self._sample_rate, self._channels)
        self._next_racks: list[tuple[int, Rack]] = []

    def swap(self, query: Query, mix: Mix, position: int) -> None:
        """Become another preset by a fade that begins at sample `position` of the stream."""
        if mix.effects != self.mix.effects or self._next_racks:
            rack = Rack(mix.effects, self._sample_rate, self._channels)
            self._next_racks = [(at, r) for at, r in self._next_racks if at < position]
            self._next_racks.append((position, rack))
        self.query, self.mix = query, mix
        self._inverted.go(0.0 if query.keep else 1.0, position, self.fade_samples)
        self._fade_gains(position)

    def set_mix(
        self,
        output: Output | None = None,
        target_gain_db: float | None = None,
        remainder_gain_db: float | None = None,
    ) -> None:
        """Change the choice or the gains, from the next sample heard on."""
        wanted = Mix(
            self.mix.output if output is None else output,
            self.mix.target_gain_db if target_gain_db is None else float(target_gain_db),
            self.mix.remainder_gain_db if remainder_gain_db is None else float(remainder_gain_db),
            self.mix.effects,
        )
        _ = wanted.gains  # refuses what is no gain before anything changes
        self.mix = wanted
        self._fade_gains(self._position)

    def split(self, dry: np.ndarray, stem: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Target and remainder `(channels, samples)` from sample `start` on.

        Target + remainder is the dry input: remainder = dry - stem is rounded once, and
        target = dry - remainder then needs no rounding at all wherever the stem is not
        louder than the input (Dekker 1971, the fast two-sum).
        """
        inverted = self._inverted.at(start, dry.shape[1])
        if isinstance(inverted, np.ndarray):
            wanted = stem + inverted * (dry - stem - stem)
        else:
            wanted = stem if inverted == 0.0 else dry - stem
        remainder = dry - wanted
        return dry - remainder, remainder

    def finish(self, target: np.ndarray, remainder: np.ndarray, start: int) -> np.ndarray:
        """What is heard of `(channels, samples)` from sample `start` on. Blocks come in order."""
        samples = target.shape[1]
        self._position = start + samples
        target_gain = self._target_gain.at(start, samples)
        remainder_gain = self._remainder_gain.at(start, samples)
        mixed = _scaled(target, target_gain) + _scaled(remainder, remainder_gain)
        if self._sounding:
            return self._through_racks(mixed, start)
        # Target and remainder add up to the input: both are silent as long as that is.
        silent = min(leading_silence(target), leading_silence(remainder))
        if silent == samples:
            return mixed
        self._sounding = True
        heard = self._through_racks(np.ascontiguousarray(mixed[:, silent:]), start + silent)
        return np.concatenate((mixed[:, :silent], heard), axis=1)

    def _fade_gains(self, position: int) -> None:
        target, remainder = self.mix.gains
        if target != self._target_gain.goal:
            self._target_gain.go(target, position, self.fade_samples)
        if remainder != self._remainder_gain.goal:
            self._remainder_gain.go(remainder, position, self.fade_samples)

    def _through_racks(self, mixed: np.ndarray, start: int) -> np.ndarray:
        """Run the effects; while one rack takes over from another, both run."""
        while self._next_racks and self._next_racks[0][0] + self.fade_samples <= start:
            self._rack = self._next_racks.pop(0)[1]
        out = self._rack.process(mixed)
        for at, rack in self._next_racks:
            first = max(0, at - start)
            if first >= mixed.shape[1]:
                break
            fresh = rack.process(np.ascontiguousarray(mixed[:, first:]))
            times = np.arange(start + first, start + mixed.shape[1])
            share = np.clip((times - at) / self.fade_samples, 0.0, 1.0).astype(np.float32)
            out = out.copy() if out is mixed else out
            out[:, first:] += share * (fresh - out[:, first:])
        return out


def _scaled(audio: np.ndarray, gain: float | np.ndarray) -> np.ndarray:
    if isinstance(gain, np.ndarray):
        return audio * gain
    return audio if gain == 1.0 else audio * np.float32(gain)
