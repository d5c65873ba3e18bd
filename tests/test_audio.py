"""Shapes, rates, levels: what is taken, what is cleaned, what is refused with which advice."""

from __future__ import annotations

import math

import numpy as np
import pedalboard
import pytest

from stembridge.audio import (
    Layout,
    as_channels_first,
    check_block,
    check_channels,
    check_sample_rate,
    db_to_gain,
    sanitize,
)
from stembridge.errors import AudioError


@pytest.mark.parametrize(
    ("shape", "channels", "axis", "flat"),
    [
        ((5,), 1, 1, True),
        ((0,), 1, 1, True),
        ((1, 1), 1, 1, False),
        ((1, 9), 1, 1, False),
        ((9, 1), 1, 0, False),
        ((2, 100), 2, 1, False),
        ((100, 2), 2, 0, False),
        ((7, 8), 7, 1, False),
        ((3, 2), 2, 0, False),
        ((2, 0), 2, 1, False),
        ((0, 2), 2, 0, False),
    ],
)
def test_layout_is_guessed_and_restored(shape, channels, axis, flat):
    audio = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    first, layout = as_channels_first(audio)
    assert layout == Layout(channels, axis, flat)
    assert first.shape == (channels, audio.size // channels)
    np.testing.assert_array_equal(layout.restore(first), audio)


@pytest.mark.parametrize("shape", [(2, 50), (50, 2), (1, 50), (50, 1), (7, 50), (40, 50)])
def test_the_guess_is_pedalboards(shape, random):
    # A delay of one sample tells along which axis pedalboard believes time to run.
    audio = random.standard_normal(shape).astype(np.float32)
    delay = pedalboard.Delay(delay_seconds=1 / 1000, feedback=0.0, mix=1.0)
    first, layout = as_channels_first(audio)
    ours = np.zeros_like(first)
    ours[:, 1:] = first[:, :-1]
    np.testing.assert_allclose(delay(audio, 1000), layout.restore(ours), atol=1e-6)


def test_a_short_last_chunk_keeps_the_layout_of_its_stream():
    for shape, layout in [((2, 1), Layout(2, 1)), ((2, 2), Layout(2, 1)), ((1, 2), Layout(2, 0))]:
        first, found = as_channels_first(np.zeros(shape, np.float32), hint=layout)
        assert found == layout and first.shape[0] == 2


@pytest.mark.parametrize(
    ("audio", "advice"),
    [
        (np.zeros((2, 2), np.float32), "more samples"),
        (np.zeros((2, 2, 2), np.float32), "dimensions"),
        (np.zeros((0, 0), np.float32), "at least one channel"),
        (np.zeros((2, 9), np.int16), "32768"),
        (np.zeros((2, 9), np.complex64), "float32"),
        ("song.wav", "float32"),
        (np.float32(1.0), "Give"),
    ],
)
def test_what_is_no_audio_is_refused_with_advice(audio, advice):
    with pytest.raises(AudioError, match=advice):
        as_channels_first(audio)


def test_blocks_keep_their_channels():
    assert check_block(np.zeros((2, 3)), 2).dtype == np.float32
    for shape in [(3, 2), (2,), (2, 3, 1)]:
        with pytest.raises(AudioError, match="channels first"):
            check_block(np.zeros(shape, np.float32), 2)


@pytest.mark.parametrize("rate", [0, -1, 44100.5, math.nan, math.inf, "fast", None, 999, 10**9])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(AudioError, match="44100"):
        check_sample_rate(rate)


def test_possible_rates_and_channels_pass():
    assert check_sample_rate(44100.0) == 44100
    assert check_channels(7) == 7
    for channels in (0, -1, 1.5, 257, True):
        with pytest.raises(AudioError):
            check_channels(channels)


def test_sanitize_silences_what_is_no_sound_and_only_that():
    audio = np.array([[np.nan, np.inf, -np.inf, 1e-40, -1e-42, 3e38, 0.5, -7.0, 2.1e9, -0.0]])
    clean = sanitize(audio.astype(np.float32))
    np.testing.assert_array_equal(
        clean, np.array([[0, 0, 0, 0, 0, 0, 0.5, -7.0, 2.1e9, 0]], np.float32)
    )
    assert np.isnan(audio[0, 0]), "the caller's array is never changed"


def test_sanitize_copies_even_clean_audio():
    audio = np.ones((2, 4), np.float32)
    sanitize(audio)[0, 0] = 5.0
    assert audio[0, 0] == 1.0


def test_decibels():
    assert db_to_gain(0.0) == 1.0
    assert db_to_gain(-math.inf) == 0.0
    assert db_to_gain(-20.0) == pytest.approx(0.1)
    for wrong in (math.nan, math.inf, 61.0):
        with pytest.raises(AudioError, match="dB"):
            db_to_gain(wrong)
