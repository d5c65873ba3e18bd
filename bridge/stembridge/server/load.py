"""How busy the workers are, and how many sessions share their calls.

The workers add each turn; any thread reads. What is older than some seconds does not count.
"""

from __future__ import annotations

import threading
import time
from collections import deque

WINDOW_SECONDS = 3.0


class Load:
    """Busy seconds and batch sizes over the last seconds. Safe from several threads."""

    def __init__(self) -> None:
        self._turns: deque[tuple[float, float, int]] = deque(maxlen=4096)
        self._lock = threading.Lock()

    def add(self, busy_seconds: float, sessions: int) -> None:
        with self._lock:
            self._turns.append((time.monotonic(), busy_seconds, sessions))

    def read(self) -> tuple[float, float]:
        """Cores used and mean sessions in a batch."""
        since = time.monotonic() - WINDOW_SECONDS
        with self._lock:
            recent = [turn for turn in self._turns if turn[0] > since]
        if not recent:
            return 0.0, 0.0
        busy = sum(turn[1] for turn in recent) / WINDOW_SECONDS
        return busy, sum(turn[2] for turn in recent) / len(recent)
