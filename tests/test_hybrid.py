"""Quick layers of Hybrid Demucs equal those of the package that they replace."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from stembridge.separators.layers.hybrid import QuickDecoder, QuickEncoder, quicken
from stembridge.separators.layers.hybrid_transformer import QuickTransformer

SMALL: dict[str, Any] = {
    "sources": ["drums", "bass"], "channels": 8, "nfft": 1024, "depth": 3, "t_layers": 2,
    "t_heads": 2, "bottom_channels": 0, "segment": Fraction(1, 2), "dconv_comp": 4,
}  # fmt: skip
LAYOUTS: dict[str, dict[str, Any]] = {
    "published": {"dconv_mode": 3, "bottom_channels": 48, "t_layers": 5},
    "encoder residuals": {"dconv_mode": 1},
    "no residuals": {"dconv_mode": 0, "rescale": 0},
    "one frequency left": {"nfft": 256, "depth": 4, "t_layers": 0},
    "six sources": {"sources": list("abcdef"), "dconv_mode": 3, "dconv_depth": 3},
    "other lengths": {"segment": Fraction(1234, 4410), "use_train_segment": False},
}
STAY: dict[str, dict[str, Any]] = {
    "norms in the layers": {"norm_starts": 0},
    "no rewrite": {"rewrite": False},
    "wide rewrite": {"context_enc": 1},
    "bands": {"multi_freqs": [0.25, 0.5], "multi_freqs_depth": 1},
    "cape": {"t_emb": "cape"},
    "norms last": {"t_norm_first": False},
}
"""What the published networks are not; such layers are left as they are."""


def network(**options: Any) -> Any:
    """A network in which every part is heard, so that an error in any would show."""
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(5)
    module = HTDemucs(**{**SMALL, **options}).eval().requires_grad_(False)
    for name, value in module.named_parameters():
        if name.endswith("scale"):
            value.uniform_(0.2, 0.8)
        elif value.dim() == 1:
            value.add_(0.3 * torch.rand_like(value))
    return module


def noise(samples: int = 22050, batch: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, samples, generator=torch.Generator().manual_seed(7))


def loss_db(quick: torch.Tensor, plain: torch.Tensor) -> float:
    """What a stem of 10 dB loses by the difference."""
    ratio = float((quick - plain).square().sum() / plain.square().sum())
    return 10 * math.log10(1 + 10 * ratio)


@pytest.mark.parametrize("layout", [*LAYOUTS, *STAY])
@torch.inference_mode()
def test_quick_networks_give_the_packages_numbers(layout: str) -> None:
    options = LAYOUTS.get(layout) or STAY[layout]
    plain, quick = network(**options), network(**options)
    quicken(quick, torch.float32)
    mixture = noise(12345 if layout == "other lengths" else 22050)
    expected = plain(mixture)
    assert (quick(mixture) - expected).abs().max() < 2e-5 * expected.abs().max()


@torch.inference_mode()
def test_the_published_layout_is_replaced_as_a_whole() -> None:
    quick = network(**LAYOUTS["published"])
    quicken(quick, torch.float32)
    assert all(isinstance(layer, QuickEncoder) for layer in (*quick.encoder, *quick.tencoder))
    assert all(isinstance(layer, QuickDecoder) for layer in (*quick.decoder, *quick.tdecoder))
    assert isinstance(quick.crosstransformer, QuickTransformer)
    assert not any(isinstance(part, nn.GroupNorm) for part in quick.encoder.modules())


@pytest.mark.parametrize("layout", STAY)
def test_other_layouts_keep_what_is_not_known(layout: str) -> None:
    module = network(**STAY[layout])
    quicken(module, torch.float32)
    parts = (*module.encoder, *module.decoder, module.crosstransformer)
    quick = (QuickEncoder, QuickDecoder, QuickTransformer)
    assert any(not isinstance(part, quick) for part in parts)


@torch.inference_mode()
def test_several_mixtures_at_once_do_not_mix() -> None:
    quick = network(**LAYOUTS["published"])
    quicken(quick, torch.float32)
    pair = noise(batch=2)
    together = quick(pair)
    for index in range(2):
        torch.testing.assert_close(together[index], quick(pair[index : index + 1])[0])


@pytest.mark.parametrize("layout", [*LAYOUTS, "no rewrite", "cape"])
@torch.inference_mode()
def test_half_the_digits_lose_little(layout: str) -> None:
    options = LAYOUTS.get(layout) or STAY[layout]
    plain, quick = network(**options), network(**options)
    quicken(quick, torch.bfloat16)
    mixture = noise()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quick(mixture)
    loss = loss_db(out.float(), plain(mixture))
    assert 0 < loss < 0.05


@torch.inference_mode()
def test_the_package_stays_as_it_is() -> None:
    """One network is changed; others, made before or after, are not."""
    before = network()
    expected = before(noise())
    quicken(network(), torch.float32)
    assert torch.equal(before(noise()), expected)
    assert torch.equal(network()(noise()), expected)


@torch.inference_mode()
def test_long_rows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of any size give the same numbers."""
    from stembridge.separators.layers import hybrid

    whole = network(**LAYOUTS["published"])
    quicken(whole, torch.float32)
    expected = whole(noise())
    monkeypatch.setattr(hybrid, "CACHED", 1000)
    torch.testing.assert_close(whole(noise()), expected, rtol=1e-4, atol=1e-6)
