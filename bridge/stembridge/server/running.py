"""Whether a server of this user runs and answers."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import ServerError
from .client import Client
from .files import ServerInfo, read_info


def find_running(folder: Path | None = None, wait_seconds: float = 0.0) -> ServerInfo | None:
    """The server that answers hello, waiting for it so long; None if there is none."""
    end = time.monotonic() + wait_seconds
    while True:
        info = read_info(folder)
        if info is not None:
            try:
                Client.connect("probe", info=info).close()
                return info
            except ServerError:
                pass
        if time.monotonic() >= end:
            return None
        time.sleep(0.1)
