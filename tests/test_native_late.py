"""The real-time core when the server is late, gone or back, and when the host renders offline.

Promises: a late server is heard as a fade and never as a click, what comes back is aligned to
the sample, and offline it waits for every sample and never hangs.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_support import (
    FACTOR,
    FADE,
    EchoThread,
    InlineServer,
    delayed,
    feed,
    make_core,
    noise,
    objects,
    wet_share,
)

# --- late, gone, back ---------------------------------------------------------------------


def assert_only_fades(played: np.ndarray) -> None:
    """Of ones: dry, wet or between, and no step larger than that of a cross-fade."""
    if played.shape[1]:
        assert np.all((played > FACTOR - 1e-5) & (played < 1 + 1e-5))
        assert np.max(np.abs(np.diff(played)), initial=0) <= (1 - FACTOR) / FADE + 1e-5


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
    assert_only_fades(np.concatenate(out, 1)[:, latency:])


@settings(max_examples=60, deadline=None)
@given(
    block=st.sampled_from([32, 100, 512, 4096]),
    pauses=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_a_server_that_skips_input_is_two_fades_never_a_click(block, pauses):
    """A server that rests or begins anew leaves a hole; what it sent before is played out."""
    latency = 2048
    core = make_core(latency=latency)
    server = InlineServer(core.link_name)
    ones = np.ones((2, block), np.float32)
    out = []
    for on, off in pauses:
        for _ in range(on):
            out.append(core.process(ones))
            server.serve()
        for _ in range(off):
            out.append(core.process(ones))
        server.link.skip_to(server.link.position + server.link.available_samples)
        server.start = server.sent = server.end = server.link.position
        server.buffer = server.buffer[:, :0]
    assert_only_fades(np.concatenate(out, 1)[:, latency:])


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
