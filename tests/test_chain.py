"""The chain's promises, with a separator whose stems are known exactly.

Whatever the rate, the number of channels, the length and the blocks: as much comes out as
went in, where it went in; target + remainder is the input; and no cut changes a sample.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_support import LENGTHS, RATES, cuts, half, noise, play, separator
from identity import IdentitySeparator
from stembridge.chain import SeparationChain
from stembridge.resample import resample

# --- length, alignment, sum -------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("own_channels", [1, 2])
@pytest.mark.parametrize("samples", LENGTHS)
def test_length_alignment_and_sum(rate, channels, own_channels, samples):
    sep = separator(channels=own_channels)
    audio = noise(channels, samples)
    chain = SeparationChain(sep.query("half"), rate, channels, separator=sep)
    target, remainder, heard = play(chain, cuts(audio, [1000, 1, 64, 333]))
    assert target.shape == remainder.shape == heard.shape == audio.shape
    np.testing.assert_allclose(target + remainder, audio, atol=1e-6)
    np.testing.assert_array_equal(heard, target)
    # After the end comes silence, as in a host that plays on: the filters ring into it.
    played_on = np.pad(audio, ((0, 0), (0, 4096)))
    there_and_back = resample(resample(played_on, rate, 44100), 44100, rate)[:, :samples]
    np.testing.assert_allclose(target, 0.5 * there_and_back, atol=3e-6)


@pytest.mark.parametrize("rate", RATES)
def test_the_end_of_a_file_is_a_host_that_plays_on_in_silence(rate):
    """So a bounce past the end of the song equals the command line to its last sample."""
    sep = separator()
    audio = noise(2, 8193)
    ended = SeparationChain(sep.query("half"), rate, 2, separator=sep)
    target, _, _ = play(ended, [audio])
    playing = SeparationChain(sep.query("half"), rate, 2, separator=sep)
    onward = playing.push(np.pad(audio, ((0, 0), (0, 4 * rate)))).target
    np.testing.assert_array_equal(target, onward[:, : audio.shape[1]])


def test_at_the_separators_own_rate_nothing_is_added():
    audio = noise(2, 10_000)
    sep = separator()
    target, remainder, _ = play(
        SeparationChain(sep.query("half"), 44100, 2, separator=sep), [audio]
    )
    np.testing.assert_array_equal(target, 0.5 * audio)
    np.testing.assert_array_equal(remainder, audio - target)


def test_what_lies_above_the_separators_range_is_in_the_remainder():
    high = np.sin(2 * np.pi * 9000 * np.arange(48000) / 48000).astype(np.float32)[np.newaxis]
    sep = separator(sample_rate=16000, channels=1)
    keep = play(SeparationChain(sep.query("all"), 48000, 1, separator=sep), [high])
    assert np.abs(keep[0][:, 1000:-1000]).max() < 1e-4
    # A preset that only removes keeps the full band.
    removed = play(SeparationChain(sep.query(remove="all"), 48000, 1, separator=sep), [high])
    np.testing.assert_allclose(removed[0][:, 1000:-1000], high[:, 1000:-1000], atol=1e-4)


@pytest.mark.parametrize("name", ["half", "loud", "none", "all"])
@pytest.mark.parametrize("level", [1e-6, 1.0, 7.9])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_sum_holds_for_inputs_beyond_full_scale(name, level, rate):
    audio = np.clip(noise(2, 20_000), -1, 1) * np.float32(level)
    sep = separator()
    target, remainder, _ = play(SeparationChain(sep.query(name), rate, 2, separator=sep), [audio])
    np.testing.assert_allclose(target + remainder, audio, rtol=0, atol=1e-6)
    if name != "loud":
        louder = np.abs(target) > np.abs(audio)
        np.testing.assert_array_equal((target + remainder)[~louder], audio[~louder])


def test_an_empty_keep_is_everything_but_what_is_removed():
    audio = noise(2, 5000)
    sep = separator()
    kept = play(SeparationChain(sep.query("half"), 48000, 2, separator=sep), [audio])
    rest = play(SeparationChain(sep.query(remove="half"), 48000, 2, separator=sep), [audio])
    np.testing.assert_allclose(rest[0], kept[1], atol=1e-7)
    np.testing.assert_allclose(rest[1], kept[0], atol=1e-7)


# --- cuts -------------------------------------------------------------------------------


@given(
    rate=st.sampled_from([8000, 44100, 48000, 96000]),
    channels=st.integers(1, 3),
    step=st.integers(1, 300),
    lookahead=st.integers(0, 500),
    together=st.booleans(),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=8),
)
def test_no_cut_changes_a_sample(rate, channels, step, lookahead, together, sizes):
    sep = IdentitySeparator(44100, 2, step, lookahead, together=together)
    audio = noise(channels, sum(sizes))
    effects = half(output="mix", remainder_gain_db=-6.0)
    whole = play(SeparationChain(effects, rate, channels, separator=sep), [audio])
    edges = np.cumsum([0, *sizes])
    pieces = [audio[:, a:b] for a, b in itertools.pairwise(edges)]
    cut = play(SeparationChain(effects, rate, channels, separator=sep), pieces)
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    rate=st.sampled_from([11025, 44100, 48000, 96000]),
    step=st.integers(1, 200),
    lookahead=st.integers(0, 300),
    block=st.sampled_from([None, 1, 64, 65, 128, 512]),
)
def test_in_real_time_each_block_is_answered_and_constantly_late(rate, step, lookahead, block):
    sep = IdentitySeparator(44100, 2, step, lookahead)
    audio = noise(2, 1500)
    preset = half(output="mix", target_gain_db=-3.0)
    chain = SeparationChain(preset, rate, 2, separator=sep)
    sizes = [block] if block else [1, 700, 64, 3]
    pieces = [piece for piece in cuts(audio, sizes) if block in (None, piece.shape[1])]
    out = [chain.process(piece) for piece in pieces]
    assert [o.shape for o in out] == [p.shape for p in pieces]
    late = np.concatenate(out, axis=1)
    aligned = play(SeparationChain(preset, rate, 2, separator=sep), [audio])[2]
    latency = chain.latency_samples
    assert not late[:, :latency].any()
    count = max(0, late.shape[1] - latency)
    np.testing.assert_array_equal(late[:, latency:], aligned[:, :count])
    assert latency == sum(chain.latency_parts().values())


def test_effects_do_not_depend_on_blocks_that_grow():
    # pedalboard's effects forget their state when a longer block than before arrives, and
    # take two samples of stereo for one channel.
    from stembridge.presets import EffectSpec

    effects = (EffectSpec("Reverb", {"room_size": 0.6}), EffectSpec("Compressor", {"ratio": 8.0}))
    sep = separator()
    preset = half("all", effects=effects)
    audio = noise(3, 30_000)
    whole = play(SeparationChain(preset, 44100, 3, separator=sep), [audio])[2]
    growing = [audio[:, :1], *cuts(audio[:, 1:], [1, 2, 2, 64, 1000, 3, 9000])]
    cut = play(SeparationChain(preset, 44100, 3, separator=sep), growing)[2]
    np.testing.assert_array_equal(whole, cut)
    assert np.abs(whole - audio).max() > 0.01


def test_feed_advance_take_is_push():
    sep = separator(together=True)
    audio = noise(3, 9000)
    audio[:, :700] = 0.0  # the first piece is silent: steps are counted from what follows
    chain = SeparationChain(sep.query("half"), 48000, 3, separator=sep)
    expected = play(SeparationChain(sep.query("half"), 48000, 3, separator=sep), [audio])[0]
    taken = []
    for piece in cuts(audio, [700, 31]):
        next_step, due = chain.samples_to_next_step, chain.due
        chain.feed(piece)
        assert (chain.due > due) == (piece.any() and piece.shape[1] >= next_step)
        if chain.due > 4:
            sep.advance(chain.streams)
            assert chain.due == 0
        taken.append(chain.take().target)
    taken.append(chain.flush().target)
    np.testing.assert_array_equal(np.concatenate(taken, axis=1), expected)
    assert len(chain.streams) == 2
    assert chain.memory_samples is not None and chain.memory_samples > 500
    assert chain.step_samples_host == pytest.approx(96 * 48000 / 44100)
