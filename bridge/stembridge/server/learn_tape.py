"""The tape: the last seconds of a session's input, for learning what was just heard.

A ring of float32 that is allocated once, by whoever arms it; writing copies a block and
moves two numbers, so the engine can do it on its way. Input that the server lost is silence
of the same length: "ten seconds ago" stays ten seconds ago.

Invariants: memory never grows after the start and never exceeds `MOST_BYTES`; the writer and
the reader hold the session's lock.
"""

from __future__ import annotations

import numpy as np

from .protocol import RequestError

MOST_BYTES = 128 << 20


class Tape:
    """The newest `seconds` of `channels` at `sample_rate` (Hz).

    Raises:
        RequestError: "arguments" when that is more than `MOST_BYTES`.
    """

    def __init__(self, sample_rate: float, channels: int, seconds: float) -> None:
        self.sample_rate = round(sample_rate)
        self.seconds = seconds
        length = max(1, round(seconds * sample_rate))
        if 4 * length * channels > MOST_BYTES:
            most = int(MOST_BYTES / (4 * channels * sample_rate))
            raise RequestError(
                "arguments",
                f"{seconds:g} s of {channels} channels at {round(sample_rate)} Hz are more than "
                f"{MOST_BYTES >> 20} MiB. Arm at most {most} s.",
            )
        self._ring = np.zeros((channels, length), np.float32)
        self._end = 0
        self._held = 0
        self._taped = 0

    @property
    def held_samples(self) -> int:
        """How much is on the tape."""
        return self._held

    @property
    def held_seconds(self) -> float:
        return self._held / self.sample_rate

    @property
    def taped_seconds(self) -> float:
        """How much was put on it in all: the place of "now", which later sound moves on."""
        return self._taped / self.sample_rate

    def fits(self, sample_rate: float, channels: int) -> bool:
        """Whether it can go on with audio of that kind."""
        return (round(sample_rate), channels) == (self.sample_rate, self._ring.shape[0])

    def write(self, audio: np.ndarray, gap_samples: int = 0) -> None:
        """Append float32 `(channels, samples)`, after so many lost samples."""
        if gap_samples > 0:
            self._move(None, gap_samples)
        self._move(audio, audio.shape[1])

    def _move(self, audio: np.ndarray | None, samples: int) -> None:
        length = self._ring.shape[1]
        kept = min(samples, length)
        start = (self._end + samples - kept) % length
        first = min(kept, length - start)
        if audio is None:
            self._ring[:, start : start + first] = 0.0
            self._ring[:, : kept - first] = 0.0
        else:
            newest = audio[:, samples - kept :]
            self._ring[:, start : start + first] = newest[:, :first]
            self._ring[:, : kept - first] = newest[:, first:]
        self._end = (self._end + samples) % length
        self._held = min(length, self._held + samples)
        self._taped += samples

    def cut(self, from_seconds: float, to_seconds: float) -> np.ndarray:
        """A copy from so many seconds ago to so many seconds ago: `(channels, samples)`.

        Raises:
            RequestError: "arguments" for an empty selection or one that the tape has not got.
        """
        start = round(from_seconds * self.sample_rate)
        stop = round(to_seconds * self.sample_rate)
        if start <= stop:
            raise RequestError(
                "arguments",
                f"From {from_seconds:g} s ago to {to_seconds:g} s ago is no stretch of time. "
                "The begin is longer ago than the end.",
            )
        if start > self._held:
            raise RequestError(
                "arguments",
                f"Only the last {self.held_seconds:.1f} s are kept (of {self.seconds:g} s armed), "
                f"{from_seconds:g} s ago is gone or was not recorded. Choose later sound.",
            )
        length = self._ring.shape[1]
        places = np.arange(self._end - start, self._end - stop) % length
        return self._ring[:, places]
