"""What `stembridge separate` refuses: each in one clear line, before anything is written.

Nothing is overwritten unless asked, no name leads out of the folder, and no result takes the
place of a source or of another result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli_support import files, results, run, separate, song
from stembridge.audiofile import read_audio, write_audio

pytestmark = pytest.mark.usefixtures("here")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "../{stem}.{ext}",
        "/tmp/{stem}.{ext}",
        "a/../../{stem}.{ext}",
        "~/{stem}.{ext}",
        "..\\{stem}.{ext}",
        "{stem.__class__}.{ext}",
        "{track!r}/{stem}",
        "{stem:>9}",
        "{0}{stem}",
        "{",
        "",
        "{stem}/",
        "{track}.{ext}",
        "{stem}\n{ext}",
    ],
)
def test_patterns_that_lead_elsewhere_are_refused(
    here: Path, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    song("x.wav")
    assert separate("--filename", pattern, "x.wav") == 1
    assert "--filename" in capsys.readouterr().err
    assert files() == ["x.wav"]


@pytest.mark.parametrize("name", ["...wav", "..wav", "a:b?.wav", "CON .wav", " .wav", "-x.wav"])
def test_track_names_cannot_lead_elsewhere(here: Path, name: str) -> None:
    audio = (0.1 * np.ones((1, 100))).astype(np.float32)
    write_audio("source.wav", audio, 44100)
    Path("source.wav").rename(name)
    assert separate("--keep", "half", "--", name) == 0
    made = [f for f in files() if f != name]
    assert len(made) == 2 and all(f.startswith("separated/identity/") for f in made)
    assert all(len(Path(f).parts) == 4 and ".." not in Path(f).parts for f in made), made


def test_results_never_replace_a_source_or_each_other(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("separated/identity").mkdir(parents=True)
    audio = song("separated/identity/half.wav")
    pattern = "{stem}.{ext}"
    source = "separated/identity/half.wav"
    assert separate("--keep", "half", "--filename", pattern, "--overwrite", source) == 1
    assert "a song to read" in capsys.readouterr().err
    assert np.array_equal(read_audio(source)[0], audio)
    song("a.wav")
    write_audio("a.flac", audio, 44100)
    assert separate("--keep", "half", "--json", "a.wav", "a.flac") == 1
    first, second = results(capsys)["results"]
    assert first["status"] == "done" and second["status"] == "failed"
    assert "same files" in second["error"]["message"]


def test_nothing_is_overwritten_unless_asked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song("x.wav")
    Path("separated/identity/x").mkdir(parents=True)
    precious = Path("separated/identity/x/no_half.wav")
    precious.write_text("precious")
    assert separate("--keep", "half", "x.wav") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert files("separated") == ["identity/x/no_half.wav"] and precious.read_text() == "precious"
    assert separate("--keep", "half", "--skip-existing", "--json", "x.wav") == 0
    assert results(capsys)["results"][0]["status"] == "exists"
    assert precious.read_text() == "precious"
    assert separate("--keep", "half", "--overwrite", "x.wav") == 0
    assert read_audio(precious)[0].shape == (2, 44100)


def test_wrong_words_are_one_clear_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song("x.wav")
    for words, expected in (
        (["-p", "vocal", "x.wav"], "Did you mean 'vocals'"),
        (["-p", "no/such.preset", "x.wav"], "no preset file"),
        (["-n", "spleeter", "x.wav"], "Choose one of"),
        (["-n", "identity", "--keep", "kazoo", "x.wav"], "identity knows only"),
        (["-n", "identity", "--example", "missing.wav", "x.wav"], "no file missing.wav"),
        (["-n", "identity", "--device", "cuda", "x.wav"], "no option 'device'"),
        ([], "No song is named"),
    ):
        assert run("separate", *words) == 1, words
        err = capsys.readouterr().err
        assert err.startswith("stembridge: ") and expected in err and err.count("\n") == 1, err
    for words in (["-f", "aiff"], ["--bits", "8"], ["-m", "fast"], ["-j", "0"], ["--clip", "no"]):
        assert run("separate", *words, "x.wav") == 2, words
    assert files() == ["x.wav"]


def test_an_error_is_json_too_when_json_is_asked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("separate", "-p", "vocal", "--json", "x.wav") == 1
    error = results(capsys)["error"]
    assert error["code"] == "preset" and "Did you mean" in error["message"]
