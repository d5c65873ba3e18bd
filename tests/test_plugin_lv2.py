"""The LV2 outside of Ardour: its description, and real time in jalv on a dummy JACK."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import identity
import plugin_host
from server_harness import eventually, identity_server

URI = "https://stembridge.audio/lv2/stembridge"
INSTALL = "Install: apt-get install --no-install-recommends jalv jackd2 lilv-utils"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """LV2_PATH with this build alone, a private state folder and a private JACK server."""
    for tool in ("jalv", "jackd", "lv2info"):
        assert shutil.which(tool), f"{tool} is missing. {INSTALL}"
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    path = f"{plugin_host.bundle('LV2').parent}:/usr/lib/lv2"
    yield {**os.environ, "LV2_PATH": path, "JACK_DEFAULT_SERVER": f"stembridge{os.getpid()}"}


def test_the_description_is_whole(environment: dict[str, str]) -> None:
    done = subprocess.run(["lv2info", URI], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "error" not in done.stderr.lower()
    for word in ("reported by port", "X11UI", "boundedBlockLength", "state#interface"):
        assert word in done.stdout


def test_in_real_time_in_jalv(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It finds the server, plays for a while, and leaves nothing behind."""
    monkeypatch.setitem(identity.GAINS, "vocals", 0.5)
    name = environment["JACK_DEFAULT_SERVER"]
    jack = ["jackd", "-r", "-n", name, "-d", "dummy", "-r", "48000", "-p", "256"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with identity_server(tmp_path) as server:
        daemon = subprocess.Popen(jack, **quiet)  # type: ignore[call-overload]
        try:
            time.sleep(1.5)
            host = subprocess.Popen(
                ["jalv", "-x", URI], env=environment, stdin=subprocess.PIPE, **quiet
            )  # type: ignore[call-overload]
            assert eventually(lambda: len(server.sessions) == 1, 20.0)
            time.sleep(2.0)
            assert host.poll() is None
            assert host.stdin is not None
            host.stdin.close()  # the end of its commands ends jalv
            assert host.wait(timeout=20) == 0
            assert eventually(lambda: len(server.sessions) == 0, 10.0)
        finally:
            daemon.terminate()
            daemon.wait()
