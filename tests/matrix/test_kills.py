"""SIGKILL at each point of the protocol, in a real process on durable books: one effect, nothing lost."""

import json
import signal

import pytest
from tests.matrix.conftest import KINDS, TOTAL, eur, wait_until

from paysession_testing.killing import POINTS

BEFORE_SEND, SENT, COMMITTED, ANSWERED, AFTER_COMMIT = POINTS


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        # A capture is killed at every point, and every other operation before its answer was recorded.
        pytest.param(point, kind, marks=[] if kind == "capture" or point == ANSWERED else [pytest.mark.slow])
        for point in POINTS
        for kind in KINDS
    ],
)
def test_an_operation_whose_process_is_killed_has_one_effect(durable, kind, point):
    if kind == "authorize":
        durable.account(lookup="none")  # where it can, it looks before it writes, and would die looking
    session_id = durable.ready_for(kind)
    hook = kind if point in (BEFORE_SEND, ANSWERED) else None
    if point == AFTER_COMMIT:
        durable.dies(lambda pay: durable.act(pay, kind, session_id), point)
        assert durable.effects(kind) == 1
        assert any(
            event.operation_id
            for event in durable.pay.events()
            if event.session_id == session_id or not session_id
        )
        durable.check(kind, session_id)
        return
    durable.dies(lambda pay: durable.act(pay, kind, session_id), point, hook)
    if point == BEFORE_SEND:
        assert durable.effects(kind) == 0
    else:
        wait_until(lambda: durable.effects(kind) == 1)
    assert durable.pay.sessions()[-1].in_doubt
    durable.settle()
    durable.check(kind, session_id)


@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_comes_again_with_the_same_key_after_the_crash(durable, kind):
    session_id = durable.ready_for(kind)
    durable.dies(lambda pay: durable.act(pay, kind, session_id), ANSWERED, kind)
    durable.forward(minutes=2)
    durable.act(durable.pay, kind, session_id)
    durable.check(kind, session_id)


@pytest.mark.parametrize("point", [BEFORE_SEND, COMMITTED, ANSWERED, AFTER_COMMIT])
def test_a_sync_whose_process_is_killed_loses_nothing(durable, point):
    session_id = durable.session("captured")
    durable.gateway.dashboard("shop", session_id, "refund", 500)
    durable.dies(lambda pay: pay.sync(session_id), point)
    assert durable.pay.sync(session_id).refunded == 500
    assert [event.type for event in durable.pay.events()].count("session.refunded") == 1


@pytest.mark.parametrize("settle", [True, False])
@pytest.mark.parametrize("point", [BEFORE_SEND, COMMITTED, ANSWERED, AFTER_COMMIT])
def test_a_notification_whose_process_is_killed_is_settled_later(durable, point, settle):
    session_id = durable.session("captured")
    durable.gateway.acknowledge("shop", *[name for name, _, _ in durable.gateway.notifications("shop")])
    durable.gateway.dashboard("shop", session_id, "refund", 500)
    ((_, headers, body),) = durable.gateway.notifications("shop")
    if settle:
        durable.dies(lambda pay: pay.handle_webhook("gw", headers=headers, body=body), point)
    else:
        assert durable.pay.handle_webhook("gw", headers=headers, body=body, settle=False).status == 200
        durable.dies(lambda pay: pay.recover(), point)
    durable.settle()
    assert durable.pay.get(session_id).refunded == 500
    assert [event.type for event in durable.pay.events()].count("session.refunded") == 1
    ((_, headers, body),) = durable.gateway.notifications("shop")  # it is signed anew when it is sent again
    assert durable.pay.handle_webhook("gw", headers=headers, body=body).body == "nothing new"


@pytest.mark.parametrize("point", [BEFORE_SEND, COMMITTED, ANSWERED, AFTER_COMMIT])
def test_a_recovery_worker_that_is_killed_is_followed_by_the_next(durable, point):
    session_id = durable.ready_for("capture")
    durable.dies(lambda pay: durable.act(pay, "capture", session_id), BEFORE_SEND, "capture")
    durable.forward(minutes=2)
    durable.dies(lambda pay: pay.recover(), point)
    durable.settle()
    durable.check("capture", session_id)


@pytest.mark.parametrize("commits", [False, True])
def test_a_process_killed_while_the_gateway_holds_its_request(durable, commits):
    session_id = durable.ready_for("capture")
    durable.inject("hold_after" if commits else "hold_before", verb="capture")
    child = durable.fork(lambda pay: durable.act(pay, "capture", session_id), wait=False)
    child.start()
    assert durable.gateway.wait_held("shop")
    child.stop(signal.SIGKILL)
    assert child.join().signal == signal.SIGKILL
    assert durable.effects("capture") == commits
    durable.settle()
    durable.check("capture", session_id)


def test_a_lease_holder_that_was_stopped_past_its_lease_is_refused_and_its_answer_kept(durable):
    session_id = durable.ready_for("capture")
    durable.inject("hold_after", verb="capture")
    child = durable.fork(lambda pay: pay.capture(session_id, eur(1000)).captured, wait=False)
    child.start()
    assert durable.gateway.wait_held("shop")
    child.stop(signal.SIGSTOP)
    durable.settle(rounds=1)  # its lease runs out, and recovery settles the operation
    assert durable.pay.get(session_id).captured == 1000
    durable.gateway.dashboard("shop", session_id, "refund", 300)
    durable._close()
    durable.gateway.release("shop")
    child.stop(signal.SIGCONT)
    answer = child.join().answer
    assert answer == 1000
    durable.settle()
    session = durable.pay.sync(session_id)
    assert (session.captured, session.refunded) == (1000, 300)
    assert durable.effects("capture") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_stopped_before_it_sends_finds_its_lease_gone_and_sends_nothing(durable, kind):
    session_id = durable.ready_for(kind)

    def late(pay):
        engine = pay._engine
        ask = engine.ask

        def paused(*arguments):
            durable.forward(minutes=5)  # what a stopped process, or a laptop's lid, does to the clock
            return ask(*arguments)

        engine.ask = paused
        try:
            return durable.act(pay, kind, session_id)
        finally:
            engine.ask = ask

    answer = durable.fork(late).answer
    assert "paused for too long" in json.dumps(answer)
    durable.check_nothing(kind)
    durable.act(durable.pay, kind, session_id)
    durable.check(kind, session_id)


def test_the_ledger_is_complete_at_every_moment_of_a_killed_lifecycle(durable):
    """Killed after each commit of a lifecycle in turn, and taken up again: one payment in the end."""
    durable.order()

    def lifecycle(pay):
        order = pay.collection(reference="order-1")
        session = pay.initiate(order.id, provider="gw", idempotency_key="life")
        durable.gateway.payer("shop", session.id, "approve")
        pay.resume(session.id)
        pay.capture(session.id, eur(3000), idempotency_key="c")
        pay.refund(session.id, eur(1000), idempotency_key="r")
        return pay.cancel(session.id, idempotency_key="v").authorized

    for _ in range(5):
        child = durable.fork(lifecycle, AFTER_COMMIT)
        if child.signal is None:
            break
    child = durable.fork(lifecycle)
    assert child.answer == 3000
    totals = [row["amount"] for row in durable.ledger() if row["kind"] in ("authorize", "capture", "refund")]
    assert totals == [TOTAL, 3000, 1000]
