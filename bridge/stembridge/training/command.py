"""What `stembridge train` does, as a function: prepare, train, validate, export, plot.

Beside the weights `OUT` stand `OUT.ckpt` (to resume), `OUT.jsonl` (the log), and the
sounds file of the same stem. All work is resumable: the cache by what it holds, the
training by its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import CheckpointError
from .export import export_network, export_sounds, summarise_log
from .library import build_library
from .memory import keep_freed_memory
from .mixer import STEMS, Mixer, Recipe
from .network import published_pair, start_model
from .prepare import prepare
from .sound_figures import by_example, by_name, improvements, make_cases, summary
from .sounds import NAMES, SoundMixer, make_groups
from .trainer import Prompted, Settings, Trainer, read_checkpoint, run, settings_from
from .validation import evaluate, hierarchical, read_song


@dataclass(frozen=True)
class Job:
    """One call of the command."""

    data: Path
    out: Path
    cache: Path
    settings: Settings
    resume: bool = False
    start: Path | None = None
    songs: Path | None = None
    device: str = "cpu"
    minutes: float | None = None
    save_every: int = 100
    validate_every: int = 400
    names: tuple[str, ...] = NAMES
    command: str = "stembridge train"

    @property
    def checkpoint(self) -> Path:
        """Where the run can be taken up again."""
        return self.out.with_name(self.out.name + ".ckpt")

    @property
    def log(self) -> Path:
        """One JSON line per step."""
        return self.out.with_name(self.out.name + ".jsonl")

    @property
    def sounds(self) -> Path:
        """The file of named sounds and the example encoder."""
        return self.out.with_name(self.out.stem + "-sounds" + self.out.suffix)


def train(job: Job, tell: Callable[[str], None]) -> dict[str, float]:
    """Run a job; returns the last step's figures.

    Raises:
        CheckpointError: `--resume` without a checkpoint, or an existing run without it.
    """
    settings = job.settings
    if job.resume:
        if not job.checkpoint.exists():
            raise CheckpointError(
                f"There is nothing to resume: {job.checkpoint} does not exist. "
                "Leave --resume out to start."
            )
        stored = settings_from(read_checkpoint(job.checkpoint)["settings"])
        settings = Settings(**{**stored.__dict__, "steps": settings.steps})
    elif job.checkpoint.exists() or job.out.exists():
        raise CheckpointError(
            f"{job.out} has a run already. Add --resume to continue it, or choose another --out."
        )
    job.out.parent.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    pack, shelves = prepare(job.data, job.cache, settings.seed, tell=tell)
    mixer = Mixer(shelves, Recipe())
    model = start_model(job.start)
    sounds = None
    if settings.sound_batch:
        groups = make_groups(pack, shelves, held_out=False)
        sounds = SoundMixer(pack, shelves, groups, mixer)
        model = model.extended(NAMES, settings.seed)
    pair = published_pair()
    trainer = Trainer(model, pair, mixer, settings, job.device, sounds)
    if job.resume:
        trainer.resume(job.checkpoint)
        tell(f"resumed at step {trainer.at_step}")
    songs = [] if job.songs is None else [read_song(p) for p in _folders(job.songs)]
    cases = []
    if sounds is not None:
        held_out = make_groups(pack, shelves, held_out=True)
        cases = make_cases(sounds, held_out, mixer.recipe.samples, per_group=1)

    def validate(averaged: Prompted) -> dict:
        for network in (pair.vocals, pair.accompaniment):
            network.to("cpu")
        line: dict = {}
        if songs:
            table = evaluate(
                songs, hierarchical(pair, averaged.network, averaged.tok[: len(STEMS)])
            )
            line |= {"songs": table, **table["mean"]}
        for kind in dict.fromkeys(case.kind for case in cases):
            some = [case for case in cases if case.kind == kind]
            line[f"example {kind}"] = summary(improvements(averaged, some, by_example(averaged)))
            line[f"name {kind}"] = summary(improvements(averaged, some, by_name(averaged)))
        for network in (pair.vocals, pair.accompaniment):
            network.to(job.device)
        return line

    last: dict[str, float] = {}

    def show(line: dict) -> None:
        if not line.get("validation"):
            last.update(line)
        if line.get("validation") or line["step"] % 20 == 0:
            tell(_describe(line))

    run(
        trainer,
        job.checkpoint,
        job.log,
        validate if songs or cases else None,
        save_every=job.save_every,
        validate_every=job.validate_every,
        until=None if job.minutes is None else time.time() + 60 * job.minutes,
        tell=show,
    )
    write_results(job, trainer.averaged(), pack)
    return last


def write_results(job: Job, model: Prompted, pack) -> None:
    """Export the averaged weights, and the sounds where the model has an encoder."""
    log = summarise_log(job.log) if job.log.exists() else "{}"
    export_network(model, job.out, command=job.command, log=log, clips=pack.clips)
    if model.encoder is not None:
        export_sounds(
            model,
            job.sounds,
            names=[name for name in model.names[len(STEMS) :] if name in job.names],
            library=build_library(model.encoder, pack),
            command=job.command,
            log=log,
            clips=pack.clips,
        )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _describe(line: dict) -> str:
    shown = {k: v for k, v in line.items() if isinstance(v, float)}
    text = "  ".join(f"{key} {value:.3g}" for key, value in shown.items())
    return f"step {line['step']}{' validation' if line.get('validation') else ''}  {text}"


def export_checkpoint(job: Job) -> None:
    """Write the weights of a checkpoint without training further.

    Raises:
        CheckpointError: a missing or foreign checkpoint.
    """
    content = read_checkpoint(job.checkpoint)
    model = start_model(job.start)
    names = tuple(content["names"])
    if len(names) > len(STEMS):
        model = model.extended(names[len(STEMS) :], 0)
    try:
        with torch.no_grad():
            model.load_state_dict(content["average"])
    except RuntimeError as error:
        raise CheckpointError(f"{job.checkpoint} does not fit this network.") from error
    from .pack import Pack

    write_results(job, model.eval().requires_grad_(False), Pack(job.data, job.cache))
