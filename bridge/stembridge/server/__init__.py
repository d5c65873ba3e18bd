"""The separation server: sessions over the shared-memory link, control over OSC.

Layers, arrows downward: `server` (process, lock file, life cycle) → `handlers` (what each
verb does) → `osc` (socket, packets, dispatch) and `engine` (threads, batches, deadlines) →
`session` (one plugin's chain on its link) → `protocol`, `verbs`, `latency`, `files` (data
and pure functions). Only `session` and `engine` touch audio, only `osc` touches the
network, and no work of a network runs on the OSC thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Server, ServerOptions

__all__ = ["Server", "ServerOptions"]


def __getattr__(name: str) -> Any:
    """`Server` is loaded when it is asked for, so that clients need no torch."""
    if name in __all__:
        from . import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
