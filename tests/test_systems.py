"""The published systems behind the contract, with networks that tell on any mistake.

Networks of a few numbers stand where only the way around them is tested; the whole networks,
filled, run through the command line from checkpoints in the published layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from filled_checkpoints import SYSTEMS, write_checkpoint
from parity import TINY, Inputs
from stembridge.errors import NotAvailableError, PromptError
from stembridge.prompts import Clip, EncodedPrompt, ExamplePrompt, NamePrompt, Query, TextPrompt
from stembridge.separators import SEPARATORS, load_separator
from stembridge.separators.base import Capabilities
from stembridge.separators.clap import repeated, windows
from stembridge.separators.layers.locoformer import Locoformer
from stembridge.separators.layers.resample import resample
from stembridge.separators.layers.stft import Stft
from stembridge.separators.published import PublishedSeparator
from stembridge.separators.segments import SegmentPlan
from stembridge.separators.tuss import Tuss, assignment
from stembridge.separators.tuss_keys import separator_table as tuss_table
from stembridge.separators.uss import Uss, class_names


class Share(PublishedSeparator):
    """Each prompt's vector is the share of the mixture that its mask lets through."""

    name = "share"
    sample_rate = 32000
    space = "share:0"
    stft = Stft(256, 64)
    capabilities = Capabilities(tuned=True)
    plans = {  # noqa: RUF012
        "stembridge": SegmentPlan(2048, 1536, 128, 128),
        "hard": SegmentPlan(1024, 1024, tail="fill"),
    }

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        self.heard = mono
        frames, bins = self.stft.frames(mono.shape[0]), self.stft.bins
        return vectors[:, :1, None].expand(-1, frames, bins)


def share(value: float) -> EncodedPrompt:
    return EncodedPrompt("share:0", np.array([value], np.float32), str(value))


def noise(samples: int, channels: int = 2) -> np.ndarray:
    generator = np.random.default_rng(11)
    return 0.1 * generator.standard_normal((channels, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 64, 65, 127, 128, 129, 1535, 1536, 2048, 8193])
def test_a_mask_of_one_gives_the_mixture_back(samples: int) -> None:
    mixture = noise(samples)
    kept = mixture.copy()
    (stem,) = Share().separate(mixture, [Query(keep=(share(1.0),))])
    np.testing.assert_allclose(stem, mixture, atol=2e-6)
    np.testing.assert_array_equal(mixture, kept)


def test_prompts_add_up_and_take_away_in_the_mask() -> None:
    mixture = noise(5000)
    queries = [
        (Query(keep=(share(0.25), share(0.5))), 0.75),
        (Query(keep=(share(0.75), share(0.5))), 1.0),
        (Query(keep=(share(0.5),), remove=(share(0.5),)), 0.25),
        (Query(remove=(share(0.25),)), 0.75),
    ]
    stems = Share().separate(mixture, [query for query, _ in queries])
    for stem, (_, expected) in zip(stems, queries, strict=True):
        np.testing.assert_allclose(stem, expected * mixture, atol=2e-6)


def test_the_mid_leads_and_the_side_where_the_mid_is_silent() -> None:
    left = noise(2048, 1)[0]
    separator, query = Share(), [Query(keep=(share(1.0),))]
    separator.separate(np.stack([left, left]), query)
    np.testing.assert_allclose(separator.heard.numpy()[:512], left[:512], atol=1e-6)
    separator.separate(np.stack([left, -left]), query)
    np.testing.assert_allclose(separator.heard.numpy()[:512], left[:512], atol=1e-6)


def test_loud_input_is_turned_down_for_the_network_and_up_again() -> None:
    mixture = 40.0 * noise(3000)
    separator = Share()
    (stem,) = separator.separate(mixture, [Query(keep=(share(0.5),))])
    assert separator.heard.abs().max() <= 0.9001
    np.testing.assert_allclose(stem, 0.5 * mixture, atol=1e-5)


def test_silence_never_reaches_the_network() -> None:
    separator = Share()
    stems = separator.separate(np.zeros((2, 9000), np.float32), [Query(keep=(share(1.0),))])
    assert not stems.any()
    assert not hasattr(separator, "heard")


