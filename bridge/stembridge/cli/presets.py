"""`stembridge presets`: the list, one in full, and moving them in and out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import HelpFormatter, add_json_argument, add_verb, console_out
from .presets_list import prompt_words, run_list

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["add_parser", "prompt_words", "run"]

_EPILOG = """examples:
  stembridge presets list
  stembridge presets show karaoke
  stembridge presets save "my dog" --example bark1.wav --example bark2.wav
  stembridge presets save quiet-drums --from practice-drums --target-gain -12
  stembridge presets export quiet-drums ~/Desktop
  stembridge presets export --all backup/
  stembridge presets import ~/Downloads/organ.preset
  stembridge presets import backup/

A preset of yours wins over a factory preset of the same name; the list says so.
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "presets", "list, show, save, import and export presets", epilog=_EPILOG
    )
    parser.formatter_class = HelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")

    listed = actions.add_parser("list", help="all presets, yours first")
    add_json_argument(listed)

    show = actions.add_parser("show", help="one preset as its file's text")
    show.add_argument("preset", metavar="NAME", help="a name or a file")

    save = actions.add_parser("save", help="save prompts and settings as a preset of yours")
    save.add_argument("name", metavar="NAME")
    save.add_argument("--from", dest="base", metavar="NAME", help="start from this preset")
    save.add_argument("--keep", action="append", default=[], metavar="TEXT")
    save.add_argument("--remove", action="append", default=[], metavar="TEXT")
    save.add_argument("--example", action="append", default=[], metavar="CLIP")
    save.add_argument("--separator", metavar="NAME")
    save.add_argument("-m", "--mode", choices=("live", "mix", "render"))
    save.add_argument("--output", choices=("target", "remainder", "mix"))
    for side in ("target", "remainder"):
        save.add_argument(f"--{side}-gain", type=float, metavar="DB", help="-inf turns it off")
    for text in ("group", "description", "author", "licence"):
        save.add_argument(f"--{text}", metavar="TEXT")
    _add_overwrite(save)

    into = actions.add_parser("import", help="check preset files and copy them to yours")
    into.add_argument("files", nargs="+", metavar="FILE", help="preset files, or folders of them")
    _add_overwrite(into)

    out = actions.add_parser("export", help="write a preset to a file that stands alone")
    out.add_argument("words", nargs="*", metavar="NAME… PLACE", help="names, then file or folder")
    out.add_argument("--all", action="store_true", help="all of yours, into the folder PLACE")
    _add_overwrite(out)

    delete = actions.add_parser("delete", help="delete a preset of yours")
    delete.add_argument("name", metavar="NAME")


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def run(args: argparse.Namespace) -> int:
    action = {
        None: run_list,
        "list": run_list,
        "show": _show,
        "save": _save,
        "import": _import,
        "export": _export,
        "delete": _delete,
    }[args.action]
    return action(args)


def _show(args: argparse.Namespace) -> int:
    from ..presets import dumps, load_preset

    print(dumps(load_preset(args.preset)), end="")
    return 0


def _save(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..errors import PresetError
    from ..presets import load_preset, save_preset
    from .prompting import prompted_preset

    changes: dict[str, Any] = {
        "name": args.name,
        "mode": args.mode,
        "output": args.output,
        "target_gain_db": args.target_gain,
        "remainder_gain_db": args.remainder_gain,
        **{text: getattr(args, text) for text in ("group", "description", "author", "licence")},
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    prompted = args.keep or args.remove or args.example
    if not prompted and not args.base:
        raise PresetError(
            "Nothing to save. Say what to keep (--keep, --remove, --example), or start from a "
            "preset: --from vocals"
        )
    if prompted:
        preset = prompted_preset(
            args.keep, args.remove, args.example, args.separator, name=args.name
        )
        if args.base:
            base = load_preset(args.base)
            preset = replace(
                base, keep=preset.keep, remove=preset.remove, separator=preset.separator
            )
    else:
        preset = load_preset(args.base)
        if args.separator:
            changes["separator"] = args.separator
        if preset.source.startswith("factory") and not {"author", "licence"} & changes.keys():
            changes |= {"author": "", "licence": ""}
    preset = replace(preset, source="", **changes)
    _say(f"Saved {save_preset(preset, args.overwrite)}")
    return 0


def _import(args: argparse.Namespace) -> int:
    import sys

    from ..errors import PresetError
    from ..presets import import_preset, read_preset
    from ..tuning.cautions import foreign_prompts

    failed = 0
    for path in _preset_files(args.files):
        try:
            imported = import_preset(path, args.overwrite)
        except PresetError as error:
            failed += 1
            print(f"stembridge: {error}", file=sys.stderr)
            continue
        _say(f"Imported {imported}")
        for caution in foreign_prompts(read_preset(imported)):
            _say(f"note: {caution}")
    return 1 if failed else 0


def _preset_files(words: list[str]) -> list[Path]:
    """The files named, and those in the folders named.

    Raises:
        PresetError: a folder without presets.
    """
    from pathlib import Path

    from ..errors import PresetError
    from ..presets import SUFFIX

    files: list[Path] = []
    for path in map(Path, words):
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(p for p in path.glob(f"*{SUFFIX}") if not p.name.startswith("."))
        if not inside:
            raise PresetError(f"{path} holds no {SUFFIX} files. Name a file or another folder.")
        files += inside
    return files


def _export(args: argparse.Namespace) -> int:
    import sys
    from pathlib import Path

    from ..errors import PresetError
    from ..presets import SUFFIX, export_preset, list_presets

    *names, place = args.words or [""]
    mine = [e for e in list_presets() if e.origin == "user"] if args.all else []
    if not place or (not names and not args.all):
        raise PresetError("Name the preset and the place: stembridge presets export NAME PLACE")
    if not names and not mine:
        raise PresetError("You have no presets yet. Make one with: stembridge presets save")
    if args.all or len(names) > 1:
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PresetError(f"{place} cannot be a folder ({error.strerror}).") from None
    for name in names:
        _say(f"Exported {export_preset(name, place, args.overwrite)}")
    failed = 0
    for entry in mine:
        if entry.preset is None:
            failed += 1
            print(f"stembridge: not exported: {entry.error}", file=sys.stderr)
            continue
        # By the file's own name: two files may hold presets of one name.
        target = Path(place) / f"{entry.slug}{SUFFIX}"
        _say(f"Exported {export_preset(entry.preset, target, args.overwrite)}")
    return 1 if failed else 0


def _delete(args: argparse.Namespace) -> int:
    from ..presets import delete_preset

    _say(f"Deleted {delete_preset(args.name)}")
    return 0


def _say(text: str) -> None:
    console_out().print(text, markup=False, soft_wrap=True)
