"""The plugin's real-time core, driven block by block without a DAW.

Promises: constant latency whether a server is there or not, exact mixes, a late server is
heard as a fade and never as a click, offline waits for every sample and never hangs.
"""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_support import FACTOR, EchoThread, InlineServer, delayed, feed, noise, objects
from stembridge import _native
from stembridge.errors import LinkError

RATE = 48000
FADE = 240  # 5 ms


def make_core(latency=4096, channels=2, rate=RATE, max_block=8192, solo=True, **kwargs):
    core = _native.RealtimeCore()
    core.set_target_gain(1.0)
    core.set_remainder_gain(0.0 if solo else 1.0)
    core.prepare(rate, channels, max_block, latency, **kwargs)
    return core


def wet_share(out: np.ndarray, dry: np.ndarray) -> np.ndarray:
    """The weight of the wet signal, per sample, from `out = w * FACTOR * dry + (1 - w) * dry`."""
    loud = np.abs(dry) > 0.05
    ratio = np.divide(out, dry, out=np.ones_like(out), where=loud)
    return (1.0 - ratio) / (1.0 - FACTOR)


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


# --- late, gone, back ---------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    block=st.sampled_from([32, 64, 100, 512, 1024, 4096]),
    pauses=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6),
)
def test_a_late_server_is_a_fade_never_a_click(block, pauses):
    """Served and unserved blocks alternate; late audio arrives all at once after each pause."""
    latency = 2048
    core = make_core(latency=latency)
    server = InlineServer(core.link_name)
    ones = np.ones((2, block), np.float32)
    out = []
    for on, off in pauses:
        for serving, turns in ((True, on), (False, off)):
            for _ in range(turns):
                out.append(core.process(ones))
                if serving:
                    server.serve()
    played = np.concatenate(out, 1)[:, latency:]
    if played.shape[1]:
        assert np.all((played > FACTOR - 1e-5) & (played < 1 + 1e-5))
        assert np.max(np.abs(np.diff(played)), initial=0) <= (1 - FACTOR) / FADE + 1e-5


def test_dry_when_the_audio_ends_and_wet_when_it_is_back_aligned_to_the_sample():
    latency, block = 2048, 256
    core = make_core(latency=latency)
    server = InlineServer(core.link_name)
    audio = noise(2, 400 * block)
    out, states = [], []
    for turn in range(400):
        at = turn * block
        out.append(core.process(audio[:, at : at + block]))
        states.append(core.status()["state"])
        if not 100 <= turn < 300:
            server.serve()
    share = wet_share(np.concatenate(out, 1), delayed(audio, latency))[0]
    last = 100 * block + latency  # output of everything that was served
    np.testing.assert_allclose(share[latency : last - FADE], 1, atol=1e-4)
    np.testing.assert_allclose(share[last : 301 * block], 0, atol=1e-4)
    back = 301 * block
    np.testing.assert_allclose(share[back + FADE :], 1, atol=1e-4)
    assert states[60] == "wet" and states[200] == "late" and states[-1] == "wet"
    status = core.status()
    # What was due while nothing came, counted to the sample: it was late from `last` to `back`.
    assert status["missed_samples"] == back - last
    assert (back - last) // block <= status["missed_blocks"] <= (back - last) // block + 2


def test_ring_overflow_is_told_to_the_server_and_heals():
    core = make_core(latency=2048)
    server = InlineServer(core.link_name)
    audio = noise(2, 400000)
    feed(core, audio[:, :50000], [512], between=server.serve)
    feed(core, audio[:, 50000:250000], [512])  # far beyond the ring's capacity
    assert core.status()["overflowed_samples"] > 0
    out = feed(core, audio[:, 250000:], [512], between=server.serve)
    dry = delayed(audio, 2048)[:, 250000:]
    share = wet_share(out, dry)
    np.testing.assert_allclose(share[:, 4096:], 1, atol=1e-4)


def test_nothing_from_before_a_reset_is_heard():
    """What hosts test for: noise, reset, silence must give silence, though the server goes on."""
    core = make_core(latency=4096)
    server = InlineServer(core.link_name, step=512)
    for _ in range(5):
        feed(core, noise(2, 20000), [512], between=server.serve)
        server.pull()
        core.reset()
        server.push()  # old audio arrives after the reset
        quiet = feed(core, np.zeros((2, 20000), np.float32), [512], between=server.serve)
        assert not np.any(quiet)


def test_prepare_keeps_the_link_where_it_can():
    core = make_core(latency=4096)
    name = core.link_name
    server = InlineServer(name)
    core.prepare(44100, 2, 1024, 2048)
    assert core.link_name == name
    audio = noise(2, 20000)
    out = feed(core, audio, [512], between=server.serve)
    assert np.array_equal(out[:, :2048], np.zeros((2, 2048)))
    assert np.array_equal(out, FACTOR * delayed(audio, 2048))
    assert server.link.format.sample_rate_hz == 44100
    assert server.link.format.latency_samples == 2048
    core.prepare(44100, 1, 1024, 2048)
    assert core.link_name != name
    assert name.lstrip("/") not in objects()
    assert server.link.plugin_state == "left"


