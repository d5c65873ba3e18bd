"""What `separate` is going to do: which files, which targets, which results, where.

Everything is decided before the first sample is read: unknown presets, a pattern that
leaves the output folder, two songs for one place or a result over its own source end here.
No audio and no torch in this file.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AudioError, PresetError, StembridgeError
from ..presets import Preset, slug_of
from .files import songs_in

DEFAULT_PATTERN = "{track}/{stem}.{ext}"
_FIELDS = ("track", "trackext", "stem", "ext", "separator")


@dataclass(frozen=True)
class Target:
    """One thing to separate: `stem` gets the preset's output, `rest` what is left (or None)."""

    preset: Preset
    stem: str
    rest: str | None


@dataclass
class Track:
    """One song: `name` is its place under the output folder (may hold folders)."""

    path: Path
    name: str
    outputs: dict[str, Path] = field(default_factory=dict)
    problem: StembridgeError | None = None
    exists: bool = False


def make_targets(presets: Sequence[Preset], with_rest: bool) -> list[Target]:
    """One target per preset, named by its slug. Raises PresetError for equal names."""
    targets: list[Target] = []
    for preset in presets:
        stem = preset.slug
        if any(stem in (t.stem, t.rest) or f"no_{stem}" == t.stem for t in targets):
            raise PresetError(f"Two targets are called {stem!r}. Rename a preset, or drop one.")
        targets.append(Target(preset, stem, f"no_{stem}" if with_rest else None))
    return targets


def prompt_label(words: Iterable[str]) -> str:
    """A short name for an unnamed target: ("a dog", "rain") → "a-dog+rain"."""
    return "+".join(slug_of(word)[:40] for word in words)[:80] or "target"


def find_tracks(inputs: Sequence[str], output_root: Path) -> list[Track]:
    """The songs behind files and folders; what cannot be found carries its `problem`.

    Folders are searched to the bottom, without hidden files and without earlier results;
    the folders below them become part of the track's name, so that equal names in
    different albums stay apart.
    """
    tracks = []
    for word in inputs:
        path = Path(word)
        if not path.is_dir():
            track = Track(path, clean_name(path.stem))
            if not os.path.lexists(path):
                track.problem = AudioError(f"There is no file {path}. Check the path.")
            tracks.append(track)
            continue
        found = [Track(p, name) for p, name in _songs_in(path, output_root)]
        if not found:
            problem = AudioError(f"There is no audio in {path}. Name files, or another folder.")
            found = [Track(path, clean_name(path.name), problem=problem)]
        tracks.extend(found)
    return tracks


def _songs_in(folder: Path, output_root: Path) -> Iterable[tuple[Path, str]]:
    skipped = output_root.resolve()
    for path in songs_in(folder):
        inner = path.relative_to(folder)
        if skipped != folder.resolve() and path.resolve().is_relative_to(skipped):
            continue
        yield path, "/".join([*map(clean_name, inner.parent.parts), clean_name(inner.stem)])


def clean_name(name: str) -> str:
    """A file name that every system takes and that cannot lead anywhere else."""
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip().rstrip(".")
    return plain.encode("utf-8", "replace")[:200].decode("utf-8", "ignore") or "track"


def check_pattern(pattern: str, stems: int) -> str:
    """Refuse a `--filename` that leaves the output folder or lets results collide.

    Raises:
        AudioError: with what the pattern may hold.
    """
    help_text = f"It may hold {', '.join('{' + f + '}' for f in _FIELDS)}: {DEFAULT_PATTERN}"
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise AudioError(f"--filename {pattern!r}: {error}. {help_text}") from None
    names = [name for _, name, _, _ in parts if name is not None]
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    if any(name not in _FIELDS for name in names) or not plain:
        raise AudioError(f"--filename {pattern!r}: unknown field. {help_text}")
    path = Path(pattern)
    if not pattern or path.is_absolute() or ".." in path.parts or pattern.startswith("~"):
        raise AudioError(
            f"--filename {pattern!r} leads out of the output folder. Choose the folder with -o."
        )
    if "\\" in pattern or pattern.endswith("/") or re.search(r"[\x00-\x1f]", pattern):
        raise AudioError(f"--filename {pattern!r} is not a file name. {help_text}")
    if stems > 1 and "stem" not in names:
        raise AudioError(f"--filename {pattern!r} needs {{stem}}: there are {stems} files a song.")
    return pattern


def place_outputs(
    tracks: Sequence[Track],
    stems: Sequence[tuple[str, str]],
    root: Path,
    pattern: str,
    suffix: str,
    overwrite: bool,
) -> None:
    """Fill `outputs` of each track; mark the tracks that collide, exist or eat a source.

    Args:
        stems: pairs (stem, separator's name); results lie in `root/separator/…`.
    """
    sources = {track.path.resolve() for track in tracks}
    taken: dict[Path, Path] = {}
    for track in tracks:
        for stem, separator in stems:
            inner = pattern.format(
                track=track.name,
                trackext=track.path.suffix.lstrip(".") or "audio",
                stem=stem,
                ext=suffix,
                separator=separator,
            )
            path = root / separator / inner
            if path.suffix.lower() != f".{suffix}":
                path = path.with_name(f"{path.name}.{suffix}")
            track.outputs[stem] = path
        if track.problem is None:
            track.problem = _placement_problem(track, taken, sources)
        if track.problem is None:
            taken |= dict.fromkeys(track.outputs.values(), track.path)
            track.exists = not overwrite and any(map(os.path.lexists, track.outputs.values()))


def _placement_problem(
    track: Track, taken: dict[Path, Path], sources: set[Path]
) -> AudioError | None:
    for path in track.outputs.values():
        if path in taken:
            return AudioError(
                f"{track.path} would write the same files as {taken[path]}. Rename one, or use "
                '--filename "{track}.{trackext}/{stem}.{ext}".'
            )
        if path.resolve() in sources:
            return AudioError(f"{path} is a song to read. Choose another folder with -o.")
    return None
