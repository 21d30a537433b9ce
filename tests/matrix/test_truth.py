"""What others did: payers in their browsers, dashboards, banks, and a lookup that is behind."""

import pytest
from tests.matrix.conftest import TOTAL, eur

from paysession import OutcomeUnknown, PaysessionError


@pytest.mark.parametrize("kind", ["update", "authorize", "cancel"])
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_browser_that_confirms_around_an_operation_leaves_a_ledger_that_equals_the_gateways(
    lab, kind, when
):
    session_id = lab.session("requires_more")
    if when == "before":
        lab.gateway.payer("shop", session_id, "confirm")
    if when == "during":
        lab.inject("silent_before", verb=kind)
    try:
        lab.act(lab.pay, kind, session_id)
    except PaysessionError:
        pass
    if when != "before":
        lab.gateway.payer("shop", session_id, "confirm")
    lab.settle()
    session = lab.pay.sync(session_id)
    lab.settle()
    session = lab.pay.get(session_id)
    (order,) = lab.gateway.orders("shop")
    assert (session.authorized, session.captured) == (order["authorized"], order["captured"])
    assert session.amount.minor == order["amount"] or session.status == "canceled"
    assert not session.in_doubt
    if session.status == "canceled":
        assert order["status"] == "canceled"


def test_what_a_browser_confirms_beyond_the_limit_is_reported_and_cancelled(lab):
    one, two = lab.session("requires_more"), lab.session("requires_more", provider="other")
    for session_id in (one, two):
        lab.gateway.payer("shop", session_id, "confirm")
        lab.pay.sync(session_id)
    lab.settle()
    assert [lab.pay.get(session_id).status for session_id in (one, two)] == ["authorized", "canceled"]
    assert "session.conflict" in [event.type for event in lab.pay.events()]
    assert sum(order["authorized"] for order in lab.gateway.orders("shop")) == TOTAL


@pytest.mark.parametrize("how", ["sync", "webhook"])
@pytest.mark.parametrize("act", ["refund", "chargeback", "capture", "cancel"])
def test_what_is_done_in_the_dashboard_is_booked_as_the_providers_operation(lab, act, how):
    session_id = lab.session("captured" if act in ("refund", "chargeback") else "authorized")
    lab.gateway.acknowledge("shop", *[name for name, _, _ in lab.gateway.notifications("shop")])
    assert lab.gateway.dashboard("shop", session_id, act, 1500)
    for _ in range(2):
        if how == "sync":
            lab.pay.sync(session_id)
        else:
            ((_, headers, body),) = lab.gateway.notifications("shop")
            assert lab.pay.handle_webhook("gw", headers=headers, body=body).status == 200
    row = lab.pay.history(session_id)[-1]
    assert (row.origin, row.kind, row.state) == ("provider", act, "succeeded")
    assert row.amount.minor == (TOTAL if act == "cancel" else 1500)
    assert lab.effects(act) == 1


@pytest.mark.parametrize("how", ["sync", "recovery", "webhook"])
@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
def test_a_pending_refund_that_ends_later_settles_once(lab, outcome, how):
    session_id = lab.session("captured")
    lab.inject("slow", verb="refund")
    session = lab.pay.refund(session_id, eur(1000))
    assert (session.refunded, session.refunding, session.pending) == (0, 1000, 1)
    lab.gateway.acknowledge("shop", *[name for name, _, _ in lab.gateway.notifications("shop")])
    (entry,) = lab.ledger("refund")
    lab.gateway.bank("shop", entry["number"], outcome)
    find_out(lab, session_id, how)
    session = lab.pay.get(session_id)
    assert (session.refunded, session.refunding) == (1000 if outcome == "succeeded" else 0, 0)
    types = [event.type for event in lab.pay.events()]
    assert types.count("session.refunded" if outcome == "succeeded" else "operation.failed") == 1
    lab.pay.refund(session_id)
    lab.settle()
    assert lab.pay.get(session_id).refunded == TOTAL


