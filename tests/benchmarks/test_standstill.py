import os
import signal
import time

import pytest

from benchmarks.standstill import StandstillWatch, common_spans, seconds_within


def test_what_spans_have_in_common() -> None:
    first = [(0.0, 1.0), (2.0, 3.0), (5.0, 6.0)]
    second = [(0.5, 2.5), (3.0, 4.0), (5.2, 5.4), (5.5, 7.0)]
    assert common_spans(first, second) == [(0.5, 1.0), (2.0, 2.5), (5.2, 5.4), (5.5, 6.0)]
    assert common_spans(first, []) == []


def test_how_much_of_a_time_lies_in_spans() -> None:
    assert seconds_within([(0.0, 1.0), (2.0, 3.0), (5.0, 6.0)], 0.75, 5.5) == pytest.approx(0.25 + 1.0 + 0.5)
    assert seconds_within([], 0.0, 1.0) == 0.0


def test_all_processors_held_up_at_once_are_noticed() -> None:
    """What the host of a virtual machine does to it, done to the sleepers: stopped, and let go on."""
    with StandstillWatch() as watch:
        if not watch.possible:
            pytest.skip("the system admits no real-time priority")
        sleepers = [sleeper.pid for sleeper in watch._sleepers]
        time.sleep(0.1)
        began = time.perf_counter()
        for process in sleepers:
            os.kill(process, signal.SIGSTOP)
        time.sleep(0.3)
        for process in sleepers:
            os.kill(process, signal.SIGCONT)
        ended = time.perf_counter()
        time.sleep(0.1)
        noticed = seconds_within(watch.spans(), began - 0.05, ended + 0.05)
    assert 0.3 - 0.02 <= noticed <= ended - began + 0.1
    assert all(_gone(process) for process in sleepers)


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) < 2, reason="one processor is all of them")
def test_one_processor_held_up_is_no_standstill() -> None:
    with StandstillWatch() as watch:
        if not watch.possible:
            pytest.skip("the system admits no real-time priority")
        time.sleep(0.1)
        began = time.perf_counter()
        os.kill(watch._sleepers[0].pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(watch._sleepers[0].pid, signal.SIGCONT)
        time.sleep(0.1)
        # The machine may really stand still meanwhile, but hardly for half of the time.
        assert seconds_within(watch.spans(), began, began + 0.3) < 0.15


def _gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
