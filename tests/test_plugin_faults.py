"""The VST3 when the server is absent, hung, dying, of another version, hostile, or to be started.

Whatever happens, a render has the input's length and alignment: every sample is the dry one,
the wet one, or a mixture of both during a cross-fade; nothing hangs, and nothing crashes.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

import plugin_host
import server_harness
from server_harness import ServerProcess, eventually, identity_server, noise

RATE = 48000
HALF = plugin_host.preset_text("half")


def assert_aligned(out: np.ndarray, audio: np.ndarray) -> None:
    """Each sample lies between half the input's and the input's."""
    assert out.shape == audio.shape
    with np.errstate(divide="ignore", invalid="ignore"):
        share = out / audio
    share = share[np.abs(audio) > 1e-4]
    assert share.min() >= 0.5 - 1e-3
    assert share.max() <= 1.0 + 1e-3


def write_server_file(folder: Path, port: int, **fields: object) -> None:
    values = {"protocol": 1, "version": "0.1.0", "pid": os.getpid(), "host": "127.0.0.1"}
    path = folder / "server.json"
    path.write_text(json.dumps(values | {"port": port, "token": "x"} | fields))
    path.chmod(0o600)


@contextmanager
def answering(folder: Path, answers: list[bytes]) -> Iterator[list[bytes]]:
    """A UDP socket that calls itself a server and answers each datagram with `answers`."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.05)
        write_server_file(folder, listener.getsockname()[1])
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    datagram, sender = listener.recvfrom(65536)
                except TimeoutError:
                    continue
                heard.append(datagram)
                for answer in answers:
                    listener.sendto(answer, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join()


def osc(path: str, types: str, *values: object) -> bytes:
    """An OSC message of integers and strings."""

    def padded(text: bytes) -> bytes:
        return text + b"\0" * (4 - len(text) % 4)

    data = padded(path.encode()) + padded(b"," + types.encode())
    for value in values:
        data += value.to_bytes(4, "big") if isinstance(value, int) else padded(str(value).encode())
    return data


def test_a_stopped_server_costs_a_bounded_wait(folder: Path) -> None:
    with ServerProcess(folder) as server:
        server.wait_ready()
        server.signal(signal.SIGSTOP)
        plugin = plugin_host.load()
        plugin_host.write_state(plugin, preset=HALF)
        audio = noise(60000)
        assert np.array_equal(plugin(audio, RATE), audio)
        assert np.array_equal(plugin(audio, RATE), audio)
        server.signal(signal.SIGCONT)
        assert eventually(lambda: np.array_equal(plugin(audio, RATE), 0.5 * audio), 30.0)


def test_a_server_that_dies_in_a_render_and_comes_back(folder: Path) -> None:
    with ServerProcess(folder) as server:
        server.wait_ready()
        plugin = plugin_host.load()
        plugin_host.write_state(plugin, preset=HALF)
        audio = noise(20 * RATE)
        assert np.array_equal(plugin(audio[:, :RATE], RATE), 0.5 * audio[:, :RATE])
        killer = threading.Timer(0.05, server.kill)
        killer.start()
        assert_aligned(plugin(audio, RATE, buffer_size=256), audio)
        killer.join()
        assert np.array_equal(plugin(audio[:, :RATE], RATE), audio[:, :RATE])
        server.start()
        server.wait_ready()
        wet = 0.5 * audio[:, :RATE]
        assert eventually(lambda: np.array_equal(plugin(audio[:, :RATE], RATE), wet), 30.0)


def test_another_protocol_is_refused(folder: Path) -> None:
    error = osc("/error", "sss", "/server/hello", "version", "Server 9, plugin 1. Update.")
    reply = osc("/reply", "sisisi", "/server/hello", 9, "9.0", 1, "all", os.getpid())
    for answer in (error, reply):
        with answering(folder, [answer]) as heard:
            plugin = plugin_host.load()
            audio = noise(20000)
            assert np.array_equal(plugin(audio, RATE), audio)
            assert eventually(lambda: len(heard) > 0)
            assert all(b"/server/hello" in datagram for datagram in heard)


def test_a_hostile_server_breaks_nothing(folder: Path) -> None:
    """Random bytes, damaged messages and impossible numbers in answer to everything."""
    generator = random.Random(7)
    good = [
        osc("/reply", "sisisi", "/server/hello", 1, "1", 1, "all", os.getpid()),
        osc("/reply", "siiiii", "/latency/get", 2**31 - 1, 0, 0, 0, 0),
        osc("/reply", "siisss", "/preset/list", 0, 2**31 - 1, "a" * 3000, "user", "\x7f"),
        osc("/server/status", "ssi", "load", "x", 5),
        b"/reply\0\0,b\0\0\xff\xff\xff\xff",
        b"#bundle\0" + bytes(8) + b"\xff\xff\xff\xff",
    ]
    answers = list(good)
    for _ in range(60):
        base = bytearray(generator.choice(good))
        for _ in range(generator.randrange(1, 6)):
            base[generator.randrange(len(base))] = generator.randrange(256)
        answers.append(bytes(base[: generator.randrange(1, len(base) + 1)]))
        answers.append(generator.randbytes(generator.randrange(1, 400)))
    with answering(folder, answers):
        plugin = plugin_host.load()
        plugin_host.write_state(plugin, waiting="never")  # or each render waits its 30 s
        audio = noise(20000)
        for _ in range(20):
            assert plugin(audio, RATE).shape == audio.shape
            time.sleep(0.05)
    (folder / "server.json").unlink()
    fresh = plugin_host.load()
    assert np.array_equal(fresh(audio, RATE), audio)


@pytest.mark.parametrize("text", ["", "{", '{"port": "x"}', '{"port": -1}', "[" * 5000, "\xff"])
def test_a_damaged_server_file_is_no_server(folder: Path, text: str) -> None:
    (folder / "server.json").write_bytes(text.encode("latin-1"))
    audio = noise(9000)
    assert np.array_equal(plugin_host.load()(audio, RATE), audio)


def test_waiting_never_does_not_wait(folder: Path) -> None:
    with identity_server(folder):
        plugin = plugin_host.load()
        plugin_host.write_state(plugin, preset=HALF, waiting="never")
        audio = noise(2 * RATE)
        assert_aligned(plugin(audio, RATE), audio)
        plugin_host.write_state(plugin, preset=HALF, waiting="always")
        assert eventually(lambda: np.array_equal(plugin(audio, RATE), 0.5 * audio), 20.0)


def test_a_render_starts_the_server_and_waits_for_it(folder: Path) -> None:
    launcher = folder / "launcher.json"
    command = [sys.executable, server_harness.__file__, str(folder)]
    launcher.write_text(json.dumps({"version": 1, "command": command}))
    launcher.chmod(0o600)
    plugin = plugin_host.load()  # loading alone starts nothing
    assert not (folder / "server.json").exists()
    plugin_host.write_state(plugin, preset=HALF)
    audio = noise(2 * RATE)
    try:
        assert np.array_equal(plugin(audio, RATE), 0.5 * audio)
    finally:
        os.kill(json.loads((folder / "server.json").read_text())["pid"], signal.SIGKILL)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_launcher_that_others_may_write_is_not_run(folder: Path, mode: int) -> None:
    proof = folder / "ran"
    launcher = folder / "launcher.json"
    launcher.write_text(json.dumps({"version": 1, "command": ["/usr/bin/touch", str(proof)]}))
    launcher.chmod(mode)
    plugin = plugin_host.load()
    audio = noise(30000)
    assert np.array_equal(plugin(audio, RATE), audio)
    assert not proof.exists()


def test_two_hundred_instances_leave_nothing(folder: Path) -> None:
    """Each load makes two instances: threads, sockets, memory and shared memory must go."""
    process = psutil.Process()
    links: set[Path] = set()
    audio = noise(2000)

    def play() -> None:
        plugin = plugin_host.load()
        plugin(audio, RATE)
        links.update(Path(m.path) for m in process.memory_maps() if "/stembridge-" in m.path)
        del plugin
        gc.collect()  # pedalboard's plugins are cycles: else a hundred of them play at once

    def census() -> tuple[int, int, int]:
        gc.collect()
        return process.num_threads(), process.num_fds(), sum(link.exists() for link in links)

    with identity_server(folder):
        for _ in range(10):
            play()
        time.sleep(0.5)
        before, memory = census(), process.memory_info().rss
        for _ in range(100):
            play()
        assert len(links) >= 100
        assert eventually(lambda: all(a <= b + 2 for a, b in zip(census(), before, strict=True)))
        assert process.memory_info().rss - memory < 40 * 2**20
