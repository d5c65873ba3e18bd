"""Slow requests, off the OSC thread: a few threads, in order for each session.

Requests of one key (a session's id) run one after the other in the order they came;
different keys run side by side, so that loading weights for one plugin does not hold up
the others. A key with too much waiting is refused rather than queued without end.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .log import LOGGER, event
from .protocol import RequestError

MOST_WAITING = 64


class Control:
    """Owns its threads until `close`, which lets running work finish and drops the rest."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stembridge-control")
        self._queues: dict[str, deque[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._closing = False

    def run(self, key: str, work: Callable[[], None]) -> None:
        """Run `work` after what was given before for `key`.

        Raises:
            RequestError: "busy" when too much waits already.
        """
        with self._lock:
            if self._closing:
                raise RequestError("server", "The server is ending. Start it again.")
            queue = self._queues.get(key)
            if queue is not None:
                if len(queue) >= MOST_WAITING:
                    raise RequestError("busy", "Too many requests wait. Send them more slowly.")
                queue.append(work)
                return
            self._queues[key] = deque([work])
            self._pool.submit(self._drain, key)

    def _drain(self, key: str) -> None:
        while True:
            with self._lock:
                queue = self._queues[key]
                if not queue or self._closing:
                    del self._queues[key]
                    return
                work = queue.popleft()
            try:
                work()
            except Exception as error:
                event("A request failed", level=logging.ERROR, reason=error)
                LOGGER.debug("traceback", exc_info=error)

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self._pool.shutdown(wait=True, cancel_futures=True)
