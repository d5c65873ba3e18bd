"""The server's log: one line per event, for people or (`--json-logs`) for machines.

An event is a sentence and a few named values. `server.log.event` is called from any thread
but never from the one that plays audio, which is in the plugin.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

LOGGER = logging.getLogger("stembridge.server")


def event(text: str, *, level: int = logging.INFO, **values: Any) -> None:
    """Log `text` with `values`, for example `event("Session opened", session="a1")`."""
    LOGGER.log(level, text, extra={"values": values})


def failure(text: str, error: Exception, **values: Any) -> None:
    """Log what should not have happened: an event at level error, its traceback at debug."""
    values.setdefault("reason", error)
    event(text, level=logging.ERROR, **values)
    LOGGER.debug("traceback", exc_info=error)


class HumanFormatter(logging.Formatter):
    """`10:05:12 Session opened (session a1, rate 48000)`."""

    def format(self, record: logging.LogRecord) -> str:
        values = getattr(record, "values", {})
        shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        text = _one_line(f"{mark}{record.getMessage()}" + (f" ({shown})" if shown else ""))
        line = time.strftime("%H:%M:%S ", time.localtime(record.created)) + text
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds), level, event, and the values."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"time": round(record.created, 3), "level": record.levelname.lower()}
        entry |= {"event": record.getMessage(), **getattr(record, "values", {})}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def start(*, as_json: bool = False, quiet: bool = False) -> None:
    """Send the server's events to stderr; `quiet` keeps warnings and errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else HumanFormatter())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.WARNING if quiet else logging.INFO)
    LOGGER.propagate = False


def _one_line(text: str) -> str:
    """No control characters: what a client sends cannot forge a line of the log."""
    return "".join(c if c.isprintable() else "?" for c in text)
