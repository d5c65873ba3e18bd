"""The chain's promises, with a separator whose stems are known exactly.

Whatever the rate, the number of channels, the length and the blocks: as much comes out as
went in, where it went in; target + remainder is the input; and no cut changes a sample.
"""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import IdentitySeparator
from stembridge.chain import ChainBlock, SeparationChain
from stembridge.errors import AudioError, NotAvailableError, PresetError, PromptError
from stembridge.presets import Preset
from stembridge.prompts import EncodedPrompt, NamePrompt, Query
from stembridge.resample import resample

RATES = [8000, 44100, 48000, 88200, 96000, 192000]
LENGTHS = [0, 1, 64, 65, 8193]


def separator(**settings) -> IdentitySeparator:
    return IdentitySeparator(**{"step_samples": 96, "lookahead_samples": 130} | settings)


def noise(channels: int, samples: int, seed: int = 1, level: float = 0.3) -> np.ndarray:
    audio = np.random.default_rng(seed).standard_normal((channels, samples)) * level
    return audio.astype(np.float32)


def cuts(audio: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The audio in pieces of the given sizes, over and over until it ends."""
    pieces, start, turn = [], 0, 0
    while start < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        pieces.append(audio[:, start : start + size])
        start, turn = start + size, turn + 1
    return pieces


def play(chain: SeparationChain, pieces: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Target, remainder and what is heard of all pieces."""
    blocks, heard = [], []
    position = 0
    for piece in [*pieces, None]:
        block = chain.flush() if piece is None else chain.push(piece)
        assert block.start_samples == position, "blocks join without gap or overlap"
        position += block.samples
        blocks.append(block)
        heard.append(chain.finish(block))
    return (
        np.concatenate([b.target for b in blocks], axis=-1),
        np.concatenate([b.remainder for b in blocks], axis=-1),
        np.concatenate(heard, axis=-1),
    )


def half(keep: str = "half", remove: str = "", **settings) -> Preset:
    sides = [tuple(NamePrompt(n) for n in side.split()) for side in (keep, remove)]
    return Preset("test", keep=sides[0], remove=sides[1], **settings)


# --- length, alignment, sum -------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("own_channels", [1, 2])
@pytest.mark.parametrize("samples", LENGTHS)
def test_length_alignment_and_sum(rate, channels, own_channels, samples):
    sep = separator(channels=own_channels)
    audio = noise(channels, samples)
    chain = SeparationChain(sep.query("half"), rate, channels, separator=sep)
    target, remainder, heard = play(chain, cuts(audio, [1000, 1, 64, 333]))
    assert target.shape == remainder.shape == heard.shape == audio.shape
    np.testing.assert_allclose(target + remainder, audio, atol=1e-6)
    np.testing.assert_array_equal(heard, target)
    # After the end comes silence, as in a host that plays on: the filters ring into it.
    played_on = np.pad(audio, ((0, 0), (0, 4096)))
    there_and_back = resample(resample(played_on, rate, 44100), 44100, rate)[:, :samples]
    np.testing.assert_allclose(target, 0.5 * there_and_back, atol=3e-6)


@pytest.mark.parametrize("rate", RATES)
def test_the_end_of_a_file_is_a_host_that_plays_on_in_silence(rate):
    """So a bounce past the end of the song equals the command line to its last sample."""
    sep = separator()
    audio = noise(2, 8193)
    ended = SeparationChain(sep.query("half"), rate, 2, separator=sep)
    target, _, _ = play(ended, [audio])
    playing = SeparationChain(sep.query("half"), rate, 2, separator=sep)
    onward = playing.push(np.pad(audio, ((0, 0), (0, 4 * rate)))).target
    np.testing.assert_array_equal(target, onward[:, : audio.shape[1]])


def test_at_the_separators_own_rate_nothing_is_added():
    audio = noise(2, 10_000)
    sep = separator()
    target, remainder, _ = play(
        SeparationChain(sep.query("half"), 44100, 2, separator=sep), [audio]
    )
    np.testing.assert_array_equal(target, 0.5 * audio)
    np.testing.assert_array_equal(remainder, audio - target)


def test_what_lies_above_the_separators_range_is_in_the_remainder():
    high = np.sin(2 * np.pi * 9000 * np.arange(48000) / 48000).astype(np.float32)[np.newaxis]
    sep = separator(sample_rate=16000, channels=1)
    keep = play(SeparationChain(sep.query("all"), 48000, 1, separator=sep), [high])
    assert np.abs(keep[0][:, 1000:-1000]).max() < 1e-4
    # A preset that only removes keeps the full band.
    removed = play(SeparationChain(sep.query(remove="all"), 48000, 1, separator=sep), [high])
    np.testing.assert_allclose(removed[0][:, 1000:-1000], high[:, 1000:-1000], atol=1e-4)


@pytest.mark.parametrize("name", ["half", "loud", "none", "all"])
@pytest.mark.parametrize("level", [1e-6, 1.0, 7.9])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_sum_holds_for_inputs_beyond_full_scale(name, level, rate):
    audio = np.clip(noise(2, 20_000), -1, 1) * np.float32(level)
    sep = separator()
    target, remainder, _ = play(SeparationChain(sep.query(name), rate, 2, separator=sep), [audio])
    np.testing.assert_allclose(target + remainder, audio, rtol=0, atol=1e-6)
    if name != "loud":
        louder = np.abs(target) > np.abs(audio)
        np.testing.assert_array_equal((target + remainder)[~louder], audio[~louder])


def test_an_empty_keep_is_everything_but_what_is_removed():
    audio = noise(2, 5000)
    sep = separator()
    kept = play(SeparationChain(sep.query("half"), 48000, 2, separator=sep), [audio])
    rest = play(SeparationChain(sep.query(remove="half"), 48000, 2, separator=sep), [audio])
    np.testing.assert_allclose(rest[0], kept[1], atol=1e-7)
    np.testing.assert_allclose(rest[1], kept[0], atol=1e-7)


# --- cuts -------------------------------------------------------------------------------


@given(
    rate=st.sampled_from([8000, 44100, 48000, 96000]),
    channels=st.integers(1, 3),
    step=st.integers(1, 300),
    lookahead=st.integers(0, 500),
    together=st.booleans(),
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=8),
)
def test_no_cut_changes_a_sample(rate, channels, step, lookahead, together, sizes):
    sep = IdentitySeparator(44100, 2, step, lookahead, together=together)
    audio = noise(channels, sum(sizes))
    effects = half(output="mix", remainder_gain_db=-6.0)
    whole = play(SeparationChain(effects, rate, channels, separator=sep), [audio])
    edges = np.cumsum([0, *sizes])
    pieces = [audio[:, a:b] for a, b in itertools.pairwise(edges)]
    cut = play(SeparationChain(effects, rate, channels, separator=sep), pieces)
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    rate=st.sampled_from([11025, 44100, 48000, 96000]),
    step=st.integers(1, 200),
    lookahead=st.integers(0, 300),
    block=st.sampled_from([None, 1, 64, 65, 128, 512]),
)
def test_in_real_time_each_block_is_answered_and_constantly_late(rate, step, lookahead, block):
    sep = IdentitySeparator(44100, 2, step, lookahead)
    audio = noise(2, 1500)
    preset = half(output="mix", target_gain_db=-3.0)
    chain = SeparationChain(preset, rate, 2, separator=sep)
    sizes = [block] if block else [1, 700, 64, 3]
    pieces = [piece for piece in cuts(audio, sizes) if block in (None, piece.shape[1])]
    out = [chain.process(piece) for piece in pieces]
    assert [o.shape for o in out] == [p.shape for p in pieces]
    late = np.concatenate(out, axis=1)
    aligned = play(SeparationChain(preset, rate, 2, separator=sep), [audio])[2]
    latency = chain.latency_samples
    assert not late[:, :latency].any()
    count = max(0, late.shape[1] - latency)
    np.testing.assert_array_equal(late[:, latency:], aligned[:, :count])
    assert latency == sum(chain.latency_parts().values())


