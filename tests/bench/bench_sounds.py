"""Two sounds at 0 dB, one of them asked for: the shipped weights by name, text and example.

    python tests/bench/bench_sounds.py --data RECORDINGS [--cache FOLDER] [--per-name 40]
        [--modes render,mix,live]

By example and by library text: recordings that training never heard (labels held out
whole, and other recordings of labels that were trained on). By name: music classes come
from material that was trained on, as rows other than their neighbours; speech from unheard
speakers. The figure is the improvement in SDR of a 3 s mixture, in dB: the median, and the
share of cases that got worse. With `--modes` the same mixtures go through the separator's
streams, and nothing but names and examples is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from stembridge.prompts import EncodedPrompt, Query
from stembridge.separators import load_separator
from stembridge.separators.unet import Unet
from stembridge.training.library import build_library
from stembridge.training.mixer import Mixer, Recipe, to_level
from stembridge.training.prepare import prepare
from stembridge.training.prompted import Prompted
from stembridge.training.sound_figures import (
    Case,
    by_example,
    by_library,
    by_name,
    gains_by_label,
    improvements,
)
from stembridge.training.sounds import SoundMixer, clip_is_held_out, is_held_out, make_groups

CLASS_OF = {"singing": "vocals", "sfx": "env"}


def shipped_model(weights: Path | None, unet: Unet | None = None) -> Prompted:
    """The shipped network of sounds, its names and its example encoder."""
    unet = unet or load_separator("unet", weights=weights)
    names = list(unet.sounds.names)
    rows = [*unet.layout.rows, *(unet.sounds.names[name] for name in names)]
    encoder = unet.sounds.encoder
    prompts = torch.from_numpy(np.stack(rows))
    return Prompted(unet.prompted_module, prompts, ("drums", "bass", "other", *names), encoder)


def sounds(*both: np.ndarray) -> bool:
    """Whether neither is a stretch of silence, beside which the figure would mean nothing."""
    return all(float(np.std(audio)) > 1e-3 for audio in both)


def named_cases(mixer: SoundMixer, held_out: list, name: str, count: int) -> list[Case]:
    """Mixtures of a class against any other class."""
    kind = CLASS_OF.get(name, name)
    groups = mixer.by_kind.get(kind, []) if kind not in ("env", "speech") else []
    groups = groups or [group for group in held_out if group.kind == kind]
    cases = []
    for number in range(count if groups else 0):
        rng = np.random.default_rng([17, number])
        group = groups[int(rng.integers(len(groups)))]
        recording = group.recordings[int(rng.integers(len(group.recordings)))]
        others = [other for other in mixer.kinds if other != kind]
        against = mixer.by_kind[others[int(rng.integers(len(others)))]]
        other = against[int(rng.integers(len(against)))]
        samples = mixer.band.recipe.samples
        wanted = to_level(mixer.crop(recording, samples, rng), -22.0)
        noise = to_level(mixer.crop(other.recordings[0], samples, rng), -22.0)
        query = mixer.query(group, recording, samples, rng)
        if sounds(wanted, noise):
            cases.append(Case(name, name, wanted, noise, query))
    return cases


def example_cases(mixer: SoundMixer, groups: list, whole_label: bool, count: int) -> list[Case]:
    """Mixtures of held-out everyday sounds, from labels held out whole or heard before."""
    cases = []
    for number, group in enumerate(groups):
        if group.kind != "env" or len(group.recordings) < 2:
            continue
        if is_held_out(group.label) != whole_label:
            continue
        for take in range(count):
            rng = np.random.default_rng([11, number, take])
            recording = group.recordings[int(rng.integers(len(group.recordings)))]
            against = mixer.by_kind[mixer.kinds[int(rng.integers(len(mixer.kinds)))]]
            other = against[int(rng.integers(len(against)))]
            samples = mixer.band.recipe.samples
            wanted = to_level(mixer.crop(recording, samples, rng), -22.0)
            noise = to_level(mixer.crop(other.recordings[0], samples, rng), -22.0)
            label = group.label.removeprefix("env-").replace("-", " ")
            query = mixer.query(group, recording, samples, rng)
            if sounds(wanted, noise):
                cases.append(Case(label, "env", wanted, noise, query))
    return cases


def streamed(
    unet: Unet, mode: str, cases: list[Case], prompt_of: Callable[[Case], torch.Tensor | None]
) -> dict[str, list[float]]:
    """SDR improvement in dB by label, of the sound that a stream of `mode` gives out."""

    def gain_db(case: Case, prompt: torch.Tensor) -> float:
        vector = unet._prompted_vector(prompt.detach().numpy())
        stream = unet.stream([Query(keep=(EncodedPrompt(unet.space, vector, case.label),))], mode)
        mixture = case.wanted + case.other
        found = np.concatenate([stream.push(mixture), stream.flush()], axis=2)[0]
        error = max(np.sum((found - case.wanted) ** 2), 1e-9)
        return float(10 * np.log10(np.sum(case.other**2) / error))

    return gains_by_label(cases, prompt_of, gain_db)


def show(title: str, gains: dict[str, list[float]]) -> None:
    """One line of the table."""
    every = np.array([value for values in gains.values() for value in values])
    if every.size:
        worse = 100 * np.mean(every < 0)
        labels = np.median([np.mean(values) for values in gains.values()])
        print(
            f"| {title} | {len(gains)} | {every.size} | {np.median(every):.1f} | {labels:.1f} "
            f"| {worse:.0f} % |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("training-cache"))
    parser.add_argument("--per-name", type=int, default=40)
    parser.add_argument("--weights", type=Path, help="folder (default: the package's)")
    parser.add_argument("--modes", help="such as render,mix,live: by the separator's streams")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pack, shelves = prepare(args.data, args.cache, seed=1)
    band = Mixer(shelves, Recipe())
    mixer = SoundMixer(pack, shelves, make_groups(pack, shelves, held_out=False), band)
    held_out = make_groups(pack, shelves, held_out=True)
    unet = load_separator("unet", weights=args.weights)
    model = shipped_model(args.weights, unet)
    print("| asked for | labels | mixtures | median dB | median label dB | worse |")
    print("|---|---|---|---|---|---|")
    if args.modes:
        for name in [*model.names[3:], "synth", "singing"]:
            for mode in args.modes.split(","):
                cases = named_cases(mixer, held_out, name, args.per_name)
                if name in model.names:
                    row = model.tok[model.names.index(name)]
                    show(f"name {name}, {mode}", streamed(unet, mode, cases, lambda _, r=row: r))
                gains = streamed(unet, mode, cases, by_example(model))
                show(f"example, {name}, {mode}", gains)
        unheard = example_cases(mixer, held_out, True, 2)
        for mode in args.modes.split(","):
            gains = streamed(unet, mode, unheard, by_example(model))
            show(f"example, labels never heard, {mode}", gains)
        return
    for name in model.names[3:]:
        if name == "music":
            continue
        cases = named_cases(mixer, held_out, name, args.per_name)
        gains = improvements(model, cases, lambda case: model.tok[model.names.index(case.kind)])
        show(f"name {name}", gains)
        show(f"example, {name}", improvements(model, cases, by_example(model)))
    unheard = example_cases(mixer, held_out, True, 2)
    show("example, labels never heard", improvements(model, unheard, by_example(model)))
    if "sfx" in model.names:
        show("name sfx, labels never heard", improvements(model, unheard, by_name(model)))
    heard = example_cases(mixer, held_out, False, 8)
    show("example, ESC-10 labels, other recordings", improvements(model, heard, by_example(model)))
    library = build_library(model.encoder, pack, held_out=False)
    vectors = {label: torch.from_numpy(vector) for label, vector in library.items()}
    gains = improvements(model, heard, by_library(vectors))
    show("library text, ESC-10 labels, other recordings", gains)
    for label, values in sorted(gains.items()):
        show(f"library text, {label}", {label: values})
    trained = sum(not clip_is_held_out(clip) for clip in pack.clips)
    print(f"\n{trained} of {len(pack.clips)} clips were trained on.")


if __name__ == "__main__":
    main()
