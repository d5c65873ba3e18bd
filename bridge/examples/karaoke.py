"""Make a karaoke version: the singer 20 dB down instead of gone, as a guide.

python karaoke.py song.flac karaoke.wav
"""

import argparse

from stembridge import Separate, separate_file

parser = argparse.ArgumentParser(description="Turn the singer down, keep everything else.")
parser.add_argument("song")
parser.add_argument("result")
parser.add_argument("--singer-db", type=float, default=-20.0)
parser.add_argument("--mode", choices=["live", "mix", "render"], default="render")
arguments = parser.parse_args()

# A preset is a value; the effect shows the one that it plays, with its gains as set here.
karaoke = Separate("vocals", output="mix", target_gain_db=arguments.singer_db)
separate_file(arguments.song, arguments.result, karaoke.preset, mode=arguments.mode)
