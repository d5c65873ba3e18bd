"""A packed U-Net over endless time: every column of every level computed once and kept.

The published code cuts a song into windows of 512 frames and borders each with zeros. Run
over the whole song at once the same convolutions need no cuts at all, and since each
reaches only a few columns to either side, the song may arrive in pieces: a level keeps
the columns that its next convolution still needs.

    frames  ──d.0──> kept 1..4 columns ──d.1──> …  ──d.5──> deepest columns (1 per 64 frames)
    masks   <─last── kept 2 columns <──u.5── …     <──u.0──────┘    (skips wait in between)

Invariants:
- The result is that of ONE window over everything pushed since the start, zeros before and
  after it; there are no borders inside, so no seams.
- A frame's mask needs 256 later frames (5.9 s): pushed in multiples of 64 less one first
  frame, `frames - 256` masks have come back. `finish` returns the rest.
- A mask does not depend on frames more than `REACH` away, so a run may start late.
- Silence is a border too: in every block of 64 frames, columns before the first sound are zero at
  each level, as they are outside the window. So a song ends alike whether nothing follows or
  silence does. (Blocks of 64, because a window is filled up to one.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from .unet import BINS, DOWN_CHANNELS, FRAME_MULTIPLE, STEPS, UP_CHANNELS
from .unet_packed import Affines, PackedUNet

LOOKAHEAD_FRAMES = 256
REACH_FRAMES = 256
"""No mask depends on frames farther away than this, to either side."""
UP_INPUTS = (
    (DOWN_CHANNELS[-1], 0),
    *zip(UP_CHANNELS[:-1], DOWN_CHANNELS[-2:0:-1], strict=True),
)
"""Channels that each up step reads: of the step before, and of the skip."""


class GridRun:
    """One network's pass over one mixture, or over the prompts that share it.

    Args:
        network: packed weights.
        affines: norm and FiLM of the results (one row, or one per prompt).
        rows: results wanted, that is prompts; 1 for a plain network.
    """

    def __init__(self, network: PackedUNet, affines: Affines, rows: int = 1) -> None:
        self._net = network
        self._affines = affines
        self._rows = rows
        # Columns that the next convolution of each level still needs; a zero border first.
        self._down = [
            torch.zeros(self._down_rows, 1, (BINS >> step) + 3, channels, dtype=network.dtype)
            for step, channels in enumerate(DOWN_CHANNELS[:-1])
        ]
        self._skips: list[list[Tensor]] = [[] for _ in range(STEPS - 1)]
        # Several prompts on one encoding: what reads the skips alone is computed once.
        shared = network.shares_skips
        self._spread = torch.zeros(rows, dtype=torch.long) if shared else None
        self._up = [
            torch.zeros(
                1 if shared and not step else rows,
                1,
                BINS >> (STEPS - step),
                own if shared else own + skip,
                dtype=network.dtype,
            )
            for step, (own, skip) in enumerate(UP_INPUTS)
        ]
        self._up_skips = [
            torch.zeros(1, 1, BINS >> (STEPS - step), skip, dtype=network.dtype)
            for step, (_, skip) in enumerate(UP_INPUTS)
        ]
        self._top = torch.zeros(rows, 3, BINS, 1)
        self._sounding = _Sounding()

    @property
    def _down_rows(self) -> int:
        return self._rows if self._net.condition == "all" else 1

    def push(self, magnitudes: Tensor, last: bool = False) -> Tensor:
        """Frames in, the masks that are final out.

        Args:
            magnitudes: float32 `(2, frames, BINS)`.
            last: nothing follows; all frames together must be a multiple of 64.

        Returns: float32 `(rows, 2, masks, BINS)`.
        """
        columns = magnitudes.permute(1, 2, 0)[None]
        columns = columns.expand(self._down_rows, *columns.shape[1:])
        self._sounding.push(magnitudes)
        for step in range(STEPS):
            columns = self._push_down(step, columns, last)
            if step < STEPS - 1:
                self._skips[step].append(columns)
        buffer, inside = self._up_room(0, columns.shape[1], last)
        inside.copy_(columns)
        skip = None
        for step in range(STEPS):
            buffer, skip = self._push_up(step, buffer, skip, last)
        masks = max(0, buffer.shape[1] - 6)
        self._top = buffer[:, masks:].clone()
        if not masks:
            return buffer.new_zeros(self._rows, 2, 0, BINS)
        return self._net.last(buffer)

    def _push_down(self, step: int, columns: Tensor, last: bool) -> Tensor:
        bins, count = BINS >> step, columns.shape[1]
        kept = self._down[step]
        held = kept.shape[1]
        total = held + count + (2 if last else 0)
        buffer = self._net.down_buffer(columns.shape[0], step, total, columns.shape[3])
        buffer[:, :held] = kept
        inside = buffer[:, held : held + count, 1 : bins + 1]
        if step == 0:
            inside.copy_(columns)
        elif count:
            self._net.activate(step - 1, columns, self._affines, inside)
            self._sounding.hush(("in", step), step, inside)
        if last:
            buffer[:, -2:] = 0
        outputs = max(0, (total - 3) // 2)
        self._down[step] = buffer[:, 2 * outputs :].clone()
        if not outputs:
            return buffer.new_zeros(columns.shape[0], 0, bins // 2, DOWN_CHANNELS[step + 1])
        raw = self._net.down(step, buffer[:, : 2 * outputs + 3])
        self._sounding.hush(("out", step), step + 1, raw)
        return raw

    def _push_up(
        self, step: int, buffer: Tensor, skip: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Run a step on its buffer, straight into the buffer of the next one.

        Returns: that buffer, and where prompts share it, the skip that belongs to it.
        """
        pairs = max(0, buffer.shape[1] - 2)
        self._up[step] = buffer[:, pairs:].clone()
        after, inside = self._up_room(step + 1, 2 * pairs, last)
        skip_after = None
        if step < STEPS - 1:
            if self._spread is None:
                channels = UP_INPUTS[step + 1][1]
                self._take_skip(STEPS - 2 - step, inside[..., :channels])
                inside = inside[..., channels:]
            else:
                skip_after, place = _room(self._up_skips[step + 1], 2 * pairs, 1 if last else 0)
                self._take_skip(STEPS - 2 - step, place)
                self._up_skips[step + 1] = skip_after[:, max(0, skip_after.shape[1] - 2) :].clone()
        if pairs:
            even, odd = inside[:, 0::2], inside[:, 1::2]
            self._net.up(step, buffer, self._affines, even, odd, skip, self._spread)
            self._sounding.hush(("up", step), STEPS - 1 - step, inside)
        return after, skip_after

    def _up_room(self, step: int, count: int, last: bool) -> tuple[Tensor, Tensor]:
        """What up step `step` reads: see `_room`. Step 6 is the last layer."""
        top = step == STEPS
        kept, border = (self._top, 3) if top else (self._up[step], 1)
        return _room(kept, count, border if last else 0)

    def _take_skip(self, level: int, out: Tensor) -> None:
        """Move the oldest columns that wait at a level to where they are read."""
        waiting, done = self._skips[level], 0
        while done < out.shape[1]:
            piece = waiting.pop(0)
            taken = min(piece.shape[1], out.shape[1] - done)
            out[:, done : done + taken] = piece[:, :taken]
            done += taken
            if taken < piece.shape[1]:
                waiting.insert(0, piece[:, taken:])


