"""Windows of several streams through the networks in common calls (modes live and mix).

`window_masks` runs the newest `T` frames of each stream and takes the few frames that are due.
Equal windows run once; what a stream's next window reads again of this one is kept by the
stream (`WindowMemory`; which columns these are says `layers/unet_down.py`).

Invariants: per query, what comes out depends on that query and the mixture alone (further
vectors never share a batch with the leaves); what is kept changes no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .layers.unet_down import Kept
from .layers.unet_packed import Affine, Affines, PackedUNet
from .layers.unet_window import run_window
from .side_by_side import side_by_side
from .unet_engine import Prepared, Sigmoids, combine


@dataclass
class WindowMemory:
    """What one stream keeps from window to window: columns of every network."""

    start: int = 0
    """The number of the window's first frame; windows follow each other step by step."""
    _kept: dict[int, Kept] = field(default_factory=dict)

    def of(self, network: PackedUNet) -> Kept:
        """The columns of one network."""
        return self._kept.setdefault(id(network), Kept())


@dataclass(frozen=True)
class WindowJob:
    """What is wanted of which window, magnitudes `(2, T, BINS)`."""

    prepared: Prepared
    window: Tensor
    memory: WindowMemory | None = None
    """None: the window stands for itself."""


def window_masks(jobs: Sequence[WindowJob], first: int, stop: int) -> list[Tensor]:
    """Masks of frames `first` to `stop` of each job's window, in common network calls.

    Equal windows (instances on copies of a track) go through a network once.

    Args:
        jobs: of windows of equal T, all of the same networks.

    Returns: per job `(queries, 2, stop - first, BINS)`.
    """
    found = [Sigmoids() for _ in jobs]
    networks, like = jobs[0].prepared.networks, _first_equal([job.window for job in jobs])
    common = jobs[0].prepared

    def run(
        network: PackedUNet,
        wanted: Sequence[int],
        affines: Affines,
        spread: Tensor | None = None,
        share_skips: bool = True,
    ) -> Tensor:
        """One network on the distinct windows of some jobs."""
        distinct = sorted({like[i] for i in wanted})
        memories = [jobs[i].memory for i in distinct]
        kept = [(m.of(network), m.start) for m in memories if m is not None]
        windows = [jobs[i].window for i in distinct]
        masks = run_window(
            network, windows, affines, first, stop, spread,
            share_skips=share_skips, kept=kept if len(kept) == len(distinct) else (),
        )  # fmt: skip
        for i in wanted:
            mine, theirs = jobs[i].memory, jobs[like[i]].memory
            if like[i] != i and mine is not None and theirs is not None:
                mine.of(network).take_over(theirs.of(network), mine.start - theirs.start)
        return masks

    def rows_of(wanted: Sequence[int]) -> list[int]:
        """For each of some jobs the place of its window among their distinct ones."""
        distinct = sorted({like[i] for i in wanted})
        return [distinct.index(like[i]) for i in wanted]

    pair = [i for i, job in enumerate(jobs) if job.prepared.plan.needs_pair]
    group = [i for i, job in enumerate(jobs) if job.prepared.plan.needs_group]
    extras = [(i, affines) for i, job in enumerate(jobs) for affines in job.prepared.extras]
    rows = common.layout.leaves - 1

    def run_group() -> Tensor:
        windows = max(rows_of(group)) + 1
        spread = torch.arange(windows).repeat_interleave(rows)
        return run(networks.prompted, group, _repeat(common.group, windows), spread)

    def run_extras() -> Tensor:
        wanted = [i for i, _ in extras]
        affines = _joined(networks.sounds.condition, [affines for _, affines in extras])
        # A result's own way up, so that its bits do not depend on who shares its encoding.
        return run(networks.sounds, wanted, affines, torch.tensor(rows_of(wanted)), False)

    work: dict[str, Callable[[], Tensor]] = {}
    if group:
        work["group"] = run_group
    if extras:
        work["extras"] = run_extras
    if pair:
        work["vocals"] = lambda: run(networks.vocals, pair, common.pair[0])
        work["rest"] = lambda: run(networks.instrumental, pair, common.pair[1])
    masks = dict(zip(work, side_by_side(list(work.values())), strict=True))
    if pair:
        for row, i in zip(rows_of(pair), pair, strict=True):
            found[i].pair = torch.stack([masks["vocals"][row], masks["rest"][row]])
    if group:
        for row, i in zip(rows_of(group), group, strict=True):
            found[i].group = masks["group"][row * rows : (row + 1) * rows]
    if extras:
        for (i, _), mask in zip(extras, masks["extras"], strict=True):
            found[i].extras = (*found[i].extras, mask)
    return [
        combine(job.prepared, job.window[:, first:stop], result)
        for job, result in zip(jobs, found, strict=True)
    ]


def _first_equal(windows: Sequence[Tensor]) -> list[int]:
    """For each window the index of the first one that equals it."""
    firsts: list[int] = []
    sums = [float(window[:, -1].sum()) for window in windows]  # of the newest frame: a quick no
    for i, window in enumerate(windows):
        same = (j for j in firsts if sums[j] == sums[i] and torch.equal(windows[j], window))
        firsts.append(firsts[j] if (j := next(same, None)) is not None else i)
    return firsts


def _repeat(affines: Affines, times: int) -> Affines:
    """The maps of `times` batches one after the other (plain layers stay shared)."""

    def many(maps: tuple[tuple[Tensor, Tensor], ...]) -> tuple[tuple[Tensor, Tensor], ...]:
        return tuple(
            (g.repeat(times, 1, 1, 1), s.repeat(times, 1, 1, 1)) if g.shape[0] > 1 else (g, s)
            for g, s in maps
        )

    return affines if times == 1 else Affines(many(affines.down), many(affines.up))


def _joined(condition: str, parts: Sequence[Affines]) -> Affines:
    """The maps of several prompts of one network, one after the other."""

    def one(maps: Iterable[tuple[Affine, ...]], prompted: bool) -> tuple[Affine, ...]:
        return tuple(
            (torch.cat([g for g, _ in each]), torch.cat([s for _, s in each]))
            if prompted
            else each[0]
            for each in maps
        )

    if len(parts) == 1:
        return parts[0]
    down = one(zip(*(p.down for p in parts), strict=True), condition == "all")
    return Affines(down, one(zip(*(p.up for p in parts), strict=True), True))
