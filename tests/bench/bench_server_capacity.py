"""How many sessions play in real time without one miss: the largest number, by search.

    python tests/bench/bench_server_capacity.py                      about ten minutes, idle machine
    python tests/bench/bench_server_capacity.py --blocks 512 --confirm 60 --songs different

One host plays in one thread, as a DAW does: at every callback a block goes through each
instance, and the callbacks keep their times. A trial ends at the first missed block and may be
repeated once; the largest number that passes is then played for --confirm seconds, and one
fewer where that has a miss.

`same`: every instance hears the same song, as copies of a track do; `different`: each hears it
from another place and from another moment on, so that nothing is shared but the weights.
Without batching the two cost the same, so it is searched once.

By default each core has a worker and a call runs on one core. `--workers 1 --threads 2` runs one
call at a time, on two: it is over sooner, so that more sessions fit into it before a deadline.

The figures hold for this machine and mean something only while nothing else runs on it; each row
says what else used the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_server_instances import Serve, songs_for

from stembridge.audiofile import read_audio
from stembridge.example import example_song
from stembridge.presets import load_preset
from stembridge.resample import resample
from stembridge.server.client import Client
from stembridge.server.plugin_end import PluginEnd

RATE = 48000
SETTLE_SECONDS = 1.5
"""Played before misses count: the first steps of a session wait for the last ones to open."""
SEARCH_SECONDS = 4.0


@dataclass(frozen=True)
class Setting:
    mode: str
    block: int
    songs: str
    batching: bool


class Host:
    """So many instances on one server, played by one thread in real time."""

    def __init__(self, serve: Serve, setting: Setting, sessions: int, song: np.ndarray) -> None:
        preset = replace(load_preset("vocals"), mode=setting.mode)  # type: ignore[arg-type]
        self._block = setting.block
        songs = songs_for(setting.songs, song, RATE, sessions)
        length = song.shape[1] // setting.block * setting.block
        self._songs = [each[:, :length] for each in songs]
        self._position = 0
        self.ends: list[PluginEnd] = []
        with contextlib.ExitStack() as undo:
            undo.enter_context(urgent())
            for _ in range(sessions):
                end = PluginEnd(preset, RATE, max_block_samples=setting.block, folder=serve.folder)
                self.ends.append(end)
                undo.callback(end.close)
            for end in self.ends:
                end.wait_connected(60)
            self._undo = undo.pop_all()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def missed(self) -> int:
        return sum(end.status["missed_blocks"] for end in self.ends)

    def play(self, seconds: float, stop_at: int | None = None) -> float:
        """The next seconds of the songs; ends sooner once so many blocks were missed in all.

        Returns: by how much the latest callback was late, in seconds: the host's own fault.
        """
        began, latest = time.monotonic(), 0.0
        for count in range(round(seconds * RATE / self._block)):
            place = self._position % self._songs[0].shape[1]
            for end, song in zip(self.ends, self._songs, strict=True):
                end.process(np.ascontiguousarray(song[:, place : place + self._block]))
            self._position += self._block
            if stop_at is not None and count % 16 == 0 and self.missed >= stop_at:
                break
            ahead = began + (count + 1) * self._block / RATE - time.monotonic()
            latest = max(latest, -ahead)
            time.sleep(max(0.0, ahead))
        return latest


def example_at(rate: int) -> np.ndarray:
    """The example song at a rate."""
    audio, own_rate = read_audio(example_song())
    return np.ascontiguousarray(resample(audio, own_rate, rate))


@contextlib.contextmanager
def urgent() -> Iterator[None]:
    """This thread and those that it starts are as urgent as a host's audio thread, where the
    system lets us. Processes started meanwhile would be so, too: start the server before."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except (AttributeError, PermissionError):
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Machine:
    """CPU seconds of the server, of this host and of everything else."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._then = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        whole, own = psutil.cpu_times(), psutil.Process().cpu_times()
        busy = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0)
        return time.monotonic(), busy, own.user + own.system, self._serve.cpu_seconds()

    def cores(self) -> dict[str, float]:
        wall, busy, own, server = (b - a for a, b in zip(self._then, self._now(), strict=True))
        cores = {"server": server, "host": own, "others": busy - own - server}
        return {f"cores_{name}": round(max(0.0, value) / wall, 2) for name, value in cores.items()}


def trial(serve: Serve, setting: Setting, sessions: int, song: np.ndarray, seconds: float) -> Any:
    """Whether so many play without a miss, and what the machine did meanwhile."""
    with Host(serve, setting, sessions, song) as host:
        host.play(SETTLE_SECONDS)
        before, machine = host.missed, Machine(serve)
        late = host.play(seconds, before + 1)
        missed = host.missed - before
        with Client.connect(folder=serve.folder) as client:
            values = client.request("/server/status/get")
        batch = dict(zip(values[::2], values[1::2], strict=True))["batch"]
        return missed == 0, {
            "latest_callback_ms": round(1000 * late, 1),
            "mean_batch": round(batch, 2),
            **machine.cores(),
        }


def largest(passes: Callable[[int], bool], guess: int, most: int) -> int:
    """The largest number that passes, 0 if none: steps away from a guess, then by halves."""
    low, high = 0, most + 1
    count, step = min(max(1, guess), most), 1
    while low + 1 < high:
        if passes(count):
            low = count
            count = min(low + step, high - 1) if high > most else (low + high) // 2
        else:
            high = count
            count = max(high - step, low + 1) if low == 0 else (low + high) // 2
        step *= 2
    return low


def search(
    serve: Serve, setting: Setting, guess: int, song: np.ndarray, args: argparse.Namespace
) -> tuple[int, dict[str, Any]]:
    """How many play without a miss, and what the machine did in the trial that says so."""
    report: dict[str, Any] = {}

    def passes(count: int, seconds: float = SEARCH_SECONDS) -> bool:
        report.clear()
        for _ in range(2):  # whatever else the machine does may spoil one
            good, row = trial(serve, setting, count, song, seconds)
            if good:
                report.update(row)
                return True
        return False

    count = largest(passes, guess, args.most)
    while count and not passes(count, args.confirm):
        count -= 1
    return count, report


def capacity(args: argparse.Namespace, song: np.ndarray) -> None:
    """Rows on standard output, one for each setting, then what batching gains."""
    found: dict[Setting, int] = {}
    end = time.monotonic() + 60 * args.minutes
    settings = [
        Setting(mode, block, songs, batching)
        for batching in {"both": (False, True), "on": (True,), "off": (False,)}[args.batching]
        for mode in args.modes
        for block in args.blocks
        for songs in (args.songs if batching else args.songs[:1])
    ]
    for batching in sorted({setting.batching for setting in settings}):
        with Serve(*flags_of(args, batching)) as serve:
            for setting in [s for s in settings if s.batching == batching]:
                if time.monotonic() > end:
                    print(json.dumps({**vars(setting), "left_out": "no time"}), flush=True)
                    continue
                guess = next((n for s, n in reversed(found.items()) if alike(s, setting)), 4)
                count, report = search(serve, setting, guess, song, args)
                found[setting] = count
                print(json.dumps({**vars(setting), "sessions": count, **report}), flush=True)
    for setting, count in found.items():
        alone = [n for s, n in found.items() if not s.batching and alike(s, setting)]
        if setting.batching and alone:
            gain = round(count / max(1, alone[0]), 2)
            row = {"mode": setting.mode, "block": setting.block, "songs": setting.songs}
            print(json.dumps({**row, "alone": alone[0], "batched": count, "gain": gain}))


def alike(one: Setting, other: Setting) -> bool:
    return (one.mode, one.block) == (other.mode, other.block)


def flags_of(args: argparse.Namespace, batching: bool) -> Iterator[str]:
    yield from ("--workers", str(args.workers), "--threads", str(args.threads))
    if not batching:
        yield "--no-batching"


def main() -> None:
    parser = argparse.ArgumentParser(description="How many sessions play without one miss.")
    parser.add_argument("--modes", nargs="+", choices=("live", "mix"), default=["mix", "live"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 512])
    parser.add_argument(
        "--songs", nargs="+", choices=("same", "different"), default=["different", "same"]
    )
    parser.add_argument("--batching", choices=("both", "on", "off"), default="both")
    parser.add_argument("--confirm", type=float, default=20.0, help="seconds of the last trial")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no search after so many")
    parser.add_argument("--most", type=int, default=32, help="sessions that are tried at most")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="cores for one call of a network")
    args = parser.parse_args()
    about = {"cpu_count": os.cpu_count(), "workers": args.workers, "threads": args.threads}
    print(json.dumps(about), flush=True)
    capacity(args, example_at(RATE))


if __name__ == "__main__":
    main()
