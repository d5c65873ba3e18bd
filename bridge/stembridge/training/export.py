"""From a checkpoint to the files that ship: 8 bits per output channel, origin and licences.

Two files: the conditioned network with the rows of its stems, in the layout the separator
reads; and the sounds beyond it: further named prompts, the library's label averages and
the example encoder in half precision.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..separators.layers.unet import UNet
from ..separators.layers.unet_delta import make_delta
from ..separators.layers.unet_weights import quantize, write_weights
from .mixer import STEMS
from .pack import Clip
from .prompted import Prompted

DELTA_RANK = 64
ORIGIN = (
    "Spleeter 2stems accompaniment network (Hennequin et al., JOSS 2020, MIT), conditioned and "
    "trained further by Stembridge on the recordings listed under attribution"
)
_MIDI_SOURCES = (
    "Freedoom songs (BSD-3-Clause); Groove MIDI dataset (Google, CC-BY-4.0); rendered with "
    "FluidR3 GM and MuseScore General (MIT)"
)


def attribution(clips: Iterable[Clip]) -> str:
    """Class, source, licence and number of clips of everything trained on, a line each."""
    counted = Counter((clip.kind, clip.source, clip.licence) for clip in clips)
    lines = [
        f"{kind}: {source} ({licence}; {count} clips)"
        for (kind, source, licence), count in sorted(counted.items())
    ]
    return "\n".join([*lines, f"midi: {_MIDI_SOURCES}"])


def summarise_log(path: Path) -> str:
    """Steps, hours of mixtures and the last validation of a log, as JSON."""
    steps, seconds, validation = 0, 0.0, {}
    began = None
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry.get("validation"):
            validation = {k: v for k, v in entry.items() if isinstance(v, int | float)}
            continue
        steps = max(steps, entry["step"])
        seconds += entry.get("audio_seconds", 0.0)
        began = entry["loss"] if began is None else began
    return json.dumps({"steps": steps, "audio_hours": round(seconds / 3600, 2), "last": validation})


def export_network(
    model: Prompted, path: Path, *, command: str, log: str, clips: Sequence[Clip]
) -> None:
    """Write the conditioned network and the prompt rows of the stems."""
    state = {
        key: value.detach().cpu().float().numpy()
        for key, value in model.network.state_dict().items()
        if "num_batches" not in key
    }
    stored = quantize(state)
    stored["tok"] = model.tok[: len(STEMS)].detach().cpu().float().numpy()
    metadata = {
        "prompts": json.dumps(list(STEMS)),
        "origin": ORIGIN,
        "licence": "MIT (Spleeter) and the licences of the recordings under attribution",
        "attribution": attribution(clips),
        "command": command,
        "log": log,
        "layout": "stembridge unet 1: int8 convolutions with a scale per output channel",
    }
    write_weights(path, stored, metadata)


def export_sounds(
    model: Prompted,
    path: Path,
    *,
    base: UNet | None = None,
    names: Sequence[str],
    library: Mapping[str, np.ndarray],
    command: str,
    log: str,
    clips: Sequence[Clip],
) -> None:
    """Write further names (those in `names`), the library and the example encoder.

    Args:
        base: the exported network of the stems where the sounds have one of their own
            (`model.network`), whose difference is then written too; None where both are one.
    """
    size = model.tok.shape[1]
    rows = [model.tok[model.names.index(name)].detach().cpu().numpy() for name in names]
    stored: dict[str, np.ndarray] = {
        "names": np.stack(rows).astype(np.float32) if rows else np.zeros((0, size), np.float32),
        "library": (
            np.stack(list(library.values())).astype(np.float32)
            if library
            else np.zeros((0, size), np.float32)
        ),
    }
    if base is not None:
        stored |= make_delta(base, model.network, DELTA_RANK)
    if model.encoder is not None:
        for key, value in model.encoder.state_dict().items():
            stored[f"encoder.{key}"] = value.detach().cpu().to(torch.float16).numpy()
    metadata = {
        "names": json.dumps(list(names)),
        "labels": json.dumps(list(library)),
        "origin": "prompts and example encoder trained by Stembridge with the conditioned U-Net",
        "licence": "the licences of the recordings under attribution",
        "attribution": attribution(clips),
        "command": command,
        "log": log,
    }
    write_weights(path, stored, metadata)
