"""Parameters that move in every block of a bounce: no clicks, and what is kept plus what is removed
is the track; and a render that found no server says so, also to `ctl status`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import identity
import plugin_host
from server_harness import eventually, identity_server, noise
from stembridge.cli import main
from stembridge.server import Server

RATE = 48000
BLOCK = 512
FADE_SAMPLES = RATE // 200
OFFLINE_TIMEOUT_SECONDS = 60.0
SOUNDS = ("vocals", "drums", "bass", "other", "speech", "guitar", "keys", "effects", "rain")


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Each sound is another share of the mixture, so that presets differ."""
    for index, name in enumerate(SOUNDS):
        monkeypatch.setitem(identity.GAINS, name, 0.1 + 0.1 * index)
    with identity_server(folder) as running:
        yield running


def render(plugin: Any, audio: np.ndarray, move: Any) -> tuple[np.ndarray, int]:
    """Block by block, with `move(plugin, index)` before each; also by how much it is late."""
    plugin.reset()
    late = plugin.reported_latency_samples
    outputs = []
    for index, start in enumerate(range(0, audio.shape[1], BLOCK)):
        move(plugin, index)
        block = np.ascontiguousarray(audio[:, start : start + BLOCK])
        outputs.append(plugin(block, RATE, buffer_size=BLOCK, reset=False))
    return np.concatenate(outputs, axis=1), late


def test_presets_move_and_the_mix_stays_the_track(server: Server) -> None:
    """Target and remainder of whichever presets, and of the fades between them, add up."""
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"))
    plugin.output = "Mix"
    names = ["vocals", "drums", "bass", "other"]  # without gains of their own
    audio = noise(RATE)
    plugin(audio[:, :BLOCK], RATE, buffer_size=BLOCK)

    def move(plugin: Any, index: int) -> None:
        plugin.preset = names[index % len(names)]

    out, _ = render(plugin, audio, move)
    # pedalboard leaves out as many samples as the latency, and the last are never heard.
    assert out.shape[1] > RATE // 4
    assert np.abs(out - audio[:, : out.shape[1]]).max() <= 1e-6


@pytest.mark.parametrize("also", [(), ("bypass",), ("preset",), ("bypass", "preset")])
def test_what_moves_in_a_bounce_never_clicks(server: Server, also: tuple[str, ...]) -> None:
    """Gains and output in every block; bypass, and presets, some of which the server refuses."""
    generator = random.Random(5)
    plugin = plugin_host.load()
    presets = plugin.parameters["preset"].valid_values[1:40]
    amplitude, most_gain = 0.1, 10 ** (12 / 20)
    tone = amplitude * np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)
    audio = np.stack([tone, tone]).astype(np.float32)

    def move(plugin: Any, index: int) -> None:
        plugin.target_gain_db = generator.uniform(-60, 12)
        plugin.remainder_gain_db = generator.uniform(-60, 12)
        plugin.output = generator.choice(["Preset", "Solo", "Remove", "Mix"])
        if "bypass" in also:
            plugin.bypass = generator.random() < 0.2
        if "preset" in also and index % 4 == 0:
            plugin.preset = generator.choice(presets)

    began = time.monotonic()
    out, _ = render(plugin, audio, move)
    slope = amplitude * 2 * np.pi * 50 / RATE
    loudest = 2 * most_gain  # target and remainder, each at its most
    assert out.shape[1] > RATE // 2
    assert np.abs(np.diff(out)).max() <= loudest * slope + 2 * loudest * amplitude / FADE_SAMPLES
    assert np.abs(out).max() <= loudest * amplitude * 1.01
    assert time.monotonic() - began < OFFLINE_TIMEOUT_SECONDS, "a wait ran into its time-out"


def test_a_dry_render_shows_in_ctl_status_until_the_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"))
    audio = noise(RATE)
    assert np.array_equal(plugin(audio, RATE), audio)  # nobody there, and no launcher

    def told() -> dict[str, Any]:
        capsys.readouterr()
        assert main(["ctl", "status", "--json"]) == 0
        sessions = json.loads(capsys.readouterr().out)["sessions"]
        return next(iter(sessions.values()), {})

    with identity_server(folder):
        assert eventually(lambda: int(told().get("dry_samples", 0)) >= RATE, 20.0)
        assert "The last render was dry for" in told()["message"]
        assert np.array_equal(plugin(audio, RATE), 0.5 * audio)
        assert eventually(lambda: told()["dry_samples"] == "0", 20.0)
        assert "dry" not in told()["message"]
