"""`stembridge tune`: learn a prompt from a few clips and write it as a preset file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import add_json_argument, add_verb, positive_int

if TYPE_CHECKING:
    from ..prompts import Clip
    from ..tuning import TuningReport

_EPILOG = """examples:
  stembridge tune organ1.wav organ2.wav -o my-organ.preset
  stembridge tune snare/ --against cymbals/ --plot snare.png -o my-snare.preset
  stembridge separate -p my-organ.preset song.mp3
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers,
        "tune",
        "learn a prompt from a few clips of one sound",
        epilog=_EPILOG,
        description="Learn a prompt from clips in which a sound is heard by itself. "
        "Ctrl-C ends early and keeps the best prompt until then.",
    )
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="audio files, or folders of them")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="preset to write")
    parser.add_argument("--name", help="name of the preset (default: the file's)")
    parser.add_argument("--separator", default="unet", help="what to tune (default: unet)")
    parser.add_argument("--checkpoint", metavar="PATH", help="weights of the separator")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="PATH",
        help="file or folder of more sounds to ignore, besides the bundled ones",
    )
    parser.add_argument("--steps", type=positive_int, metavar="N", help="at most so many steps")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default: 0)")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads to use")
    parser.add_argument("--plot", metavar="PNG", help="write the learning curve as a picture")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing preset")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from ..atomic import Draft
    from ..errors import PresetError
    from ..presets import dumps
    from .common import console_err, print_json

    output = Path(args.output)
    try:
        # Opened before the work, so that a wrong place costs no minute of learning.
        with Draft(output, args.overwrite) as draft:
            result = _tune(args, output.stem)
            draft.temporary.write_text(dumps(result.preset), encoding="utf-8", newline="\n")
    except FileExistsError:
        raise PresetError(
            f"{output} exists already. Choose another name, or add --overwrite."
        ) from None
    except OSError as error:
        raise PresetError(
            f"{output} cannot be written: {error.strerror}. Choose another place."
        ) from None
    if args.plot:
        from ..tuning.plot import plot_curve

        plot_curve(result.report, result.preset.name, Path(args.plot))
    if args.json:
        report = {**asdict(result.report), "gain_db": result.report.gain_db}
        print_json({"preset": str(output), **report})
    else:
        out = console_err()
        for line in _lines(result.report):
            out.print(line, markup=False, soft_wrap=True)
        said = f"Wrote {output}. Try it: stembridge separate -p {output} SONG"
        out.print(said, markup=False, soft_wrap=True)
    return 0


def _tune(args: argparse.Namespace, default_name: str):
    from ..tuning import tune
    from ..tuning.tune import STEPS
    from .common import open_separator, progress_bar, use_threads

    clips, against = _clips(args.clips), _clips(args.against)
    model = open_separator(args.separator, checkpoint=args.checkpoint)
    use_threads(args.threads)
    steps = args.steps or STEPS
    with progress_bar(" steps/s") as bar:
        task = bar.add_task("mixing", total=steps)

        def show(fraction: float, gain_db: float) -> None:
            said = f"tuning ({gain_db:+.1f} dB)"
            bar.update(task, completed=fraction * steps, description=said)

        return tune(
            clips,
            name=args.name or default_name,
            separator=model,
            against=against,
            steps=steps,
            seed=args.seed,
            on_step=show,
        )


def _clips(words: list[str]) -> list[Clip]:
    """Clips from files and from folders, in the order of their names."""
    from pathlib import Path

    from ..tuning.long_clips import read_clips
    from .separate_plan import find_tracks

    tracks = find_tracks(words, Path("separated"))
    for track in tracks:
        if track.problem is not None:
            raise track.problem
    return read_clips(track.path for track in tracks)


def _lines(report: TuningReport) -> list[str]:
    lines = [f"note: {note}" for note in report.notes]
    if report.interrupted:
        lines.append("Interrupted: the best prompt until then was taken.")
    heard = f"{report.clips} clips" if report.clips > 1 else "1 clip"
    lines.append(f"{heard}, {report.seconds:.1f} s of sound, {report.steps} steps.")
    return [*lines, report.sentence()]
