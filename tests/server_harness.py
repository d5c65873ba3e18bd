"""Servers and plugin ends for tests: real links, real threads, an exact separator.

`identity_server` runs in this process, `ServerProcess` in one of its own that can be killed
or stopped. Both separate with the `IdentitySeparator`, whose stems are the mixture times a
number, so that every sample that comes back can be checked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from identity import IdentitySeparator
from stembridge.chain import SeparationChain
from stembridge.presets import Preset
from stembridge.prompts import NamePrompt
from stembridge.server import Server
from stembridge.server.running import find_running

HALF = Preset("half", keep=(NamePrompt("half"),), mode="mix")
ALL = Preset("all", keep=(NamePrompt("all"),), mode="mix")
RATE = 48000


def identity_factory(**settings: Any) -> Callable[..., SeparationChain]:
    """Chains on one shared IdentitySeparator that batches; at the host's rate by default."""
    separators: dict[tuple[int, str], IdentitySeparator] = {}

    def make(preset: Preset, rate: float, channels: int, mode: Any) -> SeparationChain:
        key = (round(settings.get("sample_rate", rate)), mode)
        if key not in separators:
            step = {"live": 256, "mix": 1024, "render": 4096}[mode]
            more = {"step_samples": step, "lookahead_samples": 2 * step, **settings}
            more["sample_rate"] = key[0]
            separators[key] = IdentitySeparator(together=True, **more)
        return SeparationChain(preset, rate, channels, mode=mode, separator=separators[key])

    return make


@contextmanager
def identity_server(folder: Path, **options: Any) -> Iterator[Server]:
    """A server of this process on a free port."""
    settings = {"state_folder": folder, "osc_port": 0, "preload": None}
    settings["make_chain"] = identity_factory()
    with Server(**(settings | options)) as server:
        yield server


class ServerProcess:
    """`python server_harness.py FOLDER`: a server that may be killed. Owns the process."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, __file__, str(self.folder), *self._arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def wait_ready(self) -> None:
        def runs() -> bool:
            info = find_running(self.folder)
            return info is not None and self.process is not None and info.pid == self.process.pid

        assert eventually(runs, 20.0), "the server did not start"

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


def noise(samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Float32 noise at -20 dB."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal((channels, samples))).astype(np.float32)


def delayed(audio: np.ndarray, latency_samples: int) -> np.ndarray:
    """The same length, so much later."""
    before = np.zeros((audio.shape[0], latency_samples), np.float32)
    return np.concatenate([before, audio], axis=1)[:, : audio.shape[1]]


def in_blocks(
    process: Callable[[np.ndarray], np.ndarray],
    audio: np.ndarray,
    sizes: Sequence[int] | Iterator[int],
    pace_hz: float | None = None,
) -> np.ndarray:
    """Run `audio` through `process` in blocks of the given sizes, over and over.

    With `pace_hz` the blocks come in real time at that rate (benchmarks).
    """
    outputs = []
    start, began = 0, time.monotonic()
    turn = 0
    while start < audio.shape[1]:
        size = sizes[turn % len(sizes)] if isinstance(sizes, Sequence) else next(sizes)
        turn += 1
        block = np.ascontiguousarray(audio[:, start : start + size])
        outputs.append(process(block))
        start += block.shape[1]
        if pace_hz:
            time.sleep(max(0.0, began + start / pace_hz - time.monotonic()))
    return np.concatenate(outputs, axis=1)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition comes true: within so long on an idle machine of one's own.

    The clock is no promise where others use the machine too, so a test waits ten times as
    long before it fails; how long things take is measured in the benchmarks.
    """
    end = time.monotonic() + 10 * seconds
    while not condition():
        if time.monotonic() > end:
            return condition()
        time.sleep(0.01)
    return True


def settle(server: Server, seconds: float = 5.0) -> None:
    """Sleep until the server has worked off all input that is there."""

    def rests() -> bool:
        waits = all(
            session.link.position + session.link.available_samples < session.wait_position
            and not session.outbox
            for session in server.all_sessions()
        )
        # Asked last: what is in a worker's hands has its input, but gives its output yet.
        return waits and not server.engine.busy

    assert eventually(rests, seconds), "the server does not work off its input"


def in_time(
    server: Server, process: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """`process` in real-time mode, called as by a host that the server keeps up with.

    The blocks come when the server has answered the ones before, so nothing depends on
    the speed of the machine, and yet the plugin end never waits.
    """

    def keeping_up(block: np.ndarray) -> np.ndarray:
        settle(server)
        return process(block)

    return keeping_up


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with identity_server(folder) as running:
        while not running.wait(0.5):
            pass
