"""`stembridge separate`: songs in, stems out, in the dialect that people know from demucs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import (
    add_device_arguments,
    add_json_argument,
    add_verb,
    console_err,
    open_separator,
    positive_int,
    print_json,
    use_threads,
)

if TYPE_CHECKING:
    from ..presets import Preset
    from ..separators import Separator
    from .separate_job import Group, Outcome
    from .separate_plan import Target

_EPILOG = """examples:
  stembridge separate song.mp3                      vocals, drums, bass, other of one song
  stembridge separate -p instrumental song.mp3      the song without its vocals, and the vocals
  stembridge separate -p vocals -p drums album/     vocals, no_vocals, drums, no_drums of a folder
  stembridge separate --two-stems song.wav          vocals and no_vocals
  stembridge separate --keep "drums" --remove bass song.wav
  stembridge separate --example dog.wav field.wav   what sounds like the clip
  stembridge separate -p karaoke -f mp3 -o party --filename "{track} ({stem}).{ext}" *.mp3
  stembridge separate --json song.mp3 | jq -r '.results[].stems[].path'

Results lie in OUT/SEPARATOR/TRACK/STEM.EXT. A preset gives STEM, what the preset plays, and
no_STEM, what is left of the song; without a preset you get the stems that share out the song
and add up to it. Rate and channels stay as they are. Presets: stembridge presets list
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers,
        "separate",
        "split songs into stems, or keep and remove sounds by prompt",
        epilog=_EPILOG,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="songs, or folders of songs")
    what = parser.add_argument_group("what to separate")
    what.add_argument(
        "-p",
        "--preset",
        action="append",
        default=[],
        metavar="NAME",
        help="a preset by name or file; may be given several times",
    )
    what.add_argument("--keep", action="append", default=[], metavar="TEXT", help="a sound to keep")
    what.add_argument(
        "--remove", action="append", default=[], metavar="TEXT", help="a sound to take out"
    )
    what.add_argument(
        "--example", action="append", default=[], metavar="CLIP", help="keep what sounds like this"
    )
    what.add_argument(
        "--two-stems",
        nargs="?",
        const="vocals",
        metavar="STEM",
        help="one stem and the rest only (default: vocals and no_vocals)",
    )
    what.add_argument("--separator", "-n", metavar="NAME", help="the separator (default: unet)")
    what.add_argument("--checkpoint", metavar="FILE", help="weights of a published separator")
    what.add_argument("--fast", action="store_true", help="lower precision where that is offered")
    what.add_argument(
        "-m",
        "--mode",
        choices=("live", "mix", "render"),
        help="the mode to sound like (default: the preset's, else render, the best)",
    )
    where = parser.add_argument_group("results")
    where.add_argument("-o", "--out", default="separated", metavar="DIR", help="output folder")
    where.add_argument(
        "--filename",
        default="{track}/{stem}.{ext}",
        metavar="PATTERN",
        help="names below it; fields: {track} {trackext} {stem} {ext} {separator}",
    )
    where.add_argument("-f", "--format", default="wav", choices=("wav", "flac", "mp3", "ogg"))
    where.add_argument("--bits", default="24", choices=("16", "24", "32f"), help="default: 24")
    where.add_argument(
        "--clip",
        default="rescale",
        choices=("rescale", "clamp"),
        help="above full scale: turn all stems of the song down together, or cut (not at 32f)",
    )
    where.add_argument("--overwrite", action="store_true", help="replace existing results")
    where.add_argument(
        "--skip-existing", action="store_true", help="leave songs that have results, no error"
    )
    where.add_argument("--plot", action="store_true", help="draw a PNG beside each target")
    how = parser.add_argument_group("how")
    how.add_argument(
        "-j", "--jobs", type=positive_int, default=1, metavar="N", help="songs at once"
    )
    add_device_arguments(how)  # type: ignore[arg-type]
    add_json_argument(how)  # type: ignore[arg-type]


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..errors import AudioError
    from .separate_batch import run_batch
    from .separate_job import Settings
    from .separate_plan import check_pattern, find_tracks, place_outputs

    _untangle_two_stems(args)
    if not args.files:
        raise AudioError("No song is named. For example: stembridge separate song.mp3")
    targets = _targets(args)
    names = [name for t in targets for name in (t.stem, t.rest) if name is not None]
    pattern = check_pattern(args.filename, len(names))
    if args.format == "flac" and args.bits == "32f":
        raise AudioError("FLAC holds whole numbers: use --bits 24, or -f wav for 32-bit float.")
    if args.plot:
        from ..plot import require_matplotlib

        require_matplotlib()
    tracks = find_tracks(args.files, Path(args.out))
    use_threads(args.threads, min(args.jobs, max(1, len(tracks))))
    groups = _groups(args, targets)
    stems = [
        (name, group.separator.name)
        for group in groups
        for target in group.targets
        for name in (target.stem, target.rest)
        if name is not None
    ]
    place_outputs(tracks, stems, Path(args.out), pattern, args.format, args.overwrite)
    settings = Settings(args.bits, args.clip, args.overwrite, args.plot)
    outcomes = run_batch(args, tracks, groups, settings)
    return _report(args, outcomes, groups)


