"""Long runs: a soak in real time, a hundred kills of the server, a thousand links.

    python tests/bench/bench_server_soak.py soak --minutes 10 --sessions 4
    python tests/bench/bench_server_soak.py kills --times 100
    python tests/bench/bench_server_soak.py links --times 1000

The soak plays the example song round and round, each session from a place of its own, and
prints the server's memory, threads, handles and the missed blocks of ten equal stretches.
Kills and links use the exact separator of the tests, since what they try is the bridge; the
short versions are tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_server_capacity import SETTLE_SECONDS, Host, Machine, Setting, example_at
from bench_server_instances import Serve

from server_harness import HALF, ServerProcess, eventually, identity_server
from stembridge.presets import dumps
from stembridge.server.client import Client
from stembridge.server.native import load_native
from test_server_faults import LATENCY, RATE, Player, make_plugin, resources

STRETCHES = 10


def soak(minutes: float, sessions: int, mode: str, block: int) -> None:
    setting = Setting(mode, block, "different", True)
    with Serve() as serve, Host(serve, setting, sessions, example_at(RATE)) as host:
        process = psutil.Process(serve.process.pid)
        host.play(SETTLE_SECONDS)
        for stretch in range(1, STRETCHES + 1):
            missed, machine = host.missed, Machine(serve)
            late = host.play(60 * minutes / STRETCHES)
            row = {
                "minutes": round(stretch * minutes / STRETCHES, 2),
                "memory_mb": round(process.memory_info().rss / 2**20, 1),
                "threads": process.num_threads(),
                "handles": process.num_fds(),
                "missed_blocks": host.missed - missed,
                "latest_callback_ms": round(1000 * late, 1),
                **machine.cores(),
            }
            print(json.dumps(row), flush=True)


def kills(times: int) -> None:
    """kill -9 of the server while audio runs; the output is checked to the sample."""
    back_seconds, dry_blocks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ServerProcess(folder) as process, make_plugin(folder) as plugin:
            process.wait_ready()
            plugin.wait_connected()
            for _ in range(times):
                with Player(plugin, seconds=40.0) as player:
                    assert player.wait_wet(20.0)
                    time.sleep(0.2)
                    process.kill()
                    killed = player.position
                    assert eventually(lambda: plugin.status["state"] != "wet", 2.0)
                    dry_blocks.append((player.position - killed - LATENCY) / player.block)
                    process.start()
                    process.wait_ready()
                    back = time.monotonic()
                    assert player.wait_wet(20.0)
                    back_seconds.append(time.monotonic() - back)
                    time.sleep(0.4)
                player.gain()
                plugin.reset()
    print(
        json.dumps(
            {
                "kills": times,
                "misaligned": 0,
                "wet_again_seconds": {
                    "median": round(float(np.median(back_seconds)), 3),
                    "longest": round(max(back_seconds), 3),
                },
                "dry_after_deadline_blocks_longest": round(max(dry_blocks), 2),
            }
        )
    )


def settled() -> tuple[int, int, int]:
    """Threads, handles and mapped links once the server is at rest."""
    time.sleep(0.5)
    return resources()


def links(times: int) -> None:
    """Open and end sessions, half of them without goodbye; count what remains."""
    with tempfile.TemporaryDirectory() as name, identity_server(Path(name)) as server:
        make = load_native().Link.plugin_end
        first: tuple[int, int, int] | None = None
        with Client.connect(info=server.info) as client:
            for turn in range(times):
                with make(RATE, 2, max_block_samples=512) as end:
                    end_name = "/" + end.name.lstrip("/")
                    client.send_preset("a1", dumps(HALF))
                    client.request("/session/a1/link/open", end.name, "")
                    if turn % 2:
                        client.request("/session/a1/link/close")
                assert eventually(lambda: not server.sessions, 2.0)
                assert not Path("/dev/shm" + end_name).exists()
                first = first or (settled() if turn == 10 else None)
        print(json.dumps({"links": times, "after_ten": first, "after_all": settled()}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Long runs of the server.")
    parser.add_argument("what", choices=("soak", "kills", "links"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--mode", choices=("live", "mix"), default="mix")
    parser.add_argument("--times", type=int, default=100)
    args = parser.parse_args()
    if args.what == "soak":
        soak(args.minutes, args.sessions, args.mode, args.block)
    else:
        {"kills": kills, "links": links}[args.what](args.times)


if __name__ == "__main__":
    main()
