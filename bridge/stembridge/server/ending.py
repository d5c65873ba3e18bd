"""Ending in bounded time: a server waits for its threads so long and no longer.

A call into a network, or a checkpoint that is being read, cannot be interrupted. What has not
ended in time is named in `unfinished` and left alone: all threads of the server are daemons
that touch nothing once their present work is done, and the process may end under them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

CLOSE_SECONDS = 8.0
LEAST_SECONDS = 0.5
"""Each part gets so much at least, so that one that hangs does not make others look so."""


class Ending:
    """One closing of a server, with a time for all of its parts together."""

    def __init__(self, seconds: float | None = None) -> None:
        limit = CLOSE_SECONDS if seconds is None else seconds
        self._end = time.monotonic() + limit
        self._least = min(LEAST_SECONDS, limit)
        self.unfinished: list[str] = []
        """Names of the threads that still work."""

    @property
    def left_seconds(self) -> float:
        return max(self._least, self._end - time.monotonic())

    def join(self, thread: threading.Thread | None) -> None:
        """Wait for a thread that was told to end."""
        if thread is None or not thread.is_alive():
            return
        thread.join(self.left_seconds)
        if thread.is_alive():
            self.unfinished.append(thread.name)

    def run(self, work: Callable[[], object], name: str) -> None:
        """Do what may block, beside this thread."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        self.join(thread)
