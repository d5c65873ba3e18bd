"""Convolutions over frames with half the multiplications: four columns at a time.

A filter of three taps over four neighbouring outputs, `y_i = sum_k g_k d_(i+k)`, takes 12
multiplications when done directly. The same sums are the transpose of a product of two
polynomials, four coefficients times three, and a product of degree five is fixed by its values
at six points (Toom and Cook; Winograd, 1980; for networks Lavin and Gray, arXiv 1509.09308).
With `V_n` the values of `1, x, ... x^(n-1)` at those points, one of them infinity, which reads
the leading coefficient:

    product   s = V_6^-1 [(V_4 u) * (V_3 g)]       transposed in u:
    filter    y = V_4^T  [(V_3 g) * (V_6^-T d)]    six multiplications

    d: 6 columns ──V_6^-T──> 6 points ── one convolution over bins each ──V_4^T──> 4 columns

Both matrices of data are tiny and act on whole columns, so they are matrix products that run
at the speed of memory; `V_3 g` is computed once. In a transposed convolution of stride 2 odd
output columns have three taps and even ones two, of the same input. With two taps the value at
infinity is 0. So four columns of each kind take 6 + 5 products, where the direct sums take 20.

Points are 0, 1, -1, 1/2, -2 and infinity: small powers of two with little cancellation. In
float32 the error is about 1.6 times that of the direct sums; bfloat16 has too few digits.

Invariants: immutable; results as those of `unet_up.DirectUp`; any number of columns, the last
tile being cut short.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .unet import BINS, STEPS
from .unet_convolution import Convolution, pack, phase_kernel
from .unet_up import NO_CUT, Cut, Data

TILE = 4
"""Output columns made at once."""
_FINITE = (0.0, 1.0, -1.0, 0.5, -2.0)
_POINTS = len(_FINITE) + 1
_UNIT_POINT = 1
"""The point 1: what is added there is added to every output of a tile."""


def _values(terms: int) -> np.ndarray:
    """Values of `1, x, ... x^(terms-1)` at all points, infinity last: `(points, terms)`."""
    finite = [[x**power for power in range(terms)] for x in _FINITE]
    return np.array([*finite, [0.0] * (terms - 1) + [1.0]])


_OF_TAPS = torch.from_numpy(_values(3))
_TO_POINTS = torch.from_numpy(np.linalg.inv(_values(_POINTS)).T.astype(np.float32))
_TO_COLUMNS = torch.from_numpy(_values(TILE).T.astype(np.float32))


def kernels_at_points(weight: Tensor) -> Tensor:
    """A kernel `(out, in, 2 or 3 frames, bins)` at every point: `(points, out, in, bins)`."""
    taps = _OF_TAPS[:, : weight.shape[2]]
    return torch.einsum("pk,oikb->poib", taps, weight.double())


def to_points(columns: Tensor, points: Tensor) -> None:
    """Columns of data to their points, tile by tile.

    Args:
        columns: `(batch, outputs + taps - 1, numbers)`, columns at any distance in memory.
        points: where they go, `(3 + taps, batch, tiles, numbers)`.
    """
    count, _, tiles, _ = points.shape
    matrix = _TO_POINTS[:count, :count]
    whole = (columns.shape[1] - count) // TILE + 1
    for row, one in enumerate(columns):
        if whole:
            data = one.unfold(0, count, TILE).transpose(1, 2)
            out = points[:, row, :whole].transpose(0, 1)
            torch.bmm(matrix.expand(whole, -1, -1), data, out=out)
        if whole < tiles:
            # What is missing reaches only outputs that nobody asked for.
            rest = one[whole * TILE :]
            torch.mm(matrix[:, : len(rest)], rest, out=points[:, row, whole])


def to_columns(products: Sequence[Tensor], bins: int, count: int) -> Tensor:
    """Six products `(batch, tiles, bins or more, channels)` to `(batch, count, bins, channels)`.

    The one at infinity may have fewer channels, the last ones: the others have two taps.
    """
    batch, tiles, _, channels = products[0].shape
    finite = torch.stack([product[:, :, :bins] for product in products[:-1]], dim=2)
    finite = torch.matmul(_TO_COLUMNS[:, :-1], finite.flatten(3))
    columns = finite.view(batch, tiles, TILE, bins, channels)
    # Infinity reads the leading coefficient, so it reaches the last column of a tile alone.
    last = products[-1]
    columns[:, :, -1, :, channels - last.shape[3] :] += last[:, :, :bins]
    return columns.flatten(1, 2)[:, :count]


class FastUp:
    """An up step as `unet_up.UpStep`: the 5x5 transposed convolution of stride 2, then ReLU.

    Args:
        step: of the way up.
        weight: `(in, out, 5, 5)`.
        bias: `(out)`.
    """

    bin_phases = (0, 1)

    def __init__(self, step: int, weight: Tensor, bias: Tensor) -> None:
        self._phases: list[list[Convolution]] = []
        for phase in self.bin_phases:
            even, odd = (kernels_at_points(phase_kernel(weight, time, phase)) for time in (0, 1))
            kernels = [torch.cat(pair)[:, :, None] for pair in zip(even, odd, strict=True)]
            kernels[-1] = odd[-1][:, :, None]
            bins = BINS >> (STEPS - step)
            self._phases.append(_pack(kernels, bias.repeat(2), bins))

    def read(self, buffer: Tensor, cut: Cut = NO_CUT) -> Data:
        """Columns n-1 … n+pairs, `(batch, pairs + 2, bins, in)`, at the points."""
        batch, columns, bins, channels = buffer.shape
        tiles = -(-(columns - 2) // TILE)
        points = buffer.new_empty(_POINTS, batch, tiles, bins * channels)
        to_points(buffer.flatten(2), points)
        points = points.view(_POINTS, batch, tiles, bins, channels)
        return Data(points, points)

    def parts(self, data: Data, phase: int, added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The products of one phase of the bins."""
        points = data.odd
        batch, tiles = points.shape[1:3]
        products: list[Tensor] = []
        for index, run in enumerate(self._phases[phase]):
            more = None if added is None else added[index].flatten(0, 1)[None]
            product = run(points[index].flatten(0, 1)[None], more)
            products.append(product.view(batch, tiles, *product.shape[2:]))
        return products

    def write(
        self,
        parts: Sequence[Tensor],
        phase: int,
        affine: tuple[Tensor, Tensor],
        even: Tensor,
        odd: Tensor,
    ) -> None:
        """The finished columns of one phase of the bins, after ReLU and an affine map."""
        gain, shift = affine
        both = to_columns(parts, even.shape[2] // 2, even.shape[1]).relu_()
        for raw, out in zip(both.chunk(2, dim=3), (even, odd), strict=True):
            torch.addcmul(shift, gain, raw, out=out[:, :, phase::2])


def _pack(kernels: Sequence[Tensor], bias: Tensor, bins: int) -> list[Convolution]:
    """The convolutions of all points; the bias comes in at one of them."""
    packed: list[Convolution] = []
    for point, kernel in enumerate(kernels):
        there = bias if point == _UNIT_POINT else torch.zeros(len(kernel))
        packed.append(pack(kernel, there, bins, torch.float32, pad_bins=1, relu=False))
    return packed
