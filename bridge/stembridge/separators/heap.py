"""Large blocks of memory stay with the process while a separation runs.

The C library (glibc) gives every block of more than 32 MiB back to the system as soon as it is
freed and asks for fresh, zeroed pages at the next one. The networks' tensors are that large, one
after the other, and faulting the pages in again costs more than most operations on them. A
`Hold` keeps what is freed for the next block and gives everything back at its end. Elsewhere
than on glibc it does nothing. The setting belongs to the whole process: it changes speed alone,
counts its users, and is undone when the last one leaves.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import lru_cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Numbers of the settings in malloc.h."""
HELD = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""Where glibc's own adaptation ends once blocks of that size were freed."""

_lock = threading.RLock()  # a hold may be collected while this thread has the lock
_users = 0


@lru_cache(maxsize=1)
def _library() -> Any | None:
    """The C library if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _count(change: int) -> None:
    global _users
    library = _library()
    with _lock:
        before, _users = _users, _users + change
        if library is None or (before > 0) == (_users > 0):
            return
        for setting, value in (HELD if _users else USUAL).items():
            library.mallopt(setting, value)
        if not _users:
            library.malloc_trim(0)


def users() -> int:
    """How many holds are taken in this process."""
    return _users


class Hold:
    """One user's claim on the memory that the process has; given back with the object."""

    def __init__(self) -> None:
        self._taken = False

    def take(self) -> None:
        """Keep freed blocks from now on."""
        if not self._taken:
            self._taken = True
            _count(1)

    def release(self) -> None:
        """Give them back, unless somebody else still holds on."""
        if self._taken:
            self._taken = False
            _count(-1)

    def __del__(self) -> None:
        self.release()
