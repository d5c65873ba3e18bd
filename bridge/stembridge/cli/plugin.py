"""`stembridge plugin`: build, install and look after the DAW plugin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import add_json_argument, add_verb, console_err, console_out, print_json

_EPILOG = """examples:
  stembridge plugin install            build it (minutes, once) and put it where DAWs look
  stembridge plugin install --juce ~/JUCE        with an unpacked JUCE 7.0.x (macOS, Windows)
  stembridge plugin install --built build/plugin     what you have built yourself
  stembridge plugin status
  stembridge plugin path               the VST3, for pedalboard.load_plugin
  stembridge plugin uninstall
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "plugin", "build and install the DAW plugin (VST3, LV2)", epilog=_EPILOG
    )
    parts = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = parts.add_parser("install", help="build it if needed, install it, tell it the Python")
    install.add_argument("--source", type=Path, metavar="FOLDER", help="a clone of Stembridge")
    install.add_argument("--juce", type=Path, metavar="FOLDER", help="an unpacked JUCE 7.0.x")
    install.add_argument("--built", type=Path, metavar="FOLDER", help="take this CMake build")
    install.add_argument("--link", action="store_true", help="link the bundles, do not copy them")
    add_json_argument(install)
    for name, text in (
        ("uninstall", "remove the installed bundles and the launcher"),
        ("status", "what is installed, and does it find its server"),
    ):
        add_json_argument(parts.add_parser(name, help=text))
    path = parts.add_parser("path", help="print where the plugin is installed")
    path.add_argument("--kind", choices=("VST3", "LV2", "AU"), default="VST3")


def run(args: argparse.Namespace) -> int:
    return {"install": _install, "uninstall": _uninstall, "status": _status, "path": _path}[
        args.action
    ](args)


def _install(args: argparse.Namespace) -> int:
    from platformdirs import user_cache_path

    from .. import __version__
    from ..errors import NotAvailableError
    from ..plugin_build import build, source_folder
    from ..plugin_install import install, launcher_path

    note = console_err()
    if args.built is not None:
        artefacts = args.built / "Stembridge_artefacts" / "Release"
        if not artefacts.is_dir():
            raise NotAvailableError(
                f"{str(args.built)!r} is no finished build of the plugin. Build it there first: "
                "cmake --build FOLDER"
            )
    else:
        folder = user_cache_path("stembridge", appauthor=False) / f"plugin-{__version__}"
        with note.status("Building the plugin"):
            artefacts = build(source_folder(args.source), folder, args.juce, note.print)
    placed = install(artefacts, link=args.link)
    if args.json:
        print_json({"installed": [str(path) for path in placed], "launcher": str(launcher_path())})
        return 0
    out = console_out()
    for path in placed:
        out.print(f"Installed {path}", soft_wrap=True)
    out.print(f"The plugin starts the server by {launcher_path()}", soft_wrap=True)
    out.print("Now let your DAW scan its plugins, and put Stembridge on a track.")
    return 0


def _uninstall(args: argparse.Namespace) -> int:
    from ..plugin_install import uninstall

    removed = uninstall()
    if args.json:
        print_json({"removed": [str(path) for path in removed]})
        return 0
    for path in removed:
        console_out().print(f"Removed {path}", soft_wrap=True)
    if not removed:
        console_out().print("Nothing of Stembridge's plugin is installed.")
    return 0


def _status(args: argparse.Namespace) -> int:
    from ..plugin_install import status

    found = status()
    current = all(one["state"] == "current" for one in found["plugins"])
    whole = current and found["launcher"]["works"]
    if args.json:
        print_json(found | {"ok": whole})
        return 0 if whole else 1
    out = console_out()
    for one in found["plugins"]:
        text = one["state"] + (f" {one['version']}" if one["version"] else "")
        out.print(f"{one['kind']:5} {text:14} {one['path']}", soft_wrap=True)
    launcher = found["launcher"]
    if not launcher["command"]:
        out.print("Start  no launcher. Run: stembridge plugin install", soft_wrap=True)
    elif not launcher["works"]:
        out.print(f"Start  its Python is gone: {launcher['command'][0]}. Install again.")
    else:
        mine = "" if launcher["this_python"] else " (of another Python)"
        out.print(f"Start  {' '.join(launcher['command'])}{mine}", soft_wrap=True)
    server = found["server"]
    out.print(
        "Server not running: the plugin starts it for a render, or run: stembridge serve"
        if server is None
        else f"Server {server['version']} runs on port {server['port']}, process {server['pid']}"
    )
    return 0 if whole else 1


def _path(args: argparse.Namespace) -> int:
    from ..errors import NotAvailableError
    from ..plugin_install import look

    one = look(args.kind)
    if one.state == "absent":
        raise NotAvailableError(
            f"The {args.kind} plugin is not installed. Run: stembridge plugin install"
        )
    print(one.path)
    return 0
