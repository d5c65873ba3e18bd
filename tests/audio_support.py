"""Sound for the tests of audio files."""

from __future__ import annotations

import numpy as np


def music(samples: int, channels: int = 2, level: float = 0.5) -> np.ndarray:
    """Smooth sound, different in each channel, that lossy codecs keep well."""
    time = np.arange(samples) / 44100
    rows = [np.sin(2 * np.pi * (220 * (1 + c) * time + 40 * time**2)) for c in range(channels)]
    return (level * np.array(rows)).astype(np.float32).reshape(channels, samples)
