"""`stembridge separate` on a separator whose stems are sums that can be done by hand.

Promises: the layout people know, stem and rest that add up to the song, and names, formats
and levels as asked.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli_support import call, files, identity_separator, results, run, separate, song
from identity import IdentitySeparator
from stembridge.audiofile import read_audio, write_audio
from stembridge.presets import EffectSpec, Preset, dumps
from stembridge.prompts import NamePrompt

pytestmark = pytest.mark.usefixtures("here")


# --- layout and samples ----------------------------------------------------------------------


def test_without_a_preset_every_stem_is_written(here: Path) -> None:
    audio = song("a song.wav")
    assert separate("a song.wav", "--bits", "32f") == 0
    folder = here / "separated" / "identity" / "a song"
    names = ["all.wav", "broken.wav", "half.wav", "loud.wav", "none.wav"]
    assert files(folder) == names
    for name, gain in (("all", 1), ("half", 0.5), ("loud", 1.5), ("none", 0), ("broken", 0)):
        np.testing.assert_allclose(
            read_audio(folder / f"{name}.wav")[0], gain * audio, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("samples", [1, 65, 8193])
def test_stem_and_rest_have_the_songs_form_and_add_up(
    here: Path, rate: int, channels: int, samples: int
) -> None:
    audio = song("x.wav", samples / rate, channels, rate)
    assert separate("--keep", "half", "x.wav", "--bits", "32f") == 0
    kept, kept_rate = read_audio("separated/identity/x/half.wav")
    rest, rest_rate = read_audio("separated/identity/x/no_half.wav")
    assert kept_rate == rest_rate == rate and kept.shape == rest.shape == audio.shape
    assert np.abs(kept + rest - audio).max() <= 1e-6


def test_prompts_become_names(here: Path) -> None:
    song("x.wav")
    assert separate("--keep", "half", "--keep", "loud", "--remove", "none", "x.wav") == 0
    assert separate("--remove", "half", "x.wav") == 0
    assert files("separated/identity/x") == [
        "half+loud.wav",
        "no_half+loud.wav",
        "no_without-half.wav",
        "without-half.wav",
    ]
    kept, _ = read_audio("separated/identity/x/without-half.wav")
    audio, _ = read_audio("x.wav")
    np.testing.assert_allclose(kept, audio / 2, atol=1e-6)


def preset_file(here: Path, preset: Preset) -> Path:
    """A preset file for the identity, which the preset module itself does not know."""
    path = here / f"{preset.slug}.preset"
    path.write_text(dumps(preset))
    return path


def test_a_preset_file_gives_what_it_plays_and_the_rest(here: Path) -> None:
    audio = song("x.wav")
    preset = Preset(
        "Guide",
        keep=(NamePrompt("half"),),
        separator="identity",
        output="mix",
        target_gain_db=-6.0206,
        effects=(EffectSpec("Invert"),),
    )
    assert run("separate", "-p", preset_file(here, preset), "x.wav", "--bits", "32f") == 0
    heard, _ = read_audio("separated/identity/x/guide.wav")
    rest, _ = read_audio("separated/identity/x/no_guide.wav")
    np.testing.assert_allclose(heard, -(0.25 + 0.5) * audio, atol=1e-5)
    np.testing.assert_allclose(rest, 0.5 * audio, atol=1e-6)


def test_a_preset_that_plays_the_remainder_leaves_the_target(here: Path) -> None:
    audio = song("x.wav")
    preset = Preset("r", keep=(NamePrompt("loud"),), separator="identity", output="remainder")
    assert run("separate", "-p", preset_file(here, preset), "x.wav", "--bits", "32f") == 0
    np.testing.assert_allclose(read_audio("separated/identity/x/r.wav")[0], -0.5 * audio, atol=1e-6)
    np.testing.assert_allclose(
        read_audio("separated/identity/x/no_r.wav")[0], 1.5 * audio, atol=1e-6
    )


def test_several_presets_share_one_pass(here: Path) -> None:
    separator = IdentitySeparator(step_samples=512)
    paths = [
        preset_file(here, Preset(n, keep=(NamePrompt(n),), separator="identity"))
        for n in ("half", "loud")
    ]
    song("x.wav")
    with identity_separator(separator):
        assert run("separate", "-p", paths[0], "-p", paths[1], "x.wav") == 0
    assert len(files("separated")) == 4 and separator.streams_made <= 2
    with identity_separator():
        assert run("separate", "-p", paths[0], "-p", paths[0], "x.wav", "-o", "twice") == 1


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_formats(here: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    song("x.wav")
    assert separate("--keep", "half", "-f", suffix, "x.wav") == 0
    assert files("separated/identity/x") == [f"half.{suffix}", f"no_half.{suffix}"]
    assert read_audio(f"separated/identity/x/half.{suffix}")[0].shape == (2, 44100)
    if suffix in ("wav", "flac"):
        assert soundfile.info(f"separated/identity/x/half.{suffix}").subtype == "PCM_24"
    assert separate("-f", "flac", "--bits", "32f", "x.wav") == 1
    assert "-f wav" in capsys.readouterr().err


def test_too_loud_stems_are_turned_down_together(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio("x.wav", np.full((1, 5000), 0.8, np.float32), 44100)
    assert separate("--keep", "loud", "--json", "x.wav") == 0
    gain = results(capsys)["results"][0]["gain"]
    kept, _ = read_audio("separated/identity/x/loud.wav")
    rest, _ = read_audio("separated/identity/x/no_loud.wav")
    assert gain == pytest.approx(0.9999 / 1.2, rel=1e-3)
    np.testing.assert_allclose(kept + rest, gain * 0.8, atol=1e-5)
    assert separate("--keep", "loud", "--clip", "clamp", "--overwrite", "x.wav") == 0
    kept, _ = read_audio("separated/identity/x/loud.wav")
    assert kept.max() > 0.999999


def test_folders_keep_their_inner_folders_and_skip_results(here: Path) -> None:
    for name in ("album/one/intro.wav", "album/two/intro.wav", "album/.trash/x.wav"):
        Path(name).parent.mkdir(parents=True)
        song(name)
    (here / "album" / "cover.txt").write_text("no audio")
    assert separate("--keep", "half", "album", "-o", "album/out") == 0
    expected = [f"identity/{n}/intro/{s}.wav" for n in ("one", "two") for s in ("half", "no_half")]
    assert files("album/out") == expected
    assert separate("--keep", "half", "album", "-o", "album/out", "--overwrite") == 0
    assert files("album/out") == expected, "earlier results are no songs"


def test_the_pattern_names_files(here: Path) -> None:
    song("x.wav")
    pattern = "{stem}/{track} of {separator}.{trackext}.{ext}"
    assert separate("--keep", "half", "-f", "flac", "--filename", pattern, "x.wav") == 0
    assert files("separated/identity") == [
        "half/x of identity.wav.flac",
        "no_half/x of identity.wav.flac",
    ]


def test_two_stems_in_both_spellings(here: Path) -> None:
    """The flag alone is followed by a song; with a name it takes that preset."""
    song("x.wav")
    for words in (["--two-stems", "x.wav"], ["--two-stems=vocals", "x.wav"]):
        code = call("separate", *words, "--json", cwd=here)
        assert code.returncode == 0, code.stderr
        stems = json.loads(code.stdout)["results"][0]["stems"]
        assert [s["name"] for s in stems] == ["vocals", "no_vocals"]
        shutil.rmtree("separated")
    assert run("separate", "--two-stems=vocls", "x.wav") == 1
