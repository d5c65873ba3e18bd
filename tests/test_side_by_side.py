"""Networks of one step on several cores: the same results, and nobody waits for who is busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stembridge.prompts import NamePrompt, Query
from stembridge.separators import load_separator
from stembridge.separators.base import Mode
from stembridge.separators.side_by_side import side_by_side, use_cores


@pytest.fixture
def two_cores() -> Iterator[None]:
    use_cores(2)
    try:
        yield
    finally:
        use_cores(1)


@pytest.mark.usefixtures("two_cores")
def test_two_calls_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def call() -> int:
        both.wait(60.0)
        return threading.get_ident()

    here, there = side_by_side([call, call])
    assert here == threading.get_ident() != there


def test_each_of_several_steps_has_its_helper() -> None:
    """Two steps at a time on two cores each: all four calls meet."""
    use_cores(2, steps=2)
    try:
        every = threading.Barrier(4)
        steps = [
            threading.Thread(target=side_by_side, args=([lambda: every.wait(60.0)] * 2,))
            for _ in range(2)
        ]
        for step in steps:
            step.start()
        for step in steps:
            step.join(60.0)
        assert not any(step.is_alive() for step in steps) and not every.broken
    finally:
        use_cores(1)


def test_one_core_runs_them_one_after_the_other() -> None:
    assert set(side_by_side([threading.get_ident] * 3)) == {threading.get_ident()}


@pytest.mark.usefixtures("two_cores")
def test_results_come_in_order_whoever_does_the_work() -> None:
    for count in (0, 1, 2, 5, 20):
        assert side_by_side([lambda i=i: i * i for i in range(count)]) == [
            i * i for i in range(count)
        ]


@pytest.mark.usefixtures("two_cores")
def test_a_busy_helper_is_not_waited_for() -> None:
    """Somebody else's long call holds the only helper: all is done here."""
    begun, end = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        end.wait(60.0)

    def wait_begun() -> None:
        assert begun.wait(60.0)

    other = threading.Thread(target=side_by_side, args=([wait_begun, long],))
    other.start()
    try:
        assert begun.wait(60.0)
        assert set(side_by_side([threading.get_ident] * 4)) == {threading.get_ident()}
    finally:
        end.set()
        other.join()


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_is_raised_once_nothing_runs(at: int) -> None:
    running: list[int] = []

    def call(i: int) -> None:
        running.append(i)
        try:
            if i == at:
                raise ValueError(str(i))
        finally:
            running.remove(i)

    with pytest.raises(ValueError, match=str(at)):
        side_by_side([lambda i=i: call(i) for i in range(3)])
    assert not running


@pytest.mark.usefixtures("two_cores")
def test_helpers_work_in_the_mode_of_who_asks() -> None:
    assert side_by_side([torch.is_inference_mode_enabled] * 8) == [False] * 8
    with torch.inference_mode():
        assert side_by_side([torch.is_inference_mode_enabled] * 8) == [True] * 8


@pytest.mark.parametrize("mode", ["live", "mix"])
@pytest.mark.parametrize("name", ["vocals", "drums", "guitar"])
def test_the_unet_s_stems_are_those_of_one_core(name: str, mode: Mode) -> None:
    """Bit for bit, for a pair of networks, for three and with a further one."""
    separator = load_separator("unet")
    query = Query(keep=(separator.encode(NamePrompt(name)),))
    audio = np.random.default_rng(1).standard_normal((2, 6 * 8192)).astype(np.float32)
    audio = audio[:, : 6 * (2048 if mode == "live" else 8192)]

    def stems(cores: int) -> np.ndarray:
        use_cores(cores)
        try:
            return separator.stream([query], mode).push(0.1 * audio)
        finally:
            use_cores(1)

    one, two = stems(1), stems(2)
    assert one.shape[2] > 0 and np.abs(one).max() > 0.0
    assert np.array_equal(one, two)
