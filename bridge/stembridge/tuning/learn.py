"""The learning itself: gradient steps on the vector alone, judged on held-out mixtures.

Let `v0` be the mean encoded example. Adam moves the learnable part of `v` to lower

    loss(v) = mean over mixtures of log10(|s - f(x, v)|^2 / |s|^2 + FLOOR)

which is the negative SDR in tens of dB, softened where the error is already inaudible.
Every few steps the held-out mixtures are scored; the best vector so far is remembered and
learning ends when it has not improved for a while. A step taken on few clips can overshoot,
so the way back is searched too: the vectors `v0 + a (v - v0)` for a few `a <= 1` compete.
The winner was chosen by the held-out mixtures, so their score flatters it; a second set of
held-out mixtures, which chose nothing, decides. The vector replaces the mean only if its
gain there is clear: at least `LEAST_GAIN_DB` and larger than its own standard error.

Invariants: nothing but the returned vector changes; the same inputs and seed give the same
result on the same machine and thread count; an interrupt keeps the best vector until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..separators.tunable import Tunable
from .mixtures import Batch

FLOOR = 10 ** (-25 / 10)
"""Errors 25 dB below the target are good enough; the gradient goes to the others."""
LEAST_GAIN_DB = 0.1
BACKTRACK = (0.25, 0.5, 0.75)
EVALUATE_EVERY = 10
PATIENCE = 6
"""Evaluations without a better held-out score before learning ends."""

Step = Callable[[float, float], None]
"""Called with the finished fraction and the held-out gain so far in dB."""


@dataclass(frozen=True)
class Learned:
    """The outcome. SDRs are means over the deciding mixtures, in dB."""

    vector: np.ndarray
    """float32 `(dimensions,)`: the tuned vector, or the mean if `kept` is False."""
    tuned: np.ndarray
    """The tuned vector in any case."""
    kept: bool
    steps: int
    before_db: float
    after_db: float
    """Of the tuned vector, also when it was not kept."""
    spread_db: float
    """Standard deviation of the gain over the deciding mixtures."""
    curve: tuple[tuple[int, float], ...]
    """`(step, held-out SDR in dB)`, the first at step 0."""
    interrupted: bool


@dataclass(frozen=True)
class _Prepared:
    inputs: Any
    targets: Tensor


def sdr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Signal-to-distortion ratio per batch element, 10 log10(|s|^2 / |s - e|^2), `(batch,)`."""
    error = (estimate - target).flatten(1).square().sum(1)
    power = target.flatten(1).square().sum(1)
    return 10 * torch.log10((power + 1e-12) / (error + 1e-12))


