"""Status in the words of the protocol: pairs of key and value for sessions and the server.

The keys are those of `verbs.SESSION_STATUS` and `verbs.SERVER_STATUS`, in that order; a
test compares them. Values come from the session and the engine as they are now.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..prompts import Prompt
from .choices import shown
from .protocol import Value
from .session import Session

if TYPE_CHECKING:
    from .server import Server

_LONGEST_TEXT = 1000


def pairs(values: dict[str, Any]) -> list[Value]:
    """A flat list of key, value, key, value."""
    return [item for pair in values.items() for item in pair]


def words(prompts: tuple[Prompt, ...]) -> str:
    return ", ".join(shown(prompt) for prompt in prompts)[:_LONGEST_TEXT]


def gain_db(value: float) -> float:
    """As OSC carries it: -60 stands for off."""
    return max(-60.0, value)


def session_status(session: Session) -> dict[str, Value]:
    """Everything that an editor shows of one session."""
    preset, latency = session.preset, session.latency
    state = session.state
    return {
        "state": state,
        "message": session.error or _dry_render(session) or _sentence(state, session),
        "preset": preset.name,
        "keep": words(preset.keep),
        "remove": words(preset.remove),
        "separator": session.separator.name,
        "model": session.separator.space,
        "mode": session.mode,
        "output": preset.output,
        "target_gain_db": gain_db(preset.target_gain_db),
        "remainder_gain_db": gain_db(preset.remainder_gain_db),
        "bypass": int(session.bypass or session.link.bypassed),
        "sample_rate": round(session.sample_rate),
        "channels": session.channels,
        "latency_samples": latency.latency_samples,
        "latency_adaptation_samples": latency.adaptation_samples,
        "latency_separator_samples": latency.separator_samples,
        "latency_deadline_samples": latency.deadline_samples,
        "latency_fade_samples": latency.fade_samples,
        "load": float(session.load()),
        "need": float(session.pace.need),
        "queue_samples": int(session.link.available_samples),
        "processed_samples": str(session.processed_samples),
        "misses": session.outbox.misses,
        "late_samples": str(session.outbox.late_samples),
        "lost_samples": str(session.lost_samples),
        "dry_samples": str(session.dry_samples),
        "kept_share": float(session.meters.kept_share()),
        **session.learning.status(preset, session.shown[1]),
        **session.probing.status(preset),
    }


def _dry_render(session: Session) -> str:
    if not session.dry_samples:
        return ""
    seconds = session.dry_samples / session.sample_rate
    return (
        f"The last render was dry for {seconds:.1f} s, because no server was there. "
        "It is here now: render again."
    )


def _sentence(state: str, session: Session) -> str:
    if state == "late":
        deadline_seconds = session.latency.deadline_samples / session.sample_rate
        return session.pace.sentence(session.separator.name, session.mode, deadline_seconds)
    return {
        "waiting": "Connected; waiting for audio.",
        "playing": "Separating.",
        "silent": "Connected; the input is silent.",
        "idle": "Connected; the host plays nothing.",
        "bypass": "Bypassed: the dry signal is heard.",
    }.get(state, "")


def server_status(server: Server) -> dict[str, Value]:
    """The whole server."""
    from .. import __version__
    from .protocol import PROTOCOL

    load, batch = server.engine.load.read()
    counters = server.osc.counters
    return {
        "version": __version__,
        "protocol": PROTOCOL,
        "pid": server.info.pid,
        "uptime_seconds": int(time.monotonic() - server.started_seconds),
        "sessions": len(server.sessions),
        "load": float(load),
        "memory_bytes": str(resident_bytes()),
        "workers": server.options.workers,
        "batch": float(batch),
        "packets": counters.packets,
        "malformed": counters.malformed,
        "refused": counters.refused,
        "far_timetags": counters.far_timetags,
        "clients": len(server.clients),
        "presets": server.preset_count(),
    }


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - not a file on a disk
            import resource

            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ImportError):
        return 0
