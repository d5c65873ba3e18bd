"""How many sessions one server carries, with and without batching, in CPU seconds.

    python tests/bench/bench_server_instances.py --mode mix --sessions 1 2 4 8
    python tests/bench/bench_server_instances.py --mode live --sessions 1 2 4 --realtime

Each row is one server process and so many plugin ends in this one, all playing the example
song: from other places and beginning at other moments, so that nothing is shared but the
weights, or with `--songs same` as copies of a track do. The measure is the server's own CPU
time per second of one session's audio: it does not depend on who else uses the machine, and
`cores / cost` is how many sessions the cores could carry at most. With --realtime the sessions
play in real time and the missed blocks are counted, which means something on an idle machine
only. How many play without any miss: bench_server_capacity.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from server_harness import in_blocks
from stembridge.audiofile import read_audio
from stembridge.example import example_song
from stembridge.presets import load_preset
from stembridge.resample import resample
from stembridge.server.client import Client
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.running import find_running

APART_SECONDS = 1.237
"""Between the places in the song where sessions with different songs begin."""


def songs_for(kind: str, song: np.ndarray, rate: int, sessions: int) -> list[np.ndarray]:
    """What each session plays, all of one length; different ones begin within a step in mix."""
    if kind == "same":
        return [song] * sessions
    songs = [np.roll(song, -round(APART_SECONDS * rate) * i, axis=1) for i in range(sessions)]
    for i, rolled in enumerate(songs):
        rolled[:, : round(0.618 * i % 1.0 * 0.186 * rate)] = 0.0
    return songs


class Serve:
    """`stembridge serve` in a process of its own, with its own state folder."""

    def __init__(self, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        environment = {**os.environ, "STEMBRIDGE_STATE_DIR": str(self.folder)}
        self.log = (self.folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stembridge", "serve", "--osc-port", "0", *arguments],
            env=environment,
            stderr=self.log,
        )

    def __enter__(self) -> Serve:
        end = time.monotonic() + 180
        while "Separator ready" not in (self.folder / "log").read_text():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit((self.folder / "log").read_text())
            time.sleep(0.1)
        assert find_running(self.folder) is not None
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(120)
        self.log.close()
        self._folder.cleanup()

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def cpu_seconds_at_rest(self) -> float:
        """Once all that was fed is worked off: a host that renders is ahead by its latency."""
        before = -1.0
        while (now := self.cpu_seconds()) > before + 0.05:
            before = now
            time.sleep(1.0)
        return now


def measure(args: argparse.Namespace, sessions: int, batching: bool) -> dict[str, float]:
    """One server, so many sessions, the song once through each."""
    audio, rate = read_audio(example_song())
    length = int(args.seconds * args.rate)
    songs = songs_for(args.songs, resample(audio, rate, args.rate), args.rate, sessions)
    songs = [np.ascontiguousarray(song[:, :length]) for song in songs]
    preset = replace(load_preset("vocals"), mode=args.mode)
    flags = ["--workers", str(args.workers)] + ([] if batching else ["--no-batching"])
    with Serve(*flags) as serve:
        latency = args.rate if args.mode == "live" else 2 * args.rate
        ends = [
            PluginEnd(
                preset, args.rate, max_block_samples=args.block, folder=serve.folder,
                latency_samples=None if args.realtime else latency,
            )
            for _ in range(sessions)
        ]  # fmt: skip
        for end in ends:
            end.wait_connected(60)

        def play(end: PluginEnd, audio: np.ndarray) -> None:
            pace = args.rate if args.realtime else None
            offline = not args.realtime
            in_blocks(lambda b: end.process(b, offline=offline), audio, [args.block], pace)

        cpu, wall = serve.cpu_seconds(), time.monotonic()
        pairs = zip(ends, songs, strict=True)
        threads = [threading.Thread(target=play, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.monotonic() - wall
        cpu = (serve.cpu_seconds() if args.realtime else serve.cpu_seconds_at_rest()) - cpu
        with Client.connect(folder=serve.folder) as client:
            values = client.request("/server/status/get")
            batch = dict(zip(values[::2], values[1::2], strict=True))["batch"]
        missed = sum(end.status["missed_blocks"] for end in ends)
        blocks = sum(end.status["blocks"] for end in ends)
        for end in ends:
            end.close()
    cost = cpu / (sessions * args.seconds)
    return {
        "sessions": sessions,
        "batching": int(batching),
        "cpu_seconds_per_session_second": round(cost, 4),
        "sessions_at_most": round((os.cpu_count() or 1) / cost, 1),
        "mean_batch": round(batch, 2),
        "wall_seconds": round(wall, 2),
        "missed_blocks": missed,
        "blocks": blocks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a session costs, alone and batched.")
    parser.add_argument("--mode", choices=("live", "mix"), default="mix")
    parser.add_argument("--songs", choices=("different", "same"), default="different")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio in each session")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--realtime", action="store_true")
    args = parser.parse_args()
    rows = []
    for sessions in args.sessions:
        pair = [measure(args, sessions, batching) for batching in (False, True)]
        rows += pair
        costs = [row["cpu_seconds_per_session_second"] for row in pair]
        for row in pair:
            what = {"mode": args.mode, "songs": args.songs, "block": args.block}
            print(json.dumps({**what, **row}))
        print(json.dumps({"sessions": sessions, "gain_of_batching": round(costs[0] / costs[1], 3)}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
