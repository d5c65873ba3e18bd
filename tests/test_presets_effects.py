"""The table of effects against pedalboard itself: names, ranges, and no delay."""

from __future__ import annotations

import itertools

import numpy as np
import pedalboard
import pytest

from stembridge.errors import PresetError
from stembridge.presets_effects import EFFECTS, LADDER_MODES, EffectSpec

RATE = 44100


@pytest.mark.parametrize("plugin", EFFECTS)
def test_the_table_names_every_parameter_of_the_effect(plugin: str) -> None:
    made = getattr(pedalboard, plugin)()
    names = {
        name
        for name in dir(type(made))
        if isinstance(getattr(type(made), name), property) and not name.startswith("is_")
    }
    known = set(EFFECTS[plugin]) | ({"mode"} if plugin == "LadderFilter" else set())
    assert known == names
    for name, (low, high) in EFFECTS[plugin].items():
        assert low <= getattr(made, name) <= high, f"the default of {name} is out of range"


@pytest.mark.parametrize("plugin", EFFECTS)
@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
def test_the_ends_of_every_range_give_finite_sound(
    plugin: str, sample_rate: int, random: np.random.Generator
) -> None:
    noise = (0.3 * random.standard_normal((2, 4000))).astype(np.float32)
    ranges = EFFECTS[plugin]
    for ends in itertools.product((0, 1), repeat=min(3, len(ranges))):
        chosen = dict(zip(ranges, itertools.cycle(ends or (0,)), strict=False))
        spec = EffectSpec(plugin, {name: ranges[name][end] for name, end in chosen.items()})
        out = spec.build(sample_rate)(noise, sample_rate)
        assert out.shape == noise.shape
        assert np.isfinite(out).all(), (plugin, dict(spec.parameters))


@pytest.mark.parametrize("plugin", EFFECTS)
def test_no_effect_delays(plugin: str) -> None:
    """A click comes out where it went in: an effect with latency would shift it, or, as
    pedalboard compensates in one call, come out late when fed in blocks."""
    click = np.zeros((1, 4096), dtype=np.float32)
    click[0, 1000] = 0.9
    effect = EffectSpec(plugin).build(RATE)
    pieces = [effect(click[:, i : i + 256], RATE, reset=False) for i in range(0, 4096, 256)]
    assert [p.shape[1] for p in pieces] == [256] * 16, "blocks were held back"
    out = np.concatenate(pieces, axis=1)
    quiet = np.abs(out[0, :1000]).max()
    assert np.abs(out[0, 1000]) > max(1e-4, 2 * quiet)


def test_ladder_modes_are_pedalboards() -> None:
    assert set(LADDER_MODES) == set(pedalboard.LadderFilter.Mode.__members__)
    for mode in LADDER_MODES:
        EffectSpec("LadderFilter", {"mode": mode}).build(RATE)


def test_values_arrive_in_the_plugin() -> None:
    reverb = EffectSpec("Reverb", {"room_size": 0.25, "width": 0}).build()
    assert isinstance(reverb, pedalboard.Reverb)
    assert reverb.room_size == pytest.approx(0.25) and reverb.width == 0
    spec = EffectSpec("LadderFilter", {"mode": "HPF24", "cutoff_hz": 300})
    ladder = spec.build()
    assert isinstance(ladder, pedalboard.LadderFilter)
    assert ladder.mode == pedalboard.LadderFilter.Mode.HPF24 and ladder.cutoff_hz == 300


def test_a_corner_above_the_rate_is_moved_below_half_of_it() -> None:
    low = EffectSpec("LowpassFilter", {"cutoff_frequency_hz": 20000}).build(8000)
    assert isinstance(low, pedalboard.LowpassFilter)
    assert low.cutoff_frequency_hz == pytest.approx(3920)


def test_specs_are_values() -> None:
    one, two = EffectSpec("Gain", {"gain_db": 3}), EffectSpec("Gain", {"gain_db": 3.0})
    assert one == two and hash(one) == hash(two)
    with pytest.raises(TypeError):
        one.parameters["gain_db"] = 9  # type: ignore[index]


@pytest.mark.parametrize(
    ("plugin", "parameters"),
    [
        ("VST3Plugin", {}),
        ("__import__", {}),
        ("Resample", {}),
        ("Gain", {"gain_db": float("nan")}),
        ("Gain", {"gain_db": True}),
        ("Gain", {"__class__": 1.0}),
    ],
)
def test_anything_else_is_refused(plugin: str, parameters: dict[str, float]) -> None:
    with pytest.raises(PresetError, match=plugin):
        EffectSpec(plugin, parameters)
