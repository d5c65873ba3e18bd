"""Songs whose stems are known: reading them, and separating them for `evaluation`.

A song is a folder; each audio file in it is one stem, named by the file ("vocals.flac");
the mixture is their sum. A file called mixture or mix is left out, since it may have been
mastered. Audio is float32 `(channels, samples)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .audiofile import SUFFIXES, open_audio
from .errors import AudioError
from .evaluation import Score, ideal_ratio_masks, score, with_instrumental
from .separators import Mode, Separator

NOT_STEMS = frozenset(("mixture", "mix", "master"))
MIXTURE_ANCHOR = "mixture"
MASK_ANCHOR = "ideal mask"


@dataclass(frozen=True)
class Song:
    """One song in memory; the stems have one rate, shape and start."""

    name: str
    sample_rate: int
    stems: dict[str, np.ndarray]

    @property
    def mixture(self) -> np.ndarray:
        return np.stack(list(self.stems.values())).sum(axis=0, dtype=np.float32)


def find_songs(folder: Path) -> list[Path]:
    """The subfolders that hold stems, or the folder itself if it does.

    Raises:
        AudioError: if there is none.
    """
    if not folder.is_dir():
        raise AudioError(f"There is no folder {folder}. Give a folder of songs.")
    songs = [path for path in sorted(folder.iterdir()) if path.is_dir() and _stem_files(path)]
    if not songs and _stem_files(folder):
        songs = [folder]
    if not songs:
        raise AudioError(
            f"{folder} holds no songs. Each subfolder should be a song, with a file per stem "
            "such as vocals.wav and drums.wav."
        )
    return songs


def read_song(folder: Path, seconds: float | None = None) -> Song:
    """Read a song's stems, at most the first `seconds`; shorter ones end in silence.

    Raises:
        AudioError: for files that cannot be read, or stems of different rates.
    """
    stems: dict[str, np.ndarray] = {}
    rate = 0
    for path in _stem_files(folder):
        with open_audio(path) as reader:
            if rate not in (0, reader.sample_rate):
                raise AudioError(
                    f"{path} runs at {reader.sample_rate} Hz and the song's other stems at "
                    f"{rate} Hz. Convert them to one rate."
                )
            rate = reader.sample_rate
            limit = round(seconds * rate) if seconds else 1 << 62
            blocks, held = [np.zeros((reader.channels, 0), np.float32)], 0
            while held < limit:
                block = reader.read(min(1 << 18, limit - held))
                if block.shape[1] == 0:
                    break
                blocks.append(block)
                held += block.shape[1]
        stems[path.stem.casefold()] = np.concatenate(blocks, axis=1)
    samples = max(audio.shape[1] for audio in stems.values())
    channels = max(audio.shape[0] for audio in stems.values())
    if samples == 0:
        raise AudioError(f"The stems in {folder} hold no samples. Export them again.")
    return Song(
        folder.name, rate, {name: _fitted(a, channels, samples) for name, a in stems.items()}
    )


def _stem_files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and path.stem.casefold() not in NOT_STEMS
        and not path.name.startswith(".")
    ]


def _fitted(audio: np.ndarray, channels: int, samples: int) -> np.ndarray:
    if audio.shape[0] not in (1, channels):
        raise AudioError(
            f"Stems of {audio.shape[0]} and {channels} channels do not add up. Export them alike."
        )
    wide = np.broadcast_to(audio, (channels, audio.shape[1]))
    return np.pad(wide, ((0, 0), (0, samples - audio.shape[1])))


def evaluate_song(
    song: Song,
    separator: Separator,
    modes: Sequence[Mode],
    names: Sequence[str],
    progress: Callable[[float], None] | None = None,
) -> dict[str, dict[str, Score]]:
    """Scores by what was scored (each mode, then the anchors) and stem.

    Args:
        names: the stems to score; those that the song has not got are left out.
        progress: called with the seconds of audio separated so far.
    """
    from .chain import SeparationChain
    from .prompts import NamePrompt, Query

    truth = {n: a for n, a in with_instrumental(song.stems).items() if n in names}
    if not truth:
        has = ", ".join(song.stems)
        raise AudioError(
            f"{song.name} has no stem that {separator.name!r} knows (it has: {has}). Name the "
            f"files after its stems: {', '.join(separator.capabilities.names)}."
        )
    mixture, rate = song.mixture, song.sample_rate
    queries = [Query(keep=(separator.encode(NamePrompt(n)),), label=n) for n in truth]
    scores: dict[str, dict[str, Score]] = {}
    for number, mode in enumerate(modes):
        chain = SeparationChain(queries, rate, mixture.shape[0], mode=mode, separator=separator)
        pieces = []
        for start in range(0, mixture.shape[1], 5 * rate):
            block = mixture[:, start : start + 5 * rate]
            pieces.append(chain.push(block).target)
            if progress is not None:
                done = number * mixture.shape[1] + start + block.shape[1]
                progress(done / rate)
        made = np.concatenate([*pieces, chain.flush().target], axis=-1)
        scores[mode] = {
            name: score(true, made[index], rate) for index, (name, true) in enumerate(truth.items())
        }
    scores[MIXTURE_ANCHOR] = {name: score(true, mixture, rate) for name, true in truth.items()}
    masked = ideal_ratio_masks(song.stems)
    ideal = with_instrumental(masked)
    scores[MASK_ANCHOR] = {name: score(true, ideal[name], rate) for name, true in truth.items()}
    return scores
