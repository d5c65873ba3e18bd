"""One window of frames through a packed U-Net, as the published code runs it.

A window of `T` frames (a multiple of 64) is bordered by zeros at every level. Often only
a few of its frames are wanted: a stream runs a window of the newest frames for the sake
of the last ones. The way up then needs, level by level, only the columns that reach those
frames, which halves the work. The way down is in `unet_down.py`.

Invariants: the wanted frames equal those of the whole window; equal inputs and shapes, and
equal columns kept, give equal bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .unet import BINS, DOWN_CHANNELS, FRAME_MULTIPLE, STEPS, UP_CHANNELS
from .unet_down import Kept, plan_down, run_down
from .unet_packed import Affines, PackedUNet
from .unet_up import Cut


@dataclass(frozen=True)
class _Level:
    """Columns of one level of the way up, as `first, stop` over the window's own columns."""

    buffer: tuple[int, int]
    """Held in the buffer: even bounds, may reach over the window's ends (zeros there)."""
    read: tuple[int, int]
    """Read by the transposed convolution, the border column on each side included."""
    total: int
    """Columns that the window has at this level."""

    @property
    def held(self) -> tuple[int, int]:
        """The part of `buffer` that lies inside the window."""
        return max(0, self.buffer[0]), min(self.total, self.buffer[1])

    def cut(self, after: _Level) -> Cut:
        """What the up step from here to `after` need not multiply."""
        whole = self.read == (-1, self.total + 1)
        return Cut(whole, after.read[0] > after.held[0])


@lru_cache(maxsize=64)
def _plan(frames: int, first: int, stop: int) -> tuple[_Level, ...]:
    """What each up step reads, deepest first, then the columns before the last layer."""
    levels: list[_Level] = []
    # The last layer reads three columns to either side.
    low, high = first - 3, stop + 3
    levels.append(_even_level(low, high, frames))
    for step in range(1, STEPS + 1):
        below = levels[-1].held
        # Output columns 2n, 2n + 1 read the columns n - 1 to n + 1.
        levels.append(_even_level(below[0] // 2 - 1, below[1] // 2 + 1, frames >> step))
    return tuple(reversed(levels))


def _even_level(low: int, high: int, total: int) -> _Level:
    return _Level((low - low % 2, high + high % 2), (low, high), total)


def run_window(
    network: PackedUNet,
    magnitudes: Tensor | Sequence[Tensor],
    affines: Affines,
    first: int = 0,
    stop: int | None = None,
    spread: Tensor | None = None,
    *,
    share_skips: bool = True,
    kept: Sequence[tuple[Kept, int]] = (),
) -> Tensor:
    """The masks of frames `first` to `stop` of a window.

    Args:
        magnitudes: the batch, each float32 `(2, frames, BINS)`, frames a multiple of 64.
        affines: of the batch, or of the spread batch.
        spread: indices into the batch, one per wanted result, where several prompts share
            one encoding ("decoder" networks) or one input ("all").
        share_skips: False goes the whole way up for every prompt by itself, so that the bits
            are those of a prompt alone; an encoding is shared nevertheless.
        kept: of each window what its stream keeps from window to window, and the number of
            the window's first frame in the stream; windows follow `stop - first` frames
            after each other. Nothing is kept of a network whose way down is prompted.

    Returns: float32 `(batch or len(spread), 2, stop - first, BINS)` in 0..1.
    """
    windows = list(magnitudes)
    frames = windows[0].shape[1]
    stop = frames if stop is None else stop
    if frames % FRAME_MULTIPLE or any(w.shape != (2, frames, BINS) for w in windows):
        raise ValueError(f"a window is (2, multiple of 64, {BINS}), all of one length")
    if spread is not None and not network.shares_skips:
        windows, spread = [windows[i] for i in spread.tolist()], None
    if spread is None and network.shares_skips:
        spread = torch.arange(len(windows))
    plan = _plan(frames, first, stop)
    if network.condition == "all":
        kept = ()
    skips = _skips(network, windows, affines, plan, kept, stop - first)
    if spread is not None and not share_skips:
        skips, spread = [skip[spread] for skip in skips], torch.arange(len(spread))
    return _run_up(network, skips, affines, plan, spread)


def _skips(
    network: PackedUNet,
    windows: list[Tensor],
    affines: Affines,
    plan: tuple[_Level, ...],
    kept: Sequence[tuple[Kept, int]],
    move: int,
) -> list[Tensor]:
    """The way down: windows that go on from kept columns together, the others together."""
    frames = windows[0].shape[1]
    held = tuple(level.held for level in reversed(plan[:-1]))
    whole = plan_down(frames, held, move if kept else 0, False)
    further = plan_down(frames, held, move, True)
    rows = [i for i, (own, start) in enumerate(kept) if further.at_hand(own, start)]
    others = [i for i in range(len(windows)) if i not in set(rows)]
    if not rows or not others:
        return run_down(network, windows, affines, further if rows else whole, kept)
    both = [
        run_down(network, [windows[i] for i in part], affines, way, [kept[i] for i in part])
        for part, way in ((rows, further), (others, whole))
    ]
    order = torch.tensor(rows + others).argsort()
    return [torch.cat(parts)[order] for parts in zip(*both, strict=True)]


def _run_up(
    network: PackedUNet,
    skips: list[Tensor],
    affines: Affines,
    plan: tuple[_Level, ...],
    spread: Tensor | None,
) -> Tensor:
    encodings = skips[0].shape[0]
    batch = encodings if spread is None else len(spread)
    buffer = _bordered(network, plan[0], encodings, BINS >> STEPS, DOWN_CHANNELS[-1])
    _inside(buffer, plan[0]).copy_(skips[-1])
    buffer_skip = None
    for step in range(STEPS):
        here, there = plan[step], plan[step + 1]
        top = step == STEPS - 1
        bins = BINS >> (STEPS - 1 - step)
        skip = None if top else skips[STEPS - 2 - step]
        offset = skip.shape[3] if skip is not None and spread is None else 0
        dtype = torch.float32 if top else None
        after = _bordered(network, there, batch, bins, offset + UP_CHANNELS[step], dtype)
        inside = _inside(after, there)
        after_skip = None
        if skip is not None and spread is None:
            inside[..., :offset] = skip
        elif skip is not None:
            after_skip = _bordered(network, there, encodings, bins, skip.shape[3])
            _inside(after_skip, there).copy_(skip)
        read = slice(here.read[0] - here.buffer[0], here.read[1] - here.buffer[0])
        network.up(
            step,
            buffer[:, read],
            affines,
            inside[:, 0::2, :, offset:],
            inside[:, 1::2, :, offset:],
            None if buffer_skip is None else buffer_skip[:, read],
            spread,
            here.cut(there),
        )
        buffer, buffer_skip = after, after_skip
    top_level = plan[-1]
    low = top_level.read[0] - top_level.buffer[0]
    return network.last(buffer[:, low : low + top_level.read[1] - top_level.read[0]])


def _inside(buffer: Tensor, level: _Level) -> Tensor:
    """The columns of a buffer that lie inside the window."""
    low, high = level.held
    return buffer[:, low - level.buffer[0] : high - level.buffer[0]]


def _bordered(
    network: PackedUNet,
    level: _Level,
    batch: int,
    bins: int,
    channels: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A buffer for `level`, zero outside the window, not yet filled inside."""
    low, high = level.buffer
    buffer = torch.empty(batch, high - low, bins, channels, dtype=dtype or network.dtype)
    inside_low, inside_high = level.held
    buffer[:, : inside_low - low] = 0
    buffer[:, inside_high - low :] = 0
    return buffer
