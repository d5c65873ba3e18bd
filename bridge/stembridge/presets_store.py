"""Where presets live: the factory's folder, the user's folder, and any file by path.

Factory presets are read-only and ship with the package. The user's are in the platform's
configuration folder (`STEMBRIDGE_PRESETS` names another). A user's preset of the same name
wins over the factory's, and the list says so. A preset is never half written, and none
is overwritten unless asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from .atomic import write_text_whole
from .errors import PresetError
from .presets_format import dumps, loads
from .presets_limits import MAX_TEXT_BYTES
from .presets_model import Preset, slug_of

SUFFIX = ".preset"
FOLDER_VARIABLE = "STEMBRIDGE_PRESETS"
GROUP_ORDER = ("Stems", "Without", "Vocals", "Practice", "Speech")
"""How lists and menus order the factory's groups; other groups follow by name."""
Origin = Literal["factory", "user"]


@dataclass(frozen=True)
class PresetEntry:
    """One line of the list. `preset` is None where the file is broken; `error` says why.

    `shadows` is True for a user's preset that hides a factory preset of the same name, and
    `hidden` for that factory preset.
    """

    name: str
    slug: str
    origin: Origin
    path: Path
    preset: Preset | None
    error: str = ""
    shadows: bool = False
    hidden: bool = False


def factory_folder() -> Path:
    """The folder of the presets that ship with Stembridge."""
    package = Path(__file__).resolve().parent
    installed = package / "presets_factory"
    return installed if installed.is_dir() else package.parents[1] / "presets"


def user_folder() -> Path:
    """The folder of the user's presets; it need not exist yet."""
    if os.environ.get(FOLDER_VARIABLE):
        return Path(os.environ[FOLDER_VARIABLE]).expanduser()
    import platformdirs

    return Path(platformdirs.user_config_dir("stembridge", appauthor=False)) / "presets"


def read_preset(path: str | Path, origin: Origin | None = None) -> Preset:
    """The preset in the file `path`.

    Raises:
        PresetError: for a missing, unreadable, oversized or broken file, naming it.
    """
    path = Path(path)
    source = f"factory preset {path.name}" if origin == "factory" else str(path)
    try:
        if path.is_dir():
            raise PresetError(f"{path} is a folder. Name a {SUFFIX} file.")
        if path.exists() and not path.is_file():
            # A pipe or a device could be read for ever.
            raise PresetError(f"{path} is not a regular file. Name a {SUFFIX} file.")
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise PresetError(
                f"{path}: size: it is too large for a preset (more than {MAX_TEXT_BYTES >> 20} "
                "MB). Use fewer or shorter example clips."
            )
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise PresetError(
            f"{path}: text: this is not a preset (not UTF-8 text). Check which file it is."
        ) from None
    except FileNotFoundError:
        raise PresetError(f"There is no preset file {path}. Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PresetError(f"{path} cannot be read ({reason}). Check its permissions.") from None
    return loads(text, source=source, folder=path.parent)


def load_preset(name_or_path: str | Path) -> Preset:
    """A preset by name (the user's copy wins over the factory's) or by path.

    What ends in ".preset" or holds a path separator is a path; the rest is a name, in any
    spelling that gives the same slug ("No Bass" finds "no-bass").

    Raises:
        PresetError: naming the nearest presets for an unknown name, or what is wrong in
            the file and what to do.
    """
    word = os.fspath(name_or_path)
    separators = {"/", os.sep, os.altsep or os.sep}
    if isinstance(name_or_path, Path) or word.endswith(SUFFIX) or separators & set(word):
        return read_preset(word)
    slug = slug_of(word)
    for origin, folder in _folders():
        path = _find(folder, slug)
        if path is not None:
            return read_preset(path, origin)
    known = sorted({path.stem for _, folder in _folders() for path in _files(folder)})
    close = get_close_matches(slug, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    raise PresetError(
        f"There is no preset {word!r}. {hint}See the list with: stembridge presets list"
    )


def list_presets() -> list[PresetEntry]:
    """All presets: the user's first, then by group (see `GROUP_ORDER`) and name."""
    found: dict[Origin, dict[str, Path]] = {
        origin: {path.stem: path for path in _files(folder)} for origin, folder in _folders()
    }
    shared = found["user"].keys() & found["factory"].keys()
    entries = []
    for origin, paths in found.items():
        for slug, path in paths.items():
            preset, error = None, ""
            try:
                preset = read_preset(path, origin)
            except PresetError as problem:
                error = str(problem)
            entries.append(
                PresetEntry(
                    name=preset.name if preset else slug,
                    slug=slug,
                    origin=origin,
                    path=path,
                    preset=preset,
                    error=error,
                    shadows=origin == "user" and slug in shared,
                    hidden=origin == "factory" and slug in shared,
                )
            )
    return sorted(entries, key=_place_in_list)


def _place_in_list(entry: PresetEntry) -> tuple[bool, int, str, str]:
    group = entry.preset.group if entry.preset else "\uffff"
    rank = GROUP_ORDER.index(group) if group in GROUP_ORDER else len(GROUP_ORDER)
    return entry.origin != "user", rank, group, entry.slug


def save_preset(preset: Preset, overwrite: bool = False) -> Path:
    """Write a preset into the user's folder as `<slug>.preset`; returns the path.

    Raises:
        PresetError: if it exists and `overwrite` is False, or cannot be written.
    """
    return export_preset(preset, user_folder() / f"{preset.slug}{SUFFIX}", overwrite)


def import_preset(path: str | Path, overwrite: bool = False, name: str = "") -> Path:
    """Check a preset file whole and copy it, clips embedded, into the user's folder."""
    preset = read_preset(path)
    if name:
        preset = replace(preset, name=name)
    return save_preset(preset, overwrite)


def export_preset(preset: Preset | str, path: str | Path, overwrite: bool = False) -> Path:
    """Write a preset (or the one of that name) to `path`, clips embedded: it stands alone.

    A folder as `path` takes the file as `<slug>.preset`.
    """
    if isinstance(preset, str):
        preset = load_preset(preset)
    path = Path(path)
    if path.is_dir():
        path = path / f"{preset.slug}{SUFFIX}"
    _write(path, dumps(preset), overwrite)
    return path


def delete_preset(name: str) -> Path:
    """Delete a preset of the user's (never a factory preset); returns what was its path."""
    path = _find(user_folder(), slug_of(name))
    if path is None:
        raise PresetError(
            f"There is no preset {name!r} of yours. Factory presets cannot be deleted. "
            "See the list with: stembridge presets list"
        )
    path.unlink()
    return path


def _folders() -> tuple[tuple[Origin, Path], ...]:
    return (("user", user_folder()), ("factory", factory_folder()))


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.glob(f"*{SUFFIX}") if not p.name.startswith("."))
    except OSError:
        return []


def _find(folder: Path, slug: str) -> Path | None:
    exact = folder / f"{slug}{SUFFIX}"
    if exact.is_file():
        return exact
    return next((path for path in _files(folder) if slug_of(path.stem) == slug), None)


def _write(path: Path, text: str, overwrite: bool) -> None:
    try:
        write_text_whole(path, text, overwrite)
    except FileExistsError:
        raise PresetError(
            f"{path} exists. Choose another name, or overwrite it: --overwrite"
        ) from None
    except OSError as error:
        raise PresetError(
            f"{path} cannot be written ({error.strerror or error}). Check the folder's "
            f"permissions and space, or set {FOLDER_VARIABLE} to another folder."
        ) from None
