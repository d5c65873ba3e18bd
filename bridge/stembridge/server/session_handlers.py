"""What the verbs of a session do.

Everything that changes a session goes through `control`, in order; a change that a client
made is told to the session's other subscribers by `/session/<id>/change`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..presets import Preset, dumps, load_preset, save_preset
from .choices import (
    Doors,
    example_from,
    preset_from,
    preset_from_text,
    preset_named,
    prompts_from,
    shown,
)
from .handlers import send_text, slow
from .learn_handlers import LearnHandlers
from .log import event
from .osc import Handler, Request
from .protocol import TEXT_BYTES, RequestError
from .reports import gain_db, pairs, session_status, words
from .session import Session

if TYPE_CHECKING:
    from .server import Server

DEFAULT_PRESET = "vocals"
_KEPT_SECONDS = 60.0
_MOST_KEPT = 64
_NO_LATENCY = (0, 0, 0, 0, 0)


@dataclass
class _Transfer:
    """A text that arrives in parts."""

    parts: int
    texts: list[str] = field(default_factory=list)
    size: int = 0
    began: float = field(default_factory=time.monotonic)


class SessionHandlers:
    """Handlers of the session verbs. Called on the OSC thread; state under `_lock`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Preset]] = {}
        self._transfers: dict[tuple[Any, str], _Transfer] = {}

    def table(self) -> dict[str, Handler]:
        """Verb path to handler."""
        quick: dict[str, Handler] = {
            "status/get": self.status,
            "status/subscribe": self.subscribe,
        }
        working: dict[str, Handler] = {
            "link/open": self.open,
            "link/close": self.close,
            "preset/load": self.load,
            "preset/set": self.set_text,
            "preset/send": self.send_part,
            "preset/get": self.get_text,
            "preset/save": self.save,
            "keep/set": lambda r: self.set_side(r, "keep"),
            "remove/set": lambda r: self.set_side(r, "remove"),
            "example/set": self.set_example,
            "gain/set": self.set_gain,
            "mode/set": self.set_mode,
            "output/set": self.set_output,
            "bypass/set": self.set_bypass,
            "probe/start": self.start_probe,
            "render/report": self.report_render,
        }
        table = {f"/session/<id>/{name}": handler for name, handler in quick.items()}
        for name, handler in working.items():
            table[f"/session/<id>/{name}"] = self._slowly(handler)
        return table | LearnHandlers(self).table()

    def _slowly(self, handler: Handler) -> Handler:
        return lambda request: slow(self.server, request, lambda: handler(request))

    def _doors(self, request: Request) -> Doors:
        return Doors(self.server.options.allowed_folders, request.client.trusted)

    def _session(self, request: Request) -> Session:
        return self.server.session(request.session)

    # -- the link --------------------------------------------------------------------------

    def open(self, request: Request) -> None:
        values = request.values
        with self._lock:
            _, kept = self._kept.pop(request.session, (0.0, None))
        if values["preset"]:
            preset = preset_from(values["preset"], self._doors(request))
        else:
            preset = kept or load_preset(DEFAULT_PRESET)
        self.progress(request, "load", 0.0, "Loading the separator.")
        session = self.server.open_session(request.session, values["link"], preset)
        self.progress(request, "load", 1.0, "Ready.")
        request.reply(*session.latency.values)

    def close(self, request: Request) -> None:
        self._session(request)
        self.server.close_session(request.session, "asked")
        request.reply()

    # -- presets ---------------------------------------------------------------------------

    def load(self, request: Request) -> None:
        preset = preset_named(request.values["name"], self._doors(request))
        self._play(request, preset)

    def set_text(self, request: Request) -> None:
        self._play_or_keep(request, preset_from_text(request.values["text"], self._doors(request)))

    def send_part(self, request: Request) -> None:
        part, parts = request.values["part"], request.values["parts"]
        key = (request.client.address, request.session)
        with self._lock:
            self._forget_old()
            if part == 0:
                self._transfers[key] = _Transfer(parts)
            transfer = self._transfers.get(key)
            if transfer is None or transfer.parts != parts or len(transfer.texts) != part:
                self._transfers.pop(key, None)
                raise RequestError(
                    "arguments", f"Part {part} of {parts} is out of order. Begin with part 0."
                )
            transfer.texts.append(request.values["text"])
            transfer.size += len(request.values["text"].encode())
            if transfer.size > TEXT_BYTES:
                del self._transfers[key]
                raise RequestError(
                    "arguments", f"The text is longer than {TEXT_BYTES >> 20} MiB. Load a file."
                )
            if part + 1 < parts:
                whole = None
            else:
                whole = "".join(transfer.texts)
                del self._transfers[key]
        if whole is None:
            request.reply(str(part), *_NO_LATENCY)
        else:
            self._play_or_keep(request, preset_from_text(whole, self._doors(request)))

    def get_text(self, request: Request) -> None:
        send_text(request, dumps(self._session(request).preset))

    def save(self, request: Request) -> None:
        session = self._session(request)
        preset = replace(session.preset, name=request.values["name"], mode=session.mode)
        path = save_preset(preset, overwrite=bool(request.values["replace"]))
        session.preset = preset
        self.changed(request, "preset", preset.name)
        request.reply(preset.name, str(path))

    def _play_or_keep(self, request: Request, preset: Preset) -> None:
        if self.server.has_session(request.session):
            self._play(request, preset)
            return
        with self._lock:
            self._forget_old()
            if len(self._kept) >= _MOST_KEPT:
                raise RequestError("busy", "Too many presets wait for a link. Open one first.")
            self._kept[request.session] = (time.monotonic(), preset)
        request.reply(preset.name, *_NO_LATENCY)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        self._kept = {k: v for k, v in self._kept.items() if v[0] > oldest}
        self._transfers = {k: t for k, t in self._transfers.items() if t.began > oldest}
        while len(self._transfers) > _MOST_KEPT:
            del self._transfers[next(iter(self._transfers))]

    def _play(self, request: Request, preset: Preset) -> None:
        session = self._session(request)
        self.apply(request, session, preset)
        for key, value in (
            ("preset", preset.name),
            ("keep", words(preset.keep)),
            ("remove", words(preset.remove)),
            ("output", preset.output),
            ("target_gain_db", f"{gain_db(preset.target_gain_db):g}"),
            ("remainder_gain_db", f"{gain_db(preset.remainder_gain_db):g}"),
        ):
            self.changed(request, key, value)
        event("Preset", session=session.id, name=preset.name)
        request.reply(preset.name, *session.latency.values)

    def apply(self, request: Request, session: Session, preset: Preset) -> None:
        """Let the session play it, and tell subscribers if mode or latency changed."""
        before, mode = session.latency, session.mode
        session.set_preset(preset)
        self.server.engine.poke(session)
        if session.mode != mode:
            self.changed(request, "mode", session.mode)
        if session.latency != before:
            self.server.tell(session.id, "latency", *session.latency.values)

    # -- prompts and sound -----------------------------------------------------------------

    def set_side(self, request: Request, side: str) -> None:
        session = self._session(request)
        prompts = prompts_from(request.values["prompts"], session.separator)
        self.apply(request, session, replace(session.preset, **{side: prompts}))
        self.changed(request, side, words(prompts))
        request.reply(*[shown(prompt) for prompt in prompts])

    def set_example(self, request: Request) -> None:
        session, values = self._session(request), request.values
        path = self._doors(request).file(values["path"])
        prompt = example_from(path, values["start_seconds"], values["length_seconds"])
        self.progress(request, "example", 0.0, f"Listening to {path.name}.")
        self.apply(request, session, replace(session.preset, **{values["side"]: (prompt,)}))
        self.progress(request, "example", 1.0, "Ready.")
        self.changed(request, values["side"], words((prompt,)))
        clip = prompt.clips[0]
        request.reply(values["side"], clip.audio.shape[1] / clip.sample_rate)

    def set_gain(self, request: Request) -> None:
        session = self._session(request)
        target, remainder = request.values["target_db"], request.values["remainder_db"]
        session.set_gains(target, remainder)
        self.changed(request, "target_gain_db", f"{target:g}")
        self.changed(request, "remainder_gain_db", f"{remainder:g}")
        request.reply(target, remainder)

    def set_mode(self, request: Request) -> None:
        session = self._session(request)
        self.apply(request, session, replace(session.preset, mode=request.values["mode"]))
        request.reply(session.mode, *session.latency.values)

    def set_output(self, request: Request) -> None:
        session, output = self._session(request), request.values["output"]
        self.apply(request, session, replace(session.preset, output=output))
        self.changed(request, "output", output)
        request.reply(output)

    def set_bypass(self, request: Request) -> None:
        session = self._session(request)
        session.set_bypass(bool(request.values["bypass"]))
        self.server.engine.poke(session)
        self.changed(request, "bypass", str(request.values["bypass"]))
        request.reply(request.values["bypass"])

    # -- what the plugin and the ears report -------------------------------------------------

    def start_probe(self, request: Request) -> None:
        session, seconds = self._session(request), request.values["seconds"]
        probing, audio = session.probing, None
        with session.lock:
            tape = session.learning.tape
            if tape is not None and tape.held_seconds >= seconds:
                probing.tape, audio = None, tape.cut(seconds, 0.0)
            else:
                probing.listen(session.sample_rate, session.channels, seconds)
        if audio is not None and tape is not None:
            self.server.prober.start(session, audio, tape.sample_rate)
        request.reply(seconds, int(audio is None))

    def report_render(self, request: Request) -> None:
        session = self._session(request)
        session.dry_samples = request.values["dry_samples"]
        if session.dry_samples:
            event("A render was dry", session=session.id, samples=session.dry_samples)
        request.reply(session.dry_samples)

    # -- watching --------------------------------------------------------------------------

    def status(self, request: Request) -> None:
        request.reply(*pairs(session_status(self._session(request))))

    def subscribe(self, request: Request) -> None:
        rate_hz = request.values["rate_hz"]
        session = self._session(request)
        spectrum = bool(request.values["spectrum"])
        if spectrum:
            session.meters.columns(session.sample_rate, 0)  # from now on it keeps a picture
        self.server.clients.subscribe(request.client, request.session, rate_hz, spectrum)
        self.server.housekeeping.wake()
        request.reply(rate_hz)

    def progress(self, request: Request, *values: Any) -> None:
        """To who asked, subscribed or not (the session may not be open yet), and to the rest."""
        asker = request.client.address
        path = f"/session/{request.session}/progress"
        self.server.osc.send(asker, path, *values)
        self.server.tell(request.session, "progress", *values, but=asker)

    def changed(self, request: Request, key: str, value: str) -> None:
        """To all subscribers but who asked."""
        self.server.tell(request.session, "change", key, value, but=request.client.address)
