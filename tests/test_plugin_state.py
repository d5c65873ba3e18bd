"""The plugin's saved state: whole, versioned, and harmless when it is damaged or foreign."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plugin_host
from server_harness import identity_server, noise
from stembridge.presets import loads

RATE = 48000


@given(st.binary(max_size=200))
def test_juce_base64_round_trip(data: bytes) -> None:
    assert plugin_host.juce_decode(plugin_host.juce_encode(data)) == data


def test_round_trip_carries_the_whole_preset(folder: Path) -> None:
    """Also on a machine that does not have the preset: its text is in the state."""
    text = plugin_host.preset_text("half", name="Mühle, 静か — live", description='"x"\\\n')
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=text)
    plugin.output = "Remove"
    plugin.mode = "Live"
    plugin.target_gain_db = -3.2
    plugin.remainder_gain_db = 4.5
    plugin.bypass = True
    saved = plugin.raw_state
    other = plugin_host.load()
    other.raw_state = saved
    assert json.loads(plugin_host.read_state(other)["preset"]) == json.loads(text)
    assert other.preset == "Custom"
    assert (other.output, other.mode, other.bypass) == ("Remove", "Live", True)
    assert other.target_gain_db == pytest.approx(-3.2)
    assert other.remainder_gain_db == pytest.approx(4.5)
    assert plugin_host.component_bytes(other.raw_state) == plugin_host.component_bytes(saved)


def test_a_factory_preset_is_found_by_content(folder: Path) -> None:
    plugin = plugin_host.load()
    plugin.preset = "karaoke"
    other = plugin_host.load()
    other.raw_state = plugin.raw_state
    assert other.preset == "karaoke"


def test_a_long_preset_travels_in_parts(folder: Path) -> None:
    """Far more than a datagram: the sound is right, so every part has arrived."""
    words = dict.fromkeys(("description", "author", "licence"), "é" * 4000)
    text = plugin_host.preset_text("half", **words)
    loads(text)
    assert len(text) > 50_000
    plugin = plugin_host.load()
    plugin_host.write_state(plugin, preset=text)
    audio = noise(20000)
    with identity_server(folder):
        assert np.array_equal(plugin(audio, RATE), 0.5 * audio)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0" * 64,
        b"not json",
        b"{}",
        b"[]",
        b"null",
        b'{"stembridge_plugin": 99}',
        b'{"stembridge_plugin": "1"}',
        b'{"stembridge_plugin": 1}',
        b'{"stembridge_plugin": 1, "preset": 7, "output": -5, "mode": 1e99, "waiting": []}',
        b'{"stembridge_plugin": 1, "preset": "{\\"stembridge_preset\\": 2, \\"name\\": \\"x\\"}"}',
        b'{"stembridge_plugin": 1, "preset": "\xff\xfe"}',
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b'{"stembridge_plugin": 1, "latency_samples": {"": 5, "x": -1, "y": 1e300}}',
    ],
)
def test_damage_becomes_the_factory_default(folder: Path, damage: bytes) -> None:
    plugin = plugin_host.load()
    plugin.preset = "drums"
    plugin_host.write_bytes(plugin, damage)
    audio = noise(3000)
    assert np.array_equal(plugin(audio, RATE), audio)
    if damage:  # the wrapper does not hand an empty state on
        assert plugin_host.read_state(plugin)["preset"].find('"vocals"') > 0


def test_fuzzed_states_never_crash(folder: Path) -> None:
    """A good state with bytes changed, cut, doubled; then a good one still loads."""
    generator = random.Random(11)
    plugin = plugin_host.load()
    good = json.dumps(plugin_host.read_state(plugin)).encode()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(generator.randrange(1, 9)):
            at = generator.randrange(len(data))
            kind = generator.randrange(4)
            if kind == 0:
                data[at] = generator.randrange(256)
            elif kind == 1:
                del data[at : at + generator.randrange(1, 40)]
            elif kind == 2:
                data[at:at] = data[: generator.randrange(1, 40)]
            else:
                data[at:at] = generator.choice([b"{", b"[", b'"', b"\\u", b"-inf", b"1e999"])
        plugin_host.write_bytes(plugin, bytes(data))
    plugin_host.write_state(plugin, preset=plugin_host.preset_text("half"), target_gain_db=-2.0)
    assert plugin.preset == "Custom"
    assert plugin.target_gain_db == pytest.approx(-2.0)
    audio = noise(3000)
    assert np.array_equal(plugin(audio, RATE), audio)
