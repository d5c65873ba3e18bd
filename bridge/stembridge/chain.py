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
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .audio import SMALLEST_NORMAL, check_block, check_channels, check_sample_rate, sanitize
from .chain_mix import Mix, Voice
from .chain_streams import StemStreams
from .errors import PresetError
from .latency import BlockTiming, FixedLatency, SampleQueue, latency_samples
from .prompts import Query
from .resample import Resampler
from .separators import Mode, Separator, SeparatorStream, load_separator
from .separators.auto import resolved

if TYPE_CHECKING:
    from .presets import Output, Preset

PUSH_SECONDS = 10
"""Longer pushes are worked through in pieces, so that working memory stays bounded."""


@dataclass(frozen=True)
class ChainBlock:
    """A piece of the separated stream, float32 `(channels, samples)`.

    In a chain of several presets there is a leading axis, `(presets, channels, samples)`.
    `start_samples` is the position of the first sample in the stream.
    """

    start_samples: int
    target: np.ndarray
    remainder: np.ndarray

    @property
    def samples(self) -> int:
        return self.target.shape[-1]


class SeparationChain:
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
        self._separator_key = _separator_key(wanted)
        self._mode_given = mode is not None
        self.mode: Mode = mode or _common_mode(wanted)
        self.separator = separator or separator_of(wanted)
        self._voices = [
            Voice(_query(item, self.separator), _mix(item), self.sample_rate, self.channels)
            for item in wanted
        ]
        self._stems = StemStreams(
            self.separator,
            [voice.asked for voice in self._voices],
            self.mode,
            self.sample_rate,
            self.channels,
        )
        self.latency_samples = self._latency()
        self._dry = SampleQueue((self.channels,))
        # Target and remainder travel through one queue: (2, presets, channels, samples).
        self._delayed = FixedLatency(
            self._push_pair,
            (2, len(wanted), self.channels),
            self.latency_samples,
        )
        self.reset()

    # --- timing, all in host samples -------------------------------------------------

    def latency_parts(self) -> dict[str, int]:
        """What the latency is made of, which is that of blocks of any size.

        `separator_samples` is its look-ahead, `resampler_samples` that of both rate
        changes, `adaptation_samples` the wait for whole steps. Their sum is the latency.
        Blocks of one size need no less: the first sound, from which steps are counted, may
        come anywhere in a block.
        """
        total = self.latency_samples
        resampler = self._stems.resampler_samples
        separator = int(self.streams[0].lookahead_samples * self._stems.rate_ratio)
        return {
            "separator_samples": separator,
            "resampler_samples": resampler,
            "adaptation_samples": total - separator - resampler,
        }

    @property
    def step_samples_host(self) -> float:
        """The separator's step; not a whole number where rates differ."""
        return self.streams[0].step_samples * self._stems.rate_ratio

    @property
    def samples_to_next_step(self) -> int:
        """How many more host samples must be fed until `due` grows; at least 1. Before the
        first sound: if it comes at once."""
        return self._stems.samples_to_next_step

    @property
    def memory_samples(self) -> int | None:
        """After so much digital silence the output is silent too; None if not known."""
        memory = getattr(self.streams[0], "memory_samples", None)
        if memory is None:
            return None
        return int(memory * self._stems.rate_ratio) + 2 * self._stems.resampler_samples + 1

    # --- the separator's side --------------------------------------------------------

    @property
    def streams(self) -> list[SeparatorStream]:
        """The separator's streams, for who advances several chains in one call."""
        return self._stems.streams

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
        key = _separator_key([preset])
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
        query, mix = _query(preset, self.separator), _mix(preset)
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
        if len(pieces) == 1:
            return pieces[0]
        return ChainBlock(
            pieces[0].start_samples,
            np.concatenate([piece.target for piece in pieces], axis=-1),
            np.concatenate([piece.remainder for piece in pieces], axis=-1),
        )

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
        if self._several:
            return block
        return ChainBlock(block.start_samples, block.target[0], block.remainder[0])

    def _latency(self) -> int:
        stream = self.streams[0]
        return _chain_latency(
            self.sample_rate,
            self.separator.sample_rate,
            stream.step_samples,
            stream.lookahead_samples,
        )


@lru_cache(maxsize=256)
def _chain_latency(host_hz: int, own_hz: int, step: int, lookahead: int) -> int:
    """Host samples; the same stages as in `StemStreams`, whose lanes do not matter here."""
    there, back = Resampler(host_hz, own_hz, 1), Resampler(own_hz, host_hz, 1)
    return latency_samples([there.timing, BlockTiming(step, lookahead), back.timing])


def _query(item: Preset | Query, separator: Separator) -> Query:
    if isinstance(item, Query):
        return item
    return _encoded(item, separator)


@lru_cache(maxsize=64)
def _encoded(preset: Preset, separator: Separator) -> Query:
    """Encoding an example clip takes a while; presets are values and separators never change."""
    from .presets import query_of

    return query_of(preset, separator)


def _mix(item: Preset | Query) -> Mix:
    if isinstance(item, Query):
        return Mix()
    return Mix(item.output, item.target_gain_db, item.remainder_gain_db, item.effects)


def encode_preset(preset: Preset, separator: Separator) -> Query:
    """Encode a preset's prompts and remember the result, so that chains need not wait for it.

    Thread-safe; raises PresetError for prompts that the separator cannot take.
    """
    return _encoded(preset, separator)


SeparatorKey = tuple[str, tuple[tuple[str, object], ...]]


def _separator_key(items: Sequence[Preset | Query]) -> SeparatorKey | None:
    """Separator and options that all the presets need; None if there are only queries."""
    keys: dict[SeparatorKey, str] = {}
    for item in items:
        if not isinstance(item, Query):
            item, _ = resolved(item)
            options = tuple(sorted((name, value) for name, value in item.options.items()))
            keys.setdefault((item.separator, options), item.name)
    if len(keys) > 1:
        names = ", ".join(repr(name) for name in keys.values())
        raise PresetError(
            f"The presets {names} need different separators or options and cannot share one "
            "pass. Run them one after the other."
        )
    return next(iter(keys), None)


def _common_mode(items: Sequence[Preset | Query]) -> Mode:
    wanted: Mode | None = None
    for item in items:
        mode = None if isinstance(item, Query) else item.mode
        if mode is not None and wanted not in (None, mode):
            raise PresetError(
                f"The presets ask for different modes ({wanted} and {mode}). "
                "Give one mode for all, or run them one after the other."
            )
        wanted = mode or wanted
    return wanted or "render"


def separator_of(presets: Sequence[Preset | Query]) -> Separator:
    """The separator that all the presets name, loaded.

    Raises:
        PresetError: if they name different ones, or there are only queries.
        NotAvailableError: if it is not to be had here.
    """
    key = _separator_key(presets)
    if key is None:
        raise PresetError("Bare queries need a separator. Give separator=load_separator(name).")
    name, options = key
    return load_separator(name, **dict(options))
