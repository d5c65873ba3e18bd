"""Every verb that the server understands, and every message it sends unasked, as one table.

The dispatcher is built from `VERBS`, the documentation page `docs/osc.md` is written from
it by `server.tables` and a test holds the two together, so a verb cannot exist without its
line in the manual. Paths are lower-case nouns with the verb last; `<id>` stands for a
session. Adding a verb or a trailing optional argument keeps `PROTOCOL`; anything else
raises it.
"""

from __future__ import annotations

from .events import EVENTS, SERVER_STATUS, SESSION_STATUS
from .verb import Event, Verb
from .verbs_learn import LEARN_VERBS
from .verbs_server import SERVER_VERBS
from .verbs_session import SESSION_VERBS

__all__ = ["EVENTS", "SERVER_STATUS", "SESSION_STATUS", "VERBS", "Event", "Verb"]

VERBS: tuple[Verb, ...] = (*SERVER_VERBS, *SESSION_VERBS, *LEARN_VERBS)
