"""`stembridge serve` and `stembridge ctl` as processes, and the examples as a person runs them."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from server_harness import HALF, eventually, identity_server, noise
from stembridge import __version__
from stembridge.audiofile import read_audio, write_audio
from stembridge.cli.ctl_watch import Picture, bar, line, table
from stembridge.cli.doctor import CHECKS, Context
from stembridge.presets import dumps
from stembridge.server import Server
from stembridge.server.files import ServerInfo, ServerLock
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.running import find_running, health

EXAMPLES = Path(__file__).parents[1] / "bridge" / "examples"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    gc.collect()  # a plugin that another test left to the collector would connect here
    (tmp_path / "half.preset").write_text(dumps(HALF))
    return tmp_path


@pytest.fixture
def server(state: Path) -> Iterator[Server]:
    with identity_server(state) as running:
        yield running


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stembridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]


def test_serve_from_start_to_end(state: Path) -> None:
    """Starts, is found, refuses a second one, is content with --ensure, logs JSON, ends."""
    command = [sys.executable, "-m", "stembridge", "serve", "--osc-port", "0", "--json-logs"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert eventually(lambda: find_running(state) is not None, 60.0)
        second = run("serve")
        assert second.returncode == 1
        assert str(process.pid) in second.stderr and "--ensure" in second.stderr
        ensured = run("serve", "--ensure")
        assert ensured.returncode == 0 and "runs already" in ensured.stderr
        document = json.loads(run("ctl", "status", "--json").stdout)
        assert document["server"]["pid"] == process.pid
        assert "No sessions" in run("ctl", "list").stdout
        nothing = run("ctl", "load", "vocals")
        assert nothing.returncode == 1 and "no session" in nothing.stderr
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
        events = [json.loads(entry)["event"] for entry in log.splitlines()]
        assert "Listening" in events and "Ending" in events
        assert not (state / "server.json").exists()
    finally:
        process.kill()


def test_serve_refuses_what_is_open_to_all(state: Path) -> None:
    refused = run("serve", "--osc-host", "0.0.0.0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("stembridge: ") and "--osc-anywhere" in refused.stderr
    assert run("serve", "--osc-port", "70000").returncode == 2


def test_ctl_without_a_server(state: Path) -> None:
    away = run("ctl", "list")
    assert away.returncode == 1
    assert away.stderr == "stembridge: No server runs. Start one: stembridge serve\n"


def test_ctl_steers_a_session(server: Server, state: Path) -> None:
    with PluginEnd(HALF, 48000, latency_samples=9000, folder=state, id="a1") as plugin:
        plugin.wait_connected()
        assert run("ctl", "list").stdout.split()[:3] == ["a1", "half", "mix"]
        assert "plays 'half'" in run("ctl", "load", "half").stdout
        assert run("ctl", "set", "keep", "all,half").stdout == "a1: keep is all, half.\n"
        assert run("ctl", "set", "gain", "0", "-12").returncode == 0
        wrong = run("ctl", "set", "mode", "quick")
        assert wrong.returncode == 1 and "live, mix, render" in wrong.stderr
        document = json.loads(run("ctl", "status", "--json").stdout)
        assert document["sessions"]["a1"]["remainder_gain_db"] == -12.0
        plugin.process(noise(4096))
        watched = run("ctl", "watch", "--seconds", "1.5")
        assert "a1 half mix" in watched.stdout
        assert run("ctl", "quit").returncode == 0
        assert server.wait(5.0)


def test_watch_draws_what_it_was_told() -> None:
    picture = Picture()
    status = {"preset": "vocals", "mode": "mix", "state": "playing", "load": 0.5, "misses": 3}
    picture.take("/session/a1/status", [item for pair in status.items() for item in pair])
    picture.take("/session/a1/levels", [-6.0, 0.0, -30.0, -20.0, -60.0, -50.0])
    picture.take("/server/status", ["version", "1"])
    assert "load 50 % misses 3" in line("a1", picture.status["a1"], picture.levels["a1"])
    assert table(picture).row_count == 3
    assert bar(0.0, 10) == "█" * 10
    assert bar(-30.0, 10) == "█" * 5 + " " * 5
    assert bar(-120.0, 10) == " " * 10
    assert len(bar(-7.3, 10)) == 10
    picture.take("/session/a1/closed", ["asked"])
    assert not picture.status and table(picture).row_count == 1


def test_example_plugin_end_bounces_a_song(server: Server, state: Path) -> None:
    song, heard = state / "song.wav", state / "heard.wav"
    audio = noise(24000)
    write_audio(song, audio, 48000, bits="32f")
    script = [sys.executable, str(EXAMPLES / "python_plugin_end.py"), "half", str(song)]
    done = subprocess.run(
        [*script, "--offline", "--out", str(heard)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result, rate = read_audio(heard)
    assert rate == 48000
    assert np.abs(result - 0.5 * audio).max() < 2e-4  # 24 bits in the file


def test_example_osc_control_swaps_presets(server: Server, state: Path) -> None:
    with PluginEnd(HALF, 48000, latency_samples=9000, folder=state, id="a1") as plugin:
        plugin.wait_connected()
        script = [sys.executable, str(EXAMPLES / "osc_control.py"), "--port", str(server.osc.port)]
        done = subprocess.run(
            [*script, "--preset", "half", "--seconds", "0.6"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "session a1: half, mix" in done.stdout
        assert "dBFS" in done.stdout


def test_doctor_tells_how_the_server_is(
    server: Server, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PluginEnd(HALF, 48000, latency_samples=9000, folder=state, id="a1") as plugin:
        plugin.wait_connected()
        (level, text, data), *more = health(state)
        assert (level, more) == ("ok", [])
        assert f"version {__version__} on 127.0.0.1:{server.osc.port}" in text
        assert f"process {server.info.pid}, 1 session, load" in text
        assert data["sessions"]["a1"]["preset"] == "half"
        server.sessions["a1"].fail("Separation stopped: a test.")
        rows = health(state)
        assert rows[1][0] == "note" and "session a1" in rows[1][1] and "a test" in rows[1][1]
        monkeypatch.setattr("stembridge.server.running._own_version", lambda: "99.1")
        assert "this is 99.1. End it: stembridge ctl quit" in health(state)[1][1]
    found = [f for check in CHECKS if check.name == "server" for f in check.run(Context(True))]
    assert found[0].level == "ok" and found[0].subject == "server"


def test_doctor_tells_of_no_server_and_of_one_that_hangs(state: Path) -> None:
    assert health(state)[0][0] == "optional"
    info = ServerInfo("127.0.0.1", 9, "1.0", pid=123456)
    lock = ServerLock(state)  # as a server that was stopped in the middle holds it
    try:
        lock.publish(info)
        level, text, _ = health(state)[0]
        assert level == "problem" and "kill 123456" in text and "127.0.0.1:9" in text
    finally:
        lock.release()
    (state / "server.json").write_text(json.dumps(asdict(info)))
    assert health(state)[0][0] == "optional", "what a killed server left behind"


def test_help_costs_no_torch() -> None:
    code = (
        "import sys; from stembridge.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "import stembridge.server.client\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--ensure" in done.stdout
