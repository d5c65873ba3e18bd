"""The thread that looks after sessions and subscribers: heartbeats, ends, status messages.

Ten times a second it beats each link and closes sessions whose plugin has gone; as often
as subscribers asked it sends status, levels and spectra. It sleeps in between, and sends
nothing to clients that have fallen silent.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .clients import SERVER, Client, Subscription
from .ending import Ending
from .log import event, failure
from .reports import pairs, server_status, session_status

if TYPE_CHECKING:
    from .server import Server

BEAT_SECONDS = 0.1


class Housekeeping:
    """Owns one thread from `start` to `close`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="stembridge-house", daemon=True)
        self._empty_since = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def close(self, ending: Ending | None = None) -> None:
        self._closing = True
        self._wake.set()
        (ending or Ending()).join(self._thread)

    def wake(self) -> None:
        """A new subscription: look again when to send next."""
        self._wake.set()

    def _run(self) -> None:
        next_beat = time.monotonic()
        while not self._closing:
            now = time.monotonic()
            try:
                if now >= next_beat:
                    next_beat = max(next_beat + BEAT_SECONDS, now)
                    self._look_after(now)
                self._send_due(now)
            except Exception as error:  # the house is kept whatever happens
                failure("Housekeeping failed", error)
            wait = next_beat - time.monotonic()
            next_due = self._server.clients.next_due()
            if next_due is not None:
                wait = min(wait, next_due - time.monotonic())
            self._wake.wait(max(0.002, wait))
            self._wake.clear()

    def _look_after(self, now: float) -> None:
        server = self._server
        sessions = server.all_sessions()
        if server.calm is not None:
            server.calm.settle(session.separator for session in sessions)
        for session in sessions:
            reason = session.check()
            if reason:
                server.close_session(session.id, reason, session)
            else:
                server.prober.look_at(session)
        server.clients.forget_silent()
        if server.sessions:
            self._empty_since = now
            server.had_session = True
        elif server.options.auto_exit_seconds is not None:
            limit = server.options.auto_exit_seconds
            if not server.had_session:
                limit = max(limit, server.options.first_session_seconds)
            if now - self._empty_since > limit:
                event("Nobody is here any more")
                server.stop("no plugin left")

    def _send_due(self, now: float) -> None:
        for client, key, subscription, last in self._server.clients.due(now):
            if key == SERVER:
                values = pairs(server_status(self._server))
                self._server.osc.send(client.address, "/server/status", *values)
            else:
                self._send_session(client, key, subscription, last)

    def _send_session(self, client: Client, id: str, wanted: Subscription, last: float) -> None:
        session = self._server.sessions.get(id)
        if session is None:
            return
        send, path = self._server.osc.send, f"/session/{id}"
        send(client.address, f"{path}/status", *pairs(session_status(session)))
        send(client.address, f"{path}/levels", *session.meters.levels(last))
        if wanted.spectrum:
            newest, shown = session.shown
            for place, target, remainder in session.meters.columns(
                session.sample_rate, wanted.place
            ):
                at = max(0.0, shown - (newest - place) / session.sample_rate)
                at = at if session.learning.tape is not None else -1.0
                send(client.address, f"{path}/spectrum", target, remainder, at)
                wanted.place = place
