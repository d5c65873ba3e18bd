"""What goes wrong in a studio, rehearsed: killed, stopped, stalled, replaced, reset.

Each test plays real audio through a real link and checks every sample: aligned dry while
nobody separates, separated again when somebody does, never anything else.
"""

from __future__ import annotations

import itertools
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server_harness import (
    ALL,
    HALF,
    ServerProcess,
    delayed,
    eventually,
    identity_factory,
    identity_server,
    in_blocks,
    in_time,
    noise,
    settle,
)
from stembridge.errors import LinkError, ServerError
from stembridge.presets import EffectSpec, dumps
from stembridge.server import Server
from stembridge.server.client import Client
from stembridge.server.files import ServerLock, read_info
from stembridge.server.native import load_native
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.running import find_running
from stembridge.server.session import Session

RATE = 48000
LATENCY = 12000
HERE = Path(__file__).parent
HELPERS = f"import sys; sys.path.insert(0, {str(HERE)!r})\n"


class Player:
    """Plays noise through a plugin end in real time on its own thread and keeps both."""

    def __init__(self, plugin: PluginEnd, block: int = 480, seconds: float = 60.0) -> None:
        self.plugin, self.block = plugin, block
        self.audio = noise(round(seconds * RATE))
        self.heard = np.zeros_like(self.audio)
        self.position = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set() and self.position < self.audio.shape[1]:
            piece = slice(self.position, self.position + self.block)
            self.heard[:, piece] = self.plugin.process(self.audio[:, piece].copy())
            self.position += self.block
            time.sleep(max(0.0, began + self.position / RATE - time.monotonic()))

    def gain(self) -> np.ndarray:
        """Heard against what was fed, per block: 1 = dry, 0.5 = separated; aligned or bust."""
        end = self.position - self.position % self.block
        fed = delayed(self.audio[:, :end], LATENCY).reshape(2, -1, self.block)
        heard = self.heard[:, :end].reshape(2, -1, self.block)
        power = (fed**2).sum(axis=(0, 2))
        gain = (fed * heard).sum(axis=(0, 2)) / np.maximum(power, 1e-12)
        played = np.arange(end // self.block) * self.block >= LATENCY
        error = np.abs(heard - gain[None, :, None] * fed).max(axis=(0, 2))
        steady = (np.abs(gain - 1) < 1e-5) | (np.abs(gain - 0.5) < 1e-5)
        assert (error[steady & played] < 1e-5).all(), "misaligned audio was heard"
        inside = (gain > 0.5 - 1e-5) & (gain < 1 + 1e-5)
        assert inside[played].all(), "something else than dry, wet or their cross-fade was heard"
        return gain[played]

    def wait_wet(self, seconds: float = 5.0) -> bool:
        return eventually(lambda: self.plugin.status["state"] == "wet", seconds)

    def wait_position(self, samples: int) -> bool:
        return eventually(lambda: self.position > samples)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with identity_server(tmp_path) as running:
        yield running


def make_plugin(folder: Path, **more: object) -> PluginEnd:
    settings = {"max_block_samples": 512, "latency_samples": LATENCY, "folder": folder}
    return PluginEnd(HALF, RATE, **(settings | more))  # type: ignore[arg-type]


def resources() -> tuple[int, int, int]:
    """Threads (but those of the pool for requests, two at most), file handles, mapped links."""
    threads = [t for t in threading.enumerate() if "-control" not in t.name]
    maps = Path("/proc/self/maps").read_text().count("stembridge-")
    return len(threads), len(list(Path("/proc/self/fd").iterdir())), maps


def exists(link_name: str) -> bool:
    return (Path("/dev/shm") / link_name.lstrip("/")).exists()


# --- the server dies ----------------------------------------------------------------------


def test_killed_server_is_dry_at_once_and_wet_again_soon(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as process, make_plugin(tmp_path) as plugin:
        process.wait_ready()
        plugin.wait_connected()
        killed = []
        with Player(plugin) as player:
            for _ in range(3):
                assert player.wait_wet()
                time.sleep(0.3)
                process.kill()
                killed.append(player.position)
                assert eventually(lambda: plugin.status["state"] != "wet", 2.0)
                assert player.wait_position(killed[-1] + LATENCY + 4 * player.block)
                process.start()
                process.wait_ready()
                assert player.wait_wet(2.0)
        gain = player.gain()
        wet = gain < 0.75
        for position in killed:
            # What was on its way is played; then the fade is at its end within a block.
            last = position // player.block + 2  # in the output, LATENCY later
            assert not wet[last : last + 2].any()
        assert wet.any()


def test_stopped_server_is_dropped_by_number(tmp_path: Path) -> None:
    """Stopped for a while, its late audio must not be heard, at whatever place."""
    with ServerProcess(tmp_path) as process, make_plugin(tmp_path) as plugin:
        process.wait_ready()
        plugin.wait_connected()
        with Player(plugin) as player:
            assert player.wait_wet()
            process.signal(signal.SIGSTOP)
            time.sleep(2.0)
            assert plugin.status["state"] != "wet"
            process.signal(signal.SIGCONT)
            assert player.wait_wet()
            time.sleep(0.3)
        gain = player.gain()
        assert (gain < 0.501).any()


# --- a flag of the plugin changes while the server looks ------------------------------------


class Between:
    """A server's link on which something happens right after a flag was read for the first time."""

    def __init__(self, link: Any, flag: str, happen: Callable[[], None]) -> None:
        self._link, self._flag, self._happen = link, flag, happen

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._link, name)
        if name == self._flag and self._happen is not None:
            happen, self._happen = self._happen, None
            happen()
        return value


@pytest.mark.parametrize("flag", ["offline", "bypassed"])
def test_input_after_a_look_at_the_flags_is_never_dropped(flag: str) -> None:
    """The plugin begins to render offline, or ends its bypass, between the look and the skip."""
    native = load_native()
    core = native.RealtimeCore()
    core.prepare(RATE, 2, 512, 9000)
    old, audio = noise(RATE // 2, seed=1), noise(RATE // 4, seed=2)
    heard: list[np.ndarray] = []
    if flag == "bypassed":
        core.set_bypass(True)
    link = native.Link.server_end(core.link_name)
    core.housekeeping()
    session = Session("a1", link, HALF, make_chain=identity_factory())
    try:
        # Played while the server did nothing: hopelessly late, or bypassed.
        in_blocks(core.process, old, [512])
        if flag == "offline":
            session.pull()  # from now on the session knows this epoch

        in_blocks(core.process, old, [512])

        def play() -> None:
            heard.append(in_blocks(lambda block: core.process(block, True), audio, [512]))

        player = threading.Thread(target=play)

        def begin() -> None:
            core.set_bypass(False)
            player.start()
            assert eventually(lambda: link.available_samples > old.shape[1])

        session.link = Between(link, flag, begin)  # type: ignore[assignment]
        while not player.ident or player.is_alive():
            session.pull()
            session.chain.advance()
            session.deliver()
            time.sleep(0.001)
        player.join()
        lost = session.lost_samples
    finally:
        session.close()
        core.detach()
    assert lost <= 2 * old.shape[1]
    expected = 0.5 * delayed(audio, 9000)
    wet = slice(9000 + 512, None)
    assert np.abs(heard[0] - expected)[:, wet].max() <= 1e-6


# --- the plugin dies ----------------------------------------------------------------------


def test_killed_plugin_leaves_nothing(server: Server, tmp_path: Path) -> None:
    before = resources()
    code = HELPERS + (
        "from pathlib import Path; from server_harness import *; import time\n"
        "from stembridge.server.plugin_end import PluginEnd\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "p = PluginEnd(HALF, 48000, latency_samples=9000, folder=folder, id='k')\n"
        "p.wait_connected(); print(p.link_name, flush=True)\n"
        "while True: p.process(noise(480)); time.sleep(0.01)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    link_name = child.stdout.readline().decode().strip()
    assert "k" in server.sessions and exists(link_name)
    child.kill()
    child.wait()
    assert eventually(lambda: not server.sessions, 2.0)
    child.stdout.close()
    assert eventually(lambda: resources() == before, 2.0), (before, resources())
    assert not exists(link_name)


def test_opening_links_leaks_nothing(server: Server, tmp_path: Path) -> None:
    link = load_native().Link
    with Client.connect(info=server.info) as client:
        for turn in range(40):
            with link.plugin_end(RATE, 2, max_block_samples=512) as end:
                client.send_preset("a1", dumps(HALF))
                client.request("/session/a1/link/open", end.name, "")
                if turn % 2:
                    client.request("/session/a1/link/close")
            assert eventually(lambda: not server.sessions, 2.0)
            if turn == 5:
                time.sleep(0.5)  # a session leaves the list a moment before its link is closed
                early = resources()
        assert eventually(lambda: resources() == early, 2.0), (early, resources())


def test_links_that_are_none(server: Server) -> None:
    with Client.connect(info=server.info) as client:
        for name in ("/nothing-here", "", "../../etc/passwd", "/" + "x" * 190):
            with pytest.raises(ServerError) as caught:
                client.request("/session/a1/link/open", name, "")
            assert caught.value.code in ("link", "arguments"), name
        assert not server.sessions


def test_second_server_on_a_link_is_refused(server: Server, tmp_path: Path) -> None:
    with (
        identity_server(tmp_path / "other") as other,
        make_plugin(tmp_path, id="a1") as plugin,
        Client.connect(info=other.info) as client,
    ):
        plugin.wait_connected()
        with pytest.raises(ServerError, match=str(os.getpid())):
            client.request("/session/b1/link/open", plugin.link_name, "")
        assert "a1" in server.sessions


# --- the machine does what machines do ------------------------------------------------------


FULL = (
    HELPERS
    + """
import resource, shutil, tempfile
from pathlib import Path
import pytest
from server_harness import *
from stembridge.errors import LinkError
from stembridge.server.plugin_end import PluginEnd

folder = Path(tempfile.mkdtemp())
settings = {"max_block_samples": 512, "latency_samples": 12000, "folder": folder}
with identity_server(folder) as server:
    with PluginEnd(HALF, 48000, **settings) as first:
        first.wait_connected()
        if sys.argv[1] == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with pytest.raises(LinkError) as caught:
            PluginEnd(HALF, 48000, **settings)
        print(caught.value)
        # Who is there already plays on, and the server knows of nobody else.
        audio = noise(48000)
        heard = in_blocks(lambda b: first.process(b, offline=True), audio, [512])
        assert np.abs(heard - 0.5 * delayed(audio, 12000)).max() <= 1e-6
        assert len(server.sessions) == 1
    assert eventually(lambda: not server.sessions)
    if sys.argv[1] == "tmpfs":  # the room that it has left is room again
        assert eventually(lambda: shutil.disk_usage("/dev/shm").used == 0)
        with PluginEnd(HALF, 48000, **settings) as second:
            second.wait_connected()
            heard = in_blocks(lambda b: second.process(b, offline=True), audio, [512])
            assert np.abs(heard - 0.5 * delayed(audio, 12000)).max() <= 1e-6
"""
)


def test_full_shared_memory_is_an_error_for_who_comes_and_for_nobody_else() -> None:
    """A tmpfs with room for one link, in a mount namespace of its own. Needs the right to make
    one (root, or user namespaces); without, the limit on file sizes takes the place of it."""
    unshare = ["unshare", "--mount", "--map-root-user"]
    script = 'mount -t tmpfs -o size=6m none /dev/shm && exec "$0" -c "$1" tmpfs'
    more: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
    result = subprocess.run([*unshare, "sh", "-c", script, sys.executable, FULL], **more)
    if result.returncode != 0 and ("unshare:" in result.stderr or "mount:" in result.stderr):
        result = subprocess.run([sys.executable, "-c", FULL, "limit"], **more)
    assert result.returncode == 0, result.stderr
    assert "cannot reserve" in result.stdout and "df -h /dev/shm" in result.stdout


def heartbeat_offsets() -> tuple[int, int]:
    """Where in a link's header the heartbeats of the server and of the plugin end lie."""
    link = load_native().Link
    found = []
    with link.plugin_end(RATE, 2) as plugin, link.server_end(plugin.name) as end:
        path = Path("/dev/shm", plugin.name.lstrip("/"))
        for one in (end, plugin):
            before = np.frombuffer(path.read_bytes()[:4096], np.uint64)
            one.beat()
            one.beat()
            after = np.frombuffer(path.read_bytes()[:4096], np.uint64)
            (moved,) = np.flatnonzero(after != before)
            assert after[moved] - before[moved] == 2
            found.append(int(moved) * 8)
    return found[0], found[1]


def test_heartbeats_that_jump_are_those_of_the_living(server: Server, tmp_path: Path) -> None:
    """Both clocks go forwards, back and to their ends, for longer than a stall takes to notice."""
    dice, offsets = random.Random(5), heartbeat_offsets()
    with make_plugin(tmp_path, id="a1") as plugin:
        plugin.wait_connected()
        path = Path("/dev/shm", plugin.link_name.lstrip("/"))
        session, began = server.sessions["a1"], time.monotonic()
        process = in_time(server, plugin.process)
        audio, heard, at = noise(6 * RATE), [], 0
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as header:
            while at + 480 <= audio.shape[1] and (at < RATE or time.monotonic() - began < 3.0):
                for offset in offsets:
                    value = dice.choice((0, 1, (1 << 64) - 1, 1 << 63, dice.getrandbits(64)))
                    header[offset : offset + 8] = value.to_bytes(8, "little")
                heard.append(process(audio[:, at : at + 480].copy()))
                at += 480
                assert session.link.plugin_state == "alive"
                time.sleep(0.005)
        assert server.sessions["a1"] is session, "the session was dropped"
        assert plugin.status["missed_samples"] == 0
    wet = slice(LATENCY + 2048, None)
    expected = 0.5 * delayed(audio[:, :at], LATENCY)
    assert np.abs(np.concatenate(heard, axis=1) - expected)[:, wet].max() <= 1e-6


# --- the host does what hosts do ----------------------------------------------------------


def test_blocks_of_every_size_without_waiting(server: Server, tmp_path: Path) -> None:
    dice = random.Random(1)
    sizes = [dice.choice((1, 2, 63, 64, 65, 500, 512)) for _ in range(400)]
    audio = noise(3 * RATE)
    with make_plugin(tmp_path) as plugin:
        plugin.wait_connected()
        heard = in_blocks(in_time(server, plugin.process), audio, sizes)
        assert plugin.status["missed_samples"] == 0
    wet = slice(LATENCY + 2048, None)
    assert np.abs(heard - 0.5 * delayed(audio, LATENCY))[:, wet].max() <= 1e-6


def test_change_of_sample_rate(server: Server, tmp_path: Path) -> None:
    with make_plugin(tmp_path, id="a1") as plugin:
        plugin.wait_connected()
        for rate in (48000, 96000, 44100):
            plugin.prepare(rate, 512, LATENCY)
            plugin.wait_connected()
            audio = noise(2 * LATENCY, seed=rate)
            heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [500])
            assert np.abs(heard - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6
            assert server.sessions["a1"].sample_rate == rate


def test_reset_starts_anew(server: Server, tmp_path: Path) -> None:
    with make_plugin(tmp_path) as plugin:
        plugin.wait_connected()
        for seed in range(4):
            audio = noise(LATENCY + 5000, seed=seed)
            heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [512, 100])
            assert np.abs(heard - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6
            plugin.reset()


def test_presets_ten_times_a_second(server: Server, tmp_path: Path) -> None:
    """No gap, no change of latency, and nothing but the two presets and their fades."""
    audio, tenth = noise(3 * RATE), RATE // 10
    with make_plugin(tmp_path) as plugin:
        plugin.wait_connected()
        process = in_time(server, plugin.process)
        heard = [in_blocks(process, audio[:, :RATE], [480])]
        before = plugin.status
        for turn in range(20):
            plugin.request("keep/set", "all" if turn % 2 == 0 else "half")
            start = RATE + turn * tenth
            heard.append(in_blocks(process, audio[:, start : start + tenth], [480]))
        after = plugin.status
    assert after["missed_samples"] == before["missed_samples"]
    assert after["needed_latency_samples"] == before["needed_latency_samples"]
    gain = gains(audio, np.concatenate(heard, axis=1), 480)
    assert np.abs(np.diff((gain[RATE // 480 :] > 0.75).astype(int))).sum() >= 15  # some to come
    assert gain.min() > 0.5 - 1e-5 and gain.max() < 1 + 1e-5


def gains(audio: np.ndarray, heard: np.ndarray, block: int) -> np.ndarray:
    """Of each block of what was heard, against the delayed input, from LATENCY on."""
    fed = delayed(audio, LATENCY)[:, : heard.shape[1]]
    shape = (2, -1, block)
    product = (fed.reshape(shape) * heard.reshape(shape)).sum(axis=(0, 2))
    return (product / np.maximum((fed.reshape(shape) ** 2).sum(axis=(0, 2)), 1e-12))[
        LATENCY // block + 3 :
    ]


def test_effects_come_and_go_without_a_gap(server: Server, tmp_path: Path) -> None:
    quiet = replace(HALF, name="quiet", effects=(EffectSpec("Gain", {"gain_db": -6.0206}),))
    audio = noise(6 * RATE)
    with make_plugin(tmp_path) as plugin:
        plugin.wait_connected()
        process = in_time(server, plugin.process)
        heard = [in_blocks(process, audio[:, :RATE], [480])]
        before = plugin.status["missed_samples"]
        for turn, preset in enumerate((quiet, ALL, quiet, HALF, ALL), start=1):
            plugin.request("preset/set", dumps(preset))
            piece = audio[:, turn * RATE : (turn + 1) * RATE]
            heard.append(in_blocks(process, piece, [480]))
        assert plugin.status["missed_samples"] == before
    gain = gains(audio, np.concatenate(heard, axis=1), 480)
    steady = {round(float(g), 3) for g in gain}
    assert {0.25, 0.5, 1.0} <= steady
    assert gain.min() > 0.249 and gain.max() < 1.001


def test_mode_changes_latency_and_says_so(server: Server, tmp_path: Path) -> None:
    with make_plugin(tmp_path, latency_samples=30000) as plugin:
        plugin.wait_connected()
        needed = {}
        for mode in ("live", "render", "mix", "live"):
            plugin.request("mode/set", mode)
            plugin.reset()
            audio = noise(40000)
            heard = in_blocks(lambda b: plugin.process(b, offline=True), audio, [512])
            assert np.abs(heard - 0.5 * delayed(audio, 30000)).max() <= 1e-6
            latency = plugin.status["needed_latency_samples"]
            assert needed.setdefault(mode, latency) == latency, "constant within a mode"
        assert needed["live"] < needed["mix"] < needed["render"]


def test_bypass_rests_and_comes_back(server: Server, tmp_path: Path) -> None:
    with make_plugin(tmp_path, id="a1") as plugin:
        plugin.wait_connected()
        with Player(plugin) as player:
            assert player.wait_wet()
            plugin.request("bypass/set", 1)
            assert eventually(lambda: plugin.status["state"] != "wet")
            settle(server)
            done = server.sessions["a1"].processed_samples
            time.sleep(0.3)
            assert server.sessions["a1"].processed_samples - done <= 4096
            plugin.request("bypass/set", 0)
            assert player.wait_wet()
        player.gain()


def test_sixteen_sessions(server: Server, tmp_path: Path) -> None:
    """All at once, each its own audio; batches are formed; nobody hears another."""
    with make_plugin(tmp_path) as first:
        plugins = [first, *(make_plugin(tmp_path) for _ in range(15))]
        try:
            for plugin in plugins:
                plugin.wait_connected()
            inputs = [noise(RATE, seed=i) for i in range(16)]
            outputs: list[np.ndarray] = [np.zeros(0)] * 16

            def play(i: int) -> None:
                plugin = plugins[i]
                outputs[i] = in_blocks(lambda b: plugin.process(b, offline=True), inputs[i], [512])

            threads = [threading.Thread(target=play, args=(i,)) for i in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for audio, heard in zip(inputs, outputs, strict=True):
                assert np.abs(heard - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6
            assert len(server.sessions) == 16
            assert server.engine.load.read()[1] > 1.0
        finally:
            for plugin in plugins[1:]:
                plugin.close()
    assert eventually(lambda: not server.sessions)


def test_one_broken_session_does_not_stop_the_others(tmp_path: Path) -> None:
    make = identity_factory()

    def factory(preset, rate, channels, mode):
        chain = make(preset, rate, channels, mode)
        if preset.name == "bomb":
            chain.take = lambda: 1 / 0
        return chain

    with (
        identity_server(tmp_path, make_chain=factory) as server,
        make_plugin(tmp_path, id="good") as good,
    ):
        bomb = PluginEnd(
            replace(HALF, name="bomb"), RATE, latency_samples=LATENCY, folder=tmp_path, id="bad"
        )
        with bomb:
            good.wait_connected()
            bomb.wait_connected()
            bomb.process(noise(8192))
            assert eventually(lambda: server.sessions["bad"].state == "error")
            audio = noise(RATE // 2)
            heard = in_blocks(lambda b: good.process(b, offline=True), audio, [512])
            assert np.abs(heard - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6
            values = bomb.request("status/get")
            assert "ZeroDivisionError" in values[values.index("message") + 1]
            bomb.request("preset/set", dumps(HALF))
            bomb.reset()
            heard = in_blocks(lambda b: bomb.process(b, offline=True), audio, [512])
            assert np.abs(heard - 0.5 * delayed(audio, LATENCY)).max() <= 1e-6


def test_silence_and_idle_are_said(server: Server, tmp_path: Path) -> None:
    with make_plugin(tmp_path, id="a1") as plugin:
        plugin.wait_connected()
        session = server.sessions["a1"]
        assert session.state == "waiting"
        silence = np.zeros((2, 24000), np.float32)
        heard = in_blocks(lambda b: plugin.process(b, offline=True), silence, [512])
        assert not heard.any()
        assert session.state == "silent"
        turns = len(server.engine.load._turns)
        assert eventually(lambda: session.state == "idle", 3.0)
        assert len(server.engine.load._turns) - turns <= 2, "an idle session takes turns"


# --- one server per user ------------------------------------------------------------------


def test_one_server_per_user(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=rf"{server.osc.port}.*{os.getpid()}.*--ensure"):
        Server(state_folder=tmp_path, osc_port=0, preload=None)
    assert read_info(tmp_path) == server.info
    assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600
    found = find_running(tmp_path)
    assert found is not None and found.token == server.info.token


def test_lock_of_a_killed_server_is_free(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as process:
        process.wait_ready()
        process.kill()
        assert read_info(tmp_path) is not None
        assert find_running(tmp_path) is None
        ServerLock(tmp_path).release()


def test_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="STEMBRIDGE_STATE_DIR"):
        ServerLock(tmp_path / "file" / "below")


def test_auto_exit_after_the_last_plugin(tmp_path: Path) -> None:
    with identity_server(tmp_path, auto_exit_seconds=0.3) as server:
        with make_plugin(tmp_path) as plugin:
            plugin.wait_connected()
            assert not server.wait(0.5)
        assert server.wait(2.0)


def test_closing_takes_everything_along(tmp_path: Path) -> None:
    before = resources()
    for _ in range(3):
        with identity_server(tmp_path), make_plugin(tmp_path) as plugin:
            plugin.wait_connected()
    assert eventually(lambda: resources() == before), (before, resources())
    assert not (tmp_path / "server.json").exists()


def test_server_that_goes_leaves_dry(tmp_path: Path) -> None:
    with make_plugin(tmp_path) as plugin:
        with identity_server(tmp_path):
            plugin.wait_connected()
        audio = noise(RATE // 2)
        heard = in_blocks(plugin.process, audio, itertools.repeat(512))
        assert np.array_equal(heard, delayed(audio, LATENCY))
        assert issubclass(LinkError, Exception)
