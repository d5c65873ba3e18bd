"""A server that is too slow: what is left out, how much is still heard, and what status says.

The first half plays in time of its own: host callbacks and a worker whose steps take as long as
the test says, in samples. So nothing here depends on the machine, and a machine that needs
110 % of real time can be had anywhere.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server_harness import HALF, eventually, identity_factory, identity_server, noise
from stembridge.presets import Preset
from stembridge.server.client import Client
from stembridge.server.native import load_native
from stembridge.server.pace import Pace
from stembridge.server.plugin_end import PluginEnd
from stembridge.server.session import Session

RATE = 48000
BLOCK = 512


class Studio:
    """A host, a plugin and one worker in time counted in samples; no thread, no clock."""

    def __init__(self, step_samples: int, speed: float) -> None:
        native = load_native()
        self.core = native.RealtimeCore()
        make = identity_factory(step_samples=step_samples, lookahead_samples=2 * step_samples)
        self.step_samples, self.cost = step_samples, speed * step_samples
        self.core.prepare(RATE, 2, BLOCK, 65536)
        link = native.Link.server_end(self.core.link_name)
        self.core.housekeeping()
        self.session = Session("a1", link, HALF, make_chain=make)
        self.core.set_latency_samples(self.session.latency.latency_samples)
        self.now = 0
        self._busy_until: float | None = None
        self.stalled_until = 0
        self.worst_need = 0.0

    def play(self, seconds: float) -> np.ndarray:
        """Whether each sample that was heard was separated (1) or dry (0), faded in between."""
        heard = []
        for _ in range(int(seconds * RATE / BLOCK)):
            # The target is half of what is fed, so the output is 1 where it is wet, else 2.
            heard.append(self.core.process(np.full((2, BLOCK), 2.0, np.float32)))
            self.now += BLOCK
            self._work()
        return 2.0 - np.concatenate(heard, axis=1)[0]

    def _work(self) -> None:
        session = self.session
        if self.now < self.stalled_until:
            return
        while True:
            if self._busy_until is not None:
                if self._busy_until > self.now:
                    return
                session.deliver()
                session.learn_pace(0.0, 0.0)
                self._learn()
                free_at, self._busy_until = self._busy_until, None
            else:
                free_at = float(self.now)
            arrived = session.link.position + session.link.available_samples
            if arrived < session.wait_position:
                return
            session.pull()
            steps = session.steps_due
            session.chain.advance()
            self._busy_until = max(free_at, self.now - BLOCK) + steps * self.cost

    def _learn(self) -> None:
        """What a clock would have told."""
        self.session.pace.step_seconds = self.cost / RATE
        self.session.pace.need = self.cost / self.step_samples

    def close(self) -> None:
        self.session.close()
        self.core.detach()


def play(step_samples: int, speed: float, seconds: float = 20.0) -> tuple[np.ndarray, Session]:
    studio = Studio(step_samples, speed)
    try:
        return studio.play(seconds)[3 * RATE :], studio.session
    finally:
        studio.close()


@pytest.mark.parametrize("speed", [0.1, 0.5, 0.9, 0.99])
def test_who_keeps_up_loses_nothing(speed: float) -> None:
    wet, session = play(1024, speed)
    assert wet.min() == 1.0
    assert session.pace.drops == 0 and session.lost_samples == 0 and not session.pace.late


@pytest.mark.parametrize(("speed", "least"), [(1.03, 0.9), (1.1, 0.8), (1.3, 0.6), (2.0, 0.25)])
def test_who_is_too_slow_is_heard_separated_for_stretches(speed: float, least: float) -> None:
    """In the long run no more than 1 / speed can be; a good part of that is."""
    wet, session = play(1024, speed, 40.0)
    share = float(wet.mean())
    assert least < share < 1.0 / speed + 0.05
    assert session.pace.drops > 1 and session.pace.late
    switches = np.abs(np.diff((wet > 0.5).astype(int))).sum() / (wet.size / RATE)
    assert switches < 8.0, "stretches, no stutter"


def test_who_begins_is_no_more_urgent_than_who_plays() -> None:
    """While the plugin still fills its delay, the time until the first sound is heard counts."""
    studio = Studio(1024, 0.5)
    try:
        slack = []
        for _ in range(2 * RATE // BLOCK):
            studio.play(BLOCK / RATE)
            slack.append(studio.session.slack_seconds())
        latency = studio.session.latency.latency_samples
        assert slack[0] == pytest.approx((latency - BLOCK) / RATE, abs=0.01)
        assert min(slack) > 0.0
        # One way of counting goes over into the other: a callback costs at most its length.
        assert float(np.diff(slack).min()) >= -BLOCK / RATE - 1e-9
    finally:
        studio.close()


def test_long_steps_that_come_late_are_heard_in_part() -> None:
    """A step that takes longer than the deadline allows: its end is still in time."""
    wet, session = play(8192, 1.0)
    assert 0.5 < float(wet.mean()) < 1.0
    assert session.pace.drops == 0


@pytest.mark.parametrize(("stall_seconds", "speed"), [(0.3, 0.1), (0.6, 0.1), (0.3, 0.5)])
def test_a_moment_s_hold_up_is_worked_off(stall_seconds: float, speed: float) -> None:
    """Nothing is skipped where working on is the sooner way, and it is soon in time again."""
    studio = Studio(1024, speed)
    try:
        studio.play(4.0)
        studio.stalled_until = studio.now + int(stall_seconds * RATE)
        wet = studio.play(4.0)
        assert studio.session.pace.drops == 0 and studio.session.lost_samples == 0
        assert wet.min() < 0.5, "it was late"
        assert (wet[int((stall_seconds + 0.8) * RATE) :] == 1.0).all()
    finally:
        studio.close()


# --- the rule, and the words -----------------------------------------------------------------


def learn(pace: Pace, step_seconds: float, audio_seconds: float) -> None:
    for factor in (0.9, 30.0, 1.0, 1.1, 1.0):  # one step was held up
        pace.learn(factor * step_seconds, audio_seconds)


def test_the_rule_takes_the_shorter_way() -> None:
    pace = Pace()
    assert not pace.hopeless(10.0, 0.2, 0.15, 0.6), "nothing is known of its speed"
    learn(pace, 0.1, 0.2)
    assert pace.need == 0.5
    assert not pace.hopeless(0.05, 0.2, 0.15, 0.6), "the next step is heard in part"
    assert not pace.hopeless(0.5, 0.2, 0.15, 0.6), "0.5 s to catch up, 0.6 s to start anew"
    assert pace.hopeless(0.7, 0.2, 0.15, 0.6)
    pace.pressure = 1.2
    assert not pace.hopeless(-0.11, 0.2, 0.15, 0.6), "the next step is still in time"
    assert pace.hopeless(-0.09, 0.2, 0.15, 0.6), "together with the others it never catches up"
    assert not pace.hopeless(-0.09, 0.2, 0.05, 0.6), "a fresh start would be late as well"
    pace.forget()
    assert pace.need == 0.0


def test_status_says_what_is_needed() -> None:
    pace = Pace()
    learn(pace, 0.26, 0.2)
    assert "unet in mode mix needs 130 % of real time" in pace.sentence("unet", "mix", 0.15)
    pace.forget()
    learn(pace, 0.02, 0.2)
    pace.pressure = 1.5
    assert "together need 150 %" in pace.sentence("unet", "mix", 0.15)
    pace.pressure = 0.5
    assert "held this machine up" in pace.sentence("unet", "mix", 0.15)
    pace.forget()
    learn(pace, 0.18, 0.2)
    assert "takes 180 ms here and may take 150" in pace.sentence("unet", "mix", 0.15)
    assert "mode mix" in pace.sentence("unet", "live", 0.15)


def test_a_slow_separator_is_named_in_status(tmp_path: Path) -> None:
    """With a step that sleeps longer than it may, on any machine."""
    make = identity_factory()

    def factory(preset: Preset, rate: float, channels: int, mode: Any) -> Any:
        chain = make(preset, rate, channels, mode)
        run = chain.advance

        def advance() -> None:
            time.sleep(1.5 * chain.due * chain.step_samples_host / rate)
            run()

        chain.advance = advance
        return chain

    ended = threading.Event()
    with (
        identity_server(tmp_path, make_chain=factory) as server,
        PluginEnd(HALF, RATE, latency_samples=12000, folder=tmp_path, id="a1") as plugin,
        Client.connect(info=server.info) as client,
    ):
        plugin.wait_connected()
        block = noise(BLOCK)

        def play() -> None:
            """As a host does: the blocks come in time, whoever keeps up."""
            began, played = time.monotonic(), 0
            while not ended.is_set():
                plugin.process(block)
                played += BLOCK
                time.sleep(max(0.0, began + played / RATE - time.monotonic()))

        def told() -> bool:
            values = client.request("/session/a1/status/get")
            status = dict(zip(values[::2], values[1::2], strict=True))
            return status["state"] == "late" and "Cannot keep up" in status["message"]

        player = threading.Thread(target=play)
        player.start()
        try:
            assert eventually(told, 20.0)
            session = server.sessions["a1"]
            assert session.pace.need >= 1.5
            assert eventually(lambda: session.pace.drops > 0, 20.0)
        finally:
            ended.set()
            player.join()
