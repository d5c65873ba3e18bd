"""What all separators share that hear whole segments: render mode alone, one stream class.

A subclass gives a plan of windows and a runner for the windows of one stream; the way along the
input (`segments`) is the same for all. Their options are checked here as well.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from ..errors import NotAvailableError
from ..prompts import Query, require_space
from .base import Mode, Separator, SeparatorStream
from .segments import SegmentPlan, SegmentRunner, SegmentStream

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

TAKERS = {
    "name": "unet, tuss, uss, demucs",
    "text": "clapsep, audiosep",
    "example": "clapsep, zeroshot, uss",
    "tuned": "unet, clapsep, zeroshot, uss, audiosep, tuss",
}
"""Which separators take a kind of prompt, for errors."""


class SegmentedSeparator(Separator):
    """A separator that works on windows, in mode "render"."""

    modes: tuple[Mode, ...] = ("render",)
    plan: SegmentPlan
    precision: Precision
    device: torch.device

    @abstractmethod
    def runner(self, queries: Sequence[Query]) -> SegmentRunner:
        """What runs the windows of one stream."""

    def stream(self, queries: Sequence[Query], mode: Mode = "render") -> SeparatorStream:
        if mode not in self.modes:
            raise NotAvailableError(
                f"{self.name} hears whole segments and runs in mode 'render' only, not {mode!r}. "
                "Choose mode 'render', or the separator 'unet'."
            )
        return SegmentStream(self.plan, self.channels, queries, self.runner(queries))

    def advance(self, streams: Sequence[SegmentStream]) -> None:
        """Run the due windows of several streams, one after the other."""
        for stream in streams:
            stream.advance()

    def latency_samples(self, mode: Mode) -> int:
        return self.plan.lookahead_samples + self.plan.hop - 1

    def arithmetic(self) -> AbstractContextManager[object]:
        """Run the network inside this: its large layers then compute in `precision`."""
        if self.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def require_own(self, queries: Sequence[Query]) -> None:
        """Every prompt must be of this separator's space.

        Raises:
            PromptError: naming the space that is needed.
        """
        for query in queries:
            require_space((*query.keep, *query.remove), self.space, self.name)

    def check_options(self, **options: tuple[str, Sequence[str]]) -> None:
        """Each option's value must be among the known ones.

        Raises:
            NotAvailableError: naming the known ones.
        """
        for what, (value, known) in options.items():
            if value not in known:
                raise NotAvailableError(
                    f"{self.name} has no {what} {value!r}. Choose one of: {', '.join(known)}."
                )


def pick_device(device: str) -> torch.device:
    """A torch device by name; "auto" takes the fastest that is there.

    Raises:
        NotAvailableError: for a device that this machine does not have.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device.split(":")[0], False):
        raise NotAvailableError(
            f"There is no device {device!r} here. Choose one of: "
            f"{', '.join(name for name, present in there.items() if present)}."
        )
    return torch.device(device)
