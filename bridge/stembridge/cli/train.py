"""`stembridge train`: take the embedded separator further with recordings, and export it."""

from __future__ import annotations

import argparse
import re
from typing import Any

from .common import add_verb, positive_float, positive_int

_EPILOG = """examples:
  stembridge train --data recordings --out weights/new.safetensors --validate songs
  stembridge train --data recordings --out weights/new.safetensors --resume --steps 8000
  stembridge train --data recordings --out weights/new.safetensors --export-only
"""


def add_parser(subparsers: Any) -> None:
    parser = add_verb(
        subparsers,
        "train",
        "train the embedded separator on a folder of recordings",
        epilog=_EPILOG,
        description="Train the embedded separator on a folder of recordings with an index.csv. "
        "Ctrl-C stops; --resume takes the run up again from its last checkpoint, with the very "
        "mixtures an unbroken run would have drawn.",
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="recordings and index.csv")
    parser.add_argument("--out", required=True, metavar="FILE", help="weights to write")
    parser.add_argument("--resume", action="store_true", help="continue the run of --out")
    parser.add_argument("--export-only", action="store_true", help="write the checkpoint's weights")
    parser.add_argument("--cache", metavar="FOLDER", help="prepared audio (default: OUT.cache)")
    parser.add_argument("--start", metavar="FILE", help="weights to start from (default: shipped)")
    parser.add_argument(
        "--start-sounds",
        nargs="?",
        const="",
        metavar="FILE",
        help="start from this sounds file's network, names and example encoder (without FILE: "
        "the shipped one)",
    )
    parser.add_argument(
        "--blend",
        action="append",
        type=_share,
        default=[],
        metavar="FILE=SHARE",
        help="average the stems' weights with this file or .ckpt before export; may be repeated",
    )
    parser.add_argument("--validate", metavar="FOLDER", help="songs as stems, never trained on")
    parser.add_argument("--steps", type=positive_int, default=4000, help="default: 4000")
    parser.add_argument("--minutes", type=positive_float, metavar="N", help="stop after so long")
    parser.add_argument(
        "--batch",
        type=int,
        default=4,
        metavar="N",
        help="bands a step (default: 4, 0: none, the stems stay as they are)",
    )
    parser.add_argument(
        "--material",
        type=_part,
        default=1.0,
        metavar="SHARE",
        help="share of the material to produce: 0.3 takes a third of the time and disk "
        "(default: 1)",
    )
    parser.add_argument(
        "--passes", type=positive_int, default=2, help="cuts of every song to render (default: 2)"
    )
    parser.add_argument(
        "--sounds",
        type=int,
        default=4,
        metavar="N",
        help="sound pairs a step (default: 4, 0: none)",
    )
    parser.add_argument("--accumulate", type=positive_int, default=1, help="batches a step")
    parser.add_argument("--rate", type=positive_float, default=2.5e-4, help="default: 2.5e-4")
    parser.add_argument("--train-encoder", action="store_true", help="the encoder learns too")
    parser.add_argument("--bfloat16", action="store_true", help="run the networks in bfloat16")
    parser.add_argument("--seed", type=int, default=1, help="of all random choices (default: 1)")
    parser.add_argument("--save-every", type=positive_int, default=100, metavar="STEPS")
    parser.add_argument("--validate-every", type=positive_int, default=400, metavar="STEPS")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads to use")
    parser.add_argument("--plot", metavar="PNG", help="draw the log at the end")


def _share(text: str) -> tuple[str, float]:
    path, mark, number = text.rpartition("=")
    try:
        share = float(number) if mark else 0.0
    except ValueError:
        share = 0.0
    if not path or not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not FILE=SHARE with 0 < SHARE < 1")
    return path, share


def _part(text: str) -> float:
    value = positive_float(text)
    if value > 1:
        raise argparse.ArgumentTypeError("must be at most 1")
    return value


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ..errors import NotAvailableError, StembridgeError
    from .common import console_err

    try:
        from ..training.blend import Share
        from ..training.command import Job, export_checkpoint, train
    except ImportError as error:
        raise NotAvailableError(
            f'Training needs {error.name}: pip install "stembridge[train]".'
        ) from error
    import sys

    import torch

    from ..training.network import SOUNDS_FILE, package_weights
    from ..training.settings import Settings

    if args.device != "cpu" and not torch.cuda.is_available():
        raise NotAvailableError(f"There is no device {args.device!r} here. Use --device cpu.")
    if args.batch < 0 or args.sounds < 0 or args.batch + args.sounds == 0:
        raise StembridgeError("A step needs bands or sounds: give --batch or --sounds above 0.")
    if args.threads:
        torch.set_num_threads(args.threads)
    console = console_err()
    out = Path(args.out)
    sounds = args.start_sounds
    if sounds == "":
        sounds = package_weights() / SOUNDS_FILE
    job = Job(
        data=Path(args.data),
        out=out,
        cache=Path(args.cache) if args.cache else out.with_name(out.name + ".cache"),
        settings=Settings(
            seed=args.seed,
            steps=args.steps,
            batch=args.batch,
            accumulate=args.accumulate,
            rate=args.rate,
            freeze_encoder=not args.train_encoder,
            bfloat16=args.bfloat16,
            sound_batch=args.sounds,
            average_decay=0.99,
            band_share=0.3,
        ),
        resume=args.resume,
        start=Path(args.start) if args.start else None,
        start_sounds=Path(sounds) if sounds else None,
        blends=tuple(Share(Path(path), share) for path, share in args.blend),
        passes=args.passes,
        share=args.material,
        songs=Path(args.validate) if args.validate else None,
        device=args.device,
        minutes=args.minutes,
        save_every=args.save_every,
        validate_every=args.validate_every,
        command=_told(sys.argv[1:]),
    )
    if args.export_only:
        export_checkpoint(job)
    else:
        train(job, lambda text: console.print(text, highlight=False))
    if args.plot:
        from ..training.plotting import plot_log

        plot_log(job.log, Path(args.plot))
    written = [path for path in (job.out, job.sounds) if path.exists()]
    console.print("wrote " + ", ".join(map(str, written)))
    return 0


def _told(arguments: list[str]) -> str:
    """The command as the weights' metadata tell it: files by name, nobody's folders."""
    words = [re.sub(r"(^|=)[^=]*/([^/=]+)", r"\1\2", word.rstrip("/")) for word in arguments]
    return " ".join(["stembridge", *words])
