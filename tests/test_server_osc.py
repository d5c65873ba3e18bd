"""Verbs over a real socket: every one answers, hostile ones harm nothing, and what one client
changes the others hear of. Sessions run on real links with an exact separator.
"""

from __future__ import annotations

import itertools
import random
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server_harness import ALL, HALF, eventually, identity_server, in_blocks, noise
from stembridge.errors import ServerError
from stembridge.presets import Preset, dumps, loads
from stembridge.prompts import Clip, ExamplePrompt, NamePrompt, TextPrompt
from stembridge.separators.auto import resolved
from stembridge.server import Server
from stembridge.server.client import Client
from stembridge.server.meters import BANDS, HIGHEST_HZ, LOWEST_HZ, Meters
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.protocol import PROTOCOL, RequestError
from stembridge.server.verbs import SERVER_STATUS, SESSION_STATUS, VERBS, Verb
from stembridge.server.wire import encode


@pytest.fixture(autouse=True)
def user_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with identity_server(tmp_path / "state") as running:
        yield running


@pytest.fixture
def plugin(server: Server, tmp_path: Path) -> Iterator[PluginEnd]:
    with PluginEnd(HALF, 48000, latency_samples=9000, folder=tmp_path / "state", id="a1") as end:
        end.wait_connected()
        assert eventually(lambda: end.message == "Connected.")
        yield end


@pytest.fixture
def trusted(server: Server) -> Iterator[Client]:
    with Client.connect("test", info=server.info) as client:
        yield client


@pytest.fixture
def stranger(server: Server) -> Iterator[Client]:
    with Client("127.0.0.1", server.osc.port) as client:
        client.hello("stranger")
        yield client


def status(client: Client, session: str = "a1") -> dict:
    values = client.request(f"/session/{session}/status/get")
    return dict(zip(values[::2], values[1::2], strict=True))


# --- hello --------------------------------------------------------------------------------


def test_hello_names_both_versions(server: Server) -> None:
    with Client("127.0.0.1", server.osc.port) as client:
        with pytest.raises(
            RequestError, match=rf"protocol {PROTOCOL}.* speaks {PROTOCOL + 1}"
        ) as e:
            client.request("/server/hello", PROTOCOL + 1, "future")
        assert e.value.code == "version"
        with pytest.raises(RequestError, match="token") as e:
            client.request("/server/hello", PROTOCOL, "thief", "0" * 32)
        assert e.value.code == "forbidden"
        protocol, _, is_trusted, _, pid = client.hello("friend", server.info.token)
        assert (protocol, is_trusted, pid) == (PROTOCOL, 1, server.info.pid)


def test_quit_needs_the_token(server: Server, stranger: Client, trusted: Client) -> None:
    with pytest.raises(RequestError, match="token"):
        stranger.request("/server/quit")
    assert not server.wait(0.05)
    trusted.request("/server/quit")
    assert server.wait(2.0)


# --- the table against the running server -------------------------------------------------


@pytest.mark.parametrize("verb", [v for v in VERBS if not v.trusted], ids=lambda v: v.path)
def test_every_verb_answers(
    server: Server, plugin: PluginEnd, stranger: Client, verb: Verb
) -> None:
    """With its example: a reply of the types that the page promises, or a clear refusal."""
    path = verb.path.replace("<id>", "a1")
    try:
        reply = stranger.request(path, *verb.example, timeout_seconds=120.0)
    except RequestError as error:
        assert error.code != "internal", error
        assert len(str(error)) > 20
        return
    assert not verb.reserved
    kinds = {"i": int, "f": float, "s": str, "b": bytes}
    if verb.reply and verb.reply[-1].name == "pairs":
        keys = SESSION_STATUS if verb.of_session else SERVER_STATUS
        assert reply[::2] == [key.name for key in keys]
        for key, value in zip(keys, reply[1::2], strict=True):
            assert type(value) is kinds[key.kind], key.name
    elif not (verb.reply and verb.reply[-1].many):
        assert [type(value) for value in reply] == [kinds[a.kind] for a in verb.reply]


