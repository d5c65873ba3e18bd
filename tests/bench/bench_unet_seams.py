"""Does the error of `unet` grow where the published windows have their borders?

    python tests/bench/bench_unet_seams.py FOLDER [--seconds 60] [--modes render,mix,live]

Each subfolder of FOLDER is a song as stem files. The error is that of vocals (which is that of
the rest, too: they share out the mixture), so songs without a voice count as well. What is
printed is the excess of `tests/seams.py`: the error within 4 hops of every 512-frame border,
against the error far from it, both beside a reference that has no border there. The published
windows stand in the first line: what a seam would look like.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_unet_quality import read_song

from seams import WINDOW_FRAMES, Excess, border_excess, published_vocals
from stembridge.prompts import NamePrompt, Query
from stembridge.separators.unet import Unet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--modes", default="render,mix,live")
    options = parser.parse_args()
    torch.set_num_threads(1)
    separator = Unet()
    pair = (separator.modules["vocals"], separator.modules["instrumental"])
    queries = [Query(keep=(separator.encode(NamePrompt("vocals")),))]
    modes = options.modes.split(",")
    found: dict[str, list[np.ndarray]] = {}
    for song in sorted(p for p in options.folder.iterdir() if p.is_dir()):
        stems = read_song(song, options.seconds)
        if not stems:
            continue
        mixture = np.stack(list(stems.values())).sum(axis=0, dtype=np.float32)
        truth = stems.get("vocals", np.zeros_like(mixture))
        reference = published_vocals(pair, mixture, WINDOW_FRAMES // 2) - truth
        made = {"published windows": published_vocals(pair, mixture, 0)}
        for mode in modes:
            made[mode] = separator.separate(mixture, queries, mode)[0]  # type: ignore[arg-type]
        for name, vocals in made.items():
            found.setdefault(name, []).append(border_excess(vocals - truth, reference, mixture))
        print(f"{song.name}: {found[modes[0]][-1].size} borders heard", flush=True)
    print("\nerror at borders against elsewhere, dB")
    print(f"{'':18} {'mean (std. error)':>18} {'mean size':>10} {'largest':>8}")
    for name, values in found.items():
        excess = Excess(np.concatenate(values))
        mean = f"{excess.mean_db:+.2f} ({excess.error_db:.2f})"
        print(f"{name:18} {mean:>18} {excess.size_db:10.2f} {excess.largest_db:8.2f}")


if __name__ == "__main__":
    main()
