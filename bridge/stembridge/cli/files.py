"""From files and folders on the command line to the audio files they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..audiofile import SUFFIXES
from ..errors import AudioError


def audio_files(names: Sequence[str | Path]) -> list[Path]:
    """The named files, and all audio files in the named folders, to the bottom and sorted.

    Hidden files and folders are left out. Files are not opened.

    Raises:
        AudioError: for a name that does not exist, or a folder without audio.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = songs_in(path)
            if not inside:
                raise AudioError(f"There is no audio in {path}. Name files, or another folder.")
            found.extend(inside)
        elif path.exists():
            found.append(path)
        else:
            raise AudioError(f"There is no file {path}. Check the path.")
    return found


def songs_in(folder: Path) -> list[Path]:
    """The audio files below a folder, by their suffix, without hidden ones."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
