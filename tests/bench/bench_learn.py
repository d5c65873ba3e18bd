"""Does audio go on while the server learns? Missed blocks with and without tuning, paired.

    python tests/bench/bench_learn.py --mode mix
    python tests/bench/bench_learn.py --mode live --rounds 2

A server in a process of its own, one plugin end here that plays the example song in real
time, over and over. In turn: so many seconds without tuning, then a whole tuning on marks
taken from what was played. Printed per stretch: blocks, missed blocks, misses (runs of
them), the least margin seen and the server's CPU seconds per second. A machine that others
use misses blocks by itself: only the difference between the two rows of a round means
something, and the worst block's wait in this process says how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from dataclasses import replace

import numpy as np
from bench_server_instances import Serve

from stembridge.audiofile import read_audio
from stembridge.example import example_song
from stembridge.presets import load_preset
from stembridge.resample import resample
from stembridge.server.client import Client
from stembridge.server.plugin_end import PluginEnd


class Host(threading.Thread):
    """A host's audio thread: blocks in real time until `stop`."""

    def __init__(self, end: PluginEnd, audio: np.ndarray, rate: int, block: int) -> None:
        super().__init__(daemon=True)
        self._end, self._audio, self._rate, self._block = end, audio, rate, block
        self._stop_asked = threading.Event()
        self.worst_late_seconds = 0.0

    def run(self) -> None:
        began, played, place = time.monotonic(), 0, 0
        while not self._stop_asked.is_set():
            self._end.process(np.ascontiguousarray(self._audio[:, place : place + self._block]))
            place += self._block
            if place + self._block > self._audio.shape[1]:
                place = 0
            played += self._block
            ahead = began + played / self._rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            else:
                self.worst_late_seconds = max(self.worst_late_seconds, -ahead)
                # A host does not catch up: what was late stays late.
                began -= ahead

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mode", choices=("live", "mix"), default="mix")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=30.0, help="without tuning, each round")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    audio, rate = read_audio(example_song())
    audio = np.ascontiguousarray(resample(audio, rate, args.rate), dtype=np.float32)
    preset = replace(load_preset("vocals"), mode=args.mode)
    with Serve() as serve:
        end = PluginEnd(preset, args.rate, max_block_samples=args.block, folder=serve.folder)
        with end, Client.connect("bench", folder=serve.folder, timeout_seconds=60) as client:
            end.wait_connected(60)
            path = f"/session/{end.id}/learn"
            client.request(f"{path}/arm", 20.0)
            host = Host(end, audio, args.rate, args.block)
            host.start()
            time.sleep(12.0)  # past the start, and enough on the tape
            for start in (10.0, 7.0, 4.0):
                client.request(f"{path}/mark", start, start - 2.5)

            def stretch(what: str, until) -> None:
                first, cpu, began = dict(end.status), serve.cpu_seconds(), time.monotonic()
                host.worst_late_seconds = 0.0
                until()
                passed = time.monotonic() - began
                last = dict(end.status)
                print(json.dumps({
                    "mode": args.mode, "what": what, "seconds": round(passed, 1),
                    **{k: last[k] - first[k] for k in ("blocks", "missed_blocks")},
                    "host_late_ms": round(1000 * host.worst_late_seconds, 1),
                    "server_cpu_per_second": round((serve.cpu_seconds() - cpu) / passed, 3),
                }), flush=True)  # fmt: skip

            def learn() -> None:
                client.request(f"{path}/tune", "keep", args.steps)
                while True:
                    values = client.request(f"/session/{end.id}/status/get")
                    status = dict(zip(values[::2], values[1::2], strict=True))
                    if status["learn_state"] != "learning":
                        print(status["learn_message"])
                        return
                    time.sleep(0.5)

            for _ in range(args.rounds):
                stretch("without tuning", lambda: time.sleep(args.seconds))
                stretch("while tuning", learn)
            host.stop()


if __name__ == "__main__":
    main()
