"""Downloading published checkpoints, when somebody asks for it.

Files of the Hugging Face hub go into the hub's own cache: its client tells what there is and
keeps the books, but the transfer is ours, because the client starts a broken one over, and a
file here may have 2 GB. A broken transfer is kept and resumed, the size and the SHA-256 (where
known) are checked, and a file appears under its name only when whole. What was downloaded once
is remembered by its hash, so that a file that changed is noticed. The licence is shown and
confirmed before the first byte.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import checkpoints
from .checkpoints import Published, PublishedFile
from .errors import CheckpointError, NotAvailableError, StembridgeError

Confirm = Callable[[Published], bool]
"""Shows the licence; False stops before anything is downloaded."""
Report = Callable[[PublishedFile, int, int | None], None]
"""Called with the file, the bytes that are there, and all of them if known."""

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30
SPARE_BYTES = 64 << 20
"""Left free on the disk."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fetch(
    system: Published,
    confirm: Confirm,
    report: Report | None = None,
    folder: Path | None = None,
    endpoint: str | None = None,
) -> list[Path]:
    """Every file of a system, from the caches, from `folder`, or downloaded.

    Args:
        confirm: asked once, if anything has to be downloaded or taken over.
        report: hears of the progress.
        folder: files that were downloaded by hand, taken over under their published names.
        endpoint: another hub than the public one.

    Raises:
        NotAvailableError: if the licence is not accepted, a file is to be had by hand only, or
            there is no connection or no room.
        CheckpointError: if what arrived is not what was published.
    """
    absent = [file for file in system.files if checkpoints.cached(system, file) is None]
    if absent and not confirm(system):
        raise NotAvailableError(
            f"Nothing was fetched for {system.name}: its terms were not accepted. Run the "
            "command again to see them."
        )
    return [_one(system, file, report, folder, endpoint) for file in system.files]


def _one(
    system: Published,
    file: PublishedFile,
    report: Report | None,
    folder: Path | None,
    endpoint: str | None,
) -> Path:
    path = checkpoints.cached(system, file)
    if path is not None:
        return path
    target = checkpoints.cached_path(system, file)
    given = folder / file.filename if folder is not None else None
    try:
        if given is not None and given.is_file():
            path = _take_over(given, target)
        elif file.page:
            raise NotAvailableError(
                f"{system.name}: {file.filename} can only be fetched by hand. Download it from "
                f"{file.page} and run `stembridge models fetch {system.name} --from FOLDER`."
            )
        else:
            _check_room(file, target)
            path = (
                _from_hub(file, endpoint, report) if file.repo else _from_url(file, target, report)
            )
    except OSError as error:
        if error.errno in FULL:
            raise NotAvailableError(
                f"There is no room for {file.filename}: the disk is full. Make room and run the "
                "command again; what has arrived is kept."
            ) from error
        raise NotAvailableError(
            f"{file.filename} could not be written ({error}). Check the folder "
            f"{checkpoints.cache_folder()}."
        ) from error
    verify(system, file, path)
    if report is not None:
        size = path.stat().st_size
        report(file, size, size)
    return path


