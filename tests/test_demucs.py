"""Demucs through its own package: what its loader builds, our stream runs."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import save_file

from filled import fill
from stembridge.errors import CheckpointError, NotAvailableError, PromptError
from stembridge.prompts import NamePrompt, Query, TextPrompt
from stembridge.separators import SEPARATORS, load_separator
from stembridge.separators.demucs import Demucs, load, read_network

SOURCES = ["drums", "bass", "other", "vocals"]
SMALL = {
    "sources": SOURCES, "channels": 8, "nfft": 1024, "depth": 3, "t_layers": 1, "t_heads": 2,
    "bottom_channels": 0, "segment": {"_type": "fraction", "numerator": 1, "denominator": 2},
}  # fmt: skip


def network() -> torch.nn.Module:
    from demucs.htdemucs import HTDemucs

    module = HTDemucs(**{**SMALL, "segment": Fraction(1, 2)})
    state = {n: fill(n, tuple(t.shape)) * 0.5 for n, t in module.state_dict().items()}
    module.load_state_dict(state)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small filled network in the layout that the authors publish on the hub."""
    folder = tmp_path_factory.mktemp("demucs")
    told = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(SMALL)}
    save_file(network().state_dict(), folder / "955717e8.safetensors", metadata=told)
    (folder / "htdemucs.yaml").write_text(yaml.safe_dump({"models": ["955717e8"]}))
    return folder


@pytest.fixture(scope="module")
def demucs(folder: Path) -> Demucs:
    return load(folder)


