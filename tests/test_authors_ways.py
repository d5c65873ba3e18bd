"""The authors' ways over whole files, held against plain arithmetic that knows all segments.

`plain_systems` computes as the authors' code does, from unfolded and unpacked weights, whole
files in their segments; every named way here must give the same samples. The networks of USS
and Zero-shot ASP are narrow ones of the same make, TUSS is a small one; CLAPSep is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plain_systems
from filled import fill
from parity import TINY, Inputs
from stembridge.prompts import EncodedPrompt, NamePrompt, Query
from stembridge.separators.audiosep import Audiosep
from stembridge.separators.clap_keys import separator_table as clapsep_table
from stembridge.separators.clapsep import Clapsep, build
from stembridge.separators.layers.locoformer import Locoformer
from stembridge.separators.layers.resunet import ResUnet30
from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet
from stembridge.separators.tuss import Tuss
from stembridge.separators.tuss_keys import separator_table as tuss_table
from stembridge.separators.uss import Uss
from stembridge.separators.zeroshot import Zeroshot

EQUAL = {1.0: 2e-5, 2.0: 1e-4}
"""By the scale of the weights. Doubled ones drive masks into the ends and enlarge rounding:
either way is 1.2e-5 off the same network in float64 (USS)."""


class NarrowResUnet(ResUnet30):
    WIDTHS = (32, 8, 8, 12, 12, 12)


class NarrowZeroshot(ZeroshotUnet):
    WIDTHS = (2, 4, 8, 16, 32, 64)


def narrow(module: nn.Module, scale: float = 1.0) -> Any:
    """A network filled by its own names."""
    state = {n: fill(n, tuple(t.shape)) for n, t in module.state_dict().items() if t.ndim}
    state = {n: t * scale if t.ndim > 1 else t for n, t in state.items()}
    module.load_state_dict(state, strict=False)
    return module.eval().requires_grad_(False)


def noise(samples: int) -> np.ndarray:
    generator = np.random.default_rng(9)
    return (0.1 * generator.standard_normal((1, samples))).astype(np.float32)


def vector(size: int) -> np.ndarray:
    generator = np.random.default_rng(4)
    return (generator.standard_normal(size) / np.sqrt(size)).astype(np.float32)


def stems_of(separator: Any, mixture: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
    queries = [Query(keep=(EncodedPrompt(separator.space, v),)) for v in vectors]
    return separator.separate(mixture, queries)[:, 0]


def plainly(run: Callable[[Tensor, Tensor], Tensor], mixture: np.ndarray, *vectors: np.ndarray):
    with torch.inference_mode():
        return run(torch.from_numpy(mixture[0]), torch.from_numpy(np.stack(vectors))).numpy()


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("samples", [1, 63_999, 64_000, 150_000])
def test_uss_cli(samples: int, scale: float) -> None:
    mixture, query = noise(samples), vector(2048)
    plain = plain_systems.plain("uss", narrow(NarrowResUnet(2048), scale))
    ours = Uss(narrow(NarrowResUnet(2048), scale), chunking="uss-cli")
    expected = plainly(plain, mixture, query)
    assert np.isfinite(expected).all() and expected.any()
    np.testing.assert_allclose(stems_of(ours, mixture, query), expected, atol=EQUAL[scale])


@pytest.mark.parametrize("samples", [40_000, 160_000, 161_000, 300_001])
def test_audiosep_chunk(samples: int) -> None:
    mixture, query = noise(samples), vector(512)
    plain = plain_systems.plain("audiosep", narrow(NarrowResUnet(512)))
    ours = Audiosep(narrow(NarrowResUnet(512)), chunking="audiosep-chunk")
    expected = plainly(plain, mixture, query)
    np.testing.assert_allclose(stems_of(ours, mixture, query), expected, atol=EQUAL[1.0])


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_zsasp_cli_loses_what_fills_no_segment(scale: float) -> None:
    mixture, query = noise(150_000), vector(2048)
    plain = plain_systems.plain("zeroshot", narrow(NarrowZeroshot(), scale))
    ours = Zeroshot(narrow(NarrowZeroshot(), scale), chunking="zsasp-cli")
    stems = stems_of(ours, mixture, query)
    expected = plainly(plain, mixture[:, :128_000], query)
    assert np.isfinite(expected).all() and expected.any()
    np.testing.assert_allclose(stems[:, :128_000], expected, atol=EQUAL[scale])
    assert not stems[:, 128_000:].any()


def test_zsasp_overlap_fades_linearly() -> None:
    mixture, query = noise(192_000), torch.from_numpy(vector(2048))
    network = narrow(NarrowZeroshot())
    padded = np.pad(mixture[0], (0, 32_000))
    windows = np.stack([padded[start : start + 96_000] for start in (0, 64_000, 128_000)])
    with torch.inference_mode():
        parts = plain_systems.zeroshot_segments(network, torch.from_numpy(windows), query).numpy()
    share = (np.arange(32_000) + 0.5) / 32_000
    expected = np.zeros(224_000)
    for index, part in enumerate(parts):
        gain = np.ones(96_000)
        gain[:32_000] = share if index else 1.0
        gain[64_000:] = 1 - share if index < 2 else 1.0
        expected[64_000 * index : 64_000 * index + 96_000] += gain * part
    ours = Zeroshot(narrow(NarrowZeroshot()), chunking="zsasp-overlap")
    stems = stems_of(ours, mixture, query.numpy())
    np.testing.assert_allclose(stems[0], expected[:192_000], atol=EQUAL[1.0])


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_clapsep_space_scales_a_loud_file_as_a_whole(scale: float) -> None:
    mixture, query = noise(330_000), vector(1024)
    mixture[0, 5] = 1.5
    state = Inputs(scale=scale).state(clapsep_table())
    plain = plain_systems.plain("clapsep", build(state, "the fill"))
    expected = plainly(plain, mixture * np.float32(0.9 / 1.5), query)
    ours = Clapsep(build(state, "the fill"), chunking="clapsep-space")
    np.testing.assert_allclose(stems_of(ours, mixture, query), expected, atol=EQUAL[scale])


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_tuss_separate_cuts_hard(scale: float) -> None:
    def network() -> Any:
        return Inputs(scale=scale).module(lambda: Locoformer(TINY), tuss_table(TINY))

    mixture = noise(300_000)
    ours = Tuss(network(), chunking="tuss-separate")
    names = ("speech", "musicbg", "sfx")
    tokens = [ours.token(name) for name in names]
    expected = plainly(plain_systems.plain("tuss", network()), mixture, *tokens)
    queries = [Query(keep=(ours.encode(NamePrompt(name)),)) for name in names]
    level = max(1.0, float(np.abs(expected).max()))  # these masks know no bounds
    stems = ours.separate(mixture, queries)[:, 0]
    np.testing.assert_allclose(stems, expected, atol=EQUAL[scale] * level)
