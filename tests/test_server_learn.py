"""Learn in the DAW: marks from what was played, tuned beside the audio, A against B.

Real links and threads with an exact separator: "half" (A) gives half of the mixture, and
whatever is learned (B) a quarter, so every sample tells which prompt it was made with. The
vector behind its first number is learned for real, on sixteen bands.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import IdentitySeparator
from server_harness import RATE, eventually, identity_server, in_time, noise, settle
from stembridge.chain import SeparationChain
from stembridge.cli import main
from stembridge.presets import Preset, load_preset
from stembridge.prompts import EncodedPrompt, ExamplePrompt, Prompt, TunedPrompt
from stembridge.separators import SEPARATORS, SeparatorEntry
from stembridge.server import Server
from stembridge.server.client import Client
from stembridge.server.learn_tape import Tape
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.protocol import RequestError
from test_tuning import BandGains

LATENCY = 9000
UNLEARNED = (
    '{"stembridge_preset": 1, "name": "half", "separator": "identity", '
    '"mode": "mix", "keep": ["half"]}'
)
LEARNED = 0.25


class QuarterBands(BandGains):
    """Band gains behind a first number that no step changes."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.space, self.gate = "identity:1", gate

    def start(self, clips: Any) -> np.ndarray:
        vector = super().start(clips)
        vector[0] = LEARNED
        return vector

    def estimate(self, prepared: Any, vector: Any) -> Any:
        assert self.gate.wait(60.0)
        return super().estimate(prepared, vector)


