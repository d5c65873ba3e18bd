"""Pictures of the plugin's editor in each of its states, made without a screen.

    python plugin/screenshots.py bridge/docs/images [--vst3 Stembridge.vst3] [STATE …]

Each state is a real one: the editor is opened in pedalboard under Xvfb, beside a server that
runs, loads, is away, or refuses, and shows what it is told. Needs the commands Xvfb,
openbox, xsettingsd (pedalboard's windows want both), xdotool and ImageMagick's `import`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"Xvfb": "xvfb", "openbox": "openbox", "xsettingsd": "xsettingsd"} | {
    "xdotool": "xdotool",
    "import": "imagemagick",
}
# Where a person clicks, at 100 %.
LEARN_PAGE, RECORD, LAST_TEN = (228, 89), (120, 126), (209, 161)
ADD, LEARNED, CHECK = (78, 194), (166, 304), (741, 86)
ASIDE = (1690, 1090)  # of the display
LONG_NAME = "The lead vocal of the second chorus, without the doubling and the long reverb"


def _play_and_connect(stage: Stage, preset: str) -> None:
    stage.serve()
    stage.play(preset, seconds=0.0)
    stage.wait_connected()


def connected(stage: Stage) -> None:
    stage.serve()
    stage.play("vocals", seconds=0.0)
    stage.wait_sound(28.0)
    stage.shoot()


def mix(stage: Stage) -> None:
    stage.serve()
    stage.plugin.target_gain_db = 3.0
    stage.plugin.remainder_gain_db = -9.0
    stage.plugin.output = "Mix"
    stage.play("drums", seconds=0.0)
    stage.resize(1.5)
    stage.wait_sound(16.0)
    stage.shoot()


def loading(stage: Stage) -> None:
    stage.serve()
    stage.play("dialogue", seconds=0.0)
    while not stage.connected():  # the last picture is the one closest to the end of it
        stage.shoot()


def gone(stage: Stage) -> None:
    stage.set_state(waiting="never")  # as in playing: pedalboard itself always renders
    _play_and_connect(stage, "vocals")
    stage.end_server()
    time.sleep(1.5)
    stage.shoot()


def error(stage: Stage) -> None:
    _play_and_connect(stage, "vocals")
    stage.type_keep("theremin, bagpipes")
    time.sleep(4.0)
    stage.shoot()


def long_name(stage: Stage) -> None:
    stage.serve()
    text = json.dumps({"stembridge_preset": 1, "name": LONG_NAME, "keep": ["vocals"]})
    stage.set_state(preset=text)
    stage.play("", seconds=0.0)
    stage.wait_connected()
    stage.shoot()


def smallest(stage: Stage) -> None:
    time.sleep(1.5)
    stage.resize(0.4)  # the editor stops at 100 %
    stage.shoot()


def learn(stage: Stage) -> None:
    """Recorded for a while, and ten seconds chosen."""
    _play_and_connect(stage, "vocals")
    stage.click(*LEARN_PAGE)
    stage.click(*RECORD)
    stage.wait_status("learn_held_seconds", lambda value: value > 16.0)
    stage.click(*LAST_TEN)
    time.sleep(3.0)
    stage.shoot()


def learning(stage: Stage) -> None:
    """In the middle of it."""
    _begin_to_learn(stage, 160)
    stage.wait_status("learn_fraction", lambda value: value > 0.02)
    stage.shoot()


def learned(stage: Stage) -> None:
    """The outcome, heard."""
    _begin_to_learn(stage, 12)
    stage.wait_status("learn_state", lambda value: value == "learned")
    stage.click(*LEARNED)
    time.sleep(3.0)
    stage.shoot()


def probe(stage: Stage) -> None:
    """A sound that is not in the song."""
    _play_and_connect(stage, "")
    stage.type_keep("siren")
    stage.wait_status("keep", lambda value: value == "siren")
    stage.click(*CHECK)
    stage.wait_status("probe_state", lambda value: value == "done")
    stage.shoot()


def dry_render(stage: Stage) -> None:
    """A render found no server; then one came."""
    stage.play("vocals", seconds=4.0)
    stage.playing.clear()
    stage.serve()
    stage.wait_connected()
    stage.shoot()


def _begin_to_learn(stage: Stage, steps: int) -> None:
    _play_and_connect(stage, "vocals")
    stage.click(*LEARN_PAGE)
    stage.click(*RECORD)
    stage.wait_status("learn_held_seconds", lambda value: value > 12.0)
    while stage.status()["learn_marks"] == 0:  # a busy machine may miss a click
        stage.click(*LAST_TEN)
        time.sleep(1.0)
        stage.click(*ADD)
        time.sleep(4.0)
    stage.request("learn/tune", "keep", steps)  # as the button does, with steps of its own


STATES: dict[str, Callable[[Stage], None]] = {
    function.__name__: function
    for function in (
        connected,
        mix,
        loading,
        gone,
        error,
        long_name,
        smallest,
        learn,
        learning,
        learned,
        probe,
        dry_render,
    )
}


class Stage:
    """One editor on the display, with its own state folder and, if asked for, a server."""

    def __init__(self, vst3: Path, out: Path) -> None:
        import pedalboard

        self.out = out
        self.server: subprocess.Popen[bytes] | None = None
        self.plugin: Any = pedalboard.load_plugin(str(vst3))  # type: ignore[attr-defined]
        self.close = threading.Event()
        self.playing = threading.Event()
        self.window = ""

    def serve(self) -> None:
        """A real server, as `stembridge serve` starts it."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "stembridge", "serve", "--quiet"], env=environment
        )
        file = Path(os.environ["STEMBRIDGE_STATE_DIR"]) / "server.json"
        while not file.exists():
            time.sleep(0.05)

    def end_server(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait()

    def connected(self) -> bool:
        from stembridge.errors import StembridgeError
        from stembridge.server.client import Client

        try:
            with Client.connect() as client:
                return bool(client.request_all("/session/list"))
        except StembridgeError:
            return False

    def play(self, preset: str, seconds: float) -> None:
        """Begin to send the example song through the plugin, at most in real time."""
        import numpy as np
        import soundfile

        from stembridge.example import example_song

        if preset:
            self.plugin.preset = preset
        song, rate = soundfile.read(example_song(), dtype="float32", always_2d=True)
        song = np.ascontiguousarray(song.T)
        self.playing.set()

        def run() -> None:
            position, began = 0, time.monotonic()
            while self.playing.is_set():
                block = song[:, position % (song.shape[1] - 2048) :][:, :2048]
                self.plugin(block, rate, buffer_size=2048, reset=False)
                position += 2048
                time.sleep(max(0.0, began + position / rate - time.monotonic()))

        threading.Thread(target=run, daemon=True).start()
        time.sleep(seconds)

    def wait_connected(self) -> None:
        """Sleep until a session is open and has played a while."""
        end = time.monotonic() + 90.0
        while not self.connected() and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(3.0)

    def set_state(self, **fields: str) -> None:
        """Change fields of the plugin's saved state."""
        sys.path.insert(0, str(ROOT / "tests"))
        import plugin_host

        plugin_host.write_state(self.plugin, **fields)

    def find_window(self) -> str:
        while not self.window:
            found = _output("xdotool", "search", "--onlyvisible", "--name", "Pedalboard")
            self.window = found.split()[0] if found else ""
            time.sleep(0.2)
        return self.window

    def resize(self, scale: float) -> None:
        size = [str(round(side * scale)) for side in (800, 500)]
        _output("xdotool", "windowsize", self.find_window(), *size)
        time.sleep(1.0)

    def type_keep(self, words: str) -> None:
        """As a person: click into the field, type, press Return."""
        _output("xdotool", "windowfocus", self.find_window())
        _output("xdotool", "mousemove", "--window", self.find_window(), "150", "112", "click", "1")
        time.sleep(0.3)
        _output("xdotool", "key", "ctrl+a")
        _output("xdotool", "type", "--delay", "30", words)
        _output("xdotool", "key", "Return")

    def click(self, x: int, y: int) -> None:
        _output("xdotool", "mousemove", "--window", self.find_window(), str(x), str(y))
        _output("xdotool", "click", "1")
        time.sleep(0.4)

    def request(self, verb: str, *values: Any) -> list[Any]:
        """A verb of the only session."""
        from stembridge.server.client import Client

        with Client.connect(timeout_seconds=60.0, hello_seconds=60.0) as client:
            session = client.request_all("/session/list")[0][0]
            return client.request(f"/session/{session}/{verb}", *values)

    def status(self) -> dict[str, Any]:
        pairs = self.request("status/get")
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    def wait_sound(self, seconds: float) -> None:
        """Until so much of the song has been separated, however busy the machine is."""
        self.wait_connected()
        samples = seconds * self.status()["sample_rate"]
        self.wait_status("processed_samples", lambda value: int(value) >= samples)

    def wait_status(self, key: str, reached: Callable[[Any], bool]) -> None:
        """Until the only session's status has it, at most three minutes."""
        for _ in range(360):
            if reached(self.status()[key]):
                break
            time.sleep(0.5)
        time.sleep(0.5)

    def shoot(self) -> None:
        _output("xdotool", "mousemove", *map(str, ASIDE))
        time.sleep(0.3)
        _output("import", "-window", self.find_window(), "-strip", str(self.out))

    def run(self, state: str) -> None:
        """Show the editor on this thread while another brings the state about."""
        failure: list[BaseException] = []

        def act() -> None:
            try:
                self.find_window()
                STATES[state](self)
            except BaseException as problem:
                failure.append(problem)
            self.playing.clear()
            time.sleep(0.3)
            self.close.set()

        threading.Thread(target=act).start()
        self.plugin.show_editor(self.close)
        self.end_server()
        if failure:
            raise failure[0]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def display() -> Iterator[dict[str, str]]:
    """A display and its helpers; yields the environment for processes that use it.

    Its HOME is a fresh folder, which is gone afterwards.
    """
    for command, package in TOOLS.items():
        if shutil.which(command) is None:
            raise SystemExit(f"{command} is missing. Install it: apt-get install {package}")
    with tempfile.TemporaryDirectory(prefix="stembridge-shots-") as home:
        (Path(home) / ".xsettingsd").write_text('Net/ThemeName "Adwaita"\n')
        environment = {**os.environ, "HOME": home, "DISPLAY": f":{90 + os.getpid() % 100}"}
        screen = ["Xvfb", environment["DISPLAY"], "-screen", "0", "1700x1100x24"]
        helpers = []
        try:
            for command in (screen, ["xsettingsd"], ["openbox"]):
                helpers.append(
                    subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
                )
                time.sleep(1.0)
            yield environment
        finally:
            for helper in reversed(helpers):
                helper.terminate()
                helper.wait()


def _on_display(vst3: Path, out: Path, states: list[str]) -> None:
    """One process per state."""
    out.mkdir(parents=True, exist_ok=True)
    with display() as environment:
        for state in states:
            folder = Path(environment["HOME"]) / state
            folder.mkdir()
            subprocess.run(
                [sys.executable, __file__, str(out), "--vst3", str(vst3), "--act", state],
                env=environment | {"STEMBRIDGE_STATE_DIR": str(folder)},
                check=True,
                timeout=600,
            )
            print(out / f"editor-{state}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("states", nargs="*", metavar="STATE", help=", ".join(STATES))
    default = ROOT / "build/plugin/Stembridge_artefacts/Release/VST3/Stembridge.vst3"
    parser.add_argument("--vst3", type=Path, default=default)
    parser.add_argument("--act", choices=list(STATES), help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    if args.act:
        Stage(args.vst3, args.out / f"editor-{args.act}.png").run(args.act)
    else:
        _on_display(args.vst3.resolve(), args.out, args.states or list(STATES))


if __name__ == "__main__":
    main()
