"""Cost of one block of the plugin in pedalboard, beside JUCE's plainest gain plugin.

    python tests/bench/bench_plugin.py [--blocks N]

Both are built by the same compiler in the same build (`-DSTEMBRIDGE_BENCH=ON`) and called in
turn, so the ratio leaves the host's own cost (about that of the gain plugin) in both. The
plugin is measured with no server, which is its dry path, and with the identity server in a
process of its own, told never to wait: then a block is written, fetched and mixed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import plugin_host
from server_harness import ServerProcess, noise

RATE = 48000
SIZES = (64, 128, 256, 512, 1024)


def measure(plugins: dict[str, Any], size: int, blocks: int) -> dict[str, np.ndarray]:
    """Seconds per call, in turn, paced as in real time so that caches are cold alike."""
    block = noise(size)
    times = {name: np.zeros(blocks) for name in plugins}
    for plugin in plugins.values():
        plugin(block, RATE, buffer_size=size)
    for index in range(blocks):
        turn = list(plugins.items())
        for name, plugin in turn[:: 1 if index % 2 else -1]:  # the first one pays for the pause
            start = time.perf_counter()
            plugin(block, RATE, buffer_size=size, reset=False)
            times[name][index] = time.perf_counter() - start
        time.sleep(min(0.002, size / RATE))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1500)
    blocks = parser.parse_args().blocks
    built = plugin_host.build(bench=True)
    gain = built.parents[1] / "StembridgeBenchGain_artefacts/Release/VST3/StembridgeBenchGain.vst3"
    print(f"{'block':>6} {'plugin':>12} {'p50 µs':>9} {'p99 µs':>9} {'p99.9 µs':>9}  p50 ratio")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["STEMBRIDGE_STATE_DIR"] = folder
            plugins = {"gain": plugin_host.load(gain), "dry": plugin_host.load()}
            times = measure(plugins, size, blocks)
            with ServerProcess(Path(folder)) as server:
                server.wait_ready()
                wet = plugin_host.load()
                text = plugin_host.preset_text("half", mode="live")
                plugin_host.write_state(wet, preset=text)
                wet(noise(RATE), RATE)  # until it is connected
                plugin_host.write_state(wet, preset=text, waiting="never")
                again = measure({"gain": plugins["gain"], "wet": wet}, size, blocks)
            for name, seconds in {**times, "wet": again["wet"]}.items():
                base = times["gain"] if name != "wet" else again["gain"]
                p50, p99, p999 = (1e6 * np.percentile(seconds, p) for p in (50, 99, 99.9))
                ratio = np.median(seconds) / np.median(base)
                print(f"{size:6} {name:>12} {p50:9.1f} {p99:9.1f} {p999:9.1f}  {ratio:.2f}")


if __name__ == "__main__":
    main()