def test_effects_do_not_depend_on_blocks_that_grow():
    # pedalboard's effects forget their state when a longer block than before arrives, and
    # take two samples of stereo for one channel.
    from stembridge.presets import EffectSpec

    effects = (EffectSpec("Reverb", {"room_size": 0.6}), EffectSpec("Compressor", {"ratio": 8.0}))
    sep = separator()
    preset = half("all", effects=effects)
    audio = noise(3, 30_000)
    whole = play(SeparationChain(preset, 44100, 3, separator=sep), [audio])[2]
    growing = [audio[:, :1], *cuts(audio[:, 1:], [1, 2, 2, 64, 1000, 3, 9000])]
    cut = play(SeparationChain(preset, 44100, 3, separator=sep), growing)[2]
    np.testing.assert_array_equal(whole, cut)
    assert np.abs(whole - audio).max() > 0.01


def test_feed_advance_take_is_push():
    sep = separator(together=True)
    audio = noise(3, 9000)
    audio[:, :700] = 0.0  # the first piece is silent: steps are counted from what follows
    chain = SeparationChain(sep.query("half"), 48000, 3, separator=sep)
    expected = play(SeparationChain(sep.query("half"), 48000, 3, separator=sep), [audio])[0]
    taken = []
    for piece in cuts(audio, [700, 31]):
        next_step, due = chain.samples_to_next_step, chain.due
        chain.feed(piece)
        assert (chain.due > due) == (piece.any() and piece.shape[1] >= next_step)
        if chain.due > 4:
            sep.advance(chain.streams)
            assert chain.due == 0
        taken.append(chain.take().target)
    taken.append(chain.flush().target)
    np.testing.assert_array_equal(np.concatenate(taken, axis=1), expected)
    assert len(chain.streams) == 2
    assert chain.memory_samples is not None and chain.memory_samples > 500
    assert chain.step_samples_host == pytest.approx(96 * 48000 / 44100)


