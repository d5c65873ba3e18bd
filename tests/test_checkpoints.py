"""Checkpoints are read safely, and every published key is accounted for.

Files are written in the published layouts with the reproducible fill.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from filled import fill, filled_state
from stembridge.checkpoints_keys import KeyTable, install, on_meta
from stembridge.checkpoints_read import read_state
from stembridge.errors import CheckpointError
from stembridge.separators import clap_keys, tuss_keys, uss_keys, zeroshot_keys
from stembridge.separators.layers.locoformer import LARGE, MEDIUM

TABLES = {
    "clap-text": clap_keys.text_table,
    "clap-audio": clap_keys.audio_table,
    "clapsep": clap_keys.separator_table,
    "zeroshot": zeroshot_keys.separator_table,
    "zeroshot-query": zeroshot_keys.query_table,
    "uss-512": lambda: uss_keys.separator_table(512),
    "uss-527": lambda: uss_keys.separator_table(527),
    "uss-2048": lambda: uss_keys.separator_table(2048),
    "cnn14": uss_keys.cnn14_table,
    "tuss-medium": lambda: tuss_keys.separator_table(MEDIUM),
    "tuss-large": lambda: tuss_keys.separator_table(LARGE),
}


def hollow(table: KeyTable) -> dict[str, torch.Tensor]:
    """A state dict of the right names and shapes that takes no memory."""
    return {name: torch.zeros(1).expand(shape) for name, shape in table.shapes().items()}


@pytest.mark.parametrize("name", TABLES)
def test_each_key_is_consumed_once_and_errors_name_it(name: str) -> None:
    table = TABLES[name]()
    state = hollow(table)
    shapes = table.shapes()
    consumed = [source for entry in table.sources.values() for source in entry.names]
    assert sorted([*consumed, *table.unused]) == sorted(shapes)
    table._check(state, shapes, "file")
    for victim in list(shapes)[:: max(1, len(shapes) // 7)]:
        short = {key: value for key, value in state.items() if key != victim}
        with pytest.raises(CheckpointError, match="missing") as caught:
            table._check(short, shapes, "file")
        assert victim in str(caught.value)
        bent = state | {victim: torch.zeros(3, 1, 4, 1, 5)}
        with pytest.raises(CheckpointError, match="wrong shape") as caught:
            table._check(bent, shapes, "file")
        assert victim in str(caught.value)
    with pytest.raises(CheckpointError, match="unknown: something"):
        table._check(state | {"something.else": torch.zeros(1)}, shapes, "file")
    computed = {
        "bn0.num_batches_tracked": torch.tensor(5),
        "stft.conv_real.weight": torch.zeros(1),
        "x.spectrogram_extractor.stft.conv_imag.weight": torch.zeros(1),
        "logmel_extractor.melW": torch.zeros(1),
        "a.attn.relative_position_index": torch.zeros(1),
        "b.attn_mask": torch.zeros(1),
        "c.attn.rope.freqs": torch.zeros(1),
        "text_branch.embeddings.position_ids": torch.zeros(1),
    }
    table._check(state | computed, shapes, "file")


@pytest.mark.parametrize(
    ("name", "published"), [("clapsep", 300), ("tuss-medium", 909), ("tuss-large", 993)]
)
def test_the_published_numbers_of_tensors_are_met(name: str, published: int) -> None:
    """With what sizes alone determine: 4 indices and a counter, or the rotary tables."""
    shapes = TABLES[name]().shapes()
    if name == "clapsep":
        assert sum(1 for key in shapes if clap_keys.TRAINED.fullmatch(key)) + 5 == published
    else:
        paths = sum(key.endswith("attn.qkv.weight") for key in shapes)
        assert len(shapes) + paths == published


def test_low_rank_additions_are_merged() -> None:
    weight, a, b = torch.randn(6, 5), torch.randn(16, 5), torch.randn(6, 16)
    x = torch.randn(3, 5)
    expected = x @ weight.T + (x @ a.T @ b.T) / 16
    torch.testing.assert_close(x @ clap_keys.merge(weight, a, b).T, expected)


def test_numbers_that_are_not_finite_are_refused() -> None:
    table = uss_keys.cnn14_table()
    broken = torch.full((2048,), float("nan"))
    with pytest.raises(CheckpointError, match=r"'fc1\.bias' holds numbers that are not finite"):
        table.convert(hollow(table) | {"fc1.bias": broken}, "file")


def small_state() -> dict[str, torch.Tensor]:
    return {name: fill(name, (4, 3)) for name in ("one.weight", "two.weight")}


@pytest.mark.parametrize(
    "layout", ["flat", "state_dict", "model", "safetensors", "legacy", "numpy"]
)
def test_every_published_layout_is_read(layout: str, tmp_path: Path) -> None:
    state = small_state()
    path = tmp_path / ("file.safetensors" if layout == "safetensors" else "file.ckpt")
    if layout == "safetensors":
        save_file(state, path)
    elif layout == "legacy":
        torch.save({"model": state}, path, _use_new_zipfile_serialization=False)
    elif layout == "numpy":
        torch.save({"state_dict": state, "epoch": np.float64(3.5), "n": np.int64(7)}, path)
    else:
        torch.save(state if layout == "flat" else {layout: state, "epoch": 3}, path)
    read = read_state(path)
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(read[name], tensor)


class Hostile:
    """Unpickled, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_runs_nothing_and_is_refused(legacy: bool, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": small_state(), "extra": Hostile(trap)}, path,
               _use_new_zipfile_serialization=not legacy)  # fmt: skip
    with pytest.raises(CheckpointError, match=r"wants to run code .*mkdir.*convert it once"):
        read_state(path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Hostile(trap)))
    with pytest.raises(CheckpointError):
        read_state(plain)
    assert not trap.exists()