def test_wrong_paths_and_arguments_say_what_is_right(plugin: PluginEnd, stranger: Client) -> None:
    for path, values, code, words in (
        ("/sesion/a1/mode/set", ["mix"], "path", "/session/<id>/mode/set"),
        ("/session/A 1/mode/set", ["mix"], "path", "a-z"),
        ("/session/a1/mode/set", ["fast"], "arguments", "live, mix, render"),
        ("/session/a1/mode/set", [], "arguments", "<mode> is missing"),
        ("/session/a1/gain/set", [0.0, 13.0], "arguments", "-60 to 12"),
        ("/session/a1/gain/set", ["loud", 0.0], "arguments", "number"),
        ("/session/a1/keep/set", ["piccolo"], "prompt", "identity"),
        ("/session/zz/mode/set", ["mix"], "session", "Open its link"),
        ("/session/a1/preset/load", ["nonsense"], "preset", "nonsense"),
        ("/session/b2/link/open", ["/stembridge-none"], "link", "stembridge-none"),
        ("/session/a1/learn/cancel", [], "server", "not learning"),
    ):
        with pytest.raises(RequestError, match=words) as caught:
            stranger.request(path, *values)
        assert caught.value.code == code, path


# --- presets ------------------------------------------------------------------------------


def test_preset_by_content_comes_back_whole(plugin: PluginEnd, trusted: Client) -> None:
    trusted.send_preset("a1", dumps(ALL))
    assert loads(trusted.get_text("/session/a1/preset/get")) == ALL
    assert status(trusted)["keep"] == "all"


def test_long_preset_travels_in_parts(plugin: PluginEnd, trusted: Client) -> None:
    clip = Clip(noise(8000, 1), 8000, "hum")
    long = Preset("long", keep=(ExamplePrompt((clip,)),))
    with pytest.raises(RequestError, match="identity") as refused:  # whole, but no name
        trusted.send_preset("a1", dumps(long))
    assert refused.value.code == "preset"
    with pytest.raises(RequestError, match="out of order"):
        trusted.request("/session/a1/preset/send", 1, 3, "{")
    assert status(trusted)["preset"] == "half"


def test_preset_before_the_link_is_kept_for_it(
    server: Server, trusted: Client, tmp_path: Path
) -> None:
    trusted.send_preset("b2", dumps(ALL))
    with PluginEnd(HALF, 48000, latency_samples=1, folder=tmp_path / "nowhere") as end:
        assert trusted.request("/session/b2/link/open", end.link_name, "")[0] > 0
        progress = [v for path, v in trusted.events(0.1) if path == "/session/b2/progress"]
        assert [values[:2] for values in progress] == [["load", 0.0], ["load", 1.0]]
        assert status(trusted, "b2")["preset"] == "all"
        trusted.request("/session/b2/link/close")
    assert not server.sessions


def test_save_and_load_by_name(plugin: PluginEnd, trusted: Client, user_presets: Path) -> None:
    name, path = trusted.request("/session/a1/preset/save", "My half", 0)
    assert Path(path).parent == user_presets
    with pytest.raises(RequestError, match="exists"):
        trusted.request("/session/a1/preset/save", name, 0)
    trusted.request("/session/a1/preset/save", name, 1)
    trusted.send_preset("a1", dumps(ALL))
    assert trusted.request("/session/a1/preset/load", "my half")[0] == "My half"
    names = {entry[0]: entry[1] for entry in trusted.request_all("/preset/list")}
    assert names["My half"] == "user"
    assert names["vocals"] == "factory"


def test_auto_is_answered_for_as_a_session_would_be(server: Server, trusted: Client) -> None:
    """Names and latency of "auto", which depend on the prompts where a preset is given."""

    def latency(separator: str, mode: str, preset: str = "") -> list[Any]:
        return trusted.request(
            "/latency/get", separator, mode, 44100, 512, 0, preset, timeout_seconds=120.0
        )

    names = [reply[0] for reply in trusted.request_all("/separator/names", "auto")]
    assert "vocals" in names
    assert names == [reply[0] for reply in trusted.request_all("/separator/names", "unet")]
    assert latency("auto", "live") == latency("unet", "live")
    chosen = Preset("any", keep=(NamePrompt("vocals"),), separator="auto")
    assert resolved(chosen)[0].separator == "unet"
    assert latency("auto", "mix", dumps(chosen)) == latency("unet", "mix")
    assert latency("auto", "live", "vocals") == latency("unet", "live")
    with pytest.raises(RequestError) as caught:
        latency("auto", "mix", dumps(replace(chosen, keep=(TextPrompt("qzxv"),))))
    assert caught.value.code == "unavailable"
    with pytest.raises(RequestError, match="Choose one of"):
        latency("nothing", "mix")


