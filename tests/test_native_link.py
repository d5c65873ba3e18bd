"""The shared-memory link itself: what lies in it, who may open it, and what is left behind."""

from __future__ import annotations

import gc
import mmap
import os
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from native_support import FACTOR, InlineServer, delayed, feed, noise, objects
from stembridge import _native
from stembridge.errors import LinkError

RATE = 48000


def plugin_end(**kwargs) -> _native.PluginLink:
    return _native.Link.plugin_end(RATE, kwargs.pop("channels", 2), **kwargs)


def poke(name: str, offset: int, data: bytes) -> None:
    """Writes into a live link from outside."""
    with Path("/dev/shm", name.lstrip("/")).open("r+b") as file, mmap.mmap(file.fileno(), 0) as m:
        m[offset : offset + len(data)] = data


def run_python(code: str, *args: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


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
        assert again.position == 2000, "what the first one sent is not sent again"
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


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "stembridge",
        "/etc/passwd",
        "/stembridge-../../x",
        "/stembridge-0123456789abcdeX",
        "/stembridge-" + "a" * 500,
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(LinkError, match="not the name of a Stembridge link"):
        _native.Link.server_end(name)


def test_a_missing_link_says_what_to_do():
    with pytest.raises(LinkError, match="reload it"):
        _native.Link.server_end("/stembridge-0000000000000000")


def test_another_protocol_version_is_refused_naming_both():
    with plugin_end() as plugin:
        poke(plugin.name, 8, struct.pack("<I", 7))
        with pytest.raises(LinkError, match=r"version 7, .* version 1; install"):
            _native.Link.server_end(plugin.name)


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (0, b"JUNKJUNK"),  # mark
        (12, struct.pack("<I", 1)),  # header bytes
        (16, struct.pack("<Q", 2**60)),  # total bytes
        (24, struct.pack("<I", 0)),  # channels
        (24, struct.pack("<I", 1000000)),
        (32, struct.pack("<q", 2**40)),  # input capacity
        (32, struct.pack("<q", -1)),
        (32, struct.pack("<q", 12345)),  # no power of two
        (40, struct.pack("<q", 2**22)),  # output capacity beyond the file
        (48, struct.pack("<Q", 2**63)),  # offsets
        (56, struct.pack("<Q", 4)),
    ],
)
def test_a_corrupt_header_is_refused_and_noticed_later(offset, data):
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        server.check()
        poke(plugin.name, offset, data)
        with pytest.raises(LinkError, match=r"corrupt.*reload the plugin"):
            server.check()
        server.close()
        with pytest.raises(LinkError, match=r"corrupt.*reload the plugin"):
            _native.Link.server_end(plugin.name)


def test_truncated_and_foreign_files_are_refused():
    path = Path("/dev/shm/stembridge-ffffffffffffffff")
    try:
        for content in (b"", b"x", b"x" * 100000):
            path.write_bytes(content)
            with pytest.raises(LinkError, match="reload"):
                _native.Link.server_end("/" + path.name)
    finally:
        path.unlink()


def test_a_second_server_is_refused_naming_the_first():
    with plugin_end() as plugin:
        first = _native.Link.server_end(plugin.name)
        with pytest.raises(LinkError, match=f"already served by process {os.getpid()}"):
            _native.Link.server_end(plugin.name)
        first.close()
        _native.Link.server_end(plugin.name).close()


def test_impossible_formats_are_refused():
    for rate, channels, more in [
        (0.0, 2, {}),
        (float("inf"), 2, {}),
        (48000, 0, {}),
        (48000, 9, {}),
        (48000, 2, {"max_block_samples": 0}),
        (48000, 2, {"latency_samples": -1}),
        (48000, 2, {"input_capacity_samples": 2**40}),
    ]:
        with pytest.raises(LinkError):
            _native.Link.plugin_end(rate, channels, **more)
    with plugin_end() as plugin:
        server = _native.Link.server_end(plugin.name)
        for bad in (np.zeros((3, 10), np.float32), np.zeros(10, np.float32)):
            with pytest.raises(ValueError, match="shape"):
                server.write(0, bad)
            with pytest.raises(ValueError, match="shape"):
                plugin.write(bad)


