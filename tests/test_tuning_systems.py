"""Tuning the published systems: the gradient reaches the vector alone, the tuner hears what
the separator plays, and a tuned preset runs in the chain. Whole networks, filled by the rule
of `filled.py`, on segments much shorter than a person's."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from parity import TINY, Inputs
from stembridge.chain import SeparationChain
from stembridge.errors import PromptError
from stembridge.prompts import Clip, Query, TunedPrompt
from stembridge.separators import clap_keys, clapsep, published_tunable, uss_keys, zeroshot_keys
from stembridge.separators.audiosep import Audiosep
from stembridge.separators.layers.cnn14 import Cnn14
from stembridge.separators.layers.locoformer import Locoformer
from stembridge.separators.layers.resunet import ResUnet30
from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet
from stembridge.separators.tuss import Tuss
from stembridge.separators.tuss_keys import separator_table as tuss_table
from stembridge.separators.uss import Uss
from stembridge.separators.zeroshot import Zeroshot
from stembridge.tuning import tune
from stembridge.tuning.learn import learn
from stembridge.tuning.mixtures import Batch

FILL = Inputs()


def resunet(condition: int) -> ResUnet30:
    table = uss_keys.separator_table(condition)
    network = FILL.module(lambda: ResUnet30(condition), table)
    assert isinstance(network, ResUnet30)
    return network


def cnn14() -> Cnn14:
    network = FILL.module(Cnn14, uss_keys.cnn14_table())
    assert isinstance(network, Cnn14)
    return network


class Towers:
    """Stands for CLAP's towers: unit vectors that depend on what they are given."""

    def clips(self, clips) -> np.ndarray:
        return self.units([float(clip.abs().sum()) for clip in clips])

    def texts(self, texts) -> np.ndarray:
        return self.units([sum(text.encode()) for text in texts])

    def units(self, seeds) -> np.ndarray:
        rows = [np.random.default_rng(round(s)).standard_normal(512) for s in seeds]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


class Query2048:
    """Stands for Zero-shot ASP's encoder, which has twice the size of the separator."""

    def latent(self, clip: torch.Tensor, repeat: bool) -> torch.Tensor:
        return torch.fft.rfft(clip).abs()[:, 64 : 64 + 2048] / 50


def build_clapsep() -> clapsep.Clapsep:
    state = FILL.state(clap_keys.separator_table())
    return clapsep.Clapsep(clapsep.build(state, "the fill"), Towers())  # type: ignore[arg-type]


def build_zeroshot() -> Zeroshot:
    network = FILL.module(ZeroshotUnet, zeroshot_keys.separator_table())
    assert isinstance(network, ZeroshotUnet)
    return Zeroshot(network, Query2048)  # type: ignore[arg-type]


def build_tuss() -> Tuss:
    network = FILL.module(lambda: Locoformer(TINY), tuss_table(TINY))
    assert isinstance(network, Locoformer)
    return Tuss(network)


BUILD: dict[str, Callable[[], Any]] = {
    "tuss": build_tuss,
    "uss": lambda: Uss(resunet(2048), cnn14),
    "uss:classes": lambda: Uss(resunet(527), cnn14),
    "audiosep": lambda: Audiosep(resunet(512), Towers()),  # type: ignore[arg-type]
    "zeroshot": build_zeroshot,
    "clapsep": build_clapsep,
}
SIZES = {"tuss": 16, "uss": 2048, "uss:classes": 527, "audiosep": 512, "zeroshot": 2048,
         "clapsep": 512}  # fmt: skip


@pytest.fixture(scope="module", params=list(BUILD))
def system(request) -> Iterator[Any]:
    """Each system once, with segments of a quarter of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published_tunable, "SEGMENT_SECONDS", 0.25)
        separator = BUILD[request.param]()
        separator.expected_size = SIZES[request.param]
        yield separator


def sound(rate: int, seconds: float, seed: int = 0, low_hz: float = 200.0) -> np.ndarray:
    """A chord under noise, mono, not silent at any time."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * low_hz * k * time) / k for k in (1, 2, 3, 5))
    return (0.15 * chord + 0.02 * generator.standard_normal(len(time)))[None].astype(np.float32)


def digest(separator: Any) -> str:
    """Of every weight and stored statistic."""
    found = hashlib.sha256()
    for module in (separator.network, getattr(separator, "tagger", None)):
        for name, tensor in module.state_dict().items() if module is not None else ():
            found.update(name.encode())
            found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def mixture(tunable: Any, gain: float = 1.0) -> torch.Tensor:
    seconds = tunable.segment_samples / tunable.sample_rate
    both = sound(tunable.sample_rate, seconds) + sound(tunable.sample_rate, seconds, 1, 310.0)
    return torch.from_numpy(gain * both)[None]


