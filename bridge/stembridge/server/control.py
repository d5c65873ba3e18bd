"""Slow requests, off the OSC thread: a few threads, in order for each session.

Requests of one key (a session's id) run one after the other in the order they came;
different keys run side by side, so that loading weights for one plugin does not hold up
the others. A key with too much waiting is refused rather than queued without end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from .ending import Ending
from .log import failure
from .protocol import RequestError

MOST_WAITING = 64


class Control:
    """Owns its threads until `close`, which drops what waits and gives running work some time."""

    def __init__(self, threads: int = 2) -> None:
        self._queues: dict[str, deque[Callable[[], None]]] = {}
        self._due: deque[str] = deque()  # keys that no thread works on yet
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"stembridge-control-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, key: str, work: Callable[[], None]) -> None:
        """Run `work` after what was given before for `key`.

        Raises:
            RequestError: "busy" when too much waits already.
        """
        with self._changed:
            if self._closing:
                raise RequestError("server", "The server is ending. Start it again.")
            queue = self._queues.get(key)
            if queue is not None:
                if len(queue) >= MOST_WAITING:
                    raise RequestError("busy", "Too many requests wait. Send them more slowly.")
                queue.append(work)
                return
            self._queues[key] = deque([work])
            self._due.append(key)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closing)
                if self._closing:
                    return
                key = self._due.popleft()
            self._drain(key)

    def _drain(self, key: str) -> None:
        while True:
            with self._changed:
                queue = self._queues[key]
                if not queue or self._closing:
                    del self._queues[key]
                    return
                work = queue.popleft()
            try:
                work()
            except Exception as error:
                failure("A request failed", error)

    def close(self, ending: Ending | None = None) -> None:
        """Weights that are being read cannot be interrupted: they get what time `ending` has."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        ending = ending or Ending()
        for thread in self._threads:
            ending.join(thread)
