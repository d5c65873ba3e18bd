"""`Separate`: the chain as an effect for scripts.

    from stembridge import Separate
    vocals = Separate("vocals")(song, 44100)

A thin face: it holds a preset and hands audio to one `SeparationChain`, so it gives the
same samples as the command line and the plugin. pedalboard cannot hold effects written in
Python; `stembridge.Board` holds both kinds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .audio import check_sample_rate, db_to_gain
from .chain import SeparationChain, separator_of
from .effect_base import Effect, Progress, StreamFormat, reporting
from .effect_file import loaded, separate_file
from .errors import AudioError
from .separators import MODES, Mode, Separator

if TYPE_CHECKING:
    from .presets import Output, Preset

__all__ = ["Separate", "separate_file"]


class Separate(Effect):
    """Keep or remove a sound; aligned, looks ahead `latency_samples` when streamed.

    Args:
        preset: a `Preset`, the name of one ("vocals"), or the path of a preset file.
        mode: "live", "mix" or "render"; by default the preset's own, else "render".
        target_gain_db, remainder_gain_db, output: instead of the preset's.
        separator: a built one, instead of the one that the preset names.

    Example:
        >>> karaoke = Separate("vocals", output="mix", target_gain_db=-20.0)

    Raises:
        PresetError: if there is no such preset, or it cannot be used here.
    """

    def __init__(
        self,
        preset: Preset | str | Path = "vocals",
        mode: Mode | None = None,
        *,
        target_gain_db: float | None = None,
        remainder_gain_db: float | None = None,
        output: Output | None = None,
        separator: Separator | None = None,
    ) -> None:
        super().__init__()
        self._separator = separator
        self._chain: SeparationChain | None = None
        self._mode: Mode | None = None if mode is None else _checked_mode(mode)
        self._preset = loaded(preset)
        if target_gain_db is not None:
            self.target_gain_db = target_gain_db
        if remainder_gain_db is not None:
            self.remainder_gain_db = remainder_gain_db
        if output is not None:
            self.output = output

    def __repr__(self) -> str:
        return (
            f"<stembridge.Separate preset={self._preset.name!r} mode={self.mode!r} "
            f"output={self.output!r} target_gain_db={self.target_gain_db} "
            f"remainder_gain_db={self.remainder_gain_db}>"
        )

    @property
    def preset(self) -> Preset:
        """The preset, with the gains and the output as they are now.

        Setting another one (a preset, name or path) while streaming cross-fades; it is a
        `PresetError` if that needs another separator or mode: end the stream first.
        """
        return self._preset

    @preset.setter
    def preset(self, preset: Preset | str | Path) -> None:
        fresh = loaded(preset)
        with self._lock:
            if self.streaming and self._chain is not None:
                self._chain.set_preset(fresh)
            else:
                self._chain = None
            self._preset = fresh

    @property
    def mode(self) -> Mode:
        """ "live", "mix" or "render". Cannot change within a stream, for latency would."""
        return self._mode or self._preset.mode or "render"

    @mode.setter
    def mode(self, mode: Mode) -> None:
        checked = _checked_mode(mode)
        with self._lock:
            if self.streaming and checked != self.mode:
                raise AudioError(
                    "The mode cannot change within a stream, since the latency would. "
                    "Call flush() or reset() first."
                )
            if checked != self.mode:
                self._chain = None
            self._mode = checked

    @property
    def target_gain_db(self) -> float:
        """Gain of the target in dB; float("-inf") removes it."""
        return self._preset.target_gain_db

    @target_gain_db.setter
    def target_gain_db(self, gain_db: float) -> None:
        db_to_gain(gain_db)
        self._set_mix(replace(self._preset, target_gain_db=float(gain_db)))

    @property
    def remainder_gain_db(self) -> float:
        """Gain of the remainder in dB; float("-inf") removes it."""
        return self._preset.remainder_gain_db

    @remainder_gain_db.setter
    def remainder_gain_db(self, gain_db: float) -> None:
        db_to_gain(gain_db)
        self._set_mix(replace(self._preset, remainder_gain_db=float(gain_db)))

    @property
    def output(self) -> Output:
        """What is heard: "target", "remainder", or the "mix" of both with their gains."""
        return self._preset.output

    @output.setter
    def output(self, output: Output) -> None:
        self._set_mix(replace(self._preset, output=output))

    @property
    def latency_samples(self) -> int:
        """By how much a stream's output trails its input at most, in samples at the rate of
        the audio last seen; before any audio, at the separator's own rate."""
        with self._lock:
            chain = self._chain
            if chain is None:
                separator = self._separator or separator_of([self._preset])
                chain = self._build(StreamFormat(separator.sample_rate, separator.channels, 1))
            return chain.latency_samples

    def split(
        self, audio: np.ndarray, sample_rate: float, *, progress: Progress = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Target and remainder of a whole piece, without gains and effects.

        Float32 `(channels, samples)` to two of the same shape, whose sum is the input.
        """
        with self._lock, reporting(progress) as report:
            self.reset()
            block = np.asarray(audio)
            if block.ndim != 2:
                raise AudioError(
                    f"split takes audio of shape (channels, samples), got {block.shape}."
                )
            rate = check_sample_rate(sample_rate)
            self._chain = chain = self._fresh(StreamFormat(rate, block.shape[0], 8192))
            target = np.empty(block.shape, dtype=np.float32)
            remainder = np.empty(block.shape, dtype=np.float32)
            size, total = 2 * rate, block.shape[1]
            for start in range(0, total + size, size):
                last = start >= total
                ready = chain.flush() if last else chain.push(block[:, start : start + size])
                end = ready.start_samples + ready.samples
                target[:, ready.start_samples : end] = ready.target
                remainder[:, ready.start_samples : end] = ready.remainder
                report(min(1.0, (start + size) / max(1, total)))
            return target, remainder

    # --- the hooks of Effect -----------------------------------------------------------

    def _begin(self, asked: StreamFormat) -> None:
        self._chain = self._fresh(asked)

    def _push(self, audio: np.ndarray) -> np.ndarray:
        chain = self._running()
        return chain.finish(chain.push(audio))

    def _end(self) -> np.ndarray:
        chain = self._running()
        return chain.finish(chain.flush())

    def _drop(self) -> None:
        if self._chain is not None:
            self._chain.reset()

    def _running(self) -> SeparationChain:
        if self._chain is None:
            raise AudioError("There is no stream. Call process first.")
        return self._chain

    def _fresh(self, asked: StreamFormat) -> SeparationChain:
        """The chain for this format, as new; built once and kept for the next time."""
        chain = self._chain
        if chain is None or (chain.sample_rate, chain.channels) != (
            asked.sample_rate,
            asked.channels,
        ):
            return self._build(asked)
        chain.reset()
        return chain

    def _build(self, asked: StreamFormat) -> SeparationChain:
        return SeparationChain(
            self._preset,
            asked.sample_rate,
            asked.channels,
            mode=self.mode,
            separator=self._separator,
        )

    def _set_mix(self, preset: Preset) -> None:
        with self._lock:
            self._preset = preset
            if self._chain is not None:
                self._chain.set_mix(
                    output=preset.output,
                    target_gain_db=preset.target_gain_db,
                    remainder_gain_db=preset.remainder_gain_db,
                )


def _checked_mode(mode: str) -> Mode:
    for known in MODES:
        if mode == known:
            return known
    raise AudioError(f"There is no mode {mode!r}. Choose one of: {', '.join(MODES)}.")
