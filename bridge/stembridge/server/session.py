"""One plugin instance on the server: who it is, what it plays, and who may change it.

The playing itself is `playing.Playing`. Invariants: whoever changes the preset or the mode
holds `control_lock`, so changes come one after the other; `lock` is taken only for the moment
of the change, never while a preset is encoded or a chain is built.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..chain import SeparationChain, encode_preset
from ..errors import LinkError
from ..presets import Preset
from ..separators import Mode
from ..separators.auto import resolved
from .learn import SessionLearning
from .playing import ChainFactory, Playing

if TYPE_CHECKING:
    from .._native import ServerLink

DEFAULT_MODE: Mode = "mix"
IDLE_SECONDS = 1.0
OFF_DB = -60.0
LOAD_SECONDS = 2.0
HANDOVER_SECONDS = 0.25


def build_chain(preset: Preset, sample_rate: float, channels: int, mode: Mode) -> SeparationChain:
    """The chain that the command line and the effect use too."""
    return SeparationChain(preset, int(sample_rate), channels, mode=mode)


class Session(Playing):
    """Owns the server end of `link` until `close`.

    Args:
        id: what stands for `<id>` in OSC paths.
        preset: what to play; its mode, else "mix".
        make_chain: for tests; `build_chain` otherwise.

    Raises:
        StembridgeError: of the preset, the separator, or the link.
    """

    def __init__(
        self,
        id: str,
        link: ServerLink,
        preset: Preset,
        *,
        make_chain: ChainFactory = build_chain,
    ) -> None:
        preset = resolved(preset)[0]
        super().__init__(id, link, preset, preset.mode or DEFAULT_MODE, make_chain)
        self.link_name: str = link.name
        self.control_lock = threading.Lock()
        """Held by whoever changes the preset or the mode; never by the engine."""
        self.dry_samples = 0
        """Of the plugin's last offline render, dry because no server came; the plugin says so."""
        self.ready_seconds = 0.0
        """When its input was there, and that of the step before; kept by the engine."""
        self.ready_before = 0.0
        self.busy_seconds = 0.0
        self.leaving = False
        """Set by `close`: whoever still holds the session lets go of its link."""
        self._closed = False
        self._load = (time.monotonic(), 0.0, 0.0)

    @property
    def state(self) -> str:
        if self.error:
            return "error"
        if self.bypassed:
            return "bypass"
        if self.processed_samples == 0 and self._next == self._base:
            return "waiting"
        if time.monotonic() - self.last_input_seconds > IDLE_SECONDS:
            return "idle"
        if self.silent:
            return "silent"
        return "late" if self.pace.late else "playing"

    def load(self) -> float:
        """Share of one core that the session used over the last seconds."""
        since, busy_then, newest = self._load
        passed = time.monotonic() - since
        if passed > LOAD_SECONDS:
            newest = (self.busy_seconds - busy_then) / passed
            self._load = (time.monotonic(), self.busy_seconds, newest)
        return newest

    def set_preset(self, preset: Preset) -> None:
        """Play another preset, by a cross-fade from the newest input on; if separator, options or
        mode change, with another chain, whose latency may be another.

        Raises:
            StembridgeError: of the preset or the separator; the session then plays on as before.
        """
        preset = resolved(preset)[0]
        with self.control_lock:
            mode = preset.mode or self.mode
            same = (preset.separator, dict(preset.options)) == (
                self.preset.separator,
                dict(self.preset.options),
            )
            if same and mode == self.mode and not self.error:
                encode_preset(preset, self.separator)  # slow for clips, so not under `lock`
                with self.lock:
                    self._take_newest()
                    self.chain.set_preset(preset)
                    if self.preset.effects:
                        self._effects_until = self._next + round(self.sample_rate)
                    self.preset = preset
                return
            chain = self._chain_for(preset, mode)
            self._await_handover()
            with self.lock:
                self._replace(chain, preset, mode)

    def _await_handover(self) -> None:
        """Let one change of chains end before the next; in vain if no input comes."""
        until = time.monotonic() + HANDOVER_SECONDS
        while self._handover is not None and time.monotonic() < until:
            time.sleep(0.005)

    def take_learning(self, learning: SessionLearning) -> None:
        """Go on with what another link of this session has recorded, marked and learned."""
        with self.lock:
            self.learning = learning
            self._fit_tape()

    def set_gains(self, target_db: float, remainder_db: float) -> None:
        """Gains of the mix, -60 dB or less = off; kept in the preset, ramped in the chain.

        A preset without effects is mixed in the plugin, which follows by the change event.
        """
        gains = [-math.inf if db <= OFF_DB else db for db in (target_db, remainder_db)]
        with self.control_lock, self.lock:
            self.chain.target_gain_db, self.chain.remainder_gain_db = gains
            self.preset = replace(self.preset, target_gain_db=gains[0], remainder_gain_db=gains[1])

    def set_bypass(self, bypass: bool) -> None:
        with self.lock:
            if self.bypass and not bypass:
                self._restart(self.link.position)
            self.bypass = bypass

    def fail(self, message: str) -> None:
        """Stop separating and say why; a new preset or mode starts again."""
        self.error = message

    def close(self, wait_seconds: float = -1.0) -> bool:
        """Let go of the link; False if a turn of a worker holds the session for longer than
        that (below 0 = wait): the worker then does it. May be called twice."""
        self.leaving = True
        if not self.lock.acquire(timeout=wait_seconds):
            return False
        try:
            if not self._closed:
                self._closed = True
                self.link.close()
        finally:
            self.lock.release()
        return True

    def check(self) -> str:
        """Beat, and the reason why the session must end, or "". Called several times a second."""
        self.link.beat()
        try:
            self.link.check()
        except LinkError as error:
            return str(error)
        state = self.link.plugin_state
        return {"dead": "plugin gone", "left": "plugin left"}.get(state, "")
