"""Speed and memory of the published systems against the authors' way, in one run.

    python tests/bench/bench_systems.py [SYSTEM…] [--seconds 10] [--threads 2]

Filled networks. "reference": float32, attention by plain arithmetic, the authors' chunking.
"ours": float32, our windows. "fast": bfloat16. Each runs in a process of its own, twice; the
best counts. Wall seconds and CPU seconds per second of audio (the second stays true when the
machine is shared), the peak of resident memory, the ratio to the reference, and what fast
loses: the drop of a stem's quality of 10 dB by the difference to float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WAYS = ("reference", "ours", "fast")
AUTHORS = {
    "clapsep": "clapsep-space",
    "zeroshot": "zsasp-cli",
    "uss": "uss-cli",
    "audiosep": "audiosep-chunk",
    "tuss": "tuss-separate",
}


def build(system: str, way: str) -> Any:
    """A filled separator that runs in one of the ways."""
    from parity import Inputs
    from stembridge.separators import tuss_keys, uss_keys, zeroshot_keys
    from stembridge.separators.audiosep import Audiosep
    from stembridge.separators.clap_keys import separator_table
    from stembridge.separators.clapsep import Clapsep
    from stembridge.separators.clapsep import build as build_clapsep
    from stembridge.separators.layers.locoformer import MEDIUM, Locoformer
    from stembridge.separators.layers.resunet import ResUnet30
    from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet
    from stembridge.separators.tuss import Tuss
    from stembridge.separators.uss import Uss
    from stembridge.separators.zeroshot import Zeroshot

    options = {
        "chunking": AUTHORS[system] if way == "reference" else "stembridge",
        "precision": "bfloat16" if way == "fast" else "float32",
    }
    inputs = Inputs()
    if system == "clapsep":
        return Clapsep(build_clapsep(inputs.state(separator_table()), "fill"), **options)
    if system == "zeroshot":
        table = zeroshot_keys.separator_table()
        return Zeroshot(inputs.module(ZeroshotUnet, table), **options)
    if system == "tuss":
        network = inputs.module(lambda: Locoformer(MEDIUM), tuss_keys.separator_table(MEDIUM))
        return Tuss(network, **options)
    condition = 2048 if system == "uss" else 512
    network = inputs.module(lambda: ResUnet30(condition), uss_keys.separator_table(condition))
    return (Uss if system == "uss" else Audiosep)(network, **options)


def measure(system: str, way: str, seconds: float, threads: int, keep: Path | None) -> dict:
    """Run one way twice and report the best."""
    import numpy as np
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from stembridge.prompts import EncodedPrompt, Query

    torch.set_num_threads(threads)
    separator = build(system, way)
    if way == "reference" and system in ("zeroshot", "uss", "audiosep"):
        separator.network.to(memory_format=torch.contiguous_format)
    samples = int(seconds * separator.sample_rate)
    noise = np.random.default_rng(1).standard_normal((1, samples)).astype(np.float32) * 0.1
    mixture = np.repeat(noise, separator.channels, axis=0)
    if system == "tuss":
        vectors = [separator.token(name) for name in ("speech", "sfx")]
    else:
        size = separator.vector_sizes()[0]
        vectors = [np.abs(np.random.default_rng(2).standard_normal(size)) / math.sqrt(size)]
    queries = [Query(keep=(EncodedPrompt(separator.space, v),)) for v in vectors]
    best_wall = best_cpu = math.inf
    plain = sdpa_kernel(SDPBackend.MATH) if way == "reference" else nullcontext()
    with plain:
        for _ in range(2):
            wall, cpu = time.perf_counter(), time.process_time()
            stems = separator.separate(mixture, queries)
            best_wall = min(best_wall, time.perf_counter() - wall)
            best_cpu = min(best_cpu, time.process_time() - cpu)
    if keep is not None:
        np.save(keep, stems[:, 0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "wall": best_wall / seconds,
        "cpu": best_cpu / seconds,
        "peak_mb": peak,
    }


def child(system: str, way: str, options: argparse.Namespace, keep: Path) -> dict:
    """`measure` in a fresh process, so that peaks do not mix."""
    done = subprocess.run(
        [sys.executable, __file__, system, "--way", way, "--seconds", str(options.seconds),
         "--threads", str(options.threads), "--keep", str(keep)],
        capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def loss_db(exact: Path, fast: Path) -> float:
    """How far a stem of 10 dB falls by the difference between two outputs."""
    import numpy as np

    a, b = np.load(exact), np.load(fast)
    noise = float(np.square(a - b).sum() / max(1e-30, np.square(a).sum()))
    return 10 * math.log10(1 + 10 * noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("systems", nargs="*", default=list(AUTHORS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        (system,) = options.systems
        print(json.dumps(measure(system, options.way, options.seconds, options.threads,
                                 options.keep)))  # fmt: skip
        return
    import tempfile

    print("system    way        wall s/s  cpu s/s  peak MB  ratio (cpu)  loss dB")
    for system in options.systems:
        with tempfile.TemporaryDirectory() as folder:
            kept = {way: Path(folder) / f"{way}.npy" for way in WAYS}
            base = 0.0
            for way in WAYS:
                row = child(system, way, options, kept[way])
                base = base or row["cpu"]
                lost = f"{loss_db(kept['ours'], kept['fast']):7.4f}" if way == "fast" else ""
                print(
                    f"{system:9} {way:9} {row['wall']:8.3f} {row['cpu']:8.3f} "
                    f"{row['peak_mb']:8.0f} {base / row['cpu']:8.2f}     {lost}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
