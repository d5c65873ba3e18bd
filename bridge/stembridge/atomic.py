"""Files that appear whole or not at all: written beside their place, then renamed.

A `Draft` owns one temporary file in the folder of the wanted one. `commit` makes it
durable and moves it into place in one step; `discard`, or leaving the context by any
exception, removes it together with the folders that were made for it. Without `overwrite`
an existing file wins, even one that appeared in the meantime. `WholeOrNothing` is the
context that drafts share with the files and sets of files that are built on them.
"""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self


class WholeOrNothing(ABC):
    """As a context: what was written is kept on a clean end, and removed after any exception."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is not in place yet; nothing happens to what is."""

    @abstractmethod
    def _keep(self) -> None:
        """Put everything in its place."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._keep()
        finally:
            self.discard()


class Draft(WholeOrNothing):
    """A file being written; `temporary` is the path to write to, `path` the wanted place.

    Raises:
        FileExistsError: at once or on `commit`, if `path` exists and `overwrite` is False.
        OSError: whatever the folder or the disk says.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.path = path
        self.overwrite = overwrite
        self._made: list[Path] = []
        self._open = True
        if path.is_dir():
            raise IsADirectoryError(21, "Is a folder", str(path))
        if not overwrite and os.path.lexists(path):
            raise FileExistsError(17, "File exists", str(path))
        try:
            self._make_folders(path.parent)
            # Made by hand and not by `tempfile`, whose files only the owner may read.
            self.temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.part"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(self.temporary, flags, 0o666))
        except BaseException:
            self._remove_folders()
            raise

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            try:
                made.mkdir()
            except FileExistsError:
                continue
            self._made.append(made)

    def _remove_folders(self) -> None:
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                break

    def commit(self) -> Path:
        """Make the file durable and move it to its place, which is returned."""
        try:
            with self.temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if self.overwrite:
                self.temporary.replace(self.path)
            else:
                self._move_without_overwriting()
        except BaseException:
            self.discard()
            raise
        self._open = False
        return self.path

    def _move_without_overwriting(self) -> None:
        try:
            os.link(self.temporary, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(self.path):
                raise FileExistsError(17, "File exists", str(self.path)) from None
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink()

    def discard(self) -> None:
        """Remove what was written; nothing happens after `commit`."""
        if self._open:
            self._open = False
            self.temporary.unlink(missing_ok=True)
            self._remove_folders()

    def _keep(self) -> None:
        if self._open:
            self.commit()


def write_text_whole(path: Path, text: str, overwrite: bool = False) -> Path:
    """Write a UTF-8 text file as a `Draft`; returns `path`. Raises OSError."""
    with Draft(path, overwrite) as draft:
        draft.temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
