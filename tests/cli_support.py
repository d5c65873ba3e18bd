"""Running the command line in this process or as one of its own, on a separator of known sums.

`identity_separator` puts the identity separator into the table under the name "identity";
as a program this file is `stembridge` with that separator built in: `cli_program()`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from identity import IdentitySeparator, IdentityStream
from stembridge.audiofile import write_audio
from stembridge.cli import main
from stembridge.separators import SEPARATORS, SeparatorEntry, base
from stembridge.separators import _loaded as loaded_separators

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).resolve().parent


class SlowSeparator(IdentitySeparator):
    """The identity, taking its time: a tenth of a second for each push."""

    def stream(self, queries: Any, mode: base.Mode = "render") -> base.SeparatorStream:
        class SlowStream(IdentityStream):
            def push(self, chunk: Any) -> Any:
                time.sleep(0.1)
                return super().push(chunk)

        return SlowStream(self, queries)


@contextmanager
def identity_separator(separator: IdentitySeparator | None = None) -> Iterator[None]:
    """While in it, `-n identity` is a separator whose stems are multiples of the mixture."""
    made = separator or IdentitySeparator(step_samples=512)
    module: Any = ModuleType("stembridge.separators.identity_of_tests")
    module.load = lambda: made
    entry = SeparatorEntry("identity", "identity_of_tests", "for tests", True)
    previous = sys.modules.get(module.__name__, module)
    sys.modules[module.__name__] = module
    with (
        patch.dict(SEPARATORS, {"identity": entry}),
        patch.dict(loaded_separators),
    ):
        for key in [key for key in loaded_separators if key[0] == "identity"]:
            del loaded_separators[key]
        yield
    sys.modules[module.__name__] = previous


def run(*words: str | Path) -> int:
    """`stembridge WORDS` in this process; usage errors give argparse's code."""
    try:
        return main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)


def cli_program(*words: str | Path, slow: bool = False) -> list[str]:
    """The command of a process that runs `stembridge WORDS` with the identity built in."""
    return [sys.executable, __file__, "slow" if slow else "quick", *map(str, words)]


def environment() -> dict[str, str]:
    """The process's environment, with a terminal's colours and sizes out of it."""
    return {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}


def call(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `stembridge WORDS` as its own process to its end."""
    return subprocess.run(
        cli_program(*words), capture_output=True, text=True, env=environment(), **options
    )


def song(name: str, seconds: float = 1.0, channels: int = 2, rate: int = 44100) -> np.ndarray:
    """Noise, written as a 32-bit float file and returned, float32 `(channels, samples)`."""
    random = np.random.default_rng(len(name))
    samples = round(seconds * rate)
    audio = (0.1 * random.standard_normal((channels, samples))).astype(np.float32)
    write_audio(name, audio, rate, "32f")
    return audio


def files(folder: Path | str = ".") -> list[str]:
    """All files below the folder, by their paths in it."""
    base = Path(folder)
    return sorted(str(p.relative_to(base)) for p in base.rglob("*") if p.is_file())


def separate(*words: str | Path) -> int:
    """`stembridge separate -n identity WORDS` in this process."""
    return run("separate", "-n", "identity", *words)


def results(capsys: pytest.CaptureFixture[str]) -> dict:
    """The JSON document that was printed."""
    return json.loads(capsys.readouterr().out)


if __name__ == "__main__":
    chosen = SlowSeparator(step_samples=512) if sys.argv[1] == "slow" else None
    with identity_separator(chosen):
        sys.exit(main(sys.argv[2:]))
