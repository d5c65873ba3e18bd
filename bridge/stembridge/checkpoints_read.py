"""Reading published weights without running anything that a file says.

Safetensors files hold numbers alone. PyTorch files are pickles: they are opened with
`weights_only=True`, which builds tensors and plain containers only; NumPy scalars, which
training scripts leave beside the weights, are allowed by name. Before that the archive itself
is checked: no compressed entries (PyTorch writes none, a bomb would), nothing larger inside
than the file. What needs more than that is refused, with the way to convert it.
"""

from __future__ import annotations

import pickle
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError

LARGEST_PICKLE = 64 * 1024 * 1024
"""Bytes of the index inside a PyTorch file; the tensors themselves lie beside it."""
NESTS = ("state_dict", "model")
"""Where training scripts put the tensors inside their file."""

_loading = threading.Lock()  # the allow-list below is global to the process


def _plain_globals() -> list[Any]:
    """What weights may need beyond torch's own list: NumPy scalars of plain numbers."""
    import _codecs

    scalar = np.float64(0).__reduce__()[0]  # where it lives depends on NumPy's version
    kinds = {type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "u1", "?")}
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        (_codecs.encode, "_codecs.encode"),
        *kinds,
    ]


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by their published names, memory-mapped if possible.

    Raises:
        CheckpointError: for a file that is missing, empty, cut short, hostile or of no known
            kind; the message says what to do.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}. Check the path.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"The checkpoint {path} is empty. Fetch or copy it again.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _tensors(read_package(path), path)


def read_package(path: Path, allowed: list[Any] | None = None) -> Any:
    """What a PyTorch file holds, read with `weights_only=True`.

    `allowed` are further classes that the file may name; they must be harmless to build.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_archive(path)
    try:
        with _loading, torch.serialization.safe_globals([*_plain_globals(), *(allowed or [])]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from None
    except MemoryError:
        raise CheckpointError(
            f"The checkpoint {path} asks for more memory than there is. It may be damaged: "
            "fetch or copy it again."
        ) from None
    except Exception as error:  # a damaged pickle fails in any way it likes
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}): it is cut short, "
            "damaged or no PyTorch file. Fetch or copy it again."
        ) from error


def _refusal(path: Path, error: Exception) -> str:
    text = str(error)
    if "Unsupported" not in text and "GLOBAL" not in text and "Weights only" not in text:
        return f"The checkpoint {path} is damaged. Fetch or copy it again."
    reason = next(
        (line.strip() for line in text.splitlines() if "GLOBAL" in line), "more than tensors"
    )
    return (
        f"The checkpoint {path} is refused: it is a pickle that wants to run code ({reason}). "
        "If you trust where it comes from, convert it once, on a machine of your choice, with "
        "Python: import torch, safetensors.torch as s; c = torch.load(path, "
        "weights_only=False); s.save_file({k: v.contiguous() for k, v in c['state_dict']"
        ".items()}, 'converted.safetensors'); then give the converted file."
    )


def _check_archive(path: Path) -> None:
    """Refuse archives that unpack to more than they are."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"The checkpoint {path} is damaged ({error}). Fetch or copy it again."
        ) from None
    inside = sum(entry.file_size for entry in entries)
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    index = max((e.file_size for e in entries if e.filename.endswith("data.pkl")), default=0)
    if packed or inside > size or index > LARGEST_PICKLE:
        raise CheckpointError(
            f"The checkpoint {path} is refused: it would unpack to {inside} bytes from a file "
            f"of {size}, which no PyTorch file does. Fetch it again from where its authors "
            "published it."
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({error}). Fetch or copy it again."
        ) from None


def _tensors(package: Any, path: Path) -> dict[str, Tensor]:
    for nest in NESTS:
        if isinstance(package, Mapping) and isinstance(package.get(nest), Mapping):
            package = package[nest]
            break
    if not isinstance(package, Mapping):
        raise CheckpointError(
            f"The checkpoint {path} holds {type(package).__name__}, not tensors by name. "
            "Give the file that the authors published (stembridge models list)."
        )
    state = {str(k): v for k, v in package.items() if isinstance(v, Tensor)}
    strangers = [str(k) for k, v in package.items() if not isinstance(v, Tensor)]
    if strangers or not state:
        raise CheckpointError(
            f"The checkpoint {path} holds no plain tensors by name (found "
            f"{', '.join(strangers[:5]) or 'nothing'}). Give the file that the authors "
            "published (stembridge models list)."
        )
    return state


def select(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
