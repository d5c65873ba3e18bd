"""The child process of `clap_package`: laion-clap, imported offline, one request, one answer.

Never import this module elsewhere: it replaces functions of transformers and puts stand-ins
for torchvision (and PIL, where it is missing) in place before laion-clap is imported, because
that package asks for all of them at import, declares none, and uses none for what is done here.
Standard output carries the answer alone, so whatever the package prints goes to standard error.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


class _StandIn(types.ModuleType):
    """A module in which any class can be found, and none does anything."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package, whose parts are all listed below

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _prepare_imports() -> None:
    """Everything that laion-clap would fetch or miss, replaced before it is imported."""
    # First: it must not find the stand-ins below.
    import transformers  # pyright: ignore[reportMissingImports]

    def nothing(*_: Any, **__: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: None

    for tokenizer in ("BertTokenizer", "RobertaTokenizer", "BartTokenizer"):
        getattr(transformers, tokenizer).from_pretrained = nothing

    def build_roberta(*_: Any, **__: Any) -> Any:
        config = transformers.RobertaConfig(
            vocab_size=50265,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
        return transformers.RobertaModel(config)

    for tower in ("BertModel", "RobertaModel", "BartModel"):
        getattr(transformers, tower).from_pretrained = build_roberta
    for name in ("", ".transforms", ".datasets", ".ops", ".ops.misc"):
        sys.modules[f"torchvision{name}"] = _StandIn(f"torchvision{name}")
    if importlib.util.find_spec("PIL") is None:
        for name in ("PIL", "PIL.Image"):
            sys.modules[name] = _StandIn(name)


def build(checkpoint: Path) -> Any:
    """The package's model with the checkpoint's towers; every tensor of them must be there."""
    from stembridge.separators.clap import read_clap

    state = read_clap(checkpoint)
    _prepare_imports()
    import laion_clap  # pyright: ignore[reportMissingImports]

    module = laion_clap.CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-base")
    model = module.model
    left = model.load_state_dict(state, strict=False)
    computed = ("position_ids", "relative_position_index", "attn_mask", "num_batches_tracked")
    unused = (
        "transform.",
        "logit_scale",
        "spectrogram_extractor",
        "logmel_extractor",
        "audio_branch.head.",
    )
    missing = [n for n in left.missing_keys if not any(part in n for part in (*computed, *unused))]
    extra = [n for n in left.unexpected_keys if not n.endswith(computed)]
    if missing or extra:
        raise SystemExit(f"tensors do not fit: {(missing + extra)[:5]}")
    model.eval()
    return module


def answer(request: BinaryIO) -> np.ndarray:
    """Read one request, return the vectors."""
    import torch

    with np.load(io.BytesIO(request.read())) as archive:
        arrays = {name: archive[name] for name in archive.files}
    module = build(Path(str(arrays["checkpoint"])))
    with torch.inference_mode():
        if "ids" in arrays:
            ids = torch.from_numpy(arrays["ids"])
            tokens = {"input_ids": ids, "attention_mask": (ids != 1).long()}
            vectors = module.model.get_text_embedding(tokens)
        else:
            audio = torch.from_numpy(arrays["audio"])
            vectors = module.get_audio_embedding_from_data(audio, use_tensor=True)
    return np.asarray(vectors, dtype=np.float32)


def main() -> None:
    """One request from standard input, one `.npz` to standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # prints of the package do not belong into the answer
    sys.argv = sys.argv[:1]  # the package reads the command line at import
    vectors = answer(sys.stdin.buffer)
    reply = io.BytesIO()
    np.savez(reply, vectors=vectors)
    with os.fdopen(out, "wb") as stream:
        stream.write(reply.getvalue())


if __name__ == "__main__":
    main()
