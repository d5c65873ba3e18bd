"""Masks of frames: which networks a plan runs, on windows or on the endless grid.

Two ways from magnitudes to the masks of a plan's queries:
- `unet_windows.window_masks` runs the newest `T` frames of several streams (modes live and mix);
- `GridMasks` keeps one `GridRun` per network of one stream (mode render) and starts them
  anew from kept frames when they were not running or the prompts have changed.

Invariant: per query, what comes out depends on that query and the mixture alone (further
vectors never share a batch with the leaves).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .layers.unet import BINS, FRAME_MULTIPLE
from .layers.unet_grid import LOOKAHEAD_FRAMES, REACH_FRAMES, GridRun, padded_frames
from .layers.unet_masks import own_mask, ratio_masks
from .layers.unet_packed import Affines
from .unet_queries import VOCALS_LEAF, Layout, Plan, PlannedQuery

if TYPE_CHECKING:
    from .unet import Networks


@dataclass(frozen=True)
class Prepared:
    """A plan with the affine maps of its prompts, for one set of networks."""

    plan: Plan
    layout: Layout
    networks: Networks
    pair: tuple[Affines, Affines]
    group: Affines
    extras: tuple[Affines, ...]


def prepare(plan: Plan, layout: Layout, networks: Networks) -> Prepared:
    """Work out norms and FiLM of all prompts once."""
    prompted = networks.prompted
    size = layout.prompt_size
    extras = [torch.from_numpy(vector)[None] for vector in plan.extras]
    return Prepared(
        plan,
        layout,
        networks,
        (networks.vocals.affines(), networks.instrumental.affines()),
        prompted.affines(torch.from_numpy(layout.rows)),
        tuple(networks.sounds.affines(v[:, :size], v[:, size:]) for v in extras),
    )


@dataclass
class Sigmoids:
    """Network outputs for the wanted frames, `(…, 2, frames, BINS)`, or None if not run."""

    pair: Tensor | None = None
    group: Tensor | None = None
    extras: tuple[Tensor, ...] = ()


def combine(prepared: Prepared, magnitudes: Tensor, found: Sigmoids) -> Tensor:
    """Masks `(queries, 2, frames, BINS)` of frames with `magnitudes` `(2, frames, BINS)`."""
    plan, layout = prepared.plan, prepared.layout
    ones = torch.ones_like(magnitudes)
    vocals = rest = ones
    if found.pair is not None:
        vocals, rest = ratio_masks(found.pair * magnitudes)
    group = [rest] if found.group is None else list(rest * ratio_masks(found.group * magnitudes))
    extras = [own_mask(magnitudes, sigmoid * magnitudes) for sigmoid in found.extras]
    others = frozenset(range(1, layout.leaves))

    def leaves_mask(leaves: frozenset[int]) -> Tensor | None:
        if not leaves:
            return None
        if len(leaves) == layout.leaves:
            return ones
        inside = leaves & others
        parts = [vocals] if VOCALS_LEAF in leaves else []
        if inside == others:
            parts.append(rest)
        else:
            parts += [group[leaf - 1] for leaf in sorted(inside)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)

    def mask(query: PlannedQuery) -> Tensor:
        total = leaves_mask(query.leaves)
        if query.keep:
            missed = ones if total is None else ones - total
            removed = leaves_mask(query.removed_leaves)
            for index in query.keep:
                kept = extras[index] if removed is None else extras[index] * (ones - removed)
                missed = missed * (ones - kept)
            total = ones - missed
        if total is None:
            total = torch.zeros_like(magnitudes)
        for index in query.remove:
            total = total * (ones - extras[index])
        return total

    return torch.stack([mask(query) for query in plan.queries])


class GridMasks:
    """The masks of a stream's frames in order, 256 frames late, without any borders.

    Frames come in by `push`; masks of the frames that are final go out, together with
    their magnitudes' frame numbers in mind: the `i`-th mask belongs to the `i`-th frame.
    Frames that are all zero need no mask, and while nothing else is due no network runs;
    the runs then start again from kept frames, far enough back for equal values.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._frames = torch.zeros(2, 0, BINS)
        self._kept_from = 0
        self._given = 0
        self._runs: dict[str, GridRun] | None = None

    def set_prepared(self, prepared: Prepared) -> None:
        """Other queries from the next mask on."""
        self._prepared, self._runs = prepared, None

    def push(self, magnitudes: Tensor, stop: int, last: bool = False) -> Tensor:
        """Take frames `(2, frames, BINS)`, return the masks of all frames before `stop`.

        With `last`, the frames are filled up to a multiple of 64 and nothing follows.

        Returns: `(queries, 2, stop - given before, BINS)`.
        """
        if last:
            total = self._kept_from + self._frames.shape[1] + magnitudes.shape[1]
            filling = magnitudes.new_zeros(2, padded_frames(total) - total, BINS)
            magnitudes = torch.cat([magnitudes, filling], dim=1)
        self._frames = torch.cat([self._frames, magnitudes], dim=1)
        first = self._given
        self._given = max(stop, first)
        wanted = self._frames[:, first - self._kept_from : self._given - self._kept_from]
        count = wanted.shape[1]
        if (count or self._runs is None) and not (count and wanted.amax() > 0):
            # Nothing to hear: whatever the mask, the result is zero.
            self._runs = None
            self._forget()
            return torch.zeros(len(self._prepared.plan.queries), 2, count, BINS)
        restart = self._runs is None
        sigmoids = self._restart(first, last) if restart else self._run(magnitudes, last)
        masks = combine(self._prepared, wanted, _cut(sigmoids, count))
        self._forget()
        return masks

    def _restart(self, first: int, last: bool) -> Sigmoids:
        """New runs over kept frames; what they say of frames before `first` is dropped."""
        start = max(0, (first - REACH_FRAMES) // FRAME_MULTIPLE * FRAME_MULTIPLE)
        start = max(start, self._kept_from)
        prepared, networks = self._prepared, self._prepared.networks
        self._runs = {}
        if prepared.plan.needs_pair:
            self._runs["vocals"] = GridRun(networks.vocals, prepared.pair[0])
            self._runs["instrumental"] = GridRun(networks.instrumental, prepared.pair[1])
        if prepared.plan.needs_group:
            rows = prepared.layout.leaves - 1
            self._runs["group"] = GridRun(networks.prompted, prepared.group, rows)
        for index, affines in enumerate(prepared.extras):
            self._runs[f"extra{index}"] = GridRun(networks.sounds, affines)
        found = self._run(self._frames[:, start - self._kept_from :], last)
        return _cut(found, None, first - start)

    def _run(self, magnitudes: Tensor, last: bool) -> Sigmoids:
        assert self._runs is not None
        out = {name: run.push(magnitudes, last) for name, run in self._runs.items()}
        found = Sigmoids()
        if "vocals" in out:
            found.pair = torch.cat([out["vocals"], out["instrumental"]])
        found.group = out.get("group")
        found.extras = tuple(out[f"extra{index}"][0] for index in range(len(self._prepared.extras)))
        return found

    def _forget(self) -> None:
        """Keep what a restart at the next mask would need."""
        start = (self._given - REACH_FRAMES) // FRAME_MULTIPLE * FRAME_MULTIPLE
        drop = start - self._kept_from
        if drop > 0:
            self._frames = self._frames[:, drop:].clone()
            self._kept_from = start


def _cut(found: Sigmoids, count: int | None, first: int = 0) -> Sigmoids:
    """Frames `first` to `first + count` of everything found."""
    stop = None if count is None else first + count

    def cut(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[..., first:stop, :]

    extras = tuple(x[:, first:stop] for x in found.extras)
    return Sigmoids(cut(found.pair), cut(found.group), extras)


__all__ = [
    "LOOKAHEAD_FRAMES",
    "GridMasks",
    "Prepared",
    "Sigmoids",
    "combine",
    "prepare",
]
