"""Long clips: an hour is thinned in bounded memory, evenly, and said; short ones stay whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembridge.audiofile import create_audio
from stembridge.prompts import Clip
from stembridge.tuning.long_clips import (
    MOST_SECONDS,
    ThinnedClip,
    bounded,
    note_of,
    read_clips,
    thin,
)

RATE = 8000


def numbered(seconds: int, rate: int = RATE) -> np.ndarray:
    """Mono audio in which every sample is the number of its second."""
    return np.repeat(np.arange(seconds, dtype=np.float32), rate)[None]


def hour_file(path: Path, seconds: int = 3600) -> Path:
    with create_audio(path, RATE, 1, bits="16") as writer:
        for second in range(seconds):
            writer.write(np.full((1, RATE), (second % 1000) / 1024, np.float32))
    return path


@given(st.integers(1, 60), st.integers(1, 12), st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_thinning_is_even_and_the_same_in_any_blocks(
    seconds: int, most: int, sizes: list[int]
) -> None:
    rate = 10
    audio = np.concatenate([numbered(seconds, rate), np.full((1, 3), seconds, np.float32)], axis=1)

    def blocks() -> Iterator[np.ndarray]:
        start, turn = 0, 0
        while start < audio.shape[1]:
            yield audio[:, start : start + sizes[turn % len(sizes)]]
            start, turn = start + sizes[turn % len(sizes)], turn + 1

    kept, heard = thin(blocks(), rate, most)
    assert heard == pytest.approx(seconds + 0.3)
    assert np.array_equal(kept, thin([audio], rate, most)[0])
    if seconds <= most:
        assert np.array_equal(kept, audio)
        return
    chosen = kept[0, ::rate]
    assert most / 2 <= len(chosen) <= most + 1
    step = chosen[1] - chosen[0] if len(chosen) > 1 else seconds
    assert np.array_equal(chosen, np.arange(len(chosen)) * step)
    assert chosen[-1] + step >= seconds


def test_an_hour_of_a_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = hour_file(tmp_path / "hour.wav")
    tracemalloc.start()
    (clip,) = read_clips([path])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    whole = 3600 * RATE * 4
    assert peak < whole / 2
    assert isinstance(clip, ThinnedClip) and clip.of_seconds == pytest.approx(3600)
    assert MOST_SECONDS / 2 <= clip.audio.shape[1] / RATE <= MOST_SECONDS
    assert note_of([clip]) == ("of hour.wav (3600 s) 450 s were used, spread over the whole",)


def test_an_hour_of_many_clips_is_thinned_where_it_is_long() -> None:
    long = [Clip(numbered(120), RATE, f"{i}") for i in range(29)]
    short = Clip(numbered(5), RATE, "short")
    kept = bounded([*long, short])
    seconds = [clip.audio.shape[1] / RATE for clip in kept]
    assert sum(seconds) <= MOST_SECONDS + len(kept)
    assert seconds[-1] == 5 and min(seconds) >= 5 and kept[-1] is short
    (note,) = note_of(kept)
    assert note.startswith("of 29 long clips (3480 s)")


def test_what_is_not_too_long_is_the_same_object() -> None:
    clips = [Clip(numbered(30), RATE), Clip(np.zeros((0, 5), np.float32), RATE)]
    assert all(a is b for a, b in zip(bounded(clips), clips, strict=True))
    assert note_of(clips) == () == note_of([])


def test_more_clips_than_seconds_stay_whole_seconds() -> None:
    clips = [Clip(numbered(2), RATE) for _ in range(700)]
    kept = bounded(clips)
    assert {clip.audio.shape[1] for clip in kept} == {RATE}