class LearningSeparator(IdentitySeparator):
    """The identity separator, which takes clips and vectors too. A closed gate stops tuning."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(together=True, **settings)
        self.gate = threading.Event()
        self.gate.set()

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        if isinstance(prompt, ExamplePrompt):
            return EncodedPrompt(self.space, np.array([LEARNED], np.float32))
        if isinstance(prompt, TunedPrompt):
            return EncodedPrompt(prompt.space, prompt.vector, prompt.label)
        return super().encode(prompt)

    def tunable(self) -> QuarterBands:
        return QuarterBands(self.gate)


class Player:
    """A host that plays noise without end, and checks what comes back against it."""

    def __init__(self, server: Server, plugin: PluginEnd) -> None:
        self._process = in_time(server, plugin.process)
        self._server = server
        self._played = np.zeros((2, LATENCY), np.float32)
        self._seed = 0

    def play(self, seconds: float, silent: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """What was heard, and the input that belongs to it."""
        heard, inputs = [], []
        for _ in range(max(1, round(seconds * RATE / 960))):
            self._seed += 1
            block = noise(960, seed=self._seed) * np.float32(not silent)
            heard.append(self._process(block))
            self._played = np.concatenate([self._played, block], axis=1)
            inputs.append(self._played[:, :960])
            self._played = self._played[:, 960:]
        settle(self._server)
        return np.concatenate(heard, axis=1), np.concatenate(inputs, axis=1)

    def expect(self, gain: float, seconds: float = 0.4) -> None:
        """Everything that is heard is `gain` times the input."""
        heard, inputs = self.play(seconds)
        assert np.abs(heard - gain * inputs).max() <= 1e-6

    def expect_fade(self) -> None:
        """Every sample lies between A and B: no gap, no dry sound, no jump out of them."""
        heard, inputs = self.play(0.5)
        middle = (0.5 + LEARNED) / 2
        width = (0.5 - LEARNED) / 2 * np.abs(inputs) + 1e-6
        assert (np.abs(heard - middle * inputs) <= width).all()


@pytest.fixture(autouse=True)
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(folder))
    entry = SeparatorEntry("identity", "identity", "multiples of the mixture", False)
    monkeypatch.setitem(SEPARATORS, "identity", entry)
    return folder


@pytest.fixture
def separator() -> LearningSeparator:
    return LearningSeparator(sample_rate=RATE, step_samples=1024, lookahead_samples=2048)


@pytest.fixture
def server(tmp_path: Path, separator: LearningSeparator) -> Iterator[Server]:
    def make(preset: Preset, rate: float, channels: int, mode: Any) -> SeparationChain:
        return SeparationChain(preset, int(rate), channels, mode=mode, separator=separator)

    with identity_server(tmp_path / "state", make_chain=make) as running:
        yield running
        separator.gate.set()  # else a failed test waits for its tuning


@pytest.fixture
def plugin(server: Server, tmp_path: Path) -> Iterator[PluginEnd]:
    folder = tmp_path / "state"
    with PluginEnd(UNLEARNED, RATE, latency_samples=LATENCY, folder=folder, id="a1") as end:
        end.wait_connected()
        assert eventually(lambda: end.message == "Connected.")
        yield end


@pytest.fixture
def player(server: Server, plugin: PluginEnd) -> Player:
    player = Player(server, plugin)
    player.play(0.5)  # over the fade from dry
    return player


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client.connect("test", info=server.info, timeout_seconds=30.0) as client:
        yield client


def learn(client: Client, verb: str, *values: Any) -> list[Any]:
    return client.request(f"/session/a1/learn/{verb}", *values)


def status(client: Client) -> dict[str, Any]:
    values = client.request("/session/a1/status/get")
    return dict(zip(values[::2], values[1::2], strict=True))


def mark_some(client: Client, player: Player) -> None:
    learn(client, "arm", 2.0)
    player.expect(0.5, 1.2)
    assert learn(client, "mark", 1.2, 0.6) == [1, pytest.approx(0.6), pytest.approx(0.6)]
    assert learn(client, "mark", 0.5, 0.0)[0] == 2


def wait_learned(client: Client) -> None:
    assert eventually(lambda: status(client)["learn_state"] != "learning", 60.0)


def refused(client: Client, code: str, words: str, verb: str, *values: Any) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        learn(client, verb, *values)
    assert caught.value.code == code, caught.value


# --- the tape -----------------------------------------------------------------------------


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 70)), max_size=12),
    st.integers(1, 60),
)
def test_the_tape_holds_the_newest_samples(
    length: int, writes: list[tuple[int, int]], back: int
) -> None:
    """Against the simple way: everything in one array, lost samples as zeros."""
    tape = Tape(1.0, 2, length)
    whole = np.zeros((2, 0), np.float32)
    for seed, (samples, gap) in enumerate(writes):
        block = noise(samples, seed=seed)
        tape.write(block, gap)
        whole = np.concatenate([whole, np.zeros((2, gap), np.float32), block], axis=1)
    held = min(length, whole.shape[1])
    assert tape.held_samples == held
    if back > held:
        with pytest.raises(RequestError, match="are kept"):
            tape.cut(back, 0)
    else:
        assert np.array_equal(tape.cut(back, 0), whole[:, whole.shape[1] - back :])


def test_the_tape_is_bounded() -> None:
    with pytest.raises(RequestError, match=r"128 MiB\. Arm at most 43 s"):
        Tape(384000, 2, 300)


# --- marks --------------------------------------------------------------------------------


def test_marks_are_the_samples_that_were_played(
    server: Server, client: Client, player: Player
) -> None:
    learn(client, "arm", 1.0)
    learning = server.session("a1").learning
    _, first = player.play(1.5)
    assert status(client)["learn_held_seconds"] == pytest.approx(1.0)
    learn(client, "mark", 0.5, 0.25)
    _, later = player.play(0.4)
    played = np.concatenate([first, later], axis=1)
    # The player returns the input that belongs to what is heard: LATENCY behind the newest.
    end = first.shape[1] + LATENCY - RATE // 4
    assert np.array_equal(learning.marks[0].audio, played[:, end - RATE // 4 : end])
    learn(client, "arm", 0)
    assert learning.tape is None and len(learning.marks) == 1
    assert learn(client, "forget") == [0, 0.0]


def test_misuse_says_what_to_do(client: Client, player: Player, separator: Any) -> None:
    refused(client, "server", "learn/arm", "mark", 1.0, 0.0)
    refused(client, "server", "learn/mark", "use")
    refused(client, "server", "learn/mark", "tune")
    refused(client, "server", "learned yet", "audition", 1)
    refused(client, "server", "learned yet", "audition", 0)
    refused(client, "server", "learned yet", "save", "Mine")
    refused(client, "server", "not learning", "cancel")
    learn(client, "arm", 1.0)
    player.play(0.5, silent=True)
    refused(client, "audio", "silent", "mark", 0.3, 0.0)
    player.play(0.2)
    refused(client, "arguments", "Only the last 0.7 s", "mark", 0.9, 0.0)
    refused(client, "arguments", "longer ago", "mark", 0.1, 0.2)
    refused(client, "arguments", "<from_seconds>", "mark", 1e9, 0.0)
    refused(client, "arguments", "<side>", "use", "both")
    learn(client, "mark", 0.1)
    refused(client, "arguments", "1 marks", "forget", 1)
    separator.tunable = None  # one that has no vector to tune
    refused(client, "prompt", "no prompt vector", "tune")
    values = status(client)
    assert (values["learn_state"], values["learn_marks"]) == ("armed", 1)
    player.expect(0.5)


# --- example, tuning, A/B -----------------------------------------------------------------


def test_marks_play_as_an_example_at_once(server: Server, client: Client, player: Player) -> None:
    mark_some(client, player)
    assert learn(client, "use")[:2] == ["keep", 2]
    player.expect_fade()
    player.expect(LEARNED)
    (prompt,) = server.session("a1").preset.keep
    assert isinstance(prompt, ExamplePrompt) and len(prompt.clips) == 2
    learn(client, "audition", 0)
    player.expect_fade()
    player.expect(0.5)


def test_audio_flows_while_learning_and_ab_returns_exactly(
    server: Server, client: Client, plugin: PluginEnd, player: Player, separator: LearningSeparator
) -> None:
    mark_some(client, player)
    session = server.session("a1")
    before, latency = session.preset, plugin.latency_samples
    separator.gate.clear()
    assert learn(client, "tune", "keep", 40)[:2] == ["keep", 2]
    assert status(client)["learn_state"] == "learning"
    player.expect(0.5)  # while the tuner is in the middle of a step
    separator.gate.set()
    while session.learning.job is not None:
        player.expect(0.5, 0.02)
    player.expect(0.5)
    assert session.preset is before
    progress = [values for path, values in client.events(0.3) if path.endswith("/progress")]
    assert progress[-1][:2] == ["learn", 1.0] and "dB" in progress[-1][2]
    assert status(client)["learn_message"] == progress[-1][2]

    learn(client, "audition", 1)
    player.expect_fade()
    client.request("/session/a1/gain/set", -3, -6)  # changed in between: stays
    player.expect(LEARNED)
    assert status(client)["learn_audition"] == 1
    learn(client, "audition", 1)
    player.expect(LEARNED)
    learn(client, "audition", 0)
    player.expect_fade()
    player.expect(0.5)
    after = session.preset
    assert (after.keep, after.remove, after.name) == (before.keep, before.remove, before.name)
    assert (after.description, after.tuning) == (before.description, before.tuning)
    assert after.target_gain_db == -3
    values = status(client)
    assert (values["learn_audition"], values["misses"], values["lost_samples"]) == (0, 0, "0")
    assert plugin.latency_samples == latency


def test_saved_preset_is_what_was_heard(
    server: Server, client: Client, player: Player, presets: Path
) -> None:
    mark_some(client, player)
    learn(client, "tune", "keep", 10)
    wait_learned(client)
    name, path = learn(client, "save", "My organ")
    assert (name, Path(path).parent) == ("My organ", presets)
    written = Path(path).read_bytes()
    refused(client, "preset", "exists", "save", "My organ")
    assert Path(path).read_bytes() == written
    learn(client, "audition", 1)
    learn(client, "save", "My organ", 1)
    playing, stored = server.session("a1").preset, load_preset("My organ")
    assert stored == playing
    prompt = stored.keep[0]
    assert isinstance(prompt, TunedPrompt) and prompt.vector.size == 17
    assert stored.tuning["clips"] == 2 and stored.group == "tuned"
    client.request("/session/a1/preset/set", UNLEARNED)
    client.request("/session/a1/preset/load", "My organ")
    player.expect_fade()
    player.expect(LEARNED)


def test_another_preset_is_not_taken_for_the_learned_one(client: Client, player: Player) -> None:
    """A preset loaded while B plays is the new A; going back does not bring the old one."""
    mark_some(client, player)
    learn(client, "use")
    client.request("/session/a1/keep/set", "all")
    assert status(client)["learn_audition"] == 0
    learn(client, "audition", 0)
    assert status(client)["keep"] == "all"
    learn(client, "audition", 1)
    learn(client, "audition", 0)
    assert status(client)["keep"] == "all"


def test_from_the_terminal(
    client: Client,
    player: Player,
    tmp_path: Path,
    presets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`stembridge ctl learn …`; a name of digits stays a name."""
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path / "state"))
    assert main(["ctl", "learn", "arm", "2"]) == 0
    player.play(1.0)
    assert main(["ctl", "learn", "mark", "0.5"]) == 0
    assert main(["ctl", "learn", "tune", "keep", "10"]) == 0
    assert main(["ctl", "learn", "audition", "1"]) == 0
    assert main(["ctl", "learn", "save", "808"]) == 0
    printed = capsys.readouterr().out
    assert "a1: mark 1, 0.5, 0.5" in printed and "dB tuned" in printed
    assert (presets / "808.preset").is_file()
    assert main(["ctl", "learn", "save", "808"]) != 0
    assert "exists" in capsys.readouterr().err


