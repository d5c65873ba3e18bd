"""Figures for sounds: two sources at 0 dB, improvement in SDR by name, text and example.

The mixtures are fixed by a seed. What is asked for comes from recordings that training
never saw: labels held out whole, other recordings of trained labels, unheard speakers.
The interferer is any training sound of another class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .losses import spectrum
from .mixer import to_level
from .prompted import Prompted
from .sounds import Group, SoundMixer


@dataclass(frozen=True)
class Case:
    """One mixture: the wanted sound, the other, and how the wanted one is asked for."""

    label: str
    kind: str
    wanted: np.ndarray
    other: np.ndarray
    query: np.ndarray


def make_cases(
    mixer: SoundMixer, held_out: list[Group], samples: int, *, per_group: int = 2, seed: int = 11
) -> list[Case]:
    """Mixtures at 0 dB for every held-out group with at least two recordings."""
    cases = []
    for number, group in enumerate(held_out):
        if len(group.recordings) < 2:
            continue
        for take in range(per_group):
            rng = np.random.default_rng([seed, number, take])
            recording = group.recordings[int(rng.integers(len(group.recordings)))]
            kinds = [kind for kind in mixer.kinds if kind != group.kind or kind == "env"]
            groups = mixer.by_kind[kinds[int(rng.integers(len(kinds)))]]
            other = groups[int(rng.integers(len(groups)))]
            if other.label == group.label:
                continue
            noise = other.recordings[int(rng.integers(len(other.recordings)))]
            cases.append(
                Case(
                    group.label,
                    group.kind,
                    to_level(mixer.crop(recording, samples, rng), -22.0),
                    to_level(mixer.crop(noise, samples, rng), -22.0),
                    mixer.query(group, recording, samples, rng),
                )
            )
    return cases


def sdr(reference: Tensor, estimate: Tensor) -> float:
    """Signal-to-distortion ratio in dB of complex spectra (Parseval: that of the sound)."""
    error = (reference - estimate).abs().square().sum().clamp(min=1e-9)
    return float(10 * torch.log10(reference.abs().square().sum().clamp(min=1e-9) / error))


def gains_by_label(
    cases: list[Case],
    prompt_of: Callable[[Case], Tensor | None],
    gain_db: Callable[[Case, Tensor], float],
) -> dict[str, list[float]]:
    """What `gain_db` says of every case by label; cases without a prompt are left out."""
    out: dict[str, list[float]] = {}
    for case in cases:
        prompt = prompt_of(case)
        if prompt is not None:
            out.setdefault(case.label, []).append(gain_db(case, prompt))
    return out


@torch.no_grad()
def improvements(
    model: Prompted, cases: list[Case], prompt_of: Callable[[Case], Tensor | None]
) -> dict[str, list[float]]:
    """SDR improvement in dB of every case by label, by the network's mask itself."""

    def gain_db(case: Case, prompt: Tensor) -> float:
        wanted = spectrum(torch.from_numpy(case.wanted))
        mixture = wanted + spectrum(torch.from_numpy(case.other))
        skips = model.network.encode(mixture.abs()[None])
        mask = model.network.decode_many(skips, prompt[None])[0, 0].float()
        return sdr(wanted, mask * mixture) - sdr(wanted, mixture)

    return gains_by_label(cases, prompt_of, gain_db)


def by_example(model: Prompted) -> Callable[[Case], Tensor | None]:
    """Prompts from the case's query clip."""
    encoder = model.encoder
    assert encoder is not None
    return lambda case: encoder(torch.from_numpy(case.query)[None])[0]


def by_name(model: Prompted) -> Callable[[Case], Tensor | None]:
    """Prompts from the name of the case's class, where it has one."""
    names = {"env": "sfx", "speech": "speech"}

    def prompt(case: Case) -> Tensor | None:
        name = names.get(case.kind, case.kind)
        return model.tok[model.names.index(name)] if name in model.names else None

    return prompt


def by_library(library: Mapping[str, Tensor]) -> Callable[[Case], Tensor | None]:
    """Prompts from a library's averages, where the label is in it."""
    return lambda case: library.get(case.label)


def summary(gains: Mapping[str, list[float]]) -> dict[str, float]:
    """Median over all cases, median over labels of their means, and the count."""
    if not gains:
        return {"cases": 0.0}
    every = [value for values in gains.values() for value in values]
    labels = [float(np.mean(values)) for values in gains.values()]
    return {
        "median": float(np.median(every)),
        "median_label": float(np.median(labels)),
        "mean": float(np.mean(every)),
        "cases": float(len(every)),
        "labels": float(len(labels)),
    }
