"""The U-Net as a stream: one state machine for all modes, and the hook that batches it.

    feed ──> steps of S = 1024 H samples ──> Analysis ──> masks ──> Synthesis ──> take
                                             spectra wait here ┘

| mode   | H   | later frames seen | delay for any block | networks on             |
|--------|-----|-------------------|---------------------|-------------------------|
| live   | 2   | 1 or 2            | 0.139 s             | the newest 64 frames    |
| mix    | 8   | 10 to 17          | 0.488 s             | the newest 128 frames   |
| render | 128 | all that matter   | 8.99 s              | an endless grid         |

Invariants:
- Steps are counted from the first sample, so nothing depends on how the input was cut:
  the same arithmetic on the same numbers, bit for bit at a fixed number of threads.
- A step whose frames are all silent runs no network; its stems are exact zeros.
- `set_queries` acts from the next step on. Neighbouring windows overlap by three quarters, so
  the change of masks is itself a cross-fade of 4096 samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import AudioError, PromptError, StembridgeError
from ..prompts import Query
from .base import MODES, Mode, SeparatorStream
from .layers.unet import BINS
from .layers.unet_masks import apply_masks
from .layers.unet_stft import (
    CACHED_FRAMES,
    HOP_SAMPLES,
    OVERLAP_SAMPLES,
    WINDOW_SAMPLES,
    Analysis,
    Synthesis,
    magnitudes_of,
)
from .unet_engine import LOOKAHEAD_FRAMES, GridMasks, Prepared, prepare
from .unet_windows import WindowJob, WindowMemory, window_masks

if TYPE_CHECKING:
    from .unet import Unet


@dataclass(frozen=True)
class ModeShape:
    """How a mode trades delay, work and context, in frames of 1024 samples."""

    step_frames: int
    """H: new frames per step."""
    lookahead_frames: int
    """L: frames after the newest one that is given out."""
    window_frames: int
    """T: frames that the networks see at once; 0 for the endless grid."""


MODE_SHAPES: dict[Mode, ModeShape] = {
    "live": ModeShape(2, 1, 64),
    "mix": ModeShape(8, 10, 128),
    "render": ModeShape(128, LOOKAHEAD_FRAMES, 0),
}
_GRID_MEMORY_FRAMES = 320


class UnetStream(SeparatorStream):
    """One stream of `Unet`. Latency: `lookahead_samples + step_samples - 1`, see the table."""

    def __init__(self, separator: Unet, queries: Sequence[Query], mode: Mode) -> None:
        if mode not in MODES:
            raise StembridgeError(f"There is no mode {mode!r}. Choose one of: {', '.join(MODES)}.")
        self.mode: Mode = mode
        self.shape = MODE_SHAPES[mode]
        self.step_samples = self.shape.step_frames * HOP_SAMPLES
        self.lookahead_samples = self.shape.lookahead_frames * HOP_SAMPLES + OVERLAP_SAMPLES
        context = self.shape.window_frames or _GRID_MEMORY_FRAMES + LOOKAHEAD_FRAMES
        self.memory_samples = context * HOP_SAMPLES + 2 * WINDOW_SAMPLES + self.step_samples
        """Silence for so long means silence out: no older sample reaches what comes next."""
        self._separator = separator
        self._channels = separator.channels
        self._networks = separator.networks(mode)
        self._count = len(queries)
        self._prepared = self._prepare(queries)
        self.reset()

    def _prepare(self, queries: Sequence[Query]) -> Prepared:
        separator = self._separator
        return prepare(separator.plan(queries), separator.layout, self._networks)

    def reset(self) -> None:
        """Forget all audio; the queries stay."""
        shape = self.shape
        self._pieces: list[np.ndarray] = []
        self._fed = self._steps = 0
        self._taken = self._made = 0
        self._ready: list[np.ndarray] = []
        self._analysis = Analysis(self._channels, self.step_samples)
        self._synthesis = Synthesis(self._count, self._channels)
        # Spectra that wait for their masks; the first of them belongs to frame `_next`.
        self._waiting: list[Tensor] = []
        self._next = -1
        self._window = torch.zeros(self._channels, shape.window_frames, BINS)
        self._memory = WindowMemory()
        self._grid = GridMasks(self._prepared) if not shape.window_frames else None

    def set_queries(self, queries: Sequence[Query]) -> None:
        """Other queries from the next step on, cross-faded over 4096 samples."""
        if len(queries) != self._count:
            raise PromptError(
                f"A running stream keeps its number of queries ({self._count}, not "
                f"{len(queries)}). Open another stream."
            )
        self._prepared = self._prepare(queries)
        if self._grid is not None:
            self._grid.set_prepared(self._prepared)

    @property
    def due(self) -> int:
        """Steps whose samples are all here and that have not run yet."""
        return self._fed // self.step_samples - self._steps

    def feed(self, chunk: np.ndarray) -> None:
        """Take float32 `(channels, samples)` without running anything.

        Raises:
            AudioError: another number of channels or axes.
        """
        if chunk.ndim != 2 or chunk.shape[0] != self._channels:
            raise AudioError(
                f"The separator 'unet' takes ({self._channels}, samples), not {chunk.shape}."
            )
        if chunk.shape[1]:
            self._pieces.append(np.array(chunk, dtype=np.float32))
            self._fed += chunk.shape[1]

    def take(self) -> np.ndarray:
        """The stems `(queries, channels, ready)` of all steps that have run."""
        if not self._ready:
            return np.zeros((self._count, self._channels, 0), np.float32)
        out = self._ready[0] if len(self._ready) == 1 else np.concatenate(self._ready, axis=2)
        self._ready = []
        self._taken += out.shape[2]
        return out

    def push(self, chunk: np.ndarray) -> np.ndarray:
        """`feed`, all due steps, `take`."""
        self.feed(chunk)
        while self.due:
            advance_streams([self])
        return self.take()

    def flush(self) -> np.ndarray:
        """The stems of everything not yet returned, then `reset`."""
        total = self._fed
        while self.due:
            advance_streams([self])
        if self._grid is None:
            while self._made < total:
                missing = self.step_samples - (self._fed - self._steps * self.step_samples)
                self.feed(np.zeros((self._channels, missing), np.float32))
                advance_streams([self])
        elif total:
            self._finish_grid(total)
        stems = self.take()
        stems = stems[:, :, : max(0, stems.shape[2] - (self._taken - total))]
        self.reset()
        return stems

    def next_frames(self) -> Tensor:
        """Analyse the oldest due step: its magnitudes `(channels, H, BINS)`."""
        spectra = self._analysis.push(torch.from_numpy(self._next_samples()))
        self._steps += 1
        self._waiting.append(spectra)
        return magnitudes_of(spectra)

    def _next_samples(self) -> np.ndarray:
        wanted, parts = self.step_samples, []
        while wanted:
            piece = self._pieces[0]
            parts.append(piece[:, :wanted])
            wanted -= parts[-1].shape[1]
            if parts[-1].shape[1] == piece.shape[1]:
                self._pieces.pop(0)
            else:
                self._pieces[0] = piece[:, parts[-1].shape[1] :]
        return np.concatenate(parts, axis=1)

    def window_job(self, magnitudes: Tensor) -> WindowJob | None:
        """Move the window on; what is wanted of it, or None where all of it is silent."""
        self._window = torch.cat([self._window[:, magnitudes.shape[1] :], magnitudes], dim=1)
        first, stop = self.window_span
        if not self._window[:, first:stop].any():
            self._memory = WindowMemory()
            return None
        self._memory.start = self._steps * self.shape.step_frames
        return WindowJob(self._prepared, self._window, self._memory)

    @property
    def window_span(self) -> tuple[int, int]:
        """The frames of the window that a step gives out."""
        stop = self.shape.window_frames - self.shape.lookahead_frames
        return stop - self.shape.step_frames, stop

    def grid_step(self, magnitudes: Tensor) -> None:
        """One step of mode render: frames in, whatever became final out."""
        assert self._grid is not None
        skip = 1 if self._steps == 1 else 0
        # Frame -1 is not the network's; the newest frame here is H k - 2.
        newest = self._steps * self.shape.step_frames - 2
        stop = max(0, newest + 1 - LOOKAHEAD_FRAMES)
        self._give_grid(self._grid.push(magnitudes[:, skip:], stop))

    def _give_grid(self, masks: Tensor) -> None:
        if masks.shape[2] and self._next == -1:
            masks = torch.cat([masks[:, :, :1], masks], dim=2)
        self.give(masks)

    def _finish_grid(self, total: int) -> None:
        """Frames of the rest, zeros after it, and every mask that was still open."""
        assert self._grid is not None
        frames = -(-total // HOP_SAMPLES) + 2
        chunks: list[Tensor] = []
        while self._steps * self.shape.step_frames - 2 < frames - 1:
            missing = self.step_samples - (self._fed - self._steps * self.step_samples)
            self.feed(np.zeros((self._channels, missing), np.float32))
            skip = 1 if self._steps == 0 else 0
            chunks.append(self.next_frames()[:, skip:])
        empty = torch.zeros(self._channels, 0, BINS)
        magnitudes = torch.cat([empty, *chunks], dim=1)
        # Frames that only see what lies after the end are not part of the song.
        # (Their spectra wait for nothing: `flush` resets.)
        waiting = sum(spectra.shape[1] for spectra in self._waiting)
        surplus = max(0, self._next + waiting - frames)
        magnitudes = magnitudes[:, : magnitudes.shape[1] - surplus]
        self._give_grid(self._grid.push(magnitudes, frames, last=True))

    def give_window(self, masks: Tensor | None) -> None:
        """Masks of the frames that a step gives out, or None where they are silent."""
        shape = self.shape
        oldest = (self._steps - 1) * shape.step_frames - 1 - shape.lookahead_frames
        # Before frame -1 there is nothing to give.
        frames = slice(min(shape.step_frames, max(0, -1 - oldest)), shape.step_frames)
        if masks is None:
            masks = torch.zeros(self._count, self._channels, shape.step_frames, BINS)
        self.give(masks[:, :, frames])

    def give(self, masks: Tensor) -> None:
        """Apply masks `(queries, channels, frames, BINS)` to the oldest waiting frames."""
        frames = masks.shape[2]
        if not frames:
            return
        spectra = self._take_waiting(frames)
        pieces = [
            self._synthesis.push(apply_masks(m, x))
            for m, x in zip(
                masks.split(CACHED_FRAMES, dim=2),
                spectra.split(CACHED_FRAMES, dim=1),
                strict=True,
            )
        ]
        samples = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)
        # Frame f finishes the hop at 1024 f - 2048; what lies before sample 0 is dropped.
        position = self._next * HOP_SAMPLES - WINDOW_SAMPLES // 2
        self._next += frames
        samples = samples[..., max(0, -position) :]
        if samples.shape[-1]:
            self._made += samples.shape[-1]
            self._ready.append(samples.numpy())

    def _take_waiting(self, frames: int) -> Tensor:
        """The oldest `frames` waiting spectra; mostly one step's, so nothing is copied."""
        parts: list[Tensor] = []
        while frames:
            oldest = self._waiting.pop(0)
            parts.append(oldest[:, :frames])
            if oldest.shape[1] > frames:
                self._waiting.insert(0, oldest[:, frames:])
            frames -= parts[-1].shape[1]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def advance_streams(streams: Sequence[UnetStream]) -> None:
    """Run the oldest due step of each stream, those of a mode in common network calls.

    Streams without a due step are left alone. Streams of mode render run one by one, since
    each keeps its own columns.
    """
    windows: dict[tuple[Mode, int], list[tuple[UnetStream, WindowJob | None]]] = {}
    with torch.inference_mode():
        for stream in streams:
            if not stream.due:
                continue
            magnitudes = stream.next_frames()
            if stream.shape.window_frames:
                key = (stream.mode, id(stream._networks))
                windows.setdefault(key, []).append((stream, stream.window_job(magnitudes)))
            else:
                stream.grid_step(magnitudes)
        for waiting in windows.values():
            first, stop = waiting[0][0].window_span
            jobs = [job for _, job in waiting if job is not None]
            masks = iter(window_masks(jobs, first, stop) if jobs else ())
            for stream, job in waiting:
                stream.give_window(None if job is None else next(masks))
