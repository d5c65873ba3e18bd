"""The plugin's side of a session in Python: what the DAW plugin does, for scripts and tests.

`process` is the audio callback: it never waits (unless told that rendering is offline) and
plays aligned dry audio whenever no server answers. Everything else happens on one
background thread: heartbeats, finding the server, giving it the preset, opening the link, and
the same again when a server comes back. The latency is constant from `prepare` on.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ServerError, StembridgeError
from ..presets import Preset, dumps, loads
from ..prompts import NamePrompt
from ..separators.auto import AUTO
from .client import Client, Event
from .native import load_native
from .protocol import PART_BYTES

HOUSEKEEPING_SECONDS = 0.05
RETRY_SECONDS = 0.25
PING_SECONDS = 5.0
HELLO_SECONDS = 1.0
"""Short, since the heartbeat waits meanwhile."""


class PluginEnd:
    """One plugin instance. Use as a context manager, or `close` it.

    Args:
        preset: what the session plays; a `Preset` or its text.
        sample_rate: in Hz. channels: 1 to 8. max_block_samples: the largest block.
        latency_samples: to report; by default asked of the server, which must run then.
        id: the session's id in OSC paths; by default a random one.
        folder: of the server's file, if not the user's.

    Raises:
        ServerError: no latency given and no server there to ask.
    """

    def __init__(
        self,
        preset: Preset | str,
        sample_rate: float,
        channels: int = 2,
        *,
        max_block_samples: int = 8192,
        latency_samples: int | None = None,
        id: str = "",
        folder: Path | None = None,
    ) -> None:
        self.id = id or f"python-{secrets.token_hex(4)}"
        self.message = "Looking for the server."
        self.events: list[Event] = []
        """What the server sent unasked; the newest 1000."""
        self._text = preset if isinstance(preset, str) else dumps(preset)
        self._folder = folder
        self._client: Client | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._core: Any = load_native().RealtimeCore()
        self.format = (float(sample_rate), channels, max_block_samples)
        if latency_samples is None:
            latency_samples = self._ask_latency()
        self._core.prepare(sample_rate, channels, max_block_samples, latency_samples)
        self._thread = threading.Thread(target=self._run, name=f"plugin-{self.id}", daemon=True)
        self._thread.start()

    def __enter__(self) -> PluginEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session and remove the link."""
        self._closing.set()
        self._thread.join()
        if self._client is not None:
            with contextlib.suppress(StembridgeError):
                self._client.request(f"/session/{self.id}/link/close", timeout_seconds=0.5)
            self._client.close()
        self._core.detach()

    # -- the audio thread ------------------------------------------------------------------

    def process(self, block: np.ndarray, *, offline: bool = False) -> np.ndarray:
        """Float32 `(channels, samples)` to the same shape, `latency_samples` late."""
        return self._core.process(block, offline)

    def reset(self) -> None:
        """Nothing that was fed before is heard afterwards."""
        self._core.reset()

    def set_gains(self, target: float, remainder: float) -> None:
        """Linear; ramped at once, without the server."""
        self._core.set_target_gain(target)
        self._core.set_remainder_gain(remainder)

    # -- everything else -------------------------------------------------------------------

    @property
    def latency_samples(self) -> int:
        return self._core.latency_samples

    @property
    def status(self) -> dict[str, Any]:
        """The core's counters and state; see native/include/stembridge/realtime_core.hpp."""
        return self._core.status()

    @property
    def link_name(self) -> str:
        """Of the shared-memory object, for `link/open`."""
        return self._core.link_name

    def prepare(self, sample_rate: float, max_block_samples: int, latency_samples: int) -> None:
        """A new rate or block size; not while `process` runs."""
        self._core.prepare(sample_rate, self.format[1], max_block_samples, latency_samples)
        self._core.housekeeping()  # a new link has no server yet
        self.format = (float(sample_rate), self.format[1], max_block_samples)

    def wait_connected(self, timeout_seconds: float = 30.0) -> None:
        """Sleep until the server is on the link.

        Raises:
            ServerError: not within the time; the message says what was last tried.
        """
        end = time.monotonic() + timeout_seconds
        while not self._core.attached:
            if time.monotonic() > end:
                raise ServerError(f"Not connected. {self.message}")
            time.sleep(0.01)

    def request(self, verb: str, *values: Any) -> list[Any]:
        """Send `/session/<id>/<verb>` to the server and return its reply."""
        with self._lock:
            if self._client is None:
                raise ServerError(f"Not connected. {self.message}")
            return self._client.request(f"/session/{self.id}/{verb}", *values)

    def _ask_latency(self) -> int:
        rate, _, block = self.format
        with Client.connect(f"plugin {self.id}", folder=self._folder) as client:
            preset, text = loads(self._text), self._text
            if len(text.encode()) > PART_BYTES:  # it has clips, which matter to "auto" alone
                short = replace(preset, keep=(NamePrompt("any"),), remove=(), effects=())
                text = "" if preset.separator == AUTO else dumps(short)
            if len(text.encode()) > PART_BYTES:
                text = ""
            reply = client.request(
                "/latency/get", preset.separator, preset.mode or "mix", round(rate), block, 0, text,
                timeout_seconds=60.0,
            )  # fmt: skip
        return int(reply[0])

    def _run(self) -> None:
        next_try = next_ping = 0.0
        while not self._closing.wait(HOUSEKEEPING_SECONDS):
            self._core.housekeeping()
            now = time.monotonic()
            if not self._core.attached and now >= next_try:
                next_try = now + RETRY_SECONDS
                self._connect()
            elif now >= next_ping:
                next_ping = now + PING_SECONDS
                self._ping()

    def _connect(self) -> None:
        """Give the server the preset and the link's name. Failing is a message, not an error."""
        try:
            client = Client.connect(
                f"plugin {self.id}", folder=self._folder, hello_seconds=HELLO_SECONDS
            )
        except ServerError as error:
            self.message = str(error)
            return
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = client
            try:
                client.timeout_seconds = 60.0
                client.send_preset(self.id, self._text)
                client.request(f"/session/{self.id}/link/open", self.link_name, "")
                client.request(f"/session/{self.id}/status/subscribe", 2.0)
                self.message = "Connected."
            except StembridgeError as error:
                self.message = str(error)
            client.timeout_seconds = 5.0
        self._core.housekeeping()

    def _ping(self) -> None:
        with self._lock, contextlib.suppress(StembridgeError):
            if self._client is not None:
                self._client.request("/server/ping", 1, timeout_seconds=0.5)
                self.events += list(self._client.events(0.0))
                del self.events[:-1000]


def gain(db: float) -> float:
    """Decibels to a linear gain; -60 and less are off."""
    return 0.0 if db <= -60.0 else math.pow(10.0, db / 20.0)
