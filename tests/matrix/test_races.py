"""Many at once, in threads and in processes: one effect, and never more than the limits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.matrix.conftest import KINDS, MOVES, TOTAL, eur

from paysession import PaysessionError

N = 8


def at_once(*acts):
    """Call in as many threads; return the errors' names and the answers."""
    gate = threading.Barrier(len(acts))

    def one(act):
        gate.wait()
        try:
            return act()
        except PaysessionError as error:
            return type(error).__name__

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


@pytest.mark.parametrize(
    ("kind", "key"),  # without a key each initiate is a session of its own
    [(kind, key) for kind in KINDS for key in ("the-key", None) if key or kind != "initiate"],
)
def test_one_operation_asked_for_in_many_threads_has_one_effect(lab, kind, key):
    session_id = lab.ready_for(kind)
    answers = at_once(*[lambda: lab.act(lab.pay, kind, session_id, key).id] * N)
    assert answers.count("SessionBusy") < N
    assert {name for name in answers if not name.startswith("ps_")} <= {
        "SessionBusy", "InvalidTransition", "InvalidAmount", "OutcomeUnknown",
    }  # fmt: skip
    if kind == "update" and key is None:
        assert lab.done(kind, session_id)  # asked for one after the other it is no more than said twice
        return
    lab.check(kind, session_id)


@pytest.mark.parametrize("kind", ["initiate", *MOVES])
def test_one_operation_asked_for_in_many_processes_has_one_effect(durable, kind):
    session_id = durable.ready_for(kind)
    answers = durable.together(*[lambda pay: durable.act(pay, kind, session_id).id] * 5)
    assert any(name.startswith("ps_") for name in answers)
    assert {name.partition(":")[0] for name in answers if not name.startswith("ps_")} <= {
        "SessionBusy", "OutcomeUnknown",
    }  # fmt: skip
    durable.check(kind, session_id)


def limits_hold(lab, session_id):
    session = lab.pay.get(session_id)
    assert not session.in_doubt
    ledger = {kind: sum(row["amount"] for row in lab.ledger(kind)) for kind in ("capture", "refund")}
    assert (session.captured, session.refunded) == (ledger["capture"], ledger["refund"])
    assert ledger["refund"] <= ledger["capture"] <= TOTAL
    assert lab.pay.collection(reference="order-1").held == session.held
    (order,) = lab.gateway.orders("shop")
    assert session.authorized == order["authorized"]


RACES = {
    "capture against cancel": [("capture", None), ("cancel", None)] * 3,
    "capture against capture over the limit": [("capture", 3000)] * 4,
    "refund against refund": [("refund", 3000)] * 4,
    "refund against capture": [("capture", 1000), ("refund", 500)] * 3,
    "authorize against cancel": [("authorize", None), ("cancel", None)] * 3,
    "update against authorize": [("update", 1000), ("authorize", None)] * 3,
}


@pytest.mark.parametrize("race", RACES)
def test_operations_that_contradict_each_other_keep_within_the_limits_in_threads(lab, race):
    calls = RACES[race]
    session_id = prepared(lab, calls)
    at_once(*[lambda call=call, minor=minor: do(lab.pay, session_id, call, minor) for call, minor in calls])
    lab.settle()
    limits_hold(lab, session_id)


@pytest.mark.parametrize(
    "race",
    [pytest.param(race, marks=[] if "against cancel" in race else [pytest.mark.slow]) for race in RACES],
)
def test_operations_that_contradict_each_other_keep_within_the_limits_in_processes(durable, race):
    calls = RACES[race]
    session_id = prepared(durable, calls)
    durable.together(
        *[lambda pay, call=call, minor=minor: do(pay, session_id, call, minor) for call, minor in calls]
    )
    durable.settle()
    limits_hold(durable, session_id)


def prepared(lab, calls):
    kinds = {call for call, _ in calls}
    if kinds & {"authorize", "update"}:
        return lab.ready_for("authorize")
    return lab.ready_for("refund" if kinds == {"refund"} else "capture")


def do(pay, session_id, call, minor):
    arguments = [eur(minor)] if minor else []
    return getattr(pay, call)(session_id, *arguments).status


def test_two_captures_of_one_amount_without_a_callers_key_are_two(lab):
    session_id = lab.session()
    for _ in range(2):
        lab.pay.capture(session_id, eur(1000))
    assert (lab.pay.get(session_id).captured, lab.effects("capture")) == (2000, 2)


def test_two_captures_of_one_amount_with_one_callers_key_are_one(lab):
    session_id = lab.session()
    for _ in range(2):
        lab.pay.capture(session_id, eur(1000), idempotency_key="ship-1")
    assert (lab.pay.get(session_id).captured, lab.effects("capture")) == (1000, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_recovery_workers_at_once_settle_doubt_once(durable, workers):
    """Doubt in several sessions, settled by several workers, while their owners come again."""
    session_id = durable.ready_for("capture")
    durable.inject("drop_before", verb="capture")
    durable.inject("drop_before", "drop_before", verb="lookup")
    with pytest.raises(PaysessionError):
        durable.act(durable.pay, "capture", session_id)
    durable.forward(minutes=2)
    acts = [lambda pay: pay.recover().looked] * (workers or 1)
    acts += [lambda pay: durable.act(pay, "capture", session_id).id] * 3
    durable.together(*acts)
    durable.settle()
    durable.check("capture", session_id)
