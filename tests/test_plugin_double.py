"""The VST3 in a host of bare interfaces: 64-bit samples, odd sizes, automation in every block.

`plugin/tests/vst3_host.cpp` is that host. It prepares the plugin three times, with other rates and
sizes first, and sends blocks of random sizes. In double precision the plugin works on float32,
so the expectation is exact: float32 of the input, times what the identity server takes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import identity
import plugin_host
from server_harness import identity_server

RATE = 48000
FADE_SAMPLES = RATE // 200


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built host; a private state folder, so that no other server is found."""
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    return plugin_host.vst3_host()


@pytest.fixture
def half_server(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Knows every sound of the factory presets, and keeps half of it."""
    names = ["vocals", "drums", "bass", "other", "speech", "guitar", "keys", "effects", "rain"]
    names += ["sfx", "strings", "winds", "fire crackling", "sea waves", "clock tick"]
    for name in names:
        monkeypatch.setitem(identity.GAINS, name, 0.5)
    with identity_server(tmp_path):
        yield


def run(
    host: Path, audio: np.ndarray, block: int, mode: str, automation: str = "none", seed: int = 1
) -> tuple[np.ndarray, int]:
    """`audio` float64 `(2, samples)` through the plugin; also the latency it reports."""
    module = next(plugin_host.bundle("VST3").rglob("*.so"))
    words = [str(host), str(module), str(RATE), str(block), mode, automation, str(seed)]
    done = subprocess.run(
        words, input=np.ascontiguousarray(audio.T).tobytes(), capture_output=True, timeout=900
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    out = np.frombuffer(done.stdout).reshape(-1, 2).T
    return out, int(done.stderr.split()[-1])


def noise64(samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(3).standard_normal((2, samples))


@pytest.mark.parametrize("block", [1, 17, 512, 8192])
def test_doubles_dry_are_the_floats_of_the_input(host: Path, block: int) -> None:
    audio = noise64(60_000 if block > 1 else 12_000)
    out, latency = run(host, audio, block, "realtime")
    assert out.shape == audio.shape
    assert latency > 0
    kept = max(0, audio.shape[1] - latency)
    assert np.array_equal(out[:, latency:], audio[:, :kept].astype(np.float32).astype(np.float64))
    assert not out[:, :latency].any()


@pytest.mark.parametrize("block", [64, 333, 4096])
def test_doubles_wet_are_exact(half_server: None, host: Path, block: int) -> None:
    audio = noise64(2 * RATE)
    out, latency = run(host, audio, block, "offline")
    wet = 0.5 * audio[:, : audio.shape[1] - latency].astype(np.float32)
    assert latency < RATE
    assert np.array_equal(out[:, latency:], wet.astype(np.float64))


@pytest.mark.timeout(960)  # a new preset and mode in every block: seen from 25 s to over 240 s
@pytest.mark.parametrize("automation", ["gains", "all"])
@pytest.mark.parametrize("mode", ["offline", "realtime"])
def test_automation_in_every_block_never_clicks(
    half_server: None, host: Path, automation: str, mode: str
) -> None:
    """On a slow sine no step is larger than its own slope and the fade's allow.

    A parameter moves at most from off to +12 dB, over the 5 ms of every ramp; presets, output
    and bypass (and, offline, mode) move within the same bounds.
    """
    amplitude, most_gain = 0.1, 10 ** (12 / 20)
    sine = amplitude * np.sin(2 * np.pi * 50 * np.arange(3 * RATE) / RATE)
    out, _ = run(host, np.stack([sine, sine]), 256, mode, automation)
    assert np.isfinite(out).all()
    slope = amplitude * 2 * np.pi * 50 / RATE
    # Target and remainder are half each, so both gains at once are one; a fade to dry may go on.
    allowed = most_gain * slope + 2 * most_gain * amplitude / FADE_SAMPLES
    assert np.abs(np.diff(out)).max() <= allowed
    assert np.abs(out).max() <= 1.01 * most_gain * amplitude
