"""The published systems equal the authors' own networks, tensor by tensor.

The golden tensors lie in `../shared/reference/golden` beside the clone, or where
`STEMBRIDGE_GOLDEN` says. Where they are not, `vectors/parity.npz` serves: a spread of numbers
of the same tensors, as they came out here when all golden tensors were met (write it anew with
`python tests/test_parity.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import parity

HERE = Path(__file__).resolve().parent
VECTORS = HERE / "vectors" / "parity.npz"
SPREAD = 509


def golden_folder() -> Path:
    given = os.environ.get("STEMBRIDGE_GOLDEN")
    return Path(given) if given else HERE.parents[1] / "shared" / "reference" / "golden"


@pytest.mark.parametrize("system", parity.SYSTEMS)
def test_every_golden_tensor_is_met(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = golden_folder()
    if folder.is_dir():
        assert parity.main(["--golden", str(folder), "--threads", "1", system]) == 0, (
            capsys.readouterr().out
        )
        return
    assert "STEMBRIDGE_GOLDEN" not in os.environ, f"There is no folder {folder}."
    with np.load(VECTORS) as archive:
        for name, spread in spreads(system):
            expected = archive[f"{system}/{name}"]
            np.testing.assert_allclose(spread, expected, rtol=0, atol=2e-5, err_msg=name)


@torch.inference_mode()
def spreads(system: str) -> list[tuple[str, np.ndarray]]:
    """A few numbers of each tensor, from first to last."""
    out = []
    for name, compute, _ in parity.SYSTEMS[system](parity.Inputs()):
        flat = compute().numpy().ravel()
        out.append((name, flat[np.linspace(0, flat.size - 1, SPREAD).astype(int)]))
    return out


def test_the_check_can_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another fill, a strange tensor, a missing file: all are told and make it fail."""
    noise = np.zeros((1, 2, 216000), np.float32)
    np.savez(tmp_path / "tuss.npz", tiny_css=noise, unheard_of=noise)
    assert parity.main(["--golden", str(tmp_path), "--threads", "1", "tuss"]) == 1
    told = capsys.readouterr().out
    assert told.count("FAILED") == 2
    scaled = ["--golden", str(tmp_path), "--threads", "1", "--scale", "2", "tuss"]
    assert parity.main(scaled) == 1
    assert capsys.readouterr().out != told, "the scale changes what is computed"
    assert parity.main(["--golden", str(tmp_path), "uss"]) == 1
    assert "there is no" in capsys.readouterr().out


def write_vectors() -> None:
    """Only after every golden tensor was met."""
    VECTORS.parent.mkdir(exist_ok=True)
    arrays = {f"{s}/{n}": a for s in parity.SYSTEMS for n, a in spreads(s)}
    np.savez_compressed(VECTORS, **arrays)


if __name__ == "__main__":
    write_vectors()
