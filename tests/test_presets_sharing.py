"""Presets between strangers: what is exported comes back equal, and no file does harm.

Hostile files here try to run code, to fill the memory, to hang the reader, to read other
files and to bring numbers that would become noise in a network; each is one clear error,
and none of them writes anything.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stembridge.cli import main
from stembridge.errors import PresetError
from stembridge.presets import (
    FOLDER_VARIABLE,
    Preset,
    dumps,
    import_preset,
    list_presets,
    load_preset,
    loads,
    save_preset,
)
from stembridge.prompts import Clip, ExamplePrompt, NamePrompt, TunedPrompt
from stembridge.separators import load_separator


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config" / "presets"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def mine() -> list[str]:
    return [entry.slug for entry in list_presets() if entry.origin == "user"]


def tuned(name: str = "My Organ", space: str = "") -> Preset:
    """As the tuner makes them."""
    unet = load_separator("unet")
    layout = unet.layout  # type: ignore[attr-defined]
    vector = np.zeros(layout.size + layout.offsets, np.float32)
    vector[2] = 1.0
    vector[3:] = 0.1 * np.random.default_rng(1).standard_normal(vector.size - 3)
    prompt = TunedPrompt(vector, space or unet.space, "organ")
    report = {"clips": 3, "seconds": 7.5, "steps": 160, "kept": True, "gain_db": 2.1}
    return Preset(name, keep=(prompt,), group="tuned", description="Kept.", tuning=report)


def with_clips() -> Preset:
    noise = 0.3 * np.random.default_rng(2).standard_normal((2, 4000))
    return Preset("Bark", keep=(ExamplePrompt((Clip(noise.astype(np.float32), 8000, "a"),)),))


# --- there and back ------------------------------------------------------------------------


def test_everything_exported_comes_back_equal(tmp_path: Path, own_folder: Path, capsys) -> None:
    for preset in (tuned(), with_clips(), Preset("No Dog", remove=(NamePrompt("drums"),))):
        save_preset(preset)
    before = {path.name: path.read_bytes() for path in own_folder.iterdir()}
    saved = {slug: load_preset(slug) for slug in mine()}
    assert main(["presets", "export", "--all", str(tmp_path / "backup")]) == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "backup").iterdir()} == before
    for path in own_folder.iterdir():
        path.unlink()
    assert main(["presets", "import", str(tmp_path / "backup")]) == 0
    assert {path.name: path.read_bytes() for path in own_folder.iterdir()} == before
    assert {slug: load_preset(slug) for slug in mine()} == saved
    (prompt,) = load_preset("my-organ").keep
    load_separator("unet").encode(prompt)
    assert "note:" not in capsys.readouterr().out
    assert main(["presets", "import", str(tmp_path / "backup")]) == 1
    assert main(["presets", "import", "--overwrite", str(tmp_path / "backup")]) == 0


def test_export_takes_files_of_one_name_and_tells_of_broken_ones(
    tmp_path: Path, own_folder: Path, capsys
) -> None:
    save_preset(tuned())
    (own_folder / "copy.preset").write_text(dumps(tuned()), encoding="utf-8")
    (own_folder / "broken.preset").write_text("{", encoding="utf-8")
    assert main(["presets", "export", "--all", str(tmp_path / "out")]) == 1
    assert {p.stem for p in (tmp_path / "out").iterdir()} == {"my-organ", "copy"}
    assert "broken.preset" in capsys.readouterr().err


def test_a_folder_without_presets_is_said(tmp_path: Path, capsys) -> None:
    assert main(["presets", "import", str(tmp_path)]) == 1
    assert "holds no .preset files" in capsys.readouterr().err


def test_a_preset_of_other_weights_is_imported_with_a_note(tmp_path: Path, capsys) -> None:
    file = tmp_path / "organ.preset"
    file.write_text(dumps(tuned(space="unet:00000000")), encoding="utf-8")
    assert main(["presets", "import", str(file)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: 'organ' was tuned on other weights (unet:00000000)" in said
    assert load_separator("unet").space in said and "tune it again" in said


def test_a_published_system_is_not_loaded_to_look_at_a_preset() -> None:
    from stembridge.tuning.cautions import foreign_prompts

    prompt = TunedPrompt(np.ones(2048, np.float32), "uss:12345678", "organ")
    assert foreign_prompts(Preset("x", keep=(prompt,), separator="uss")) == []
    assert foreign_prompts(Preset("x", keep=(NamePrompt("drums"),))) == []


# --- hostile -------------------------------------------------------------------------------


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("import sys; sys.stembridge_was_here = True",)


def vector_text(vector: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()


def table(**changes: Any) -> str:
    return json.dumps({"stembridge_preset": 1, "name": "x", "keep": ["vocals"]} | changes)


def with_vector(text: str, space: str = "unet:69d76cfe") -> str:
    return table(keep=[{"tuned": {"label": "x", "space": space, "vector": text}}])


def flac(seconds: int, rate: int, channels: int) -> str:
    """Silence: minutes of it in a few bytes."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, channels, format="FLAC") as file:
        for _ in range(seconds):
            file.write(np.zeros((rate, channels), np.int16))
    return base64.b64encode(buffer.getvalue()).decode()


