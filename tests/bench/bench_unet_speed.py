"""CPU seconds per second of audio of the `unet` separator, beside the plain published run.

    python tests/bench/bench_unet_speed.py [--seconds 12] [--threads 1,2] [--modes render,mix,live]

The plain run is both published networks as torch modules, float32, windows of 512 frames,
counted alone (magnitudes given) and whole: transform, masks, and synthesis of both stems by
torch's own functions. The streams are counted whole too. CPU seconds are those of the process,
so a busy machine disturbs the figures less than a clock would; still, compare ratios only: for
each line the plain run and this one take turns, and the ratio is that of their medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from stembridge.prompts import NamePrompt, Query
from stembridge.separators.base import MODES
from stembridge.separators.layers.unet_grid import GridRun
from stembridge.separators.layers.unet_masks import continue_mask, ratio_masks
from stembridge.separators.unet import Precision, Unet

RATE_HZ = 44100
WINDOW_FRAMES = 512
WINDOW_SECONDS = WINDOW_FRAMES * 1024 / RATE_HZ
CHOICES = {"pair": ("vocals", "instrumental"), "four": ("vocals", "drums", "bass", "other")}


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """The least CPU time of some runs, after one to warm up."""
    work()
    return min(_once(work) for _ in range(repeats))


def paired(
    plain: Callable[[], object], work: Callable[[], object], repeats: int, scale: float
) -> tuple[float, float]:
    """CPU seconds of `work`, and how often it fits into `plain`, the two taken in turns.

    What else the machine does slows both alike, so the ratio is that of the medians of
    each; `scale` turns a plain time over a time of `work` into a ratio for equal audio.
    """
    plain()
    work()
    plains, works = zip(*((_once(plain), _once(work)) for _ in range(repeats)), strict=True)
    return float(np.median(works)), scale * float(np.median(plains) / np.median(works))


def _once(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def plain_run(separator: Unet, magnitudes: torch.Tensor) -> None:
    """Both networks on one window, as published."""
    with torch.inference_mode():
        for name in ("vocals", "instrumental"):
            separator.modules[name](magnitudes)


def plain_whole(separator: Unet, audio: torch.Tensor) -> list[torch.Tensor]:
    """One window from samples to both stems, as published: STFT, networks, masks, ISTFT."""
    window = torch.hann_window(4096)
    samples = audio.shape[1]
    missing = (WINDOW_FRAMES - 1) * 1024 - samples
    audio = torch.nn.functional.pad(audio, (0, missing)) if missing else audio
    with torch.inference_mode():
        spectra = torch.stft(audio, 4096, 1024, window=window, return_complex=True)
        magnitudes = spectra[:, :1024].abs().transpose(1, 2)[None].contiguous()
        estimates = torch.stack(
            [separator.modules[name](magnitudes)[0] for name in ("vocals", "instrumental")]
        )
        masks = continue_mask(ratio_masks(estimates), spectra.shape[1]).transpose(2, 3)
        return [
            torch.istft(spectra * mask, 4096, 1024, window=window, length=samples) for mask in masks
        ]


def grid_run(separator: Unet, runs: list[GridRun], magnitudes: torch.Tensor) -> None:
    """The same networks on as many frames as mode render runs them: equal masks, no borders."""
    columns = magnitudes[0]
    with torch.inference_mode():
        for run in runs:
            for start in range(0, WINDOW_FRAMES, 128):
                run.push(columns[:, start : start + 128])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--choices", default="pair,four")
    parser.add_argument("--precisions", default="auto,float32")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    audio = (0.1 * random.standard_normal((2, int(options.seconds * RATE_HZ)))).astype(np.float32)
    window_audio = torch.randn(2, (WINDOW_FRAMES - 1) * 1024) * 0.1
    magnitudes = torch.rand(1, 2, WINDOW_FRAMES, 1024) * 10
    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        separators: dict[Precision, Unet] = {p: Unet(precision=p) for p in ("auto", "float32")}
        plain = cpu_seconds(lambda: plain_run(separators["auto"], magnitudes), options.repeats)  # noqa: B023
        plain /= WINDOW_SECONDS
        print(f"{threads} thread(s): plain pair {plain:.4f} CPU s per s", flush=True)
        whole = cpu_seconds(lambda: plain_whole(separators["auto"], window_audio), options.repeats)  # noqa: B023
        whole /= WINDOW_SECONDS
        print(f"  plain pair with transforms and masks {whole:.4f} CPU s per s", flush=True)
        networks = separators["auto"].networks("render")
        with torch.inference_mode():
            pair = (networks.vocals, networks.instrumental)
            runs = [GridRun(network, network.affines()) for network in pair]
        for _ in range(3):
            grid_run(separators["auto"], runs, magnitudes)
        grid = cpu_seconds(lambda: grid_run(separators["auto"], runs, magnitudes), options.repeats)  # noqa: B023
        grid /= WINDOW_SECONDS
        print(
            f"  networks of render alone {grid:.4f}, plain / this = {plain / grid:.2f}", flush=True
        )
        for mode in options.modes.split(","):
            for precision in options.precisions.split(","):
                if mode == "render" and precision != "float32":
                    continue
                separator = separators[precision]
                for choice in options.choices.split(","):
                    queries = [
                        Query(keep=(separator.encode(NamePrompt(name)),))
                        for name in CHOICES[choice]
                    ]
                    figure, ratio = paired(
                        lambda: plain_whole(separators["auto"], window_audio),  # noqa: B023
                        lambda: separator.separate(audio, queries, mode),  # noqa: B023
                        options.repeats,
                        options.seconds / WINDOW_SECONDS,
                    )
                    print(
                        f"  {mode:7} {precision:9} {choice:5} {figure / options.seconds:.4f} CPU s "
                        f"per s, plain whole / this = {ratio:.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
