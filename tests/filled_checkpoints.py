"""Checkpoints in the published layouts, with the reproducible fill instead of training.

Half precision keeps the files small; the loaders read every precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from filled import filled_state
from stembridge.checkpoints import published
from stembridge.checkpoints_keys import KeyTable
from stembridge.separators import clap_keys, tuss_keys, uss_keys, zeroshot_keys
from stembridge.separators.layers.locoformer import MEDIUM

SYSTEMS = ("clapsep", "zeroshot", "uss", "uss:classes", "audiosep", "tuss")


def _filled(table: KeyTable, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: t.half() for name, t in filled_state(table).items()}


def _save(folder: Path, system: str, role: str, content: Mapping[str, object]) -> None:
    name = next(f.filename for f in published(system).files if f.role == role)
    torch.save(dict(content), folder / name)


def write_vocabulary(folder: Path) -> None:
    """A byte-level vocabulary without merges: every text becomes its bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    for step, byte in enumerate(b for b in range(256) if b not in symbols):
        symbols[byte] = chr(256 + step)
    words = ["<s>", "<pad>", "</s>", "<unk>", *(symbols[byte] for byte in range(256))]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def write_checkpoint(system: str, folder: Path) -> Path:
    """The system's published files in `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if system == "clapsep":
        state = _filled(clap_keys.separator_table())
        trained = {n: t for n, t in state.items() if clap_keys.TRAINED.fullmatch(n)}
        _save(folder, system, "separator", trained)
        audio = _filled(clap_keys.audio_table())
        _save(folder, system, "clap", {"epoch": 1, "state_dict": _module(audio)})
    elif system == "audiosep":
        table = uss_keys.separator_table(512)
        _save(folder, system, "separator", {"state_dict": _filled(table, "ss_model.")})
        text = _filled(clap_keys.text_table())
        _save(folder, system, "clap", {"epoch": 1, "state_dict": _module(text)})
        write_vocabulary(folder)
    elif system == "zeroshot":
        table = zeroshot_keys.separator_table()
        _save(folder, system, "separator", {"state_dict": _filled(table)})
        query = _filled(zeroshot_keys.query_table())
        _save(folder, system, "query", {"state_dict": query})
    elif system.startswith("uss"):
        table = uss_keys.separator_table(527 if system == "uss:classes" else 2048)
        _save(folder, system, "separator", {"state_dict": _filled(table, "ss_model.")})
        _save(folder, system, "query", {"model": _filled(uss_keys.cnn14_table())})
    else:
        state = _filled(tuss_keys.separator_table(MEDIUM), "model.")
        _save(folder, system, "separator", state)
    return folder


def _module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": tensor for name, tensor in state.items()}
