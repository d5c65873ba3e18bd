"""The quicker forms of layers give the numbers of the plain ones, and memory is given back."""

from __future__ import annotations

import copy
import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stembridge.prompts import EncodedPrompt, Query
from stembridge.separators import heap
from stembridge.separators.layers.folded import Pointwise, fold
from stembridge.separators.layers.locoformer import ConvSwiglu, back_matrix, into_matrix
from stembridge.separators.layers.packed import activated, can_pack, pack_linears
from stembridge.separators.segments import SegmentPlan, SegmentStream

ACTIVATIONS = {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu}
CPU = torch.device("cpu")


@pytest.mark.skipif(not can_pack(CPU), reason="this torch was built without oneDNN")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 3), (64, 96), (2, 7, 96), (2, 3, 5, 96)])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_equal_plain_ones(
    shape: tuple[int, ...], activation: str, bias: bool
) -> None:
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(shape[-1], 33, bias=bias)).requires_grad_(False)
    packed = copy.deepcopy(plain)
    pack_linears(packed, torch.float32)
    x = torch.randn(shape, requires_grad=True)
    expected = ACTIVATIONS[activation](plain(x))
    with torch.inference_mode():
        found = activated(packed[0], x.detach(), activation)
    torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-5)
    again = activated(packed[0], x, activation)  # as in tuning, which needs gradients
    weights = torch.randn_like(expected)
    (ours,) = torch.autograd.grad((again * weights).sum(), x)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(5, 7, 3, padding=1, bias=False),
        nn.Conv2d(5, 7, 3, padding=1),
        nn.ConvTranspose2d(5, 7, 3, stride=2, bias=False),
        Pointwise(5, 7),
    ],
)
def test_folded_norms_are_still_there(conv: nn.Conv2d) -> None:
    norm = nn.BatchNorm2d(7).eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.copy_(torch.rand(7) + 0.5)
    x = torch.randn(2, 5, 9, 8)
    kept = conv.weight.detach().clone()
    weight = conv.weight
    expected = norm(conv(x))
    fold(conv, norm)
    torch.testing.assert_close(conv(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weight, kept, atol=0, rtol=0)  # the checkpoint's own


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_pointwise_convolution_is_a_product(layout: torch.memory_format) -> None:
    layer = Pointwise(6, 4)
    x = torch.randn(2, 6, 5, 3).to(memory_format=layout)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias))


@pytest.mark.parametrize("kernel", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 3, 61])
def test_products_equal_convolutions(kernel: int, length: int) -> None:
    conv, deconv = nn.Conv1d(8, 10, kernel), nn.ConvTranspose1d(5, 8, kernel)
    layer = ConvSwiglu(8, 5, kernel)
    layer.into.weight.data, layer.into.bias.data = into_matrix(conv.weight), conv.bias.data
    layer.back.weight.data, layer.bias.data = back_matrix(deconv.weight), deconv.bias.data
    x = torch.randn(2, length, 8)
    value, gate = conv(F.pad(x.transpose(1, 2), (kernel - 1, kernel - 1))).chunk(2, dim=1)
    whole = deconv(value * F.silu(gate)).transpose(1, 2)
    expected = whole[:, kernel - 1 : kernel - 1 + length]
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


class Double:
    """Gives each window back, and notes whether memory was held."""

    held = 0

    def run(self, window: np.ndarray, start_samples: int) -> np.ndarray:
        self.held = heap.users()
        return window[None]

    def set_queries(self, queries: object) -> None: ...

    def reset(self) -> None: ...


def test_memory_is_held_while_windows_run_and_given_back() -> None:
    query = Query(keep=(EncodedPrompt("x", np.ones(1, np.float32)),))
    before = heap.users()
    runners = [Double(), Double()]
    first, second = (SegmentStream(SegmentPlan(64, 64), 1, [query], r) for r in runners)
    assert heap.users() == before
    first.push(np.ones((1, 200), np.float32))
    second.push(np.ones((1, 200), np.float32))
    assert [r.held for r in runners] == [before + 1, before + 2]
    first.flush()
    assert heap.users() == before + 1
    del second
    gc.collect()
    assert heap.users() == before
