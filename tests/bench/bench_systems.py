"""Speed and memory of the published systems against plain reference arithmetic, in one run.

    python tests/bench/bench_systems.py [SYSTEM…] [--seconds 10] [--threads 2]
        [--rounds 2] [--runs 1] [--ways WAY,…]

Filled networks, noise, one query (TUSS: two prompts, Demucs: one name). The ways:

- "reference": float32 by plain operations, the authors' segments and batches
  (`tests/plain_systems.py`; Demucs: its package's own `apply_model` over the whole file).
- "same": our arithmetic in the authors' segments; `differs` is the largest difference of a
  sample to the reference, which must stay below 1e-4.
- "ours": our windows, in stereo, as every user gets them.
- "fast": the same with `--fast` (bfloat16); `loss dB` is the drop of a stem's quality of 10 dB
  by its difference to "ours".

Each way runs in a process of its own, `--runs` times, and the ways take turns `--rounds` times,
so that what else the machine does meets all of them; the least counts. Wall seconds and CPU
seconds per second of audio (the second stays truer when the machine is shared), the ratio of
CPU seconds to the reference, resident memory after loading, and its peak from then on, without
the input and the output that the caller holds.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WAYS = ("reference", "same", "ours", "fast")
AUTHORS = {
    "clapsep": "clapsep-space",
    "zeroshot": "zsasp-cli",
    "uss": "uss-cli",
    "audiosep": "audiosep-chunk",
    "tuss": "tuss-separate",
    "demucs": "demucs-apply",
}


def network(system: str) -> Any:
    """A filled network, as it comes from a checkpoint."""
    from parity import Inputs
    from stembridge.separators import clap_keys, tuss_keys, uss_keys, zeroshot_keys
    from stembridge.separators.clapsep import build
    from stembridge.separators.layers.locoformer import MEDIUM, Locoformer
    from stembridge.separators.layers.resunet import ResUnet30
    from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet

    inputs = Inputs()
    if system == "clapsep":
        return build(inputs.state(clap_keys.separator_table()), "the fill")
    if system == "zeroshot":
        return inputs.module(ZeroshotUnet, zeroshot_keys.separator_table())
    if system == "tuss":
        return inputs.module(lambda: Locoformer(MEDIUM), tuss_keys.separator_table(MEDIUM))
    if system == "demucs":
        return demucs_bag()
    condition = 2048 if system == "uss" else 512
    return inputs.module(lambda: ResUnet30(condition), uss_keys.separator_table(condition))


def demucs_bag() -> Any:
    """htdemucs in its published size, filled, as a bag of one."""
    from demucs.apply import BagOfModels
    from demucs.htdemucs import HTDemucs

    from filled import fill

    make: Any = HTDemucs
    module = make(
        sources=["drums", "bass", "other", "vocals"],
        bottom_channels=512, dconv_mode=3, segment=Fraction(39, 5),
    )  # fmt: skip
    state = {n: 0.5 * fill(n, tuple(t.shape)) for n, t in module.state_dict().items()}
    module.load_state_dict(state)
    return BagOfModels([module.eval()])


def build(system: str, way: str) -> Any:
    """A filled separator that runs in one of our ways."""
    from stembridge.separators.audiosep import Audiosep
    from stembridge.separators.clapsep import Clapsep
    from stembridge.separators.demucs import Demucs
    from stembridge.separators.tuss import Tuss
    from stembridge.separators.uss import Uss
    from stembridge.separators.zeroshot import Zeroshot

    classes = {
        "clapsep": Clapsep, "zeroshot": Zeroshot, "uss": Uss, "audiosep": Audiosep,
        "tuss": Tuss, "demucs": Demucs,
    }  # fmt: skip
    return classes[system](
        network(system),
        chunking=AUTHORS[system] if way == "same" else "stembridge",
        precision="bfloat16" if way == "fast" else "float32",
    )


def prompt_vectors(system: str, size: int) -> np.ndarray:
    """What the mask is asked for, when the network itself knows no names."""
    import numpy as np

    vector = np.abs(np.random.default_rng(2).standard_normal((1, size))) / math.sqrt(size)
    return vector.astype(np.float32)


def reference(system: str) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """The rate, and what separates a mixture `(channels, samples)` by plain arithmetic."""
    import numpy as np
    import torch

    module = network(system)
    if system == "demucs":
        from demucs.apply import apply_model

        def whole(mixture: np.ndarray) -> np.ndarray:
            audio = torch.from_numpy(mixture)
            mono = audio.mean(dim=0)
            level = (audio - mono.mean()) / (mono.std() + 1e-8)
            out = apply_model(module, level[None], shifts=0)[0, :1]
            return (out * (mono.std() + 1e-8) + mono.mean()).numpy()

        return module.samplerate, whole
    from plain_systems import plain

    if system == "tuss":
        tokens = [module.tokens[name].detach().flatten() for name in ("speech", "sfx")]
        vectors = torch.stack(tokens)
    else:
        size = {"clapsep": 1024, "audiosep": 512}.get(system, 2048)
        vectors = torch.from_numpy(prompt_vectors(system, size))
    run = plain(system, module)
    rate = 48000 if system == "tuss" else 32000

    def mono(mixture: np.ndarray) -> np.ndarray:
        return np.asarray(run(torch.from_numpy(mixture[0]), vectors))[:, None]

    return rate, mono


def ours(system: str, way: str) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """The rate, and what separates a mixture `(channels, samples)` in one of our ways."""
    from stembridge.prompts import EncodedPrompt, NamePrompt, Query

    separator = build(system, way)
    if system == "demucs":
        prompts = [separator.encode(NamePrompt("drums"))]
    elif system == "tuss":
        prompts = [separator.encode(NamePrompt(name)) for name in ("speech", "sfx")]
    else:
        vectors = prompt_vectors(system, separator.vector_sizes()[-1])
        prompts = [EncodedPrompt(separator.space, vector) for vector in vectors]
    queries = [Query(keep=(prompt,)) for prompt in prompts]
    channels = separator.channels
    return separator.sample_rate, lambda mix: separator.separate(mix[:channels], queries)


def plainly(way: str) -> AbstractContextManager[object]:
    """Attention by products and a softmax, for the reference."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH) if way == "reference" else nullcontext()


