"""The command line: `main` finds the verb, runs it and turns what went wrong into words.

Only the chosen verb's module is imported, and no module here imports numpy or torch at its
top, so that `--help` answers at once. Every verb returns its exit code: 0 done, 1 something
failed, 2 wrong usage; an interrupt gives 130.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from .. import __version__
from ..errors import StembridgeError
from .common import HelpFormatter, print_json
from .verbs import VERBS

_EPILOG = """examples:
  stembridge separate song.mp3                  every stem into separated/unet/song/
  stembridge separate -p vocals song.mp3        vocals.wav and no_vocals.wav
  stembridge separate -p karaoke -f mp3 *.flac  a folder of karaoke versions
  stembridge presets list                       what -p can name
  stembridge doctor                             is everything all right here?
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `stembridge` with these arguments (else the process's) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words)
    args = parser.parse_args(words)
    if args.verb is None:
        parser.print_help()
        return 0
    _interrupt_on_signals()
    try:
        return int(args.run(args))
    except StembridgeError as error:
        if getattr(args, "json", False):
            print_json({"ok": False, "error": {"code": error.code, "message": str(error)}})
        print(f"stembridge: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stembridge: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # "stembridge presets list | head" is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("STEMBRIDGE_DEBUG"):
            raise
        print(
            f"stembridge: an error that should not happen: {type(error).__name__}: {error}. "
            "Please report it with the output of: stembridge doctor. "
            "(STEMBRIDGE_DEBUG=1 shows where it happened.)",
            file=sys.stderr,
        )
        return 1


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stembridge",
        description="Solo or remove any sound in a mix by prompt.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stembridge {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, verb in VERBS.items():
        if name == chosen:
            module = importlib.import_module(f".{verb.module}", __package__)
            module.add_parser(verbs)
            verbs.choices[name].set_defaults(run=module.run)
        else:
            verbs.add_parser(name, help=verb.summary)
    if chosen is not None and chosen not in VERBS:
        _hint(parser, chosen)
    return parser


def _hint(parser: argparse.ArgumentParser, word: str) -> None:
    from difflib import get_close_matches

    close = get_close_matches(word, VERBS, n=1)
    if os.path.exists(word):  # noqa: PTH110
        parser.error(f"name the verb first: stembridge separate {word}")
    parser.error(
        f"there is no verb {word!r}. "
        + (f"Did you mean {close[0]!r}? " if close else "")
        + "See: stembridge --help"
    )


def _interrupt_on_signals() -> None:
    """Ending the process politely (kill, closed terminal) cleans up as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue  # started by nohup: it is to go on
        try:
            signal.signal(number, interrupt)
        except ValueError:  # not on the main thread: a script calls `main`
            return
