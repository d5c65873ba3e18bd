"""`Board`: both kinds of effects in one list, none bypassed, streams equal to the whole."""

from __future__ import annotations

import numpy as np
import pedalboard
import pytest

from identity import IdentitySeparator
from stembridge import Board, Separate
from stembridge.errors import AudioError
from stembridge.presets import Preset
from stembridge.prompts import NamePrompt

SEPARATOR = IdentitySeparator(44100, 2, 96, 130)
IMPULSE = np.exp(-np.arange(500) / 50).astype(np.float32)


def half() -> Separate:
    return Separate(Preset("half", keep=(NamePrompt("half"),)), separator=SEPARATOR)


def noise(channels: int, samples: int) -> np.ndarray:
    audio = np.random.default_rng(4).standard_normal((channels, samples)) * 0.2
    return audio.astype(np.float32)


EFFECTS = {
    "none": lambda: [],
    "gain": lambda: [pedalboard.Gain(-6)],
    "compressor": lambda: [pedalboard.Compressor(-30, 4), pedalboard.Gain(3)],
    "reverb": lambda: [pedalboard.Reverb()],
    "chorus": lambda: [pedalboard.Chorus()],
    "convolution": lambda: [pedalboard.Convolution(IMPULSE, 0.5, 44100)],
    "late: mp3": lambda: [pedalboard.MP3Compressor()],
    "late: resample": lambda: [pedalboard.Resample(22050), pedalboard.Limiter()],
    "late: pitch": lambda: [pedalboard.PitchShift(2)],
    "late: phone": lambda: [pedalboard.GSMFullRateCompressor()],
    "nested": lambda: [pedalboard.Pedalboard([pedalboard.Gain(1), pedalboard.Reverb()])],
    "parallel": lambda: [pedalboard.Mix([pedalboard.Gain(1), pedalboard.PitchShift(1)])],
}


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("channels", [1, 2])
def test_pedalboards_effects_sound_as_in_a_pedalboard_also_as_a_stream(name, channels):
    audio = noise(channels, 30_011)
    expected = pedalboard.Pedalboard(EFFECTS[name]())(audio, 44100)
    board = Board(EFFECTS[name]())
    np.testing.assert_array_equal(board(audio, 44100), expected)
    pieces = [board(audio[:, i : i + 777], 44100, reset=False) for i in range(0, 30_011, 777)]
    np.testing.assert_array_equal(np.concatenate([*pieces, board.flush()], axis=1), expected)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_both_kinds_in_a_row_are_the_one_after_the_other(rate):
    audio = noise(2, 40_000)
    board = Board([pedalboard.Gain(6), half(), Board([pedalboard.Reverb(), half()])])
    expected = half()(
        pedalboard.Reverb()(half()(pedalboard.Gain(6)(audio, rate), rate), rate), rate
    )
    np.testing.assert_array_equal(board(audio, rate), expected)
    np.testing.assert_array_equal(board(audio.T, rate), expected.T)
    pieces = [board(audio[:, i : i + 999], rate, reset=False) for i in range(0, 40_000, 999)]
    np.testing.assert_array_equal(np.concatenate([*pieces, board.flush()], axis=1), expected)


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 64])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pieces_shorter_than_their_channels_are_not_turned_over(samples, channels):
    # Shown (2, 1), pedalboard takes it for one channel of two samples: a delay tells.
    audio = noise(channels, samples)
    board = Board([pedalboard.Delay(delay_seconds=1 / 1000, feedback=0, mix=1.0)])
    board(noise(channels, 50), 1000)  # shows the layout
    expected = np.zeros_like(audio)
    expected[:, 1:] = audio[:, : max(0, samples - 1)]
    np.testing.assert_allclose(board(audio, 1000), expected, atol=1e-7)
    board(audio, 1000, reset=False)
    rest = board.flush()
    np.testing.assert_allclose(rest, expected, atol=1e-7)