def test_latency_change_is_a_short_dip_then_aligned_again():
    core = make_core(latency=2048, max_latency_samples=9000)
    server = InlineServer(core.link_name)
    audio = noise(2, 60000)
    for latency in (5000, 3000, 9000):
        core.set_latency_samples(latency)
        out = feed(core, audio, [512], between=server.serve)
        np.testing.assert_allclose(
            out[:, 30000:], FACTOR * delayed(audio, latency)[:, 30000:], atol=1e-6
        )
        assert core.status()["latency_samples"] == latency
        assert server.link.format.latency_samples == latency
    core.set_latency_samples(10**9)
    assert core.latency_samples == 9000, "clamped to the room that was made"


# --- offline ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("sizes", [[1, 700], [64], [8192], [8193, 5], [1, 65, 128, 5000]])
@pytest.mark.parametrize("channels", [1, 2])
def test_offline_waits_for_every_sample(rate, sizes, channels):
    latency = 1024 + 300 + max(1, round(rate * 0.005))
    core = make_core(latency=latency, channels=channels, rate=rate, max_block=max(sizes))
    with EchoThread(core.link_name, step=1024, lookahead=300) as echo:
        audio = noise(channels, 60000)
        out = feed(core, audio, sizes, offline=True)
        assert np.array_equal(out, FACTOR * delayed(audio, latency))
        assert echo.server.link.offline
    status = core.status()
    assert status["missed_samples"] == 0 and status["timeouts"] == 0


def test_offline_and_real_time_may_change_between_blocks():
    core = make_core(latency=8192)
    with EchoThread(core.link_name, step=512):
        audio = noise(2, 200000)
        out = []
        for turn, at in enumerate(range(0, 200000, 1000)):
            offline = turn // 20 % 2 == 1
            out.append(core.process(audio[:, at : at + 1000], offline_wait=offline))
            if turn % 20 >= 18 and not offline:
                time.sleep(0.05)  # the server has caught up when offline begins
        share = wet_share(np.concatenate(out, 1), delayed(audio, 8192))
        assert np.all((share > -1e-4) & (share < 1 + 1e-4))
        for start in range(20000, 200000, 40000):
            np.testing.assert_allclose(share[:, start : start + 20000], 1, atol=1e-4)


def test_offline_never_waits_when_no_server_has_attached():
    core = make_core()
    start = time.monotonic()
    audio = noise(2, 100000)
    assert np.array_equal(feed(core, audio, [1000], offline=True), delayed(audio, 4096))
    assert time.monotonic() - start < 5
    assert core.status()["waits"] == 0


def test_offline_gives_up_once_and_recovers_when_the_server_moves():
    core = make_core(latency=2048)
    core.set_offline_timeout_seconds(0.3)
    server = InlineServer(core.link_name)
    audio = noise(2, 60000)
    start = time.monotonic()
    out = feed(core, audio, [512], offline=True)
    took = time.monotonic() - start
    assert 0.3 <= took < 10, "one time-out, not one for each block"
    assert np.array_equal(out, delayed(audio, 2048))
    assert core.status()["state"] == "offline_timeout"
    assert core.status()["timeouts"] == 1
    server.serve()
    with_server = make_core(latency=2048)
    with EchoThread(with_server.link_name):
        feed(with_server, audio, [512], offline=True)
        assert with_server.status()["state"] == "wet"
    out = feed(core, audio, [512], offline=True, between=server.serve)
    assert core.status()["state"] in ("wet", "offline_timeout", "late")


def test_offline_ends_at_once_when_the_server_leaves():
    core = make_core(latency=2048)
    echo = EchoThread(core.link_name)
    with echo:
        feed(core, noise(2, 20000), [512], offline=True)
    start = time.monotonic()
    audio = noise(2, 20000)
    out = feed(core, audio, [512], offline=True)
    assert time.monotonic() - start < 5
    assert np.array_equal(out[:, 4096:], delayed(audio, 2048)[:, 4096:])
    core.housekeeping()
    assert core.status()["state"] == "no_server"


def test_a_latency_that_cannot_be_kept_is_said_not_waited_for():
    core = make_core(latency=1000)
    server = InlineServer(core.link_name, step=4096)
    server.link.publish_latency(4095, 5000)
    start = time.monotonic()
    out = feed(core, noise(2, 30000), [512], offline=True, between=server.serve)
    assert time.monotonic() - start < 5
    assert core.status()["state"] == "latency_too_small"
    assert core.status()["needed_latency_samples"] == 5000
    assert np.all(np.isfinite(out))


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
