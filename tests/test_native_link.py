"""The shared-memory link: audio crosses with its numbers, sleepers wake in time, and each end knows
whether the other one lives.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from native_support import (
    noise,
    plugin_end,
    poke,
)
from stembridge import _native
from stembridge.errors import LinkError

# --- audio crosses ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_audio_crosses_with_its_numbers(channels):
    with plugin_end(channels=channels) as plugin:
        server = _native.Link.server_end(plugin.name)
        audio = noise(channels, 100000)
        sizes, at, turn = [1, 64, 65, 128, 8191, 8192], 0, 0
        while at < audio.shape[1]:
            block = audio[:, at : at + sizes[turn % 6]]
            assert plugin.write(block)
            span = server.read(1 << 20)
            assert span.position == at and np.array_equal(span.audio, block)
            assert server.write(at, -block, 2 * block, np.full(block.shape[1], 0.25)) == len(
                block[0]
            )
            begin, end, fault = plugin.ready()
            assert begin <= at and end == at + block.shape[1] and not fault
            target, output, share = plugin.read(at, block.shape[1])
            assert np.array_equal(target, -block) and np.array_equal(output, 2 * block)
            assert np.all(share == 0.25)
            at += block.shape[1]
            plugin.release(at)
            turn += 1


def test_late_audio_is_dropped_by_number():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        plugin.write(noise(2, 4096))
        audio = server.read(4096).audio
        plugin.release(3000)  # the plugin has played on
        assert server.play_position == 3000
        assert server.write(0, audio[:, :2000]) == 2000, "dropped, and said to be dealt with"
        assert server.write(2000, audio[:, 2000:]) == 2096
        begin, end, _ = plugin.ready()
        assert (begin, end) == (3000, 4096)
        assert np.array_equal(plugin.read(3000, 1096)[0], audio[:, 3000:])
        with pytest.raises(IndexError):
            plugin.read(2999, 10)


def test_a_jump_leaves_a_hole_and_keeps_what_was_sent_before():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        audio = noise(2, 8000)
        plugin.write(audio)
        server.read(8000)
        server.write(0, audio[:, :1000])
        server.write(2000, audio[:, 2000:3000])
        assert np.array_equal(plugin.read(0, 1000)[0], audio[:, :1000])
        assert np.array_equal(plugin.read(2000, 1000)[0], audio[:, 2000:3000])
        for position in (500, 1000, 1999):
            with pytest.raises(IndexError):
                plugin.read(position, 1000)
        server.write(4000, audio[:, 4000:5000])  # before the first hole is passed: one hole
        assert np.array_equal(plugin.read(0, 1000)[0], audio[:, :1000])
        with pytest.raises(IndexError):
            plugin.read(2000, 1000)
        plugin.release(4500)
        server.write(6000, audio[:, 6000:])  # behind the first hole: another one
        assert np.array_equal(plugin.read(4500, 500)[0], audio[:, 4500:5000])
        assert np.array_equal(plugin.read(6000, 2000)[0], audio[:, 6000:])


def test_writing_beyond_the_room_takes_what_fits():
    with plugin_end(output_capacity_samples=1000) as plugin:  # becomes 1024
        server = _native.Link.server_end(plugin.name)
        plugin.write(noise(2, 4096))
        audio = server.read(4096).audio
        assert server.write(0, audio) == 1024
        assert server.write(1024, audio[:, 1024:]) == 0
        plugin.release(500)
        assert server.write(1024, audio[:, 1024:]) == 500


def test_epochs_and_losses_are_told():
    with plugin_end(input_capacity_samples=4096) as plugin:
        server = _native.Link.server_end(plugin.name)
        plugin.write(noise(2, 1000))
        first = server.read(600)
        plugin.begin_epoch()
        plugin.write(noise(2, 100, seed=1))
        span = server.read(10000)
        assert span.epoch != first.epoch, "nothing of the old epoch is read any more"
        assert span.position == 1000 and span.audio.shape[1] == 100
        assert not plugin.write(noise(2, 4096)) or not plugin.write(noise(2, 4096))
        while server.read(10000).audio.shape[1]:
            pass
        assert plugin.write(noise(2, 50, seed=2))
        span = server.read(10000)
        assert span.lost_samples > 0 and span.position + 50 == plugin.position
        assert np.array_equal(span.audio, noise(2, 50, seed=2))


def test_a_restarted_server_takes_over_where_it_can_still_be_heard():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        plugin.write(noise(2, 5000))
        server.write(0, server.read(2000).audio)
        server.close()
        assert plugin.server_state == "left" and not plugin.server_attached
        plugin.release(1500)
        again = _native.Link.server_end(plugin.name)
        assert plugin.server_generation == 2 and plugin.server_state == "alive"
        assert again.position == 2001, "what the first one sent is not sent again, and one left out"
        assert plugin.ready()[:2] == (0, 2001)
        plugin.read(1500, 500)
        plugin.release(4000)
        again.close()
        assert _native.Link.server_end(plugin.name).position == 4000, "older would be too late"


# --- waiting ------------------------------------------------------------------------------


def test_waiting_server_wakes_when_its_position_is_crossed_and_not_before():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        woke: list[float] = []

        def wait():
            assert server.wait_input(1024, 10)
            woke.append(time.monotonic())

        thread = threading.Thread(target=wait)
        thread.start()
        for _ in range(7):
            plugin.write(noise(2, 128))
        time.sleep(0.2)
        assert not woke
        rang = time.monotonic()
        plugin.write(noise(2, 128))
        thread.join(5)
        assert woke and woke[0] - rang < 0.1
        assert not server.wait_input(2000, 0.05), "time is over"


def test_one_sleep_for_all_links():
    plugins = [plugin_end() for _ in range(20)]
    servers = [_native.Link.server_end(p.name) for p in plugins]
    assert _native.wait_any(servers, [64] * 20, 0.05) == []
    timer = threading.Timer(0.1, lambda: [plugins[i].write(noise(2, 64)) for i in (3, 17)])
    timer.start()
    start = time.monotonic()
    ready = _native.wait_any(servers, [64] * 20, 10)
    assert ready and set(ready) <= {3, 17} and time.monotonic() - start < 2
    timer.join()
    assert _native.wait_any(servers, [64] * 20, 10) == [3, 17]
    servers[5].interrupt()
    assert 5 in _native.wait_any(servers, [65] * 20, 10)
    plugins[7].close()
    assert _native.wait_any(servers, [65] * 20, 10) == [7], "a plugin that leaves wakes us"


def test_interrupt_and_close_end_a_wait_on_another_thread():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        for end_it in (server.interrupt, server.close):
            result: list[bool] = []
            thread = threading.Thread(target=lambda r=result: r.append(server.wait_input(99, 30)))
            thread.start()
            time.sleep(0.1)
            end_it()
            thread.join(5)
            assert result == [True]
        with pytest.raises(LinkError, match="closed"):
            server.read(10)
    with pytest.raises(LinkError, match="closed"):
        plugin.write(noise(2, 10))


def test_a_waiting_thread_leaves_the_interpreter_free():
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        thread = threading.Thread(target=lambda: server.wait_input(99, 1.0))
        thread.start()
        turns = 0
        while thread.is_alive():
            turns += 1
        assert turns > 1000


# --- who lives ----------------------------------------------------------------------------


def test_a_stopped_heartbeat_is_a_stall_and_a_jumping_one_is_not():
    """Only movement counts, dated by the observer's own clock: a counter that jumps anywhere, back
    or far ahead, is a living peer."""
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        assert plugin.server_state == "alive" and server.plugin_state == "alive"
        rng = np.random.default_rng(0)
        beat_offset = heartbeat_offset(plugin, server)
        for _ in range(30):
            poke(plugin.name, beat_offset, rng.bytes(8))
            assert plugin.server_state == "alive"
            time.sleep(0.1)
        deadline = time.monotonic() + 5
        while plugin.server_state == "alive" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert plugin.server_state == "stalled"
        server.beat()
        assert plugin.server_state == "alive"


def heartbeat_offset(plugin: _native.PluginLink, server: _native.ServerLink) -> int:
    """Where the server's heartbeat lies: the one word that two beats move by two."""
    path = Path("/dev/shm", plugin.name.lstrip("/"))
    before = np.frombuffer(path.read_bytes()[:4096], np.uint64)
    server.beat()
    server.beat()
    after = np.frombuffer(path.read_bytes()[:4096], np.uint64)
    (moved,) = np.flatnonzero(after != before)
    assert after[moved] - before[moved] == 2
    return int(moved) * 8
