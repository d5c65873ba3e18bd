"""Death and standstill of either end, with real processes and real time.

A "nursery" process forks tiny echo servers on demand (target = half the mixture), so that a
hundred of them can be killed in seconds. The plugin end is a `RealtimeCore` in this process,
paced by the wall clock like a host's audio thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import numpy as np
import pytest

from native_support import FACTOR, InlineServer, objects
from stembridge import _native
from stembridge.errors import LinkError

RATE, BLOCK, LATENCY, FADE = 48000, 256, 2048, 240

NURSERY = """
    import os, signal, sys
    import numpy as np
    from stembridge import _native
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def echo(name):
        link = _native.Link.server_end(name)
        print(os.getpid(), flush=True)
        while link.plugin_state not in ("left", "dead"):
            link.wait_input(link.position + 1, 0.2)
            span = link.read(1 << 16)
            if span.audio.shape[1]:
                link.write(span.position, span.audio * np.float32(0.5))
        link.close()

    for line in sys.stdin:
        if os.fork() == 0:
            try:
                echo(line.strip())
            except Exception as error:
                print("error", error, flush=True)
            os._exit(0)
"""


class Nursery:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(NURSERY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children: list[int] = []

    def spawn(self, name: str) -> int:
        """Starts an echo server on the link; returns its process id once it has attached."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.isdigit(), answer
        self.children.append(int(answer))
        return self.children[-1]


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    for pid in nursery.children:
        try:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    nursery.process.kill()
    nursery.process.wait(10)


class Host:
    """Plays ones through a core at the pace of the clock; keeps the share of wet per sample."""

    def __init__(self, pace: float = 1.0) -> None:
        self.core = _native.RealtimeCore()
        self.core.set_target_gain(1.0)
        self.core.set_remainder_gain(0.0)
        self.core.prepare(RATE, 2, BLOCK, LATENCY)
        self.block = np.ones((2, BLOCK), np.float32)
        self.shares: list[np.ndarray] = []
        self.period = BLOCK / RATE / pace
        self.next = time.monotonic()

    def play(self) -> np.ndarray:
        out = self.core.process(self.block)
        assert np.array_equal(out[0], out[1])
        share = (1 - out[0]) / (1 - FACTOR)
        self.shares.append(share)
        if len(self.shares) % 8 == 0:
            self.core.housekeeping()
        self.next = max(self.next + self.period, time.monotonic() - 0.05)
        time.sleep(max(0.0, self.next - time.monotonic()))
        return share

    def play_until(self, condition, limit_seconds: float, what: str) -> float:
        """Plays until `condition(share)`; returns how many seconds that took."""
        start = time.monotonic()
        while not condition(self.play()):
            assert time.monotonic() - start < limit_seconds, f"not {what} in {limit_seconds} s"
        return time.monotonic() - start

    def check(self) -> None:
        """Nothing but dry, wet and short fades between them was ever heard."""
        share = np.concatenate(self.shares)[LATENCY:]
        assert np.all((share > -1e-4) & (share < 1 + 1e-4))
        assert np.max(np.abs(np.diff(share))) < 1 / FADE + 1e-3


def is_wet(share: np.ndarray) -> bool:
    return bool(np.all(share > 0.9999))


def is_dry(share: np.ndarray) -> bool:
    return bool(np.all(share == 0))


