"""`stembridge models`: the published checkpoints: list, fetch, path, remove."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_json_argument, add_verb, console_err, console_out, print_json

if TYPE_CHECKING:
    from ..checkpoints import Published, PublishedFile

_EPILOG = """examples:
  stembridge models list
  stembridge models fetch clapsep
  stembridge models fetch zeroshot --from ~/Downloads     files that were fetched by hand
  stembridge models fetch tuss:large --yes                in scripts: accept the terms
  stembridge models path uss:classes
  stembridge models remove clapsep
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "models", "fetch and list the published checkpoints", epilog=_EPILOG
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every system's files, size, origin and licence")
    add_json_argument(listing)
    fetching = actions.add_parser("fetch", help="download a system's files, after its licence")
    fetching.add_argument("system", metavar="SYSTEM")
    fetching.add_argument("--yes", action="store_true", help="accept the licence shown")
    fetching.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="take files found here"
    )
    for action, summary in (
        ("path", "where a system's files lie"),
        ("remove", "delete a system's files"),
    ):
        actions.add_parser(action, help=summary).add_argument("system", metavar="SYSTEM")


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "fetch": _fetch, "path": _path, "remove": _remove}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from ..checkpoints import CATALOGUE, cached

    rows = []
    for system in CATALOGUE.values():
        found = {file.filename: cached(system, file) for file in system.files}
        rows.append((system, found))
    if args.json:
        print_json({"models": [_described(system, found) for system, found in rows]})
        return 0
    console = console_out()
    for system, found in rows:
        state = "fetched" if all(found.values()) else "not fetched"
        console.print(f"[bold]{system.name}[/]  {state}", highlight=False)
        for file in system.files:
            mark = "there" if found[file.filename] else "-"
            line = f"  {file.filename}  {_size(file.size_bytes)}  {file.origin}  {mark}"
            console.print(line, highlight=False, markup=False)
        console.print(f"  {system.licence}", highlight=False, markup=False)
    return 0


def _described(system: Published, found: dict[str, Path | None]) -> dict[str, Any]:
    files = [
        {
            "filename": file.filename,
            "size_bytes": file.size_bytes,
            "origin": file.origin,
            "sha256": file.sha256,
            "path": None if found[file.filename] is None else str(found[file.filename]),
        }
        for file in system.files
    ]
    return {
        "name": system.name,
        "licence": system.licence,
        "fetched": all(found.values()),
        "files": files,
    }


def _size(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"


def _fetch(args: argparse.Namespace) -> int:
    from ..checkpoints import published
    from ..checkpoints_fetch import fetch

    system = published(args.system)
    console = console_err()

    def confirm(system: Published) -> bool:
        for file in system.files:
            line = f"{file.filename}  {_size(file.size_bytes)}  {file.origin}"
            console.print(line, highlight=False, markup=False)
        console.print(f"Licence: {system.licence}", highlight=False, markup=False)
        if args.yes:
            return True
        if not sys.stdin.isatty():
            console.print("Give --yes to accept these terms in a script.")
            return False
        console.print("Accept these terms and fetch the files? [y/N] ", end="", markup=False)
        return input().strip().lower() in ("y", "yes")

    shown = -1

    def report(file: PublishedFile, done: int, total: int | None) -> None:
        nonlocal shown
        percent = 100 * done // total if total else 0
        if console.is_terminal and percent != shown:
            shown = percent
            console.print(f"\r{file.filename}  {percent} %", end="", markup=False)

    for path in fetch(system, confirm, report, args.folder):
        print(path)
    return 0


def _path(args: argparse.Namespace) -> int:
    from ..checkpoints import published, require

    system = published(args.system)
    for file in system.files:
        print(require(system.name, file.role))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from ..checkpoints import published
    from ..checkpoints_fetch import remove

    for path in remove(published(args.system)):
        print(path)
    return 0
