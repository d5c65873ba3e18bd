"""Weight files of the U-Nets: safetensors with 8-bit convolutions, read and written here.

Every convolution `weight` is stored as `weight.q` (int8) and `weight.scale` (float32 per
output channel: axis 0, or axis 1 for the transposed `u.*`); `weight = q * scale`,
symmetric, no zero point. All else is float32. Rounding to 8 bits was measured to cost less
than 0.01 dB and quarters the size.

Invariants: files are safetensors, so nothing in them runs; a key that is missing, left
over or of another shape is a `CheckpointError` that names it; equal tensors give an equal
`hash`, whatever order or metadata the file has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from ...errors import CheckpointError
from .unet import Condition, UNet

_CONVOLUTION = re.compile(r"(^|\.)(d\.\d|u\.\d|last)\.weight$")
_LEVELS = 127


def _channel_axis(key: str) -> int:
    """Axis of the output channels: 1 for transposed convolutions, else 0."""
    return 1 if re.search(r"(^|\.)u\.\d\.weight$", key) else 0


def quantize(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Round the convolutions of a float state dict to 8 bits per output channel."""
    out: dict[str, np.ndarray] = {}
    for key, value in state.items():
        value = np.asarray(value)
        if not _CONVOLUTION.search(key):
            out[key] = np.ascontiguousarray(value, dtype=np.float32)
            continue
        axis = _channel_axis(key)
        others = tuple(a for a in range(value.ndim) if a != axis)
        scale = np.abs(value).max(axis=others).astype(np.float32) / _LEVELS
        scale[scale == 0] = 1.0
        shape = [-1 if a == axis else 1 for a in range(value.ndim)]
        rounded = np.round(value / scale.reshape(shape))
        out[key + ".q"] = np.clip(rounded, -_LEVELS, _LEVELS).astype(np.int8)
        out[key + ".scale"] = scale
    return out


def expand(stored: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The float32 state dict of a stored one; float weights pass through unchanged."""
    out: dict[str, Tensor] = {}
    for key, value in stored.items():
        if key.endswith(".scale") and key[: -len(".scale")] + ".q" in stored:
            continue
        if key.endswith(".q"):
            name = key[: -len(".q")]
            scale = stored.get(name + ".scale")
            axis = _channel_axis(name)
            if scale is None or value.ndim != 4 or scale.shape != (value.shape[axis],):
                raise CheckpointError(f"The weights have {key!r} without a scale that fits it.")
            shape = [-1 if a == axis else 1 for a in range(value.ndim)]
            value = value.astype(np.float32) * scale.reshape(shape)
            key = name
        out[key] = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
    return out


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The stored tensors and the metadata of a weight file.

    Raises:
        CheckpointError: the file is missing, truncated, or not safetensors.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(  # noqa: SIM118
                file.metadata() or {}
            )
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read the weights {path.name}: {error}. Install Stembridge again, or give "
            "another safetensors file."
        ) from error


def write_weights(path: Path, stored: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a weight file beside its place, then rename it there."""
    part = path.with_name(path.name + ".part")
    # safetensors writes memory as it lies: an array in another order would come back scrambled
    data = save({k: np.ascontiguousarray(v) for k, v in stored.items()}, metadata=metadata)
    # The library writes metadata in any order; sorted, equal weights are equal bytes.
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    part.write_bytes(data[:8] + text.ljust(length) + data[8 + length :])
    part.chmod(0o644)
    part.replace(path)


def weights_hash(*parts: Mapping[str, np.ndarray]) -> str:
    """The first 8 hexadecimal digits of the SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        for key in sorted(part):
            value = np.ascontiguousarray(part[key])
            digest.update(f"{key} {value.dtype.str} {value.shape}\n".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()[:8]


def build_unet(stored: Mapping[str, np.ndarray]) -> UNet:
    """The network that fits the stored tensors, in evaluation mode, frozen.

    Where the prompt enters ("none", "decoder", "all") and its size are read off the keys;
    `tok` and other keys outside the network must have been taken out before.

    Raises:
        CheckpointError: naming the keys that are missing, left over or of another shape.
    """
    state = expand(stored)
    prompt = state.get("uf.0.f.weight")
    size = 0 if prompt is None else int(prompt.shape[-1])
    condition: Condition = "none" if not size else "all" if "df.0.f.weight" in state else "decoder"
    network = UNet(size, condition)
    expected = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    wrong = sorted(
        set(expected) ^ set(state)
        | {k for k in set(expected) & set(state) if expected[k].shape != state[k].shape}
    )
    if wrong:
        raise CheckpointError(
            f"The weights do not fit the U-Net: {', '.join(wrong[:4])}"
            f"{' …' if len(wrong) > 4 else ''} missing, left over or of another shape. "
            "Use a file written by `python -m stembridge.separators.unet_convert`."
        )
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False)
