"""Is this file what was published? Hashes, and the book of those that were seen before.

A file that just arrived must have the published hash (as far as it is known), the one that the
hub promises, and the one it had when it was downloaded before, so that a file that changed at
its origin is noticed. What does not match is removed and never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from . import checkpoints
from .checkpoints import Published, PublishedFile
from .errors import CheckpointError


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_hash(file: PublishedFile, found: str) -> None:
    """Compare with the published hash, as far as it is known.

    Raises:
        CheckpointError: if they differ.
    """
    begin, _, end = file.sha256.partition("…")
    if not found.startswith(begin) or not found.endswith(end or begin[len(begin) :]):
        raise wrong_file(file, f"SHA-256 {found} instead of {file.sha256}")


def wrong_file(file: PublishedFile, what: str) -> CheckpointError:
    """The error about a download that is not what was published."""
    return CheckpointError(
        f"{file.filename} from {file.origin} is not the published file ({what}); it was thrown "
        "away. Run the command again; if it happens again, do not use that source."
    )


def verify(system: Published, file: PublishedFile, path: Path) -> None:
    """Check a file that just arrived: the published hash, the hub's own, and the one that was
    remembered from an earlier download.

    Raises:
        CheckpointError: if one differs; the file is removed.
    """
    found = sha256_of(path)
    blob = path.resolve()
    promised = blob.name if re.fullmatch("[0-9a-f]{64}", blob.name) else found
    remembered = _remembered().get(f"{system.name}/{file.filename}", found)
    try:
        check_hash(file, found)
        if found != promised:
            raise wrong_file(file, f"SHA-256 {found} instead of the hub's {promised}")
        if found != remembered:
            raise wrong_file(
                file, f"SHA-256 {found}; when it was fetched before it was {remembered}"
            )
    except CheckpointError:
        path.unlink()
        if blob != path:
            blob.unlink(missing_ok=True)
        raise
    _remember(f"{system.name}/{file.filename}", found)


def _book() -> Path:
    return checkpoints.cache_folder() / "hashes.json"


def _remembered() -> dict[str, str]:
    try:
        book = json.loads(_book().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return book if isinstance(book, dict) else {}


def _remember(key: str, digest: str) -> None:
    book = _remembered() | {key: digest}
    path = _book()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(book, indent=1), encoding="utf-8")
    partial.replace(path)
