"""Servers for tests of the native link: exact answers, on the test's own schedule or thread.

`InlineServer` answers when the test says so, between two blocks, so that real time is played
without a clock and every late or missing answer is a decision of the test. `EchoThread`
answers as fast as it can, like a server does, for offline waits and faults.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np

from stembridge import _native

FACTOR = 0.5
RATE = 48000
FADE = 240  # 5 ms


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    """White noise, float32 `(channels, samples)`, no sample nearer to zero than 0.1."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1.0, 1.0], size=(channels, samples))
    return (sign * rng.uniform(0.1, 1.0, size=(channels, samples))).astype(np.float32)


def delayed(audio: np.ndarray, samples: int) -> np.ndarray:
    """The same length, `samples` later, silence first."""
    out = np.zeros_like(audio)
    if samples < audio.shape[1]:
        out[:, samples:] = audio[:, : audio.shape[1] - samples]
    return out


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


def feed(core: _native.RealtimeCore, audio: np.ndarray, sizes, *, between=None, offline=False):
    """Hands `audio` to the core in blocks of the given sizes (repeated); returns the output.
    `between()` runs after each block."""
    out, at, turn = [], 0, 0
    sizes = list(sizes)
    while at < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        out.append(core.process(audio[:, at : at + size], offline_wait=offline))
        if between is not None:
            between()
        at += size
        turn += 1
    return np.concatenate(out, axis=1)


def objects() -> set[str]:
    """Names of the links that exist now."""
    return {p.name for p in Path("/dev/shm").glob("stembridge-*")}


class InlineServer:
    """A separator with steps and look-ahead whose target is `factor` times the mixture."""

    def __init__(self, name: str, step: int = 1, lookahead: int = 0, factor: float = FACTOR):
        self.link = _native.Link.server_end(name)
        self.step, self.lookahead, self.factor = step, lookahead, factor
        self.epoch: int | None = None
        self.buffer = np.zeros((self.link.channels, 0), np.float32)
        self.start = self.sent = self.end = 0
        self.output = None  # a function of the target block: effects lanes
        self.share: float = 0.0

    def pull(self) -> None:
        """Take all input that is there."""
        while True:
            span = self.link.read(1 << 16)
            if span.audio.shape[1] == 0:
                return
            if span.epoch != self.epoch or span.lost_samples:
                self.epoch = span.epoch
                self.start = self.sent = self.end = span.position
                self.buffer = self.buffer[:, :0]
            assert span.position == self.end
            self.buffer = np.concatenate([self.buffer, span.audio], axis=1)
            self.end += span.audio.shape[1]

    def push(self) -> None:
        """Send all that the steps allow."""
        done = (self.end - self.start) // self.step * self.step
        ready = self.start + max(0, done - self.lookahead)
        count = ready - self.sent
        if count <= 0:
            return
        target = self.buffer[:, :count] * np.float32(self.factor)
        output = None if self.output is None else self.output(target)
        taken = self.link.write(self.sent, target, output, self.share)
        self.sent += taken
        self.buffer = self.buffer[:, taken:]

    def serve(self) -> None:
        self.pull()
        self.push()


class EchoThread(threading.Thread):
    """`InlineServer` on a thread of its own."""

    def __init__(self, name: str, **kwargs):
        super().__init__(daemon=True)
        self.server = InlineServer(name, **kwargs)
        self.stopping = False

    def run(self) -> None:
        link = self.server.link
        while not self.stopping and link.plugin_state not in ("left", "dead"):
            link.wait_input(link.position + 1, 0.05)
            self.server.serve()

    def __enter__(self) -> EchoThread:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopping = True
        self.server.link.interrupt()
        self.join(10)
        self.server.link.close()
