"""Tuning the embedded separator: the weights stay, the vector is what every face plays."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from stembridge import Separate, load_preset
from stembridge.audiofile import read_audio
from stembridge.cli import main
from stembridge.errors import StembridgeError
from stembridge.presets import dumps, loads, save_preset
from stembridge.prompts import Clip
from stembridge.separators import load_separator
from stembridge.separators.layers.unet_window import run_window
from stembridge.separators.unet import Unet
from stembridge.tuning import tune

EXAMPLES = Path(__file__).parents[1] / "bridge" / "examples"


def embedded() -> Unet:
    unet = load_separator("unet")
    assert isinstance(unet, Unet)
    return unet


def stem(name: str, seconds: float = 4.0) -> tuple[np.ndarray, int]:
    (path,) = (EXAMPLES / "stems").rglob(f"{name}.*")
    audio, rate = read_audio(path)
    return audio[:, : round(seconds * rate)], rate


@pytest.fixture(scope="module")
def tuned():
    drums, rate = stem("drums")
    half = drums.shape[1] // 2
    clips = [Clip(drums[:, :half], rate, "a"), Clip(drums[:, half:], rate, "b")]
    return tune(clips, name="my drums", steps=12)


def test_the_separator_is_the_same_before_and_after(tuned) -> None:
    unet = embedded()
    fresh = type(unet)()
    assert fresh.space == unet.space == tuned.preset.keep[0].space
    for (name, before), (_, after) in zip(
        fresh.prompted_module.state_dict().items(),
        unet.prompted_module.state_dict().items(),
        strict=True,
    ):
        assert torch.equal(before, after), name
    assert all(p.grad is None for p in unet.prompted_module.parameters())


def test_the_tuner_hears_what_the_streams_play(tuned) -> None:
    """The differentiable network and the packed one of the streams make the same mask."""
    unet = embedded()
    tunable = unet.tunable()
    rng = np.random.default_rng(3)
    mixture = (0.1 * rng.standard_normal((2, tunable.segment_samples))).astype(np.float32)
    vector = torch.from_numpy(np.array(tuned.learned))[None]
    size = unet.layout.size
    with torch.no_grad():
        prepared = tunable.prepare(torch.from_numpy(mixture)[None])
        expected = tunable.estimate(prepared, vector[0])
        packed = unet.networks("render").sounds
        affines = packed.affines(vector[:, 3:size], vector[:, size:])
        magnitudes = torch.view_as_complex(prepared.spectra).abs()
        mask = run_window(packed, magnitudes, affines)
    assert torch.allclose(prepared.spectra * mask[..., None], expected, atol=1e-4)
    assert expected.square().sum() < 0.9 * prepared.spectra.square().sum()


def test_one_file_serves_python_and_the_command_line(tuned, tmp_path, monkeypatch) -> None:
    file = tmp_path / "drums.preset"
    file.write_text(dumps(tuned.preset), encoding="utf-8")
    assert loads(file.read_text(encoding="utf-8")) == tuned.preset
    audio, rate = stem("drums", 2.0)
    from stembridge.audiofile import write_audio

    song = tmp_path / "song.wav"
    write_audio(song, audio, rate, bits="32f")
    code = main(
        ["separate", "-p", str(file), str(song), "-o", str(tmp_path / "out"), "--bits", "32f"]
    )
    assert code == 0
    written, _ = read_audio(next((tmp_path / "out").rglob("my-drums.wav")))
    effect = Separate(load_preset(str(file)))
    assert np.allclose(effect(audio, rate), written, atol=1e-5)


def test_a_vector_of_other_weights_is_refused(tuned, tmp_path, monkeypatch) -> None:
    text = dumps(tuned.preset).replace(tuned.preset.keep[0].space, "unet:00000000")
    file = tmp_path / "foreign.preset"
    file.write_text(text, encoding="utf-8")
    audio, rate = stem("drums", 0.5)
    with pytest.raises(StembridgeError, match="unet:00000000"):
        Separate(load_preset(str(file)))(audio, rate)


def test_the_verb_writes_a_preset_and_a_report(tmp_path, capsys) -> None:
    (path,) = (EXAMPLES / "stems").rglob("bass.*")
    out = tmp_path / "bass.preset"
    words = ["tune", str(path), "-o", str(out), "--steps", "2", "--json"]
    assert main([*words, "--plot", str(tmp_path / "curve.png")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clips"] == 1 and report["steps"] == 2
    assert load_preset(str(out)).tuning["gain_db"] == pytest.approx(report["gain_db"], abs=1e-3)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    before = out.read_bytes()
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_tuned_preset_is_saved_and_found_by_name(tuned, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path))
    save_preset(tuned.preset)
    assert load_preset("my drums") == tuned.preset or load_preset("my-drums") == tuned.preset


def test_ctrl_c_writes_the_best_until_then(tmp_path, capsys, monkeypatch) -> None:
    module = importlib.import_module("stembridge.tuning.learn")
    gradient, calls = module._gradient, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gradient(*arguments)

    monkeypatch.setattr(module, "_gradient", interrupted)
    (path,) = (EXAMPLES / "stems").rglob("bass.*")
    out = tmp_path / "bass.preset"
    assert main(["tune", str(path), "-o", str(out), "--steps", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["interrupted"] and report["steps"] == 2
    preset = load_preset(str(out))
    assert preset.tuning["steps"] == 2 and preset.keep[0].space == load_separator("unet").space


@pytest.mark.parametrize(
    ("sample", "words"),
    [(0.0, "All clips are silent"), (np.nan, "not numbers"), (np.inf, "not numbers")],
)
def test_clips_without_sound_are_refused_and_nothing_is_written(
    sample: float, words: str, tmp_path, capsys
) -> None:
    clip, out = tmp_path / "clip.wav", tmp_path / "clip.preset"
    soundfile.write(clip, np.full(22050, sample, np.float32), 44100, subtype="FLOAT")
    assert main(["tune", str(clip), "-o", str(out)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert words in said and ("clip.wav" in said or not np.isnan(sample))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.wav"]


def test_clips_equal_to_the_interferer_and_shorter_than_a_window(tmp_path) -> None:
    """Nothing can be told apart there; it must not break, nor lose what the mean gives."""
    drums, rate = stem("drums", 0.4)
    clips = [Clip(drums[:, : rate // 5], rate, "a"), Clip(drums[:, rate // 5 :], rate, "b")]
    report = tune(clips, against=clips, steps=2).report
    assert np.isfinite([report.before_db, report.after_db, report.spread_db]).all()
    assert report.kept == (report.gain_db >= 0.1 and report.gain_db > report.spread_db / 24**0.5)
