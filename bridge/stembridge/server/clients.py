"""Who talks to the server: one record per address, with trust and subscriptions.

A client is nothing but the address its datagrams come from. It is forgotten half a minute
after its last message, trust after a minute; a flood of addresses pushes out the oldest
untrusted ones, else the longest silent one, so memory is bounded. Safe from several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

Address = tuple[str, int]

FORGET_SECONDS = 30.0
DISTRUST_SECONDS = 60.0
MOST_CLIENTS = 256
SERVER = ""
"""The subscription key of the server's own status."""


@dataclass
class Subscription:
    """What a client gets of one session (or of the server), and when next."""

    rate_hz: float
    spectrum: bool = False
    next_seconds: float = 0.0
    last_seconds: float = 0.0
    place: int = 0
    """Of the newest column that was sent."""


@dataclass
class Client:
    """One address. Times are monotonic seconds."""

    address: Address
    name: str = ""
    heard_seconds: float = 0.0
    trusted_at: float | None = None
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        return self.trusted_at is not None


class Clients:
    """All clients, by address."""

    def __init__(self) -> None:
        self._clients: dict[Address, Client] = {}
        self._lock = threading.Lock()

    def heard(self, address: Address) -> Client:
        """The client of `address`, new or known, marked as heard now."""
        now = time.monotonic()
        with self._lock:
            client = self._clients.pop(address, None) or Client(address)
            if client.heard_seconds and now - client.heard_seconds > DISTRUST_SECONDS:
                client.trusted_at = None
            client.heard_seconds = now
            self._clients[address] = client  # newest last
            if len(self._clients) > MOST_CLIENTS:
                self._push_out()
            return client

    def _push_out(self) -> None:
        """Room for the newest, which is the last and stays: it cannot be trusted yet."""
        others = list(self._clients.values())[:-1]
        oldest = next((client for client in others if not client.trusted), others[0])
        del self._clients[oldest.address]

    def forget_silent(self) -> None:
        """Drop subscriptions after FORGET_SECONDS, records after DISTRUST_SECONDS."""
        now = time.monotonic()
        with self._lock:
            for client in list(self._clients.values()):
                silent = now - client.heard_seconds
                if silent > FORGET_SECONDS:
                    client.subscriptions.clear()
                if silent > DISTRUST_SECONDS:
                    del self._clients[client.address]

    def subscribe(self, client: Client, key: str, rate_hz: float, spectrum: bool = False) -> None:
        """Set or (rate 0) end a subscription to session `key`, or to SERVER."""
        with self._lock:
            if rate_hz <= 0:
                client.subscriptions.pop(key, None)
            else:
                now = time.monotonic()
                client.subscriptions[key] = Subscription(rate_hz, spectrum, now, now)

    def due(self, now: float) -> list[tuple[Client, str, Subscription, float]]:
        """Subscriptions whose time has come, with the time of their last message."""
        result = []
        with self._lock:
            for client in self._clients.values():
                for key, subscription in client.subscriptions.items():
                    if subscription.next_seconds <= now:
                        last = subscription.last_seconds
                        step = 1.0 / subscription.rate_hz
                        subscription.next_seconds = max(subscription.next_seconds + step, now)
                        subscription.last_seconds = now
                        result.append((client, key, subscription, last))
        return result

    def subscribers(self, key: str) -> list[Client]:
        """The clients subscribed to session `key`."""
        with self._lock:
            return [c for c in self._clients.values() if key in c.subscriptions]

    def next_due(self) -> float | None:
        """When the next message is due (monotonic seconds), None without subscriptions."""
        with self._lock:
            times = [
                subscription.next_seconds
                for client in self._clients.values()
                for subscription in client.subscriptions.values()
            ]
        return min(times, default=None)

    def drop(self, key: str) -> None:
        """End every subscription to session `key`."""
        with self._lock:
            for client in self._clients.values():
                client.subscriptions.pop(key, None)

    def __len__(self) -> int:
        now = time.monotonic()
        with self._lock:
            return sum(now - c.heard_seconds <= FORGET_SECONDS for c in self._clients.values())

    def __iter__(self) -> Iterator[Client]:
        with self._lock:
            return iter(list(self._clients.values()))
