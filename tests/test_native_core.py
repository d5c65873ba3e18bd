"""The plugin's real-time core, driven block by block without a DAW.

Promises: constant latency whether a server is there or not, exact mixes, and a latency formula
that is enough and least.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_support import (
    FACTOR,
    FADE,
    RATE,
    InlineServer,
    delayed,
    feed,
    make_core,
    noise,
    wet_share,
)
from stembridge import _native
from stembridge.errors import LinkError

# --- alone --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [44100, 48000, 88200, 96000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sizes", [[1], [64], [65], [128], [8192], [8193, 3], [1, 8192, 441]])
def test_without_server_it_plays_the_delayed_input(rate, channels, sizes):
    samples = 2000 if sizes == [1] else 40000
    core = make_core(latency=1777, channels=channels, rate=rate)
    audio = noise(channels, samples)
    out = feed(core, audio, sizes)
    assert np.array_equal(out, delayed(audio, 1777))
    assert core.status()["state"] == "no_server"
    assert core.status()["missed_blocks"] == 0


@settings(max_examples=40, deadline=None)
@given(
    latency=st.integers(0, 5000),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    fade=st.sampled_from([0.0, 0.001, 0.005]),
    serve=st.booleans(),
)
def test_whatever_the_blocks_the_output_is_aligned(latency, sizes, fade, serve):
    core = make_core(latency=latency, max_block=3000, fade_seconds=fade)
    server = InlineServer(core.link_name) if serve else None
    audio = noise(2, 20000, seed=1)
    out = feed(core, audio, sizes, between=server.serve if server else None)
    dry = delayed(audio, latency)
    share = wet_share(out, dry)
    assert np.all((share > -1e-4) & (share < 1 + 1e-4))
    fade_samples = max(1, round(RATE * fade))
    if serve and latency >= max(sizes) + fade_samples:
        assert np.max(np.abs(share[:, latency:] - 1)) < 1e-5, "the server was in time throughout"
        assert core.status()["missed_blocks"] == 0
    if not serve:
        assert np.array_equal(out, dry)


def test_silence_in_silence_out():
    core = make_core()
    server = InlineServer(core.link_name)
    assert not np.any(feed(core, np.zeros((2, 30000), np.float32), [512], between=server.serve))


def test_fewer_and_more_channels_than_prepared():
    core = make_core(latency=100, channels=2)
    audio = noise(3, 1000)
    out = core.process(audio)
    assert np.array_equal(out[:2], delayed(audio[:2], 100))
    assert not np.any(out[2])
    core.reset()
    assert np.array_equal(core.process(audio[:1]), delayed(audio[:1], 100))


def test_zero_samples_and_an_unprepared_core_do_nothing():
    core = _native.RealtimeCore()
    assert not np.any(core.process(noise(2, 64)))
    assert core.status()["state"] == "unprepared"
    core = make_core()
    assert core.process(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert core.status()["blocks"] == 0


def test_nan_and_infinity_never_come_out():
    core = make_core(latency=1024)
    server = InlineServer(core.link_name)
    audio = noise(2, 20000)
    audio[0, ::7], audio[1, ::11], audio[0, 5::13] = np.nan, np.inf, 1e-42
    clean = np.where(np.isfinite(audio) & (np.abs(audio) > 1e-30), audio, 0).astype(np.float32)
    server.output = lambda target: target * np.nan
    server.share = 0.0
    out = feed(core, audio, [256], between=server.serve)
    np.testing.assert_allclose(out, FACTOR * delayed(clean, 1024), atol=1e-6)
    server.factor = np.nan
    out = feed(core, noise(2, 5000), [256], between=server.serve)
    assert np.all(np.isfinite(out))
    assert core.status()["sanitised_samples"] > 5000


# --- the mix ------------------------------------------------------------------------------


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (0, 1), (0.5, 2), (0, 0)])
def test_the_mix_is_exact(gains):
    core = make_core(latency=2048)
    core.set_target_gain(gains[0])
    core.set_remainder_gain(gains[1])
    core.reset()  # gains are taken at once when nothing is heard yet
    server = InlineServer(core.link_name)
    audio = noise(2, 30000)
    target, remainder = np.zeros((2, 256), np.float32), np.zeros((2, 256), np.float32)
    out, sums = [], []
    for at in range(0, 30000 - 255, 256):
        out.append(core.process(audio[:, at : at + 256], target=target, remainder=remainder))
        sums.append(target + remainder)
        server.serve()
    out, sums = np.concatenate(out, 1), np.concatenate(sums, 1)
    dry = delayed(audio, 2048)[:, : out.shape[1]]
    np.testing.assert_allclose(sums, dry, atol=1e-7)
    expected = gains[0] * FACTOR * dry + gains[1] * (dry - FACTOR * dry)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    if gains == (1, 1):
        assert np.array_equal(out, dry), "mix at 0/0 dB is the input itself"


def test_effect_output_replaces_the_mix_by_share():
    core = make_core(latency=2048, solo=False)
    server = InlineServer(core.link_name)
    server.output = lambda target: -3 * target
    audio = noise(2, 30000)
    for share, factor in [(1.0, -3 * FACTOR), (0.25, 0.75 * 1.0 + 0.25 * -3 * FACTOR)]:
        server.share = share
        core.reset()
        out = feed(core, audio, [480], between=server.serve)
        np.testing.assert_allclose(out, factor * delayed(audio, 2048), atol=1e-5)


def test_gain_changes_are_smooth_and_end_exactly():
    core = make_core(latency=2048)
    server = InlineServer(core.link_name)
    ones = np.ones((1, 9600), np.float32).repeat(2, 0)
    feed(core, ones, [480], between=server.serve)
    core.set_target_gain(0.0)
    out = feed(core, ones, [480], between=server.serve)
    assert np.max(np.abs(np.diff(out))) <= FACTOR / FADE + 1e-6
    assert not np.any(out[:, FADE:])
    core.set_target_gain(float("nan"))
    assert not np.any(feed(core, ones, [480], between=server.serve)), "a NaN gain is not taken"


def test_bypass_keeps_the_latency_and_fades():
    core = make_core(latency=2048)
    server = InlineServer(core.link_name)
    audio = noise(2, 9600)
    feed(core, audio, [480], between=server.serve)
    core.set_bypass(True)
    joined = np.concatenate([audio, audio], 1)
    out = feed(core, audio, [480], between=server.serve)
    dry = delayed(joined, 2048)[:, 9600:]
    share = wet_share(out, dry)
    assert np.max(np.abs(np.diff(share))) < 1 / FADE + 1e-4
    assert np.array_equal(out[:, FADE:], dry[:, FADE:])
    assert server.link.bypassed
    core.set_bypass(False)
    again = feed(core, audio, [480], between=server.serve)
    assert np.array_equal(again[:, FADE:], FACTOR * delayed(joined, 2048)[:, 9600 + FADE :])
    assert not server.link.bypassed


def test_meters_hold_a_click_and_fall():
    core = make_core(latency=1024, solo=False)
    server = InlineServer(core.link_name)
    click = np.zeros((2, 48000), np.float32)
    click[1, 100] = -0.5
    feed(core, click[:, :3200], [64], between=server.serve)
    status = core.status()
    assert 0.35 < status["input_peak"] <= 0.5
    assert status["target_peak"] == pytest.approx(status["remainder_peak"], rel=1e-5)
    assert 0.15 < status["target_peak"] <= 0.25
    assert 0.3 < status["output_peak"] <= 0.5
    feed(core, np.zeros((2, 96000), np.float32), [64], between=server.serve)
    assert core.status()["input_peak"] < 0.5 * 10 ** (-60 / 20), "60 dB down after two seconds"


# --- latency: the formula against a simulator --------------------------------------------


def misses(step: int, lookahead: int, sizes: list[int], latency: int) -> int:
    """Brute force: the real core and rings, and a server that answers each block right after it
    was handed over, so one block late. Counts the blocks that were not wholly wet."""
    core = make_core(latency=latency, max_block=max(sizes), fade_seconds=10 / RATE)
    server = InlineServer(core.link_name, step=step, lookahead=lookahead)
    total = 4 * max(math.lcm(step, *sizes[:1]), sum(sizes)) + latency
    feed(core, noise(1, min(total, 500000)).repeat(2, 0), sizes, between=server.serve)
    assert core.status()["missed_samples"] <= core.status()["samples"]
    return core.status()["missed_blocks"]


@pytest.mark.parametrize("step", [1, 64, 96, 441, 1024])
@pytest.mark.parametrize("block", [1, 32, 64, 65, 128, 480, 1000])
@pytest.mark.parametrize("lookahead", [0, 100])
def test_latency_formula_for_fixed_blocks_is_enough_and_least(step, block, lookahead):
    fade = 10
    adaptation = _native.adaptation_samples(step, block)
    assert adaptation == step - math.gcd(step, block)
    latency = adaptation + lookahead + block + fade
    assert misses(step, lookahead, [block], latency) == 0
    assert misses(step, lookahead, [block], latency - 1) > 0


@pytest.mark.parametrize("step", [1, 64, 441, 1024])
@pytest.mark.parametrize("sizes", [[1, 64], [65, 128, 3], [441, 512, 17], [1000, 1, 1, 1]])
def test_latency_formula_for_changing_blocks_is_enough(step, sizes):
    latency = _native.adaptation_samples(step) + 50 + max(sizes) + 10
    assert _native.adaptation_samples(step) == step - 1
    assert misses(step, 50, sizes, latency) == 0


def test_bad_configurations_are_refused_with_the_reason():
    core = _native.RealtimeCore()
    for rate, channels, block, latency in itertools.chain(
        [(0, 2, 512, 0), (float("nan"), 2, 512, 0), (48000, 0, 512, 0), (48000, 9, 512, 0)],
        [(48000, 2, 0, 0), (48000, 2, 512, -1), (48000, 2, 512, 2**40)],
    ):
        with pytest.raises(LinkError, match="use 1 to 8 channels"):
            core.prepare(rate, channels, block, latency)
