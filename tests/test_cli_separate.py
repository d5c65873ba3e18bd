"""`stembridge separate` on a separator whose stems are sums that can be done by hand.

Promises: the layout people know, files whole or not at all, nothing overwritten, one bad
song never stops a batch, and an interrupt or a full disk leaves no debris.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli_support import call, cli_program, environment, identity_separator, run
from identity import IdentitySeparator
from stembridge.audiofile import read_audio, write_audio
from stembridge.presets import EffectSpec, Preset, dumps
from stembridge.prompts import NamePrompt


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path / ".presets"))
    with identity_separator():
        yield tmp_path


def song(name: str, seconds: float = 1.0, channels: int = 2, rate: int = 44100) -> np.ndarray:
    random = np.random.default_rng(len(name))
    samples = round(seconds * rate)
    audio = (0.1 * random.standard_normal((channels, samples))).astype(np.float32)
    write_audio(name, audio, rate, "32f")
    return audio


def files(folder: Path | str = ".") -> list[str]:
    base = Path(folder)
    return sorted(str(p.relative_to(base)) for p in base.rglob("*") if p.is_file())


def separate(*words: str | Path) -> int:
    return run("separate", "-n", "identity", *words)


def results(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


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


# --- batches -------------------------------------------------------------------------------------


def test_one_bad_song_does_not_stop_the_batch(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song("one.wav")
    song("two.wav", rate=8000, channels=1)
    Path("empty.wav").touch()
    Path("text.wav").write_text("no audio")
    write_audio("none.wav", np.zeros((2, 0), np.float32), 44100)
    names = ["one.wav", "empty.wav", "text.wav", "missing.wav", "none.wav", "two.wav"]
    assert separate("--keep", "half", "--json", *names) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [r["status"] for r in document["results"]] == ["done"] + ["failed"] * 4 + ["done"]
    assert (document["done"], document["failed"], document["ok"]) == (2, 4, False)
    for result, word in zip(
        document["results"][1:5], ("0 bytes", "not audio", "no file", "no samples"), strict=True
    ):
        assert word in result["error"]["message"] and result["input"] in result["error"]["message"]
        assert result["error"]["code"] == "audio" and result["stems"] == []
    assert len(files("separated")) == 4
    assert all(n in captured.err for n in names), "progress and errors go to stderr"
    assert separate("--keep", "half", "--overwrite", *names) == 1
    assert "2 done, 4 failed" in capsys.readouterr().err


def test_the_json_form_is_stable(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song("x.wav", 0.5)
    assert separate("--keep", "half", "--json", "-m", "mix", "x.wav") == 0
    document = results(capsys)
    assert set(document) == {"ok", "stembridge", "results", "done", "failed"}
    (result,) = document["results"]
    fields = "input status error sample_rate channels seconds elapsed_seconds gain stems pictures"
    assert sorted(result) == sorted(fields.split(" "))
    assert (result["input"], result["seconds"], result["channels"]) == ("x.wav", 0.5, 2)
    assert result["stems"] == [
        {
            "name": name,
            "kind": kind,
            "preset": "half",
            "separator": "identity",
            "mode": "mix",
            "path": f"separated/identity/x/{name}.wav",
        }
        for kind, name in (("stem", "half"), ("rest", "no_half"))
    ]


@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_do_not_change_the_samples(here: Path, jobs: int) -> None:
    names = [f"{'x' * n}.wav" for n in range(1, 6)]
    audio = {name: song(name, 0.3) for name in names}
    assert separate("--keep", "half", "--bits", "32f", "-j", str(jobs), *names) == 0
    for name in names:
        made, _ = read_audio(f"separated/identity/{name[:-4]}/half.wav")
        np.testing.assert_allclose(made, audio[name] / 2, atol=1e-6)


def test_pictures_lie_beside_the_stems(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song("x.wav")
    assert separate("--keep", "half", "--plot", "--json", "x.wav") == 0
    (picture,) = results(capsys)["results"][0]["pictures"]
    assert picture == "separated/identity/x/half.png"
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


# --- interrupts and full disks ----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_finished_songs_and_no_debris(
    here: Path, number: signal.Signals
) -> None:
    """The first song is short and gets done; the second takes minutes and is stopped."""
    song("a.wav", 0.1)
    song("b.wav", 60)
    words = ["separate", "-n", "identity", "--keep", "half", "-j", "2", "a.wav", "b.wav"]
    command = cli_program(*words, slow=True)
    command[command.index("--keep") : command.index("--keep")] = ["--json"]
    # The test itself may run where interrupts are ignored, which a process would inherit.
    with subprocess.Popen(
        command,
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        done, drafts = here / "separated/identity/a/half.wav", here / "separated/identity/b"
        deadline = time.monotonic() + 60
        while not (done.exists() and drafts.exists() and list(drafts.iterdir())):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    statuses = [r["status"] for r in json.loads(out)["results"]]
    assert statuses == ["done", "cancelled"] and b"Traceback" not in err
    assert files("separated") == ["identity/a/half.wav", "identity/a/no_half.wav"]
    assert not drafts.exists()


def test_nohup_is_respected(here: Path) -> None:
    """A closed terminal does not stop what was started to outlive it."""
    song("b.wav", 10)
    command = cli_program("separate", "-n", "identity", "--keep", "half", "b.wav", slow=True)
    with subprocess.Popen(
        command,
        cwd=here,
        env=environment(),
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ) as process:
        drafts, deadline = here / "separated/identity/b", time.monotonic() + 60
        while not drafts.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 0
    assert files("separated") == ["identity/b/half.wav", "identity/b/no_half.wav"]


FULL_DISK = """
mkdir -p full && mount -t tmpfs -o size=1m tmpfs full && "$@"
code=$?
find full -type f
exit $code
"""


def test_a_full_disk_fails_the_song_and_leaves_nothing(here: Path) -> None:
    """On a disk of 1 MB of its own (a mount that only this test's process sees)."""
    song("big.wav", 20)
    song("small.wav", 0.2)
    space = ["unshare", "--mount"]
    if subprocess.run([*space, "true"], capture_output=True).returncode:
        space = ["unshare", "--user", "--map-root-user", "--mount"]
    words = ["separate", "-n", "identity", "--keep", "half", "-o", "full", "big.wav", "small.wav"]
    for clip in ("rescale", "clamp"):
        told = subprocess.run(
            [*space, "sh", "-c", FULL_DISK, "sh", *cli_program(*words, "--clip", clip)],
            cwd=here,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert told.returncode == 1, told.stderr + told.stdout
        assert "full" in told.stderr and "Free" in told.stderr, told.stderr
        assert "1 done, 1 failed" in told.stderr
        left = [line for line in told.stdout.splitlines() if line.startswith("full/")]
        assert sorted(left) == [
            "full/identity/small/half.wav",
            "full/identity/small/no_half.wav",
        ], told.stdout


def test_progress_is_for_terminals_only(here: Path) -> None:
    song("x.wav")
    told = call("separate", "-n", "identity", "--keep", "half", "x.wav", cwd=here)
    assert told.returncode == 0 and told.stderr == "" and "\x1b" not in told.stdout
    assert "half.wav" in told.stdout and "real time" in told.stdout


def test_python_dash_m_is_the_same_command(here: Path) -> None:
    command = [sys.executable, "-m", "stembridge", "--version"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0 and told.stdout.startswith("stembridge ")