# --- files --------------------------------------------------------------------------------


def test_strangers_open_only_allowed_files(
    plugin: PluginEnd, stranger: Client, trusted: Client, tmp_path: Path, user_presets: Path
) -> None:
    outside = tmp_path / "mine.preset"
    outside.write_text(dumps(ALL))
    (user_presets / "link.preset").symlink_to(outside)
    (user_presets / "inside.preset").write_text(dumps(ALL))
    for name in (outside, user_presets / "link.preset", f"{user_presets}/../mine.preset"):
        with pytest.raises(RequestError, match="allow-folder") as caught:
            stranger.request("/session/a1/preset/load", str(name))
        assert caught.value.code == "forbidden"
    # The same words whether the file exists or not.
    with pytest.raises(RequestError, match="allow-folder"):
        stranger.request("/session/a1/example/set", "keep", str(tmp_path / "absent.wav"))
    smuggled = dumps(ALL).replace('"keep"', '"options": {"checkpoint": "/etc/passwd"}, "keep"')
    with pytest.raises(RequestError, match="outside"):
        stranger.request("/session/a1/preset/set", smuggled)
    assert stranger.request("/session/a1/preset/load", "inside.preset")[0] == "all"
    assert trusted.request("/session/a1/preset/load", str(outside))[0] == "all"


# --- several clients ----------------------------------------------------------------------


def test_changes_are_told_to_others(plugin: PluginEnd, stranger: Client, trusted: Client) -> None:
    stranger.request("/session/a1/status/subscribe", 1.0)
    trusted.request("/session/a1/gain/set", -3, -60)
    trusted.request("/session/a1/keep/set", "half, all")
    trusted.request("/session/a1/mode/set", "live")
    changes, latencies = {}, []
    for path, values in stranger.events(0.5):
        if path.endswith("/change"):
            changes[values[0]] = values[1]
        if path.endswith("/latency"):
            latencies.append(values)
    assert changes["target_gain_db"] == "-3"
    assert changes["remainder_gain_db"] == "-60"
    assert changes["keep"] == "half, all"
    assert changes["mode"] == "live"
    assert latencies and latencies[-1][0] == status(trusted)["latency_samples"]
    assert not [e for e in trusted.events(0.1) if e[0].endswith("/change")]


def test_levels_and_spectrum_tell_the_truth(plugin: PluginEnd, trusted: Client) -> None:
    trusted.request("/session/a1/status/subscribe", 20.0, 1)
    times = np.arange(48000) / 48000
    tone = np.tile(0.5 * np.sin(2 * np.pi * 1000 * times), (2, 1)).astype(np.float32)
    in_blocks(lambda b: plugin.process(b, offline=True), tone, [480])
    newest = {path.split("/")[-1]: values for path, values in trusted.events(0.2)}
    spectrum = newest["spectrum"]
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1)
    band = int(np.searchsorted(edges, 1000)) - 1
    for side in spectrum[:2]:
        assert abs(int(np.argmax(list(side))) - band) <= 1
        assert abs(max(side) / 255 * 96 - 96 - 20 * np.log10(0.25)) < 2.0  # half of -6 dB
    assert newest["status"][1] in ("playing", "idle", "waiting")


def test_meters_add_up() -> None:
    meters = Meters()
    audio = np.full((2, 1000), 0.5, np.float32)
    meters.add(audio, audio)
    meters.add(audio, -audio)
    levels = meters.levels(0.0)
    expected = [np.sqrt(0.5), 1.0, 0.5, 0.5, 0.5, 0.5]
    assert np.allclose(levels, 20 * np.log10(expected), atol=1e-3)
    assert meters.levels(float("inf")) == [-120.0] * 6


# --- hostile ------------------------------------------------------------------------------