@pytest.mark.parametrize("how", ["sync", "recovery", "webhook"])
@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
def test_a_debit_that_ends_later_settles_once_and_lets_go_of_the_amount(lab, outcome, how):
    session_id = lab.session("requires_more")
    lab.gateway.payer("shop", session_id, "debit")
    session = lab.pay.resume(session_id)
    assert (session.status, session.authorized, session.held) == ("pending", 0, TOTAL)
    lab.gateway.acknowledge("shop", *[name for name, _, _ in lab.gateway.notifications("shop")])
    (entry,) = lab.ledger("authorize")
    lab.gateway.bank("shop", entry["number"], outcome)
    find_out(lab, session_id, how)
    session = lab.pay.get(session_id)
    good = outcome == "succeeded"
    assert (session.status, session.held) == (("authorized", TOTAL) if good else ("error", 0))
    types = [event.type for event in lab.pay.events()]
    assert types.count("session.authorized" if good else "session.error") == 1


def test_a_refund_that_fails_after_it_had_succeeded_is_undone_once(lab):
    session_id = lab.session("captured")
    lab.pay.refund(session_id, eur(1000))
    (entry,) = lab.ledger("refund")
    assert lab.gateway.bank("shop", entry["number"], "reversed")
    for _ in range(2):
        assert lab.pay.sync(session_id).refunded == 0
    assert [event.type for event in lab.pay.events()].count("session.reversed") == 1


def find_out(lab, session_id, how):
    for _ in range(2):
        if how == "sync":
            lab.pay.sync(session_id)
        elif how == "recovery":
            lab.settle(rounds=3)
        else:
            ((_, headers, body),) = lab.gateway.notifications("shop")
            assert lab.pay.handle_webhook("gw", headers=headers, body=body).status == 200


def test_not_found_soon_after_a_write_stays_unknown_through_the_grace_period(lab):
    lab.account(keys="none", window=lab.now() - lab.now(), lookup="lagging", lag=120.0)
    session_id = None
    order = lab.order()
    lab.inject("drop_after", verb="create")
    with pytest.raises(OutcomeUnknown) as caught:
        lab.pay.initiate(order.id, provider="gw")
    session_id = caught.value.session_id
    lab.forward(seconds=60)  # the lookup still says "not found"
    lab.pay.recover()
    assert lab.pay.get(session_id).in_doubt
    lab.settle()
    session = lab.pay.get(session_id)
    assert (session.status, session.in_doubt) == ("requires_more", False)
    assert lab.effects("initiate") == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_lagging_lookup_settles_a_capture_without_keys_once_it_can_know(lab, committed):
    lab.account(keys="none", window=lab.now() - lab.now(), lookup="lagging", lag=120.0)
    session_id = lab.session("requires_more")
    lab.gateway.payer("shop", session_id, "approve")
    lab.forward(minutes=3)
    lab.pay.resume(session_id)
    lab.forward(minutes=3)
    lab.inject("drop_after" if committed else "drop_before", verb="capture")
    with pytest.raises(OutcomeUnknown):
        lab.pay.capture(session_id)
    lab.forward(seconds=90)
    lab.pay.recover()
    assert lab.pay.get(session_id).in_doubt
    lab.settle()
    assert lab.effects("capture") == committed
    assert lab.pay.get(session_id).captured == TOTAL * committed
    assert not lab.pay.in_doubt()


def test_a_payer_who_never_returns_is_no_lost_sale(lab):
    session_id = lab.session("requires_more")
    lab.gateway.payer("shop", session_id, "approve")
    lab.settle(rounds=8)
    assert lab.pay.get(session_id).status == "authorized"
    assert lab.effects("authorize") == 1


def test_a_payer_who_returns_twice_authorizes_once(lab):
    session_id = lab.session("requires_more")
    lab.gateway.payer("shop", session_id, "approve")
    versions = {lab.pay.resume(session_id, payload={"token": "x"}).version for _ in range(3)}
    assert (len(versions), lab.effects("authorize")) == (1, 1)


def test_what_a_payer_makes_up_changes_nothing(lab):
    session_id = lab.session("requires_more")
    session = lab.pay.resume(session_id, payload={"status": "authorized", "amount": 1, "order": "ord_99"})
    assert (session.status, session.authorized, lab.effects("authorize")) == ("requires_more", 0, 0)
