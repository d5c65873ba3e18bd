"""What the chain costs beside its separator, and what its latency is made of.

    python tests/bench/bench_chain.py [--minutes 1 10 60]
    python tests/bench/bench_chain.py --parts speech

All figures come from one run on one thread. CPU time is per second of stereo audio; the
last column divides it by that of the same separator stream fed directly, in its own blocks.
The separator is the identity of the tests, so what is left is the chain itself; the part
`speech` measures the small separator of that name whole, alone and in the chain. A figure is
the best of three runs, or of as many as fit into `LIMIT_SECONDS` of waiting, at least one, so
that a busy machine makes the figures worse but not endless.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pedalboard.io import StreamResampler

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from identity import IdentitySeparator
from stembridge.chain import SeparationChain
from stembridge.resample import Resampler

SECONDS = 10
LIMIT_SECONDS = 20.0
SPEECH_SECONDS = 2
STEP, LOOKAHEAD = 1024, 2048


def cpu_per_second(work: Callable[[], object], seconds: float) -> float:
    """The best of up to three runs, after one to warm up."""
    work()
    best, begun = np.inf, time.monotonic()
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        if time.monotonic() - begun > LIMIT_SECONDS:
            break
    return best / seconds


def blocks(audio: np.ndarray, size: int) -> list[np.ndarray]:
    return [audio[:, i : i + size] for i in range(0, audio.shape[1], size)]


def chain_costs() -> None:
    separator = IdentitySeparator(44100, 2, STEP, LOOKAHEAD)
    query = separator.query("half")
    audio = np.random.default_rng(0).standard_normal((2, SECONDS * 44100)).astype(np.float32)
    stream = separator.stream([query])
    pieces = blocks(audio, STEP)
    alone = cpu_per_second(lambda: [stream.push(piece) for piece in pieces], SECONDS)
    print(f"separator stream alone: {1e3 * alone:.2f} ms of CPU per second of audio")
    print("rate Hz  block  ms per s  times the separator  latency samples (ms)")
    for rate in (44100, 48000, 96000, 44101):
        audio = np.random.default_rng(0).standard_normal((2, SECONDS * rate)).astype(np.float32)
        for size in (64, 512, 8192):
            chain = SeparationChain(query, rate, 2, separator=separator)
            pieces = blocks(audio[:, : audio.shape[1] // size * size], size)

            def play(chain=chain, pieces=pieces) -> None:
                for piece in pieces:
                    chain.process(piece)

            cost = cpu_per_second(play, SECONDS)
            latency = chain.latency_samples
            print(
                f"{rate:7d}  {size:5d}  {1e3 * cost:8.2f}  {cost / alone:19.1f}"
                f"  {latency} ({1e3 * latency / rate:.1f})"
            )


def resampler_costs() -> None:
    print("\nresampling, one channel, blocks of 512: ms per s; pedalboard; ratio; worst error of")
    print("a 5 kHz tone against the same tone made at the new rate (ours; pedalboard)")
    for old, new in ((48000, 44100), (44100, 48000), (96000, 44100)):
        tone = np.sin(2 * np.pi * 5000 * np.arange(SECONDS * old) / old).astype(np.float32)[None]
        pieces = blocks(tone, 512)

        def ours(old=old, new=new, pieces=pieces) -> np.ndarray:
            stream = Resampler(old, new, 1)
            return np.concatenate([stream.push(piece) for piece in pieces], axis=1)

        def theirs(old=old, new=new, pieces=pieces) -> np.ndarray:
            stream = StreamResampler(old, new, 1)
            return np.concatenate([stream.process(piece) for piece in pieces], axis=1)

        costs = [cpu_per_second(work, SECONDS) for work in (ours, theirs)]
        errors = []
        for work in (ours, theirs):
            out = work()[0, 1000:-1000]
            times = np.arange(1000, 1000 + out.size) / new
            errors.append(np.abs(out - np.sin(2 * np.pi * 5000 * times)).max())
        print(
            f"{old} -> {new}: {1e3 * costs[0]:.2f}; {1e3 * costs[1]:.2f}; "
            f"{costs[0] / costs[1]:.2f}; {errors[0]:.1e}; {errors[1]:.1e}"
        )


def memory(minutes: list[float]) -> None:
    print("\npeak of working memory, 48 kHz stereo through push, blocks of 65536")
    block = np.random.default_rng(0).standard_normal((2, 65536)).astype(np.float32)
    for length in minutes:
        separator = IdentitySeparator(44100, 2, STEP, LOOKAHEAD)
        chain = SeparationChain(separator.query("half"), 48000, 2, separator=separator)
        tracemalloc.start()
        for _ in range(int(length * 60 * 48000 / 65536)):
            chain.finish(chain.push(block))
        chain.finish(chain.flush())
        print(f"{length:g} min: {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
        tracemalloc.stop()


def speech() -> None:
    from stembridge.prompts import NamePrompt, Query
    from stembridge.separators import load_separator

    separator, alone = load_separator("speech"), np.nan
    query = Query(keep=(separator.encode(NamePrompt("speech")),))
    print("\nspeech, mono, blocks of 480, noise: CPU seconds per second (the network is made")
    print("before the clock starts, about a quarter of a second once)")
    random = np.random.default_rng(0)
    for rate in (48000, 44100):
        samples = SPEECH_SECONDS * rate
        audio = np.float32(0.1) * random.standard_normal((1, samples)).astype(np.float32)
        chain = SeparationChain(query, rate, 1, separator=separator)
        pieces = blocks(audio, 480)

        def play(chain=chain, pieces=pieces) -> None:
            for piece in pieces:
                chain.process(piece)

        if rate == separator.sample_rate:
            stream = separator.stream([query])
            alone = cpu_per_second(lambda: [stream.push(p) for p in pieces], SPEECH_SECONDS)  # noqa: B023
            print(f"stream alone: {alone:.3f}")
        cost = cpu_per_second(play, SPEECH_SECONDS)
        latency = chain.latency_samples
        print(
            f"chain at {rate} Hz: {cost:.3f} = {cost / alone:.2f} times the stream, "
            f"latency {1e3 * latency / rate:.1f} ms"
        )


PARTS = ("chain", "resampler", "memory", "speech")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 4])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    if "chain" in arguments.parts:
        chain_costs()
    if "resampler" in arguments.parts:
        resampler_costs()
    if "memory" in arguments.parts:
        memory(arguments.minutes)
    if "speech" in arguments.parts:
        speech()


if __name__ == "__main__":
    main()
