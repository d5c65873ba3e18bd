"""`stembridge plot`: a PNG of a mixture, what was kept of it, and what was removed."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_verb, console_out

_EPILOG = """examples:
  stembridge plot song.wav separated/unet/song/vocals.wav         writes vocals.png beside it
  stembridge plot song.wav vocals.wav -o picture.png
  stembridge separate -p vocals --plot song.wav                   separates and draws

The remainder is computed as mixture minus target.
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers,
        "plot",
        "draw a mixture, what was kept and what was removed",
        epilog=_EPILOG,
    )
    parser.add_argument("mixture", metavar="MIXTURE", help="the song")
    parser.add_argument("target", metavar="TARGET", help="the stem that was kept")
    parser.add_argument("-o", "--out", metavar="PNG", help="default: TARGET with .png")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..audiofile import open_audio
    from ..errors import AudioError
    from ..plot import Picture, require_matplotlib

    require_matplotlib()
    block_samples = 1 << 17
    with open_audio(args.mixture) as mixture, open_audio(args.target) as target:
        same = (mixture.sample_rate, mixture.channels) == (target.sample_rate, target.channels)
        if not same:
            raise AudioError(
                f"{args.target} ({target.channels} channels, {target.sample_rate} Hz) does not "
                f"belong to {args.mixture} ({mixture.channels} channels, "
                f"{mixture.sample_rate} Hz). Separate the song first."
            )
        picture = Picture(Path(args.target).name, mixture.sample_rate)
        while True:
            whole, kept = mixture.read(block_samples), target.read(block_samples)
            samples = min(whole.shape[1], kept.shape[1])
            if samples == 0:
                break
            whole, kept = whole[:, :samples], kept[:, :samples]
            picture.add(whole, kept, whole - kept)
    path = picture.save(args.out or Path(args.target).with_suffix(".png"), args.overwrite)
    console_out().print(str(path), markup=False)
    return 0