def noise(samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(3).standard_normal((2, samples)).astype(np.float32)


def ask(separator: Demucs, *names: str) -> list[Query]:
    return [Query(keep=(separator.encode(NamePrompt(name)),)) for name in names]


def test_it_is_listed_and_loads_by_path(folder: Path) -> None:
    assert "demucs" in SEPARATORS
    assert load_separator("demucs", checkpoint=str(folder)).capabilities.names == tuple(SOURCES)


def test_one_window_equals_the_package(demucs: Demucs) -> None:
    """A clip within one window: the same numbers as the package's network gives."""
    from demucs.apply import apply_model

    mixture = noise(16000)
    ours = demucs.separate(mixture, ask(demucs, *SOURCES))
    audio = torch.from_numpy(mixture)
    mean, spread = audio.mean(0).mean(), audio.mean(0).std() + 1e-8
    theirs = apply_model(network().eval(), ((audio - mean) / spread)[None], shifts=0)[0]
    np.testing.assert_allclose(ours, (theirs * spread + mean).detach().numpy(), atol=2e-5)


def test_the_packages_way_is_a_named_mode(folder: Path) -> None:
    from demucs.apply import apply_model

    separator = load(folder, chunking="demucs-apply")
    mixture = noise(50000)
    ours = separator.separate(mixture, ask(separator, *SOURCES))
    audio = torch.from_numpy(mixture)
    mean, spread = audio.mean(0).mean(), audio.mean(0).std() + 1e-8
    theirs = apply_model(network().eval(), ((audio - mean) / spread)[None], shifts=0)[0]
    np.testing.assert_allclose(ours, (theirs * spread + mean).detach().numpy(), atol=2e-5)


@pytest.mark.parametrize("samples", [1, 64, 8193, 22051, 60000])
def test_length_sums_and_cuts(demucs: Demucs, samples: int) -> None:
    mixture = noise(samples)
    kept = ask(demucs, "drums", "vocals")
    both = Query(keep=(*kept[0].keep, *kept[1].keep))
    without = Query(remove=both.keep)
    stems = demucs.separate(mixture, [*kept, both, without])
    assert stems.shape == (4, 2, samples)
    np.testing.assert_allclose(stems[2], stems[0] + stems[1], atol=1e-5)
    np.testing.assert_allclose(stems[2] + stems[3], mixture, atol=1e-5)
    stream = demucs.stream([*kept, both, without])
    pieces = [stream.push(chunk) for chunk in np.split(mixture, [samples // 3, samples // 2], 1)]
    parts = np.concatenate([*pieces, stream.flush()], axis=2)
    np.testing.assert_array_equal(parts, stems)


def test_it_separates_the_example_song_from_the_command_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stembridge.cli import main

    source = Path(__file__).parents[1] / "bridge" / "examples" / "song.ogg"
    audio, rate = soundfile.read(source, stop=96_000, dtype="float32")
    song = tmp_path / "song.wav"
    soundfile.write(song, audio, rate, subtype="FLOAT")
    for extra in ([], ["--fast"]):
        out = tmp_path / f"out{len(extra)}"
        words = ["separate", str(song), "-n", "demucs", "--checkpoint", str(folder), "-o", str(out)]
        assert main([*words, "--keep", "drums", "--threads", "1", "--bits", "32f", *extra]) == 0
        parts = [soundfile.read(path, dtype="float32")[0] for path in sorted(out.rglob("*.wav"))]
        assert len(parts) == 2
        np.testing.assert_allclose(sum(parts), audio, atol=1e-6)
        assert all(np.abs(part).max() > 1e-4 for part in parts)


def test_precision_is_checked(folder: Path) -> None:
    with pytest.raises(NotAvailableError, match="Choose one of: float32, bfloat16"):
        load(folder, precision="int8")


def test_silence_stays_silence(demucs: Demucs) -> None:
    assert not demucs.separate(np.zeros((2, 30000), np.float32), ask(demucs, "bass")).any()


def test_prompts_it_cannot_take_are_refused_with_help(demucs: Demucs) -> None:
    with pytest.raises(PromptError, match="Did you mean 'vocals'"):
        demucs.encode(NamePrompt("vocal"))
    with pytest.raises(PromptError, match="clapsep"):
        demucs.encode(TextPrompt("a dog"))
    with pytest.raises(NotAvailableError, match="render"):
        demucs.stream(ask(demucs, "bass"), "live")


@pytest.mark.parametrize("klass", ["os.system", "demucs.htdemucs.spectro", ""])
def test_a_file_that_names_another_class_is_refused(klass: str, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    told = {"klass": klass, "args": json.dumps([f"touch {trap}"]), "kwargs": "{}"}
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=told)
    with pytest.raises(CheckpointError, match="refused"):
        read_network(tmp_path / "x.safetensors")
    nested = {"_class": "os.system"}
    told = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": "{}",
            "structure": json.dumps(nested)}  # fmt: skip
    save_file({"x": torch.zeros(1)}, tmp_path / "y.safetensors", metadata=told)
    with pytest.raises(CheckpointError, match="refused"):
        read_network(tmp_path / "y.safetensors")
    assert not trap.exists()


def test_older_files_load_without_running_their_pickle(tmp_path: Path, demucs: Demucs) -> None:
    from demucs.htdemucs import HTDemucs

    kwargs = {**SMALL, "segment": Fraction(1, 2)}
    content = {"klass": HTDemucs, "args": [], "kwargs": kwargs, "state": network().state_dict()}
    torch.save(content, tmp_path / "955717e8.th")
    single = load(tmp_path / "955717e8.th")
    mixture = noise(10000)
    np.testing.assert_array_equal(
        single.separate(mixture, ask(single, "bass")), demucs.separate(mixture, ask(demucs, "bass"))
    )
    torch.save({"klass": Path, "args": [], "kwargs": {}, "state": {}}, tmp_path / "bad.th")
    with pytest.raises(CheckpointError):
        read_network(tmp_path / "bad.th")


def test_lists_that_do_not_fit_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no list"):
        load(tmp_path)
    (tmp_path / "htdemucs.yaml").write_text("models: ['../elsewhere']")
    with pytest.raises(CheckpointError, match="not beside it"):
        load(tmp_path)
    (tmp_path / "htdemucs.yaml").write_text("[1, 2")
    with pytest.raises(CheckpointError):
        load(tmp_path)