# --- one at a time, cancelled, gone -------------------------------------------------------


def test_cancel_keeps_or_drops(
    server: Server, client: Client, player: Player, separator: LearningSeparator
) -> None:
    mark_some(client, player)
    for keep in (0, 1):
        separator.gate.clear()
        learn(client, "tune", "keep", 2000)
        refused(client, "busy", "This session is learning", "tune")
        refused(client, "busy", "This session is learning", "use")
        assert learn(client, "cancel", keep) == [keep]
        separator.gate.set()
        wait_learned(client)
        assert (server.session("a1").learning.lesson is not None) == bool(keep)
    assert "dB" in status(client)["learn_message"]
    refused(client, "server", "not learning", "cancel")


def test_one_learns_at_a_time_and_a_closed_session_lets_the_next(
    server: Server, client: Client, player: Player, separator: LearningSeparator, tmp_path: Path
) -> None:
    mark_some(client, player)
    with PluginEnd(
        UNLEARNED, RATE, latency_samples=LATENCY, folder=tmp_path / "state", id="b2"
    ) as end:
        end.wait_connected()
        assert eventually(lambda: end.message == "Connected.")
        other = server.session("b2").learning
        other.marks = list(server.session("a1").learning.marks)
        separator.gate.clear()
        end.request("learn/tune", "keep", 2000)
        refused(client, "busy", "Another session", "tune")
    separator.gate.set()

    def free() -> bool:
        try:
            learn(client, "tune", "keep", 10)
        except RequestError as error:
            assert error.code == "busy"
            return False
        return True

    assert eventually(free, 30.0)
    wait_learned(client)
    assert other.lesson is None
    assert status(client)["learn_state"] == "learned"


def test_tuning_that_fails_is_a_message(
    client: Client, player: Player, separator: LearningSeparator, monkeypatch: Any
) -> None:
    mark_some(client, player)

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of everything")

    monkeypatch.setattr(QuarterBands, "prepare", broken)
    learn(client, "tune")
    wait_learned(client)
    assert "Learning failed (RuntimeError)" in status(client)["learn_message"]
    player.expect(0.5)


def test_a_server_that_ends_takes_its_tuning_along(
    tmp_path: Path, server: Server, client: Client, player: Player, separator: LearningSeparator
) -> None:
    mark_some(client, player)
    learn(client, "tune", "keep", 2000)
    server.close()
    assert not [t for t in threading.enumerate() if t.name == "stembridge-learn"]
