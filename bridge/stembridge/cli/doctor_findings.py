"""What a check of `stembridge doctor` is given and what it answers.

A check returns findings, in the order in which they are shown, and need not catch errors:
what breaks inside one becomes its finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One line: `ok` is as it should be, `optional` is not installed and need not be, `note`
    could be better, `problem` does not work."""

    level: Literal["ok", "optional", "note", "problem"]
    subject: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What the checks may want to know."""

    quick: bool


@dataclass(frozen=True)
class Check:
    """One row of `CHECKS`."""

    name: str
    run: Callable[[Context], list[Finding]]
