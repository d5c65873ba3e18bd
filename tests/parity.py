"""Equality with the authors' own networks, tensor by tensor.

    python tests/parity.py --golden FOLDER [--prefix TEXT] [--seed-offset N] [--scale X] [SYSTEM…]

FOLDER holds one `.npz` per system with what the authors' networks gave when filled by the
rule of `filled.py` and fed seeded noise. The networks here are filled under the same published
names and go through the same tables and code as published checkpoints and real audio. A line
per tensor; the exit code is 0 if every difference is within its tolerance, else 1. The system
`laion-clap`, only run when it is named, computes CLAP's two golden vectors by the authors'
package in a process of its own (extra `[clap]`), from a filled checkpoint file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from filled import fill, filled_state, scaled
from stembridge.checkpoints_keys import KeyTable, install, on_meta
from stembridge.prompts import EncodedPrompt, Query
from stembridge.separators import clap_keys, clapsep, tuss_keys, uss_keys, zeroshot_keys
from stembridge.separators.clap import ClapEncoder, repeated
from stembridge.separators.layers.cnn14 import Cnn14
from stembridge.separators.layers.htsat import ZEROSHOT_2048, Htsat
from stembridge.separators.layers.locoformer import (
    MEDIUM,
    BlockConfig,
    Locoformer,
    LocoformerConfig,
)
from stembridge.separators.layers.resunet import ResUnet30
from stembridge.separators.layers.zeroshot_unet import ZeroshotUnet
from stembridge.separators.segments import SegmentPlan
from stembridge.separators.tuss import Tuss
from stembridge.separators.uss import Uss
from stembridge.separators.zeroshot import Zeroshot, wiener

FEATURES = 1e-4
WAVEFORMS = 2e-5

TINY = LocoformerConfig(16, BlockConfig(1, 32, 4, 32, 4, 1), BlockConfig(1, 32, 4, 32, 4, 4))
"""The small TUSS whose long-file stitching is among the golden tensors."""

TOKEN_IDS = (0, 100, 200, 300, 2, *[1] * 72)


@dataclass(frozen=True)
class Inputs:
    """How the networks are filled and fed."""

    prefix: str = ""
    offset: int = 0
    scale: float = 1.0

    def noise(self, seed: int, *shape: int) -> Tensor:
        """Normal noise of a seed."""
        generator = torch.Generator().manual_seed(seed + self.offset)
        return torch.randn(shape, generator=generator)

    def state(self, table: KeyTable, inner: str = "") -> dict[str, Tensor]:
        """The filled published state dict; `inner` stands before the table's names, inside
        the module that the names of the fill belong to."""
        return scaled(filled_state(table, self.prefix + inner), self.scale)

    def module(
        self, factory: Callable[[], torch.nn.Module], table: KeyTable, inner: str = ""
    ) -> torch.nn.Module:
        """A filled network, ready to run."""
        module = on_meta(factory)
        install(module, table.convert(self.state(table, inner), "the fill"))
        return module


Case = tuple[str, Callable[[], Tensor], float]


def zsasp(inputs: Inputs) -> Iterator[Case]:
    """Zero-shot ASP: query latents, tags, separation of 2 s and 3 s, and the refinement."""
    table = zeroshot_keys.htsat_table("query", ZEROSHOT_2048, "at_model.sed_model.")
    query = inputs.module(lambda: Htsat(ZEROSHOT_2048), table)
    clips = 0.1 * inputs.noise(0, 2, 64000)
    tokens = query.tokens(clips, repeat=True)
    latent = query.latent(clips, repeat=True)
    clip, frame = query.tag(tokens)
    del query
    yield "latent", lambda: latent, FEATURES
    yield "clipwise", lambda: clip, FEATURES
    yield "framewise", lambda: frame, FEATURES
    network = inputs.module(ZeroshotUnet, zeroshot_keys.separator_table())
    separator = Zeroshot(network)
    yield "wav", lambda: separated(separator, clips, latent)[..., None], WAVEFORMS
    longer = 0.1 * inputs.noise(4, 1, 96000, 1)[..., 0]
    yield "wav3", lambda: separated(separator, longer, latent[:1])[..., None], WAVEFORMS
    magnitudes = inputs.noise(5, 50, 1025, 1, 4).abs()[:, :, 0].permute(2, 0, 1)
    mixture = torch.view_as_complex(inputs.noise(6, 50, 1025, 1, 2)[:, :, 0].contiguous())

    def refined() -> Tensor:
        out = torch.view_as_real(wiener(mixture, magnitudes))
        return out.permute(1, 2, 3, 0)[:, :, None]

    yield "wiener", refined, FEATURES


def uss(inputs: Inputs) -> Iterator[Case]:
    """USS: Cnn14's embedding, and the separation conditioned on it."""
    cnn14 = inputs.module(Cnn14, uss_keys.cnn14_table())
    clips = 0.1 * inputs.noise(0, 2, 64000)
    embedding = cnn14.embed(clips)
    del cnn14
    yield "emb", lambda: embedding, FEATURES
    # Published names inside the bare network have no `base.` in front.
    table = uss_keys.separator_table(2048)
    shapes = table.shapes()
    state = {name: fill(inputs.prefix + name, shape) for name, shape in shapes.items()}
    state = scaled(state, inputs.scale)
    network = on_meta(lambda: ResUnet30(2048))
    install(network, table.convert(state, "the fill"))
    separator = Uss(network)
    yield "wav", lambda: separated(separator, clips, embedding)[:, None], WAVEFORMS


