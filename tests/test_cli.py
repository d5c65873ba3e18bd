"""The command line as a whole: quick help, one-line errors, presets in and out, machine output."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli_support import call, environment, identity_separator, run
from stembridge.audiofile import write_audio
from stembridge.cli.doctor import CHECKS, Check, Finding, torch_advice
from stembridge.cli.verbs import VERBS
from stembridge.presets import load_preset, loads


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMBRIDGE_PRESETS", str(tmp_path / "mine"))
    monkeypatch.delenv("STEMBRIDGE_DEBUG", raising=False)
    yield tmp_path


# --- help ------------------------------------------------------------------------------------


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['stembridge', *sys.argv[1:]]\n"
        "from stembridge.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'rich', 'pedalboard', 'soundfile', 'matplotlib'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    for words in (["--help"], *([verb, "--help"] for verb in VERBS)):
        told = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert told.stdout.rstrip().endswith("LOADED []"), (words, told.stdout, told.stderr)
        assert "examples:" in told.stdout, f"{words} shows no examples"
        if words == ["--help"]:
            for name, verb in VERBS.items():
                assert f" {name} " in told.stdout and verb.summary in told.stdout


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_keeps_the_contract(name: str) -> None:
    import importlib

    module = importlib.import_module(f"stembridge.cli.{VERBS[name].module}")
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="verb")
    module.add_parser(subparsers)
    assert list(subparsers.choices) == [name]
    assert callable(module.run)


def test_without_words_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "separate" in capsys.readouterr().out


def test_a_mistyped_verb_gets_a_hint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("seperate", "x.wav") == 2
    assert "Did you mean 'separate'?" in capsys.readouterr().err
    Path("song.wav").touch()
    assert run("song.wav") == 2
    assert "stembridge separate song.wav" in capsys.readouterr().err


def test_a_bug_is_one_line_and_a_way_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import stembridge.cli.presets as verb

    def broken(args: argparse.Namespace) -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(verb, "run", broken)
    assert run("presets", "list") == 1
    err = capsys.readouterr().err
    assert "boom" in err and "doctor" in err and err.count("\n") == 1
    monkeypatch.setenv("STEMBRIDGE_DEBUG", "1")
    with pytest.raises(RuntimeError):
        run("presets", "list")


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m stembridge presets list | head -1"
    told = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in told.stderr and "preset" in told.stdout


# --- presets ---------------------------------------------------------------------------------


def test_presets_list_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("presets", "save", "vocals", "--from", "vocals", "--target-gain", "-3") == 0
    capsys.readouterr()
    assert run("presets") == 0
    shown = capsys.readouterr().out
    assert "replaces factory" in shown and "replaced by yours" in shown and "karaoke" in shown
    assert run("presets", "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["presets"]
    first = rows[0]
    assert (first["slug"], first["origin"], first["replaces_factory"]) == ("vocals", "user", True)
    assert {"karaoke", "drumless", "dialogue"} <= {row["slug"] for row in rows}


def test_save_show_export_import_delete(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio("bark.wav", np.full((1, 800), 0.1, np.float32), 8000)
    words = ["--example", "bark.wav", "--remove", "none", "--separator", "identity", "-m", "mix"]
    with identity_separator():
        assert run("presets", "save", "My Dog", *words, "--author", "me", "--output", "mix") == 0
        preset = load_preset("my-dog")
        assert (preset.mode, preset.output, preset.author) == ("mix", "mix", "me")
        assert preset.keep[0].clips[0].label == "bark.wav"  # type: ignore[union-attr]
        assert run("presets", "save", "My Dog", *words) == 1, "kept unless --overwrite"
        assert run("presets", "save", "My Dog", "--from", "My Dog", "--overwrite") == 0
        capsys.readouterr()
        assert run("presets", "show", "my dog") == 0
        assert loads(capsys.readouterr().out) == preset
        assert run("presets", "export", "my-dog", "out.preset") == 0
        assert run("presets", "export", "--all", "backup") == 0
        assert Path("backup/my-dog.preset").read_text() == Path("out.preset").read_text()
        assert run("presets", "delete", "my-dog") == 0
        assert run("presets", "import", "broken.preset", "out.preset") == 1, "one is missing"
        assert load_preset("my-dog") == preset


def test_presets_say_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["save", "x"], "Nothing to save"),
        (["export", "vocals"], "stembridge presets export NAME PLACE"),
        (["export", "--all", "somewhere"], "no presets yet"),
        (["delete", "vocals"], "Factory presets cannot be deleted"),
        (["show", "zzz"], "no preset 'zzz'"),
        (["import", "zzz.preset"], "no preset file"),
    ):
        assert run("presets", *words) == 1, words
        assert expected in capsys.readouterr().err


def test_a_saved_copy_of_a_factory_preset_does_not_claim_its_author() -> None:
    assert run("presets", "save", "mine", "--from", "karaoke") == 0
    assert load_preset("mine").author == "" and load_preset("karaoke").author


# --- the other verbs ---------------------------------------------------------------------------


def test_separators_are_listed_with_their_state(capsys: pytest.CaptureFixture[str]) -> None:
    with identity_separator():
        assert run("separators", "--json") == 0
        rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)["separators"]}
        assert run("separators") == 0
    assert "identity" in capsys.readouterr().out
    identity = rows["identity"]
    assert identity["ready"] and identity["names"][:2] == ["all", "half"]
    assert identity["latency_seconds"]["live"] == pytest.approx((100 + 511) / 44100, abs=1e-4)
    assert rows["unet"]["ready"] and "vocals" in rows["unet"]["names"]
    for row in rows.values():
        assert row["ready"] or row["missing"], f"{row['name']} is not ready and does not say why"


def test_bench_measures_every_mode(capsys: pytest.CaptureFixture[str]) -> None:
    with identity_separator():
        assert run("bench", "-n", "identity", "--seconds", "2", "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert [row["mode"] for row in document["modes"]] == ["live", "mix", "render"]
        assert all(0 < row["seconds_per_second"] < 10 for row in document["modes"])
        assert run("bench", "-n", "identity", "--seconds", "1", "-m", "mix") == 0
        assert "mix" in capsys.readouterr().out


def test_doctor_finds_this_installation_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--quick", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    found = {f["subject"]: f for f in document["findings"]}
    assert document["ok"] and found["versions"]["data"]["torch"]
    assert found["native"]["level"] == "ok"
    assert found["unet"]["data"]["ready"] and found["presets"]["data"]["factory"] >= 20
    assert run("doctor", "--quick") == 0
    assert "Stembridge is ready" in capsys.readouterr().out


def test_doctor_survives_a_check_that_breaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(context: object) -> list[Finding]:
        raise OSError("no such thing")

    monkeypatch.setattr("stembridge.cli.doctor.CHECKS", [*CHECKS[:1], Check("mine", broken)])
    assert run("doctor", "--quick") == 1
    out = capsys.readouterr().out
    assert "no such thing" in out and "1 problem" in out


@pytest.mark.parametrize(
    ("cuda_build", "cuda_works", "has_gpu", "word"),
    [
        (False, False, False, ""),
        (True, True, True, ""),
        (True, False, False, "CPU build"),
        (False, False, True, "Install the CUDA build"),
        (True, False, True, "nvidia-smi"),
    ],
)
def test_doctor_notices_a_torch_that_does_not_suit(
    cuda_build: bool, cuda_works: bool, has_gpu: bool, word: str
) -> None:
    advice = torch_advice(cuda_build, cuda_works, has_gpu)
    assert (word in advice) if word else not advice


def test_plot_draws_from_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = np.random.default_rng(0).standard_normal((2, 30000)).astype(np.float32) * 0.1
    write_audio("song.wav", audio, 44100)
    write_audio("kept.wav", audio / 2, 44100)
    assert run("plot", "song.wav", "kept.wav") == 0
    assert Path("kept.png").read_bytes().startswith(b"\x89PNG")
    assert run("plot", "song.wav", "kept.wav") == 1
    assert "--overwrite" in capsys.readouterr().err
    write_audio("mono.wav", audio[:1], 44100)
    assert run("plot", "song.wav", "mono.wav") == 1
    assert "does not belong" in capsys.readouterr().err


def test_progress_is_drawn_on_a_terminal(here: Path) -> None:
    """Under a pseudo terminal the bar appears, and results still reach standard output."""
    write_audio("x.wav", np.full((2, 44100 * 8), 0.1, np.float32), 44100)
    code = (
        "import pty, sys, os\n"
        "out = []\n"
        "def read(fd):\n"
        "    data = os.read(fd, 4096); out.append(data); return data\n"
        "status = pty.spawn(sys.argv[1:], read)\n"
        "sys.exit(os.waitstatus_to_exitcode(status))"
    )
    from cli_support import cli_program

    program = cli_program("separate", "-n", "identity", "--keep", "half", "x.wav", slow=True)
    told = subprocess.run(
        [sys.executable, "-c", code, *program],
        capture_output=True,
        text=True,
        env=environment() | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "\x1b[" in told.stdout and "x.wav" in told.stdout and "%" in told.stdout
    assert "half.wav" in told.stdout and os.path.exists("separated/identity/x/half.wav")  # noqa: PTH110


def test_the_example_song_is_there_with_its_stems() -> None:
    from stembridge.audiofile import read_audio
    from stembridge.example import example_song

    repository = Path(__file__).resolve().parents[1]
    song, rate = read_audio(example_song())
    stems = sorted((repository / "bridge" / "examples" / "stems" / "potassium").glob("*.ogg"))
    assert [s.stem for s in stems] == ["bass", "drums", "other", "vocals"]
    mix = np.sum([read_audio(s)[0] for s in stems], axis=0)
    error = np.sum((song - mix) ** 2) / np.sum(mix**2)
    assert rate == 48000 and song.shape == (2, 12 * 48000) and error < 0.01
    size = sum(p.stat().st_size for p in [repository / "bridge/examples/song.ogg", *stems])
    assert size < 1_000_000
    assert "CC0" in (repository / "bridge" / "examples" / "ATTRIBUTION.md").read_text()


def test_call_passes_the_exit_code(here: Path) -> None:
    assert call("presets", "show", "zzz").returncode == 1
