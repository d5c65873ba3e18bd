"""Short identities of weights, for the prompt spaces of the published systems."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

SAMPLES = 4096
"""Numbers looked at per tensor, spread evenly over it."""


def fingerprint(*states: Mapping[str, Tensor]) -> str:
    """8 hex digits that tell weights apart: over names, shapes and a spread of numbers."""
    digest = hashlib.sha256()
    for state in states:
        for name in sorted(state):
            tensor = state[name].detach()
            flat = tensor.reshape(-1)
            numbers = flat[:: max(1, flat.numel() // SAMPLES)].cpu().float().numpy()
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(np.ascontiguousarray(numbers, dtype="<f4").tobytes())
    return digest.hexdigest()[:8]
