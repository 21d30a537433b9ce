"""When a gateway is asked again, and what a look does unasked."""

from contextlib import suppress
from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Declined,
    NotApplied,
    Outcome,
    OutcomeUnknown,
)
from paysession.outcome import Effect, Snapshot


def test_a_notification_that_is_faster_than_a_lookup_that_lags_is_looked_into_again(make_told):
    told = make_told(lookup="lagging")
    told.fake.capabilities = evolve(told.fake.capabilities, lookup_lag=timedelta(seconds=45))
    told = type(told)(told.fake)
    session = told.session("captured")
    told.clock.forward(days=1)
    stale = Snapshot(
        "authorized",
        authorized=eur("42.00"),
        captured=eur("42.00"),
        refunded=eur("0.00"),
        session_id=session.id,
    )
    told.fake.snapshot = stale
    told.fake.refund_in_dashboard(session.id, eur("42.00"))
    headers, body = told.fake.webhook(session.id)
    told.payments.handle_webhook("fake", headers=headers, body=body)
    told.fake.snapshot = None
    told.settle()
    assert told.books(session.id)[:4] == ("authorized", 4200, 4200, 4200)


def test_a_payer_who_tries_another_card_after_an_error_is_found_without_a_notification(told):
    session = told.session("requires_more")
    told.fake.payer_declines(session.id)
    told.settle()
    assert told.payments.get(session.id).status == "error"
    told.fake.authorize_in_browser(session.id)
    told.settle()
    assert told.books(session.id)[0] == "authorized"


def test_what_the_payer_must_do_after_a_debit_of_many_days_is_looked_at_again(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session("requires_more")
    told.payments.authorize(session.id)
    told.fake.snapshot = Snapshot(
        "pending", effects=[Effect("authorize", eur("42.00"), "pending")], session_id=session.id
    )
    for _ in range(60):
        told.clock.forward(hours=6)
        told.payments.recover()
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    told.clock.forward(hours=6)
    told.payments.recover()
    session = told.payments.get(session.id)
    assert (session.status, session.pending) == ("requires_more", 0)
    assert session.due_at is not None


@pytest.mark.parametrize(
    "answer", [NotApplied("429"), Outcome.requires_more()], ids=["not applied", "requires more"]
)
def test_what_is_ready_and_cannot_be_authorized_is_tried_more_and_more_slowly(told, answer):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = answer
    begun = told.clock.now
    for _ in range(40):
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
    assert told.clock.now - begun > timedelta(days=30)
    assert told.payments.get(session.id).due_at == told.clock.now + timedelta(days=7)


def test_an_old_notification_does_not_authorize_again_what_was_declined(told):
    session = told.session("requires_more")
    told.fake.fail_next("declined", kind="authorize")
    assert told.payments.resume(session.id).status == "error"
    headers, body = told.fake.webhook(session.id)
    told.payments.handle_webhook("fake", headers=headers, body=body)
    assert [kind for kind, _ in told.fake.calls].count("authorize") == 1


def test_what_is_booked_while_an_operation_is_in_doubt_leaves_the_doubt_its_next_look(told):
    session = told.session("captured")
    told.fake.answers["refund"], told.fake.snapshot = OutcomeUnknown("reset"), OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session.id, eur("5.00"))
    told.fake.snapshot = Snapshot(
        "authorized",
        authorized=eur("42.00"),
        captured=eur("42.00"),
        effects=[Effect("refund", eur("1.00"), reference="dash_1")],
        session_id=session.id,
    )
    with suppress(OutcomeUnknown):
        told.payments.sync(session.id)
    session = told.payments.get(session.id)
    assert (session.refunded, session.in_doubt) == (100, True)
    assert session.due_at is not None


@pytest.mark.parametrize("answer", [NotApplied("429"), Outcome.requires_more()], ids=["429", "must act"])
def test_each_attempt_that_fails_while_it_is_ready_doubles_the_wait(told, answer):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = answer
    waits = []
    for _ in range(4):
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
        waits.append(told.payments.get(session.id).due_at - told.clock.now)
    assert waits == [timedelta(minutes=minutes) for minutes in (20, 40, 80, 160)]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Declined("no"), timedelta(minutes=10)),
        (Outcome.pending(), timedelta(minutes=5)),
        (OutcomeUnknown("reset"), timedelta(seconds=5)),
    ],
    ids=["declined", "pending", "in doubt"],
)
def test_what_comes_of_an_approval_found_late_is_looked_at_as_soon_as_of_any_other(told, answer, wait):
    session = told.session("requires_more")
    told.fake.snapshot = Snapshot("requires_more")
    for _ in range(4):
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
    told.fake.snapshot = Snapshot("requires_more", ready=True)
    told.fake.answers["authorize"] = answer
    told.clock.now = told.payments.get(session.id).due_at
    told.payments.recover()
    assert told.payments.get(session.id).due_at == told.clock.now + wait


def test_an_early_look_does_not_begin_the_waits_anew(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = NotApplied("429")
    for _ in range(4):
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
    told.fake.snapshot = Snapshot("requires_more")
    before = told.payments.get(session.id)
    told.payments.recover(now=True)
    assert told.payments.get(session.id) == before


def test_a_refusal_where_nobody_can_be_queried_is_followed_by_no_query(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.fail_next("declined", kind="capture")
    with pytest.raises(Declined):
        told.payments.capture(session.id)
    assert told.fake.looks == []


def test_a_refusal_is_raised_though_the_query_that_follows_it_fails(told, caplog):
    session = told.session()
    told.fake.fail_next("declined", kind="capture")
    told.fake.snapshot = NotApplied("down")
    caplog.set_level("INFO")
    with pytest.raises(Declined, match="refused on demand"):
        told.payments.capture(session.id)
    assert len(told.fake.looks) == 1
    assert f"session {session.id} could not be queried: down" in caplog.text


@pytest.mark.parametrize(
    ("kind", "looks"), [("capture", 1), ("refund", 1), ("cancel", 1), ("authorize", 0), ("update", 0)]
)
def test_a_refusal_of_what_needs_an_authorization_has_the_gateway_asked(told, kind, looks):
    """The ledger may be behind: somebody may have captured, refunded or canceled in the dashboard."""
    before = {"capture": "authorized", "cancel": "authorized", "refund": "captured"}
    session = told.session(before.get(kind, "requires_more"))
    told.fake.answers[kind] = Declined("no")
    told.fake.looks.clear()
    with suppress(Declined):
        getattr(told.payments, kind)(session.id, *([eur("40.00")] if kind == "update" else []))
    assert told.fake.looks == [None] * looks
