"""Stembridge: solo or remove any sound in a mix by prompt.

The public names are loaded on first use, so that `import stembridge` and the command
line's `--help` cost no torch import.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "StembridgeError": "errors",
    "Separate": "effect",
    "Board": "board",
    "separate_file": "effect",
    "load_preset": "presets",
    "SeparationChain": "chain",
    "Server": "server",
    "tune": "tuning",
}
__all__ = ["__version__", *_EXPORTS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'stembridge' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{module}", __name__), name)
