"""One song through the chain and into its files, in blocks, in bounded memory.

A job runs on a worker thread; it looks at `cancel` between blocks. Targets that share a
separator, its options and the mode share one pass. Nothing is left behind unless the song
is finished: the `StemSet` sees to that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audiofile import open_audio
from ..errors import AudioError, StembridgeError
from ..stemfiles import StemSet
from .separate_plan import Target, Track

if TYPE_CHECKING:
    import numpy as np

    from ..plot import Picture
    from ..separators import Mode, Separator

BLOCK_SECONDS = 5.0


class CancelledError(Exception):
    """Raised inside a job when the user stopped the batch."""


@dataclass(frozen=True)
class Group:
    """Targets that share one pass of one separator in one mode."""

    separator: Separator
    mode: Mode
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Settings:
    """What is the same for every song of a batch."""

    bits: str
    clip: str
    overwrite: bool
    plot: bool


@dataclass
class Outcome:
    """What became of one song; `status` is done, failed, exists or cancelled."""

    track: Track
    status: str
    error: StembridgeError | None = None
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    elapsed_seconds: float = 0.0
    gain: float = 1.0
    pictures: list[Path] = field(default_factory=list)

    def as_json(self, groups: Sequence[Group]) -> dict[str, Any]:
        """The stable form for `--json`."""
        error = self.error and {"code": self.error.code, "message": str(self.error)}
        done = self.status == "done"
        stems = [
            {
                "name": name,
                "kind": kind,
                "preset": target.preset.name,
                "separator": group.separator.name,
                "mode": group.mode,
                "path": str(self.track.outputs[name]),
            }
            for group in groups
            for target in group.targets
            for kind, name in (("stem", target.stem), ("rest", target.rest))
            if name is not None
        ]
        return {
            "input": str(self.track.path),
            "status": self.status,
            "error": error,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "seconds": round(self.seconds, 6),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "gain": self.gain,
            "stems": stems if done else [],
            "pictures": [str(path) for path in self.pictures],
        }


def separate_track(
    track: Track,
    groups: Sequence[Group],
    settings: Settings,
    cancel: threading.Event,
    progress: Callable[[float, float], None],
) -> Outcome:
    """Separate one song; never raises for what can go wrong with it.

    Args:
        progress: called with seconds done and seconds in all (0 if unknown).
    """
    outcome = Outcome(track, "failed", track.problem)
    started = time.monotonic()
    try:
        if track.problem is None:
            if cancel.is_set():
                raise CancelledError
            _run(track, groups, settings, cancel, progress, outcome)
            outcome.status = "done"
    except CancelledError:
        outcome.status = "cancelled"
    except StembridgeError as error:
        outcome.error = error
    except MemoryError:
        outcome.error = AudioError(f"{track.path}: out of memory. Close programs, or use -j 1.")
    except Exception as error:  # one broken song must not end a batch of a hundred
        outcome.error = AudioError(
            f"{track.path}: an error that should not happen: {type(error).__name__}: {error}. "
            "Please report it, with the output of: stembridge doctor"
        )
    outcome.elapsed_seconds = time.monotonic() - started
    return outcome


def _run(
    track: Track,
    groups: Sequence[Group],
    settings: Settings,
    cancel: threading.Event,
    progress: Callable[[float, float], None],
    outcome: Outcome,
) -> None:
    from ..chain import SeparationChain

    with ExitStack() as stack:
        reader = stack.enter_context(open_audio(track.path))
        rate = outcome.sample_rate = reader.sample_rate
        outcome.channels = reader.channels
        total_seconds = (reader.frames or 0) / rate
        first = reader.read(round(BLOCK_SECONDS * rate))
        if first.shape[1] == 0:
            raise AudioError(f"{track.path} holds no samples. Export it again.")
        chains = [
            SeparationChain(
                [target.preset for target in group.targets],
                rate,
                reader.channels,
                mode=group.mode,
                separator=group.separator,
            )
            for group in groups
        ]
        stems = stack.enter_context(
            StemSet(
                track.outputs,
                rate,
                reader.channels,
                settings.bits,
                settings.clip,
                settings.overwrite,
                reader.frames or 0,
            )
        )
        pictures = _pictures(track, groups, rate) if settings.plot else {}
        block, done_samples = first, 0
        while block.shape[1]:
            for group, chain in zip(groups, chains, strict=True):
                if cancel.is_set():
                    raise CancelledError
                _write(stems, pictures, group, chain, chain.push(block))
            done_samples += block.shape[1]
            progress(done_samples / rate, max(total_seconds, done_samples / rate))
            block = reader.read(first.shape[1])
        for group, chain in zip(groups, chains, strict=True):
            _write(stems, pictures, group, chain, chain.flush())
        if cancel.is_set():
            raise CancelledError
    outcome.seconds = done_samples / rate
    outcome.gain = stems.gain
    for path, picture in pictures.values():
        picture.save(path, overwrite=settings.overwrite)
        outcome.pictures.append(path)


def _write(
    stems: StemSet,
    pictures: dict[str, tuple[Path, Picture]],
    group: Group,
    chain: Any,
    block: Any,
) -> None:
    heard = chain.finish(block)
    for index, target in enumerate(group.targets):
        kept: np.ndarray = block.target[index]
        left: np.ndarray = block.remainder[index]
        stems.write(target.stem, heard[index])
        if target.rest is not None:
            stems.write(target.rest, kept if target.preset.output == "remainder" else left)
        if target.stem in pictures:
            pictures[target.stem][1].add(kept + left, kept, left)


def _pictures(track: Track, groups: Sequence[Group], rate: int) -> dict[str, tuple[Path, Picture]]:
    from ..plot import Picture

    return {
        target.stem: (
            track.outputs[target.stem].with_suffix(".png"),
            Picture(f"{track.path.name}: {target.preset.name}", rate),
        )
        for group in groups
        for target in group.targets
    }
