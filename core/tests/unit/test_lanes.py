"""How long a caller waits, in which thread a hook runs, and who writes its answer down."""

import contextvars
import os
import threading
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import SimpleNamespace

import pytest

from helpers import NOW, a_session
from paysession import Capabilities, Declined, NotApplied, Outcome, OutcomeUnknown, Status
from paysession._engine import lanes
from paysession._engine.elapsed import is_in_flight
from paysession._engine.lanes import HookCalls, TimeOver, Workers, unsent
from paysession._ledger.rules import Request, begin
from paysession.operation import CAPTURE
from paysession.values import replace


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
    workers.shut(wait=True)  # the thread that is free now has taken whatever was in line
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


def test_an_interrupted_caller_is_interrupted_though_its_work_has_begun(workers, monkeypatch):
    class Stop(BaseException):
        pass

    submit, done = workers._threads.submit, []

    def interrupted(run):
        submit(run).result(20)
        raise Stop

    monkeypatch.setattr(workers._threads, "submit", interrupted)
    with pytest.raises(Stop):
        workers.submit(lambda: done.append(1))
    assert done == [1]


def test_they_may_be_shut_without_a_wait_for_what_is_at_work(workers):
    busy = Busy()
    work = workers.submit(busy)
    assert busy.entered.wait(20)
    workers.shut(wait=False)
    assert not work.done()
    busy.go.set()
    assert work.result(20) == "done"


def test_a_thread_is_named_after_what_it_is_for(workers):
    name = workers.submit(lambda: threading.current_thread().name).result(20)
    assert name.startswith("paysession fake")


def test_what_work_raises_is_raised_to_whoever_reads_its_result(workers):
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 / 0).result(20)
    assert workers.figures().running == 0


def test_nothing_is_taken_any_more_once_they_are_shut(workers):
    workers.shut(wait=True)
    with pytest.raises(RuntimeError, match="shutdown"):
        workers.submit(bool)
    assert workers.figures().waiting == 0


# --- a caller's time ---------------------------------------------------------------------------------

SESSION = a_session(Status.AUTHORIZED, authorized=4200, granted=4200, held=4200)
OPERATION = begin(SESSION, Request(CAPTURE), Capabilities(capture="multiple"), NOW)[1]


def gateway(limit=30, *, local=False):
    """Return a provider whose hooks may take so many seconds."""
    return SimpleNamespace(
        name="fake", capabilities=SimpleNamespace(call_limit=timedelta(seconds=limit), local=local)
    )


