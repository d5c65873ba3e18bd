"""The way down of windows: a stream's next window computes only the columns that are new.

A stream runs a window of its newest `T` frames every few frames, so most columns of the
first levels are those of the window before, a little further left. What the next window
will read of them is kept, per stream and network, before its norm:

    level l, a column is 2 ** l frames:     0 1 2 …                    … total
    the window before                       b k k k k k k k k k k n n r r
    this window            b k k k k k k k k k k n n r r               k kept, n new
                           └ left border            right border ┘

Columns that see a border of the window, one on the left and up to two on the right, are
computed anew, so a window gives what it gives without anything kept (up to the rounding
of sums in another order). Columns of deep levels that recur only every 2, 4 … windows are
kept as long; the two deepest levels see both borders everywhere and keep nothing.

Invariants: what is kept depends on the stream's own frames alone, never on who shares a
batch; a window whose columns are not all at hand is computed whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from .unet import BINS, DOWN_CHANNELS, STEPS
from .unet_packed import Affines, PackedUNet

Span = tuple[int, int]
"""First column and the one after the last, counted from the window's first."""


@dataclass
class Kept:
    """Columns of one stream and network, by level and by their first frame.

    A column is `(bins, channels)`, a convolution's output before its norm.
    """

    columns: dict[int, dict[int, Tensor]] = field(default_factory=dict)

    def take_over(self, other: Kept, later: int) -> None:
        """What a stream with the same window keeps, `later` frames further on here."""
        self.columns = {
            level: {frame + later: column for frame, column in columns.items()}
            for level, columns in other.columns.items()
        }


@dataclass(frozen=True)
class _Level:
    """What is computed, read and kept of one level."""

    fresh: tuple[Span, ...]
    """Computed, in this order."""
    pieces: tuple[tuple[tuple[int, Span], ...], ...]
    """What is read further on, in runs of neighbours: of which fresh span, or -1 if kept."""
    stored: tuple[tuple[int, Span], ...]
    """What the windows to come will read: of which fresh span."""
    keep_from: int
    """Columns further left are forgotten."""

    @property
    def kept(self) -> list[int]:
        spans = [span for run in self.pieces for index, span in run if index < 0]
        return [column for span in spans for column in range(*span)]

    def run_of(self, span: Span) -> tuple[int, slice]:
        """Which run holds a span, and where."""
        for index, run in enumerate(self.pieces):
            first = run[0][1][0]
            if first <= span[0] and span[1] <= run[-1][1][1]:
                return index, slice(span[0] - first, span[1] - first)
        raise AssertionError("the plan reads what it does not have")


@dataclass(frozen=True)
class DownPlan:
    """How windows of one length go down; `levels[l]` is level `l + 1`."""

    frames: int
    skips: tuple[Span, ...]
    """The columns that the way up reads, of level 1 to 6."""
    levels: tuple[_Level, ...]

    def at_hand(self, kept: Kept, start: int) -> bool:
        """Whether all is kept that the window from frame `start` on does not compute."""
        return all(
            start + (column << (step + 1)) in kept.columns.get(step + 1, ())
            for step, level in enumerate(self.levels)
            for column in level.kept
        )


