"""The probe is right about what is there: with the singer it matches, without it does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stembridge.audiofile import read_audio, write_audio
from stembridge.cli import main
from stembridge.cli.probe import picture
from stembridge.presets import Preset, load_preset
from stembridge.prompts import NamePrompt
from stembridge.tuning.probe import FLOOR_DB, Probe, match_of, probe, ratio_db

STEMS = Path(__file__).parents[1] / "bridge" / "examples" / "stems" / "potassium"
VOCALS = Preset(name="vocals", keep=(NamePrompt("vocals"),))


def song(without: str = "", seconds: float = 5.0) -> tuple[np.ndarray, int]:
    stems = {f.stem: read_audio(f) for f in sorted(STEMS.glob("*.ogg"))}
    rate = stems["drums"][1]
    cut = [
        audio[:, : round(seconds * rate)] for name, (audio, _) in stems.items() if name != without
    ]
    return np.sum(cut, axis=0, dtype=np.float32), rate


def test_it_knows_whether_the_singer_is_there() -> None:
    with_singer = probe(*song(), VOCALS)
    without = probe(*song(without="vocals"), VOCALS)
    assert with_singer.match > 0.6 > 0.4 > without.match
    assert with_singer.share > 5 * without.share
    assert "expect little" in without.sentence() or without.match >= 0.3


def test_silence_matches_nothing() -> None:
    result = probe(np.zeros((2, 44100), np.float32), 44100, VOCALS)
    assert (result.share, result.match) == (0.0, 0.0)
    assert (result.share_db == FLOOR_DB).all()


def test_more_of_everything_that_speaks_for_it_raises_the_match() -> None:
    base = match_of((-10.0, -3.0, -30.0))
    assert match_of((-5.0, -3.0, -30.0)) > base
    assert match_of((-10.0, -1.0, -30.0)) > base
    assert 0 <= match_of((FLOOR_DB,) * 3) < 0.01


def test_ratio_is_an_energy_ratio_between_floor_and_zero() -> None:
    whole = np.ones((2, 100), np.float32)
    assert ratio_db(0.1 * whole, whole) == pytest.approx(-20, abs=1e-4)
    assert ratio_db(2 * whole, whole) == 0.0
    assert ratio_db(0 * whole, whole) == ratio_db(whole, 0 * whole) == FLOOR_DB


def test_the_picture_is_as_wide_as_asked_and_shows_the_loud_part() -> None:
    levels = np.concatenate([np.full(50, -60.0), np.zeros(50)])
    line = picture(Probe(0.5, np.arange(100) / 2, levels, 0.9, (0, 0, 0)), 20)
    bars = line.split("│")[1]
    assert bars == " " * 10 + "█" * 10
    assert line.endswith("50 s")


def test_the_verb_speaks_json_and_warns_of_a_prompt_that_learned_nothing(tmp_path, capsys) -> None:
    audio, rate = song(seconds=1.0)
    file = tmp_path / "song.wav"
    write_audio(file, audio, rate)
    assert main(["probe", str(file), "-p", "vocals", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 <= result["match"] <= 1 and len(result["share_db"]) == 2
    assert result["warnings"] == []
    weak = load_preset("vocals").__class__(
        name="weak", keep=(NamePrompt("vocals"),), tuning={"kept": False}
    )
    from stembridge.tuning.cautions import cautions

    assert "did not beat the mean" in cautions(weak)[0]
