"""Where the published checkpoints lie on this machine, and what to do where they do not.

What there is, whose and under which licence is `checkpoints_catalogue`. Nothing is downloaded
unless somebody asks for it (`checkpoints_fetch`). A file is looked for in this order: the path
that the caller gave (a file, or a folder with the published file names), the folder of that
file, the cache. Files of the Hugging Face hub lie in its own cache, all others in
`cache_folder()`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .checkpoints_catalogue import (
    CATALOGUE,
    DEFAULT_VARIANTS,
    Published,
    PublishedFile,
    published,
)
from .errors import CheckpointError, NotAvailableError

__all__ = [
    "CATALOGUE",
    "DEFAULT_VARIANTS",
    "Published",
    "PublishedFile",
    "cache_folder",
    "cached",
    "cached_path",
    "find",
    "missing",
    "missing_all",
    "published",
    "require",
]


def cache_folder() -> Path:
    """Where files from outside the hub are kept; `STEMBRIDGE_MODELS` overrides it."""
    override = os.environ.get("STEMBRIDGE_MODELS")
    if override:
        return Path(override)
    from platformdirs import user_cache_path

    return user_cache_path("stembridge") / "models"


def cached_path(system: Published, file: PublishedFile) -> Path:
    """Where the file is (or would be) in `cache_folder()`."""
    return cache_folder() / (file.shared or system.name.replace(":", "-")) / file.filename


def cached(system: Published, file: PublishedFile) -> Path | None:
    """The file in the caches, or None."""
    own = cached_path(system, file)
    if own.is_file():
        return own
    if not file.repo:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(file.repo, file.path or file.filename, repo_type=file.repo_type)
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def find(name: str, role: str, given: str | Path | None = None) -> Path | None:
    """The file that plays `role` for the system: beside or in `given`, or in the caches.

    A `given` file is itself the "separator"; other roles are looked for in its folder.
    """
    system = published(name)
    file = next(file for file in system.files if file.role == role)
    if given is not None:
        path = Path(given).expanduser()
        if not path.exists():
            raise CheckpointError(f"There is no checkpoint {path}. Check the path.")
        if path.is_file() and role == system.files[0].role:
            return path
        folder = path if path.is_dir() else path.parent
        for candidate in (folder / file.filename, *folder.glob(f"{Path(file.filename).stem}.*")):
            if candidate.is_file():
                return candidate
    return cached(system, file)


def require(name: str, role: str, given: str | Path | None = None) -> Path:
    """Like `find`, or the error that says how to get the file."""
    path = find(name, role, given)
    if path is None:
        system = published(name)
        file = next(file for file in system.files if file.role == role)
        raise NotAvailableError(
            f"{system.name} needs {file.filename!r} ({file.origin}), which is not here. Fetch "
            f"it with `stembridge models fetch {system.name}`, or name the folder that holds "
            "it with --checkpoint."
        )
    return path


def missing_all(*names: str) -> str | None:
    """`missing` of the first variant if none of the variants can run, or None."""
    absent = [missing(name) for name in names]
    return absent[0] if all(absent) else None


def missing(name: str) -> str | None:
    """Why the system cannot run from the caches and what to do, or None."""
    system = published(name)
    absent = [f.filename for f in system.files if cached(system, f) is None]
    needed = [f for f in absent if f not in ("vocab.json", "merges.txt")]
    if not needed:
        return None
    return (
        f"{system.name} has no weights here ({', '.join(needed)}). Fetch them with "
        f"`stembridge models fetch {system.name}`."
    )