def test_the_tuner_hears_what_the_separator_plays(system) -> None:
    """Also after the separator has played, whose cached windows must serve gradients, too;
    and at 4 times the level, where the networks hear less than they are given."""
    tunable = system.tunable()
    start = tunable.start([sound(tunable.sample_rate, 2.0)])
    assert start.shape == (tunable.dimensions,) == (system.expected_size,)
    assert start.dtype == np.float32
    mixed = torch.cat([mixture(tunable), mixture(tunable, 4.0)])
    prepared, reference = tunable.prepare(mixed), tunable.reference(mixed)
    runner = system.runner([Query(keep=(system.encode(TunedPrompt(start, system.space)),))])
    played = [runner.run(np.repeat(m.numpy(), system.channels, axis=0), 0)[0] for m in mixed]
    with torch.no_grad():
        estimate = tunable.estimate(prepared, torch.from_numpy(start))
    assert estimate.shape == reference.shape
    for row, channels in zip(estimate.numpy(), played, strict=True):
        np.testing.assert_allclose(channels, np.stack([row] * len(channels)), atol=1e-4)
    assert estimate.square().mean(dim=1).min() > 1e-6, "silence would equal any silence"
    assert (estimate - reference).abs().max() > 1e-3


def test_the_gradient_reaches_the_vector_alone(system) -> None:
    tunable = system.tunable()
    start = torch.from_numpy(tunable.start([sound(tunable.sample_rate, 2.0)]))
    mixed = mixture(tunable)
    target = tunable.reference(torch.from_numpy(sound(tunable.sample_rate, 0.25))[None])
    prepared = tunable.prepare(torch.cat([mixed, 0.5 * mixed]))

    def loss(vector: torch.Tensor) -> torch.Tensor:
        return (tunable.estimate(prepared, vector) - target).square().sum()

    vector = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(vector), vector)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    weights = list(system.network.parameters())
    assert not any(w.requires_grad or w.grad is not None for w in weights)
    assert not any(module.training for module in system.network.modules())
    # The slope along the gradient is its norm: it belongs to this very function.
    unit = gradient / gradient.norm()
    with torch.no_grad():
        step = float(1e-4 * loss(start) / gradient.norm())
        slope = (loss(start + step * unit) - loss(start - step * unit)) / (2 * step)
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=0.1)


def test_learning_lowers_the_error_and_moves_the_vector_alone(system) -> None:
    """On one mixture, judged by itself: whatever the weights, downhill is downhill.

    Steps are short where the filled weights make a rough surface (TUSS), as they are not real.
    """
    tunable = system.tunable()
    if system.name == "tuss":
        tunable.step_size *= 0.1
    start = tunable.start([sound(tunable.sample_rate, 2.0)])
    wanted = sound(tunable.sample_rate, 0.25)[None]
    batch = Batch(wanted, wanted + sound(tunable.sample_rate, 0.25, 1, 310.0)[None])
    before = digest(system)
    learned = learn(tunable, start, [batch], [batch], [batch], steps=8)
    assert learned.after_db > learned.before_db
    assert learned.steps == 8 and digest(system) == before
    fixed = np.ones(len(start), bool)
    fixed[tunable.learnable] = False
    assert np.array_equal(learned.tuned[fixed], start[fixed])
    assert not np.array_equal(learned.tuned, start)


def test_a_tuned_preset_runs_and_the_weights_stay(system, monkeypatch) -> None:
    module = importlib.import_module("stembridge.tuning.tune")
    monkeypatch.setattr(module, "BATCH_SIZE", 1)
    monkeypatch.setattr(module, "JUDGING_BATCHES", 1)
    before = digest(system)
    rate = system.sample_rate
    clips = [Clip(sound(rate, 2.0, seed), rate, f"clip {seed}") for seed in range(2)]
    result = tune(clips, name="chord", separator=system, steps=2)
    assert result.report.steps == 2
    assert digest(system) == before
    start = system.tunable().start([clip.audio for clip in clips])
    assert result.learned.shape == start.shape
    (prompt,) = result.preset.keep
    assert isinstance(prompt, TunedPrompt)
    assert prompt.space == system.space and result.preset.separator == system.name
    with pytest.raises(PromptError, match="belongs to"):
        system.encode(TunedPrompt(prompt.vector, "unet:00000000"))
    with pytest.raises(PromptError, match="numbers"):
        system.encode(TunedPrompt(prompt.vector[:-1], system.space))
    chain = SeparationChain(result.preset, rate, 2, mode="render", separator=system)
    song = np.repeat(sound(rate, 0.5, 7), 2, axis=0)
    pieces = [chain.push(song), chain.flush()]
    target = np.concatenate([piece.target for piece in pieces], axis=1)
    rest = np.concatenate([piece.remainder for piece in pieces], axis=1)
    np.testing.assert_allclose(target + rest, song, atol=1e-6)


def test_without_examples_it_starts_at_the_name_that_fits(monkeypatch) -> None:
    """TUSS whose masks pass what each token says: the clips ask for the fullest one."""
    separator = build_tuss()
    names = ["speech", "drums", "vocals"]
    passes = {separator.token(name).tobytes(): 0.2 + 0.3 * i for i, name in enumerate(names)}

    def masks(mono: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        share = [passes.get(vector.numpy().tobytes(), 0.0) for vector in vectors]
        frames, bins = separator.stft.frames(mono.shape[0]), separator.stft.bins
        return torch.tensor(share)[:, None, None].expand(-1, frames, bins)

    monkeypatch.setattr(separator, "masks", masks)
    start = separator.tunable().start([sound(separator.sample_rate, 1.0)])
    assert np.array_equal(start, separator.token("vocals"))


def test_audiosep_without_clap_starts_where_no_text_is_preferred() -> None:
    separator = Audiosep(resunet(512))
    start = separator.tunable().start([sound(separator.sample_rate, 1.0)])
    assert start.shape == (512,) and not start.any()