# --- several presets, channels ------------------------------------------------------------


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("own_channels", [1, 2])
def test_several_presets_share_a_pass_and_equal_each_alone(several, own_channels):
    sep = separator(several=several, channels=own_channels)
    presets = [half("half"), half("", "half", output="mix"), half("loud", output="remainder")]
    audio = noise(3, 8000)
    together = play(SeparationChain(presets, 48000, 3, separator=sep), cuts(audio, [1234]))
    for index, preset in enumerate(presets):
        alone = play(SeparationChain(preset, 48000, 3, separator=sep), [audio])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[index], other)


def test_mono_is_doubled_for_a_stereo_separator_and_comes_back_as_one():
    audio = noise(1, 3000)
    sep = separator()
    mono = play(SeparationChain(sep.query("half"), 44100, 1, separator=sep), [audio])[0]
    stereo = play(
        SeparationChain(sep.query("half"), 44100, 2, separator=sep), [np.repeat(audio, 2, axis=0)]
    )[0]
    np.testing.assert_array_equal(mono[0], stereo[0])


def test_seven_channels_run_in_pairs():
    sep = separator()
    chain = SeparationChain(sep.query("half"), 44100, 7, separator=sep)
    assert len(chain.streams) == 4
    audio = noise(7, 2000)
    np.testing.assert_array_equal(play(chain, [audio])[0], 0.5 * audio)


# --- gains, swaps -------------------------------------------------------------------------


