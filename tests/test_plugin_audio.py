"""The VST3 in pedalboard: what goes in comes out, aligned, with and without a server.

The server of most tests separates with the identity separator, so each sample has an exact
expectation: "half" keeps half the mixture. pedalboard renders offline and compensates the
reported latency, so a wrong latency shows as a shifted result.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import plugin_host
from server_harness import identity_factory, identity_server, noise
from stembridge.chain import SeparationChain
from stembridge.presets import loads

RATE = 48000
TOLERANCE = 1e-5


@pytest.fixture
def server(folder: Path) -> Iterator[None]:
    """An identity server in that folder."""
    with identity_server(folder):
        yield


def test_parameters_have_names_and_ranges(folder: Path) -> None:
    plugin = plugin_host.load()
    assert list(plugin.parameters) == [
        "preset",
        "output",
        "mode",
        "target_gain_db",
        "remainder_gain_db",
        "bypass",
    ]
    plugin.preset = "drums"
    plugin.mode = "Live"
    plugin.target_gain_db = -6.5
    plugin.bypass = True
    assert (plugin.preset, plugin.mode, plugin.bypass) == ("drums", "Live", True)
    assert plugin.target_gain_db == pytest.approx(-6.5)
    assert plugin.parameters["remainder_gain_db"].range == (-60.0, 12.0, pytest.approx(0.1))


def test_every_factory_preset_has_its_slot(folder: Path) -> None:
    slots = (plugin_host.ROOT / "plugin" / "preset_slots.txt").read_text().splitlines()
    files = [line for line in slots if line and not line.startswith("#")]
    assert len(files) == len(set(files))
    names = [loads((plugin_host.ROOT / "presets" / name).read_text()).name for name in files]
    values = plugin_host.load().parameters["preset"].valid_values
    assert values[: len(names) + 1] == ["Custom", *names]


@pytest.mark.parametrize("samples", [1, 64, 65, 8192, 8193])
@pytest.mark.parametrize("channels", [1, 2])
def test_without_a_server_the_dry_signal_is_aligned(
    folder: Path, samples: int, channels: int
) -> None:
    plugin = plugin_host.load()
    audio = noise(samples, channels)
    for rate in (44100, 96000):
        assert np.array_equal(plugin(audio, rate), audio)


def test_latency_is_reported_and_never_below_what_the_chain_needs(folder: Path) -> None:
    """Without a server the plugin guesses; too little could never be made good offline."""
    from stembridge.server.budget import latency_of

    plugin = plugin_host.load()
    for mode in ("live", "mix", "render"):
        for rate in (44100, 48000, 96000):
            chain = SeparationChain(loads(plugin_host.preset_text("vocals")), rate, 2, mode=mode)
            plugin.mode = mode.capitalize()
            plugin(noise(64), rate, buffer_size=512)
            needed = latency_of(chain, 512).latency_samples
            assert needed <= plugin.reported_latency_samples <= 1.3 * needed


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("block", [64, 333, 8192])
def test_the_target_comes_back_exact(server: None, rate: int, block: int) -> None:
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"))
    audio = noise(3 * rate // 2)
    out = plugin(audio, rate, buffer_size=block)
    assert np.array_equal(out, 0.5 * audio)


def test_mono_and_stereo_in_turn(server: None) -> None:
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"))
    for channels in (2, 1, 1, 2):
        audio = noise(30000, channels)
        assert np.array_equal(plugin(audio, RATE), 0.5 * audio)


def test_mix_is_the_input_and_the_gains_act(server: None) -> None:
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"))
    audio = noise(60000)
    plugin.output = "Mix"
    assert np.abs(plugin(audio, RATE) - audio).max() <= 1e-6  # null-sum at -120 dB
    plugin.target_gain_db = -60.0  # off
    assert np.abs(plugin(audio, RATE) - 0.5 * audio).max() <= TOLERANCE
    plugin.target_gain_db, plugin.remainder_gain_db = 6.0, -6.0
    expected = 0.5 * audio * np.float32(10**0.3) + 0.5 * audio * np.float32(10**-0.3)
    assert np.abs(plugin(audio, RATE) - expected).max() <= TOLERANCE
    plugin.output = "Remove"
    assert np.abs(plugin(audio, RATE) - 0.5 * audio * np.float32(10**-0.3)).max() <= TOLERANCE
    plugin.bypass = True
    assert np.array_equal(plugin(audio, RATE), audio)


@pytest.mark.parametrize(
    "fields",
    [
        {"output": "remainder", "remainder_gain_db": -3.0},
        {"output": "mix", "target_gain_db": "-inf", "remainder_gain_db": 2.0},
        {"effects": [{"plugin": "Gain", "parameters": {"gain_db": -9.0}}]},
        {
            "output": "mix",
            "target_gain_db": -4.0,
            "effects": [
                {"plugin": "HighpassFilter", "parameters": {"cutoff_frequency_hz": 200.0}},
                {"plugin": "Delay", "parameters": {"delay_seconds": 0.05, "mix": 0.3}},
            ],
        },
    ],
)
def test_a_render_equals_the_offline_chain(server: None, fields: dict[str, object]) -> None:
    text = plugin_host.preset_text("half", **fields)
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=text)
    audio = noise(70000)
    out = plugin(audio, RATE, buffer_size=1024)
    chain = identity_factory()(loads(text), RATE, 2, "mix")
    parts = [chain.finish(chain.push(audio)), chain.finish(chain.flush())]
    assert np.abs(out - np.concatenate(parts, axis=1)).max() <= TOLERANCE


def test_the_real_separator_equals_the_offline_chain(folder: Path) -> None:
    """Two seconds of music-like sound through the embedded separator, both ways."""
    from stembridge.server import Server

    text = plugin_host.preset_text("vocals")
    time = np.arange(2 * 44100) / 44100
    audio = np.stack([np.sin(2 * np.pi * f * time * (1 + 0.01 * time)) for f in (220, 331)])
    audio = (0.2 * audio).astype(np.float32) + noise(audio.shape[1], seed=3)
    with Server(state_folder=folder, osc_port=0, preload=None):
        plugin = plugin_host.load()
        plugin_host.write_state(plugin, preset=text)
        out = plugin(audio, 44100)
        plugin.output = "Mix"
        mixed = plugin(audio, 44100)
    chain = SeparationChain(loads(text), 44100, 2)
    parts = [chain.finish(chain.push(audio)), chain.finish(chain.flush())]
    expected = np.concatenate(parts, axis=1)
    assert np.abs(expected - audio).max() > 0.01  # it does something
    assert np.abs(out - expected).max() <= TOLERANCE
    assert np.abs(mixed - audio).max() <= 1e-6


def test_gain_changes_are_smooth(server: None) -> None:
    """A jump of the parameter is a ramp of 5 ms in the sound: no step above 1/100."""
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half", output="mix"))
    level = np.full((2, 48000), 0.5, np.float32)
    plugin(level[:, :480], RATE, buffer_size=480)
    pieces = []
    for turn in range(24):  # half a second and more until the first sample comes out
        plugin.target_gain_db = -60.0 if turn % 2 else 0.0
        pieces.append(plugin(level[:, :4800], RATE, reset=False, buffer_size=480))
    heard = np.concatenate(pieces, axis=1)[0]
    heard = heard[np.flatnonzero(heard > 0.2)[0] + 480 :]  # behind the edge of the signal
    assert heard.size > 40000
    assert heard.min() == pytest.approx(0.25, abs=1e-4)  # the target was off
    assert heard.max() == pytest.approx(0.5, abs=1e-4)
    assert np.abs(np.diff(heard)).max() < 0.01


def test_two_instances_with_presets_of_their_own(server: None) -> None:
    first, second = plugin_host.load(), plugin_host.load()
    plugin_host.write_state(first, preset=plugin_host.preset_text("half"))
    plugin_host.write_state(second, preset=plugin_host.preset_text("all"))
    audio = noise(40000)
    for _ in range(2):
        assert np.array_equal(first(audio, RATE), 0.5 * audio)
        assert np.array_equal(second(audio, RATE), audio)
