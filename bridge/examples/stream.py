"""Separate piece by piece, as a program would that gets its audio over time.

    python stream.py song.flac vocals.wav

With `reset=False` each call returns what is ready, aligned with the input; `flush` returns
the rest. Joined together it is the result of one call over the whole song, sample by sample.
"""

import argparse

from stembridge import Separate
from stembridge.audiofile import create_audio, open_audio

parser = argparse.ArgumentParser(description="Take the vocals out, half a second at a time.")
parser.add_argument("song")
parser.add_argument("result")
parser.add_argument("--mode", choices=["live", "mix", "render"], default="mix")
arguments = parser.parse_args()

effect = Separate("vocals", mode=arguments.mode)
with open_audio(arguments.song) as song:
    rate = song.sample_rate
    with create_audio(arguments.result, rate, song.channels) as result:
        for block in song.blocks(rate // 2):
            result.write(effect(block, rate, reset=False))
        result.write(effect.flush())
print(f"looked ahead {1000 * effect.latency_samples / rate:.0f} ms")