PICKLE = pickle.dumps(Evil())
HOSTILE = {
    "a pickle as the file": PICKLE,
    "a pickle as the vector": with_vector(base64.b64encode(PICKLE + b"...."[: -len(PICKLE) % 4]
        ).decode()),
    "an array file as the vector": with_vector(base64.b64encode(b"\x93NUMPY\x01\x00" * 4).decode()),
    "infinity": with_vector(vector_text(np.array([0, 0, 1, np.inf]))),
    "not a number": with_vector(vector_text(np.array([0, 0, 1, np.nan]))),
    "numbers that overflow": with_vector(vector_text(np.full(2021, 3e38))),
    "a vector of megabytes": with_vector("A" * (1 << 20)),
    "a space without weights": with_vector(vector_text(np.ones(4)), "unet"),
    "a space of another separator": with_vector(vector_text(np.ones(4)), "uss:69d76cfe"),
    "a separator of its own": table(separator="os.system"),
    "an effect of its own": table(
        effects=[{"plugin": "load_plugin", "parameters": {"path": "x.vst3"}}]
    ),
    "a field of its own": table(__reduce__="exec"),
    "a clip outside the folder": table(
        keep=[{"example": [{"path": "../secret.wav", "sha256": "0" * 64}]}]
    ),
    "a clip by its whole path": table(
        keep=[{"example": [{"path": "/etc/hostname", "sha256": "0" * 64}]}]
    ),
    "deep nesting": table(tuning=1)[:-1] + ', "options": ' + "[" * 100_000,
    "zeros": b"\0" * 4096,
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_error_and_leaves_nothing(what: str, tmp_path: Path) -> None:
    content = HOSTILE[what]
    file = tmp_path / "gift.preset"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    modules = set(sys.modules)
    with pytest.raises(PresetError, match="gift"):
        import_preset(file)
    assert mine() == [] and not hasattr(sys, "stembridge_was_here")
    assert not {name for name in set(sys.modules) - modules if name.startswith("pickle")}


def test_the_pickle_would_have_run() -> None:
    """The test above can fail: loading the same bytes the careless way runs them."""
    pickle.loads(PICKLE)
    assert sys.__dict__.pop("stembridge_was_here") is True


def test_silence_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked() -> None:
    clip = flac(8, 96000, 8)
    assert len(clip) < 200_000
    text = table(keep=[{"example": [{"flac": clip}] * 64}])
    tracemalloc.start()
    with pytest.raises(PresetError, match="million samples"):
        loads(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 30, "64 clips of 8 channels were unpacked first"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_or_device_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.preset"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(PresetError, match="not a regular file"):
            import_preset(path)


def test_a_clip_beside_the_preset_may_be_a_link_but_not_leave_by_name(tmp_path: Path) -> None:
    text = table(keep=[{"example": [{"path": "sub/../../x.wav", "sha256": "0" * 64}]}])
    with pytest.raises(PresetError, match="leads out of the preset's folder"):
        loads(text, folder=tmp_path)


def test_the_largest_vector_that_is_taken_gives_finite_sound() -> None:
    """Numbers at the limit: whatever it sounds like, it stays a number."""
    from stembridge import Separate
    from stembridge.presets_limits import MAX_VECTOR_VALUE

    unet = load_separator("unet")
    layout = unet.layout  # type: ignore[attr-defined]
    signs = np.random.default_rng(3).choice([-1.0, 1.0], layout.size + layout.offsets)
    vector = (MAX_VECTOR_VALUE * signs).astype(np.float32)
    vector[:3] = (0, 0, 1)
    preset = Preset("wild", keep=(TunedPrompt(vector, unet.space, "wild"),))
    audio = 0.1 * np.random.default_rng(4).standard_normal((2, 22050)).astype(np.float32)
    for mode in ("render", "mix"):
        heard = Separate(preset, mode)(audio, 44100)
        assert np.isfinite(heard).all() and np.abs(heard).max() < 10