def test_modes_options_and_spaces_are_checked() -> None:
    query = Query(keep=(share(1.0),))
    with pytest.raises(NotAvailableError, match="render"):
        Share().stream([query], "live")
    with pytest.raises(NotAvailableError, match="Choose one of: stembridge, hard"):
        Share(chunking="clapsep-space")
    with pytest.raises(PromptError, match="belongs to"):
        Share().stream([Query(keep=(EncodedPrompt("other:1", np.ones(1)),))])
    with pytest.raises(PromptError, match="These separators can: clapsep, audiosep"):
        Share().encode(TextPrompt("rain"))
    with pytest.raises(PromptError, match="zeroshot"):
        Share().encode(ExamplePrompt((Clip(noise(99), 44100),)))


def test_hard_cuts_equal_a_plain_loop() -> None:
    """The authors' kind of chunking: each segment by itself, the last filled with zeros."""
    separator = Share(chunking="hard")
    assert separator.channels == 1
    mixture = noise(2500, 1)
    (stem,) = separator.separate(mixture, [Query(keep=(share(0.5),))])
    padded = np.pad(mixture, ((0, 0), (0, 3072 - 2500)))
    pieces = []
    for segment in np.split(padded[0], 3):
        spectrum = separator.stft.analyse(torch.from_numpy(segment))
        pieces.append(separator.stft.synthesise(0.5 * spectrum, 1024).numpy())
    np.testing.assert_allclose(stem[0], np.concatenate(pieces)[:2500], atol=1e-6)


# TUSS


def tiny_tuss() -> Tuss:
    network = Inputs().module(lambda: Locoformer(TINY), tuss_table(TINY))
    return Tuss(network, chunking=SegmentPlan(24000, 18000, 1500, 1500))


class Swapping(Tuss):
    """Two equal prompts, low and high bands; which is which changes with every window."""

    turns = 0

    def masks(self, mono: Tensor, vectors: Tensor) -> Tensor:
        frames, bins = self.stft.frames(mono.shape[0]), self.stft.bins
        low = (torch.arange(bins) < 60).float().expand(frames, bins)
        pair = [low, 1 - low]
        self.turns += 1
        return torch.stack(pair if self.turns % 2 else pair[::-1])


def test_two_equal_prompts_never_swap() -> None:
    network = Inputs().module(lambda: Locoformer(TINY), tuss_table(TINY))
    separator = Swapping(network, chunking=SegmentPlan(24000, 18000, 1500, 1500))
    sfx = Query(keep=(separator.encode(NamePrompt("sfx")),))
    time = np.arange(100_000) / 48000
    tones = np.stack([0.1 * np.sin(2 * np.pi * hz * time) for hz in (300.0, 5000.0)])
    mixture = np.repeat(tones.sum(axis=0, keepdims=True), 2, axis=0).astype(np.float32)
    stems = separator.separate(mixture, [sfx, sfx])
    assert separator.turns > 3
    for stem, tone in zip(stems, tones, strict=True):
        np.testing.assert_allclose(stem[0, 2048:-2048], tone[2048:-2048], atol=2e-3)


def test_assignment_finds_the_least_sum() -> None:
    generator = np.random.default_rng(5)
    for n in (1, 2, 3, 6, 9):
        order = generator.permutation(n)
        cost = 1.0 + generator.random((n, n))
        cost[np.arange(n), order] = 0.0
        assert assignment(cost) == list(order)
    # The best pair first would pay 0 + 9; together 1 + 1 is less.
    assert assignment(np.array([[0.0, 1.0], [1.0, 9.0]])) == [1, 0]


def test_tuss_streams_equal_offline_whatever_the_cuts() -> None:
    separator = tiny_tuss()
    queries = [Query(keep=(separator.encode(NamePrompt(name)),)) for name in ("drums", "sfx")]
    mixture = noise(60_000)
    whole = separator.separate(mixture, queries)
    stream = separator.stream(queries)
    pieces = [stream.push(chunk) for chunk in np.split(mixture, [1, 8192, 30_011], axis=1)]
    np.testing.assert_array_equal(np.concatenate([*pieces, stream.flush()], axis=2), whole)


