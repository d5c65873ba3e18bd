"""One file from its origin to its place, by a transfer that can be resumed.

Files of the Hugging Face hub go into the hub's own cache: its client tells what there is and
keeps the books, but the transfer is ours, because the client starts a broken one over, and a
file here may have 2 GB. A broken transfer is kept as `NAME.part` and resumed; the size and the
SHA-256 (where known) are checked before the file gets its name. A full disk is left to the
caller, as the OSError it is (`FULL`).
"""

from __future__ import annotations

import errno
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .checkpoints import PublishedFile
from .checkpoints_hashes import check_hash, sha256_of, wrong_file
from .errors import CheckpointError, NotAvailableError, StembridgeError

Report = Callable[[PublishedFile, int, int | None], None]
"""Called with the file, the bytes that are there, and all of them if known."""

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def from_hub(file: PublishedFile, endpoint: str | None, report: Report | None) -> Path:
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
            from_url(stored, blob, report)
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


def from_url(file: PublishedFile, target: Path, report: Report | None) -> Path:
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
        raise wrong_file(file, f"{size} bytes instead of {file.size_bytes}")
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
