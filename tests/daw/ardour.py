"""Ardour without a screen: make a session with the plugin on its tracks, export it, reopen it.

Ardour's own tools do the work, on its dummy backend, in a private HOME: the VST3 scanner, a
Lua script that makes tracks and inserts the plugin, and `ardour7-export`. Lua cannot import
audio, so sources, regions and playlists are written into the saved session file. Two settings
are essential with Ardour 7.3: ARDOUR_FPU_FLAGS=0, since its AVX-512 mixer corrupts memory,
and no port resampler, which now and then shifts an export by 16 samples. An export with a
missing plugin succeeds silently, so callers compare audio, never exit codes.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import soundfile

LIBRARY = Path("/usr/lib/ardour7")
SUPERCLOCK = 282_240_000  # Ardour's unit of time: ticks a second
TIMEOUT_SECONDS = 240
EXPORT_SECONDS, EXPORT_ATTEMPTS = 60.0, 5
INSTALL = "Install Ardour 7: apt-get install --no-install-recommends ardour"
LV2_URI = "https://stembridge.audio/lv2/stembridge"


@dataclass
class Track:
    """One track: its audio `(channels, samples)`, and the plugin on it (or none)."""

    audio: np.ndarray
    plugin: str = ""  # "VST3", "LV2" or "" for a plain track
    state: bytes | None = None  # of a VST3: a .vstpreset, as pedalboard's `preset_data`


@dataclass
class Session:
    """A session on disk. `latencies` are what each plugin reported when it was inserted."""

    home: Path
    rate: int
    environment: dict[str, str]
    latencies: list[int] = field(default_factory=list)
    name: str = "song"

    @property
    def folder(self) -> Path:
        return self.home / self.name

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.ardour"

    def run(self, command: list[str], timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        """Run one of Ardour's tools; returns what it printed."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            check=False,
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{text[-3000:]}"
        return text

    def lua(self, script: str) -> str:
        path = self.home / "script.lua"
        path.write_text(script)
        return self.run(["ardour7-lua", str(path)])

    def export(self, out: Path) -> np.ndarray:
        """Export the session range; float32 `(channels, samples)`.

        Now and then Ardour 7.3 waits for its own disk thread before the first block, for ever
        and without a plugin, too; so an export that takes too long is begun anew.
        """
        command = ["ardour7-export", "-b", "float", "-o", str(out), str(self.folder), self.name]
        for left in reversed(range(EXPORT_ATTEMPTS)):
            try:
                log = self.run(command, EXPORT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if not left:
                    raise
        assert "is unknown" not in log, log
        audio, rate = soundfile.read(out, dtype="float32", always_2d=True)
        assert rate == self.rate
        return audio.T

    def reopen_and_save(self) -> None:
        """Load the session as a person would, and save it again."""
        self.lua(
            f'local s = load_session("{self.folder}", "{self.name}")\n'
            'assert(s)\nsleep(1)\ns:save_state("")\ns:close()\nquit()\n'
        )


def make_session(
    home: Path, rate: int, tracks: list[Track], bundles: dict[str, Path], **variables: str
) -> Session:
    """Install the bundles into the private `home`, make the session with the tracks' audio.

    Args:
        bundles: "VST3" and "LV2" to the built bundle.
        variables: of the environment, for the plugin.
    """
    assert shutil.which("ardour7-lua"), INSTALL
    session = Session(home, rate, _environment(home, variables))
    settings = home / "config" / "ardour7"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "config").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<Ardour><Config>'
        '<Option name="port-resampler-quality" value="0"/></Config></Ardour>\n'
    )
    for kind, bundle in bundles.items():
        _install(session, kind, bundle)
    log = session.lua(_making_script(session, tracks))
    session.latencies = [int(number) for number in re.findall(r"LATENCY\s+(\d+)", log)]
    assert len(session.latencies) == sum(bool(track.plugin) for track in tracks), log
    _write_audio(session, tracks)
    return session


def _environment(home: Path, variables: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "LV2_PATH")}
    places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    return kept | {"HOME": str(home), "ARDOUR_FPU_FLAGS": "0"} | places | variables


def _install(session: Session, kind: str, bundle: Path) -> None:
    target = session.home / {"VST3": ".vst3", "LV2": ".lv2"}[kind] / bundle.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target)
    if kind == "VST3":
        old = time.time() - 60  # the scanner's cache compares times
        for path in target.rglob("*"):
            os.utime(path, (old, old))
        scanner = str(LIBRARY / "ardour-vst3-scanner")
        found = session.run(["env", f"LD_LIBRARY_PATH={LIBRARY}", scanner, "-f", str(target)])
        assert "Found Plugin" in found, found


