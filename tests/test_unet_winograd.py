"""Four columns for eleven products instead of twenty: the sums stay the same.

The oracle is torch's own transposed convolution in float64. Sizes are awkward on purpose:
every remainder of columns by the tile, more bins or channels than a power of two.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stembridge.separators.layers.unet_up import DirectUp
from stembridge.separators.layers.unet_winograd import (
    TILE,
    FastUp,
    kernels_at_points,
    to_columns,
    to_points,
)

TOLERANCE = 4e-6
"""Of the largest value: some ten roundings of float32."""


def oracle(buffer: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Columns of an up step before the affine map, `(batch, 2 * pairs, 2 * bins, out)`, float64."""
    x = buffer.double().permute(0, 3, 1, 2)
    y = F.conv_transpose2d(x, weight.double(), bias.double(), stride=2)
    # Input column j is n = j - 1, and its tap 1 is output column 2n: two from the border.
    pairs, bins = buffer.shape[1] - 2, buffer.shape[2]
    return F.relu(y[:, :, 3 : 3 + 2 * pairs, 1 : 1 + 2 * bins]).permute(0, 2, 3, 1)


def run(step: FastUp | DirectUp, buffer: Tensor, channels: int) -> Tensor:
    """The step's columns with an affine map that does nothing."""
    batch, columns, bins, _ = buffer.shape
    out = torch.full((batch, 2 * (columns - 2), 2 * bins, channels), torch.nan)
    affine = (torch.ones(1, 1, 1, channels), torch.zeros(1, 1, 1, channels))
    data = step.read(buffer)
    for phase in step.bin_phases:
        step.write(step.parts(data, phase), phase, affine, out[:, 0::2], out[:, 1::2])
    return out


def make(inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    weight = torch.randn(inputs, outputs, 5, 5) / (6 * inputs) ** 0.5
    return weight, torch.randn(outputs)


@pytest.mark.parametrize("taps", [2, 3])
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5, 7, 8, 9])
def test_a_filter_through_the_points_is_the_filter(taps: int, outputs: int) -> None:
    torch.manual_seed(taps * 100 + outputs)
    kernel = torch.randn(1, 1, taps, 1)
    columns = torch.randn(3, outputs + taps - 1, 5)
    points = torch.full((3 + taps, 3, -(-outputs // TILE), 5), torch.nan)
    to_points(columns, points)
    at_points = kernels_at_points(kernel)[:, 0, 0].float()
    products = [k * one[:, :, :, None] for k, one in zip(at_points, points, strict=False)]
    if taps == 2:
        assert at_points[-1] == 0, "two taps have no value at infinity"
        products.append(torch.zeros_like(products[0]))
    found = to_columns(products, 5, outputs)[..., 0]
    expected = sum(kernel[0, 0, k, 0] * columns[:, k : k + outputs] for k in range(taps))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize(
    ("batch", "bins", "inputs", "outputs"), [(1, 32, 48, 16), (3, 5, 7, 3), (2, 1, 1, 1)]
)
@torch.inference_mode()
def test_an_up_step_equals_the_transposed_convolution(
    pairs: int, batch: int, bins: int, inputs: int, outputs: int
) -> None:
    torch.manual_seed(pairs)
    weight, bias = make(inputs, outputs)
    buffer = torch.randn(batch, pairs + 2, bins, inputs)
    expected = oracle(buffer, weight, bias)
    found = run(FastUp(2, weight, bias), buffer, outputs)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("pairs", [2, 4, 7])
@torch.inference_mode()
def test_fast_and_direct_steps_are_interchangeable(pairs: int) -> None:
    """Also in what they add: the parts of a skip to those of each prompt's own channels."""
    torch.manual_seed(pairs)
    weight, bias = make(24, 8)
    buffer = torch.randn(2, pairs + 2, 16, 24)
    nothing = torch.zeros_like(bias)
    fast, direct = FastUp(3, weight, bias), DirectUp(3, weight, bias, torch.float32)
    torch.testing.assert_close(run(fast, buffer, 8), run(direct, buffer, 8), rtol=0, atol=1e-5)
    own, shared = FastUp(3, weight[10:], bias), FastUp(3, weight[:10], nothing)
    skip = shared.read(buffer[:, :, :, :10].contiguous())
    data = own.read(buffer[:, :, :, 10:].contiguous())
    for phase in own.bin_phases:
        whole = fast.parts(fast.read(buffer), phase)
        summed = own.parts(data, phase, shared.parts(skip, phase))
        for one, other in zip(whole, summed, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_error_is_little_more_than_that_of_the_direct_sums() -> None:
    torch.manual_seed(0)
    weight, bias = make(256, 16)
    buffer = torch.randn(1, 10, 32, 256)
    expected = oracle(buffer, weight, bias)

    def error(step: FastUp | DirectUp) -> float:
        return float((run(step, buffer, 16) - expected).square().mean().sqrt())

    fast, direct = FastUp(2, weight, bias), DirectUp(2, weight, bias, torch.float32)
    assert error(fast) < 4 * error(direct)
    assert error(fast) < 1e-6


@torch.inference_mode()
def test_without_onednn_the_same_columns_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    weight, bias = make(12, 4)
    buffer = torch.randn(2, 7, 9, 12)
    expected = run(FastUp(2, weight, bias), buffer, 4)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    torch.testing.assert_close(run(FastUp(2, weight, bias), buffer, 4), expected, rtol=0, atol=1e-5)
