"""A small local server that speaks the model hub's protocol, for tests of downloading.

It serves files under `/REPO/resolve/main/PATH` (and `/spaces/…`) with the headers that the
hub's client reads, understands ranges, and can be told to fail: cut a transfer short, hide a
file, or send other bytes than its hash promises.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What is served, and how it misbehaves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: int | None = None
        """Close the connection after so many bytes of a body, once per request."""
        self.lie = False
        """Send other bytes than the hash says."""
        self.ignore_ranges = False
        self.requests: list[tuple[str, str, str]] = []
        self.url = ""

    def add(self, repo: str, path: str, body: bytes, kind: str = "") -> None:
        self.files[f"/{kind}{repo}/resolve/main/{path}"] = body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        wanted = self.headers.get("Range", "")
        self.hub.requests.append((self.command, path, wanted))
        content = self.hub.files.get(path)
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted.startswith("bytes=") and not self.hub.ignore_ranges:
            start = int(wanted[6:].split("-")[0])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        digest = hashlib.sha256(content).hexdigest()
        sent = bytes(len(content)) if self.hub.lie else content
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-ETag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if not body:
            return
        rest = sent[start:]
        if self.hub.cut_after is not None and len(rest) > self.hub.cut_after:
            self.wfile.write(rest[: self.hub.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(rest)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free loopback port."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