def test_a_hundred_killed_servers(nursery):
    host = Host()
    rng = np.random.default_rng(0)
    for _ in range(LATENCY // BLOCK + 1):
        host.play()
    slowest = 0.0
    for _ in range(100):
        pid = nursery.spawn(host.core.link_name)
        slowest = max(slowest, host.play_until(is_wet, 2.0, "wet again"))
        for _ in range(int(rng.integers(0, 6))):
            host.play()
        os.kill(pid, signal.SIGKILL)
        killed = len(host.shares)
        host.play_until(is_dry, 2.0, "dry")
        # Everything that the server had sent is used up at the latest after the latency; one
        # block later it is dry.
        assert len(host.shares) - killed <= LATENCY // BLOCK + 2
        while host.core.status()["state"] != "server_gone":
            assert len(host.shares) - killed < 40, "the death is noticed by housekeeping"
            host.play()
    host.check()
    assert slowest < 2.0


def test_a_killed_plugin_end_is_noticed_and_leaves_nothing():
    code = """
        import sys, time
        import numpy as np
        from stembridge import _native
        core = _native.RealtimeCore(); core.prepare(48000, 2, 512, 1024)
        print(core.link_name, flush=True)
        while True:
            core.process(np.ones((2, 512), np.float32)); time.sleep(0.01)
    """
    for _ in range(5):
        plugin = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        assert plugin.stdout is not None
        name = plugin.stdout.readline().strip()
        server = _native.Link.server_end(name)
        assert server.wait_input(server.position + 1, 5)
        assert server.plugin_state == "alive" and server.plugin_pid == plugin.pid
        plugin.kill()
        plugin.wait(10)
        start = time.monotonic()
        while server.plugin_state != "dead":
            assert time.monotonic() - start < 2
            time.sleep(0.01)
        server.close()  # removes the name in place of the dead
        assert name.lstrip("/") not in objects()
        with pytest.raises(LinkError, match="reload it"):
            _native.Link.server_end(name)


def test_a_stopped_server_is_dry_and_comes_back_aligned(nursery):
    """SIGSTOP for 5 s: dry all the time; late audio is dropped by number, so that the first
    wet sample afterwards is the right one. Noise shows that alignment holds to the sample."""
    host = Host()
    pid = nursery.spawn(host.core.link_name)
    host.play_until(is_wet, 2.0, "wet")
    os.kill(pid, signal.SIGSTOP)
    host.play_until(is_dry, 1.0, "dry")
    stopped = time.monotonic()
    while time.monotonic() - stopped < 5:
        assert is_dry(host.play())
    assert host.core.status()["state"] == "late"
    os.kill(pid, signal.SIGCONT)
    host.play_until(is_wet, 2.0, "wet again")
    host.check()
    rng = np.random.default_rng(1)
    audio = (rng.choice([-1, 1], (2, 100 * BLOCK)) * rng.uniform(0.1, 1, (2, 100 * BLOCK))).astype(
        np.float32
    )
    out = []
    for at in range(0, audio.shape[1], BLOCK):
        host.block = audio[:, at : at + BLOCK]
        out.append(host.core.process(host.block))
        time.sleep(BLOCK / RATE)
    played, dry = np.concatenate(out, 1)[:, LATENCY:], audio[:, :-LATENCY]
    share = (1 - played / dry) / (1 - FACTOR)
    assert np.all((share > -1e-3) & (share < 1 + 1e-3)), "a misplaced sample would fall outside"
    assert np.mean(share > 0.999) > 0.5


def test_a_server_killed_during_an_offline_wait_ends_the_wait(nursery):
    host = Host()
    pid = nursery.spawn(host.core.link_name)
    wet = [host.core.process(host.block, offline_wait=True) for _ in range(50)]
    assert np.all(wet[-1] == FACTOR)
    os.kill(pid, signal.SIGSTOP)
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {pid}"])
    start = time.monotonic()
    out = [host.core.process(host.block, offline_wait=True) for _ in range(50)]
    assert 0.2 < time.monotonic() - start < 5
    assert np.all(out[-1] == 1), "aligned dry, never silence"
    assert host.core.status()["state"] == "server_gone"
    killer.wait(10)


def test_a_stopped_server_ends_an_offline_wait_by_the_time_out(nursery):
    host = Host()
    pid = nursery.spawn(host.core.link_name)
    for _ in range(50):
        host.core.process(host.block, offline_wait=True)
    os.kill(pid, signal.SIGSTOP)
    host.core.set_offline_timeout_seconds(0.5)
    start = time.monotonic()
    out = [host.core.process(host.block, offline_wait=True) for _ in range(50)]
    assert 0.4 < time.monotonic() - start < 5
    assert np.all(out[-1] == 1)
    assert host.core.status()["state"] == "offline_timeout"
    os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 5
    while not np.all(host.core.process(host.block, offline_wait=True) == FACTOR):
        assert time.monotonic() < deadline, "wet again when the server moves"


def test_a_host_may_change_its_block_at_every_call_while_the_server_lives(nursery):
    core = _native.RealtimeCore()
    core.prepare(RATE, 2, 8192, 2 * 8192)
    nursery.spawn(core.link_name)
    core.set_target_gain(1.0)
    rng = np.random.default_rng(2)
    for _ in range(60):
        block = np.ones((2, int(rng.integers(1, 8193))), np.float32)
        core.process(block, offline_wait=True)
    status = core.status()
    assert status["missed_samples"] == 0 and status["state"] == "wet"


def test_sixteen_links_in_one_server():
    hosts = [Host() for _ in range(16)]
    servers = [InlineServer(h.core.link_name) for h in hosts]
    for _ in range(50):
        for host in hosts:
            host.core.process(host.block)
        links = [s.link for s in servers]
        for index in _native.wait_any(links, [s.link.position + 1 for s in servers], 1.0):
            servers[index].serve()
    for host in hosts:
        assert np.all(host.core.process(host.block) == FACTOR)
        assert host.core.status()["missed_samples"] == 0
