"""The chain on bad input, broken networks, silence and long files, and what it refuses.

NaN never passes, a network that fails costs no sound, memory does not grow, and what cannot
be built or pushed is refused while the stream goes on.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from chain_support import RATES, cuts, half, noise, play, separator
from identity import IdentitySeparator
from stembridge.chain import ChainBlock, SeparationChain
from stembridge.errors import AudioError, NotAvailableError, PresetError, PromptError
from stembridge.presets import Preset
from stembridge.prompts import EncodedPrompt, NamePrompt, Query

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
