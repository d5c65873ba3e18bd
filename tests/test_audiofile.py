"""Reading and writing files: every awkward file is read or refused in one clear sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_support import music
from stembridge.audiofile import (
    open_audio,
    read_audio,
    write_audio,
)
from stembridge.errors import AudioError

# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 64, 65, 128, 8192, 8193])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_floats_come_back_to_the_bit(
    tmp_path: Path, samples: int, channels: int, rate: int
) -> None:
    audio = music(samples, channels, level=1.7)
    write_audio(tmp_path / "a.wav", audio, rate, "32f")
    back, back_rate = read_audio(tmp_path / "a.wav")
    assert back_rate == rate and back.dtype == np.float32 and np.array_equal(back, audio)


@pytest.mark.parametrize("block", [1, 1000, 4096, 1 << 20])
def test_blocks_join_to_the_whole(tmp_path: Path, block: int) -> None:
    audio = music(3001)
    write_audio(tmp_path / "a.flac", audio, 44100)
    with open_audio(tmp_path / "a.flac") as reader:
        assert (reader.sample_rate, reader.channels, reader.frames) == (44100, 2, 3001)
        pieces = list(reader.blocks(block))
    assert all(p.shape[1] == block for p in pieces[:-1]) and pieces[-1].shape[1] <= block
    assert np.array_equal(np.concatenate(pieces, axis=1), read_audio(tmp_path / "a.flac")[0])


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.flac", "a.aiff", "a.au", "a.caf", "a.opus"])
def test_the_usual_formats_are_read_in_time(tmp_path: Path, name: str) -> None:
    audio = music(48000)
    kinds = {"a.opus": ("OGG", "OPUS"), "a.mp3": ("MP3", None), "a.ogg": ("OGG", "VORBIS")}
    container, subtype = kinds.get(name, (name[2:].upper(), None))
    soundfile.write(tmp_path / name, audio.T, 48000, format=container, subtype=subtype)
    back, rate = read_audio(tmp_path / name)
    assert rate == 48000 and back.shape[0] == 2 and abs(back.shape[1] - 48000) <= 2000
    assert np.abs(back[:, 4000:40000] - audio[:, 4000:40000]).max() < 0.05


def test_m4a_is_read_through_ffmpeg(tmp_path: Path) -> None:
    assert shutil.which("ffmpeg"), "this test needs ffmpeg: apt-get install ffmpeg"
    audio = music(44100)
    write_audio(tmp_path / "a.wav", audio, 44100)
    song = tmp_path / "-song: it's.m4a"
    convert = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(tmp_path / "a.wav"),
        "-c:a",
        "aac",
        "-b:a",
        "256k",
    ]
    subprocess.run([*convert, f"file:{song}"], check=True, stdin=subprocess.DEVNULL)
    back, rate = read_audio(song)
    assert rate == 44100 and back.shape[0] == 2
    error = back[:, 4000:40000] - audio[:, 4000:40000]
    assert np.sqrt(np.mean(error**2)) < 0.02


def test_a_playlist_cannot_make_ffmpeg_open_other_files(tmp_path: Path) -> None:
    write_audio(tmp_path / "secret.wav", music(44100), 44100)
    for name, text in (
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match=name):
            read_audio(tmp_path / name)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(AudioError) as caught:
        open_audio(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_what_is_not_audio_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "empty (0 bytes)")
    (tmp_path / "text.wav").write_text("just words " * 100)
    refused(tmp_path / "text.wav", "not audio", "Convert it")
    (tmp_path / "random.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    refused(tmp_path / "random.mp3", "not audio")
    (tmp_path / "header.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE")
    refused(tmp_path / "header.wav")
    refused(tmp_path, "folder")
    refused(tmp_path / "missing.wav", "no file")
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    refused(loop, "cannot be read")


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", music(100), 44100)
    (tmp_path / "a.wav").chmod(0)
    code = (
        "import os, sys\n"
        "from stembridge.audiofile import open_audio\n"
        "from stembridge.errors import AudioError\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: open_audio(sys.argv[1])\n"
        "except AudioError as e: print(e)"
    )
    # The administrator may read everything, so the look is taken as nobody.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.wav")], capture_output=True, text=True
    )
    assert "cannot be read" in told.stdout and "Permission denied" in told.stdout, told


def test_a_truncated_file_gives_what_there_is(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", music(10000), 44100, "16")
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + 4 * 2500])
    back, _ = read_audio(tmp_path / "cut.wav")
    assert back.shape == (2, 2500)
    assert np.array_equal(back, read_audio(tmp_path / "a.wav")[0][:, :2500])


def test_a_file_without_samples_is_read_as_such(tmp_path: Path) -> None:
    write_audio(tmp_path / "none.wav", music(0), 44100)
    audio, rate = read_audio(tmp_path / "none.wav")
    assert audio.shape == (2, 0) and rate == 44100
