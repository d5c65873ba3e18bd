"""Fetching the published checkpoints of a system, and removing them, when somebody asks for it.

The licence is shown and confirmed before the first byte. A file comes from the caches, from a
folder where it was put by hand, or from its origin (`checkpoints_transfer`); what arrives is
checked (`checkpoints_hashes`) and appears under its name only when whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from . import checkpoints
from .checkpoints import Published, PublishedFile
from .checkpoints_hashes import check_hash, sha256_of, verify
from .checkpoints_transfer import FULL, Report, from_hub, from_url
from .errors import NotAvailableError

__all__ = ["Confirm", "Report", "check_hash", "fetch", "remove", "sha256_of", "verify"]

Confirm = Callable[[Published], bool]
"""Shows the licence; False stops before anything is downloaded."""
SPARE_BYTES = 64 << 20
"""Left free on the disk."""


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
            path = from_hub(file, endpoint, report) if file.repo else from_url(file, target, report)
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
