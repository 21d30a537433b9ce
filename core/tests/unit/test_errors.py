"""Every error names its session, and its operation where there is one, and changes nothing."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import (
    Capabilities,
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidTransition,
    Money,
    NotApplied,
    NotSupported,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
    hookimpl,
)


def refused(shop, error, call, operation_id=None):
    """Make a call that is refused; check that the error names what it is about."""
    with pytest.raises(error) as caught:
        call()
    named = caught.value.operation_id
    session = shop.payments.get(caught.value.session_id)
    assert named == operation_id or (
        operation_id is ... and named in {r.id for r in shop.payments.history(session.id)}
    )
    return session


@pytest.mark.parametrize(
    ("offers", "error", "call"),
    [
        ({"capture": "none"}, NotSupported, lambda pay, id_: pay.capture(id_)),
        ({"capture": "full"}, NotSupported, lambda pay, id_: pay.capture(id_, eur("1.00"))),
        ({}, InvalidAmount, lambda pay, id_: pay.capture(id_, eur("42.01"))),
        ({}, InvalidAmount, lambda pay, id_: pay.capture(id_, Money("1.00", "USD"))),
        ({}, InvalidAmount, lambda pay, id_: pay.refund(id_)),
        ({"refund": "none"}, NotSupported, lambda pay, id_: pay.refund(id_)),
        ({}, InvalidTransition, lambda pay, id_: pay.update(id_, eur("1.00"))),
    ],
)
def test_what_the_rules_forbid_names_the_session(make_told, offers, error, call):
    told = make_told(**offers)
    session = told.session()
    assert refused(told, error, lambda: call(told.payments, session.id)) == session


def test_a_refund_in_part_where_only_all_is_offered_names_the_session(make_told):
    told = make_told(refund="full")
    session = told.session("captured")
    assert refused(told, NotSupported, lambda: told.payments.refund(session.id, eur("1.00"))) == session


def test_a_second_capture_where_one_is_offered_names_the_session(make_told):
    """The first is under way, so that the rest was not released yet."""
    told = make_told(capture="once")
    session = told.session()
    told.fake.answers["capture"] = Outcome.pending()
    session = told.payments.capture(session.id, eur("20.00"))
    assert refused(told, NotSupported, lambda: told.payments.capture(session.id, eur("1.00"))) == session


def test_a_provider_without_the_hook_does_not_offer_it(make_shop):
    class Bare:
        capabilities = Capabilities()

        @hookimpl
        def initiate(self):
            return Outcome.pending()

        @hookimpl
        def authorize(self):
            return Outcome.pending()

        @hookimpl
        def cancel(self):
            return Outcome.canceled()

    shop = make_shop(Bare())
    session = shop.session("requires_more")
    assert refused(shop, NotSupported, lambda: shop.payments.update(session.id, eur("1.00"))) == session
    session = shop.payments.authorize(session.id)
    assert refused(shop, InvalidTransition, lambda: shop.payments.authorize(session.id)) == session


def test_a_full_order_names_the_session_that_has_no_room(told):
    one = told.session("requires_more")
    told.session()
    assert refused(told, InvalidAmount, lambda: told.payments.authorize(one.id)) == one


def test_a_session_that_was_not_accepted_is_named(told):
    told.fake.answers["initiate"] = NotApplied("down")
    session = refused(told, NotApplied, lambda: told.session(idempotency_key="k"), ...)
    told.fake.answers.clear()
    assert refused(told, InvalidTransition, lambda: told.payments.capture(session.id)) == session
    session = told.session("requires_more", idempotency_key="k")
    assert session.status == "requires_more"


def test_another_use_of_a_key_names_the_first_operation(told):
    session = told.session()
    session = told.payments.capture(session.id, eur("1.00"), idempotency_key="k")
    again = lambda: told.payments.capture(session.id, eur("2.00"), idempotency_key="k")  # noqa: E731
    assert refused(told, IdempotencyMismatch, again, told.key(session.id, 3)) == session


def test_doubt_names_the_operation_to_whoever_meets_it(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    capture = lambda: told.payments.capture(session.id, idempotency_key="k")  # noqa: E731
    operation_id = told.next_key(session.id, "capture", idempotency_key="k")
    refused(told, OutcomeUnknown, capture, operation_id)
    refused(told, OutcomeUnknown, capture, operation_id)  # the same key asks again
    refused(told, SessionBusy, lambda: told.payments.refund(session.id), operation_id)
    refused(told, OutcomeUnknown, lambda: told.payments.cancel(session.id), operation_id)


@pytest.mark.parametrize("call", ["capture", "recover", "resolve"])
def test_an_operation_in_flight_is_named(told, call):
    session = told.session()
    operation_id, seen = told.next_key(session.id, "capture"), []

    def meanwhile():
        calls = {
            "capture": lambda: told.payments.capture(session.id),
            "recover": lambda: told.payments.cancel(session.id),
            "resolve": lambda: told.payments.resolve(operation_id, NotApplied("no"), note="ann"),
        }
        seen.append(refused(told, SessionBusy, calls[call], operation_id))

    told.fake.meanwhile["capture"] = meanwhile
    assert told.payments.capture(session.id).captured == 4200
    assert len(seen) == 1


def test_a_closed_operation_is_named_by_whoever_would_resolve_it(told):
    session = told.session()
    operation_id = told.key(session.id, 2)
    resolve = lambda: told.payments.resolve(operation_id, NotApplied("no"), note="ann")  # noqa: E731
    assert refused(told, InvalidTransition, resolve, operation_id) == session


@pytest.mark.parametrize("keyed", [None, "k"])
def test_a_decline_names_its_operation_each_time(told, keyed):
    session = told.session()
    told.fake.answers["capture"] = Declined("fraud", "The bank suspects fraud.")
    for place in (3, 3 if keyed else 4):
        with pytest.raises(Declined, match=r"The bank suspects fraud\.") as caught:
            told.payments.capture(session.id, idempotency_key=keyed)
        assert (caught.value.code, caught.value.session_id) == ("fraud", session.id)
        assert caught.value.operation_id == told.key(session.id, place)


def test_what_was_not_applied_says_how_long_to_wait(told):
    session = told.session()
    told.fake.answers["capture"] = NotApplied("busy", retry_after=timedelta(seconds=7))
    with pytest.raises(NotApplied, match="busy") as caught:
        told.payments.capture(session.id)
    assert caught.value.retry_after == timedelta(seconds=7)
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, told.key(session.id, 3))
