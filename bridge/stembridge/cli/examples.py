"""`stembridge examples`: what every prompt makes of a song, as files to listen to."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_json_argument, add_verb, positive_float, positive_int

_EPILOG = """examples:
  stembridge examples --out listen               the example song that ships
  stembridge examples --out listen my-song.mp3 --seconds 20 --mode mix
  stembridge examples --out listen --sound "dog bark" --sound piano my-song.mp3
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers,
        "examples",
        "write sound examples of every prompt, to listen to",
        epilog=_EPILOG,
        description="Separate a song by every name the separator knows and write, for each, "
        "the target and the rest, so that the model card's figures can be heard.",
    )
    parser.add_argument("song", nargs="?", metavar="FILE", help="default: the example song")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument("--sound", action="append", default=[], metavar="TEXT", help="further text")
    parser.add_argument("--seconds", type=positive_float, default=30.0, help="default: 30")
    parser.add_argument("--mode", choices=("live", "mix", "render"), default="render")
    parser.add_argument("--separator", default="unet", help="default: unet")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads to use")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    import numpy as np

    from ..audiofile import read_audio
    from ..audiofile_write import write_audio
    from ..chain import SeparationChain
    from ..example import example_song
    from ..presets_model import slug_of
    from ..prompts import NamePrompt, Query, TextPrompt
    from .common import console_err, open_separator, print_json, use_threads

    use_threads(args.threads)
    separator = open_separator(args.separator)
    song = Path(args.song) if args.song else example_song()
    audio, sample_rate = read_audio(song)
    audio = audio[:, : round(args.seconds * sample_rate)]
    wanted = [NamePrompt(name) for name in separator.capabilities.names]
    wanted += [TextPrompt(text) for text in args.sound]
    labels = [p.name if isinstance(p, NamePrompt) else p.text for p in wanted]
    queries = [
        Query(keep=(separator.encode(p),), label=n) for p, n in zip(wanted, labels, strict=True)
    ]
    chain = SeparationChain(
        queries, sample_rate, audio.shape[0], mode=args.mode, separator=separator
    )
    blocks = [chain.push(audio), chain.flush()]
    target = np.concatenate([block.target for block in blocks], axis=-1)
    rest = np.concatenate([block.remainder for block in blocks], axis=-1)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    console = console_err()
    for index, label in enumerate(labels):
        name = slug_of(label)
        for kind, sound in (("", target[index]), ("no-", rest[index])):
            path = folder / f"{kind}{name}.wav"
            write_audio(path, sound, sample_rate, overwrite=args.overwrite)
            written.append(str(path))
        power = float(np.mean(target[index] ** 2)) / max(float(np.mean(audio**2)), 1e-12)
        level = f"{10 * np.log10(max(power, 1e-12)):.1f} dB of the song"
        console.print(f"{label}: {level}", highlight=False)
    if args.json:
        print_json({"ok": True, "song": str(song), "mode": args.mode, "files": written})
    return 0
