"""Windows that go on from kept columns give what windows computed whole give.

In float32, where only the order of sums may differ; that far less is computed is counted.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from stembridge.prompts import NamePrompt, Query
from stembridge.separators import Mode
from stembridge.separators.layers import unet_packed
from stembridge.separators.layers.unet_down import Kept
from stembridge.separators.layers.unet_packed import Affines, PackedUNet
from stembridge.separators.layers.unet_window import run_window
from stembridge.separators.unet import Unet
from stembridge.separators.unet_stream import MODE_SHAPES, UnetStream

MODES: list[Mode] = ["live", "mix"]


@pytest.fixture(scope="module")
def unet() -> Unet:
    return Unet(precision="float32")


def spectrum_like(random: np.random.Generator, rows: int, frames: int) -> Tensor:
    """Magnitudes that fall with frequency and change from frame to frame."""
    fall = 40.0 / (1.0 + np.arange(1024) / 20.0)
    x = random.random((rows, 2, frames, 1024)) * fall
    return torch.from_numpy((x * random.random((rows, 1, frames, 1))).astype(np.float32))


def span_of(mode: Mode) -> tuple[int, int, int]:
    """Frames of the window, first and stop of those wanted."""
    shape = MODE_SHAPES[mode]
    stop = shape.window_frames - shape.lookahead_frames
    return shape.window_frames, stop - shape.step_frames, stop


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Counts the columns that each down step computes, over all windows."""
    counted: Counter[int] = Counter()
    down = PackedUNet.down

    def counting(self: PackedUNet, step: int, *args: Tensor | int) -> Tensor:
        raw = down(self, step, *args)  # type: ignore[arg-type]
        counted[step] += raw.shape[0] * raw.shape[1]
        return raw

    monkeypatch.setattr(unet_packed.PackedUNet, "down", counting)
    return counted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["vocals", "prompted"])
@torch.inference_mode()
def test_columns_kept_are_those_computed_anew(
    unet: Unet, random: np.random.Generator, columns: Counter[int], mode: Mode, kind: str
) -> None:
    """Window after window of two streams at different places, one of which misses a step."""
    frames, first, stop = span_of(mode)
    step, steps, missed = stop - first, 9, 5
    network: PackedUNet = getattr(unet.networks(mode), kind)
    rows = torch.from_numpy(unet.layout.rows)
    spread = torch.arange(2).repeat_interleave(len(rows)) if kind == "prompted" else None

    def affines(windows: int) -> Affines:
        return network.affines(rows.repeat(windows, 1) if kind == "prompted" else None)

    audio = spectrum_like(random, 2, frames + steps * step)
    kept = [(Kept(), 0), (Kept(), 1000)]
    for number in range(steps):
        part = audio[:, :, number * step : number * step + frames]
        here = [(own, start + number * step) for own, start in kept]
        whole = run_window(network, part, affines(2), first, stop, spread)
        columns.clear()
        if number == missed:
            own = None if spread is None else spread[: len(rows)]
            alone = run_window(network, part[:1], affines(1), first, stop, own, kept=here[:1])
            assert torch.allclose(alone, whole[: len(alone)], atol=1e-5)
            continue
        found = run_window(network, part, affines(2), first, stop, spread, kept=here)
        assert torch.allclose(found, whole, atol=1e-5), number
        assert whole.std() > 1e-3
        if number == missed - 1 or (number == steps - 1 and mode == "mix"):
            shares = [columns[level] / (2 * frames >> (level + 1)) for level in range(3)]
            assert all(np.array(shares) <= (0.2, 0.25, 0.5)), shares
            assert columns[5] == 2 * frames >> 6


def named(unet: Unet, *names: str) -> list[Query]:
    return [Query(keep=(unet.encode(NamePrompt(name)),), label=name) for name in names]


def advance(streams: list[UnetStream], unet: Unet, audio: list[np.ndarray]) -> None:
    for stream, piece in zip(streams, audio, strict=True):
        stream.feed(piece)
    while any(stream.due for stream in streams):
        unet.advance(streams)


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_is_its_own_whatever_it_shares(
    unet: Unet, random: np.random.Generator, columns: Counter[int], mode: Mode
) -> None:
    """Two copies of a track and another, silence within, other prompts on the way, and the
    copies part: each stream gives what it gives alone, and that is what whole windows give."""
    step = MODE_SHAPES[mode].step_frames * 1024
    frames = MODE_SHAPES[mode].window_frames
    count = 12 if mode == "live" else 7
    pieces = (0.1 * random.standard_normal((3, count, 2, step))).astype(np.float32)
    pieces[1, : count - 2] = pieces[0, : count - 2]
    pieces[2, 2] = 0.0
    old, new = named(unet, "vocals"), named(unet, "drums")
    streams = [unet.stream(old, mode) for _ in range(3)]
    alone = [unet.stream(old, mode) for _ in range(3)]
    whole = [unet.stream(old, mode) for _ in range(3)]
    for number in range(count):
        if number == 3:
            for stream in (streams[0], alone[0], whole[0]):
                stream.set_queries(new)
        for stream in whole:
            stream._memory = type(stream._memory)()  # nothing kept
        now = list(pieces[:, number])
        columns.clear()
        advance(streams, unet, now)
        if number == count - 1:
            # Six windows of the pair, one of the prompted network.
            assert columns[0] < 7 * (frames >> 1) / 2, "most windows go on from kept columns"
        found = np.stack([stream.take() for stream in streams])
        for row, (stream, plain) in enumerate(zip(alone, whole, strict=True)):
            advance([stream], unet, now[row : row + 1])
            advance([plain], unet, now[row : row + 1])
            expected = stream.take()
            assert np.allclose(found[row], expected, atol=1e-5), (number, row)
            assert np.allclose(plain.take(), expected, atol=1e-5), (number, row)