def clapsep_cases(inputs: Inputs) -> Iterator[Case]:
    """CLAP's two towers, and CLAPSep with 10 s and 5 s."""
    clap = "clap_model.model."
    text = inputs.module(clap_keys.TextTower, clap_keys.text_table(), clap)
    yield "text_embed", lambda: text(torch.tensor([TOKEN_IDS])), FEATURES
    audio = inputs.module(clap_keys.AudioTower, clap_keys.audio_table(), clap)
    example = repeated(0.1 * inputs.noise(3, 1, 96000))
    yield "audio_embed", lambda: audio(example), FEATURES
    state = inputs.state(clap_keys.separator_table())
    separator = clapsep.Clapsep(clapsep.build(state, "the fill"))
    mixture = 0.1 * inputs.noise(0, 1, 320000)
    keep, remove = (F.normalize(inputs.noise(seed, 512), dim=0) for seed in (1, 2))
    whole = torch.cat([keep, remove])[None]
    half = torch.cat([keep, torch.zeros(512)])[None]
    for name, clip, condition in (
        ("10s", mixture, whole),
        ("5s_noneg", mixture[:, :160000], half),
    ):
        mask = separator.masks(clip[0], condition)
        yield f"{name}_mask_first10frames", lambda m=mask: m[None, :, :10], FEATURES
        yield f"{name}_wav", lambda c=clip, q=condition: separated(separator, c, q), WAVEFORMS


def laion_clap(inputs: Inputs) -> Iterator[Case]:
    """CLAP's two towers as the authors' package runs them, from a file in their layout."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clap.pt"
        inner = "clap_model.model."
        tables = (clap_keys.text_table(), clap_keys.audio_table())
        state = {n: t for table in tables for n, t in inputs.state(table, inner).items()}
        torch.save({"state_dict": {f"module.{name}": t for name, t in state.items()}}, path)
        del state
        encoder = ClapEncoder(path, backend="laion-clap")
        text = encoder.ids(np.array([TOKEN_IDS]))
        yield "text_embed", lambda: torch.from_numpy(text), FEATURES
        audio = encoder.clips([0.1 * inputs.noise(3, 1, 96000)[0]])
        yield "audio_embed", lambda: torch.from_numpy(audio), FEATURES


def tuss(inputs: Inputs) -> Iterator[Case]:
    """TUSS medium with one and four prompts, and a small one over several windows."""
    table = tuss_keys.separator_table(MEDIUM)
    separator = Tuss(inputs.module(lambda: Locoformer(MEDIUM), table), chunking="tuss-separate")
    mixture = 0.1 * inputs.noise(0, 1, 48000)
    for name in ("speech", "speech+sfx+sfx+musicbg", "musicbg+sfx+sfx+speech"):
        yield name, lambda n=name: together(separator, mixture, n), WAVEFORMS
    plan = SegmentPlan(96000, 48000, tail="fill", join="average")
    network = inputs.module(lambda: Locoformer(TINY), tuss_keys.separator_table(TINY))
    tiny = Tuss(network, chunking=plan)
    song = 0.1 * inputs.noise(7, 1, 216000)
    queries = [Query(keep=(tiny_prompt(tiny, name),)) for name in ("speech", "sfxbg")]

    def stitched() -> Tensor:
        return torch.from_numpy(tiny.separate(song.numpy(), queries))[None, :, 0]

    yield "tiny_css", stitched, WAVEFORMS


def tiny_prompt(separator: Tuss, name: str) -> EncodedPrompt:
    """A name as the separator's own token."""
    return EncodedPrompt(separator.space, separator.token(name), name)