def test_a_file_that_is_cut_short_is_told_everywhere(tmp_path: Path) -> None:
    whole = tmp_path / "whole.ckpt"
    torch.save({"state_dict": small_state()}, whole)
    content = whole.read_bytes()
    path = tmp_path / "cut.ckpt"
    for size in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"again|published"):
            read_state(path)
    save_file(small_state(), tmp_path / "whole.safetensors")
    stored = (tmp_path / "whole.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for size in range(0, len(stored), 7):
        cut.write_bytes(stored[:size])
        with pytest.raises(CheckpointError, match="again"):
            read_state(cut)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\x80\x02." + bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="would unpack to"):
        read_state(path)


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    """A view that repeats one number reads as its full size: its shape must be right first."""
    path = tmp_path / "wide.ckpt"
    torch.save({"fc1.bias": torch.zeros(1).expand(1 << 40)}, path)
    state = read_state(path)
    with pytest.raises(CheckpointError, match="wrong shape"):
        uss_keys.cnn14_table().convert(hollow(uss_keys.cnn14_table()) | state, str(path))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x80\x04N.", bytes(range(256)) * 20]
)
def test_anything_else_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "thing.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_state(path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        read_state(tmp_path / "absent.pth")


def test_a_file_without_tensors_is_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2, 3], buffer)
    path = tmp_path / "list.pth"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="not tensors by name"):
        read_state(path)


def test_install_leaves_nothing_trainable_and_nothing_random() -> None:
    table = tuss_keys.separator_table(MEDIUM)
    from stembridge.separators.layers.locoformer import Locoformer

    module = on_meta(lambda: Locoformer(MEDIUM))
    install(module, table.convert(filled_state(table), "fill"))
    assert not any(p.requires_grad or p.is_meta for p in module.parameters())
    assert not module.training
    expected = fill("separator.prompts.bass", (64, 1, 1))
    torch.testing.assert_close(module.state_dict()["tokens.bass"], expected)
