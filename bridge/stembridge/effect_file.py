"""`separate_file`: a preset over a whole file, as one call for scripts.

The file is read, separated and written piece by piece, so memory does not grow with its
length. Results appear when all is well, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .chain import ChainBlock, SeparationChain
from .separators import Mode, Separator

if TYPE_CHECKING:
    from .presets import Preset


def separate_file(
    path: str | Path,
    out: str | Path,
    preset: Preset | str | Path = "vocals",
    *,
    remainder_out: str | Path | None = None,
    mode: Mode | None = None,
    bits: str = "24",
    overwrite: bool = False,
    separator: Separator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Separate an audio file into another, in bounded memory; rate and channels stay.

    Args:
        path: any format that can be read; `out`: .wav, .flac, .mp3 or .ogg.
        preset: what is written to `out`, as heard: a preset, a name, or a path.
        remainder_out: a second file for the rest of the mixture, without effects.
        mode: "live", "mix" or "render"; by default the preset's own, else "render".
        bits: "16", "24" or "32f"; whole numbers clip at full scale.
        overwrite: whether existing files may be replaced.
        progress: called with the finished fraction.

    Returns:
        `out` as a path. The files appear when all is well, never half of one.

    Raises:
        AudioError: if a file cannot be read or written; PresetError: see `Separate`.
    """
    from contextlib import ExitStack

    from .audiofile import open_audio
    from .audiofile_write import create_audio

    wanted = loaded(preset)
    with ExitStack() as stack:
        reader = stack.enter_context(open_audio(path))
        rate, channels = reader.sample_rate, reader.channels
        chain = SeparationChain(wanted, rate, channels, mode=mode, separator=separator)
        outputs = [out] if remainder_out is None else [out, remainder_out]
        writers = [
            stack.enter_context(
                create_audio(
                    target, rate, channels, bits, overwrite=overwrite, frames_hint=reader.frames
                )
            )
            for target in outputs
        ]

        def write(block: ChainBlock) -> None:
            writers[0].write(chain.finish(block))
            if remainder_out is not None:
                rest = block.target if wanted.output == "remainder" else block.remainder
                writers[1].write(rest)

        done = 0
        for piece in reader.blocks():
            write(chain.push(piece))
            done += piece.shape[1]
            if progress is not None and reader.frames:
                progress(min(1.0, done / reader.frames))
        write(chain.flush())
    return Path(out)


def loaded(preset: Preset | str | Path) -> Preset:
    """The preset itself, or the one of that name or in that file."""
    from .presets import load_preset

    return load_preset(preset) if isinstance(preset, (str, Path)) else preset
