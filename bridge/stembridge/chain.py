"""The one chain that every face uses: mixture in, target and remainder out, as a stream.

    feed ─┬─ sanitize ─> StemStreams (resampling, pairs of channels, separator) ─┐
          └─ dry ──────────────── waits for its stems ───────────────────────────┴─> take
                                                                     target, remainder │
          what is heard  <── effects <── gains and choice <── finish <─────────────────┘

Command line, Python effect and server call these same steps, so a preset gives the same
samples everywhere. Invariants:
- Everything is aligned with the input from its first sample; `push` and `flush` return as
  many samples as went in. `process` instead answers each block at once, late by the
  constant `latency_samples`.
- target + remainder is the (cleaned) input at the host's rate. What lies above the
  separator's range is in the remainder; for a preset that only removes, in the target.
- The samples do not depend on the sizes of the blocks, nor on how much digital silence comes
  before the first sound: separator and effects begin with the first sample that is not zero.
- Memory is that of the blocks and of the latency, however long the input is.
A chain belongs to one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .audio import SMALLEST_NORMAL, check_block, check_channels, check_sample_rate, sanitize
from .chain_block import ChainBlock, joined
from .chain_mix import Voice
from .chain_presets import (
    common_mode,
    encode_preset,
    encode_query,
    mix_of,
    separator_key,
    separator_of,
)
from .chain_streams import StemStreams
from .chain_timing import ChainTiming, chain_latency
from .errors import PresetError
from .latency import FixedLatency, SampleQueue
from .prompts import Query
from .separators import Mode, Separator

if TYPE_CHECKING:
    from .presets import Output, Preset

__all__ = ["ChainBlock", "SeparationChain", "encode_preset", "separator_of"]

PUSH_SECONDS = 10
"""Longer pushes are worked through in pieces, so that working memory stays bounded."""


class SeparationChain(ChainTiming):
    """Separator, resampling, channels, remainder, gains and effects as one stream.

    `push` looks ahead and delays nothing; `process` delays by `latency_samples`.

    Args:
        what: a preset, or a bare query for tests and tools; or a list of them, which share
            one pass of one separator. A list adds a leading axis to all results.
        sample_rate: of the host, in Hz. Any whole number from 1 to 768 kHz.
        channels: of the host; see `chain_streams` for more than two.
        mode: "live", "mix" or "render"; by default the preset's own, else "render".
        separator: a built one; by default the preset's, by name.

    Raises:
        PresetError: for presets that need different separators, options or modes.
        NotAvailableError: for a separator or mode that is not to be had here.
        AudioError: for an impossible rate or number of channels.
    """

    def __init__(
        self,
        what: Preset | Query | Sequence[Preset | Query],
        sample_rate: float,
        channels: int,
        *,
        mode: Mode | None = None,
        separator: Separator | None = None,
    ) -> None:
        self.sample_rate = check_sample_rate(sample_rate)
        self.channels = check_channels(channels)
        self._several = isinstance(what, Sequence)
        wanted: list[Preset | Query] = list(what) if isinstance(what, Sequence) else [what]
        if not wanted:
            raise PresetError("No preset to separate. Give at least one.")
        self._separator_key = separator_key(wanted)
        self._mode_given = mode is not None
        self.mode: Mode = mode or common_mode(wanted)
        self.separator = separator or separator_of(wanted)
        self._voices = [
            Voice(encode_query(item, self.separator), mix_of(item), self.sample_rate, self.channels)
            for item in wanted
        ]
        self._stems = StemStreams(
            self.separator,
            [voice.asked for voice in self._voices],
            self.mode,
            self.sample_rate,
            self.channels,
        )
        self.latency_samples = chain_latency(self.sample_rate, self.separator, self.streams[0])
        self._dry = SampleQueue((self.channels,))
        # Target and remainder travel through one queue: (2, presets, channels, samples).
        self._delayed = FixedLatency(
            self._push_pair,
            (2, len(wanted), self.channels),
            self.latency_samples,
        )
        self.reset()

    # --- the separator's side --------------------------------------------------------

    def feed(self, block: np.ndarray) -> None:
        """Take float `(channels, samples)`; nothing is separated before `advance`.

        Raises:
            AudioError: for another shape, or integers.
        """
        if self._ended:
            self.reset()
        clean = sanitize(check_block(block, self.channels))
        self._dry.append(clean)
        self._stems.feed(clean)

    @property
    def due(self) -> int:
        """Separator steps that are ready to run, over all streams."""
        return self._stems.due

    def advance(self) -> None:
        """Run all due steps (or hand `streams` to the separator's `advance`)."""
        self._stems.advance()

    def take(self) -> ChainBlock:
        """What became ready since the last time."""
        return self._public(self._split(self._stems.take()))

    # --- the faces' side -------------------------------------------------------------

    def push(self, block: np.ndarray) -> ChainBlock:
        """Take float `(channels, samples)` of any size, return what is ready, aligned."""
        return self._public(self._push(check_block(block, self.channels)))

    def flush(self) -> ChainBlock:
        """Return the rest, so that as much is out as went in; then the chain is as new.

        The block's `finish` may follow; effects and gains start afresh at the next push.
        """
        rest = self._split(self._stems.flush())
        self._dry.clear()
        self._position = 0
        self._ended = True
        return self._public(rest)

    def finish(self, block: ChainBlock) -> np.ndarray:
        """What is heard: choice, gains and effects on a block of `take`, `push` or `flush`.

        Blocks come in order, each once. Returns the shape of `block.target`.
        """
        start = block.start_samples
        if not self._several:
            return self._voices[0].finish(block.target, block.remainder, start)
        pairs = zip(self._voices, block.target, block.remainder, strict=True)
        return np.stack([voice.finish(t, r, start) for voice, t, r in pairs])

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take a block, return as many samples, late by `latency_samples`, as heard.

        For real time; do not mix with `push` on one chain without a `reset` between.
        """
        pair = self._delayed.process(check_block(block, self.channels))
        start = self._heard - self.latency_samples
        self._heard += pair.shape[-1]
        return self.finish(self._public(ChainBlock(start, pair[0], pair[1])))

    def reset(self, start_samples: int = 0) -> None:
        """Forget all audio, keep presets and gains. The next sample fed has this position."""
        self._stems.reset()
        self._dry.clear()
        self._delayed.reset()
        self._position = start_samples
        self._heard = start_samples
        self._ended = False
        self._base = start_samples
        for voice in self._voices:
            voice.reset(start_samples)

    # --- changes while it runs -------------------------------------------------------

    def can_swap(self, preset: Preset | Query) -> bool:
        """Whether `set_preset` can do it, or a new chain with another latency is needed."""
        key = separator_key([preset])
        mode = None if isinstance(preset, Query) else preset.mode
        same_key = key is None or self._separator_key is None or key == self._separator_key
        return same_key and (self._mode_given or mode is None or mode == self.mode)

    def set_preset(self, preset: Preset | Query, index: int = 0) -> None:
        """Swap the preset while running; prompts, roles, gains and effects cross-fade.

        Heard as soon as the separator answers for it; the latency stays. Prompts are encoded
        before anything changes, and remembered: encode slow ones ahead with `encode_preset`.

        Raises:
            PresetError: for another separator, other options or another mode.
        """
        if not self.can_swap(preset):
            raise PresetError(
                f"The preset {getattr(preset, 'name', '')!r} needs another separator, other "
                "options or another mode, and so another latency. Build a new chain for it."
            )
        voice = self._voices[index]
        query, mix = encode_query(preset, self.separator), mix_of(preset)
        asked = [v.asked for v in self._voices]
        asked[index] = query if query.keep else Query(keep=query.remove, label=query.label)
        self._stems.set_queries(asked)
        voice.swap(query, mix, self._base + self._stems.swap_position)

    def set_mix(
        self,
        *,
        output: Output | None = None,
        target_gain_db: float | None = None,
        remainder_gain_db: float | None = None,
        index: int = 0,
    ) -> None:
        """Change what is heard, by a fade of 20 ms from the next sample of `finish` on."""
        self._voices[index].set_mix(output, target_gain_db, remainder_gain_db)

    @property
    def output(self) -> Output:
        """ "target", "remainder" or "mix" of both, of the first preset."""
        return self._voices[0].mix.output

    @output.setter
    def output(self, output: Output) -> None:
        self.set_mix(output=output)

    @property
    def target_gain_db(self) -> float:
        """Gain of the target, minus infinity allowed, of the first preset."""
        return self._voices[0].mix.target_gain_db

    @target_gain_db.setter
    def target_gain_db(self, gain_db: float) -> None:
        self.set_mix(target_gain_db=gain_db)

    @property
    def remainder_gain_db(self) -> float:
        """Gain of the remainder, minus infinity allowed, of the first preset."""
        return self._voices[0].mix.remainder_gain_db

    @remainder_gain_db.setter
    def remainder_gain_db(self, gain_db: float) -> None:
        self.set_mix(remainder_gain_db=gain_db)

    # --- inside; arrays always have the leading axis ----------------------------------

    def _push(self, block: np.ndarray) -> ChainBlock:
        pieces = []
        size = PUSH_SECONDS * self.sample_rate
        for start in range(0, max(1, block.shape[1]), size):
            self.feed(block[:, start : start + size])
            self.advance()
            pieces.append(self._split(self._stems.take()))
        return joined(pieces)

    def _push_pair(self, block: np.ndarray) -> np.ndarray:
        ready = self._push(block)
        return np.stack((ready.target, ready.remainder))

    def _split(self, stems: np.ndarray) -> ChainBlock:
        """Join ready stems `(presets, channels, ready)` with the dry input that waited."""
        stems[np.abs(stems) < SMALLEST_NORMAL] = 0.0
        start, samples = self._position, stems.shape[-1]
        dry = self._dry.take(samples)
        target, remainder = np.empty_like(stems), np.empty_like(stems)
        for index, voice in enumerate(self._voices):
            target[index], remainder[index] = voice.split(dry, stems[index], start)
        self._position += samples
        return ChainBlock(start, target, remainder)

    def _public(self, block: ChainBlock) -> ChainBlock:
        return block if self._several else block.of(0)
