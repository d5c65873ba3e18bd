"""What `stembridge train` does, as a function: prepare, train, validate, export, plot.

Beside the weights `OUT` stand `OUT.ckpt` (to resume), `OUT.jsonl` (the log), and the
sounds file of the same stem. All work is resumable: the cache by what it holds, the
training by its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CheckpointError
from ..separators.layers.unet import UNet
from .blend import Share, blend, on_encoder_of, read_model
from .checkpoint import read_checkpoint
from .export import export_network, export_sounds, summarise_log
from .library import build_library, rows_of_names
from .memory import keep_freed_memory
from .mixer import STEMS, Mixer, Recipe
from .network import PROMPTED_FILE, package_weights, published_pair, start_model
from .pack import Pack
from .prepare import prepare
from .prompted import Prompted
from .settings import Settings, settings_from
from .sound_figures import by_example, by_name, improvements, make_cases, summary
from .sounds import NAMES, SoundMixer, make_groups
from .trainer import Trainer, run
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
    start_sounds: Path | None = None
    blends: tuple[Share, ...] = ()
    passes: int = 2
    share: float = 1.0
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
    pack, shelves = prepare(
        job.data, job.cache, settings.seed, passes=job.passes, share=job.share, tell=tell
    )
    mixer = Mixer(shelves, Recipe())
    model = start_model(job.start, job.start_sounds)
    known = model.names
    sounds = None
    if settings.sound_batch:
        groups = make_groups(pack, shelves, held_out=False)
        sounds = SoundMixer(pack, shelves, groups, mixer)
        model = model.extended(NAMES, settings.seed)
        if job.start_sounds is not None and not job.resume:
            missing = [name for name in model.names if name not in known]
            rows = rows_of_names(model, sounds, missing, settings.seed)
            for name, row in rows.items():
                model.tok.data[model.names.index(name)] = row
    pair = published_pair()
    trainer = Trainer(model, pair, mixer, settings, job.device, sounds, job.command)
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
        if songs and settings.batch:
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


def write_results(job: Job, model: Prompted, pack: Pack, command: str | None = None) -> None:
    """Export the averaged weights: the stems where they were trained, and the sounds.

    Sounds that do not share the network of the stems they stand beside (the stems were
    averaged with other weights, or not trained at all) are kept as a difference to it.
    """
    log = summarise_log(job.log) if job.log.exists() else "{}"
    command = command or job.command
    base: UNet | None = None
    if job.settings.batch:
        stems = blend(model, job.blends, job.start) if job.blends else model
        export_network(stems, job.out, command=command, log=log, clips=pack.clips)
    if job.blends or not job.settings.batch:
        beside = job.out if job.settings.batch else job.start or package_weights() / PROMPTED_FILE
        base = start_model(beside).network
    if model.encoder is not None:
        library = build_library(model.encoder, pack)
        if base is not None:
            network = on_encoder_of(base, model.network)
            model = Prompted(network, model.tok, model.names, model.encoder)
        export_sounds(
            model,
            job.sounds,
            base=base,
            names=[name for name in model.names[len(STEMS) :] if name in job.names],
            library=library,
            command=command,
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
    model = read_model(job.checkpoint, job.start)
    job = replace(job, settings=settings_from(content["settings"]))
    trained = content.get("command") or "stembridge train"
    write_results(job, model, Pack(job.data, job.cache), f"{trained}; {job.command}")