def settled_mb() -> float:
    """Resident memory once what loading needed is given back; peaks count from here on."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    status = Path("/proc/self/clear_refs")
    if status.exists():
        status.write_text("5")  # the peak starts anew
    return peak_mb()


def peak_mb() -> float:
    """The greatest resident memory since it was settled (elsewhere than on Linux: so far)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def measure(system: str, way: str, seconds: float, threads: int, runs: int, keep: Path) -> dict:
    """Run one way several times and report the least."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    rate, separate = reference(system) if way == "reference" else ours(system, way)
    noise = np.random.default_rng(1).standard_normal((1, int(seconds * rate)), np.float32) * 0.1
    mixture = np.repeat(noise.astype(np.float32), 2, axis=0)
    del noise
    loaded = settled_mb() - mixture.nbytes / 2**20
    walls, cpus, stems = [], [], mixture
    with plainly(way), torch.inference_mode():
        for _ in range(runs):
            wall, cpu = time.perf_counter(), time.process_time()
            stems = separate(mixture)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    peak = peak_mb() - (mixture.nbytes + stems.nbytes) / 2**20
    np.save(keep, stems[:, 0])
    return {
        "wall": min(walls) / seconds,
        "cpu": min(cpus) / seconds,
        "loaded_mb": loaded,
        "peak_mb": peak,
    }


def child(system: str, way: str, options: argparse.Namespace, keep: Path) -> dict:
    """`measure` in a fresh process, so that peaks do not mix."""
    done = subprocess.run(
        [sys.executable, __file__, system, "--way", way, "--seconds", str(options.seconds),
         "--threads", str(options.threads), "--runs", str(options.runs), "--keep", str(keep)],
        stdout=subprocess.PIPE, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def lesser(before: dict | None, row: dict) -> dict:
    """The lesser times and the greater memory of two runs."""
    if before is None:
        return row
    return {key: (max if key.endswith("_mb") else min)(before[key], row[key]) for key in row}


def compared(way: str, kept: dict[str, Path]) -> str:
    """What a way gives against the one that it must equal."""
    import numpy as np

    other = {"same": "reference", "fast": "ours"}.get(way)
    if other is None or not kept[other].is_file():
        return ""
    a, b = np.load(kept[other]), np.load(kept[way])
    if way == "same":
        return f"differs {np.abs(a - b).max():.1e}"
    noise = float(np.square(a - b).sum() / max(1e-30, np.square(a).sum()))
    return f"loss {10 * math.log10(1 + 10 * noise):.4f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("systems", nargs="*", default=list(AUTHORS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        (system,) = options.systems
        print(json.dumps(measure(system, options.way, options.seconds, options.threads,
                                 options.runs, options.keep)))  # fmt: skip
        return
    print(f"{options.seconds:g} s of audio, {options.threads} threads, least of "
          f"{options.rounds} rounds of {options.runs}")  # fmt: skip
    print("system    way        wall s/s  cpu s/s  ratio (cpu)  loaded MB  peak MB")
    ways = options.ways.split(",")
    for system in options.systems:
        with tempfile.TemporaryDirectory() as folder:
            kept = {way: Path(folder) / f"{way}.npy" for way in WAYS}
            rows: dict[str, dict] = {}
            for _ in range(options.rounds):
                for way in ways:
                    rows[way] = lesser(rows.get(way), child(system, way, options, kept[way]))
            base = rows["reference"]["cpu"] if "reference" in rows else math.nan
            for way, row in rows.items():
                print(
                    f"{system:9} {way:9} {row['wall']:9.3f} {row['cpu']:8.3f} "
                    f"{base / row['cpu']:12.2f} {row['loaded_mb']:10.0f} {row['peak_mb']:8.0f}     "
                    f"{compared(way, kept)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
