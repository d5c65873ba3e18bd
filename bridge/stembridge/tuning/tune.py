"""`tune`: a few clips of one sound in, a preset that follows that sound out.

The method is Audio Prompt Tuning (Liu et al., arXiv 2311.18399): the separator is frozen and
only the prompt vector is learned, from mixtures of the clips with other sounds at about
0 dB, starting at the mean of the encoded clips. The result is kept only if it is clearly
better than that mean on clips held out from learning; otherwise the mean is kept and the
report says so.

Invariants: the separator is the same object, bit for bit, before and after; the same clips
and seed give the same preset; the preset stands alone (vector, space, report).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AudioError, PromptError
from ..presets import Preset
from ..prompts import Clip, TunedPrompt
from ..resample import resample
from ..separators import Separator, load_separator
from . import interferers as noise
from .clips import Material, split
from .long_clips import bounded, note_of

if TYPE_CHECKING:
    from ..separators.tunable import Tunable
    from .learn import Learned, Step
    from .mixtures import Batch

STEPS = 160
BATCH_SIZE = 4
POOL_BATCHES = 60
"""Different training batches; they are drawn again when all have been used."""
JUDGING_BATCHES = 6


@dataclass(frozen=True)
class TuningReport:
    """What tuning did. SDRs are means over mixtures at 0 dB of held-out sound, in dB."""

    clips: int
    seconds: float
    steps: int
    kept: bool
    """False: the mean embedding was as good, and the preset carries the mean."""
    interrupted: bool
    before_db: float
    after_db: float
    spread_db: float
    curve: tuple[tuple[int, float], ...]
    notes: tuple[str, ...]

    @property
    def gain_db(self) -> float:
        """What the tuned vector gains over the mean of the encoded clips."""
        return self.after_db - self.before_db

    def sentence(self) -> str:
        """The outcome in one sentence for people."""
        judged = (
            f"{self.before_db:.1f} dB with the mean of the clips, "
            f"{self.after_db:.1f} dB tuned ({self.gain_db:+.1f} ± {self.spread_db:.1f} dB)"
        )
        if self.kept:
            return f"Kept the tuned prompt: {judged}."
        return f"Kept the mean of the clips, since tuning did not clearly beat it: {judged}."

    def description(self) -> str:
        """What the preset is, for the list of presets."""
        clips = f"{self.clips} clip{'s' if self.clips != 1 else ''} ({self.seconds:.0f} s)"
        if self.kept:
            return f"Tuned on {clips}: {self.gain_db:+.1f} dB over their mean."
        return f"The mean of {clips}, which tuning did not clearly beat."


@dataclass(frozen=True)
class TuningResult:
    """A preset that stands alone, and the report of how it came to be."""

    preset: Preset
    report: TuningReport
    learned: np.ndarray
    """The tuned vector, also where the preset carries the mean: for benchmarks."""


def tune(
    clips: Sequence[Clip],
    *,
    name: str = "tuned",
    separator: Separator | str = "unet",
    against: Sequence[Clip] = (),
    steps: int = STEPS,
    seed: int = 0,
    on_step: Step | None = None,
) -> TuningResult:
    """Learn a prompt for the sound of `clips`.

    Args:
        clips: one or more clips in which the sound is heard by itself; of more than ten
            minutes, seconds spread over them are used.
        name: of the preset.
        separator: by name or as an object; it must be one that can be tuned.
        against: further sounds to ignore, besides the bundled ones.
        steps: at most so many gradient steps (it stops early when nothing improves).
        seed: of every random choice.
        on_step: called with the fraction done and the gain so far (dB). It may raise
            KeyboardInterrupt: the best prompt until then is judged and returned.

    Raises:
        AudioError: no clips, only silence, or samples that are not finite.
        PromptError: a separator that cannot be tuned; the message names those that can.
    """
    if steps < 1:
        raise PromptError(f"--steps is {steps}; give 1 or more.")
    model = load_separator(separator) if isinstance(separator, str) else separator
    tunable = tunable_of(model)
    from .learn import learn

    clips, against = bounded(clips), bounded(against)
    material = split(clips, [at_rate(c, tunable) for c in clips], tunable.sample_rate)
    sounds = noise.bundled(tunable.sample_rate, tunable.channels)
    if against:
        audio = [at_rate(clip, tunable) for clip in against]
        rates = [tunable.sample_rate] * len(audio)
        sounds = noise.together(
            sounds, noise.own(_usable(audio), rates, tunable.sample_rate, tunable.channels)
        )
    batches, held_out, deciding = _mixtures(material, sounds, tunable, steps, seed)
    start = tunable.start([*material.learn, *material.held_out])
    learned = learn(
        tunable, start, batches, held_out, deciding, steps=steps, seed=seed, on_step=on_step
    )
    report = _report(learned, material, note_of(clips))
    return TuningResult(_preset(name, model, learned, report), report, learned.tuned)


def tunable_of(separator: Separator) -> Tunable:
    """The separator as the tuner sees it. Raises PromptError where it offers none."""
    offer = getattr(separator, "tunable", None)
    if offer is None:
        raise PromptError(
            f"The separator {separator.name!r} has no prompt vector to tune. "
            "Use one that has: unet, clapsep, zeroshot, uss, audiosep or tuss."
        )
    return offer()


def at_rate(clip: Clip, tunable: Tunable) -> np.ndarray:
    """A clip at the separator's rate and layout; raises AudioError where it cannot be."""
    audio = np.asarray(clip.audio, dtype=np.float32)
    if audio.ndim == 1:
        audio = audio[None]
    if audio.ndim != 2 or audio.shape[0] == 0:
        raise AudioError(
            f"A clip has the shape {audio.shape}; give float32 audio as (channels, samples)."
        )
    if not np.isfinite(audio).all():
        raise AudioError(
            f"{clip.label or 'A clip'} has samples that are not numbers (NaN or infinite). "
            "Export it again."
        )
    audio = noise.fit_channels(audio, tunable.channels)
    return np.asarray(resample(audio, clip.sample_rate, tunable.sample_rate), dtype=np.float32)


