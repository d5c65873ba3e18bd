"""The server's file and lock: where a running server is found, and that there is one only.

`server.lock` is held with an operating-system lock for as long as the server lives, so a
killed server never leaves a lock behind; `server.json` (mode 0600) tells clients the
port and the token. The token proves that a client may read this user's files. Paths that
a client names are resolved here: without the token, only inside allowed folders.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from platformdirs import user_state_path

from ..errors import ServerError
from .protocol import PROTOCOL, RequestError


def state_folder() -> Path:
    """`$STEMBRIDGE_STATE_DIR`, else the platform's folder for such state (see docs/osc.md)."""
    chosen = os.environ.get("STEMBRIDGE_STATE_DIR")
    return Path(chosen) if chosen else user_state_path("stembridge", appauthor=False)


@dataclass(frozen=True)
class ServerInfo:
    """What `server.json` says."""

    host: str
    port: int
    version: str
    pid: int = field(default_factory=os.getpid)
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    protocol: int = PROTOCOL


def read_info(folder: Path | None = None) -> ServerInfo | None:
    """The server that the file names, or None. The server may be gone: ask it."""
    path = (folder or state_folder()) / "server.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return ServerInfo(**{name: values[name] for name in ServerInfo.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


class ServerLock:
    """The one server of this user. Raises ServerError when another holds the lock.

    Owns `server.lock` (an open, locked file) and `server.json` until `release`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ServerError(
                f"Cannot write {str(self.folder)!r} ({error.strerror}). Make the folder writable "
                "or set STEMBRIDGE_STATE_DIR to another one."
            ) from error
        self._file: IO[bytes] | None = os.fdopen(handle, "r+b")
        if not _try_lock(self._file):
            self._file.close()
            self._file = None
            other = read_info(self.folder)
            where = f" on {other.host}:{other.port}, process {other.pid}" if other else ""
            raise ServerError(
                f"A Stembridge server runs already{where}. Use it, or end it with "
                "'stembridge ctl quit'; 'stembridge serve --ensure' is content with it."
            )

    def publish(self, info: ServerInfo) -> None:
        """Write `server.json` in one step, readable by this user only."""
        temporary = self.folder / f"server.json.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(info), file)
        temporary.replace(self.folder / "server.json")

    def release(self) -> None:
        """Remove `server.json` and let go of the lock. May be called twice."""
        if self._file is not None:
            (self.folder / "server.json").unlink(missing_ok=True)
            self._file.close()
            self._file = None


def is_locked(folder: Path | None = None) -> bool:
    """Whether a server lives there, answering or not; leaves no trace."""
    try:
        with ((folder or state_folder()) / "server.lock").open("r+b") as file:
            return not _try_lock(file)
    except OSError:
        return False


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def allowed_file(name: str, folders: Sequence[Path], trusted: bool) -> Path:
    """The regular file that a request named, with links resolved.

    A relative name is looked up in the allowed folders, in order. An untrusted client gets
    the same refusal whether the file outside exists or not.

    Raises:
        RequestError: "forbidden" outside the folders, "arguments" for what is no file.
    """
    if "\0" in name or not name:
        raise RequestError("arguments", "A file name is empty or has a zero byte. Name a file.")
    path = Path(name).expanduser() if trusted else Path(name)
    candidates = [path] if path.is_absolute() else [folder / path for folder in folders]
    inside: list[Path] = []
    for candidate in candidates:
        try:
            resolved = candidate.resolve()
            allowed = trusted or any(resolved.is_relative_to(f.resolve()) for f in folders)
            if allowed:
                inside.append(resolved)
            if allowed and resolved.is_file():
                return resolved
        except (OSError, RuntimeError):
            continue
    if not inside:
        raise RequestError(
            "forbidden",
            f"{name!r} lies outside the allowed folders. Copy the file there, or start the "
            "server with --allow-folder.",
        )
    raise RequestError("arguments", f"There is no file {name!r}. Check the path.")
