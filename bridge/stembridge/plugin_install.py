"""Put the built plugin where hosts look for it, and tell it how to start the server.

`install` copies (or links) each bundle beside its place and renames it, so that a host never
sees half a bundle, and writes `launcher.json` into the state folder: the command, with this
very Python, that the plugin runs when a render needs a server or a person presses Start.
Only bundles that carry our own mark are replaced or removed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import NotAvailableError

MARK = "stembridge-plugin.json"
LAUNCHER = "launcher.json"
AUTO_EXIT_SECONDS = 120
KINDS = ("VST3", "LV2", "AU") if sys.platform == "darwin" else ("VST3", "LV2")
_SUFFIX = {"VST3": ".vst3", "LV2": ".lv2", "AU": ".component"}


@dataclass(frozen=True)
class Installed:
    """One plugin format here. `state`: "current", "other version", "foreign" or "absent"."""

    kind: str
    path: Path
    state: str
    version: str = ""
    linked: bool = False


def plugin_folder(kind: str) -> Path:
    """The user's own folder for plugins of that kind."""
    home = Path.home()
    if sys.platform == "darwin":
        part = {"VST3": "VST3", "LV2": "LV2", "AU": "Components"}[kind]
        return home / "Library/Audio/Plug-Ins" / part
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
        common = local / "Programs/Common/VST3"
        return common if kind == "VST3" else Path(os.environ.get("APPDATA", local)) / "LV2"
    return home / {"VST3": ".vst3", "LV2": ".lv2"}[kind]


def installed_path(kind: str) -> Path:
    """Where `install` puts the bundle of that kind."""
    return plugin_folder(kind) / f"Stembridge{_SUFFIX[kind]}"


def _mark_of(bundle: Path) -> Path:
    inner = bundle / "Contents" / "Resources"
    return (inner if (bundle / "Contents").is_dir() else bundle) / MARK


def look(kind: str) -> Installed:
    """What is there now."""
    path = installed_path(kind)
    if not path.exists() and not path.is_symlink():
        return Installed(kind, path, "absent")
    try:
        version = str(json.loads(_mark_of(path).read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return Installed(kind, path, "foreign", linked=path.is_symlink())
    state = "current" if version == __version__ else "other version"
    return Installed(kind, path, state, version, path.is_symlink())


def install(artefacts: Path, link: bool = False, kinds: tuple[str, ...] = KINDS) -> list[Path]:
    """Copy or link the built bundles to the user's folders and write the launcher.

    Raises:
        NotAvailableError: a bundle was not built, something that is not ours is in the
            place, or the folder cannot be written. What was there before stays then.
    """
    placed = []
    for kind in kinds:
        source = artefacts / kind / f"Stembridge{_SUFFIX[kind]}"
        if not source.is_dir():
            raise NotAvailableError(f"The build has no {kind} ({source}). Build again.")
        placed.append(_place(source, kind, link))
    write_launcher()
    return placed


def _place(source: Path, kind: str, link: bool) -> Path:
    target = installed_path(kind)
    if look(kind).state == "foreign":
        raise NotAvailableError(
            f"{str(target)!r} is there already and was not installed by this command. Move it "
            "away, then install again."
        )
    try:
        mark = _mark_of(source)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"version": __version__, "kind": kind}), encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".stembridge-", dir=target.parent) as scratch:
            fresh = Path(scratch) / target.name
            if link:
                fresh.symlink_to(source.resolve(), target_is_directory=True)
            else:
                shutil.copytree(source, fresh)
            before = Path(scratch) / "before"
            if target.exists() or target.is_symlink():
                target.rename(before)
            try:
                fresh.rename(target)
            except OSError:
                if os.path.lexists(before):
                    before.rename(target)
                raise
    except OSError as error:
        raise NotAvailableError(
            f"Cannot write {str(target)!r} ({error.strerror}). Make its folder writable, or end "
            "the host that uses the plugin, then install again."
        ) from error
    return target


def uninstall() -> list[Path]:
    """Remove our bundles and the launcher. Returns what was removed; foreign bundles stay."""
    removed = []
    for kind in KINDS:
        one = look(kind)
        if one.state in ("absent", "foreign"):
            continue
        if one.linked:
            one.path.unlink()
        else:
            shutil.rmtree(one.path)
        removed.append(one.path)
    launcher = launcher_path()
    if launcher.is_file():
        launcher.unlink()
        removed.append(launcher)
    return removed


def launcher_path() -> Path:
    """The file that tells the plugin how to start the server."""
    from .server.files import state_folder

    return state_folder() / LAUNCHER


def launcher_command() -> list[str]:
    """The server of this very Python; it ends by itself when the last plugin has gone."""
    options = ["--ensure", "--auto-exit", str(AUTO_EXIT_SECONDS)]
    return [sys.executable, "-m", "stembridge", "serve", *options]


def write_launcher() -> Path:
    """Write the launcher, for this user only, in one step."""
    path = launcher_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(
            json.dumps({"version": 1, "command": launcher_command()}, indent=2), encoding="utf-8"
        )
        temporary.chmod(0o600)
        temporary.replace(path)
    except OSError as error:
        raise NotAvailableError(
            f"Cannot write {str(path)!r} ({error.strerror}). Make its folder writable."
        ) from error
    return path


def read_launcher() -> list[str]:
    """The command in the launcher; empty if there is none or it is damaged."""
    try:
        command = json.loads(launcher_path().read_text(encoding="utf-8"))["command"]
        return [str(word) for word in command]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def status() -> dict[str, Any]:
    """Everything about the plugin on this machine, as plain data."""
    from .server.running import find_running

    command = read_launcher()
    running = find_running()
    return {
        "plugins": [
            {
                "kind": one.kind,
                "path": str(one.path),
                "state": one.state,
                "version": one.version,
                "linked": one.linked,
            }
            for one in map(look, KINDS)
        ],
        "launcher": {
            "path": str(launcher_path()),
            "command": command,
            "works": bool(command) and Path(command[0]).is_file(),
            "this_python": command == launcher_command(),
        },
        "server": None
        if running is None
        else {"pid": running.pid, "port": running.port, "version": running.version},
    }