def _untangle_two_stems(args: argparse.Namespace) -> None:
    """`--two-stems song.mp3` means the flag and a song: the word is a stem only if a preset
    of that name exists and no such file does."""
    from pathlib import Path

    from ..errors import PresetError
    from ..presets import load_preset

    word = args.two_stems
    if word is None or word == "vocals":
        return
    if not Path(word).exists():
        try:
            load_preset(word)
            return
        except PresetError:
            if not Path(word).suffix:
                raise
    args.files.insert(0, word)
    args.two_stems = "vocals"


def _targets(args: argparse.Namespace) -> list[Target]:
    from dataclasses import replace

    from ..presets import load_preset
    from .separate_plan import make_targets

    options = _options(args)
    presets = [load_preset(word) for word in args.preset]
    if args.two_stems is not None:
        presets.append(load_preset(args.two_stems))
    if args.keep or args.remove or args.example:
        from .prompting import prompted_preset

        presets.append(
            prompted_preset(args.keep, args.remove, args.example, args.separator, options)
        )
    with_rest = bool(presets)
    if not presets:
        presets = _all_stems(args)
    if args.separator:
        presets = [replace(p, separator=args.separator) for p in presets]
    presets = [_chosen(replace(p, options={**p.options, **options})) for p in presets]
    return make_targets(presets, with_rest)


def _chosen(preset: Preset) -> Preset:
    """The preset with its separator, if it left the choice open; says what was chosen."""
    from ..separators.auto import resolved

    preset, choice = resolved(preset)
    if choice is not None:
        console_err().print(f"{preset.name}: {choice.why}", highlight=False, markup=False)
    return preset


def _options(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        "device": args.device,
        "checkpoint": args.checkpoint,
        "precision": "bfloat16" if args.fast else None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _all_stems(args: argparse.Namespace) -> list[Preset]:
    """One preset for every stem that the separator gives on its own."""
    from ..errors import PromptError
    from ..presets import Preset
    from ..prompts import NamePrompt

    separator = open_separator(args.separator or "unet", **_options(args))
    names = getattr(separator, "default_names", None) or separator.capabilities.names
    if not names:
        raise PromptError(
            f"The separator {separator.name!r} has no stems of its own. Say what to keep, for "
            'example --keep "a dog barking", or choose a preset with -p.'
        )
    return [Preset(name, keep=(NamePrompt(name),), separator=separator.name) for name in names]


def _groups(args: argparse.Namespace, targets: list[Target]) -> list[Group]:
    """Targets of the same separator, options and mode share one pass."""
    from ..presets import query_of
    from .separate_job import Group

    keyed: dict[tuple[Any, ...], list[Target]] = {}
    for target in targets:
        preset = target.preset
        options = tuple(sorted(preset.options.items()))
        key = (preset.separator, options, args.mode or preset.mode or "render")
        keyed.setdefault(key, []).append(target)
    groups = []
    for (name, options, mode), members in keyed.items():
        separator = open_separator(name, **dict(options))
        _check_mode(separator, mode)
        for target in members:
            query_of(target.preset, separator)
        groups.append(Group(separator, mode, tuple(members)))
    return groups


def _check_mode(separator: Separator, mode: str) -> None:
    from ..errors import NotAvailableError

    if mode not in separator.modes:
        raise NotAvailableError(
            f"The separator {separator.name!r} has no mode {mode!r}. "
            f"Choose one of: {', '.join(separator.modes)}."
        )


def _report(args: argparse.Namespace, outcomes: list[Outcome], groups: list[Group]) -> int:
    from .separate_report import report_json, summary_line

    if args.json:
        print_json(report_json(outcomes, groups))
    elif len(outcomes) > 1 or any(o.status == "cancelled" for o in outcomes):
        console_err().print(summary_line(outcomes))
    if any(o.status == "cancelled" for o in outcomes):
        return 130
    return 1 if any(o.status == "failed" for o in outcomes) else 0
