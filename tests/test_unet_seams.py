"""No seams: the error of `unet` does not stand out where the published windows have borders.

The measure is that of `tests/seams.py`, on the bundled example song (whose stems are known)
played round and round from a random second. The published windows are measured beside it, so
that a measure that sees nothing would fail too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seams import WINDOW_FRAMES, border_excess, published_vocals
from stembridge.evaluation_songs import read_song
from stembridge.prompts import NamePrompt, Query
from stembridge.resample import resample
from stembridge.separators import Mode, load_separator
from stembridge.separators.unet import Unet

STEMS = Path(__file__).resolve().parent.parent / "bridge/examples/stems/potassium"
RATE_HZ = 44100


@pytest.fixture(scope="module")
def unet() -> Unet:
    separator = load_separator("unet")
    assert isinstance(separator, Unet)
    return separator


def vocals_and_mixture(seconds: float, first_second: float) -> tuple[np.ndarray, np.ndarray]:
    song = read_song(STEMS)
    pair = np.stack([song.stems["vocals"], song.mixture])
    pair = np.stack([resample(x, song.sample_rate, RATE_HZ) for x in pair]).astype(np.float32)
    pair = np.roll(pair, -round(first_second * RATE_HZ), axis=2)
    rounds = int(np.ceil(seconds * RATE_HZ / pair.shape[2]))
    vocals, mixture = np.tile(pair, (1, 1, rounds))[:, :, : round(seconds * RATE_HZ)]
    return vocals, mixture


def excess_db(unet: Unet, first_second: float) -> tuple[float, float]:
    """At the one 512-frame border of 16 s: of the published windows, and of mode render."""
    truth, mixture = vocals_and_mixture(16.0, first_second)
    pair = (unet.modules["vocals"], unet.modules["instrumental"])
    reference = published_vocals(pair, mixture, WINDOW_FRAMES // 2) - truth
    query = Query(keep=(unet.encode(NamePrompt("vocals")),))
    made = (published_vocals(pair, mixture, 0), unet.separate(mixture, [query], "render")[0])
    published, render = (border_excess(x - truth, reference, mixture) for x in made)
    assert published.size == render.size == 1
    return float(published[0]), float(render[0])


def test_the_error_of_render_does_not_jump_at_window_borders(
    unet: Unet, random: np.random.Generator
) -> None:
    """At every whole second it was measured: render within 0.5 dB, published windows to 4.0."""
    assert abs(excess_db(unet, random.uniform(0, 12))[1]) < 1.0


def test_a_seam_would_be_seen(unet: Unet) -> None:
    """The same measure finds the seam of the published windows where it is widest."""
    published, render = excess_db(unet, 0.0)
    assert published > 2.0
    assert abs(render) < 0.5


@pytest.mark.parametrize("mode", ["mix", "live"])
def test_the_streams_know_no_borders(unet: Unet, random: np.random.Generator, mode: Mode) -> None:
    """Every step is like any other: the song some steps later is the same, bit for bit."""
    query = Query(keep=(unet.encode(NamePrompt("vocals")),))
    step = unet.stream([query], mode).step_samples
    audio = (0.1 * random.standard_normal((2, 3 * step + 100))).astype(np.float32)
    later = int(random.integers(1, 9)) * step
    moved = unet.separate(np.pad(audio, ((0, 0), (later, 0))), [query], mode)
    assert np.array_equal(moved[..., later:], unet.separate(audio, [query], mode))
