"""A person settles what no provider can tell: what their word does, and where it comes too late."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import (
    Declined,
    InvalidTransition,
    NotApplied,
    NotFound,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
)


def test_a_gateway_that_shows_what_became_of_it_is_believed_and_no_operator(told):
    session = told.session("captured")
    told.fake.fail_next("lost_answer", kind="refund")
    told.fake.snapshot = NotApplied("away")
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session.id, eur("5.00"))
    (doubt,) = told.payments.in_doubt()
    told.fake.snapshot = None
    with pytest.raises(InvalidTransition, match="the gateway was queried first, and says .*: succeeded"):
        told.payments.resolve(doubt.operation.id, "not_applied", note="looked too early")
    assert told.payments.refund(session.id).refunded_amount == eur("42.00")
    assert told.fake.total(session.id, "refund") == 4200


def test_a_person_who_was_overtaken_by_recovery_is_told(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    (doubt,) = told.payments.in_doubt()
    registry = told.payments._registry
    real = registry.provider

    def provider(name):
        registry.provider = real
        told.clock.forward(hours=1)
        told.payments.recover()
        return real(name)

    registry.provider = provider
    told.payments._engine.registry = registry
    try:
        s = told.payments._recovery.resolve(doubt.operation.id, Outcome.captured(eur("42.00")), "ann")
    except SessionBusy:
        return
    assert s.captured == 4200


@pytest.mark.parametrize(
    "outcome",
    [Outcome.authorized(), Outcome.captured(eur("42.00")), Outcome.requires_more(), Outcome.pending()],
    ids=lambda outcome: str(outcome.answer),
)
def test_a_persons_word_does_not_reopen_a_canceled_session(make_told, outcome):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    told.fake.answers = {"authorize": Outcome.pending(), "cancel": Outcome.canceled()}
    told.payments.authorize(session.id)
    assert told.payments.cancel(session.id).status == "canceled"
    told.fake.answers["cancel"] = NotApplied("down")
    told.payments.resolve(told.key(session.id, 2), outcome, note="ann: the debit went through")
    status, authorized, captured, _, conflict = told.books(session.id)
    assert status == "canceled"
    if outcome.answer in ("authorized", "captured"):
        assert conflict == "authorized_after_cancel"
        assert (authorized, captured) == (4200, 4200 if outcome.answer == "captured" else 0)
        assert told.payments.get(session.id).cancel_requested == (outcome.answer == "authorized")
        assert told.payments.collection(told.order.id).held == 4200


def test_a_capture_that_a_person_knows_to_have_failed_after_the_cancel_holds_nothing(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers = {"capture": Outcome.pending(), "cancel": Outcome.canceled()}
    told.payments.capture(session.id, eur("20.00"))
    told.payments.cancel(session.id)
    told.payments.resolve(told.key(session.id, 3), Declined("no", "no"), note="ann")
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert told.payments.collection(told.order.id).held == 0


def test_an_operation_that_is_named_by_something_else_than_its_id_is_not_found(told):
    with pytest.raises(NotFound, match="a str, not by a int"):
        told.payments.resolve(5, NotApplied("no"), note="ann")