def _making_script(session: Session, tracks: list[Track]) -> str:
    lines = [
        f'local s = create_session("{session.folder}", "{session.name}", {session.rate})',
        "assert(s)",
    ]
    for index, track in enumerate(tracks):
        width = track.audio.shape[0]
        lines += [
            f'local list = s:new_audio_track({width}, {width}, nil, 1, "T{index}",'
            " ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)",
            "local route = list:front():to_route()",
        ]
        if not track.plugin:
            continue
        name = "Stembridge" if track.plugin == "VST3" else LV2_URI
        lines += [
            "local p = ARDOUR.LuaAPI.new_plugin("
            f's, "{name}", ARDOUR.PluginType.{track.plugin}, "")',
            'assert(not p:isnil(), "the plugin was not found")',
            "assert(route:add_processor_by_index(p, 0, nil, true) == 0)",
            'print("LATENCY", p:to_insert():signal_latency())',
        ]
    # Ports are connected by a background thread: saving at once would lose the connections.
    lines += ["sleep(1)", 's:save_state("")', "s:close()", "quit()"]
    return "\n".join(lines) + "\n"


def _write_audio(session: Session, tracks: list[Track]) -> None:
    """Sources, regions, playlists, session range and plugin states, into the session file."""
    tree = ElementTree.parse(session.file)
    root = tree.getroot()
    audio_folder = session.folder / "interchange" / session.name / "audiofiles"
    longest = max(track.audio.shape[1] for track in tracks)
    numbers = iter(range(50_000, 60_000))
    playlists = {
        node.get("name", "").split(".")[0]: node
        for node in root.findall("Playlists/Playlist")
        if node.get("type") == "audio"
    }
    for index, track in enumerate(tracks):
        width, samples = track.audio.shape
        name = f"in{index}.wav"
        soundfile.write(audio_folder / name, track.audio.T, session.rate, subtype="FLOAT")
        sources = []
        for channel in range(width):
            sources.append(str(next(numbers)))
            ElementTree.SubElement(
                root.find("Sources"),  # type: ignore[arg-type]
                "Source",
                {"name": name, "type": "audio", "flags": "", "id": sources[-1], "gain": "1"}
                | {"take-id": "", "channel": str(channel), "origin": name},
            )
        whole = _region(name, sources, samples, session.rate, str(next(numbers)), True)
        root.find("Regions").append(whole)  # type: ignore[union-attr]
        playlists[f"T{index}"].append(
            _region(name, sources, samples, session.rate, str(next(numbers)), False)
        )
    end = longest * SUPERCLOCK // session.rate
    ElementTree.SubElement(
        root.find("Locations"),  # type: ignore[arg-type]
        "Location",
        {"id": str(next(numbers)), "name": "session", "start": "a0", "end": f"a{end}"}
        | {"flags": "IsSessionRange", "locked": "0", "timestamp": "0", "cue": "0"},
    )
    root.set("id-counter", "70000")
    chunks = list(root.iter("chunk"))
    states = [track.state for track in tracks if track.plugin == "VST3"]
    assert len(chunks) == len(states), "each VST3 has one state in the session"
    for chunk, state in zip(chunks, states, strict=True):
        if state is not None:
            chunk.text = base64.b64encode(state).decode()
    tree.write(session.file, encoding="UTF-8", xml_declaration=True)


def _region(
    name: str, sources: list[str], samples: int, rate: int, number: str, whole: bool
) -> ElementTree.Element:
    """A region over a whole source, without fades."""
    length = samples * SUPERCLOCK // rate
    off = (
        "muted locked video-locked import external sync-marked left-of-split right-of-split "
        "hidden position-locked valid-transients contents default-fade-in default-fade-out "
        "fade-in-active fade-out-active layering-index"
    )
    flags = dict.fromkeys(off.split(), "0")
    region = ElementTree.Element(
        "Region",
        flags
        | {"name": name.removesuffix(".wav"), "opaque": "1", "type": "audio", "id": number}
        | {"automatic": str(int(whole)), "whole-file": str(int(whole)), "start": "a0"}
        | {"length": f"a{length}@a0", "sync-position": "a0", "ancestral-start": "a0"}
        | {"ancestral-length": "a0@a0", "stretch": "1", "shift": "1", "tags": ""}
        | {"scale-amplitude": "1", "first-edit": "nothing", "channels": str(len(sources))}
        | {f"source-{i}": source for i, source in enumerate(sources)}
        | {f"master-source-{i}": source for i, source in enumerate(sources)},
    )
    for child in ("Envelope", "FadeIn", "FadeOut"):
        ElementTree.SubElement(region, child, {"default": "yes"})
    return region
