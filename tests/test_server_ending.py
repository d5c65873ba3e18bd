"""A server ends within seconds whatever it is in the middle of, and says what it left undone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_harness import HALF, eventually, identity_factory, identity_server, noise
from stembridge.presets import Preset
from stembridge.server import ending
from stembridge.server.control import Control
from stembridge.server.ending import Ending
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.running import find_running


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "CLOSE_SECONDS", 1.0)
    monkeypatch.setattr(ending, "LEAST_SECONDS", 0.2)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the stuck work waits for; opened in the end, so that its thread ends."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_a_step_that_never_ends_does_not_hold_up_the_server(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link is left to the worker, which lets go of it as soon as its turn ends."""
    make, stuck = identity_factory(), threading.Event()

    def factory(preset: Preset, rate: float, channels: int, mode: Any) -> Any:
        chain = make(preset, rate, channels, mode)
        run = chain.advance

        def advance() -> None:
            stuck.set()
            gate.wait(120)
            run()

        monkeypatch.setattr(chain, "advance", advance)
        return chain

    with PluginEnd(HALF, 48000, latency_samples=9000, folder=tmp_path, id="a1") as plugin:
        with identity_server(tmp_path, make_chain=factory, workers=1) as server:
            plugin.wait_connected()
            session = server.sessions["a1"]
            plugin.process(noise(8192))
            assert stuck.wait(20)
            server.close()
        assert any(name.startswith("stembridge-work") for name in server.unfinished)
        assert not server.sessions and find_running(tmp_path) is None
        assert not session._closed, "a worker still writes to it"
        gate.set()
        assert eventually(lambda: session._closed)


def test_weights_that_never_come_do_not_hold_up_the_server(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def load(name: str) -> None:
        began.set()
        gate.wait(120)

    monkeypatch.setattr("stembridge.server.server.load_separator", load)
    monkeypatch.setattr("stembridge.server.server.warm_up", lambda loaded: None)
    with identity_server(tmp_path, preload="unet") as server:
        assert began.wait(20)
    assert len(server.unfinished) == 1 and "control" in server.unfinished[0]
    with identity_server(tmp_path) as again:
        assert again.info.port
    assert again.unfinished == []


def test_a_handler_that_hangs_does_not_hold_up_the_server(
    tmp_path: Path, gate: threading.Event
) -> None:
    with identity_server(tmp_path) as server:
        verb, _ = server.osc.handlers["/server/ping"]
        began = threading.Event()

        def hang(request: Any) -> None:
            began.set()
            gate.wait(120)

        server.osc.handlers["/server/ping"] = (verb, hang)
        with PluginEnd(HALF, 48000, latency_samples=9000, folder=tmp_path):
            assert began.wait(30)
            server.close()
    assert server.unfinished == ["stembridge-osc"]


def test_work_that_ends_in_time_is_waited_for() -> None:
    control, done = Control(threads=1), []
    began = threading.Event()

    def work() -> None:
        began.set()
        time.sleep(0.2)
        done.append(1)

    control.run("a", work)
    assert began.wait(20)
    closing = Ending(60.0)
    control.close(closing)
    assert done == [1] and closing.unfinished == []


def test_each_part_gets_a_moment_though_another_took_all_the_time(gate: threading.Event) -> None:
    closing = Ending(0.3)
    closing.run(lambda: gate.wait(120), "first")
    closing.run(lambda: None, "second")
    assert closing.unfinished == ["first"]


SLOW_SERVE = """
import sys, time
import stembridge.server.server as server
server.load_separator = lambda name: time.sleep(600)
from stembridge.server import ending
ending.CLOSE_SECONDS = 1.0
from stembridge.cli import main
sys.exit(main(["serve", "--osc-port", "0", "--json-logs"]))
"""


def test_the_process_ends_on_sigterm_while_it_reads_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_SERVE], stderr=subprocess.PIPE, text=True
    )
    try:
        assert eventually(lambda: find_running(tmp_path) is not None, 60.0)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0, log
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert lines[-1]["event"] == "Ended in the middle of work"
        assert "stembridge-control" in str(lines[-1]["threads"])
        assert not (tmp_path / "server.json").exists()
    finally:
        process.kill()