class _Sounding:
    """Which columns of a run lie before the first sound of their block of 64 frames.

    A column of level `l` stands for `2 ** l` frames. It is known when the last of them is.
    """

    def __init__(self) -> None:
        self._flags = torch.zeros(0, dtype=torch.bool)  # of frames `_first` on
        self._first = 0
        self._within = False
        """Whether the present block has sounded."""
        self._quiet = False
        """Whether any column that may still pass does not sound."""
        self._passed: dict[tuple[str, int], int] = {}

    def push(self, magnitudes: Tensor) -> None:
        """The next frames, `(2, frames, BINS)`."""
        loud = (magnitudes.amax(dim=2).amax(dim=0) > 0).tolist()
        place, flags = self._first + len(self._flags), []
        for index, sound in enumerate(loud):
            self._within = bool(sound) or (self._within and (place + index) % FRAME_MULTIPLE != 0)
            flags.append(self._within)
        self._flags = torch.cat([self._flags, torch.tensor(flags, dtype=torch.bool)])
        self._quiet = not bool(self._flags.all())
        drop = len(self._flags) - 2 * (LOOKAHEAD_FRAMES + len(loud)) - FRAME_MULTIPLE
        if drop > 0:
            self._flags, self._first = self._flags[drop:], self._first + drop

    def hush(self, stage: tuple[str, int], level: int, columns: Tensor) -> None:
        """Set to zero what does not sound of the next columns, axis 1, of a stage at a level."""
        first, count = self._passed.get(stage, 0), columns.shape[1]
        self._passed[stage] = first + count
        if not self._quiet:
            return
        last = ((first + 1) << level) - 1 - self._first
        flags = self._flags[last : last + ((count - 1) << level) + 1 : 1 << level]
        if not flags.all():
            columns[:, ~flags] = 0


def _room(kept: Tensor, count: int, border: int) -> tuple[Tensor, Tensor]:
    """A buffer of the columns kept, `count` new ones and a zero border; the place of the new."""
    held = kept.shape[1]
    buffer = kept.new_empty(kept.shape[0], held + count + border, *kept.shape[2:])
    buffer[:, :held] = kept
    if border:
        buffer[:, -border:] = 0
    return buffer, buffer[:, held : held + count]


def padded_frames(frames: int) -> int:
    """The next multiple of 64: how many frames a finished run must have had."""
    return -(-frames // FRAME_MULTIPLE) * FRAME_MULTIPLE
