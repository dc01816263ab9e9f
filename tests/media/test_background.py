"""A thread beside the caller: in order, bounded, and honest about what fails."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from svd_ui.media import Background


def test_jobs_run_in_order_beside_the_caller() -> None:
    done: list[int] = []
    threads: set[str] = set()
    with Background() as background:
        for number in range(20):
            background.do(lambda number=number: (done.append(number), threads.add(threading.current_thread().name)))  # type: ignore[misc]
    assert done == list(range(20))
    assert threads == {"svd-ui-encoder"}


def test_the_caller_goes_on_while_a_job_runs_and_waits_when_too_many_do() -> None:
    gate, entered = threading.Event(), threading.Event()

    def held() -> None:
        entered.set()
        assert gate.wait(60)

    with Background(waiting=2) as background:
        background.do(held)
        assert entered.wait(60)
        background.do(lambda: None)
        background.do(lambda: None)  # the caller has come this far with the first job still running
        blocked = threading.Thread(target=background.do, args=(lambda: None,), daemon=True)
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive(), "a fourth job found room"
        gate.set()
        blocked.join(60)
        assert not blocked.is_alive()


def test_an_error_comes_out_at_the_next_job_and_nothing_runs_after_it() -> None:
    done: list[str] = []

    def fail(name: str) -> None:
        done.append(name)
        raise OSError(28, "No space left on device")

    def hand_over() -> None:
        with Background() as background:
            background.do(partial(fail, "first"))
            for _ in range(50):  # the error is there by the time that the room is used up
                background.do(partial(done.append, "second"))
            raise AssertionError("nothing was raised")

    with pytest.raises(OSError, match="No space left"):
        hand_over()
    assert done == ["first"]


def test_the_error_of_the_last_job_is_not_lost() -> None:
    def fail() -> None:
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), Background() as background:
        background.do(fail)


def test_a_cancelled_block_drops_what_waits_and_ends_the_thread() -> None:
    gate, entered, done = threading.Event(), threading.Event(), []  # type: ignore[var-annotated]

    def held() -> None:
        entered.set()
        assert gate.wait(60)

    def cancelled() -> None:
        with Background() as background:
            background.do(held)
            assert entered.wait(60)
            background.do(partial(done.append, "waiting"))
            threading.Timer(0.1, gate.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled()
    assert done == []
    assert "svd-ui-encoder" not in {thread.name for thread in threading.enumerate()}
