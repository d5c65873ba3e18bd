"""The built plugin for tests: build it, load it in pedalboard, read and write its state.

`bundle("VST3")` builds `plugin/` once with CMake into `build/plugin` (or the folder named by
STEMBRIDGE_PLUGIN_BUILD) and keeps it up to date; what is missing for that makes the test fail
with the command that installs it. `read_state` and `write_state` open the plugin's own JSON
inside pedalboard's `raw_state`, so that tests can plant any bytes there.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("STEMBRIDGE_PLUGIN_BUILD", ROOT / "build" / "plugin"))
INSTALL = (
    "Install what the plugin's build needs: apt-get install --no-install-recommends g++ cmake "
    "ninja-build pkg-config juce-modules-source (a smaller way: bridge/docs/plugin.md)"
)
JUCE_64 = ".ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
VST3_MAGIC = b"VC2!"


@functools.cache
def build(bench: bool = False) -> Path:
    """The folder of built bundles, after an incremental build (minutes the first time)."""
    for tool in ("cmake", "ninja"):
        assert shutil.which(tool), f"{tool} is missing. {INSTALL}"
    commands = [
        ["cmake", "-S", str(ROOT / "plugin"), "-B", str(BUILD), "-G", "Ninja"]
        + ["-DSTEMBRIDGE_TESTS=ON"]
        + (["-DSTEMBRIDGE_BENCH=ON"] if bench else []),
        ["cmake", "--build", str(BUILD)],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, (
            f"{' '.join(command)} failed. {INSTALL}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return BUILD / "Stembridge_artefacts" / "Release"


def bundle(kind: str) -> Path:
    """Path of the built `Stembridge.vst3` ("VST3") or `Stembridge.lv2` ("LV2")."""
    return build() / kind / f"Stembridge.{kind.lower()}"


def vst3_host() -> Path:
    """The test host for 64-bit samples; see `plugin/tests/vst3_host.cpp`."""
    build()
    return BUILD / "stembridge_vst3_host"


def load(path: Path | None = None) -> Any:
    """A fresh instance in pedalboard."""
    import pedalboard

    return pedalboard.load_plugin(str(path or bundle("VST3")))


def juce_encode(data: bytes) -> str:
    """JUCE's own base 64: the size, a dot, then 6 bits a character, lowest bits first."""
    letters = []
    for at in range(0, len(data), 3):
        bits = int.from_bytes(data[at : at + 3], "little")
        count = (min(3, len(data) - at) * 8 + 5) // 6
        letters += [JUCE_64[(bits >> (6 * i)) & 63] for i in range(count)]
    return f"{len(data)}." + "".join(letters)


def juce_decode(text: str) -> bytes:
    """Inverse of `juce_encode`."""
    size, _, letters = text.partition(".")
    data = bytearray()
    for at in range(0, len(letters), 4):
        bits = 0
        for index, letter in enumerate(letters[at : at + 4]):
            bits |= JUCE_64.index(letter) << (6 * index)
        data += bits.to_bytes(3, "little")
    return bytes(data[: int(size)])


def component_bytes(raw_state: bytes) -> bytes:
    """The plugin's own bytes inside pedalboard's `raw_state`, with the wrapper's trailer."""
    assert raw_state[:4] == VST3_MAGIC
    match = re.search(rb"<IComponent>([^<]*)</IComponent>", raw_state)
    assert match is not None
    return juce_decode(match.group(1).decode())


def read_state(plugin: Any) -> dict[str, Any]:
    """The JSON that the plugin has saved."""
    data = component_bytes(plugin.raw_state)
    text = data.decode("utf-8", errors="replace")
    value, _ = json.JSONDecoder().raw_decode(text)
    return value


def raw_with(raw_state: bytes, data: bytes) -> bytes:
    """`raw_state` with other bytes as the plugin's own."""
    xml = re.sub(
        rb"<IComponent>[^<]*</IComponent>",
        lambda _: b"<IComponent>" + juce_encode(data).encode() + b"</IComponent>",
        raw_state[8:].rstrip(b"\0"),
    )
    return VST3_MAGIC + struct.pack("<I", len(xml)) + xml + b"\0"


def write_bytes(plugin: Any, data: bytes) -> None:
    """Give the plugin these bytes as its saved state."""
    plugin.raw_state = raw_with(plugin.raw_state, data)


def write_state(plugin: Any, **fields: Any) -> None:
    """Change some fields of the plugin's saved state and load it."""
    state = read_state(plugin) | fields
    write_bytes(plugin, json.dumps(state).encode())


def preset_text(keep: str, /, **fields: Any) -> str:
    """A small preset, for the identity separator of the tests: `preset_text("half")`."""
    return json.dumps(
        {"stembridge_preset": 1, "name": keep, "separator": "unet", "output": "target"}
        | {"mode": "mix", "keep": [keep]}
        | fields
    )
