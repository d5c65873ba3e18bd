"""What would hold up every session at once, and how that is avoided: Python's collector and lock.

A step in live may take 40 ms. Two things of Python can take longer, whatever the network costs:

- A full garbage collection stops all threads while it looks at every object there is: 87 ms
  with torch and a separator loaded (186,000 objects). What is there once a separator is loaded
  stays, so it is frozen, and later collections look only at what is new.
- A thread that is at Python (OSC, status, a preset that is read) keeps Python's lock for 5 ms
  before it must share. A step asks for the lock a few hundred times, after each operation of
  torch. Turns of 0.5 ms keep the sum small.

Both settings belong to the whole process, so a server takes hold of them only where the process
is its own (`stembridge serve`), and `close` undoes them. Frozen objects are freed as always when
nobody refers to them. Only cycles among them stay until `close`: in a script of the user's, a
plugin in pedalboard (each refers to itself through its parameters) would be dropped and live on
and keep its session. Here the freezing is done once for each separator, not for each session.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import Any

SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python's lock when others wait for it."""


class Calm:
    """Takes hold of the process's settings until `close`. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(self._interval, SWITCH_SECONDS))
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def settle(self, separators: Iterable[object]) -> None:
        """Freeze what is there if one of these separators is new. Takes no time to speak of."""
        with self._lock:
            new = [separator for separator in separators if separator not in self._known]
            if new:
                self._known.update(new)
                gc.freeze()

    def clean(self, separator: object) -> None:
        """The same after a last collection of everything, which takes its time."""
        gc.collect()
        self.settle([separator])

    def close(self) -> None:
        """The collector sees everything again, and threads take turns as before."""
        gc.unfreeze()
        sys.setswitchinterval(self._interval)
