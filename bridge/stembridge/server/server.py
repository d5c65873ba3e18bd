"""The server as an object: `with Server() as server:` listens until the block ends.

It owns, and lets go of in this order: prober and learner, the OSC socket, the house-keeping thread,
the control threads, the engine, the sessions with their links, and the lock. A server that
cannot start leaves nothing behind. `stop` may be called from any thread and only asks;
`wait` returns when it was asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import LinkError, ServerError, StembridgeError
from ..presets import Preset, list_presets
from ..separators import SEPARATORS, Separator, load_separator
from .batches import MOST_IN_BATCH
from .budget import COMPUTE_SECONDS
from .calm import Calm
from .clients import Address, Clients
from .control import Control
from .ending import Ending
from .engine import Engine
from .files import ServerInfo, ServerLock
from .handlers import any_query, server_handlers, why_missing
from .housekeeping import Housekeeping
from .learn_job import Learner
from .log import event
from .native import load_native
from .osc import OscFace, check_host
from .probing import Prober
from .protocol import DEFAULT_PORT, RequestError
from .session import ChainFactory, Session, build_chain
from .session_handlers import SessionHandlers

MOST_SESSIONS = 64
TURN_SECONDS = 10.0
"""How long the end of a session waits for a worker that is in the middle of it."""


@dataclass(frozen=True)
class ServerOptions:
    """How a server runs.

    `osc_port` None takes DEFAULT_PORT if it is free, else any. `auto_exit_seconds` ends the
    server so long after its last session; None keeps it. `osc_anywhere` must be True to
    listen beyond loopback. `preload` names the separator whose weights are read at the start.
    `own_process` says that nothing but the server runs in this process, so that Python's
    collector and lock may be set for it (`calm.py`).
    """

    osc_host: str = "127.0.0.1"
    osc_port: int | None = None
    osc_anywhere: bool = False
    workers: int = 0
    batching: bool = True
    auto_exit_seconds: float | None = None
    first_session_seconds: float = 60.0
    allowed_folders: Sequence[Path] = ()
    preload: str | None = "unet"
    state_folder: Path | None = None
    make_chain: ChainFactory = build_chain
    own_process: bool = False


class Server:
    """The separation server of this user.

    Raises:
        ServerError: another one runs, the port is taken, or the host is not loopback.
        NotAvailableError: the native module is missing.
    """

    def __init__(self, options: ServerOptions | None = None, **more: Any) -> None:
        options = ServerOptions(**more) if options is None else options
        workers = options.workers or max(1, min(4, os.cpu_count() or 1))
        self.options = ServerOptions(**{**vars(options), "workers": workers})
        self.sessions: dict[str, Session] = {}
        self.clients = Clients()
        self.started_seconds = time.monotonic()
        self.had_session = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._presets = (0.0, 0)
        self._native = load_native()
        self._ending: Ending | None = None
        self._closers = contextlib.ExitStack()
        with contextlib.ExitStack() as closers:
            lock = ServerLock(options.state_folder)
            closers.callback(lock.release)
            self.calm = Calm() if self.options.own_process else None
            if self.calm is not None:
                closers.callback(self.calm.close)
            closers.callback(self._close_sessions)
            self.engine = Engine(workers, self._native.wait_any, batching=self.options.batching)
            closers.callback(lambda: self.engine.close(self._ending))
            self.learner = Learner()
            self.prober = Prober()
            self.control = Control()
            closers.callback(lambda: self.control.close(self._ending))
            self.housekeeping = Housekeeping(self)
            closers.callback(lambda: self.housekeeping.close(self._ending))
            self.osc = _listen(self.options, self.clients)
            closers.callback(lambda: self.osc.close(self._ending))
            closers.callback(lambda: self.learner.close(self._ending))
            closers.callback(lambda: self.prober.close(self._ending))
            self.info = ServerInfo(self.osc.host, self.osc.port, __version__)
            self._sweep()
            self.engine.start()
            self.housekeeping.start()
            self.osc.start(server_handlers(self) | SessionHandlers(self).table())
            lock.publish(self.info)
            event("Listening", host=self.osc.host, port=self.osc.port, workers=workers)
            if self.options.preload:
                self.control.run("", lambda: self._preload(str(self.options.preload)))
            self._closers = closers.pop_all()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything; plugins go on with their dry signal. May be called twice.

        Takes a few seconds at most: `unfinished` then names what could not be waited for.
        """
        self._stopped.set()
        self._ending = self._ending or Ending()
        for session in self.all_sessions():
            self.tell(session.id, "closed", "server ends")
        self._closers.close()

    @property
    def unfinished(self) -> list[str]:
        """After `close`: the threads that were at work on something that cannot be interrupted."""
        return [] if self._ending is None else list(self._ending.unfinished)

    def stop(self, reason: str = "") -> None:
        """Ask the server to end. Any thread."""
        if not self._stopped.is_set():
            event("Ending", reason=reason)
        self._stopped.set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Sleep until `stop` was called; False after the time-out."""
        return self._stopped.wait(timeout_seconds)

    # -- sessions --------------------------------------------------------------------------

    def open_session(self, id: str, link_name: str, preset: Preset) -> Session:
        """Attach to a plugin's link and play. An open session of that id moves to the new
        link, or, on the same link, takes the preset.

        Raises:
            StembridgeError: of the link, the preset or the separator; what plays plays on.
        """
        present = self.sessions.get(id)
        if present is not None and present.link_name == link_name:
            present.set_preset(preset)
            return present
        if len(self.sessions) >= MOST_SESSIONS:
            raise RequestError("busy", f"{MOST_SESSIONS} sessions are open. Close one first.")
        link = self._native.Link.server_end(link_name)
        try:
            session = Session(id, link, preset, make_chain=self.options.make_chain)
        except BaseException:
            link.close()
            raise
        if present is not None:
            session.take_learning(present.learning)
        self.close_session(id, "replaced")
        with self._lock:
            self.sessions[id] = session
        self.engine.add(session)
        event(
            "Session opened",
            session=id,
            preset=preset.name,
            mode=session.mode,
            rate=round(session.sample_rate),
            channels=session.channels,
            plugin=link.plugin_pid,
        )
        return session

    def close_session(self, id: str, reason: str, only: Session | None = None) -> None:
        """End a session, whatever it does now. Unknown ids are nothing to do."""
        with self._lock:
            session = self.sessions.get(id)
            if session is None or (only is not None and session is not only):
                return
            del self.sessions[id]
        ending = self._ending
        wait_seconds = TURN_SECONDS if ending is None else ending.left_seconds
        self.engine.remove(session, wait_seconds)
        if not session.close(wait_seconds):
            event("A session's last turn goes on", level=logging.WARNING, session=id)
        self.tell(id, "closed", reason)
        if reason != "replaced":
            self.clients.drop(id)
            self.learner.cancel(session.learning, keep=False)
        event("Session closed", session=id, reason=reason)

    def session(self, id: str) -> Session:
        """Raises RequestError "session" for an unknown id."""
        session = self.sessions.get(id)
        if session is None:
            raise RequestError("session", f"There is no session {id!r}. Open its link first.")
        return session

    def has_session(self, id: str) -> bool:
        return id in self.sessions

    def all_sessions(self) -> list[Session]:
        with self._lock:
            return list(self.sessions.values())

    def tell(self, id: str, name: str, *values: Any, but: Address | None = None) -> None:
        """Send the event `/session/<id>/<name>` to the session's subscribers."""
        for client in self.clients.subscribers(id):
            if client.address != but:
                self.osc.send(client.address, f"/session/{id}/{name}", *values)

    def preset_count(self) -> int:
        """How many presets there are, looked up at most every 5 s."""
        when, count = self._presets
        if time.monotonic() - when > 5.0 or not when:
            count = len([e for e in list_presets() if e.preset is not None and not e.hidden])
            self._presets = (time.monotonic(), count)
        return count

    # -- inside ----------------------------------------------------------------------------

    def _close_sessions(self) -> None:
        for session in self.all_sessions():
            with contextlib.suppress(LinkError):
                self.close_session(session.id, "server ends")

    def _preload(self, separator: str) -> None:
        try:
            loaded = load_separator(separator)
            warm_up(loaded)
            event("Separator ready", name=separator, model=loaded.space)
        except StembridgeError as error:
            event("Separator not ready", level=logging.WARNING, name=separator, reason=error)
            loaded = None
        for entry in SEPARATORS.values():
            why_missing(entry)  # imports it, so that the first `/separator/list` need not
        if loaded is not None and self.calm is not None:
            self.calm.clean(loaded)

    def _sweep(self) -> None:
        swept = self._native.sweep_stale()
        if swept:
            event("Removed links of plugins that died", count=swept)


