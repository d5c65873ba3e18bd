"""Python's own hold-ups: what a collection looks at once a separator is loaded, and the lock."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest

from identity import IdentitySeparator
from server_harness import HALF, eventually, identity_server
from stembridge.server.calm import SWITCH_SECONDS, Calm
from stembridge.server.plugin_end import PluginEnd


class Knot:
    """Refers to itself, so only a collection frees it."""

    def __init__(self) -> None:
        self.own = self


def looked_at() -> int:
    """How many objects a full collection goes through."""
    return len(gc.get_objects())


def test_what_a_separator_brought_is_not_looked_at_again() -> None:
    brought = [[] for _ in range(50_000)]
    calm, separator = Calm(), IdentitySeparator()
    try:
        assert looked_at() > len(brought)
        calm.settle([separator])
        assert looked_at() < len(brought) // 10
    finally:
        calm.close()
    assert looked_at() > len(brought)


def test_what_comes_later_is_collected_as_always() -> None:
    calm, separator = Calm(), IdentitySeparator()
    try:
        calm.settle([separator])
        knot = weakref.ref(Knot())
        calm.settle([separator])  # known: nothing is frozen again
        gc.collect()
        assert knot() is None
        frozen = weakref.ref(Knot())
        calm.settle([separator, IdentitySeparator()])
        gc.collect()
        assert frozen() is not None
    finally:
        calm.close()
    gc.collect()
    assert frozen() is None, "whatever was frozen is seen again"


@pytest.mark.parametrize("before", [0.005, SWITCH_SECONDS / 5])
def test_python_is_shared_in_short_turns(before: float) -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(before)
    try:
        calm = Calm()
        assert sys.getswitchinterval() == pytest.approx(min(before, SWITCH_SECONDS), abs=2e-6)
        calm.close()
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    finally:
        sys.setswitchinterval(usual)


def frozen_by_a_session(folder: Path, own_process: bool) -> int:
    """How many objects are frozen some beats after a session began."""
    with (
        identity_server(folder, own_process=own_process),
        PluginEnd(HALF, 48000, folder=folder, latency_samples=48000) as end,
    ):
        end.wait_connected()
        eventually(lambda: gc.get_freeze_count() > 10_000, 20.0 if own_process else 0.1)
        return gc.get_freeze_count()


def test_a_server_with_a_process_of_its_own_settles(tmp_path: Path) -> None:
    usual = sys.getswitchinterval()
    assert frozen_by_a_session(tmp_path, own_process=True) > 10_000
    assert gc.get_freeze_count() == 0
    assert sys.getswitchinterval() == usual


def test_in_a_script_the_collector_stays_the_scripts(tmp_path: Path) -> None:
    """A pedalboard plugin that is dropped there must end, and its session with it."""
    usual = sys.getswitchinterval()
    with identity_server(tmp_path, own_process=False):
        assert sys.getswitchinterval() == usual
    assert frozen_by_a_session(tmp_path, own_process=False) == 0
