"""Textures: noise where its band is, lows where a drone is, and nothing that begins sharply."""

from __future__ import annotations

import numpy as np
import pytest

from stembridge.training import textures
from stembridge.training.material import Job, Material
from stembridge.training.mixer import OTHER_PARTS, stem_targets
from stembridge.training.pack import SAMPLE_RATE

MAKERS = (textures.sweep, textures.drone, textures.texture)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", range(4))
def test_a_texture_sounds_is_finite_and_repeats_with_its_seed(make, seed: int) -> None:
    row = make(6.0, np.random.default_rng(seed))
    assert row.shape == (6 * SAMPLE_RATE,) and row.dtype == np.float32
    assert np.isfinite(row).all() and abs(float(np.abs(row).max()) - 1.0) < 1e-6
    assert float(row.std()) > 0.01
    np.testing.assert_array_equal(row, make(6.0, np.random.default_rng(seed)))
    assert not np.array_equal(row, make(6.0, np.random.default_rng(seed + 100)))


@pytest.mark.parametrize("samples", [1, 64, 4096, 8193, 44100])
def test_noise_follows_its_band(samples: int) -> None:
    """A band that jumps by three octaves takes the noise's energy along."""
    points = -(-samples // 1024) + 1
    centres = np.where(np.arange(points) * 1024 < samples / 2, 800.0, 6400.0)
    noise = textures.moving_noise(centres, np.full(points, 0.3), samples, np.random.default_rng(3))
    assert noise.shape == (samples,) and np.isfinite(noise).all()
    if samples < 40000:
        return
    for half, wanted in ((noise[: samples // 2 - 6000], 800), (noise[samples // 2 + 6000 :], 6400)):
        power = np.abs(np.fft.rfft(half)) ** 2
        hertz = np.fft.rfftfreq(half.size, 1 / SAMPLE_RATE)
        near = np.abs(np.log2(np.maximum(hertz, 1) / wanted)) < 1
        assert power[near].sum() > 0.99 * power.sum()


@pytest.mark.parametrize("seed", range(6))
def test_a_drone_is_low_and_has_no_beats(seed: int) -> None:
    """It lies under 6 kHz, a good part under 700 Hz, and its level never jumps within 40 ms."""
    row = textures.drone(12.0, np.random.default_rng(seed)).astype(np.float64)
    power = np.abs(np.fft.rfft(row)) ** 2
    hertz = np.fft.rfftfreq(row.size, 1 / SAMPLE_RATE)
    assert power[hertz < 6000].sum() > 0.99 * power.sum()
    assert power[hertz < 700].sum() > 0.4 * power.sum()
    hop = SAMPLE_RATE // 25
    level = np.sqrt(np.square(row[: row.size // hop * hop]).reshape(-1, hop).mean(axis=1))
    loud = level[:-1] > 0.1 * level.max()
    assert (level[1:][loud] < 2.5 * level[:-1][loud]).all()


def test_textures_belong_to_other(tmp_path) -> None:
    job = Job("synth", "texture", "texture/0", 5.0)
    row = Material(None, tmp_path, [], [], 1).make_row(job)  # type: ignore[arg-type]
    assert row.shape == (2, 5 * SAMPLE_RATE) and 0.1 < np.abs(row).max() <= 0.9 + 1e-6
    assert "synth" in OTHER_PARTS
    targets = stem_targets({"synth": row}, row.shape[1])
    assert not targets[[0, 1, 3]].any() and targets[2].any()
