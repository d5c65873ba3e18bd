"""Many songs in one `stembridge separate`: one bad song never stops a batch, and an interrupt or
a full disk leaves finished songs whole and no debris.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cli_support import call, cli_program, environment, files, results, separate, song
from stembridge.audiofile import read_audio, write_audio

pytestmark = pytest.mark.usefixtures("here")


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
