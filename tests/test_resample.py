"""Resampling in physics: tones below the cut-off live, tones above die, nothing moves in time,
and no way of cutting the input changes a single bit."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.errors import AudioError
from stembridge.resample import Resampler, resample

TOLERANCE = 1e-5
PAIRS = [
    (48000, 44100),
    (44100, 48000),
    (96000, 44100),
    (88200, 44100),
    (44100, 88200),
    (8000, 44100),
    (44100, 8000),
    (192000, 48000),
    (11025, 48000),
    (44100, 44101),  # a cycle of a second: weights from the table
    (47999, 32000),
]


def tone(hz: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / rate).astype(np.float32)[np.newaxis]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_tone_below_the_cut_off_stays_itself_in_time_and_level(old, new):
    # Compared with the same tone made at the new rate: a shift of a thousandth of a sample
    # or a level off by 0.0001 dB would show.
    hz = 0.4 * min(old, new)
    out = resample(tone(hz, old, old // 4), old, new)
    edge = 150 * math.ceil(max(1.0, new / old))
    expected = tone(hz, new, out.shape[1])
    np.testing.assert_allclose(out[:, edge:-edge], expected[:, edge:-edge], atol=TOLERANCE)


@pytest.mark.parametrize(("old", "new"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_a_tone_above_the_new_nyquist_dies(old, new):
    hz = (new / 2 + old / 2) / 2 if old > 1.1 * new else new / 2 * 1.002
    out = resample(tone(hz, old, old // 4), old, new)[:, 200:-200]
    assert np.abs(out).max() < 1e-4 if old > 1.1 * new else np.abs(out).max() < 2e-3


@pytest.mark.parametrize(("old", "new"), [(44100, 96000), (8000, 44100), (44100, 44101)])
def test_going_up_adds_no_images(old, new):
    hz = 0.3 * old
    out = resample(tone(hz, old, old // 2), old, new)[0]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
    image = round((old - hz) / new * out.size)
    if image < spectrum.size - 5:
        assert spectrum[image - 4 : image + 5].max() < 1e-5 * spectrum.max()


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("samples", [0, 1, 2, 64, 65, 1000])
def test_length_is_exact(old, new, samples):
    assert resample(np.ones((2, samples), np.float32), old, new).shape == (
        2,
        math.ceil(samples * new / old),
    )


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_constant_stays_exactly_constant(old, new):
    out = resample(np.ones((1, old // 4), np.float32), old, new)
    edge = 150 * math.ceil(max(1.0, new / old))
    np.testing.assert_allclose(out[:, edge:-edge], 1.0, atol=3e-6)


def test_there_and_back_again_is_aligned(random):
    # Band-limited noise: below the cut-off of both directions nothing may change.
    spectrum = np.fft.rfft(random.standard_normal(48000))
    spectrum[int(0.4 * 44100) :] = 0
    noise = np.fft.irfft(spectrum).astype(np.float32)[np.newaxis]
    back = resample(resample(noise, 48000, 44100), 44100, 48000)
    assert back.shape == noise.shape
    np.testing.assert_allclose(back[:, 300:-300], noise[:, 300:-300], atol=TOLERANCE * 2)


def test_equal_rates_pass_every_bit(random):
    audio = random.standard_normal((3, 777)).astype(np.float32)
    np.testing.assert_array_equal(resample(audio, 44100, 44100), audio)
    assert Resampler(44100, 44100, 3).lookahead_samples == 0


@given(
    pair=st.sampled_from(PAIRS),
    lanes=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=8),
)
def test_cuts_never_change_a_bit(pair, lanes, sizes):
    audio = np.random.default_rng(len(sizes)).standard_normal((lanes, sum(sizes)))
    audio = audio.astype(np.float32)
    whole = resample(audio, *pair)
    stream = Resampler(*pair, lanes)
    edges = np.cumsum([0, *sizes])
    pieces = []
    for a, b in itertools.pairwise(edges):
        before = stream._returned
        pieces.append(stream.push(audio[:, a:b]))
        promised = max(0, int(stream.timing.ready(np.asarray(b))))
        assert before + pieces[-1].shape[1] == promised
    pieces.append(stream.flush())
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


@pytest.mark.parametrize("pair", [(48000, 44100), (44100, 44101)])
def test_a_lane_does_not_depend_on_its_neighbours(pair, random):
    audio = random.standard_normal((5, 3000)).astype(np.float32)
    together = resample(audio, *pair)
    for lane in range(5):
        np.testing.assert_array_equal(resample(audio[lane : lane + 1], *pair)[0], together[lane])


def test_a_flushed_stream_is_as_new(random):
    audio = random.standard_normal((1, 500)).astype(np.float32)
    stream = Resampler(48000, 44100, 1)
    first = np.concatenate((stream.push(audio), stream.flush()), axis=1)
    second = np.concatenate((stream.push(audio), stream.flush()), axis=1)
    np.testing.assert_array_equal(first, second)


def test_flush_gives_as_much_as_asked(random):
    audio = random.standard_normal((1, 500)).astype(np.float32)
    for total in (459, 460, 700):
        stream = Resampler(48000, 44100, 1)
        ready = stream.push(audio)
        assert ready.shape[1] + stream.flush(total).shape[1] == total


def test_leading_axes_are_kept():
    assert resample(np.zeros((4, 2, 480), np.float32), 48000, 44100).shape == (4, 2, 441)


def test_bad_rates_are_refused():
    with pytest.raises(AudioError):
        Resampler(0, 44100, 1)