class Watch:
    """What time it is for the calls: it stands still until a test moves it."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def watch(monkeypatch):
    watch = Watch()
    monkeypatch.setattr(lanes, "monotonic", watch)
    return watch


@pytest.fixture
def calls():
    calls = HookCalls(timedelta(seconds=25))
    yield calls
    for workers in [rows for here in calls._of_process.values() for rows in here.values()]:
        workers.shut(wait=True)


def here():
    return threading.get_ident()


def test_the_callers_time_begins_with_the_outermost_call_and_ends_with_it(calls, watch):
    def outer(*, by):
        watch.seconds += 10
        return by, calls.left(), calls.within(calls.left), calls.over

    assert calls.within(outer, by=1) == (1, 15, 15, False)
    assert (calls.left(), calls.over) == (None, False)
    with pytest.raises(ZeroDivisionError):
        calls.within(lambda: 1 / 0)
    assert calls.left() is None


def test_a_time_that_began_in_line_ends_at_its_moment(calls, watch):
    assert calls.until(1012.0, lambda: calls.within(calls.left)) == 12
    assert calls.left() is None
    with pytest.raises(ZeroDivisionError):
        calls.until(1012.0, lambda: 1 / 0)
    assert calls.left() is None


def test_without_a_limit_no_time_begins(watch):
    calls = HookCalls()
    assert calls.within(calls.left) is None
    assert calls.shown(OPERATION, lambda: NOW) is OPERATION


@pytest.mark.parametrize(("left", "over"), [(0.5, False), (0, True), (-1, True)])
def test_nothing_is_begun_once_the_time_is_over(calls, watch, left, over):
    end = watch.seconds + left
    assert calls.until(end, lambda: calls.over) is over
    if over:
        with pytest.raises(NotApplied, match="before it was sent") as caught:
            calls.until(end, lambda: calls.check("ps_1"))
        assert caught.value.session_id == "ps_1"
    else:
        calls.until(end, lambda: calls.check("ps_1"))
    calls.check("ps_1")


@pytest.mark.parametrize(("left", "shown"), [(12, 12), (0, 0), (-3, 0)])
def test_a_hook_is_shown_until_when_its_caller_waits(calls, watch, left, shown):
    end = watch.seconds + left
    operation = calls.until(end, lambda: calls.shown(OPERATION, lambda: NOW))
    assert (operation.deadline, operation._until) == (NOW + timedelta(seconds=shown), end)
    assert replace(operation, deadline=None, until=None) == OPERATION


# --- in which thread -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "provider", "apart"),
    [
        (None, gateway(), False),
        (30, gateway(30), False),
        (29.9, gateway(30), True),
        (0.5, gateway(30, local=True), False),
    ],
    ids=["no limit", "as long", "shorter", "local"],
)
def test_a_hook_that_may_take_longer_than_its_caller_waits_runs_in_a_thread_beside(
    calls, watch, left, provider, apart
):
    def both():
        made = calls.make(
            provider, OPERATION, lambda: (here(), is_in_flight(OPERATION.id)), lambda found: found
        )
        return made, calls.look(provider, here)

    ((made, in_flight), looked) = both() if left is None else calls.until(watch.seconds + left, both)
    assert (made != here(), looked != here(), in_flight) == (apart, apart, True)
    assert not is_in_flight(OPERATION.id)
    assert len(calls.figures()) == apart


def test_what_a_log_or_trace_knows_of_the_caller_follows_into_the_thread(calls, watch):
    trace = contextvars.ContextVar("trace", default=None)
    trace.set("request 7")
    assert calls.until(watch.seconds + 1, lambda: calls.look(gateway(), trace.get)) == "request 7"


def test_what_a_hook_raises_in_a_thread_is_raised_to_its_caller(calls, watch):
    with pytest.raises(ZeroDivisionError):
        calls.until(watch.seconds + 1, lambda: calls.look(gateway(), lambda: 1 / 0))


def test_each_process_and_each_provider_has_its_own_threads(calls, watch, monkeypatch):
    ours = calls._workers("fake")
    assert calls._workers("fake") is ours
    assert calls._workers("another") is not ours
    assert [lane.name for lane in calls.figures()] == ["another", "fake"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert calls.figures() == ()
    assert calls._workers("fake") is not ours


@pytest.mark.parametrize(
    ("left", "late", "asked"), [(1, 1, True), (1, 2, False), (0, 0, False), (-1, 0, False)]
)
def test_a_query_needs_time_and_a_gateway_that_answers(calls, watch, monkeypatch, left, late, asked):
    monkeypatch.setattr(lanes, "MOST_LATE", 2)
    calls._workers("fake").late.update(dict.fromkeys(range(late)))

    def look():
        return calls.until(watch.seconds + left, lambda: calls.look(gateway(), lambda: "shown"))

    if asked:
        assert look() == "shown"
    else:
        with pytest.raises(OutcomeUnknown, match="fake was not queried"):
            look()


def test_threads_end_with_the_payments_and_take_nothing_more(calls, watch):
    assert calls.until(watch.seconds + 1, lambda: calls.look(gateway(), bool)) is False
    calls.close()
    with pytest.raises(OutcomeUnknown, match="no thread could query fake"):
        calls.until(watch.seconds + 1, lambda: calls.look(gateway(), bool))


# --- how many in a row say nothing -----------------------------------------------------------------------


def raising(error):
    def ask():
        raise error

    return ask


@pytest.mark.parametrize(
    "error", [NotApplied("down"), OutcomeUnknown("reset")], ids=["not applied", "unknown"]
)
def test_answers_that_say_nothing_are_counted_until_one_says_something(calls, error):
    def answered(answer):
        calls.make(gateway(), OPERATION, lambda: answer, lambda _: None)

    assert calls.unanswered("fake") == 0
    answered(error)
    with pytest.raises(type(error)):
        calls.look(gateway(), raising(error))
    answered(error)
    assert (calls.unanswered("fake"), calls.unanswered("another")) == (3, 0)
    answered(Declined("no"))
    assert calls.unanswered("fake") == 0
    answered(error)
    assert calls.unanswered("fake") == 1
    with pytest.raises(ZeroDivisionError):
        calls.look(gateway(), lambda: 1 / 0)
    assert calls.unanswered("fake") == 0
    assert calls.look(gateway(), lambda: "shown") == "shown"


@pytest.mark.parametrize(("attempt", "error"), [(1, NotApplied), (2, OutcomeUnknown)])
def test_what_is_not_sent_is_certain_at_the_first_attempt_alone(attempt, error):
    answer = unsent(replace(OPERATION, attempt=attempt), "paused")
    assert (type(answer), answer.message) == (error, "paused")


# --- who writes the answer down --------------------------------------------------------------------------


def a_call(workers, ask, written):
    return lanes._Call(workers, ask, written.append, lambda: "unsent")


def test_an_answer_that_comes_in_time_is_the_callers(workers):
    written = []
    call = a_call(workers, lambda: "answer", written)
    call.run()
    assert (call.wait(0.0), written, workers.late) == ("answer", [], {})


def test_an_answer_for_which_nobody_waits_is_written_by_the_thread(workers):
    written = []

    def ask():
        with pytest.raises(TimeOver):
            call.wait(-1.0)
        assert list(workers.late) == [call]
        return "answer"

    call = a_call(workers, ask, written)
    call.run()
    assert (written, workers.late) == (["answer"], {})


def test_a_call_for_which_nobody_waits_before_it_begins_is_not_sent(workers):
    written = []
    call = a_call(workers, lambda: pytest.fail("it is sent"), written)
    with pytest.raises(TimeOver):
        call.wait(0.0)
    call.run()
    assert (written, workers.late) == (["unsent"], {})


def test_an_answer_that_comes_as_the_time_ends_is_the_callers(workers):
    class Late(SimpleQueue):
        """A queue that the answer reaches as soon as the wait for it is over."""

        def get(self, timeout=None):
            if timeout is not None:
                call.run()
                raise Empty
            return super().get()

    written = []
    call = a_call(workers, lambda: "answer", written)
    call._answer = Late()
    assert (call.wait(1.0), written, workers.late) == ("answer", [], {})


@pytest.mark.parametrize(
    ("error", "logged"),
    [(NotApplied("down"), None), (ZeroDivisionError("x"), "a call that nobody waits for failed")],
)
def test_of_what_is_raised_where_nobody_waits_a_fault_of_ours_is_logged(workers, caplog, error, logged):
    written = []

    def ask():
        with pytest.raises(TimeOver):
            call.wait(0.0)
        raise error

    call = a_call(workers, ask, written)
    call.run()
    assert (written, workers.late) == ([], {})
    assert [record.message for record in caplog.records] == ([logged] if logged else [])
    assert all(record.exc_info[1] is error for record in caplog.records)


def test_a_late_answer_that_cannot_be_written_is_logged(workers, caplog):
    def late(_):
        raise ZeroDivisionError

    call = lanes._Call(workers, lambda: "answer", late, None)
    call._give_up()
    call.run()
    assert [record.message for record in caplog.records] == ["a late answer could not be written down"]
    assert workers.late == {}


def test_a_late_answer_has_as_much_time_again_and_is_in_flight_until_it_is_written(calls, watch, monkeypatch):
    written, entered, go = [], threading.Event(), threading.Event()

    def ask():
        entered.set()
        assert go.wait(20)
        return Outcome.captured(OPERATION.amount)

    def answered(answer):
        written.append((answer.answer, calls.left(), is_in_flight(OPERATION.id)))

    wait = lanes._Call.wait
    monkeypatch.setattr(lanes._Call, "wait", lambda call, _: entered.wait(20) and wait(call, 0.0))
    with pytest.raises(TimeOver):
        calls.until(watch.seconds + 1, lambda: calls.make(gateway(), OPERATION, ask, answered))
    assert is_in_flight(OPERATION.id)
    go.set()
    calls._workers("fake").shut(wait=True)
    assert written == [("captured", 25, True)]
    assert not is_in_flight(OPERATION.id)


def test_what_waited_for_a_thread_for_all_of_its_callers_time_is_recorded_as_not_sent(
    calls, watch, monkeypatch
):
    waiting, written = [], []
    monkeypatch.setattr(calls._workers("fake"), "submit", waiting.append)

    def make():
        return calls.make(gateway(), OPERATION, lambda: pytest.fail("it is sent"), written.append)

    with pytest.raises(TimeOver):
        calls.until(watch.seconds, make)
    waiting[0]()
    assert [(type(answer), answer.message) for answer in written] == [
        (NotApplied, "no thread was free to call fake")
    ]


def test_closing_does_not_wait_for_a_query_that_nobody_waits_for(calls, watch, monkeypatch):
    busy = Busy()
    wait = lanes._Call.wait
    monkeypatch.setattr(lanes._Call, "wait", lambda call, _: busy.entered.wait(20) and wait(call, 0.0))
    with pytest.raises(OutcomeUnknown, match="did not answer the query"):
        calls.until(watch.seconds + 1, lambda: calls.look(gateway(), busy))
    calls.close()
    assert [lane.late for lane in calls.figures()] == [1]
    busy.go.set()
