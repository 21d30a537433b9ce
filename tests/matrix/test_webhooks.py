"""Notifications: verified, stored, acknowledged; duplicates, disorder, forgeries and crashes."""

import json
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.matrix.conftest import eur

from paysession_testing.gateway import sign


def told(lab, *, of=None):
    rows = lab.gateway.notifications("shop")
    return rows if of is None else [row for row in rows if json.loads(row[2])["type"] == of]


def post(lab, row, **options):
    return lab.pay.handle_webhook("gw", headers=row[1], body=row[2], **options)


def refunded(lab):
    """A session of which 5 euros were refunded in the dashboard, and the notification of that."""
    session_id = lab.session("captured")
    lab.gateway.dashboard("shop", session_id, "refund", 500)
    (row,) = told(lab, of="refund.succeeded")
    return session_id, row


def test_a_duplicate_in_series_is_one_transition_and_one_event(lab):
    session_id, row = refunded(lab)
    assert [post(lab, row).body for _ in range(3)] == ["ok", "nothing new", "nothing new"]
    assert lab.pay.get(session_id).refunded == 500
    assert [event.type for event in lab.pay.events()].count("session.refunded") == 1


def test_duplicates_at_once_in_threads_are_one_transition_and_one_event(lab):
    session_id, row = refunded(lab)
    gate = threading.Barrier(6)

    def one(_):
        gate.wait()
        return post(lab, row).status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(one, range(6))) == {200}
    assert lab.pay.get(session_id).refunded == 500
    assert [event.type for event in lab.pay.events()].count("session.refunded") == 1


def test_duplicates_at_once_in_processes_are_one_transition_and_one_event(durable):
    session_id, row = refunded(durable)
    answers = durable.together(
        *[lambda pay: pay.handle_webhook("gw", headers=row[1], body=row[2]).status] * 4
    )
    assert answers == [200] * 4
    assert durable.pay.get(session_id).refunded == 500
    assert [event.type for event in durable.pay.events()].count("session.refunded") == 1


def test_one_that_overtakes_our_own_answer_is_kept_until_its_session_is_known(lab):
    order = lab.order()
    lab.someone_orders("ps_later")
    (row,) = told(lab)
    assert post(lab, row).status == 200
    assert lab.pay.sessions(collection_id=order.id) == ()
    lab.settle()
    assert post(lab, told(lab)[0]).body == "ok"  # it is not processed, so it is no duplicate


def test_any_order_of_notifications_converges_to_the_gateways_truth(lab):
    session_id = lab.session("captured")
    lab.pay.refund(session_id, eur(1000))
    lab.gateway.dashboard("shop", session_id, "refund", 700)
    before = None
    for rows in (told(lab)[::-1], told(lab)):
        for row in rows:
            assert post(lab, row).status == 200
        session = lab.pay.get(session_id)
        assert (session.captured, session.refunded, session.status) == (4200, 1700, "authorized")
        assert before in (None, session.version)
        before = session.version


def test_one_after_a_terminal_state_changes_nothing(lab):
    session_id = lab.session()
    session = lab.pay.cancel(session_id)
    for row in told(lab)[::-1]:
        assert post(lab, row).status == 200
    assert lab.pay.get(session_id) == session


@pytest.mark.parametrize("how", ["forged", "changed", "stale", "future", "unsigned", "no secret"])
def test_one_that_cannot_be_trusted_is_rejected_and_changes_nothing(lab, how):
    if how == "no secret":
        lab.account(secret=False)
    session_id, (_, headers, body) = refunded(lab)
    before = lab.pay.get(session_id)
    text, now = body.decode(), int(lab.seconds())
    given = {
        "forged": (sign("whsec_guess", text, now), body),
        "changed": (headers, body.replace(b"500", b"900")),
        "stale": (sign("whsec_gateway", text, now - 3600), body),
        "future": (sign("whsec_gateway", text, now + 3600), body),
        "unsigned": ({}, body),
        "no secret": (headers, body),
    }[how]
    assert lab.pay.handle_webhook("gw", headers=given[0], body=given[1]).status == 400
    lab.settle()
    assert lab.pay.get(session_id) == before
    assert lab.pay.recover().notifications == 0


def test_a_crash_after_the_acknowledgement_is_made_up_for_by_recovery(durable):
    session_id, row = refunded(durable)

    def acknowledge(pay):
        assert pay.handle_webhook("gw", headers=row[1], body=row[2], settle=False).status == 200
        pay.recover()

    durable.dies(acknowledge, "before send", "retrieve")
    durable.settle()
    assert durable.pay.get(session_id).refunded == 500


def test_one_that_cannot_be_stored_is_not_acknowledged_and_comes_again(durable, request):
    """The disk is full, or the database is gone: the gateway is told to send it again."""
    session_id, row = refunded(durable)

    def without_a_database(pay):
        if durable.url.startswith("sqlite"):
            pay.get(session_id)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        else:
            pay._store.close()
        return pay.handle_webhook("gw", headers=row[1], body=row[2]).status

    assert durable.fork(without_a_database).answer == 503
    assert durable.pay.get(session_id).refunded == 0
    assert post(durable, row).status == 200
    assert durable.pay.get(session_id).refunded == 500
