"""`stembridge probe`: how much of a file a preset takes, over time, and whether it fits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import add_device_arguments, add_json_argument, add_verb

if TYPE_CHECKING:
    from ..tuning.probe import Probe

_EPILOG = """examples:
  stembridge probe song.mp3 -p vocals
  stembridge probe song.mp3 -p my-organ.preset --json
"""
_BARS = " ▁▂▃▄▅▆▇█"


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers, "probe", "how much of a mix a prompt takes, and whether it fits", _EPILOG
    )
    parser.add_argument("file", metavar="FILE", help="the mix")
    parser.add_argument("-p", "--preset", required=True, help="preset by name or file")
    add_device_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..audiofile import read_audio
    from ..presets import load_preset
    from ..tuning.cautions import cautions
    from ..tuning.probe import probe
    from .common import console_out, open_separator, print_json, progress_bar, use_threads

    preset = load_preset(args.preset)
    audio, rate = read_audio(args.file)
    options = {**preset.options, "device": args.device}
    separator = open_separator(preset.separator, **options)
    use_threads(args.threads)
    with progress_bar("") as bar:
        task = bar.add_task("probing", total=1.0)
        result = probe(
            audio,
            rate,
            preset,
            separator=separator,
            advance=lambda fraction: bar.update(task, completed=fraction),
        )
    warnings = cautions(preset)
    if args.json:
        print_json(
            {
                "file": args.file,
                "preset": preset.name,
                "share": result.share,
                "match": result.match,
                "times_seconds": result.times_seconds.tolist(),
                "share_db": result.share_db.tolist(),
                "warnings": warnings,
            }
        )
        return 0
    out = console_out()
    out.print(f"{preset.name}: {result.sentence()}")
    out.print(picture(result, min(72, out.width - 12)))
    for warning in warnings:
        out.print(f"note: {warning}")
    return 0


def picture(result: Probe, width: int) -> str:
    """The share over time as one line of bars: empty at -30 dB and below, full at 0 dB."""
    import numpy as np

    columns = np.array_split(result.share_db, max(1, min(width, len(result.share_db))))
    heights = [(max(-30.0, float(column.max(initial=-60.0))) + 30) / 30 for column in columns]
    bars = "".join(_BARS[round(height * (len(_BARS) - 1))] for height in heights)
    last = result.times_seconds[-1] + 0.5 if len(result.times_seconds) else 0.0
    return f"0 s │{bars}│ {last:.0f} s"
