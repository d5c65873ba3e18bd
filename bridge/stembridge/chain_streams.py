"""Mixture in at the host's rate and layout, stems out at the same: adapters around streams.

    host rate, C channels          separator's rate              host rate
    feed ──> Resampler ──> pairs ──> stream 0 (0, 1) ──> pairs ──> Resampler ──> take
                                └──> stream 1 (2, 3) ──┘
                                └──> stream 2 (4, 4) ──┘   an odd last channel is doubled
                                                           and averaged on the way back

A stereo separator hears channels in pairs, in the order of the file (in 5.1 these are
left/right, centre/LFE, and the surrounds); mono is doubled, so that its stem does not
depend on a second channel. A mono separator gets one stream for each channel. Each stream
has its own state. The resampling looks ahead, it never shifts: sample i of the stems is
sample i of the mixture. `timings` says when; `latency.latency_samples` turns it into the
delay of the whole.

Time begins with the first sound. Digital silence before it, on all channels and since the
last reset, passes by: its stems are silence at once, and resamplers, frames and windows are
counted from the first sample that is not zero. So the stems of a song do not depend on how
much silence a host plays before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .audio import LARGEST_SAMPLE, leading_silence
from .chain_pump import Pump
from .errors import NotAvailableError
from .latency import BlockTiming, SampleQueue, Timing
from .prompts import Query
from .resample import Resampler
from .separators.base import Mode, Separator, SeparatorStream


class StemStreams:
    """One separator at work on a host's audio. Push-style: looks ahead, delays nothing."""

    def __init__(
        self,
        separator: Separator,
        queries: Sequence[Query],
        mode: Mode,
        sample_rate: int,
        channels: int,
    ) -> None:
        """
        Raises:
            NotAvailableError: if the separator does not know the mode.
            PromptError: for queries of another prompt space.
        """
        if mode not in separator.modes:
            raise NotAvailableError(
                f"The separator {separator.name!r} has no mode {mode!r}. "
                f"Choose one of: {', '.join(separator.modes)}."
            )
        self._queries = len(queries)
        self._channels = channels
        group = separator.channels
        self._groups = [
            [min(first + i, channels - 1) for i in range(group)]
            for first in range(0, channels, group)
        ]
        several = separator.capabilities.several or len(queries) == 1
        self._passes = [list(queries)] if several else [[query] for query in queries]
        # pumps[p][g]: pass p over the queries, group g of channels.
        self.pumps = [
            [Pump(separator, separator.stream(asked, mode)) for _ in self._groups]
            for asked in self._passes
        ]
        self._ready = [
            [SampleQueue((len(asked), group)) for _ in self._groups] for asked in self._passes
        ]
        self._to_separator = Resampler(sample_rate, separator.sample_rate, channels)
        self._to_host = Resampler(separator.sample_rate, sample_rate, len(queries) * channels)
        first = self.streams[0]
        self.timings: list[Timing] = [
            self._to_separator.timing,
            BlockTiming(first.step_samples, first.lookahead_samples),
            self._to_host.timing,
        ]
        self.reset()

    @property
    def streams(self) -> list[SeparatorStream]:
        """All separator streams, to be advanced together with those of other chains."""
        return [pump.stream for row in self.pumps for pump in row]

    @property
    def rate_ratio(self) -> float:
        """Host samples per separator sample."""
        return self._to_host.new_hz / self._to_host.old_hz

    @property
    def resampler_samples(self) -> int:
        """Look-ahead of both resamplers, in host samples."""
        return self._to_separator.lookahead_samples + int(
            self._to_host.lookahead_samples * self.rate_ratio
        )

    @property
    def samples_to_next_step(self) -> int:
        """How many more host samples `feed` needs until `due` grows; at least 1. Before the
        first sound: if it comes at once."""
        first = self.streams[0]
        timing = self._to_separator.timing

        def arrived(fed: int) -> int:
            return int(timing.ready(np.asarray(fed)))

        wanted = max(0, arrived(self._fed)) // first.step_samples + 1
        low, high = 0, 1
        while arrived(self._fed + high) < wanted * first.step_samples:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            enough = arrived(self._fed + middle) >= wanted * first.step_samples
            low, high = (low, middle) if enough else (middle, high)
        return high

    @property
    def swap_position(self) -> int:
        """The host sample from which on the stems will answer for queries set now."""
        waiting = self._ready[0][0].samples
        return self._leading + int((self._separated + waiting) * self.rate_ratio)

    def reset(self) -> None:
        """Forget all audio."""
        self._leading = 0  # host samples of silence before the first sound
        self._leading_taken = 0
        self._fed = 0  # host samples from the first sound on
        self._separated = 0
        self._to_separator.reset()
        self._to_host.reset()
        for pumps, queues in zip(self.pumps, self._ready, strict=True):
            for pump, queue in zip(pumps, queues, strict=True):
                pump.reset()
                queue.clear()

    def set_queries(self, queries: Sequence[Query]) -> None:
        """Replace the queries, as many as before, by the streams' own cross-fade."""
        rest = list(queries)
        for asked, pumps in zip(self._passes, self.pumps, strict=True):
            asked[:] = rest[: len(asked)]
            rest = rest[len(asked) :]
            for pump in pumps:
                pump.stream.set_queries(asked)

    def feed(self, block: np.ndarray) -> None:
        """Take clean float32 `(channels, samples)` and keep it until `advance`."""
        if self._fed == 0:
            silent = leading_silence(block)
            self._leading += silent
            block = block[:, silent:]
        if block.shape[1]:
            self._fed += block.shape[1]
            self._feed_streams(self._to_separator.push(block))

    @property
    def due(self) -> int:
        """Steps that can run now, over all streams."""
        return sum(pump.due for row in self.pumps for pump in row)

    def advance(self) -> None:
        """Run all due steps."""
        for row in self.pumps:
            for pump in row:
                pump.advance()

    def take(self) -> np.ndarray:
        """The stems that became ready: float32 `(queries, channels, ready)`."""
        for pumps, queues in zip(self.pumps, self._ready, strict=True):
            for pump, queue in zip(pumps, queues, strict=True):
                for piece in pump.take():
                    queue.append(piece)
        return self._host_stems(self._to_host.push(self._joined()))

    def flush(self) -> np.ndarray:
        """All stems not yet taken, as many samples as were fed in all; then as new.

        A host that goes on with silence must hear the same, so the filters ring out past the
        end before the stems are cut to length.
        """
        if self._fed == 0:
            silence = self._host_stems(np.zeros((self._queries * self._channels, 0), np.float32))
            self.reset()
            return silence
        open_samples = self._fed - self._to_host.returned
        self._feed_streams(self._to_separator.flush(self._ringing_samples()))
        for pumps, queues in zip(self.pumps, self._ready, strict=True):
            for pump, queue in zip(pumps, queues, strict=True):
                for piece in pump.flush():
                    queue.append(piece)
        last = self._to_host.push(self._joined())
        stems = np.concatenate((last, self._to_host.flush(self._fed)), axis=-1)
        stems = self._host_stems(stems[:, :open_samples])
        self.reset()
        return stems

    def _ringing_samples(self) -> int | None:
        """Samples at the separator's rate until both resamplers are silent; None: none ring."""
        ringing = self._to_separator.lookahead_samples + self._to_host.lookahead_samples
        if ringing == 0:
            return None
        per_sample = self._to_separator.new_hz / self._to_separator.old_hz
        return math.ceil(self._fed * per_sample) + 2 * math.ceil(ringing * max(1.0, per_sample))

    def _feed_streams(self, audio: np.ndarray) -> None:
        if audio.shape[1]:
            for row in self.pumps:
                for pump, rows in zip(row, self._groups, strict=True):
                    pump.feed(audio[rows])

    def _joined(self) -> np.ndarray:
        """What all streams have ready, as rows `(queries * channels, samples)`."""
        samples = min(queue.samples for row in self._ready for queue in row)
        if samples == 0:
            return np.zeros((self._queries * self._channels, 0), dtype=np.float32)
        self._separated += samples
        joined = np.empty((self._queries, self._channels, samples), dtype=np.float32)
        first = 0
        for asked, queues in zip(self._passes, self._ready, strict=True):
            for rows, queue in zip(self._groups, queues, strict=True):
                stems = queue.take(samples)
                into = joined[first : first + len(asked)]
                if len(set(rows)) < len(rows):
                    into[:, rows[0]] = stems.mean(axis=1)
                else:
                    into[:, rows] = stems
            first += len(asked)
        # A network that failed must not spread NaN: silence here puts the input into the
        # remainder, so that nothing is lost.
        good = np.abs(joined) <= LARGEST_SAMPLE
        if not good.all():
            joined[~good] = 0.0
        return joined.reshape(self._queries * self._channels, samples)

    def _host_stems(self, rows: np.ndarray) -> np.ndarray:
        """Rows as `(queries, channels, samples)`, behind leading silence that was not taken."""
        stems = rows.reshape(self._queries, self._channels, rows.shape[1])
        silent = self._leading - self._leading_taken
        if silent == 0:
            return stems
        self._leading_taken = self._leading
        return np.concatenate((np.zeros((*stems.shape[:2], silent), np.float32), stems), axis=-1)
