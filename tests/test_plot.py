"""The picture: a readable PNG for every length and rate, in bounded memory."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from stembridge.errors import AudioError, NotAvailableError
from stembridge.plot import BANDS, MAX_COLUMNS, Picture, require_matplotlib


def added(samples: int, rate: int = 44100, block: int = 50_000, channels: int = 2) -> Picture:
    """A picture of a rising tone as the target and noise as the remainder."""
    picture = Picture("a $song$ & more", rate)
    random = np.random.default_rng(0)
    for start in range(0, samples, block):
        time = np.arange(start, min(samples, start + block)) / rate
        tone = np.tile(0.4 * np.sin(2 * np.pi * 0.1 * rate * time), (channels, 1))
        noise = 0.05 * random.standard_normal(tone.shape)
        picture.add(*(a.astype(np.float32) for a in (tone + noise, tone, noise)))
    return picture


def size_of(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize(("samples", "rate"), [(1, 8000), (44_100, 44_100), (300_001, 192_000)])
def test_every_length_and_rate_is_drawn(tmp_path: Path, samples: int, rate: int) -> None:
    path = added(samples, rate).save(tmp_path / "p.png")
    assert size_of(path) == (1485, 1100)


def test_silence_and_one_channel_are_drawn(tmp_path: Path) -> None:
    picture = Picture("silence", 44100)
    silence = np.zeros((1, 9000), np.float32)
    picture.add(silence, silence, silence)
    size_of(picture.save(tmp_path / "p.png"))


def test_a_long_song_keeps_few_columns_and_its_extremes() -> None:
    """Ten minutes: columns join, and no peak is lost in joining."""
    picture = Picture("long", 8000)
    for second in range(600):
        block = np.full((1, 8000), 0.001, np.float32)
        if second in (3, 421):
            block[0, 17] = 0.9
        picture.add(block, block, -block)
    columns = len(picture._low)
    assert columns <= 2 * MAX_COLUMNS + 1
    high = np.array(picture._high)[:, 0]
    peaks = np.flatnonzero(high > 0.5)
    np.testing.assert_allclose(peaks / columns * 600, [3, 421], atol=1.0)
    assert np.array(picture._power).shape == (columns, 3, BANDS)


def test_a_tone_stands_in_its_own_band() -> None:
    picture = added(88_200)
    power = np.median(np.array(picture._power)[20:-20, 1], axis=0)
    band_hz = np.geomspace(30, 22050, BANDS + 1)
    loudest = int(power.argmax())
    assert band_hz[loudest] * 0.9 < 4410 < band_hz[loudest + 1] * 1.1


def test_blocks_do_not_matter() -> None:
    one, many = added(100_000, block=100_000), added(100_000, block=7_001)
    # The random remainder differs by the blocks; the tone does not.
    np.testing.assert_allclose(np.array(one._high)[:, 1], np.array(many._high)[:, 1], atol=1e-6)
    np.testing.assert_allclose(
        np.array(one._power)[:, 1], np.array(many._power)[:, 1], rtol=1e-3, atol=1e-3
    )


def test_nothing_to_draw_and_no_place_are_said(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no sound"):
        Picture("x", 44100).save(tmp_path / "p.png")
    (tmp_path / "p.png").write_text("precious")
    with pytest.raises(AudioError, match="--overwrite"):
        added(1000).save(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_text() == "precious"
    size_of(added(1000).save(tmp_path / "p.png", overwrite=True))


def test_without_matplotlib_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotAvailableError, match=r"stembridge\[plot\]"):
        require_matplotlib()