def warm_up(separator: Separator) -> None:
    """Run first steps of the modes that play, so that no session waits for packed weights, nor
    for what a network prepares at the first call with so many: every number that is in time."""
    if not separator.capabilities.names:
        return
    query = any_query(separator)
    together = getattr(separator, "advance", None)
    random = np.random.default_rng(0)
    for mode in ("mix", "live"):
        if mode not in separator.modes:
            continue
        most = MOST_IN_BATCH if together is not None else 1
        for sessions in range(1, most + 1):
            streams: list[Any] = [separator.stream([query], mode) for _ in range(sessions)]
            began = time.monotonic()
            for stream in streams:
                noise = random.standard_normal((separator.channels, stream.step_samples))
                if together is None:
                    stream.push(noise.astype(np.float32))
                else:
                    stream.feed(noise.astype(np.float32))
            if together is not None:
                together(streams)
            if time.monotonic() - began > COMPUTE_SECONDS[mode]:
                break


def _listen(options: ServerOptions, clients: Clients) -> OscFace:
    check_host(options.osc_host, options.osc_anywhere)
    if options.osc_port is not None:
        return OscFace(options.osc_host, options.osc_port, clients)
    try:
        return OscFace(options.osc_host, DEFAULT_PORT, clients)
    except ServerError:
        return OscFace(options.osc_host, 0, clients)
