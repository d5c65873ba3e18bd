"""The example song that ships with Stembridge: 12 s of music, CC0, 48 kHz stereo.

Its four stems are in the source tree (`bridge/examples/stems`), for tests and to try
`stembridge evaluate`; an installed package carries the mixture alone.
"""

from __future__ import annotations

from pathlib import Path

from .errors import NotAvailableError


def example_song() -> Path:
    """The path of the example song. Raises NotAvailableError if it was not installed."""
    package = Path(__file__).resolve().parent
    for path in (package / "example_song" / "song.ogg", package.parent / "examples" / "song.ogg"):
        if path.is_file():
            return path
    raise NotAvailableError("The example song is missing. Install Stembridge again.")
