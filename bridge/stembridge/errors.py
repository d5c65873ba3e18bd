"""The one exception family of Stembridge.

Everything the package raises on purpose derives from `StembridgeError`. A message
names the thing that is wrong (the file, the field, the value) and ends with what to
do next, because it is shown to a musician as it stands: by the command line after
"stembridge: ", by the server as the text of an OSC /error, by the plugin in its
status line. `code` is the stable word that machines match on.
"""

from __future__ import annotations


class StembridgeError(Exception):
    """Base of all errors raised on purpose. `code` is stable, the message is for people."""

    code = "error"


class AudioError(StembridgeError):
    """Audio that cannot be read, written or processed: bad file, shape, rate or dtype."""

    code = "audio"


class PresetError(StembridgeError):
    """A preset that is broken, too new, or names something that does not exist."""

    code = "preset"


class PromptError(StembridgeError):
    """A prompt that the chosen separator cannot take (wrong kind, unknown name, wrong space)."""

    code = "prompt"


class CheckpointError(StembridgeError):
    """Weights that are missing, truncated, of another layout, or unsafe to load."""

    code = "checkpoint"


class NotAvailableError(StembridgeError):
    """A part that is not installed here, or does not exist for this platform."""

    code = "unavailable"


class LinkError(StembridgeError):
    """The shared-memory link: corrupt, of another version, or gone."""

    code = "link"


class ServerError(StembridgeError):
    """The separation server: cannot start, cannot be reached, refused a request."""

    code = "server"
