"""What a query means for the U-Net: leaves, heads and the mask that they make.

A prompt vector is float32 `(3 + P)` or `(3 + P + F)`: one of three heads by a one (the vocals
network, the instrumental network, the prompted network), the `P` numbers that steer the
prompted network, and optionally `F` FiLM offsets that a tuned prompt adds on top.

Four *leaves* share out every bin and sum to 1: vocals, and the prompted network's own
rows (drums, bass, other) within what is not vocals. On leaves, keep is a union and remove
a set difference, so "keep instrumental, remove drums" is exactly bass + other. Any other
vector is masked by its own estimate and enters by probability: `1 - prod(1 - m)` to keep,
`prod(1 - m)` to remove.

Invariant: a query's mask depends on that query and the mixture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import PromptError
from ..prompts import EncodedPrompt, Query

HEADS = ("vocals", "instrumental", "prompted")
VOCALS_LEAF = 0


@dataclass(frozen=True)
class Layout:
    """Sizes of a prompt vector, and the rows that are leaves: `rows[i]` is leaf `i + 1`."""

    rows: np.ndarray
    """float32 `(leaves - 1, P)`."""
    offsets: int
    """`F`, the number of FiLM offsets that may follow."""

    @property
    def prompt_size(self) -> int:
        return int(self.rows.shape[1])

    @property
    def size(self) -> int:
        return len(HEADS) + self.prompt_size

    @property
    def leaves(self) -> int:
        return 1 + len(self.rows)

    def leaf_vector(self, leaf: int) -> np.ndarray:
        """The vector of a leaf's name."""
        vector = np.zeros(self.size, np.float32)
        if leaf == VOCALS_LEAF:
            vector[0] = 1.0
        else:
            vector[2] = 1.0
            vector[len(HEADS) :] = self.rows[leaf - 1]
        return vector

    def instrumental_vector(self) -> np.ndarray:
        """The vector of everything that is not vocals."""
        vector = np.zeros(self.size, np.float32)
        vector[1] = 1.0
        return vector


@dataclass(frozen=True)
class PlannedQuery:
    """A query resolved: leaves kept by a set, further vectors by index into the plan."""

    leaves: frozenset[int]
    """Leaves of the target, after removal."""
    keep: tuple[int, ...]
    """Further vectors to add, by index into `Plan.extras`."""
    remove: tuple[int, ...]
    """Further vectors to take away."""
    removed_leaves: frozenset[int]
    """Leaves to take away from the further vectors that are kept."""


@dataclass(frozen=True)
class Plan:
    """All queries of a stream, and the networks that they need."""

    queries: tuple[PlannedQuery, ...]
    extras: tuple[np.ndarray, ...]
    """Distinct vectors `(P + F)` beyond the leaves, offsets included (zeros if none)."""
    needs_pair: bool
    needs_group: bool


def check_vector(vector: np.ndarray, layout: Layout, label: str) -> None:
    """Refuse a vector of another size or without exactly one head.

    Raises:
        PromptError: naming the sizes or the heads.
    """
    sizes = (layout.size, layout.size + layout.offsets)
    if vector.shape not in {(size,) for size in sizes}:
        raise PromptError(
            f"The prompt {label!r} has {vector.size} numbers; this network takes {sizes[0]}, or "
            f"{sizes[1]} with FiLM offsets. Tune or encode it again."
        )
    heads = vector[: len(HEADS)]
    if sorted(heads) != [0.0, 0.0, 1.0]:
        raise PromptError(
            f"The prompt {label!r} must choose one head ({', '.join(HEADS)}) by a one and "
            "zeros. Tune or encode it again."
        )


def _leaves_of(vector: np.ndarray, layout: Layout) -> frozenset[int] | None:
    """The leaves that a vector stands for, or None for a vector of its own."""
    if vector[0] == 1.0:
        return frozenset({VOCALS_LEAF})
    if vector[1] == 1.0:
        return frozenset(range(1, layout.leaves))
    numbers, offsets = vector[len(HEADS) : layout.size], vector[layout.size :]
    if not offsets.any():
        for row, known in enumerate(layout.rows):
            if np.array_equal(known, numbers):
                return frozenset({row + 1})
    return None


def plan_queries(queries: Sequence[Query], layout: Layout) -> Plan:
    """Resolve queries whose prompts are of the right space.

    Raises:
        PromptError: no query, or a vector that does not fit (see `check_vector`).
    """
    if not queries:
        raise PromptError("Nothing to separate. Give at least one query.")
    extras: list[np.ndarray] = []
    everything = frozenset(range(layout.leaves))

    def resolve(prompts: Sequence[EncodedPrompt]) -> tuple[frozenset[int], tuple[int, ...]]:
        leaves: frozenset[int] = frozenset()
        others: list[int] = []
        for prompt in prompts:
            check_vector(prompt.vector, layout, prompt.label)
            known = _leaves_of(prompt.vector, layout)
            if known is not None:
                leaves |= known
                continue
            vector = np.zeros(layout.prompt_size + layout.offsets, np.float32)
            vector[: prompt.vector.size - len(HEADS)] = prompt.vector[len(HEADS) :]
            same = [i for i, extra in enumerate(extras) if np.array_equal(extra, vector)]
            if not same:
                extras.append(vector)
            others.append(same[0] if same else len(extras) - 1)
        return leaves, tuple(others)

    planned: list[PlannedQuery] = []
    needs_pair = needs_group = False
    for query in queries:
        kept, keep = resolve(query.keep) if query.keep else (everything, ())
        removed, remove = resolve(query.remove)
        leaves = kept - removed
        planned.append(PlannedQuery(leaves, keep, remove, removed))
        for used in (leaves, removed if keep else frozenset()):
            rest = used - {VOCALS_LEAF}
            needs_pair |= bool(used) and used != everything
            needs_group |= bool(rest) and len(rest) < layout.leaves - 1
    return Plan(tuple(planned), tuple(extras), needs_pair, needs_group)
