"""What a worker does with a session in a turn, under the session's lock.

A turn is `pull` (input from the ring into the chain), the separator's steps (run by the
engine, for several sessions at once), and `deliver` (stems back into the ring, under the
positions of the input they belong to). The plugin end does the delaying, so nothing here
depends on block sizes, and late audio is dropped there by its number.

Invariants: a lost stretch of input, a new epoch or a lag that can no longer be heard restarts
the chain at the position where input goes on: alignment never depends on counting. Another
chain takes over without a gap (`handover`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..chain import ChainBlock, SeparationChain
from ..presets import Preset
from ..separators import Mode, Separator
from .budget import LatencyParts, deadline_samples, latency_of
from .handover import Handover
from .learn import SessionLearning
from .learn_tape import Tape
from .log import failure
from .meters import Meters
from .outbox import Outbox
from .pace import Pace
from .probing import SessionProbing
from .protocol import RequestError

if TYPE_CHECKING:
    from .._native import ServerLink

STEPS_PER_TURN = 4
FAR = 1 << 62

ChainFactory = Callable[[Preset, float, int, Mode], SeparationChain]


class Playing:
    """The playing side of a session.

    Args:
        id: what stands for `<id>` in OSC paths.
        link: its server end.
        preset: what to play, resolved.
        mode: of its chain.
        make_chain: builds chains.

    Raises:
        StembridgeError: of the preset, the separator, or the link.
    """

    def __init__(
        self, id: str, link: ServerLink, preset: Preset, mode: Mode, make_chain: ChainFactory
    ) -> None:
        self.id = id
        self.link = link
        self.preset = preset
        self.mode: Mode = mode
        self.bypass = False
        self.meters = Meters()
        self.shown = (0, 0.0)
        """Newest finished sound: its place in the meters, and on the learning tape in seconds."""
        self.pace = Pace()
        self.learning = SessionLearning()
        self.probing = SessionProbing()
        self.lock = threading.Lock()
        """Held by whoever touches chain or ring; by the engine for a whole turn."""
        self.error = ""
        self.ended = False
        """Set by the engine when it lets go: no more turns."""
        self.steps_due = 0
        self.lost_samples = 0
        self.processed_samples = 0
        self.last_input_seconds = time.monotonic()
        self.silent = False
        self.outbox = Outbox(link)
        self._make_chain = make_chain
        self._effects_until = 0
        self._handover: Handover | None = None
        self._format = link.format
        self._epoch = -1
        self._next = link.position
        self._base = self._next
        self.chain = self._chain_for(preset, mode)
        self._restart(self._next)
        self._publish()

    @property
    def sample_rate(self) -> float:
        return self._format.sample_rate_hz

    @property
    def channels(self) -> int:
        return self._format.channels

    @property
    def separator(self) -> Separator:
        return self.chain.separator

    @property
    def bypassed(self) -> bool:
        """Over OSC or by the plugin's own parameter."""
        return self.bypass or self.link.bypassed

    @property
    def latency(self) -> LatencyParts:
        """What the host must be told, in parts."""
        return latency_of(
            self.chain,
            self._format.max_block_samples,
            fade_samples=self._format.fade_samples,
        )

    @property
    def wait_position(self) -> int:
        """The input position at which there is work again."""
        if self.error or self.ended:
            return FAR
        if self.outbox:
            return self.link.position + 1
        if self.bypassed:
            # A host that renders waits for the very sample after which the bypass ended.
            rest = 0.0 if self.link.offline else 0.05 * self.sample_rate
            return self.link.position + max(1, math.ceil(rest))
        # Segments are longer than the ring: what waits for them waits in the chain.
        due = min(self._due_position, self.link.position + self.link.capacity_samples[0] // 2)
        return due if self._handover is None else min(due, self._handover.end_samples)

    def slack_seconds(self) -> float:
        """Time until the plugin needs what it has not got yet; negative = it is late."""
        if self.link.offline:
            return 0.25  # after everyone who plays, before anyone who is late already
        played = self.link.play_position
        if played == 0:  # nothing of it is heard yet: the plugin still fills its delay
            end = self.link.position + self.link.available_samples
            played = min(0, end - self.link.format.latency_samples)
        return (self.outbox.written - self._format.fade_samples - played) / self.sample_rate

    def pull(self) -> None:
        """Move waiting input into the chain, a turn's worth."""
        newest = self._input_end()
        if self.bypassed:
            self.link.skip_to(newest)
            return
        self._drop_hopeless(newest)
        tape, limit = self.learning.tape, self._turn_samples()
        while limit > 0:
            gap = 0
            span = self.link.read(limit)
            if span.epoch != self._epoch:
                self._new_epoch(span.epoch, span.position)
                tape = self.learning.tape
            elif span.position != self._next:
                gap = max(0, span.position - self._next)
                self.lost_samples += gap
                self._restart(span.position)
            samples = span.audio.shape[1]
            if samples == 0:
                break
            self.last_input_seconds = time.monotonic()
            self.silent = not span.audio.any()
            self.chain.feed(span.audio)
            if self._handover is not None:
                self._handover.feed(span.audio)
            if tape is not None:
                tape.write(span.audio, gap)
            if self.probing.tape is not None:
                self.probing.tape.write(span.audio)
            self._next = span.position + samples
            limit -= samples
        self._due_position = self._next + self.chain.samples_to_next_step
        self.steps_due = self.chain.due // len(self.chain.streams)

    def _turn_samples(self) -> int:
        """How much input to take: all, but never so much that two steps are due. What is late is
        delivered step by step; only who renders, and waits for all, gets several at once."""
        step = math.ceil(self.chain.step_samples_host)
        if self.link.offline:
            return max(8192, STEPS_PER_TURN * step)
        due, waiting = self._due_position - self._next, self.link.available_samples
        return max(waiting if waiting < due + step else due, math.ceil(0.02 * self.sample_rate))

    def deliver(self) -> None:
        """Hand finished stems to the plugin; what finds no room waits for the next turn."""
        if self._handover is not None and self._handover.complete:
            self._end_handover(self._handover)
        if self._handover is None:
            block = self.chain.take()
            effects = bool(self.preset.effects) or block.start_samples < self._effects_until
            self._send(block, self.chain, with_effects=effects)
        if self.outbox.send():
            self.pace.note_late()

    def _end_handover(self, handover: Handover) -> None:
        """The old chain's last words; a chain that fails on them leaves a stretch of dry audio."""
        self._handover = None
        try:
            owed, tail = handover.finish()
        except Exception as error:
            failure("A chain failed on its last samples", error, session=self.id)
            return
        effects = handover.with_effects
        self._send(owed, handover.chain, with_effects=effects)
        self.outbox.fade_from(tail, handover.chain, with_effects=effects)

    def _send(self, block: ChainBlock, chain: SeparationChain, *, with_effects: bool) -> None:
        if block.samples == 0:
            return
        self.outbox.add(block, chain, with_effects=with_effects)
        self.processed_samples += block.samples
        self.meters.add(block.target, block.remainder)
        tape = self.learning.tape
        if tape is not None:
            behind = self._next - block.start_samples - block.samples
            place = tape.taped_seconds - behind / self.sample_rate
            self.shown = (self.meters.place, max(0.0, place))

    def learn_pace(self, seconds: float, pressure: float) -> None:
        """The steps of the last turn took so long, together with what is around them."""
        self.pace.pressure = pressure
        if self.steps_due and not self.silent:
            self.pace.learn(
                seconds / self.steps_due, self.chain.step_samples_host / self.sample_rate
            )

    def _input_end(self) -> int:
        """One past the newest input.

        To be asked before any flag of the plugin: it sets a flag before it writes the samples
        that the flag is about. So input up to here that looks droppable is, whatever the plugin
        does meanwhile; what comes after this look is never touched.
        """
        self.link.read(0)  # moves past what the ring has lost
        return self.link.position + self.link.available_samples

    def _drop_hopeless(self, newest: int) -> None:
        """Input whose output can no longer be heard is skipped where that is the sooner way."""
        if self.link.offline or self.link.epoch != self._epoch:
            return  # what a new epoch brings is not late
        rate, played = self.sample_rate, self.link.play_position
        late = played - self.outbox.written
        if late > 0:
            self.pace.note_late()
        if self.pace.hopeless(
            late / rate,
            self.chain.step_samples_host / rate,
            deadline_samples(self.mode, rate, 0) / rate,
            (newest - played) / rate,
        ):
            self.pace.drops += 1
            self.pace.note_late()
            self.link.skip_to(newest)

    def _new_epoch(self, epoch: int, position: int) -> None:
        """The host reset or changed its rate: begin anew, with a new chain if need be."""
        before = self._format
        self._epoch = epoch
        self._format = self.link.format
        if self._format.sample_rate_hz != before.sample_rate_hz:
            self.chain = self._chain_for(self.preset, self.mode)
            self.pace.forget()
            self._fit_tape()
        self._restart(position)
        self._publish()

    def _restart(self, position: int) -> None:
        """Begin anew; what was due between is a hole, which the plugin fades around."""
        self.outbox.restart(position, with_effects=bool(self.preset.effects))
        self._begin(position)

    def _begin(self, position: int) -> None:
        self.steps_due = 0
        self._handover = None
        self.chain.reset(start_samples=position)
        self._base = self._next = position
        self._due_position = position + self.chain.samples_to_next_step
        self._effects_until = 0

    def _replace(self, chain: SeparationChain, preset: Preset, mode: Mode) -> None:
        """Go on with `chain`; the present one hands over if it plays."""
        self._take_newest()
        if chain.sample_rate != int(self.sample_rate):  # it came with the newest
            chain = self._chain_for(preset, mode)
        handover = None
        resting = self.bypassed or self._next == self._base
        if not (resting or self.error or self._handover):
            handover = Handover(
                self.chain,
                with_effects=bool(self.preset.effects) or self._next < self._effects_until,
                at_samples=self._next,
                fade_samples=self._format.fade_samples,
            )
        self.chain, self.preset, self.mode, self.error = chain, preset, mode, ""
        self.pace.forget()
        if handover is None:
            self._restart(self.link.position)
        else:
            self._begin(self._next)
            self._handover = handover
        self._publish()

    def _take_newest(self) -> None:
        """What came before a change is the old preset's."""
        if not (self.ended or self.error):
            self.pull()

    def _fit_tape(self) -> None:
        """An armed tape follows the link's rate and layout; what was on it is of another."""
        self.probing.fit(self.sample_rate, self.channels)
        tape = self.learning.tape
        if tape is None or tape.fits(self.sample_rate, self.channels):
            return
        try:
            self.learning.tape = Tape(self.sample_rate, self.channels, tape.seconds)
        except RequestError as error:
            self.learning.tape, self.learning.message = None, str(error)

    def _chain_for(self, preset: Preset, mode: Mode) -> SeparationChain:
        return self._make_chain(preset, self.sample_rate, self.channels, mode)

    def _publish(self) -> None:
        self.link.publish_latency(self.chain.latency_samples, self.latency.latency_samples)