def _take_over(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    shutil.copyfile(source, partial)
    partial.replace(target)
    return target


def _check_room(file: PublishedFile, target: Path) -> None:
    folder = target
    if file.repo:
        from huggingface_hub import constants

        folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if file.size_bytes is not None and free < file.size_bytes + SPARE_BYTES:
        raise NotAvailableError(
            f"There is no room for {file.filename}: it has {file.size_bytes / 1e6:.0f} MB, and "
            f"{folder} has {free / 1e6:.0f} MB left. Make room and run the command again."
        )


def _from_hub(file: PublishedFile, endpoint: str | None, report: Report | None) -> Path:
    """Into the hub's cache: the blob by our transfer, its place by the hub's client."""
    from huggingface_hub import (
        constants,
        errors,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
    )
    from huggingface_hub.file_download import repo_folder_name

    path = file.path or file.filename
    try:
        url = hf_hub_url(file.repo, path, repo_type=file.repo_type, endpoint=endpoint)
        told = get_hf_file_metadata(url, endpoint=endpoint)
        folder = repo_folder_name(repo_id=file.repo, repo_type=file.repo_type)
        blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / (told.etag or "")
        if told.etag and not blob.exists():
            stored = replace(file, url=told.location, size_bytes=told.size or file.size_bytes)
            _from_url(stored, blob, report)
        return Path(hf_hub_download(file.repo, path, repo_type=file.repo_type, endpoint=endpoint))
    except errors.GatedRepoError as error:
        raise NotAvailableError(
            f"{file.origin} asks its users to log in and accept its terms. Do so in a browser, "
            "download the file there, and run this command with --from FOLDER."
        ) from error
    except (errors.RemoteEntryNotFoundError, errors.RepositoryNotFoundError) as error:
        raise _gone(file) from error
    except StembridgeError:
        raise
    except Exception as error:  # the client lets its transport's own errors through
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise _unreachable(file, error) from error


def _gone(file: PublishedFile) -> NotAvailableError:
    return NotAvailableError(
        f"{file.filename} is no longer at {file.origin}. If you have the file, run the command "
        "with --from FOLDER, or use --checkpoint."
    )


def _unreachable(file: PublishedFile, error: BaseException) -> NotAvailableError:
    reason = str(error).strip().splitlines()
    return NotAvailableError(
        f"{file.filename} could not be fetched from {file.origin} "
        f"({reason[0][:160] if reason else type(error).__name__}). Check the connection and run "
        "the command again: it goes on where it stopped. Where there is no connection, bring the "
        "files from another machine: --from FOLDER."
    )


def _from_url(file: PublishedFile, target: Path, report: Report | None) -> Path:
    """A plain download with resumption: `NAME.part` until whole."""
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    if file.size_bytes is not None and have > file.size_bytes:
        partial.unlink()
        have = 0
    headers = {"User-Agent": "stembridge"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT_SECONDS
        ) as answer:
            if have and answer.status != http.client.PARTIAL_CONTENT:
                have = 0  # the server starts over
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else file.size_bytes
            partial.parent.mkdir(parents=True, exist_ok=True)
            _pour(answer, partial, have, lambda done: report and report(file, done, total))
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise _gone(file) from error
        if error.code == 416:  # nothing left to send
            total = have
        else:
            raise _unreachable(file, error) from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        raise _unreachable(file, e) from e
    size = partial.stat().st_size
    if total is not None and size < total:
        raise _unreachable(file, ConnectionError(f"{size} of {total} bytes arrived"))
    if file.size_bytes is not None and size != file.size_bytes:
        partial.unlink()
        raise _wrong(file, f"{size} bytes instead of {file.size_bytes}")
    try:
        check_hash(file, sha256_of(partial))
    except CheckpointError:
        partial.unlink()
        raise
    partial.replace(target)
    return target


def _pour(answer: Any, partial: Path, have: int, told: Callable[[int], object]) -> None:
    with partial.open("r+b" if have else "wb") as out:
        out.seek(have)
        while chunk := answer.read(CHUNK_BYTES):
            out.write(chunk)
            told(out.tell())
        out.truncate()


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
        raise _wrong(file, f"SHA-256 {found} instead of {file.sha256}")


def _wrong(file: PublishedFile, what: str) -> CheckpointError:
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
            raise _wrong(file, f"SHA-256 {found} instead of the hub's {promised}")
        if found != remembered:
            raise _wrong(file, f"SHA-256 {found}; when it was fetched before it was {remembered}")
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


def remove(system: Published) -> list[Path]:
    """Delete a system's files from the caches, but for those that another fetched system
    needs, too; returns what was deleted."""
    shared = {
        path
        for other in checkpoints.CATALOGUE.values()
        if other.name != system.name and checkpoints.missing(other.name) is None
        for file in other.files
        if (path := checkpoints.cached(other, file)) is not None
    }
    gone = []
    for file in system.files:
        path = checkpoints.cached(system, file)
        partial = checkpoints.cached_path(system, file)
        partial.with_name(partial.name + ".part").unlink(missing_ok=True)
        if path is None or path in shared:
            continue
        blob = path.resolve()
        path.unlink()
        if blob != path:
            blob.unlink(missing_ok=True)
        gone.append(path)
    return gone
