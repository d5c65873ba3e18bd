"""A chain of effects, pedalboard's and ours: the drums alone, squeezed, in a room.

python board.py song.flac drums.wav
"""

import argparse

from pedalboard import Compressor, Reverb

from stembridge import Board, Separate
from stembridge.audiofile import read_audio, write_audio

parser = argparse.ArgumentParser(description="Take the drums out, compress them, add a room.")
parser.add_argument("song")
parser.add_argument("result")
parser.add_argument("--mode", choices=["live", "mix", "render"], default="render")
arguments = parser.parse_args()

board = Board(
    [
        Separate("drums", mode=arguments.mode),
        Compressor(threshold_db=-24, ratio=4),
        Reverb(room_size=0.3, wet_level=0.15),
    ]
)
audio, sample_rate = read_audio(arguments.song)
write_audio(arguments.result, board(audio, sample_rate, progress=True), sample_rate)