def test_a_full_shared_memory_is_a_clear_error_and_the_plugin_plays_dry():
    """A tmpfs of 1 MB in a mount namespace of its own. Needs the right to make one (root, or
    user namespaces); without, the system's limit on file sizes takes the place of the tmpfs."""
    code = """
        import numpy as np, resource, sys
        from stembridge import _native
        from stembridge.errors import LinkError
        if sys.argv[1] == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        core = _native.RealtimeCore()
        try:
            core.prepare(48000, 2, 8192, 4096)
        except LinkError as error:
            print(error)
        x = np.arange(20000, dtype=np.float32).reshape(2, 10000)
        y = core.process(x)
        assert np.array_equal(y[:, 4096:], x[:, :-4096]) and not y[:, :4096].any()
        assert core.status()["state"] == "no_link" and core.link_name == ""
        assert not _native.sweep_stale()
    """
    unshare = ["unshare", "--mount", "--map-root-user"]
    script = 'mount -t tmpfs -o size=1m none /dev/shm && exec "$0" -c "$1" tmpfs'
    result = subprocess.run(
        [*unshare, "sh", "-c", script, sys.executable, textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if result.returncode != 0 and ("unshare:" in result.stderr or "mount:" in result.stderr):
        result = run_python(code, "limit")
    assert result.returncode == 0, result.stderr
    assert "cannot reserve" in result.stdout and "df -h /dev/shm" in result.stdout


# --- what is left behind ------------------------------------------------------------------


def test_objects_are_private_and_vanish_with_the_plugin():
    plugin = plugin_end()
    path = Path("/dev/shm", plugin.name.lstrip("/"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server = _native.Link.server_end(plugin.name)
    server.close()
    assert path.exists(), "a restarted server must find it again"
    plugin.close()
    assert not path.exists()


def test_a_thousand_links_leave_nothing():
    def census():
        gc.collect()
        process = psutil.Process()
        return process.num_fds(), process.num_threads()

    names = set()

    def open_and_close():
        core = _native.RealtimeCore()
        core.prepare(RATE, 2, 512, 1024, max_latency_samples=1024)
        names.add(core.link_name.lstrip("/"))
        server = InlineServer(core.link_name)
        audio = noise(2, 2048)
        assert np.array_equal(
            feed(core, audio, [512], between=server.serve)[:, 1024 + 512 :],
            FACTOR * delayed(audio, 1024)[:, 1024 + 512 :],
        )
        server.link.close()

    for _ in range(20):
        open_and_close()
    before = census()
    memory = psutil.Process().memory_info().vms
    for _ in range(1000):
        open_and_close()
    assert census() == before
    assert len(names) == 1020 and not names & objects()
    assert psutil.Process().memory_info().vms - memory < 50e6, "mappings are given back"


def test_objects_of_the_dead_are_swept_and_those_of_the_living_kept():
    code = """
        import os, sys
        from stembridge import _native
        core = _native.RealtimeCore(); core.prepare(48000, 2, 512, 1024)
        print(core.link_name, flush=True)
        os.kill(os.getpid(), 9)
    """
    with plugin_end() as alive:
        dead = run_python(code).stdout.strip().lstrip("/")
        assert dead and not dead.startswith("Trace")
        _native.sweep_stale()  # a server that starts elsewhere at this moment may be faster
        assert dead not in objects()
        assert alive.name.lstrip("/") in objects()


def test_foreign_files_are_not_swept():
    path = Path("/dev/shm/stembridge-eeeeeeeeeeeeeeee")  # young, without our mark
    other = Path("/dev/shm/stembridge-notes.txt")
    try:
        path.write_bytes(b"somebody creates this right now")
        other.write_bytes(b"mine")
        _native.sweep_stale()
        assert path.exists() and other.exists()
    finally:
        path.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


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
