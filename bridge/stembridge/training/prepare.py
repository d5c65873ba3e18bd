"""From a folder of recordings to shelves: decode, sequence, render, produce. Once.

Everything is kept under one cache folder and made only where it is missing, so that a
killed preparation continues where it stopped. The MIDI archive is optional: without it,
or without bands in it, the shelves hold clips, riffs and collages alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import AudioError
from .material import SHELVES, Material, is_kept
from .pack import Pack
from .shelves import Shelf, build_shelf
from .songs import PARTS, Note, cut_slot, find_fonts, has_band, read_events, render, write_part

GROOVES = 150
GROOVE_SECONDS = 32.0
Tell = Callable[[str], None]


def prepare(
    data: Path,
    cache: Path,
    seed: int,
    *,
    passes: int = 2,
    share: float = 1.0,
    tell: Tell = lambda _: None,
) -> tuple[Pack, dict[str, Shelf]]:
    """Make what the cache lacks and open it.

    Args:
        data: the folder of recordings, with `index.csv` and perhaps `midi.tar.gz`.
        passes: how often every song is cut anew, each part in the next sound font.
        share: how much of the material to produce, 0 to 1: whole songs, performances and
            rows are left out by their names. Time and disk follow it.

    Raises:
        AudioError: a broken index, chunk or archive; no vocals, drums or bass at all.
        NotAvailableError: MIDI to render and no fluidsynth.
    """
    pack = Pack(data, cache)
    for done, total in pack.decode_all():
        tell(f"decoding {done}/{total}")
    folder = cache / "shelves"
    if not all((folder / f"{part}.json").exists() for part in SHELVES):
        material = _material(pack, cache, seed, passes, share, tell)
        for part in SHELVES:
            tell(f"producing {part}")
            build_shelf(material, part, folder)
    shelves = {part: Shelf(folder, part) for part in SHELVES}
    shelves = {part: shelf for part, shelf in shelves.items() if shelf.rows}
    if not {"drums", "bass"} <= shelves.keys():
        raise AudioError(
            f"{data} has nothing to make drums or bass of. Its index needs clips of the classes "
            "drums-loop or drum-oneshot, and bass."
        )
    return pack, shelves


def _material(
    pack: Pack, cache: Path, seed: int, passes: int, share: float, tell: Tell
) -> Material:
    """The pack, its rendered songs and drum performances, ready to be produced."""
    songs_folder = cache / "songs"
    songs_folder.mkdir(parents=True, exist_ok=True)
    midi = unpack_midi(pack.folder, cache)
    notes = []
    if midi is not None:
        notes = [render_pass(midi, songs_folder, n, seed, tell, share=share) for n in range(passes)]
    return Material(pack, songs_folder, notes, read_grooves(midi, seed), seed, share)


def unpack_midi(data: Path, cache: Path) -> Path | None:
    """Unpack `midi.tar.gz` of the data once; None when there is no such file."""
    archive = data / "midi.tar.gz"
    folder = cache / "midi"
    if not archive.exists():
        return None
    if not folder.exists():
        aside = cache / "midi.part"
        try:
            with tarfile.open(archive) as file:
                _unpack_files(file, aside)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise AudioError(f"Cannot unpack {archive}: {error}. Fetch it again.") from error
        aside.rename(folder)
    return folder


def _unpack_files(archive: tarfile.TarFile, into: Path) -> None:
    """Plain files alone and nothing outside `into`; `extractall` learnt that in Python 3.11.4.

    Raises:
        OSError: for a name that leads out of the folder.
    """
    for member in archive:
        place = into / member.name
        if not place.resolve().is_relative_to(into.resolve()):
            raise OSError(f"{member.name} leads out of the folder")
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            with content, place.open("wb") as out:
                shutil.copyfileobj(content, out)


def render_pass(
    midi: Path, folder: Path, number: int, seed: int, tell: Tell, *, share: float = 1.0
) -> list[dict[str, list[Note]]]:
    """Cut every band once and render its parts; returns the notes of every slot."""
    table = folder / f"{number}.json"
    if table.exists():
        stored = json.loads(table.read_text())
        return [{p: [Note(*n) for n in ns] for p, ns in slot.items()} for slot in stored]
    rng = np.random.default_rng([seed, 100 + number])
    slots = []
    for path in sorted(midi.rglob("*.mid")):
        if "groove" in path.parts or not is_kept(f"{number}/{path.stem}", share):
            continue
        events = read_events(path)
        if events and has_band(events):
            slots.append(cut_slot(path.stem, events, rng))
    if not slots:
        return []
    fonts = find_fonts()
    if not fonts:
        from ..errors import NotAvailableError

        raise NotAvailableError(
            "Training renders MIDI with General MIDI sound fonts, and none is installed. "
            "Install fluid-soundfont-gm and musescore-general-soundfont."
        )
    for at, part in enumerate(PARTS):
        raw = folder / f"{number}-{part}.raw"
        if not raw.exists():
            tell(f"rendering {part}, pass {number + 1}")
            score = folder / f"{number}-{part}.mid"
            write_part(slots, part, score)
            render(score, fonts[(number + at) % len(fonts)], raw)
    notes = [slot.notes for slot in slots]
    plain = [{p: [dataclasses.astuple(n) for n in ns] for p, ns in s.items()} for s in notes]
    table.write_text(json.dumps(plain))
    return notes


def read_grooves(midi: Path | None, seed: int) -> list[list[Note]]:
    """Up to `GROOVES` human drum performances, a random half minute of each."""
    if midi is None:
        return []
    paths = sorted(path for path in midi.rglob("*.mid") if "groove" in path.parts)
    rng = np.random.default_rng([seed, 200])
    grooves: list[list[Note]] = []
    for index in rng.permutation(len(paths)):
        events = read_events(paths[int(index)])
        if not events or events[-1][0] < 20:
            continue
        start = float(rng.uniform(0, max(0.0, events[-1][0] - GROOVE_SECONDS)))
        notes = [
            Note(at - start, 0.1, message.note, message.velocity, 9)
            for at, message in events
            if message.type == "note_on"
            and message.velocity > 0
            and start <= at < start + GROOVE_SECONDS
        ]
        if len(notes) > 20:
            grooves.append(notes)
        if len(grooves) == GROOVES:
            break
    return grooves
