"""Who asked: kept with each operation, and in the events that it led to."""

import asyncio
import inspect

import pytest

from helpers import eur
from paysession import AsyncPayments, InvalidData, NotApplied, OutcomeUnknown, Payments
from paysession_testing import FakeProvider

CHANGING = (
    "create_collection",
    "update_collection",
    "pay",
    "initiate",
    "update",
    "authorize",
    "capture",
    "refund",
    "cancel",
    "sync",
    "resync",
    "resolve",
    "acknowledge",
)


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize("cls", [Payments, AsyncPayments])
def test_every_changing_call_takes_it(cls, name):
    assert inspect.signature(getattr(cls, name)).parameters["by"].kind is inspect.Parameter.KEYWORD_ONLY


def test_it_is_in_the_history_and_in_the_events(shop):
    pay = shop.payments
    session = pay.initiate(shop.order.id, provider="fake", by="web")
    pay.update(session.id, eur("40.00"), by="cart")
    pay.authorize(session.id, by="ann")
    pay.capture(session.id, eur("20.00"), by="ben")
    pay.refund(session.id, eur("5.00"), by="cleo")
    pay.cancel(session.id, by="dora")
    asked = ["web", "cart", "ann", "ben", "cleo", "dora"]
    assert [row.by for row in pay.history(session.id)] == asked
    assert [event.by for event in pay.events()] == asked


def test_what_the_gateway_shows_was_asked_by_nobody_of_ours(shop):
    session = shop.session("captured")
    shop.fake.refund_in_dashboard(session.id, eur("1.00"))
    shop.payments.sync(session.id, by="ann")
    assert (shop.payments.history(session.id)[-1].by, shop.payments.events()[-1].by) == (None, None)


@pytest.mark.parametrize("call", ["sync", "resync"])
def test_who_has_the_gateway_queried_is_kept_with_the_authorization_that_follows(make_shop, call):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    shop.fake.payer_approves(session.id)
    if call == "sync":
        shop.payments.sync(session.id, by="ann")
    else:
        shop.payments.resync(since=session.created_at, by="ann")
    row = shop.payments.history(session.id)[-1]
    assert (row.kind, row.origin, row.by, row.state) == ("authorize", "payer", "ann", "succeeded")
    assert shop.payments.events()[-1].by == "ann"


def test_a_repetition_by_somebody_else_is_the_same_operation(shop):
    session = shop.session()
    for by in ("ann", "ben"):
        shop.payments.capture(session.id, idempotency_key="k", by=by)
    assert shop.payments.history(session.id)[-1].by == "ann"


def test_a_cancel_that_waits_for_doubt_keeps_who_asked(make_told):
    told = make_told()
    session = told.session()
    told.fake.answers["capture"] = told.fake.snapshot = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("1.00"))
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id, by="dora")
    told.fake.answers.clear()
    told.fake.snapshot = None
    told.settle()
    (cancel,) = [row for row in told.payments.history(session.id) if row.kind == "cancel"]
    assert (cancel.by, cancel.state) == ("dora", "succeeded")


def test_a_collection_says_who_made_it_and_who_changed_it(shop):
    order = shop.payments.create_collection(eur("1.00"), reference="o", by="web")
    assert shop.payments.collection(order.id).by == "web"
    assert shop.payments.update_collection(order.id, eur("2.00"), by="ann").by == "ann"
    assert shop.payments.collection(order.id).by == "ann"


@pytest.mark.parametrize("by", ["", "x" * 201, "a\x00", 7, b"ann"], ids=repr)
def test_what_is_nobodys_name_is_refused(shop, by):
    session = shop.session()
    for call in (
        lambda: shop.payments.capture(session.id, by=by),
        lambda: shop.payments.update_collection(shop.order.id, eur("50.00"), by=by),
        lambda: shop.payments.sync(session.id, by=by),
        lambda: shop.payments.resync(since=session.created_at, by=by),
        lambda: shop.payments.resolve("x", "declined", note="n", by=by),
    ):
        with pytest.raises(InvalidData, match="by is a str of 1 to 200|by has a NUL"):
            call()
    assert len(shop.payments.history(session.id)) == 2


def test_asyncio_hands_it_on(shop):
    async def run():
        pay = AsyncPayments(shop.payments)
        session = await pay.pay(shop.order.id, provider="fake", by="web")
        session = await pay.authorize(session.id, by="ann")
        await pay.capture(session.id, by="ben")
        return [row.by for row in await pay.history(session.id)], await pay.captures(session.id)

    by, (capture,) = asyncio.run(run())
    assert by == ["web", "ann", "ben"]
    assert capture.refundable_amount == eur("42.00")


