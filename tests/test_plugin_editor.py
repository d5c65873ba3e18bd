"""The editor on a screen nobody sees: opened while audio runs, and used by mouse and keyboard.

A process of its own plays through the plugin in pedalboard and clicks in its window, as
`plugin/screenshots.py` does; the server is here, with an exact separator that takes clips, so
what a click did is read from the server and from the presets folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import plugin_host
from server_harness import RATE, eventually, identity_server
from stembridge.chain import SeparationChain
from stembridge.presets import Preset, load_preset
from stembridge.prompts import ExamplePrompt
from stembridge.server import Server
from stembridge.server.client import Client
from test_server_learn import LearningSeparator

sys.path.insert(0, str(plugin_host.ROOT / "plugin"))

import screenshots

HANDS = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import screenshots
def by_hand(stage):
    stage.set_state(preset=sys.argv[4], waiting="never")
    stage.play("", seconds=0.0)
    screenshots._output("xdotool", "windowfocus", stage.find_window())  # once, as by a click
    for line in sys.stdin:
        word, *numbers = line.split(None, 2)
        if word == "type":
            screenshots._output("xdotool", "type", "--delay", "30", line[5:].rstrip("\\n"))
            screenshots._output("xdotool", "key", "Return")
        else:
            stage.click(*map(int, numbers))
        print("done", flush=True)
screenshots.STATES["by_hand"] = by_hand
screenshots.Stage(Path(sys.argv[3]), Path("unused.png")).run("by_hand")
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path))
    separator = LearningSeparator(sample_rate=RATE, step_samples=1024, lookahead_samples=2048)

    def make(preset: Preset, rate: float, channels: int, mode: Any) -> SeparationChain:
        return SeparationChain(preset, int(rate), channels, mode=mode, separator=separator)

    with identity_server(tmp_path / "state", make_chain=make) as running:
        yield running


class Hands:
    """Someone at the editor."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _do(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def click(self, place: tuple[int, int]) -> None:
        self._do(f"click {place[0]} {place[1]}")

    def type(self, words: str) -> None:
        self._do(f"type {words}")


@contextmanager
def editor() -> Iterator[Hands]:
    """The editor, open, with the example song going through."""
    folders = [str(plugin_host.ROOT / "plugin"), str(plugin_host.ROOT / "tests")]
    text = plugin_host.preset_text("half")
    words = [sys.executable, "-c", HANDS, *folders, str(plugin_host.bundle("VST3")), text]
    with screenshots.display() as environment:
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Hands(process)
            assert process.stdin is not None
            process.stdin.close()  # closes the window
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def test_a_sound_is_learned_by_hand(server: Server, tmp_path: Path) -> None:
    """Record, choose, try, compare, save; and what is heard stays what the server learned."""
    with (
        Client.connect("test", info=server.info, timeout_seconds=60.0) as client,
        editor() as hands,
    ):

        def status() -> dict[str, Any]:
            ids = [row[0] for row in client.request_all("/session/list")]
            if not ids:
                return {"learn_state": "away", "learn_held_seconds": 0.0, "learn_audition": 0}
            values = client.request(f"/session/{ids[0]}/status/get")
            return dict(zip(values[::2], values[1::2], strict=True))

        def until(key: str, reached: Any, *places: tuple[int, int]) -> None:
            """Click until it has worked: a window on a busy machine may miss one."""

            def there() -> bool:
                if reached(status()[key]):
                    return True
                for place in places:
                    hands.click(place)
                return eventually(lambda: reached(status()[key]), 2.0)

            assert eventually(there, 60.0), (key, status())

        until("learn_state", lambda state: state == "off")
        hands.click(screenshots.LEARN_PAGE)
        until("learn_state", lambda state: state == "armed", screenshots.RECORD)
        until("learn_held_seconds", lambda seconds: seconds > 6.0)
        until("learn_audition", lambda on: on == 1, screenshots.LAST_FIVE, screenshots.TRY)
        session = server.all_sessions()[0]
        learned = session.preset
        assert isinstance(learned.keep[0], ExamplePrompt)
        assert status()["learn_marked_seconds"] == pytest.approx(5.0, abs=0.3)
        assert not eventually(lambda: session.preset is not learned, 1.5)  # it is not sent again
        until("learn_audition", lambda on: on == 0, screenshots.BEFORE)
        until("learn_audition", lambda on: on == 1, screenshots.LEARNED)
        hands.click(screenshots.SAVE)
        hands.type("My organ")
        assert eventually(lambda: any(tmp_path.glob("*.preset")), 30.0)
        saved = load_preset(str(next(tmp_path.glob("*.preset"))))
        assert saved.name == "My organ"
        assert isinstance(saved.keep[0], ExamplePrompt)
        assert eventually(lambda: status()["preset"] == "My organ", 10.0)
