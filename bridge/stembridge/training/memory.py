"""Keep freed memory in the process, so that big tensors do not fault their pages in anew.

The GNU C library hands large freed blocks straight back to the kernel. A training step
allocates such blocks at each layer, so it faults the same pages in again and again:
measured 0.93 s of CPU for a step of four examples without, 0.83 s with this. Linux with
glibc only; elsewhere nothing is done. The price is that the process keeps its peak.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask malloc to keep what is freed; returns whether it will. Call once, early."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    done = [
        mallopt(_M_MMAP_THRESHOLD, _LARGEST),
        mallopt(_M_TRIM_THRESHOLD, _LARGEST),
        mallopt(_M_TOP_PAD, 256 * 2**20),
    ]
    return all(done)
