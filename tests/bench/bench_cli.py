"""What the command line costs: start-up time, and peak memory against the length of a song.

    python tests/bench/bench_cli.py                        start-up, 1 and 10 minutes
    python tests/bench/bench_cli.py --minutes 1 10 60

Start-up is the best of several runs beside that of the bare interpreter. Memory is the peak
of the whole process (`ru_maxrss`), and the growth per minute of song between the lengths:
a path that held the song would grow by 20 MB a minute for each stereo float signal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from stembridge.audiofile import create_audio
from stembridge.example import example_song


def best_seconds(command: list[str], runs: int) -> float:
    """The shortest wall time of `runs` runs."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times)


def write_song(path: Path, minutes: float) -> None:
    """The example song again and again, at 44.1 kHz stereo, float."""
    from stembridge.audiofile import read_audio
    from stembridge.resample import resample

    audio, rate = read_audio(example_song())
    piece = resample(audio, rate, 44100).astype(np.float32)
    left = round(minutes * 60 * 44100)
    with create_audio(path, 44100, 2, "32f", frames_hint=left) as file:
        while left > 0:
            file.write(piece[:, :left])
            left -= min(left, piece.shape[1])


def separate(song: Path, out: Path, words: list[str]) -> tuple[float, float, float]:
    """Peak memory in MB, wall and CPU seconds of `stembridge separate` on a song."""
    command = [sys.executable, "-m", "stembridge", "separate", *words, "-o", str(out), str(song)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    spent = usage.ru_utime + usage.ru_stime
    return usage.ru_maxrss / 1024, time.perf_counter() - started, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--words", default="-p vocals --threads 1", help="of separate")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()

    bare = best_seconds([sys.executable, "-c", "pass"], args.runs)
    print(f"start-up, best of {args.runs}: bare interpreter {bare:.3f} s")
    for words in (["--help"], ["separate", "--help"], ["presets", "list"]):
        spent = best_seconds([sys.executable, "-m", "stembridge", *words], args.runs)
        print(f"  stembridge {' '.join(words):16} {spent:.3f} s = {spent / bare:.1f} × bare")

    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for minutes in args.minutes:
            song = Path(folder) / f"{minutes:g}.wav"
            write_song(song, minutes)
            peak, wall, cpu = separate(song, Path(folder) / "out", args.words.split())
            rows.append((minutes, peak))
            seconds = 60 * minutes
            print(
                f"{minutes:g} min: peak {peak:.0f} MB, {wall / seconds:.3f} s per s, "
                f"{cpu / seconds:.3f} CPU s per s"
            )
            song.unlink()
        for (short, less), (long, more) in pairwise(rows):
            print(
                f"from {short:g} to {long:g} min: {(more - less) / (long - short):.2f} MB per min"
            )


if __name__ == "__main__":
    main()