def separated(
    separator: Zeroshot | Uss | clapsep.Clapsep, clips: Tensor, queries: Tensor
) -> Tensor:
    """Each clip `(B, samples)` with its own query, in one window."""
    out = []
    for clip, query in zip(clips, queries, strict=True):
        mask = separator.masks(clip, query[None])[0]
        out.append(separator.stft.synthesise(separator.stft.analyse(clip) * mask, len(clip)))
    return torch.stack(out)


def together(separator: Tuss, mixture: Tensor, names: str) -> Tensor:
    """All prompts of "a+b+c" in one pass, as long as the frames reach: `(1, N, samples)`."""
    vectors = torch.from_numpy(np.stack([separator.token(name) for name in names.split("+")]))
    mono = mixture[0]
    masks = separator.masks(separator.level(mono), vectors)
    return separator.stft.synthesise(separator.stft.analyse(mono) * masks)[None]


SYSTEMS: dict[str, Callable[[Inputs], Iterator[Case]]] = {
    "zsasp": zsasp,
    "uss": uss,
    "clapsep": clapsep_cases,
    "tuss": tuss,
}
ON_REQUEST: dict[str, Callable[[Inputs], Iterator[Case]]] = {"laion-clap": laion_clap}
"""Systems that need more than is always there, and share another's golden file."""
FILES = {"laion-clap": "clapsep"}
ALIASES = {"zeroshot": "zsasp", "audiosep": "uss"}


@torch.inference_mode()
def check(folder: Path, system: str, inputs: Inputs, say: Callable[[str], None] = print) -> bool:
    """Compare one system with its golden tensors; a line per tensor."""
    path = folder / f"{FILES.get(system, system)}.npz"
    if not path.is_file():
        say(f"{system}: there is no {path}. Give the folder with the golden tensors.")
        return False
    with np.load(path) as archive:
        golden = {name: archive[name] for name in archive.files}
    good = bool(golden)
    for name, compute, tolerance in (SYSTEMS | ON_REQUEST)[system](inputs):
        expected = golden.pop(name, None)
        if expected is None:
            continue
        ours = compute().numpy()
        if ours.shape != expected.shape:
            say(f"{system:8} {name:28} shape {ours.shape} instead of {expected.shape}  FAILED")
            good = False
            continue
        difference = float(np.abs(ours - expected).max())
        met = difference <= tolerance  # False for NaN, too
        good &= met
        verdict = "ok" if met else "FAILED"
        say(f"{system:8} {name:28} {difference:9.2e}  (at most {tolerance:.0e})  {verdict}")
    for name in golden if system in SYSTEMS else ():
        say(f"{system:8} {name:28} is a tensor that this script does not know  FAILED")
        good = False
    return good


def main(arguments: list[str] | None = None) -> int:
    """Check the named systems (all by default); 0 if every tensor is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "systems",
        nargs="*",
        metavar="SYSTEM",
        help=f"of {', '.join(SYSTEMS)} (default: all of these), laion-clap",
    )
    parser.add_argument("--golden", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--prefix", default="", help="put before each name when filling")
    parser.add_argument("--seed-offset", type=int, default=0, help="added to each input's seed")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times each weight of two and more dimensions"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    systems = [ALIASES.get(name, name) for name in options.systems or SYSTEMS]
    unknown = [name for name in systems if name not in SYSTEMS | ON_REQUEST]
    if unknown:
        known = ", ".join(SYSTEMS | ON_REQUEST)
        parser.error(f"unknown system {unknown[0]!r}; choose from {known}")
    torch.set_num_threads(options.threads)
    inputs = Inputs(options.prefix, options.seed_offset, options.scale)
    results = [check(options.golden, name, inputs) for name in dict.fromkeys(systems)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
