"""Electronic instruments: in tune, periodic, finite, and mixed as dance music is."""

from __future__ import annotations

import numpy as np
import pytest

from stembridge.training import material, synthesis
from stembridge.training.mixer import Mixer, Recipe, duck_gain
from stembridge.training.pack import SAMPLE_RATE, Pack
from stembridge.training.prepare import prepare
from stembridge.training.shelves import Shelf
from tiny_pack import write_tiny_pack

STILL = {
    "cutoff": 900.0,
    "open": 3.0,
    "resonance": 1.0,
    "decay": 0.2,
    "attack": 0.005,
    "sustain": 0.8,
    "fade": 0.3,
    "release": 0.05,
    "voices": 1.0,
    "detune": 0.0,
}


def _spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and the magnitudes of a windowed clip."""
    return (
        np.fft.rfftfreq(audio.size, 1 / SAMPLE_RATE),
        np.abs(np.fft.rfft(audio * np.hanning(audio.size))),
    )


@pytest.mark.parametrize("part", sorted(synthesis.MAKERS))
@pytest.mark.parametrize("seed", range(3))
def test_a_row_sounds_is_finite_and_repeats_with_its_seed(part: str, seed: int) -> None:
    make = synthesis.MAKERS[part]
    row = make(6.0, np.random.default_rng(seed))
    assert row.shape == (6 * SAMPLE_RATE,) and row.dtype == np.float32
    assert np.isfinite(row).all() and float(np.abs(row).max()) <= 1.0
    assert float(row.std()) > 0.01
    np.testing.assert_array_equal(row, make(6.0, np.random.default_rng(seed)))
    assert not np.array_equal(row, make(6.0, np.random.default_rng(seed + 100)))


@pytest.mark.parametrize("hertz", [41.2, 110.0, 987.8])
@pytest.mark.parametrize("name", synthesis.WAVES)
def test_a_note_is_in_tune_and_free_of_aliases(name: str, hertz: float) -> None:
    """All energy lies at multiples of the pitch: nothing folds down between them."""
    touch = STILL | {"sustain": 1.0, "open": 1.0, "attack": 0.002}
    sound = synthesis.note(hertz, 2.0, name, touch, np.random.default_rng(0))
    frequencies, magnitudes = _spectrum(sound[4000 : 4000 + SAMPLE_RATE])
    power = magnitudes**2
    order = np.round(frequencies / hertz)
    near = (np.abs(frequencies - order * hertz) < 6) & (order >= 1)
    assert power[near].sum() > 0.999 * power.sum()
    first = np.abs(frequencies - hertz) < 3
    assert power[first].sum() > 0.01 * power.sum()


def test_the_filter_of_a_note_closes() -> None:
    touch = STILL | {"cutoff": 300.0, "open": 12.0, "decay": 0.15}
    sound = synthesis.note(110.0, 1.5, "saw", touch, np.random.default_rng(0))

    def brightness(start: int) -> float:
        frequencies, magnitudes = _spectrum(sound[start : start + 4096])
        return float((frequencies * magnitudes).sum() / magnitudes.sum())

    assert brightness(500) > 1.5 * brightness(SAMPLE_RATE)


def test_a_square_has_odd_harmonics_alone() -> None:
    amplitudes = synthesis.wave("square", 100.0, np.random.default_rng(0))
    assert not amplitudes[1::2].any() and amplitudes[0::2].all()
    assert amplitudes.size * 100.0 < 16000 + 100


def test_kicks_are_low_and_hats_are_high() -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        for sound, low, high in (
            (synthesis.kick(rng), 20, 400),
            (synthesis.hat(rng, 0.05), 4000, 20000),
        ):
            frequencies, magnitudes = _spectrum(sound)
            inside = (frequencies > low) & (frequencies < high)
            assert (magnitudes[inside] ** 2).sum() > 0.6 * (magnitudes**2).sum()


def test_ducking_follows_the_drums() -> None:
    drums = np.zeros((2, SAMPLE_RATE), dtype=np.float32)
    drums[:, SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + 2000] = 0.7
    gain = duck_gain(drums, 0.8, 0.1)
    assert gain.shape == (SAMPLE_RATE,)
    np.testing.assert_allclose(gain[: SAMPLE_RATE // 2 - 500], 1.0, atol=1e-6)
    assert abs(gain[SAMPLE_RATE // 2 + 1000] - 0.2) < 0.02
    tail = gain[SAMPLE_RATE // 2 + 2500 :]
    assert (np.diff(tail) >= -1e-6).all() and 0.9 < tail[-1] < 1.0
    np.testing.assert_array_equal(duck_gain(np.zeros_like(drums), 0.8, 0.1), 1.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Pack, dict[str, Shelf]]:
    root = tmp_path_factory.mktemp("electronic")
    return prepare(write_tiny_pack(root / "data"), root / "cache", seed=1)


def test_electronic_rows_are_at_most_half_as_many_as_recorded_ones(prepared) -> None:
    for part in synthesis.MAKERS:
        ways = [row.way for row in prepared[1][part].rows]
        assert 3 * ways.count("synthetic") <= len(ways), part
        assert part == "synth" or "synthetic" in ways


def test_a_share_of_the_material_is_rows_of_the_whole(prepared) -> None:
    pack = prepared[0]
    whole = material.Material(pack, pack.cache, [], [], 1).jobs()
    part = material.Material(pack, pack.cache, [], [], 1, 0.5).jobs()
    assert [job for job in whole if material.is_kept(job.key, 0.5)] == part
    assert 0.2 * len(whole) < len(part) < 0.8 * len(whole)
    assert all(material.is_kept(job.key, 1.0) for job in whole)


def test_pumped_mixtures_keep_their_sum_and_their_drums(prepared) -> None:
    """Ducking changes bass and layers alone, and what is mixed is still what is wanted."""
    samples = 32768
    plain = Recipe(seconds=samples / SAMPLE_RATE, pumped_share=0.0, limited_share=0.0)
    pumped = Recipe(seconds=samples / SAMPLE_RATE, pumped_share=1.0, limited_share=0.0)
    changed = 0
    for seed in range(12):
        before = Mixer(prepared[1], plain).draw(np.random.default_rng(seed))
        after = Mixer(prepared[1], pumped).draw(np.random.default_rng(seed))
        assert before.keys() == after.keys()
        if "drums" not in after or "bass" not in after:
            continue
        quieter = np.abs(after["bass"]).sum() / np.abs(after["drums"]).sum()
        assert quieter < np.abs(before["bass"]).sum() / np.abs(before["drums"]).sum()
        changed += 1
    assert changed > 3