def learn(
    tunable: Tunable,
    start: np.ndarray,
    batches: Iterable[Batch],
    held_out: Iterable[Batch],
    deciding: Iterable[Batch],
    *,
    steps: int,
    seed: int = 0,
    on_step: Step | None = None,
) -> Learned:
    """Learn a vector from `start` on `batches`; `held_out` chooses, `deciding` decides.

    `on_step` may raise KeyboardInterrupt to end learning early with the best so far; any
    other exception passes through.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        training = [_prepare(tunable, batch) for batch in batches]
        judged = [_prepare(tunable, batch) for batch in held_out]
        decided = [_prepare(tunable, batch) for batch in deciding]
    origin = torch.from_numpy(np.array(start, dtype=np.float32))
    offset = torch.zeros_like(origin[tunable.learnable], requires_grad=True)
    adam = _Adam(offset, tunable.step_size, steps)
    order = np.random.default_rng(seed)

    best_offset = offset.detach().clone()
    best_score = float(_scores(tunable, judged, origin).mean())
    curve = [(0, best_score)]
    stale, taken, interrupted = 0, 0, False
    try:
        while taken < steps and stale < PATIENCE:
            # Each pass over the pool takes the batches in a fresh order.
            for index in order.permutation(len(training)):
                if taken >= steps or stale >= PATIENCE:
                    break
                adam.step(_gradient(tunable, training[index], origin, offset))
                taken += 1
                if taken % EVALUATE_EVERY == 0 or taken == steps:
                    scores = _scores(tunable, judged, _join(tunable, origin, offset.detach()))
                    score = float(scores.mean())
                    curve.append((taken, score))
                    stale += 1
                    if score > best_score + 0.01:
                        best_offset, best_score, stale = offset.detach().clone(), score, 0
                if on_step is not None:
                    on_step(taken / steps, best_score - curve[0][1])
    except KeyboardInterrupt:
        interrupted = True

    vector = _backtrack(tunable, judged, origin, best_offset)
    before = _scores(tunable, decided, origin)
    gains = _scores(tunable, decided, vector) - before
    gain, spread = float(gains.mean()), float(gains.std(unbiased=False))
    kept = gain >= LEAST_GAIN_DB and gain > spread / len(gains) ** 0.5
    return Learned(
        vector=(vector if kept else origin).numpy().astype(np.float32),
        tuned=vector.numpy().astype(np.float32),
        kept=kept,
        steps=taken,
        before_db=float(before.mean()),
        after_db=float(before.mean()) + gain,
        spread_db=spread,
        curve=tuple(curve),
        interrupted=interrupted,
    )


def _prepare(tunable: Tunable, batch: Batch) -> _Prepared:
    return _Prepared(
        tunable.prepare(torch.from_numpy(batch.mixtures)),
        tunable.reference(torch.from_numpy(batch.targets)),
    )


def _join(tunable: Tunable, origin: Tensor, offset: Tensor) -> Tensor:
    """The whole vector: `origin` with `offset` added to its learnable part."""
    first, last, _ = tunable.learnable.indices(len(origin))
    return torch.cat([origin[:first], origin[first:last] + offset, origin[last:]])


class _Adam:
    """Adam on one tensor; its step falls along half a cosine to a twentieth of the first.

    Written out, because the first step of `torch.optim` imports a compiler: seconds of
    Python that stop the audio threads of a server.
    """

    BETAS = (0.9, 0.99)

    def __init__(self, values: Tensor, step_size: float, steps: int) -> None:
        self._values, self._first, self._steps = values, step_size, max(1, steps)
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)
        self._moved, self._taken = 0, 0

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Move by one gradient; one that is not finite moves nothing."""
        last = self._first / 20
        size = last + (self._first - last) * (1 + cos(pi * self._taken / self._steps)) / 2
        self._taken += 1
        if not torch.isfinite(gradient).all():
            return
        self._moved += 1
        slow, fast = self.BETAS
        self._mean.lerp_(gradient, 1 - slow)
        self._square.mul_(fast).addcmul_(gradient, gradient, value=1 - fast)
        spread = (self._square / (1 - fast**self._moved)).sqrt_().add_(1e-8)
        self._values.addcdiv_(self._mean, spread, value=-size / (1 - slow**self._moved))


def _gradient(tunable: Tunable, batch: _Prepared, origin: Tensor, offset: Tensor) -> Tensor:
    """Of the loss of one batch, by the learnable part alone."""
    estimate = tunable.estimate(batch.inputs, _join(tunable, origin, offset))
    error = (estimate - batch.targets).flatten(1).square().sum(1)
    power = batch.targets.flatten(1).square().sum(1) + 1e-12
    loss = torch.log10(error / power + FLOOR).mean()
    # autograd.grad, not backward: no gradient buffer of the separator is ever touched.
    (gradient,) = torch.autograd.grad(loss, offset)
    return gradient


@torch.no_grad()
def _scores(tunable: Tunable, judged: Sequence[_Prepared], vector: Tensor) -> Tensor:
    return torch.cat([sdr_db(tunable.estimate(b.inputs, vector), b.targets) for b in judged])


def _backtrack(
    tunable: Tunable, judged: Sequence[_Prepared], origin: Tensor, offset: Tensor
) -> Tensor:
    """The best of `origin + a * offset` on the held-out mixtures."""
    candidates = [_join(tunable, origin, share * offset) for share in (1.0, *BACKTRACK)]
    return max(candidates, key=lambda v: float(_scores(tunable, judged, v).mean()))
