"""`stembridge serve`: run the separation server that the plugin talks to.

One server per user. It listens on this machine alone unless --osc-anywhere is given, logs
one line per event to standard error, and ends on Ctrl-C, on `stembridge ctl quit`, or with
--auto-exit when the last plugin has gone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import add_verb, positive_float, positive_int

_EPILOG = """examples:
  stembridge serve
  stembridge serve --ensure --auto-exit 60     what the plugin runs
  stembridge serve --json-logs 2> server.log
  stembridge serve --osc-host 0.0.0.0 --osc-anywhere --osc-port 9137    for a tablet"""


def add_parser(subparsers: Any) -> None:
    """Describe the verb."""
    parser = add_verb(subparsers, "serve", "run the server that the plugin talks to", _EPILOG)
    parser.add_argument("--osc-host", default="127.0.0.1", metavar="ADDRESS", help="to listen on")
    parser.add_argument(
        "--osc-port", type=_port, metavar="N", help="default: 9137 if free, else any"
    )
    parser.add_argument(
        "--osc-anywhere",
        action="store_true",
        help="allow an --osc-host that others in the network can reach",
    )
    parser.add_argument(
        "--ensure", action="store_true", help="be content (exit 0) if a server runs already"
    )
    parser.add_argument(
        "--auto-exit",
        nargs="?",
        const=30.0,
        type=positive_float,
        metavar="SECONDS",
        help="end so long after the last plugin has gone (default of the option: 30)",
    )
    parser.add_argument(
        "--allow-folder",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="let every client open presets and examples in it; may be given again",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="calls at the same time (default: cores over --threads, at most 4)",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="cores for one call (default: 2 where there are two)",
    )
    parser.add_argument("--no-batching", action="store_true", help="separate each session alone")
    parser.add_argument("--json-logs", action="store_true", help="one JSON object per line")
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("give a port from 0 (any) to 65535")
    return value


def run(args: argparse.Namespace) -> int:
    """Serve until asked to end."""
    from ..errors import ServerError
    from ..server import log
    from ..server.running import find_running

    log.start(as_json=args.json_logs, quiet=args.quiet)
    if args.ensure and (info := find_running()) is not None:
        log.event("A server runs already", host=info.host, port=info.port, pid=info.pid)
        return 0
    try:
        return _serve(args)
    except ServerError:
        # Two were started together: the other one has the lock and is about to answer.
        if args.ensure and (info := find_running(wait_seconds=10.0)) is not None:
            log.event("A server runs already", host=info.host, port=info.port, pid=info.pid)
            return 0
        raise


def _serve(args: argparse.Namespace) -> int:
    import logging
    import os
    import signal

    from ..server.log import event
    from ..server.osc import check_host

    check_host(args.osc_host, args.osc_anywhere)  # before the seconds that torch takes
    import torch

    from ..separators.side_by_side import use_cores
    from ..server import Server

    torch.set_num_threads(1)  # sessions, batches and networks are what runs side by side
    cores = os.cpu_count() or 1
    # One call on two cores is over sooner than two calls on one each, so that more fit into a
    # deadline (measured: bridge/docs/server.md, Figures).
    threads = args.threads or min(2, cores)
    workers = args.workers or max(1, min(4, cores // threads))
    use_cores(threads, workers)
    server = Server(
        osc_host=args.osc_host,
        osc_port=args.osc_port,
        osc_anywhere=args.osc_anywhere,
        workers=workers,
        batching=not args.no_batching,
        auto_exit_seconds=args.auto_exit,
        allowed_folders=tuple(args.allow_folder),
        own_process=True,
    )

    asked: list[int] = []  # a handler may interrupt any line: it only takes a note
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: asked.append(number))
    with server:
        while not server.wait(0.2):
            if asked:
                server.stop(signal.Signals(asked[0]).name)
    if server.unfinished:
        # Threads inside torch: neither waited for, nor pulled from under the interpreter's feet.
        event("Ended in the middle of work", level=logging.WARNING, threads=server.unfinished)
        logging.shutdown()
        os._exit(0)
    return 0
