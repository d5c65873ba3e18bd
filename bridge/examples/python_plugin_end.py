"""Play a song through a running server as a DAW plugin would, in real time, from Python.

    stembridge serve                                   (in another terminal)
    python python_plugin_end.py vocals                 the bundled song, to heard.wav
    python python_plugin_end.py drums my-song.wav --block 128 --mode live --out drums.wav

`PluginEnd` is the plugin's side: `process` is called with one block after the other, never
waits, and plays aligned dry audio whenever the server is away. Kill the server while this
runs and start it again: the song goes on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from stembridge.audiofile import create_audio, read_audio
from stembridge.errors import StembridgeError
from stembridge.example import example_song
from stembridge.presets import load_preset
from stembridge.resample import resample
from stembridge.server.plugin_end import PluginEnd, gain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", nargs="?", default="vocals")
    parser.add_argument("song", nargs="?", help="default: the bundled example song")
    parser.add_argument("--rate", type=int, default=48000, help="of the pretended host, Hz")
    parser.add_argument("--block", type=int, default=512, help="samples a callback")
    parser.add_argument("--mode", choices=("live", "mix", "render"), default="mix")
    parser.add_argument("--seconds", type=float, help="play no more than this")
    parser.add_argument(
        "--offline", action="store_true", help="wait for every sample, like a bounce"
    )
    parser.add_argument("--out", default="heard.wav")
    args = parser.parse_args()

    audio, file_rate = read_audio(args.song or example_song())
    audio = resample(audio, file_rate, args.rate)
    if args.seconds:
        audio = audio[:, : round(args.seconds * args.rate)]
    preset = replace(load_preset(args.preset), mode=args.mode)

    with PluginEnd(preset, args.rate, audio.shape[0], max_block_samples=args.block) as plugin:
        plugin.wait_connected()
        mixed = preset.output == "mix"
        plugin.set_gains(
            gain(preset.target_gain_db) if preset.output != "remainder" else 0.0,
            gain(preset.remainder_gain_db) if mixed or preset.output == "remainder" else 0.0,
        )
        late = plugin.latency_samples
        print(f"{preset.name}, {args.mode}: {late} samples late ({1000 * late / args.rate:.0f} ms)")
        heard = play(plugin, audio, args.block, args.rate, args.offline)
        status = plugin.status
        print(
            f"{status['blocks']} blocks, {status['missed_blocks']} missed, "
            f"{status['missed_samples']} samples dry; {status['wakes']} wakes"
        )
    with create_audio(args.out, args.rate, audio.shape[0], overwrite=True) as writer:
        writer.write(heard)
    print(f"Written to {args.out}")


def play(plugin: PluginEnd, audio: np.ndarray, block: int, rate: int, offline: bool) -> np.ndarray:
    """All of `audio` through `plugin`, in real time unless offline; aligned with `audio`."""
    late = plugin.latency_samples
    fed = np.pad(audio, ((0, 0), (0, late)))  # the tail comes out of the latency
    heard = np.empty_like(fed)
    began = told = time.monotonic()
    for start in range(0, fed.shape[1], block):
        piece = slice(start, start + block)
        heard[:, piece] = plugin.process(np.ascontiguousarray(fed[:, piece]), offline=offline)
        if not offline:
            time.sleep(max(0.0, began + (start + block) / rate - time.monotonic()))
        if time.monotonic() - told > 2.0:
            told = time.monotonic()
            state = plugin.status
            print(f"{start / rate:6.1f} s  {state['state']:<10} {plugin.message}")
    return heard[:, late:]


if __name__ == "__main__":
    try:
        main()
    except StembridgeError as error:
        raise SystemExit(f"python_plugin_end: {error}") from None