def test_equal_gains_of_zero_db_are_the_identity():
    audio = noise(2, 9000)
    sep = separator()
    heard = play(SeparationChain(half(output="mix"), 44100, 2, separator=sep), [audio])[2]
    np.testing.assert_array_equal(heard, audio)
    heard = play(SeparationChain(half(output="mix"), 48000, 2, separator=sep), [audio])[2]
    np.testing.assert_allclose(heard, audio, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("output", "target_db", "remainder_db", "factors"),
    [
        ("target", -6.0, 0.0, (10 ** (-0.3), 0.0)),
        ("remainder", 0.0, -20.0, (0.0, 0.1)),
        ("mix", -math.inf, 0.0, (0.0, 1.0)),
        ("mix", 6.0, -math.inf, (10**0.3, 0.0)),
        ("target", -math.inf, 0.0, (0.0, 0.0)),
    ],
)
def test_gains(output, target_db, remainder_db, factors):
    audio = noise(2, 3000)
    preset = half(output=output, target_gain_db=target_db, remainder_gain_db=remainder_db)
    target, remainder, heard = play(
        SeparationChain(preset, 44100, 2, separator=separator()), [audio]
    )
    np.testing.assert_allclose(heard, factors[0] * target + factors[1] * remainder, atol=1e-6)


def test_gain_changes_are_smooth_and_arrive():
    sep = separator()
    chain = SeparationChain(sep.query("all"), 44100, 1, separator=sep)
    chain.process(np.ones((1, 5000), np.float32))
    chain.target_gain_db = -math.inf
    fading = chain.process(np.ones((1, 2000), np.float32))
    assert np.abs(np.diff(fading)).max() <= 1.01 / (0.02 * 44100)
    assert fading[0, 0] > 0.99 and not fading[0, 900:].any()
    assert chain.target_gain_db == -math.inf
    chain.reset()
    assert not chain.process(np.ones((1, 3000), np.float32)).any(), "a reset keeps the gain"


def test_wrong_gains_change_nothing():
    chain = SeparationChain(half(), 44100, 1, separator=separator())
    with pytest.raises(AudioError, match="dB"):
        chain.target_gain_db = math.nan
    assert chain.target_gain_db == 0.0


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(
    ("before", "after", "levels"),
    [
        (half("all"), half("half"), (1.0, 0.5)),
        (half("all"), half("", "all"), (1.0, 0.0)),
        (half("", "half"), half("none"), (0.5, 0.0)),
        (half("all"), half("half", output="remainder"), (1.0, 0.5)),
        (half("all"), half("all", target_gain_db=-6.0), (1.0, 10 ** (-0.3))),
    ],
)
def test_presets_swap_without_a_click_and_without_changing_the_latency(rate, before, after, levels):
    sep = separator()
    chain = SeparationChain(before, rate, 2, separator=sep)
    latency = chain.latency_samples
    out = [chain.process(np.ones((2, 500), np.float32)) for _ in range(10)]
    chain.set_preset(after)
    out += [chain.process(np.ones((2, 500), np.float32)) for _ in range(10)]
    heard = np.concatenate(out, axis=1)
    assert chain.latency_samples == latency
    np.testing.assert_allclose(heard[:, 4000:5000], levels[0], atol=1e-4)
    np.testing.assert_allclose(heard[:, -1000:], levels[1], atol=1e-4)
    # The test separator itself fades over one step of 96 samples.
    assert np.abs(np.diff(heard[:, 4000:])).max() < 1.3 / 96


def test_a_swap_is_heard_at_the_same_sample_however_the_audio_is_cut():
    sep = separator()
    audio = noise(2, 12_000)
    results = []
    for sizes in ([500], [250, 125]):
        chain = SeparationChain(half("all"), 44100, 2, separator=sep)
        heard = [chain.finish(chain.push(piece)) for piece in cuts(audio[:, :6000], sizes)]
        chain.set_preset(half("", "half", output="mix", target_gain_db=-12.0))
        heard += [chain.finish(chain.push(piece)) for piece in cuts(audio[:, 6000:], sizes)]
        heard.append(chain.finish(chain.flush()))
        results.append(np.concatenate(heard, axis=1))
    np.testing.assert_array_equal(*results)