# --- what an operator says, in a word ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["initiate", "update", "authorize", "capture", "refund", "cancel"])
def test_succeeded_is_what_was_asked_for(make_told, kind):
    told = make_told(lookup="none")
    before = {"initiate": None, "update": "requires_more", "authorize": "requires_more", "refund": "captured"}
    state = before.get(kind, "authorized")
    told.fake.answers[kind] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown) as caught:
        if state is None:
            told.session("requires_more")
        else:
            session = told.session(state)
            arguments = {"update": (eur("7.00"),), "capture": (eur("7.00"),), "refund": (eur("7.00"),)}
            getattr(told.payments, kind)(session.id, *arguments.get(kind, ()))
    session = told.payments.resolve(
        caught.value.operation_id, "succeeded", by="ann", note="statement 12, line 3"
    )
    operation = told.payments.history(session.id)[-1]
    assert (operation.kind, operation.state) == (kind, "succeeded")
    assert operation.note == "ann: statement 12, line 3"
    expected = {
        "initiate": ("pending", 0, 0, 0),
        "update": ("pending", 0, 0, 0),
        "authorize": ("authorized", 4200, 0, 0),
        "capture": ("authorized", 4200, 700, 0),
        "refund": ("authorized", 4200, 4200, 700),
        "cancel": ("canceled", 0, 0, 0),
    }
    assert (session.status, session.authorized, session.captured, session.refunded) == expected[kind]


@pytest.mark.parametrize("word", ["declined", "not_applied"])
def test_declined_and_not_applied_leave_the_session_as_it_was(make_told, word):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown) as caught:
        told.payments.capture(session.id)
    told.payments.resolve(caught.value.operation_id, word, note="ann looked")
    assert told.payments.history(session.id)[-1].state == word
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)


def test_another_word_is_refused(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown) as caught:
        told.payments.capture(session.id)
    for word in ("done", "not-applied", "", None, 7):
        with pytest.raises(InvalidData, match="an outcome is 'succeeded', 'declined' or 'not_applied'"):
            told.payments.resolve(caught.value.operation_id, word, note="ann")
    assert told.payments.get(session.id).in_doubt
    told.payments.resolve(caught.value.operation_id, NotApplied("no"), note="ann")  # as before


# --- what may still be captured and refunded -------------------------------------------------------------


def test_a_session_says_what_is_left_of_it(shop):
    session = shop.session()
    assert (session.capturable_amount, session.refundable_amount) == (eur("42.00"), eur("0.00"))
    session = shop.payments.capture(session.id, eur("30.00"))
    assert (session.capturable_amount, session.refundable_amount) == (eur("12.00"), eur("30.00"))
    session = shop.payments.refund(session.id, eur("10.00"))
    assert (session.capturable_amount, session.refundable_amount) == (eur("12.00"), eur("20.00"))
    session = shop.payments.cancel(session.id)
    assert (session.capturable_amount, session.refundable_amount) == (eur("0.00"), eur("20.00"))
    for amount in (session.refundable_amount,):
        session = shop.payments.refund(session.id, amount)
    assert session.refundable_amount == eur("0.00")


def test_a_session_before_its_authorization_has_nothing_left(shop):
    session = shop.session("requires_more")
    assert (session.capturable_amount, session.refundable_amount) == (eur("0.00"), eur("0.00"))


def test_each_capture_says_what_is_left_to_refund(shop):
    session = shop.session()
    for amount in ("30.00", "12.00"):
        session = shop.payments.capture(session.id, eur(amount))
    first, second = shop.payments.captures(session.id)
    assert [row.refundable_amount for row in (first, second)] == [eur("30.00"), eur("12.00")]
    shop.payments.refund(session.id, eur("25.00"), capture=first.operation.id)
    first, second = shop.payments.captures(session.id)
    assert (first.amount, first.refunded_amount, first.refundable_amount) == (
        eur("30.00"),
        eur("25.00"),
        eur("5.00"),
    )
    shop.payments.refund(session.id, eur("10.00"))  # of no capture in particular
    first, second = shop.payments.captures(session.id)
    assert [row.refundable_amount for row in (first, second)] == [eur("5.00"), eur("7.00")]


def test_a_capture_that_was_reversed_has_nothing_to_refund(told):
    from paysession.outcome import Effect, Snapshot

    session = told.session("captured")
    (capture,) = told.payments.captures(session.id)
    effect = Effect("capture", eur("42.00"), "reversed", capture.operation.reference)
    told.fake.snapshot = Snapshot("authorized", effects=[effect])
    told.payments.sync(session.id)
    (capture,) = told.payments.captures(session.id)
    assert (capture.amount, capture.refundable_amount) == (eur("0.00"), eur("0.00"))
