"""Does the installed plugin work, from the DAW's side to the server and back?

`check` runs `python -m stembridge.plugin_check VST3` in a process of its own, because a
broken plugin may take its host down. That process starts a server on a private state folder,
loads the VST3 in pedalboard, sends the start of the example song through the preset
"vocals", and judges by the samples alone: something must have changed, and target plus
remainder must be the song.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]
CHECK_SECONDS = 6.0
TIMEOUT_SECONDS = 180.0
NULL_TOLERANCE = 1e-6


def check(quick: bool) -> list[tuple[Level, str, dict[str, Any]]]:
    """Findings for `stembridge doctor`; `quick` looks at the files only."""
    from .plugin_install import status

    found = status()
    vst3 = next(one for one in found["plugins"] if one["kind"] == "VST3")
    if vst3["state"] == "absent":
        text = "not installed. For DAWs, run: stembridge plugin install"
        return [("note", text, {"installed": False})]
    if vst3["state"] != "current":
        text = f"{vst3['path']} is of {vst3['state']}. Run: stembridge plugin install"
        return [("problem", text, vst3)]
    if not found["launcher"]["works"]:
        text = "the plugin does not know this Python. Run: stembridge plugin install"
        return [("problem", text, found["launcher"])]
    if quick:
        return [("ok", f"installed as {vst3['path']}", vst3)]
    return [_listen(Path(vst3["path"]))]


def _listen(bundle: Path) -> tuple[Level, str, dict[str, Any]]:
    again = "Run: stembridge plugin install"
    with tempfile.TemporaryDirectory(prefix="stembridge-check-") as folder:
        environment = {**os.environ, "STEMBRIDGE_STATE_DIR": folder}
        command = [sys.executable, "-m", "stembridge.plugin_check", str(bundle)]
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "problem", f"it did not answer within {TIMEOUT_SECONDS:.0f} s. {again}", {}
    try:
        data = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip().splitlines() or ["the process ended"])[-1]
        return "problem", f"it does not load in pedalboard: {reason}. {again}", {}
    if data["changed_db"] < -60.0:
        text = f"it loads, but the song came back unchanged: no server was reached. {again}"
        return "problem", text, data
    if data["null"] > NULL_TOLERANCE:
        text = f"kept plus removed is off by {data['null']:.1e} of full scale. {again}"
        return "problem", text, data
    text = (
        f"{bundle} loads, reaches a server and changes the example song "
        f"({data['changed_db']:.0f} dB removed; kept + removed = song)"
    )
    return "ok", text, data


def measure(bundle: Path) -> dict[str, float]:
    """Play the example song through the VST3. Needs its own STEMBRIDGE_STATE_DIR.

    Returns: `changed_db`, level of what was removed against the song; `null`, the largest
    sample of kept + removed - song.
    """
    import numpy as np
    import pedalboard
    import soundfile

    from .example import example_song
    from .server import Server

    song, rate = soundfile.read(example_song(), dtype="float32", always_2d=True)
    song = np.ascontiguousarray(song[: int(CHECK_SECONDS * rate)].T)
    with Server(osc_port=0):
        plugin: Any = pedalboard.load_plugin(str(bundle))  # type: ignore[attr-defined]
        plugin.preset = "vocals"
        plugin.mode = "Mix"
        plugin.output = "Solo"
        kept = plugin(song, rate)
        plugin.output = "Remove"
        removed = plugin(song, rate)
        del plugin

    def level_db(audio: Any) -> float:
        return float(20 * np.log10(max(1e-9, float(np.sqrt(np.mean(np.square(audio)))))))

    return {
        "changed_db": level_db(kept - song) - level_db(song),
        "null": float(np.abs(kept + removed - song).max()),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