def test_it_is_a_list():
    gain, separate = pedalboard.Gain(1), half()
    board = Board([gain])
    board.append(separate)
    assert len(board) == 2 and board[1] is separate and gain in board
    assert board[:1] == [gain] and list(board) == [gain, separate]
    board.insert(0, pedalboard.Reverb())
    board[0] = pedalboard.Chorus()
    del board[0]
    board += [Board()]
    assert board.index(separate) == 1 and board.pop().__class__ is Board
    board[:] = [separate, gain]
    assert board[0] is separate
    board.reverse()
    assert board[0] is gain
    board.clear()
    audio = noise(2, 100)
    out = board(audio, 44100)
    np.testing.assert_array_equal(out, audio)
    assert out is not audio
    assert "Board" in repr(Board([gain, separate]))


class Overridden(pedalboard.Gain):
    def process(self, *_args, **_kwargs):
        raise AssertionError("pedalboard never calls this")


# pedalboard forgets the Python side of an effect that nobody else holds: only then is the
# override really gone, and what is left is a plain Gain.
HELD = Overridden()


class Renamed(pedalboard.Gain):
    """A subclass that changes nothing runs as what it is."""


@pytest.mark.parametrize(
    ("effect", "advice"),
    [
        (Overridden(), "bypass"),
        (pedalboard.Pedalboard([HELD]), "bypass"),
        (pedalboard.Mix([pedalboard.Pedalboard([HELD])]), "bypass"),
        (pedalboard.Gain, r"add \(\)"),
        (np.tanh, "function"),
        (lambda audio: audio, "function"),
        ("reverb", "pedalboard plugins"),
        (None, "pedalboard plugins"),
        (SEPARATOR, "stembridge.Separate"),
    ],
)
def test_what_cannot_run_is_a_type_error_that_says_what_to_do(effect, advice):
    for attempt in (lambda: Board([effect]), lambda: Board().append(effect)):
        with pytest.raises(TypeError, match=advice):
            attempt()


def test_subclasses_that_change_nothing_are_welcome():
    np.testing.assert_allclose(
        Board([Renamed(6)])(noise(1, 100), 44100), noise(1, 100) * 10**0.3, rtol=1e-5
    )


def test_a_container_that_changed_later_is_looked_at_again():
    inner = pedalboard.Pedalboard([pedalboard.Gain(1)])
    board = Board([inner])
    inner.append(HELD)
    with pytest.raises(TypeError, match="bypass"):
        board(noise(2, 100), 44100)
    with pytest.raises(TypeError, match="bypass"):
        board(noise(2, 100), 44100, reset=False)


def test_no_effect_twice_and_no_board_in_itself():
    gain, board = pedalboard.Gain(1), Board()
    with pytest.raises(TypeError, match="twice"):
        Board([gain, Board([gain])])
    for inner in (board, Board([board])):
        with pytest.raises(TypeError, match="itself"):
            board.append(inner)
    assert len(board) == 0, "a refused effect is not in the board"


def test_our_effects_in_a_pedalboard_are_refused_by_pedalboard():
    with pytest.raises(TypeError):
        pedalboard.Pedalboard([half()])  # type: ignore[list-item]


def test_a_board_does_not_change_within_a_stream():
    board = Board([half()])
    board(noise(2, 500), 44100, reset=False)
    board.append(pedalboard.Gain(1))
    with pytest.raises(AudioError, match="flush"):
        board(noise(2, 500), 44100, reset=False)
    board.reset()
    assert board(noise(2, 500), 44100).shape == (2, 500)


def test_a_swap_inside_a_streaming_board_cross_fades():
    separate = half()
    board = Board([separate])
    ones = np.ones((2, 4000), np.float32)
    out = [board(ones, 44100, reset=False)]
    separate.preset = Preset("all", keep=(NamePrompt("all"),))
    out += [board(ones, 44100, reset=False), board.flush()]
    heard = np.concatenate(out, axis=1)
    assert heard.shape == (2, 8000) and heard[0, 3000] == 0.5 and heard[0, -1] == 1.0
    assert np.abs(np.diff(heard)).max() < 0.01


def test_progress_runs_over_all_effects():
    fractions: list[float] = []
    Board([half(), pedalboard.Gain(1)])(noise(2, 300_000), 44100, progress=fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
