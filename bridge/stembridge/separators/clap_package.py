"""CLAP through the authors' `laion-clap` package, in a process of its own.

Importing that package patches and downloads: it loads three tokenizers from the network though
one is used, wants torchvision, and builds its text tower from the network. A child process
takes all that (`clap_worker`), works offline, and answers with vectors; nothing of it reaches
the process that asked. Arrays travel as `.npz` through the pipes.
"""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, NotAvailableError

TIMEOUT_SECONDS = 600
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled"}


def missing() -> str | None:
    """Why the package cannot be used here and what to do, or None."""
    if importlib.util.find_spec("laion_clap") is None:
        return (
            "The package laion-clap is not installed. Install it with "
            "`pip install 'stembridge[clap]'`, or use the backend 'native'."
        )
    return None


def run_package(
    checkpoint: Path, ids: np.ndarray | None = None, audio: np.ndarray | None = None
) -> np.ndarray:
    """Vectors `(rows, 512)` of token ids `(rows, tokens)` or of audio `(rows, samples)` at
    48 kHz, as the package computes them.

    Raises:
        NotAvailableError: if the package is not installed.
        CheckpointError: if it fails, with its last words.
    """
    why = missing()
    if why is not None:
        raise NotAvailableError(why)
    request = io.BytesIO()
    path = np.array(str(Path(checkpoint).resolve()))
    if ids is not None:
        np.savez(request, checkpoint=path, ids=ids)
    else:
        np.savez(request, checkpoint=path, audio=np.asarray(audio))
    answer = subprocess.run(
        [sys.executable, "-m", "stembridge.separators.clap_worker"],
        input=request.getvalue(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=os.environ | OFFLINE,
        check=False,
    )
    if answer.returncode != 0:
        words = answer.stderr.decode(errors="replace").strip().splitlines()
        raise CheckpointError(
            f"laion-clap failed with {checkpoint}: {words[-1] if words else 'no reason given'}. "
            "Check the file, or use the backend 'native'."
        )
    with np.load(io.BytesIO(answer.stdout)) as archive:
        return archive["vectors"]
