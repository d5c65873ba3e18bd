"""What the tests of the chain share: a separator whose stems are known, audio, cuts, playing.

`play` also checks that the chain's blocks join without gap or overlap, so every test that
plays audio holds that promise besides its own.
"""

from __future__ import annotations

import numpy as np

from identity import IdentitySeparator
from stembridge.chain import SeparationChain
from stembridge.presets import Preset
from stembridge.prompts import NamePrompt

RATES = [8000, 44100, 48000, 88200, 96000, 192000]
LENGTHS = [0, 1, 64, 65, 8193]


def separator(**settings) -> IdentitySeparator:
    return IdentitySeparator(**{"step_samples": 96, "lookahead_samples": 130} | settings)


def noise(channels: int, samples: int, seed: int = 1, level: float = 0.3) -> np.ndarray:
    audio = np.random.default_rng(seed).standard_normal((channels, samples)) * level
    return audio.astype(np.float32)


def cuts(audio: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The audio in pieces of the given sizes, over and over until it ends."""
    pieces, start, turn = [], 0, 0
    while start < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        pieces.append(audio[:, start : start + size])
        start, turn = start + size, turn + 1
    return pieces


def play(chain: SeparationChain, pieces: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Target, remainder and what is heard of all pieces."""
    blocks, heard = [], []
    position = 0
    for piece in [*pieces, None]:
        block = chain.flush() if piece is None else chain.push(piece)
        assert block.start_samples == position, "blocks join without gap or overlap"
        position += block.samples
        blocks.append(block)
        heard.append(chain.finish(block))
    return (
        np.concatenate([b.target for b in blocks], axis=-1),
        np.concatenate([b.remainder for b in blocks], axis=-1),
        np.concatenate(heard, axis=-1),
    )


def half(keep: str = "half", remove: str = "", **settings) -> Preset:
    sides = [tuple(NamePrompt(n) for n in side.split()) for side in (keep, remove)]
    return Preset("test", keep=sides[0], remove=sides[1], **settings)