def test_effects_cross_fade():
    from stembridge.presets import EffectSpec

    sep = separator()
    chain = SeparationChain(half("all"), 44100, 1, separator=sep)
    out = [chain.process(np.ones((1, 500), np.float32)) for _ in range(10)]
    chain.set_preset(half("all", effects=(EffectSpec("Invert"),)))
    out += [chain.process(np.ones((1, 500), np.float32)) for _ in range(10)]
    heard = np.concatenate(out, axis=1)
    assert heard[0, 4900] == 1.0 and heard[0, -1] == -1.0
    assert np.abs(np.diff(heard[:, 1000:])).max() <= 2.1 / (0.02 * 44100)


def test_a_swap_that_needs_another_latency_is_refused():
    sep = separator()
    chain = SeparationChain(half(mode="mix"), 44100, 2, separator=sep)
    for other in (half(mode="live"), half(separator="speech"), half(options={"size": 2})):
        assert not chain.can_swap(other)
        with pytest.raises(PresetError, match="new chain"):
            chain.set_preset(other)
    assert chain.can_swap(half("loud"))


def test_a_swap_to_an_unknown_prompt_changes_nothing():
    sep = separator()
    audio = noise(2, 4000)
    chain = SeparationChain(half("half"), 44100, 2, separator=sep)
    first = chain.push(audio[:, :2000])
    with pytest.raises(PresetError, match="identity knows only"):
        chain.set_preset(half("trombone"))
    rest = [chain.push(audio[:, 2000:]), chain.flush()]
    heard = np.concatenate([block.target for block in [first, *rest]], axis=1)
    np.testing.assert_array_equal(heard, 0.5 * audio)


# --- bad input, silence, memory -------------------------------------------------------------


@pytest.mark.parametrize("rate", [44100, 48000])
def test_nan_and_infinity_never_reach_a_network_or_the_output(rate):
    audio = noise(2, 6000)
    audio[0, 1000] = np.nan
    audio[1, 2000:2010] = np.inf
    audio[0, 3000] = -np.inf
    audio[1, 4000] = 1e-41
    audio[1, 4001] = 3e38
    sep = separator()
    target, remainder, heard = play(
        SeparationChain(half(output="mix"), rate, 2, separator=sep), cuts(audio, [999])
    )
    assert sep.saw_only_finite and sep.worst_input < 2.0
    clean = np.where(np.isfinite(audio) & (np.abs(audio) < 1e12), audio, 0).astype(np.float32)
    clean[1, 4000] = 0.0
    np.testing.assert_allclose(heard, clean, rtol=0, atol=1e-7)
    np.testing.assert_allclose(target + remainder, clean, rtol=0, atol=1e-7)


def test_a_network_that_fails_leaves_the_input_in_the_remainder():
    audio = noise(2, 4000)
    sep = separator()
    target, remainder, _ = play(
        SeparationChain(sep.query("broken"), 44100, 2, separator=sep), [audio]
    )
    assert not target.any()
    np.testing.assert_array_equal(remainder, audio)


@pytest.mark.parametrize("rate", RATES)
def test_silence_in_is_silence_out(rate):
    sep = separator()
    for preset in (half("loud"), half("", "half"), half(output="mix")):
        chain = SeparationChain(preset, rate, 2, separator=sep)
        for result in play(chain, [np.zeros((2, 5000), np.float32)]):
            assert not result.any()


def test_the_callers_array_is_never_changed():
    audio = noise(2, 3000)
    before = audio.copy()
    sep = separator()
    play(SeparationChain(half(output="mix"), 44100, 2, separator=sep), [audio])
    np.testing.assert_array_equal(audio, before)


