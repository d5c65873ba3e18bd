"""What the command line costs: start-up time, peak memory, and CPU beside the plain run.

    python tests/bench/bench_cli.py                        start-up, 1 and 10 minutes
    python tests/bench/bench_cli.py --minutes 1 10 60

Start-up is the best of several runs beside that of the bare interpreter. Memory is the peak
of the whole process (`ru_maxrss`), and the growth per minute of song between the lengths:
a path that held the song would grow by 20 MB a minute for each stereo float signal.

The plain run is a process of its own, too: it loads the same weights, reads the song, runs the
published arithmetic (both networks, float32, 512-frame windows one after the other, transforms
and masks by torch's own functions) and writes both stems. So both processes do the same job
from file to files, and the ratio is that of their CPU seconds, start-up included.
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


def measured(command: list[str]) -> tuple[float, float, float]:
    """Peak memory in MB, wall and CPU seconds of a process."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    spent = usage.ru_utime + usage.ru_stime
    return usage.ru_maxrss / 1024, time.perf_counter() - started, spent


def plain_process(song: Path, out: Path) -> None:
    """The published arithmetic from a file to two files, on one thread."""
    import torch
    from bench_unet_speed import WINDOW_FRAMES, plain_whole

    from stembridge.audiofile import open_audio
    from stembridge.separators.unet import Unet

    torch.set_num_threads(1)
    separator = Unet(precision="float32")
    out.mkdir(parents=True, exist_ok=True)
    with (
        open_audio(song) as reader,
        create_audio(out / "vocals.wav", 44100, 2, "24") as vocals,
        create_audio(out / "no_vocals.wav", 44100, 2, "24") as rest,
    ):
        while (block := reader.read((WINDOW_FRAMES - 1) * 1024)).shape[1]:
            stems = plain_whole(separator, torch.from_numpy(block))
            for file, stem in zip((vocals, rest), stems, strict=True):
                file.write(stem.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--words", default="-p vocals --threads 1", help="of separate")
    parser.add_argument(
        "--plain-minutes", type=float, default=10, help="the longest song for the plain run"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        plain_process(*args.plain)
        return

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
            words = ["-m", "stembridge", "separate", *args.words.split(), "-o", f"{folder}/out"]
            peak, wall, cpu = measured([sys.executable, *words, str(song)])
            rows.append((minutes, peak))
            seconds = 60 * minutes
            print(
                f"{minutes:g} min: peak {peak:.0f} MB, {wall / seconds:.3f} s per s, "
                f"{cpu / seconds:.4f} CPU s per s",
                flush=True,
            )
            if minutes <= args.plain_minutes:
                words = [__file__, "--plain", str(song), f"{folder}/plain-{minutes:g}"]
                peak, wall, plain = measured([sys.executable, *words])
                print(
                    f"  plain published run: peak {peak:.0f} MB, {plain / seconds:.4f} CPU s "
                    f"per s, plain / this = {plain / cpu:.2f}",
                    flush=True,
                )
            song.unlink()
        for (short, less), (long, more) in pairwise(rows):
            print(
                f"from {short:g} to {long:g} min: {(more - less) / (long - short):.2f} MB per min"
            )


if __name__ == "__main__":
    main()
