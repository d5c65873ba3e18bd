"""What a session's status tells of prompt and render: the probe, the kept share, dry renders.

The exact separator makes every figure computable: "half" keeps half of whatever it is given,
so share, kept and left are -6.02 dB each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server_harness import HALF, RATE, eventually, identity_server, in_time, noise, settle
from stembridge.presets import dumps
from stembridge.server import Server
from stembridge.server.client import Client
from stembridge.server.meters import BANDS, HIGHEST_HZ, LOWEST_HZ, Meters
from stembridge.server.plugin_end import PluginEnd
from stembridge.tuning.probe import match_of

HALF_DB = float(20 * np.log10(0.5))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with identity_server(tmp_path) as running:
        yield running


@pytest.fixture
def plugin(server: Server, tmp_path: Path) -> Iterator[PluginEnd]:
    with PluginEnd(dumps(HALF), RATE, latency_samples=9000, folder=tmp_path, id="a1") as end:
        end.wait_connected()
        yield end


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client.connect("test", info=server.info, timeout_seconds=30.0) as client:
        yield client


def status(client: Client) -> dict[str, Any]:
    values = client.request("/session/a1/status/get")
    return dict(zip(values[::2], values[1::2], strict=True))


def play(server: Server, plugin: PluginEnd, seconds: float, gain: float = 1.0) -> None:
    process = in_time(server, plugin.process)
    for seed in range(round(seconds * RATE / 960)):
        process(np.float32(gain) * noise(960, seed=seed))
    settle(server)


def wait_done(client: Client) -> dict[str, Any]:
    assert eventually(lambda: status(client)["probe_state"] == "done", 30.0)
    return status(client)


def test_it_listens_and_tells(server: Server, plugin: PluginEnd, client: Client) -> None:
    assert status(client)["probe_state"] == "off"
    assert client.request("/session/a1/probe/start", 2.0) == [2.0, 1]
    play(server, plugin, 1.0)
    half = status(client)
    assert half["probe_state"] == "listening"
    assert half["probe_fraction"] == pytest.approx(0.5, abs=0.01)
    assert half["probe_match"] == half["probe_share"] == -1.0
    play(server, plugin, 1.2)
    done = wait_done(client)
    assert done["probe_match"] == pytest.approx(match_of((HALF_DB,) * 3), abs=1e-3)
    assert done["probe_share"] == pytest.approx(0.25, abs=1e-3)
    assert done["probe_message"] == server.session("a1").probing.result.sentence()  # type: ignore[union-attr]


def test_another_prompt_makes_the_result_old(
    server: Server, plugin: PluginEnd, client: Client
) -> None:
    client.request("/session/a1/probe/start", 2.0)
    play(server, plugin, 2.2)
    wait_done(client)
    client.request("/session/a1/gain/set", -3.0, 0.0)
    client.request("/session/a1/mode/set", "live")
    assert status(client)["probe_state"] == "done"  # the prompts are the same
    client.request("/session/a1/keep/set", "all")
    old = status(client)
    assert (old["probe_state"], old["probe_match"], old["probe_message"]) == ("old", -1.0, "")
    client.request("/session/a1/keep/set", "half")
    assert status(client)["probe_state"] == "done"


def test_an_armed_tape_spares_the_listening(
    server: Server, plugin: PluginEnd, client: Client
) -> None:
    client.request("/session/a1/learn/arm", 4.0)
    play(server, plugin, 2.5)
    assert client.request("/session/a1/probe/start", 2.0) == [2.0, 0]
    assert wait_done(client)["probe_share"] == pytest.approx(0.25, abs=1e-3)


def test_silence_matches_nothing(server: Server, plugin: PluginEnd, client: Client) -> None:
    client.request("/session/a1/probe/start", 2.0)
    play(server, plugin, 2.2, gain=0.0)
    done = wait_done(client)
    assert (done["probe_match"], done["probe_share"]) == (0.0, 0.0)


def test_the_kept_share_is_of_what_plays(server: Server, plugin: PluginEnd, client: Client) -> None:
    assert status(client)["kept_share"] == -1.0
    play(server, plugin, 0.5)
    assert status(client)["kept_share"] == pytest.approx(0.25, abs=1e-3)


def test_a_choice_on_the_tape_stays_with_its_sound(
    server: Server, plugin: PluginEnd, client: Client
) -> None:
    """Marked by its place, later sound does not move it."""
    client.request("/session/a1/learn/arm", 8.0)
    play(server, plugin, 1.0)
    place = status(client)["learn_taped_seconds"]
    assert place == pytest.approx(1.0)
    learning = server.session("a1").learning
    client.request("/session/a1/learn/mark", 0.6, 0.2, place)
    play(server, plugin, 1.5)
    client.request("/session/a1/learn/mark", 0.6, 0.2, place)
    assert np.array_equal(learning.marks[0].audio, learning.marks[1].audio)
    shown = status(client)["learn_shown_seconds"]
    assert 2.5 - 0.25 <= shown <= 2.5
    with pytest.raises(Exception, match="begun anew"):
        client.request("/session/a1/learn/mark", 0.6, 0.2, 99.0)


@pytest.mark.parametrize("block", [96, 1024, 30000])
def test_the_picture_has_twenty_columns_a_second(block: int) -> None:
    """Whatever the blocks; a full-scale sine is at the top of its own band, and nowhere else."""
    meters = Meters()
    assert meters.columns(RATE, 0) == []
    sine = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    columns = []
    for start in range(0, 2 * RATE, block):
        target = np.tile(sine[start : start + block], (2, 1))
        meters.add(target, np.zeros_like(target))
        columns += meters.columns(RATE, columns[-1][0] if columns else 0)
    places = [place for place, _, _ in columns]
    assert places == list(range(RATE // 10, 2 * RATE + 1, RATE // 20))  # whole windows alone
    band = int(BANDS * np.log(1000 / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ))
    for _, target, remainder in columns:
        assert target[band] >= 250  # the sine lies between two bins
        assert max(target[: band - 2] + target[band + 3 :]) < 100
        assert not any(remainder)


def test_columns_come_with_their_place_on_the_tape(
    server: Server, plugin: PluginEnd, client: Client
) -> None:
    client.request("/session/a1/status/subscribe", 30.0, 1)
    client.request("/session/a1/learn/arm", 8.0)
    play(server, plugin, 1.0)
    places: list[float] = []

    def collected() -> bool:
        for path, values in client.events(0.05):
            if path.endswith("/spectrum"):
                assert [len(blob) for blob in values[:2]] == [BANDS, BANDS]
                places.append(values[2])
        return len(places) >= 15

    assert eventually(collected, 10.0)
    assert np.allclose(np.diff(places), 0.05, atol=1e-3)
    assert 0 < places[0] < places[-1] <= status(client)["learn_taped_seconds"]


def test_a_dry_render_is_told(plugin: PluginEnd, client: Client) -> None:
    client.request("/session/a1/render/report", 3 * RATE)
    told = status(client)
    assert told["dry_samples"] == str(3 * RATE)
    assert told["message"].startswith("The last render was dry for 3.0 s")
    client.request("/session/a1/render/report", 0)
    assert "dry" not in status(client)["message"]
