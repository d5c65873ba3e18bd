"""The shared-memory objects behind the link: who may open one, and what is left behind.

A corrupt or foreign object is refused and never read beyond its end; objects are private, go
with the plugin, and those of dead processes are swept.
"""

from __future__ import annotations

import gc
import os
import stat
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest

from native_support import (
    FACTOR,
    RATE,
    InlineServer,
    delayed,
    feed,
    noise,
    objects,
    plugin_end,
    poke,
    run_python,
)
from stembridge import _native
from stembridge.errors import LinkError

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
        with pytest.raises(LinkError, match=r"version 7, .* version 2; install"):
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
