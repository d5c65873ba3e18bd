"""The U-Net's streams keep the contract: amounts, alignment, cuts, silence, sums, batches."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stembridge.errors import AudioError, PromptError, StembridgeError
from stembridge.prompts import NamePrompt, Query
from stembridge.separators import Mode, load_separator, unet_engine, unet_windows
from stembridge.separators.layers.unet_grid import GridRun
from stembridge.separators.layers.unet_masks import continue_mask, own_mask, ratio_masks
from stembridge.separators.layers.unet_packed import PackedUNet
from stembridge.separators.unet import Unet
from stembridge.separators.unet_engine import GridMasks, Sigmoids, combine, prepare

LEAVES = ("vocals", "drums", "bass", "other")


@pytest.fixture(scope="module")
def unet() -> Unet:
    separator = load_separator("unet")
    assert isinstance(separator, Unet)
    return separator


def named(unet: Unet, *names: str) -> list[Query]:
    return [Query(keep=(unet.encode(NamePrompt(name)),), label=name) for name in names]


def noise(random: np.random.Generator, samples: int) -> np.ndarray:
    return (0.1 * random.standard_normal((2, samples))).astype(np.float32)


@given(cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=4), mode=st.sampled_from(["live"]))
@settings(max_examples=4)
def test_nothing_depends_on_the_cuts(unet: Unet, cuts: list[int], mode: Mode) -> None:
    """Bit for bit, and after every push exactly as much as the contract says."""
    audio = noise(np.random.default_rng(sum(cuts)), sum(cuts))
    queries = named(unet, "vocals")
    stream = unet.stream(queries, mode)
    parts, position = [], 0
    for cut in cuts:
        parts.append(stream.push(audio[:, position : position + cut]))
        position += cut
        steps = position // stream.step_samples * stream.step_samples
        assert sum(p.shape[2] for p in parts) == max(0, steps - stream.lookahead_samples)
    parts.append(stream.flush())
    assert np.array_equal(np.concatenate(parts, axis=2), unet.separate(audio, queries, mode))


@pytest.mark.parametrize("mode", ["mix", "render"])
def test_nothing_depends_on_the_cuts_in_longer_modes(
    unet: Unet, random: np.random.Generator, mode: Mode
) -> None:
    audio = noise(random, 20_000 if mode == "mix" else 131_072 * 2 + 4097)
    queries = named(unet, "vocals")
    stream = unet.stream(queries, mode)
    parts, position = [], 0
    while position < audio.shape[1]:
        size = int(random.integers(1, 9000))
        parts.append(stream.push(audio[:, position : position + size]))
        position += size
    parts.append(stream.flush())
    assert np.array_equal(np.concatenate(parts, axis=2), unet.separate(audio, queries, mode))


@pytest.mark.parametrize("mode", ["live", "mix", "render"])
@pytest.mark.parametrize("samples", [0, 1, 64, 65, 8193])
def test_as_much_comes_out_as_went_in(
    unet: Unet, random: np.random.Generator, mode: Mode, samples: int
) -> None:
    """And vocals + instrumental is the mixture, aligned to the sample, from the first one."""
    audio = noise(random, samples)
    before = audio.copy()
    stems = unet.separate(audio, named(unet, "vocals", "instrumental"), mode)
    assert stems.shape == (2, 2, samples)
    assert stems.dtype == np.float32
    assert np.allclose(stems.sum(axis=0), audio, atol=1e-6)
    assert np.array_equal(audio, before)


def test_the_four_leaves_sum_to_the_mixture(unet: Unet, random: np.random.Generator) -> None:
    audio = noise(random, 12_000)
    stems = unet.separate(audio, named(unet, *LEAVES, "instrumental"), "mix")
    assert np.allclose(stems[:4].sum(axis=0), audio, atol=1e-6)
    assert np.allclose(stems[1:4].sum(axis=0), stems[4], atol=1e-6)
    assert all(np.abs(stem).max() > 1e-3 for stem in stems)


def test_the_delay_stays_within_what_the_modes_promise(unet: Unet) -> None:
    queries = named(unet, "vocals")
    assert unet.stream(queries, "live").latency_samples <= 0.15 * 44100
    assert unet.stream(queries, "mix").latency_samples <= 0.5 * 44100
    for mode in unet.modes:
        stream = unet.stream(queries, mode)
        assert unet.latency_samples(mode) == stream.latency_samples
        assert stream.latency_for_block(1024) <= stream.latency_samples


@pytest.mark.parametrize("mode", ["live", "mix", "render"])
def test_silence_is_silence_and_runs_no_network(
    unet: Unet, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network ran on silence")

    monkeypatch.setattr(unet_windows, "run_window", refuse)
    monkeypatch.setattr(unet_engine, "GridRun", refuse)
    audio = np.zeros((2, 600_000 if mode == "render" else 60_000), np.float32)
    stems = unet.separate(audio, named(unet, *LEAVES), mode)
    assert stems.shape[2] == audio.shape[1]
    assert not stems.any()


def test_after_silence_the_memory_is_empty(unet: Unet, random: np.random.Generator) -> None:
    """`memory_samples` of silence later, only exact zeros come out."""
    stream = unet.stream(named(unet, "vocals"), "live")
    stream.push(noise(random, 9000))
    stream.push(np.zeros((2, stream.memory_samples), np.float32))
    assert not stream.push(np.zeros((2, 20_000), np.float32)).any()


def test_several_streams_in_one_call_equal_each_alone(
    unet: Unet, random: np.random.Generator
) -> None:
    """Streams of different queries, modes and positions, advanced together."""
    wishes = [("vocals",), ("drums", "bass"), ("instrumental", "other"), ("vocals",)]
    modes: list[Mode] = ["live", "live", "live", "mix"]
    audios = [noise(random, 4200 + 1100 * i) for i in range(4)]
    queries = [named(unet, *names) for names in wishes]
    streams = [unet.stream(q, mode) for q, mode in zip(queries, modes, strict=True)]
    for stream, audio in zip(streams, audios, strict=True):
        stream.feed(audio)
    while any(stream.due for stream in streams):
        before = [stream.due for stream in streams]
        unet.advance(streams)
        assert [s.due for s in streams] == [max(0, due - 1) for due in before]
    for stream, audio, q, mode in zip(streams, audios, queries, modes, strict=True):
        together = np.concatenate([stream.take(), stream.flush()], axis=2)
        assert np.allclose(together, unet.separate(audio, q, mode), atol=1e-5)


def test_equal_windows_go_through_a_network_once(
    unet: Unet, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instances on copies of a track, some in step and one a moment later, each with its own
    prompts: leaves and further sounds. The stems are those of each stream alone."""
    wishes = [("vocals",), ("instrumental",), ("drums",), ("bass", "guitar"), ("guitar",)]
    wishes += [("keys",), ("vocals", "keys"), ("guitar",)]
    audio = noise(random, 9000)
    audios = [audio[:, i // 6 * 500 :] for i in range(len(wishes))]
    queries = [named(unet, *names) for names in wishes]
    alone = [unet.separate(a, q, "live") for a, q in zip(audios, queries, strict=True)]

    run_window, calls = unet_windows.run_window, []

    def counting(
        network: PackedUNet, magnitudes: list[torch.Tensor], *args: Any, **more: Any
    ) -> Any:
        calls.append((network, len(magnitudes)))
        return run_window(network, magnitudes, *args, **more)

    monkeypatch.setattr(unet_windows, "run_window", counting)
    streams = [unet.stream(q, "live") for q in queries]
    for stream, piece in zip(streams, audios, strict=True):
        stream.feed(piece)
    while any(stream.due for stream in streams):
        calls.clear()
        unet.advance(streams)
        networks = unet.networks("live")
        expected = {networks.vocals: 2, networks.instrumental: 2, networks.prompted: 1}
        assert dict(calls) == {**expected, networks.sounds: 2}, "two distinct windows"
        assert len(calls) == 4
    for stream, expected_stems in zip(streams, alone, strict=True):
        together = np.concatenate([stream.take(), stream.flush()], axis=2)
        assert np.allclose(together, expected_stems, atol=1e-5)


def test_other_queries_take_over_smoothly(unet: Unet, random: np.random.Generator) -> None:
    """Before the change the old stem, after it the new one, and no click between."""
    audio = noise(random, 30_000)
    old, new = named(unet, "vocals"), named(unet, "instrumental")
    stream = unet.stream(old, "live")
    first = stream.push(audio[:, :14_000])
    stream.set_queries(new)
    rest = [stream.push(audio[:, 14_000:]), stream.flush()]
    changed = np.concatenate([first, *rest], axis=2)[0]
    was, becomes = unet.separate(audio, old, "live")[0], unet.separate(audio, new, "live")[0]
    begin = first.shape[2]
    assert np.array_equal(changed[:, :begin], was[:, :begin])
    assert np.array_equal(changed[:, begin + 4096 :], becomes[:, begin + 4096 :])
    fade = slice(begin, begin + 4096)
    highest = np.maximum(np.abs(was[:, fade]), np.abs(becomes[:, fade])).max()
    assert np.abs(changed[:, fade]).max() <= 1.5 * highest
    with pytest.raises(PromptError, match="number of queries"):
        stream.set_queries(named(unet, "vocals", "drums"))


@torch.inference_mode()
def test_the_grid_starts_again_after_silence_with_equal_masks(
    unet: Unet, random: np.random.Generator
) -> None:
    """Long silence stops the networks; what follows is as if they had never stopped."""
    frames = torch.from_numpy(random.random((2, 1023, 1024)).astype(np.float32) ** 3)
    frames[:, 180:760] = 0
    plan = unet.plan(named(unet, "vocals"))
    prepared = prepare(plan, unet.layout, unet.networks("render"))
    stopping = GridMasks(prepared)
    networks = prepared.networks
    never = [
        GridRun(networks.vocals, prepared.pair[0]),
        GridRun(networks.instrumental, prepared.pair[1]),
    ]
    stopped, start = 0, 0
    for stop in range(127, 1024, 128):
        piece, start = frames[:, start:stop], stop
        due = max(0, stop - 256)
        a = stopping.push(piece, due)
        stopped += stopping._runs is None and due > 0
        sigmoids = torch.cat([run.push(piece) for run in never])
        wanted = frames[:, due - a.shape[2] : due]
        b = combine(prepared, wanted, Sigmoids(pair=sigmoids[:, :, : a.shape[2]]))
        heard = wanted.any(dim=-1).any(dim=0)
        assert torch.allclose(a[:, :, heard], b[:, :, heard], atol=1e-5)
    assert stopped, "the silence must have been long enough"


@torch.inference_mode()
def test_new_queries_on_the_grid_equal_a_stream_that_had_them_all_along(
    unet: Unet, random: np.random.Generator
) -> None:
    frames = torch.from_numpy(random.random((2, 640, 1024)).astype(np.float32) ** 3)
    networks = unet.networks("render")

    def prepared(name: str) -> unet_engine.Prepared:
        return prepare(unet.plan(named(unet, name)), unet.layout, networks)

    changing, always = GridMasks(prepared("instrumental")), GridMasks(prepared("vocals"))
    for start, stop in ((0, 127), (127, 255), (255, 383), (383, 511)):
        before = changing.push(frames[:, start:stop], max(0, stop - 256))
        expected = always.push(frames[:, start:stop], max(0, stop - 256))
    assert torch.allclose(before + expected, torch.ones(()), atol=1e-5)
    changing.set_prepared(prepared("vocals"))
    after = changing.push(frames[:, 511:], 640, last=True)
    assert torch.allclose(after, always.push(frames[:, 511:], 640, last=True), atol=1e-5)


def test_a_wrong_shape_and_a_wrong_mode_are_errors(unet: Unet) -> None:
    stream = unet.stream(named(unet, "vocals"), "live")
    for shape in ((1, 100), (3, 100), (2, 10, 10), (100,)):
        with pytest.raises(AudioError, match="2, samples"):
            stream.push(np.zeros(shape, np.float32))
    with pytest.raises(StembridgeError, match="live, mix, render"):
        unet.stream(named(unet, "vocals"), "fast")  # type: ignore[arg-type]


def test_masks_are_shares() -> None:
    generator = torch.Generator().manual_seed(1)
    estimates = torch.rand(3, 4, 1024, generator=generator)
    estimates[:, 2] = 0
    shares = ratio_masks(estimates)
    assert torch.allclose(shares.sum(dim=0), torch.ones(4, 1024), atol=1e-6)
    assert torch.allclose(shares[:, 2], torch.full((3, 1024), 1 / 3), atol=1e-6)
    own = own_mask(torch.ones(4, 1024), estimates[0])
    assert float(own.min()) >= 0.0
    assert float(own.max()) <= 1.0
    full = continue_mask(shares, 2049)
    assert full.shape == (3, 4, 2049)
    assert torch.equal(full[..., :1024], shares)
    assert torch.allclose(full.sum(dim=0), torch.ones(4, 2049), atol=1e-5)


def test_naming_the_separator_does_not_import_torch() -> None:
    code = "import sys, stembridge.separators as s; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
