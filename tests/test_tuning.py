"""Tuning: learns where there is something to learn, keeps the mean where there is not,
touches nothing but the vector, and refuses clips it cannot use. The separator here is a
bank of band gains, whose best vector is known in advance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from stembridge.errors import AudioError, PromptError
from stembridge.prompts import Clip
from stembridge.separators import SEPARATORS, SeparatorEntry
from stembridge.separators.tunable import Tunable
from stembridge.tuning import tune
from stembridge.tuning.clips import audible, split
from stembridge.tuning.learn import learn, sdr_db
from stembridge.tuning.mixtures import make_batches, vary_sound

RATE = 16000
BANDS = 16


class BandGains(Tunable):
    """Sixteen equal bands, each scaled by the sigmoid of one number: a mask to be tuned."""

    def __init__(self) -> None:
        self.sample_rate, self.channels, self.segment_samples = RATE, 1, 4096
        self.space, self.dimensions, self.learnable = "bands:1", BANDS + 1, slice(1, None)
        self.step_size = 0.3
        self.weight = torch.ones(1)

    def start(self, clips):
        return np.concatenate([[7.0], np.zeros(BANDS)]).astype(np.float32)

    def reference(self, audio):
        return torch.view_as_real(torch.fft.rfft(audio * self.weight)[..., :2048])

    def prepare(self, mixtures):
        return self.reference(mixtures)

    def estimate(self, prepared, vector):
        gains = torch.sigmoid(vector[1:]).repeat_interleave(2048 // BANDS)
        return prepared * gains[:, None]


@dataclass
class BandSeparator:
    name: str = "bands"
    space: str = "bands:1"

    def tunable(self):
        return BandGains()


def band_noise(low_hz: float, high_hz: float, seconds: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(len(noise), 1 / RATE)
    spectrum[(frequency < low_hz) | (frequency > high_hz)] = 0
    return (0.2 * np.fft.irfft(spectrum, len(noise)))[None].astype(np.float32)


def clips(low_hz: float, high_hz: float, count: int) -> list[Clip]:
    return [Clip(band_noise(low_hz, high_hz, 1.5, seed), RATE) for seed in range(count)]


def run(wanted: list[Clip], **options):
    return tune(wanted, separator=BandSeparator(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def bands_in_the_table():
    entry = SeparatorEntry("bands", "bands", "sixteen bands", False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SEPARATORS, "bands", entry)
        yield


@pytest.fixture(scope="module")
def hiss(bands_in_the_table) -> object:
    return run(clips(6000, 7900, 3), name="hiss", steps=60)


def test_learns_the_band_of_the_clips(hiss) -> None:
    (prompt,) = hiss.preset.keep
    gains = prompt.vector[1:]
    assert hiss.report.kept and hiss.report.gain_db > 3
    # The band holds most of the wanted energy: it must open, the lowest ones close.
    assert gains[13:15].min() > 0.5 > -0.5 > gains[:2].max()


def test_only_the_learnable_part_changes(hiss) -> None:
    assert hiss.preset.keep[0].vector[0] == 7.0


def test_the_report_travels_in_the_preset(hiss) -> None:
    tuning = hiss.preset.tuning
    assert tuning["clips"] == 3
    assert tuning["gain_db"] == pytest.approx(hiss.report.gain_db, abs=1e-3)
    assert hiss.preset.keep[0].space == "bands:1"


def test_a_seed_gives_the_same_vector_again(hiss) -> None:
    again = run(clips(6000, 7900, 3), name="hiss", steps=60)
    assert np.array_equal(again.preset.keep[0].vector, hiss.preset.keep[0].vector)
    other = run(clips(6000, 7900, 3), name="hiss", steps=60, seed=1)
    assert not np.array_equal(other.preset.keep[0].vector, hiss.preset.keep[0].vector)


def test_the_separator_is_untouched() -> None:
    tunable = BandGains()
    batches = mixtures(tunable)
    before = tunable.weight.clone()
    learn(tunable, tunable.start([]), batches, batches, batches, steps=3)
    assert torch.equal(before, tunable.weight) and tunable.weight.grad is None


def test_keeps_the_mean_when_the_clips_equal_the_interferer() -> None:
    """Target and interferer drawn from one noise: no mask can tell them apart."""
    tunable = BandGains()
    white = [band_noise(0, 8000, 2, seed) for seed in range(2)]
    made = [
        make_batches(
            white, white, segment_samples=4096, batches=4, batch_size=4,
            generator=np.random.default_rng(seed), vary=False,
        )
        for seed in range(3)
    ]  # fmt: skip
    learned = learn(tunable, tunable.start([]), *made, steps=30)
    assert not learned.kept
    assert np.array_equal(learned.vector, tunable.start([]))


def test_against_teaches_to_ignore_a_sound() -> None:
    wanted = clips(2000, 4000, 2)
    enemy = [Clip(band_noise(4000, 6000, 1.5, 9), RATE)]
    tuned = run(wanted, against=enemy, steps=60).preset.keep[0].vector[1:]
    assert tuned[4:8].mean() > tuned[8:12].mean() + 1


@pytest.mark.parametrize("after", [0, 25])
def test_an_interrupt_keeps_the_best_so_far(after: int) -> None:
    calls = []

    def stop(fraction: float, gain_db: float) -> None:
        calls.append(gain_db)
        if len(calls) > after:
            raise KeyboardInterrupt

    report = run(clips(6000, 7900, 3), steps=60, on_step=stop).report
    assert report.interrupted and report.steps == after + 1
    assert report.kept == (after > 0)


def test_silent_clips_are_left_out_and_said() -> None:
    silent = Clip(np.zeros((1, RATE), np.float32), RATE, "quiet.wav")
    report = run([*clips(6000, 7900, 1), silent], steps=5).report
    assert report.clips == 1
    assert any("quiet.wav" in note for note in report.notes)


def test_clips_shorter_than_a_segment_work() -> None:
    short = [Clip(band_noise(6000, 7900, 0.1, seed), RATE) for seed in range(2)]
    assert run(short, steps=5).report.clips == 2


def test_an_hour_of_clips_is_thinned(monkeypatch) -> None:
    from stembridge.tuning import clips as module

    monkeypatch.setattr(module, "MOST_SECONDS", 4.0)
    long = [band_noise(500, 2000, 6, seed) for seed in range(2)]
    material = split([Clip(piece, RATE) for piece in long], long, RATE)
    used = sum(p.shape[1] for p in (*material.learn, *material.held_out)) / RATE
    assert used == material.seconds == 4.0
    assert any("thinned" in note for note in material.notes)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ([], "No clips"),
        ([Clip(np.zeros((1, RATE), np.float32), RATE)], "silent"),
        ([Clip(np.full((1, RATE), np.nan, np.float32), RATE, "x.wav")], "x.wav"),
        ([Clip(np.zeros((0, 5), np.float32), RATE)], "shape"),
    ],
)
def test_unusable_clips_are_refused(bad, word: str) -> None:
    with pytest.raises(AudioError, match=word):
        run(bad, steps=5)


def test_a_separator_without_a_vector_is_refused() -> None:
    class Fixed:
        name = "fixed"

    with pytest.raises(PromptError, match="fixed"):
        tune(clips(500, 900, 1), separator=Fixed())  # type: ignore[arg-type]


def test_held_out_material_is_not_learned_from() -> None:
    wanted = clips(500, 2000, 5)
    material = split(wanted, [c.audio for c in wanted], RATE)
    assert len(material.learn) == 4 and len(material.held_out) == 1
    one = split(wanted[:1], [wanted[0].audio], RATE)
    joined = np.concatenate([one.learn[0], one.held_out[0]], axis=1)
    assert np.array_equal(joined, audible(wanted[0].audio, RATE))


def test_silence_inside_a_clip_is_skipped() -> None:
    sound = band_noise(500, 2000, 1, 0)
    gapped = np.concatenate([sound, np.zeros((1, 2 * RATE), np.float32), sound], axis=1)
    assert audible(gapped, RATE).shape[1] == pytest.approx(2 * RATE, abs=RATE // 10)


def mixtures(tunable: Tunable, **options):
    return list(make_batches(
        [band_noise(0, 8000, 1, 1)], [band_noise(0, 8000, 1, 2)],
        segment_samples=tunable.segment_samples, batches=3, batch_size=4,
        generator=np.random.default_rng(0), **options,
    ))  # fmt: skip


def test_mixtures_are_at_zero_db_when_not_varied() -> None:
    for batch in mixtures(BandGains(), vary=False):
        rest = batch.mixtures - batch.targets
        ratio = np.square(batch.targets).sum((1, 2)) / np.square(rest).sum((1, 2))
        assert np.allclose(10 * np.log10(ratio), 0, atol=1e-3)
        assert np.abs(batch.mixtures).max() < 1


def test_variation_keeps_length_and_stays_near() -> None:
    sound = band_noise(500, 2000, 0.5, 3)
    varied = vary_sound(sound, np.random.default_rng(0))
    assert varied.shape == sound.shape and varied.dtype == np.float32
    assert abs(10 * np.log10(np.square(varied).sum() / np.square(sound).sum())) < 6


def test_sdr_is_the_textbook_ratio() -> None:
    target = torch.ones(2, 1, 10)
    estimate = target * torch.tensor([0.9, 0.5])[:, None, None]
    assert torch.allclose(sdr_db(estimate, target), torch.tensor([20.0, 6.0206]), atol=1e-3)