def test_tuss_removes_by_subtraction_and_shares_tokens() -> None:
    separator = tiny_tuss()
    drums, bass = (separator.encode(NamePrompt(name)) for name in ("drums", "bass"))
    mixture = noise(20_000)
    queries = [Query(keep=(drums,)), Query(remove=(drums,)), Query(keep=(drums, bass))]
    alone, without, both = separator.separate(mixture, queries)
    np.testing.assert_allclose(alone + without, mixture, atol=1e-6)
    bass_stem = separator.separate(mixture, [Query(keep=(drums,)), Query(keep=(bass,))])[1]
    np.testing.assert_allclose(both, alone + bass_stem, atol=1e-5)
    with pytest.raises(PromptError, match="Did you mean 'vocals'"):
        separator.encode(NamePrompt("vocal"))


# Query encoders and layers


def test_long_examples_are_cut_into_windows_that_cover_them() -> None:
    clip = torch.arange(25, dtype=torch.float32)
    pieces = windows(clip, 10)
    assert all(len(piece) == 10 for piece in pieces)
    assert set(torch.cat(pieces).tolist()) == set(clip.tolist())
    assert repeated(torch.tensor([1.0, 2.0]), 5).tolist() == [1.0, 2.0, 1.0, 2.0, 0.0]


@pytest.mark.parametrize(("from_hz", "to_hz"), [(32000, 48000), (44100, 48000), (48000, 32000)])
def test_resampling_keeps_tones_in_place(from_hz: int, to_hz: int) -> None:
    time = torch.arange(from_hz // 4) / from_hz
    out = resample(torch.sin(2 * torch.pi * 1000 * time), from_hz, to_hz)
    assert len(out) == -(-len(time) * to_hz // from_hz)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(len(out)) / to_hz)
    torch.testing.assert_close(out[200:-200], expected[200:-200], atol=2e-3, rtol=0)


def test_the_classes_are_those_of_audioset() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 527
    known = {0: "Speech", 74: "Dog", 137: "Music", 500: "Silence", 526: "Field recording"}
    assert all(names[index] == name for index, name in known.items())


# Whole networks through the command line


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 1.5 s of the example song."""
    source = Path(__file__).parents[1] / "bridge" / "examples" / "song.ogg"
    audio, rate = soundfile.read(source, stop=72_000, dtype="float32")
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, audio, rate, subtype="FLOAT")
    return path


PROMPTS: dict[str, Callable[[Path], list[str]]] = {
    "clapsep": lambda song: ["--example", str(song)],
    "zeroshot": lambda song: ["--example", str(song)],
    "uss": lambda song: ["--example", str(song)],
    "uss:classes": lambda song: ["--keep", "Music"],
    "audiosep": lambda song: ["--keep", "drums"],
    "tuss": lambda song: ["--keep", "drums"],
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_separates_the_example_song(system: str, song: Path, tmp_path: Path) -> None:
    """From a filled checkpoint in the published layout, through the command line."""
    from stembridge import separators
    from stembridge.cli import main

    folder = write_checkpoint(system, tmp_path / "weights")
    name = system.split(":")[0]
    out = tmp_path / "out"
    code = main(
        ["separate", str(song), "-n", name, "--checkpoint", str(folder), "-o", str(out),
         "--threads", "1", "--bits",
            "32f", *PROMPTS[system](song)]
    )  # fmt: skip
    separators._loaded.clear()
    assert code == 0
    mixture, rate = soundfile.read(song, dtype="float32")
    files = sorted(out.rglob("*.wav"))
    assert len(files) == 2
    target, rest = (soundfile.read(file, dtype="float32") for file in files)
    assert target[1] == rest[1] == rate
    assert target[0].shape == mixture.shape
    np.testing.assert_allclose(target[0] + rest[0], mixture, atol=1e-6)
    if system != "uss:classes":  # which keeps silent where its class is not heard
        assert all(np.abs(audio).max() > 1e-4 for audio, _ in (target, rest))


def test_all_of_them_are_listed_and_say_what_they_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("STEMBRIDGE_MODELS", str(tmp_path))
    for name in ("clapsep", "zeroshot", "uss", "audiosep", "tuss", "demucs"):
        assert name in SEPARATORS
        with pytest.raises(NotAvailableError, match="stembridge models fetch"):
            load_separator(name)


def test_an_example_that_is_silent_is_told() -> None:
    separator = object.__new__(Uss)
    clip = ExamplePrompt((Clip(np.zeros((1, 32000), np.float32), 32000, "nothing"),))
    with pytest.raises(PromptError, match="'nothing' is empty, silent"):
        separator._mono_clips(clip)