def test_a_flushed_or_reset_chain_is_as_new():
    audio = noise(2, 5000)
    sep = separator()
    chain = SeparationChain(half(), 48000, 2, separator=sep)
    first = play(chain, [audio])
    chain.push(audio[:, :3333])
    chain.reset()
    for again in (play(chain, [audio]), play(chain, [audio])):
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_jump_in_time_keeps_positions():
    sep = separator()
    chain = SeparationChain(half(), 44100, 2, separator=sep)
    chain.push(noise(2, 1000))
    chain.reset(start_samples=77_000)
    blocks = [chain.push(noise(2, 1000)), chain.flush()]
    assert [blocks[0].start_samples, sum(b.samples for b in blocks)] == [77_000, 1000]
    assert blocks[1].start_samples == 77_000 + blocks[0].samples


def test_working_memory_does_not_grow_with_the_length():
    def peak(seconds: int) -> int:
        sep = separator(step_samples=4096)
        chain = SeparationChain(half(), 48000, 2, separator=sep)
        block = noise(2, 48000)
        tracemalloc.start()
        for _ in range(seconds):
            chain.finish(chain.push(block))
        chain.finish(chain.flush())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(60) < 1.2 * peak(6)


def test_a_long_push_is_worked_through_in_pieces():
    class Watched(IdentitySeparator):
        longest = 0

    sep = Watched(8000, 1, 64, 0)
    stream_push = sep.stream([sep.query("all")]).__class__.push

    def push(stream, chunk):
        Watched.longest = max(Watched.longest, chunk.shape[1])
        return stream_push(stream, chunk)

    chain = SeparationChain(sep.query("half"), 8000, 1, separator=sep)
    for stream in chain.streams:
        stream.push = push.__get__(stream)
    audio = noise(1, 8000 * 35)
    np.testing.assert_array_equal(play(chain, [audio])[0], 0.5 * audio)
    assert 0 < Watched.longest <= 10 * 8000


# --- what is refused --------------------------------------------------------------------------


def test_what_cannot_be_built_says_what_to_do():
    sep = separator()
    with pytest.raises(PresetError, match="at least one"):
        SeparationChain([], 44100, 2, separator=sep)
    with pytest.raises(PresetError, match="separator="):
        SeparationChain(sep.query("half"), 44100, 2)
    with pytest.raises(PresetError, match="one after the other"):
        SeparationChain([half(), half(separator="speech")], 44100, 2, separator=sep)
    with pytest.raises(PresetError, match="modes"):
        SeparationChain([half(mode="live"), half(mode="mix")], 44100, 2, separator=sep)
    with pytest.raises(NotAvailableError, match="live, mix, render"):
        SeparationChain(half(), 44100, 2, separator=sep, mode="fast")  # type: ignore[arg-type]
    with pytest.raises(AudioError):
        SeparationChain(half(), 44100.5, 2, separator=sep)
    with pytest.raises(AudioError):
        SeparationChain(half(), 44100, 0, separator=sep)
    foreign = Query(keep=(EncodedPrompt("elsewhere:1", np.ones(3)),))
    with pytest.raises(PromptError, match="elsewhere:1"):
        SeparationChain(foreign, 44100, 2, separator=sep)


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 64), np.float32), np.zeros(64), np.zeros((2, 4), int)]
)
def test_a_bad_block_is_refused_and_the_stream_goes_on(bad):
    audio = noise(2, 1000)
    sep = separator()
    chain = SeparationChain(half(), 44100, 2, separator=sep)
    blocks: list[ChainBlock] = [chain.push(audio[:, :600])]
    with pytest.raises(AudioError):
        chain.push(bad)
    blocks += [chain.push(audio[:, 600:]), chain.flush()]
    np.testing.assert_array_equal(
        np.concatenate([block.target for block in blocks], axis=1), 0.5 * audio
    )


def test_a_preset_may_leave_the_separator_open():
    from stembridge.chain import separator_of

    chosen = separator_of([Preset("any", keep=(NamePrompt("vocals"),), separator="auto")])
    assert chosen is separator_of([Preset("own", keep=(NamePrompt("vocals"),))])