def _usable(audio: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The sounds that can be heard at all; a silent one cannot be brought to 0 dB."""
    heard = [a for a in audio if a.shape[1] and float(np.abs(a).max()) > 1e-5]
    if not heard:
        raise AudioError("All sounds given to ignore are silent. Choose audible ones.")
    return heard


def _mixtures(
    material: Material, sounds: noise.Interferers, tunable: Tunable, steps: int, seed: int
) -> tuple[Iterator[Batch], Iterator[Batch], Iterator[Batch]]:
    """Batches to learn from, to choose by and to decide by, each from its own random stream."""
    from .mixtures import make_batches

    learning, choosing, deciding = np.random.SeedSequence(seed).spawn(3)

    def draw(targets, others, count, source, vary):
        return make_batches(
            targets,
            others,
            segment_samples=tunable.segment_samples,
            batches=count,
            batch_size=BATCH_SIZE,
            generator=np.random.default_rng(source),
            vary=vary,
        )

    return (
        draw(material.learn, sounds.learn, min(POOL_BATCHES, steps), learning, True),
        draw(material.held_out, sounds.held_out, JUDGING_BATCHES, choosing, False),
        draw(material.held_out, sounds.held_out, JUDGING_BATCHES, deciding, False),
    )


def _report(learned: Learned, material: Material, thinned: tuple[str, ...]) -> TuningReport:
    return TuningReport(
        clips=material.clips,
        seconds=material.seconds,
        steps=learned.steps,
        kept=learned.kept,
        interrupted=learned.interrupted,
        before_db=learned.before_db,
        after_db=learned.after_db,
        spread_db=learned.spread_db,
        curve=learned.curve,
        notes=(*thinned, *material.notes),
    )


def _preset(name: str, model: Separator, learned: Learned, report: TuningReport) -> Preset:
    tuning = {
        "clips": report.clips,
        "seconds": round(report.seconds, 2),
        "steps": report.steps,
        "kept": report.kept,
        "mean_sdr_db": round(report.before_db, 3),
        "tuned_sdr_db": round(report.after_db, 3),
        "gain_db": round(report.gain_db, 3),
        "gain_spread_db": round(report.spread_db, 3),
    }
    prompt = TunedPrompt(vector=learned.vector, space=model.space, label=name)
    return Preset(
        name=name,
        keep=(prompt,),
        separator=model.name,
        group="tuned",
        description=report.description(),
        tuning=tuning,
    )
