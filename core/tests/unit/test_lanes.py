"""Threads that cannot be started, and who writes an answer down."""

import threading

import pytest

from paysession._engine.lanes import Workers


@pytest.fixture
def workers():
    workers = Workers("fake", 2)
    yield workers
    workers.shut(wait=True)


@pytest.fixture
def no_more_threads(monkeypatch):
    """Return what lets no thread be started any more, as on a machine that has no more of them."""

    def start(_):
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


class Busy:
    """Work that goes on until it is let go."""

    def __init__(self):
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.go.wait(20)
        return "done"


def test_work_for_which_no_thread_could_be_started_is_not_done_later(workers, no_more_threads):
    busy, done = Busy(), []
    first = workers.submit(busy)
    assert busy.entered.wait(20)
    no_more_threads()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        workers.submit(lambda: done.append(1))
    lane = workers.figures()
    assert (lane.running, lane.waiting) == (1, 0)
    busy.go.set()
    assert first.result(20) == "done"
    assert workers.submit(lambda: "next").result(20) == "next"  # by the thread that is free now
    assert done == []


def test_work_that_a_free_thread_has_begun_goes_on_though_no_other_could_be_started(workers, monkeypatch):
    busy = Busy()
    busy.go.set()
    submit = workers._threads.submit

    def fails(run):
        submit(run).result(20)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers._threads, "submit", fails)
    assert workers.submit(busy).result(20) == "done"


def test_work_is_not_begun_if_its_caller_was_interrupted_on_the_way(workers, monkeypatch):
    class Stop(BaseException):
        pass

    taken = []

    def interrupted(run):
        taken.append(run)
        raise Stop

    monkeypatch.setattr(workers._threads, "submit", interrupted)
    done = []
    with pytest.raises(Stop):
        workers.submit(lambda: done.append(1))
    taken[0]()
    assert (done, workers.figures().waiting) == ([], 0)


def test_what_work_raises_is_raised_to_whoever_reads_its_result(workers):
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 / 0).result(20)
    assert workers.figures().running == 0


def test_nothing_is_taken_any_more_once_they_are_shut(workers):
    workers.shut(wait=True)
    with pytest.raises(RuntimeError, match="shutdown"):
        workers.submit(bool)
    assert workers.figures().waiting == 0
