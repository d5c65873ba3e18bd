"""What is heard of the chain: several presets, channels, gains, and swaps while it plays.

Presets share a pass and each sounds as it does alone; nothing that changes clicks, and no
change moves a sample or the latency.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from chain_support import cuts, half, noise, play, separator
from stembridge.chain import SeparationChain
from stembridge.errors import AudioError, PresetError

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