def hostile_packets(count: int, dice: random.Random) -> Iterator[bytes]:
    """Random bytes, damaged requests, wrong types, far bundles, paths to files, floods."""
    files = [
        "/etc/passwd",
        "../../../etc/shadow",
        "~/.ssh/id_rsa",
        "C:\\boot.ini",
        "\0",
        "x" * 9000,
    ]
    far = struct.pack(">Q", (1 << 64) - 1)
    for index in range(count):
        verb = dice.choice([v for v in VERBS if not v.path.endswith("link/close")])
        path = verb.path.replace("<id>", dice.choice(("a1", "zz", "../a1", "A")))
        values = [dice.choice((0, -1, 1e30, "", "x", b"\0", *files)) for _ in verb.arguments]
        kind = index % 5
        if kind == 0:
            yield dice.randbytes(dice.randint(0, 300))
        elif kind == 1:
            yield encode(path, values)
        elif kind == 2:
            message = encode(path, values[:1])
            yield b"#bundle\0" + far + struct.pack(">i", len(message)) + message
        elif kind == 3:
            data = bytearray(encode(path, values))
            data[dice.randrange(len(data))] = dice.randrange(256)
            yield bytes(data)
        else:
            yield encode(path, [dice.choice(files)])


_watch: list[str] | None = None


def _audit(name: str, arguments: tuple) -> None:
    if _watch is not None and name == "open" and isinstance(arguments[0], str):
        _watch.append(arguments[0])


sys.addaudithook(_audit)


def test_ten_thousand_hostile_packets(
    server: Server, plugin: PluginEnd, trusted: Client, user_presets: Path
) -> None:
    global _watch
    threads = threading.active_count()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", server.osc.port))
    _watch = []
    for index, packet in enumerate(hostile_packets(10_000, random.Random(7))):
        sender.send(packet[:60000])
        if index % 50 == 49:  # let it keep up, so that nothing is lost in the socket
            trusted.request("/server/ping", index)
    assert trusted.request("/server/ping", 5) == [5, 1]
    opened, _watch = _watch, None
    allowed = (str(user_presets), str(Path(__file__).parents[1]), "/proc/self", sys.prefix)
    strange = [name for name in opened if not name.startswith(allowed)]
    assert not [n for n in strange if "passwd" in n or "shadow" in n or "ssh" in n], strange
    values = trusted.request("/server/status/get")
    counts = dict(zip(values[::2], values[1::2], strict=True))
    assert counts["packets"] >= 10_000
    assert counts["malformed"] > 2000
    assert counts["refused"] > 2000
    assert counts["far_timetags"] > 1000
    assert counts["clients"] < 10
    assert threading.active_count() <= threads + 3
    assert status(trusted)["preset"]  # the session is alive, and audio still runs through it
    audio = noise(9600)
    trusted.send_preset("a1", dumps(HALF))
    trusted.request("/session/a1/mode/set", "mix")
    trusted.request("/session/a1/bypass/set", 0)
    plugin.reset()
    heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, itertools.repeat(480))
    assert np.abs(heard[:, 9000:] - 0.5 * audio[:, :600]).max() <= 1e-6


def test_two_servers_cannot_talk_for_ever(server: Server, stranger: Client) -> None:
    refused = server.osc.counters.refused
    stranger.send("/error", "/x", "path", "text")
    stranger.send("/reply", "/x")
    stranger.request("/server/ping", 1)
    assert server.osc.counters.refused == refused


# --- where it listens ---------------------------------------------------------------------


def test_beyond_loopback_only_when_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ServerError, match="--osc-anywhere"):
        Server(osc_host="0.0.0.0", osc_port=0, state_folder=tmp_path, preload=None)
    assert not (tmp_path / "server.json").exists()
    with caplog.at_level("WARNING", "stembridge.server"):
        Server(
            osc_host="0.0.0.0", osc_port=0, osc_anywhere=True, state_folder=tmp_path, preload=None
        ).close()
    assert "beyond this machine" in caplog.text


def test_taken_port_is_one_error(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ServerError, match="--osc-port"):
        Server(osc_port=server.osc.port, state_folder=tmp_path / "other", preload=None)
    assert not (tmp_path / "other" / "server.json").exists()


def test_prompt_names_are_read_from_commas() -> None:
    from identity import IdentitySeparator
    from stembridge.server.choices import prompts_from

    found = prompts_from(["half, all", "none", " "], IdentitySeparator())
    assert found == (NamePrompt("half"), NamePrompt("all"), NamePrompt("none"))