@lru_cache(maxsize=64)
def plan_down(frames: int, skips: tuple[Span, ...], move: int, use_kept: bool) -> DownPlan:
    """Which columns a window of `frames` needs, from the deepest level upwards.

    Args:
        skips: columns that the way up reads, of level 1 to 6.
        move: frames by which a stream's windows follow each other; 0: nothing is kept.
        use_kept: False computes all, and keeps for the windows to come.
    """
    levels: list[_Level] = []
    fresh: tuple[Span, ...] = ((0, frames >> STEPS),)
    levels.append(_Level(fresh, (((0, fresh[0]),),), (), 0))
    for level in range(STEPS - 1, 0, -1):
        total = frames >> level
        inputs = [(max(0, 2 * low - 1), min(total, 2 * high + 2)) for low, high in fresh]
        # Right of `end`, columns see the window's end; new ones come in from `stop` on.
        end = total - (1 if level == 1 else 2)
        stop = end - (math.lcm(move, 1 << level) >> level) if move else 0
        needed = [*inputs, skips[level - 1]]
        if stop > 1:
            needed.append((stop, total))
        runs = _merged(needed)
        # Of level 1 the few columns on the left are cheaper computed than remembered.
        keep_from = (1 if level > 1 else max(1, runs[-1][0])) if stop > 1 else total
        kept = (keep_from, max(keep_from, stop)) if use_kept else (0, 0)
        split = [_split(run, kept) for run in runs]
        fresh = tuple(span for run in split for is_kept, span in run if not is_kept)
        pieces = tuple(
            tuple((-1 if is_kept else fresh.index(span), span) for is_kept, span in run)
            for run in split
        )
        stored = [(i, (max(low, keep_from), min(high, end))) for i, (low, high) in enumerate(fresh)]
        stored = tuple((i, span) for i, span in stored if span[0] < span[1])
        levels.append(_Level(fresh, pieces, stored, keep_from))
    return DownPlan(frames, skips, tuple(reversed(levels)))


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same columns as spans that do not touch each other."""
    merged: list[Span] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _split(run: Span, kept: Span) -> list[tuple[bool, Span]]:
    """A run cut at the borders of what is kept."""
    low, high = (min(max(bound, run[0]), run[1]) for bound in kept)
    parts = ((False, (run[0], low)), (True, (low, high)), (False, (high, run[1])))
    return [part for part in parts if part[1][0] < part[1][1]]


def run_down(
    network: PackedUNet,
    windows: Sequence[Tensor],
    affines: Affines,
    plan: DownPlan,
    kept: Sequence[tuple[Kept, int]] = (),
) -> list[Tensor]:
    """The skips of level 1 to 6, each cut to the columns that the way up reads.

    Args:
        windows: magnitudes of the batch, each float32 `(2, frames, BINS)`.
        kept: per window what its stream keeps and the number of the window's first frame.
    """
    batch = len(windows)
    skips: list[Tensor] = []
    before: list[Tensor] = []
    for step, level in enumerate(plan.levels):
        bins, total = BINS >> step, plan.frames >> step
        raws: list[Tensor] = []
        for low, high in level.fresh:
            first, last = max(0, 2 * low - 1), min(total, 2 * high + 2)
            # oneDNN leaves out padded columns, but pads both ends alike.
            padded = low == 0
            left, missing = (0 if padded else first - (2 * low - 1)), 2 * high + 2 - last
            right = max(0, missing - 1) if padded else missing
            count = last - first
            buffer = network.down_buffer(batch, step, left + count + right, DOWN_CHANNELS[step])
            buffer[:, :left] = 0
            buffer[:, left + count :] = 0
            inside = buffer[:, left : left + count, 1 : bins + 1]
            if step == 0:
                for out, window in zip(inside, windows, strict=True):
                    out.copy_(window[:, first:last].to(network.dtype).permute(1, 2, 0))
            else:
                index, where = plan.levels[step - 1].run_of((first, last))
                network.activate(step - 1, before[index][:, where], affines, inside)
            raws.append(network.down(step, buffer, 1 if padded else 0))
        for i, (own, start) in enumerate(kept):
            _store(own, level, step + 1, start, [raw[i] for raw in raws])
        before = _assembled(level, step + 1, raws, kept)
        index, where = level.run_of(plan.skips[step])
        skips.append(before[index][:, where])
    return skips


def _assembled(
    level: _Level, number: int, raws: Sequence[Tensor], kept: Sequence[tuple[Kept, int]]
) -> list[Tensor]:
    """The runs of a level, `(batch, columns, bins, channels)`, from new columns and kept ones."""

    def part(index: int, span: Span) -> Tensor:
        if index >= 0:
            first = level.fresh[index][0]
            return raws[index][:, span[0] - first : span[1] - first]
        columns = [
            own.columns[number][start + (column << number)]
            for own, start in kept
            for column in range(*span)
        ]
        return torch.stack(columns).unflatten(0, (len(kept), span[1] - span[0]))

    runs = [[part(index, span) for index, span in run] for run in level.pieces]
    return [parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) for parts in runs]


def _store(own: Kept, level: _Level, number: int, start: int, raws: Sequence[Tensor]) -> None:
    """Keep the new columns of one window, forget what no later one reads."""
    if not level.stored:
        return
    oldest = start + (level.keep_from << number)
    columns = {f: c for f, c in own.columns.get(number, {}).items() if f >= oldest}
    for index, (low, high) in level.stored:
        first = level.fresh[index][0]
        # A copy: else all columns of all windows of the batch would stay in memory.
        new = raws[index][low - first : high - first].clone()
        for column, data in enumerate(new.unbind(0), low):
            columns[start + (column << number)] = data
    own.columns[number] = columns
