"""Change of sample rate as a stream: exactly aligned, exactly repeatable, any two rates.

Why our own: pedalboard's StreamResampler is chunk-exact, but what it returns is shifted by
a fraction of a sample (0.2 samples from 48 to 44.1 kHz) and up to one sample short; a
remainder formed from that would not be the input minus the target.

The mathematics, in the manner of julius. Let x be sampled at `old` Hz, y wanted at `new`,
both divided by their greatest common divisor. Sample j of y lies at time j * old / new,
counted in samples of x. With h the ideal low-pass below the lower of both Nyquist
frequencies, cut to a finite width by a Kaiser window,

    y[j] = sum over k of  x[k] * h(j * old/new - k)

    h(t) = c * sinc(c t) * kaiser(t / width),   c = rolloff * min(1, new/old),
    width = ZEROS * max(1, old/new)             zero crossings each side, in samples of x

h is symmetric, so the filter itself shifts nothing: alignment is exact by construction,
and the price is look-ahead, `width` samples of x. Output j + new uses the same weights as
output j, shifted by `old` inputs. So a cycle of `new` outputs is cut into *parts* of about
`PART_SAMPLES`, each with its own fixed matrix, and one part is one matrix product:

    part i of cycle c:   x[c * old + first_i - width + 1 ...]  @  (span_i, outputs_i)

Equal samples however the input is cut: a part is only computed whole, and every product of
one part has the same shape (two rows, padded if there is one), so that it is the same
sequence of floating-point operations each time. Small parts also keep the wait short: 0.7
ms, where whole cycles would be 3.3 ms between 44.1 and 48 kHz, and a second for odd rates.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .audio import check_sample_rate
from .latency import BlockTiming, Timing

ZEROS = 64
"""Zero crossings on each side: 1.5 ms of look-ahead at 44.1 kHz."""
ROLLOFF = 0.96
"""Cut-off (-6 dB) relative to the lower Nyquist frequency; flat below 0.9 of it."""
KAISER_BETA = 10.0
"""Stop band below -100 dB."""
PART_SAMPLES = 32
"""Outputs per part; short cycles (2:1) are repeated up to it, so products are worth a call."""


def resample(audio: np.ndarray, old_hz: float, new_hz: float) -> np.ndarray:
    """Resample a whole signal, without delay: float32 `(..., samples)` to `(..., new samples)`.

    `ceil(samples * new_hz / old_hz)` samples come out; sample 0 stays sample 0.
    """
    rows = math.prod(audio.shape[:-1])
    lanes = np.asarray(audio, dtype=np.float32).reshape(rows, audio.shape[-1])
    resampler = Resampler(old_hz, new_hz, rows)
    out = np.concatenate((resampler.push(lanes), resampler.flush()), axis=-1)
    return out.reshape(*audio.shape[:-1], out.shape[-1])


class Resampler:
    """A stream from one rate to another; delays nothing, but looks ahead `lookahead_samples`.

    `push` returns the samples that are certain so far, aligned with the input: sample j of
    all output belongs to the time of input sample `j * old_hz / new_hz`. Equal rates pass
    the samples through untouched.

    Args:
        old_hz, new_hz: whole numbers of Hz.
        lanes: rows resampled side by side, each for itself.

    Shape: `(lanes, samples)` to `(lanes, ready)`, float32.
    """

    timing: Timing
    lookahead_samples: int
    """How many input samples beyond its own time an output needs."""

    def __init__(self, old_hz: float, new_hz: float, lanes: int) -> None:
        self.old_hz, self.new_hz = check_sample_rate(old_hz), check_sample_rate(new_hz)
        self.lanes = lanes
        common = math.gcd(self.old_hz, self.new_hz)
        self._old, self._new = self.old_hz // common, self.new_hz // common
        self._kernel: _Kernel | None = None
        if self._old == self._new:
            self.lookahead_samples = 0
            self.timing = BlockTiming(1)
        else:
            self._kernel = _kernel(self._old, self._new)
            self.lookahead_samples = self._kernel.width
            self.timing = self._kernel
        self.reset()

    def reset(self) -> None:
        """Forget all audio; the next sample pushed is sample 0."""
        self._pushed = 0
        self._returned = 0
        width = self.lookahead_samples
        # Time before the beginning is silence; the buffer starts at sample 1 - width.
        self._buffer = np.zeros((self._pairs, 2, max(0, width - 1)), dtype=np.float32)
        self._buffer_start = 1 - width

    @property
    def returned(self) -> int:
        """Samples returned since the last reset."""
        return self._returned

    @property
    def _pairs(self) -> int:
        return (self.lanes + 1) // 2

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """Take `(lanes, samples)`, return `(lanes, ready)`."""
        if chunk.ndim != 2 or chunk.shape[0] != self.lanes:
            raise ValueError(f"expected ({self.lanes}, samples), got {chunk.shape}")
        if chunk.shape[1] == 0:
            return np.zeros((self.lanes, 0), dtype=np.float32)
        self._pushed += chunk.shape[1]
        kernel = self._kernel
        if kernel is None:
            self._returned += chunk.shape[1]
            return np.asarray(chunk, dtype=np.float32)
        fresh = np.zeros((self._pairs, 2, chunk.shape[1]), dtype=np.float32)
        fresh.reshape(2 * self._pairs, -1)[: self.lanes] = chunk
        buffer = np.concatenate((self._buffer, fresh), axis=-1)
        ready = max(0, kernel.ready_after(self._pushed))
        out = kernel.run(buffer, self._buffer_start, self._returned, ready)
        self._returned = ready
        keep_from = self._returned * self._old // self._new - kernel.width + 1
        self._buffer = buffer[..., keep_from - self._buffer_start :].copy()
        self._buffer_start = keep_from
        return out.reshape(2 * self._pairs, -1)[: self.lanes]

    def flush(self, total_samples: int | None = None) -> np.ndarray:
        """Return the rest, so that `total_samples` have been returned in all; then reset.

        By default these are `ceil(pushed * new_hz / old_hz)`, all whose time lies within
        the input. Time after the end is silence.
        """
        total = total_samples
        if total is None:
            total = -(-self._pushed * self._new // self._old)
        rest = np.zeros((self.lanes, max(0, total - self._returned)), dtype=np.float32)
        done = 0
        while done < rest.shape[1]:
            missing = rest.shape[1] - done
            silence = math.ceil(missing * self._old / self._new) + self.lookahead_samples
            tail = self.push(np.zeros((self.lanes, silence), dtype=np.float32))[:, :missing]
            rest[:, done : done + tail.shape[1]] = tail
            done += tail.shape[1]
        self.reset()
        return rest


def _weights(times: np.ndarray, old: int, new: int) -> np.ndarray:
    """h at `times` (in samples of x), scaled so that each last axis sums to 1 (exact DC)."""
    scale = min(1.0, new / old)
    width = ZEROS / scale
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (times / width) ** 2, 0, None)))
    window[np.abs(times) >= width] = 0
    weights = np.sinc(ROLLOFF * scale * times) * window
    return weights / weights.sum(axis=-1, keepdims=True)


class _Kernel:
    """The shared, immutable weights of one pair of rates, part by part."""

    def __init__(self, old: int, new: int) -> None:
        self.width = width = math.ceil(ZEROS * max(1.0, old / new))
        cycles = max(1, PART_SAMPLES // max(old, new))
        self._inputs, self._outputs = cycles * old, cycles * new
        parts = -(-self._outputs // PART_SAMPLES)
        self._edges = np.arange(parts + 1, dtype=np.int64) * self._outputs // parts
        index = np.arange(self._outputs, dtype=np.int64)
        before = index * old // new  # the input at or before each output, within a cycle
        fraction = (index * old % new) / new
        taps = np.arange(1 - width, width + 1)
        self._matrices: list[np.ndarray] = []
        for begin, end in pairwise(self._edges):
            rows = before[begin:end] - before[begin]
            matrix = np.zeros((int(rows[-1]) + 2 * width, end - begin), dtype=np.float32)
            times = taps[np.newaxis, :] - fraction[begin:end, np.newaxis]
            columns = np.arange(end - begin)[:, np.newaxis]
            matrix[rows[:, np.newaxis] + np.arange(2 * width), columns] = _weights(times, old, new)
            self._matrices.append(matrix)
        # How much must have been pushed for each part of cycle 0 to be certain.
        self._needs = before[self._edges[1:] - 1] + width + 1
        self._starts: list[int] = before[self._edges[:-1]].tolist()
        # The same as plain numbers, for `ready_after` and `run`, which small blocks call often.
        self._part_edges: list[int] = self._edges.tolist()
        self._part_needs: list[int] = self._needs.tolist()

    @property
    def cycle(self) -> tuple[int, int]:
        return self._inputs, self._outputs

    def ready(self, pushed: np.ndarray) -> np.ndarray:
        cycle = (pushed - self._needs[0]) // self._inputs
        parts = np.searchsorted(self._needs, pushed - cycle * self._inputs, side="right")
        return cycle * self._outputs + self._edges[parts]

    def ready_after(self, pushed: int) -> int:
        """`ready` of one number."""
        cycle = (pushed - self._part_needs[0]) // self._inputs
        parts = bisect_right(self._part_needs, pushed - cycle * self._inputs)
        return cycle * self._outputs + self._part_edges[parts]

    def run(self, buffer: np.ndarray, start: int, first: int, last: int) -> np.ndarray:
        """Outputs `first` to `last` (whole parts) of `(pairs, 2, samples)` from input `start`."""
        pairs = buffer.shape[0]
        if first == last:
            return np.empty((pairs, 2, 0), dtype=np.float32)
        row_bytes, pair_bytes = buffer.strides[1], buffer.strides[0]
        cycle = first // self._outputs
        cycles = -(-last // self._outputs) - cycle
        out = np.empty((pairs, 2, cycles, self._outputs), dtype=np.float32)
        for part, matrix in enumerate(self._matrices):
            edge, next_edge = self._part_edges[part], self._part_edges[part + 1]
            begin = -(-(first - edge) // self._outputs)
            end = -(-(last - edge) // self._outputs)
            if end <= begin:
                continue
            offset = begin * self._inputs + self._starts[part] + 1 - self.width - start
            windows = np.ndarray(  # overlapping views of the buffer, only read
                (pairs, end - begin, 2, matrix.shape[0]),
                np.float32,
                buffer,
                4 * offset,
                (pair_bytes, self._inputs * 4, row_bytes, 4),
            )
            products = np.matmul(windows, matrix).transpose(0, 2, 1, 3)
            out[:, :, begin - cycle : end - cycle, edge:next_edge] = products
        skip = first - cycle * self._outputs
        return out.reshape(pairs, 2, -1)[..., skip : skip + last - first]


@lru_cache(maxsize=16)
def _kernel(old: int, new: int) -> _Kernel:
    return _Kernel(old, new)
