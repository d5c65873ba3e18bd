"""The small parts of the server: who may open which file, orderly slow work, honest logs."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.server import log
from stembridge.server.control import MOST_WAITING, Control
from stembridge.server.files import allowed_file, read_info, state_folder
from stembridge.server.meters import FLOOR_DB, Meters
from stembridge.server.protocol import RequestError


def test_files_inside_and_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.wav").touch()
    (outside / "b.wav").touch()
    (inside / "link.wav").symlink_to(outside / "b.wav")
    (inside / "loop").symlink_to(inside / "loop")
    assert allowed_file("a.wav", [inside], False) == inside / "a.wav"
    assert allowed_file(str(inside / "a.wav"), [inside], False) == inside / "a.wav"
    for name in ("link.wav", "../out/b.wav", str(outside / "b.wav"), "/etc/passwd", "loop"):
        with pytest.raises(RequestError) as caught:
            allowed_file(name, [inside], False)
        assert caught.value.code in ("forbidden", "arguments"), name
    assert allowed_file(str(outside / "b.wav"), [inside], True) == outside / "b.wav"
    for name in ("", "a\0b", str(inside), "absent.wav"):
        with pytest.raises(RequestError) as caught:
            allowed_file(name, [inside], True)
        assert caught.value.code == "arguments"


@given(st.text(max_size=60))
def test_no_name_leads_outside(name: str) -> None:
    folder = Path(__file__).parent / "vectors"
    try:
        found = allowed_file(name, [folder], False)
    except RequestError:
        return
    assert found.is_relative_to(folder.resolve())


def test_state_folder_and_damaged_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMBRIDGE_STATE_DIR", str(tmp_path))
    assert state_folder() == tmp_path
    for text in ("", "{", "[]", "{}", '{"port": "x"}', "\0" * 100):
        (tmp_path / "server.json").write_text(text)
        assert read_info() is None, text


def test_requests_of_a_session_run_in_order() -> None:
    control = Control(threads=3)
    done: list[int] = []
    finished = threading.Event()
    gate = threading.Event()
    control.run("a", lambda: gate.wait(10) and None)
    for index in range(20):
        control.run("a", lambda index=index: done.append(index))
    control.run("a", finished.set)
    other = threading.Event()
    control.run("b", other.set)
    assert other.wait(10), "another session has to wait"
    gate.set()
    assert finished.wait(10)
    assert done == list(range(20))
    control.close()
    with pytest.raises(RequestError, match="ending"):
        control.run("a", finished.set)


def test_too_many_requests_are_refused() -> None:
    control = Control(threads=1)
    gate = threading.Event()
    control.run("a", lambda: gate.wait(10) and None)
    with pytest.raises(RequestError, match="slowly") as caught:
        for _ in range(MOST_WAITING + 2):
            control.run("a", lambda: None)
    assert caught.value.code == "busy"
    gate.set()
    control.close()


def record(text: str, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("stembridge.server", logging.INFO, "", 0, text, None, None)
    made.values = values  # type: ignore[attr-defined]
    return made


def test_a_client_cannot_forge_a_line_of_the_log() -> None:
    entry = record("Hello", client="evil\n10:00:00 Session opened\x1b[2J")
    human = log.HumanFormatter().format(entry)
    assert len(human.splitlines()) == 1
    assert "\x1b" not in human
    machine = log.JsonFormatter().format(entry)
    assert len(machine.splitlines()) == 1
    assert json.loads(machine)["client"].startswith("evil\n")


def test_spectrum_reads_decibels() -> None:
    meters = Meters()
    times = np.arange(9600) / 48000
    assert meters.columns(48000, 0) == [], "kept from the first asking on"
    for db in (0.0, -20.0, -60.0):
        tone = 10 ** (db / 20) * np.sin(2 * np.pi * 1000.0 * times).astype(np.float32)
        meters.add(np.stack([tone, tone]).astype(np.float32), np.zeros((2, 9600), np.float32))
        place, target, remainder = meters.columns(48000, meters.place - 1)[0]
        assert place == meters.place
        assert max(target) / 255 * -FLOOR_DB + FLOOR_DB == pytest.approx(db, abs=1.5)
        assert max(remainder) == 0
