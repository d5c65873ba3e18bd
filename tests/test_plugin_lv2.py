"""The LV2 outside of Ardour: its description validated, and real time in jalv on a dummy JACK."""

from __future__ import annotations

import gc
import os
import re
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
INSTALL = "Install: apt-get install --no-install-recommends jalv jackd2 lilv-utils sordi lv2-dev"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """LV2_PATH with this build alone, a private state folder and a private JACK server."""
    for tool in ("jalv", "jackd", "lv2info"):
        assert shutil.which(tool), f"{tool} is missing. {INSTALL}"
    gc.collect()  # plugins that earlier tests loaded here would join this test's server
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    path = f"{plugin_host.bundle('LV2').parent}:/usr/lib/lv2"
    yield {**os.environ, "LV2_PATH": path, "JACK_DEFAULT_SERVER": f"stembridge{os.getpid()}"}


def test_the_description_is_whole(environment: dict[str, str]) -> None:
    done = subprocess.run(["lv2info", URI], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "error" not in done.stderr.lower()
    for word in ("reported by port", "X11UI", "boundedBlockLength", "state#interface"):
        assert word in done.stdout


def test_the_description_is_valid() -> None:
    """Against LV2's own schemas. JUCE gives parameters what the schema has for ports alone, which
    hosts read (that a switch is a switch), so that stays."""
    for tool in ("lv2_validate", "sord_validate"):
        assert shutil.which(tool), f"{tool} is missing. {INSTALL}"
    files = [str(path) for path in plugin_host.bundle("LV2").glob("*.ttl")]
    assert len(files) == 3
    done = subprocess.run(["lv2_validate", *files], capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert "checked" in text
    faults = [block for block in text.split("error: ")[1:] if "core#portProperty" not in block]
    assert not faults, faults


def test_named_values_are_in_range() -> None:
    """A host's menu sets these numbers; as fractions of the range they would all be "Custom"."""
    text = (plugin_host.bundle("LV2") / "dsp.ttl").read_text()
    blocks = {}
    for block in text.split("\n\n"):
        if block.startswith("plug:"):
            name, _, blocks_text = block.removeprefix("plug:").partition("\n")
            blocks[name] = blocks_text
    for name, count in (("preset", 128), ("output", 4), ("mode", 4), ("bypass", 2)):
        values = [float(word) for word in re.findall(r"rdf:value ([-\d.]+)", blocks[name])]
        most = float(re.findall(r"lv2:maximum ([-\d.]+)", blocks[name])[0])
        assert values == list(range(count)), name
        assert most == count - 1
    labels = re.findall(r'rdfs:label "([^"]*)"', blocks["output"])
    assert labels == ["Output", "Preset", "Solo", "Remove", "Mix"]


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
        hosts: list[subprocess.Popen[bytes]] = []

        def joined() -> bool:
            if not hosts or hosts[-1].poll() is not None:  # JACK was not there yet
                time.sleep(0.5)
                hosts.append(
                    subprocess.Popen(
                        ["jalv", "-x", URI], env=environment, stdin=subprocess.PIPE, **quiet
                    )  # type: ignore[call-overload]
                )
            return len(server.sessions) == 1

        try:
            assert eventually(joined, 20.0)
            host = hosts[-1]
            time.sleep(2.0)
            assert host.poll() is None
            assert host.stdin is not None
            host.stdin.close()  # the end of its commands ends jalv
            assert host.wait(timeout=20) == 0
            assert eventually(lambda: len(server.sessions) == 0, 10.0)
        finally:
            daemon.terminate()
            daemon.wait()
