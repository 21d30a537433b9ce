"""What each call does, and what it refuses."""

from datetime import datetime
from decimal import Decimal

import pytest

from helpers import eur
from paysession import (
    Checkout,
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidData,
    InvalidTransition,
    Money,
    NotApplied,
    NotFound,
    NotSupported,
    Outcome,
    OutcomeUnknown,
    Payments,
    PaysessionError,
    ProviderNotFound,
    Redirect,
    StoreError,
    hookimpl,
)
from paysession_testing import FakeProvider

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - it is refused


def test_one_life(shop):
    pay, fake = shop.payments, shop.fake
    session = pay.initiate(
        shop.order.id,
        provider="fake",
        data={"customer": "cus_1"},
        checkout=Checkout(return_url="https://shop/{session_id}"),
    )
    assert session.status == "requires_more"
    assert session.next_action == Redirect(f"https://fake.example/approve/{session.id}")
    assert session.checkout.return_url == f"https://shop/{session.id}"
    assert session.data == {"customer": "cus_1", "account": session.id}
    session = pay.resume(session.id, payload={"token": "t"})
    assert (session.status, session.authorized_amount) == ("authorized", eur("42.00"))
    session = pay.capture(session.id, eur("20.00"), idempotency_key="ship-1")
    session = pay.capture(session.id, eur("10.00"), idempotency_key="ship-2")
    session = pay.refund(session.id, eur("5.00"), idempotency_key="return-1")
    assert (session.captured_amount, session.refunded_amount) == (eur("30.00"), eur("5.00"))
    session = pay.cancel(session.id)
    assert (session.status, session.authorized_amount) == ("authorized", eur("30.00"))
    order = pay.collection(shop.order.id)
    assert (order.status, order.held) == ("partially_refunded", 3000)
    assert [row.kind for row in fake.ledger] == ["authorize", "capture", "capture", "refund", "cancel"]
    assert [row.kind for row in pay.history(session.id)] == [
        "initiate", "authorize", "capture", "capture", "refund", "cancel",
    ]  # fmt: skip
    assert [row.type for row in pay.events()] == [
        "session.initiated", "session.authorized", "session.captured", "session.captured",
        "session.refunded", "session.released",
    ]  # fmt: skip


def test_the_collections_status_follows_its_sessions(shop):
    pay = shop.payments

    def status():
        return pay.collection(reference="order-1").status

    assert status() == "not_paid"
    part = pay.initiate(shop.order.id, provider="fake", amount=eur("20.00"))
    assert status() == "awaiting"
    pay.authorize(part.id)
    assert status() == "partially_authorized"
    rest = pay.initiate(shop.order.id, provider="fake")
    assert rest.amount == eur("22.00")
    pay.authorize(rest.id)
    assert status() == "authorized"
    pay.capture(part.id)
    assert status() == "partially_captured"
    pay.capture(rest.id)
    assert status() == "captured"
    pay.refund(part.id)
    assert status() == "partially_refunded"
    pay.refund(rest.id)
    assert status() == "refunded"


def test_a_collection_all_of_whose_sessions_are_canceled_is_canceled(shop):
    session = shop.session("requires_more")
    shop.payments.cancel(session.id)
    assert shop.payments.collection(shop.order.id).status == "canceled"


def test_the_same_reference_is_the_same_collection(shop):
    again = shop.payments.create_collection(eur("42.00"), reference="order-1")
    assert again.id == shop.order.id
    with pytest.raises(IdempotencyMismatch):
        shop.payments.create_collection(eur("43.00"), reference="order-1")


def test_a_collections_amount_never_falls_below_what_is_held(shop):
    session = shop.session()
    assert shop.payments.update_collection(shop.order.id, eur("50.00")).amount == eur("50.00")
    with pytest.raises(InvalidAmount, match="below"):
        shop.payments.update_collection(shop.order.id, eur("41.99"))
    shop.payments.cancel(session.id)
    assert shop.payments.update_collection(shop.order.id, eur("1.00")).amount == eur("1.00")
    with pytest.raises(InvalidAmount, match="currency"):
        shop.payments.update_collection(shop.order.id, Money("1", "USD"))


def test_several_sessions_may_be_initiated_and_one_authorized(shop):
    one, two = shop.session("requires_more"), shop.session("requires_more")
    shop.payments.authorize(one.id)
    before = shop.payments.get(two.id)
    with pytest.raises(InvalidAmount, match="no room"):
        shop.payments.authorize(two.id)
    assert shop.payments.get(two.id) == before
    shop.payments.cancel(one.id)
    assert shop.payments.authorize(two.id).status == "authorized"


def test_a_refund_does_not_make_room(shop):
    session = shop.session("captured")
    shop.payments.refund(session.id)
    with pytest.raises(InvalidAmount, match="nothing is left"):
        shop.payments.initiate(shop.order.id, provider="fake")


def test_replaces_cancels_the_other_session_first(shop):
    one = shop.session()
    two = shop.payments.initiate(shop.order.id, provider="fake", replaces=one.id, idempotency_key="k")
    assert shop.payments.get(one.id).status == "canceled"
    assert two.amount == eur("42.00")
    assert two == shop.payments.initiate(shop.order.id, provider="fake", replaces=one.id, idempotency_key="k")


def test_replaces_refuses_when_the_cancel_is_uncertain(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    one = shop.session()
    shop.fake.fail_next("lost_answer", kind="cancel")
    with pytest.raises(OutcomeUnknown):
        shop.payments.initiate(shop.order.id, provider="fake", amount=eur("42.00"), replaces=one.id)
    assert [one.id] == [row.id for row in shop.payments.sessions()]


def test_authorize_on_an_authorized_session_calls_nobody(shop):
    session = shop.session()
    calls = len(shop.fake.calls)
    assert session == shop.payments.authorize(session.id)
    assert session == shop.payments.resume(session.id)
    assert calls == len(shop.fake.calls)


def test_cancel_on_a_canceled_session_calls_nobody(shop):
    session = shop.payments.cancel(shop.session().id)
    calls = len(shop.fake.calls)
    assert session == shop.payments.cancel(session.id)
    assert calls == len(shop.fake.calls)


def test_a_decline_at_authorize_raises_nothing_and_may_be_tried_again(shop):
    session = shop.session("requires_more")
    shop.fake.fail_next("declined")
    session = shop.payments.authorize(session.id)
    assert (session.status, session.error.code) == ("error", "refused")
    assert shop.payments.collection(shop.order.id).held == 0
    session = shop.payments.authorize(session.id)
    assert (session.status, session.error) == ("authorized", None)
    keys = [key for kind, key in shop.fake.calls if kind == "authorize"]
    assert len(set(keys)) == 2  # a new key after a definite answer


def test_a_payer_who_gives_up_ends_in_error_without_raising(shop):
    session = shop.session("requires_more")
    shop.fake.payer_declines(session.id)
    assert shop.payments.resume(session.id).status == "error"
    shop.fake.payer_approves(session.id)  # and thinks better of it
    assert shop.payments.resume(session.id).status == "authorized"


def test_a_declined_initiate_raises_and_leaves_a_canceled_session(shop):
    shop.fake.fail_next("declined")
    with pytest.raises(Declined) as caught:
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    assert shop.payments.get(caught.value.session_id).status == "canceled"
    with pytest.raises(Declined):
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")


@pytest.mark.parametrize("call", ["capture", "refund", "cancel", "update"])
def test_a_decline_leaves_the_session_as_it_was(shop, call):
    session = shop.session({"refund": "captured", "update": "requires_more"}.get(call, "authorized"))
    shop.fake.fail_next("declined")
    arguments = (eur("10.00"),) if call == "update" else ()
    with pytest.raises(Declined) as caught:
        getattr(shop.payments, call)(session.id, *arguments)
    assert caught.value.code == "refused"
    after = shop.payments.get(session.id)
    for name in ("status", "amount", "authorized", "captured", "refunded", "held", "open"):
        assert getattr(session, name) == getattr(after, name)
    assert shop.payments.history(session.id)[-1].state == "declined"
    getattr(shop.payments, call)(session.id, *arguments)


def test_an_update_changes_the_amount_when_it_settles(shop):
    session = shop.session("requires_more")
    session = shop.payments.update(session.id, eur("10.00"))
    assert session.amount == eur("10.00")
    assert session.next_action is not None
    session = shop.payments.authorize(session.id)
    assert session.authorized_amount == eur("10.00")
    with pytest.raises(InvalidTransition):
        shop.payments.update(session.id, eur("5.00"))


def test_an_update_beyond_the_collection_is_refused(shop):
    session = shop.session("requires_more")
    with pytest.raises(InvalidAmount):
        shop.payments.update(session.id, eur("42.01"))


def test_automatic_capture_is_asked_of_the_provider(shop):
    session = shop.session(capture="automatic")
    assert (session.status, session.captured_amount) == ("authorized", eur("42.00"))
    capture = shop.payments.history(session.id)[-1]
    assert (capture.kind, capture.amount) == ("capture", eur("42.00"))
    assert shop.payments.refund(session.id).refunded_amount == eur("42.00")


def test_a_final_capture_lets_go_of_the_rest(shop):
    session = shop.payments.capture(shop.session().id, eur("20.00"), final=True)
    assert session.authorized_amount == session.captured_amount == eur("20.00")
    assert shop.payments.collection(shop.order.id).held == 2000


def test_capture_all_again_and_refund_all_again_change_nothing(shop):
    session = shop.payments.capture(shop.session().id)
    assert session == shop.payments.capture(session.id)
    session = shop.payments.refund(session.id)
    assert session == shop.payments.refund(session.id)
    assert [row.kind for row in shop.fake.ledger] == ["authorize", "capture", "refund"]


# --- idempotency keys -----------------------------------------------------------------------------


def test_two_captures_of_one_amount_are_two_and_with_a_key_one(shop):
    session = shop.session()
    for _ in range(2):
        shop.payments.capture(session.id, eur("5.00"))
    for _ in range(3):
        session = shop.payments.capture(session.id, eur("5.00"), idempotency_key="k")
    assert session.captured_amount == eur("15.00")
    assert shop.fake.total(session.id, "capture") == 1500


@pytest.mark.parametrize(
    "other",
    [
        lambda pay, id_: pay.capture(id_, eur("6.00"), idempotency_key="k"),
        lambda pay, id_: pay.capture(id_, eur("5.00"), final=True, idempotency_key="k"),
        lambda pay, id_: pay.refund(id_, eur("5.00"), idempotency_key="k"),
        lambda pay, id_: pay.cancel(id_, idempotency_key="k"),
    ],
)
def test_a_key_with_other_parameters_is_refused(shop, other):
    session = shop.payments.capture(shop.session().id, eur("5.00"), idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        other(shop.payments, session.id)
    assert session == shop.payments.get(session.id)


def test_a_key_of_initiate_with_other_parameters_is_refused(shop):
    one = shop.payments.initiate(shop.order.id, provider="fake", data={"a": 1}, idempotency_key="k")
    assert one == shop.payments.initiate(shop.order.id, provider="fake", data={"a": 1}, idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        shop.payments.initiate(shop.order.id, provider="fake", data={"a": 2}, idempotency_key="k")
    assert len(shop.payments.sessions()) == 1


def test_a_key_starts_the_next_attempt_after_not_applied(shop):
    session = shop.session()
    shop.fake.fail_next("not_applied")
    with pytest.raises(NotApplied):
        shop.payments.capture(session.id, idempotency_key="k")
    assert shop.payments.capture(session.id, idempotency_key="k").captured_amount == eur("42.00")
    assert [row.state for row in shop.payments.history(session.id)][-2:] == ["not_applied", "succeeded"]


def test_a_keyed_initiate_that_was_not_applied_is_tried_again_on_the_same_session(shop):
    shop.fake.fail_next("not_applied")
    with pytest.raises(NotApplied) as caught:
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    with pytest.raises(InvalidTransition, match="initiate again"):
        shop.payments.authorize(caught.value.session_id)
    session = shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    assert (session.id, session.status) == (caught.value.session_id, "requires_more")


def test_an_initiate_without_a_key_that_was_not_applied_ends_the_session(shop):
    shop.fake.fail_next("not_applied")
    with pytest.raises(NotApplied) as caught:
        shop.payments.initiate(shop.order.id, provider="fake")
    assert shop.payments.get(caught.value.session_id).status == "canceled"


def test_a_session_that_no_provider_accepted_is_canceled_without_a_call(shop):
    shop.fake.fail_next("not_applied")
    with pytest.raises(NotApplied) as caught:
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    shop.clock.forward(minutes=1)
    session = shop.payments.cancel(caught.value.session_id)
    assert (session.status, session.updated_at) == ("canceled", shop.clock.now)
    event = shop.payments.events()[-1]
    assert (event.type, event.occurred_at, event.operation_id) == ("session.canceled", shop.clock.now, None)
    assert not shop.fake.calls


def test_a_declined_capture_is_declined_again_under_its_key(shop):
    session = shop.session()
    shop.fake.fail_next("declined")
    for _ in range(2):
        with pytest.raises(Declined):
            shop.payments.capture(session.id, idempotency_key="k")
    assert shop.payments.capture(session.id, idempotency_key="k2").captured_amount == eur("42.00")


# --- refusals -------------------------------------------------------------------------------------

BIG = {"x": "y" * 1_000_000}
REFUSED = [
    ("float", InvalidAmount, lambda pay, s: pay.capture(s.id, 42.0)),
    ("int", InvalidAmount, lambda pay, s: pay.capture(s.id, 42)),
    ("decimal", InvalidAmount, lambda pay, s: pay.capture(s.id, Decimal(42))),
    ("zero", InvalidAmount, lambda pay, s: pay.capture(s.id, eur("0"))),
    ("other currency", InvalidAmount, lambda pay, s: pay.capture(s.id, Money("1", "USD"))),
    ("above authorized", InvalidAmount, lambda pay, s: pay.capture(s.id, eur("42.01"))),
    ("refund without capture", InvalidAmount, lambda pay, s: pay.refund(s.id, eur("1"))),
    ("refund all without capture", InvalidAmount, lambda pay, s: pay.refund(s.id)),
    ("refund of an unknown capture", InvalidData, lambda pay, s: pay.refund(s.id, eur("1"), capture="x")),
    ("update", InvalidTransition, lambda pay, s: pay.update(s.id, eur("1"))),
    ("unknown session", NotFound, lambda pay, s: pay.capture("ps_x")),
    ("None session", NotFound, lambda pay, s: pay.get(None)),
    ("unknown collection", NotFound, lambda pay, s: pay.initiate("pc_x", provider="fake")),
    ("unknown history", NotFound, lambda pay, s: pay.history("ps_x")),
    ("no name", NotFound, lambda pay, s: pay.collection()),
    ("unknown provider", ProviderNotFound, lambda pay, s: pay.initiate(s.collection_id, provider="nix")),
    ("data", InvalidData, lambda pay, s: pay.initiate(s.collection_id, provider="fake", data={"a": object()})),
    ("big data", InvalidData, lambda pay, s: pay.initiate(s.collection_id, provider="fake", data=BIG)),
    ("big payload", InvalidData, lambda pay, s: pay.initiate(s.collection_id, provider="fake", payload=BIG)),
    ("capture mode", InvalidData, lambda pay, s: pay.initiate(s.collection_id, provider="fake", capture="x")),
    ("checkout", InvalidData, lambda pay, s: pay.initiate(s.collection_id, provider="fake", checkout={})),
    ("part of a checkout", InvalidData,
     lambda pay, s: pay.initiate(s.collection_id, provider="fake", checkout=Checkout(return_url=3))),
    ("final", InvalidData, lambda pay, s: pay.capture(s.id, eur("1"), final="no")),
    ("capture of another type", InvalidData, lambda pay, s: pay.refund(s.id, eur("1"), capture=[])),
    ("reference of another type", InvalidData, lambda pay, s: pay.collection(reference=1001)),
    ("initiate currency", InvalidAmount,
     lambda pay, s: pay.initiate(s.collection_id, provider="fake", amount=Money("1", "USD"))),
    ("initiate too much", InvalidAmount,
     lambda pay, s: pay.initiate(s.collection_id, provider="fake", amount=eur("42.01"))),
    ("empty key", InvalidData, lambda pay, s: pay.capture(s.id, idempotency_key="")),
    ("long key", InvalidData, lambda pay, s: pay.capture(s.id, idempotency_key="k" * 201)),
    ("key of another type", InvalidData, lambda pay, s: pay.capture(s.id, idempotency_key=3)),
    ("reference", InvalidData, lambda pay, s: pay.create_collection(eur("1"), reference="")),
    ("zero collection", InvalidAmount, lambda pay, s: pay.create_collection(eur("0"), reference="r")),
    ("str collection", InvalidAmount, lambda pay, s: pay.create_collection("42.00", reference="r")),
    ("cursor", InvalidData, lambda pay, s: pay.events(after="x")),
    ("limit", InvalidData, lambda pay, s: pay.events(limit=0)),
    ("limit type", InvalidData, lambda pay, s: pay.recover(limit="9")),
    ("status", InvalidData, lambda pay, s: pay.sessions(status="paid")),
    ("reference", InvalidData, lambda pay, s: pay.sessions(gateway_reference=7)),
    ("session of a conflict", InvalidData, lambda pay, s: pay.conflicts(session_id=7)),
    ("flag", InvalidData, lambda pay, s: pay.sessions(has_conflict="no")),
    ("order", InvalidData, lambda pay, s: pay.sessions(newest=1)),
    ("time without a zone", InvalidData, lambda pay, s: pay.sessions(created_after=NAIVE)),
    ("time as a text", InvalidData, lambda pay, s: pay.sessions(created_before="2026-01-01")),
    ("session to go on after", NotFound, lambda pay, s: pay.sessions(after="ps_nix")),
    ("resolve what is closed", InvalidTransition,
     lambda pay, s: pay.resolve(pay.history(s.id)[0].id, Outcome.pending(), note="n")),
    ("resolve nothing", NotFound, lambda pay, s: pay.resolve("x-1", Outcome.pending(), note="n")),
    ("resolve with another word", InvalidData, lambda pay, s: pay.resolve(pay.history(s.id)[0].id, "done", note="n")),
    ("resolve without a note", InvalidData, lambda pay, s: pay.resolve(pay.history(s.id)[0].id, Outcome.pending(), note="")),
]  # fmt: skip


@pytest.mark.parametrize(("error", "call"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_bad_input_is_a_typed_error_and_changes_nothing(shop, error, call):
    session = shop.session()
    books, calls = (shop.payments.sessions(), shop.payments.events()), list(shop.fake.calls)
    with pytest.raises(error) as caught:
        call(shop.payments, session)
    assert isinstance(caught.value, PaysessionError)
    assert len(str(caught.value)) > 10
    assert books == (shop.payments.sessions(), shop.payments.events())
    assert calls == shop.fake.calls


def test_texts_and_limits_are_accepted_up_to_their_bounds(shop):
    session = shop.session()
    long = "k" * 200
    assert shop.payments.capture(session.id, idempotency_key=long).captured == 4200
    assert shop.payments.create_collection(eur("1"), reference="r" * 200).reference == "r" * 200
    assert len(shop.payments.events(limit=1000)) == 3
    assert len(shop.payments.events(limit=1)) == 1
    for limit in (1001, -1, True, 1.0, None):
        with pytest.raises(InvalidData, match="from 1 to 1000"):
            shop.payments.sessions(limit=limit)


def test_sessions_are_listed_by_what_is_asked(shop):
    pay = shop.payments
    one, two = shop.session("requires_more"), shop.session()
    other = pay.create_collection(eur("1.00"), reference="order-2")
    three = pay.initiate(other.id, provider="fake")

    def ids(**filters):
        return {row.id for row in pay.sessions(**filters)}

    assert ids() == {one.id, two.id, three.id}
    assert ids(reference="order-2") == ids(collection_id=other.id) == {three.id}
    assert ids(status="authorized") == {two.id}
    assert ids(provider="nix") == set()
    first, *rest = [row.id for row in pay.sessions()]
    assert [row.id for row in pay.sessions(after=first)] == rest
    assert [row.id for row in pay.sessions(limit=1)] == [first]


def test_collections_are_listed_with_their_status(shop):
    shop.session("captured")
    shop.payments.create_collection(eur("1.00"), reference="order-2")
    rows = shop.payments.collections()
    assert {(row.reference, row.status, row.captured) for row in rows} == {
        ("order-1", "captured", 4200),
        ("order-2", "not_paid", 0),
    }
    assert shop.payments.collections(limit=1) == rows[:1]
    assert shop.payments.collections(after=rows[0].id) == rows[1:]


def test_what_is_in_doubt_is_listed_with_its_age_and_reason(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    session = shop.session()
    listed = []
    shop.fake.fail_next("timeout", kind="capture", then=lambda: listed.extend(shop.payments.in_doubt()))
    with pytest.raises(OutcomeUnknown) as caught:
        shop.payments.capture(session.id)
    (progress,) = listed  # unknown until it is answered, and leased by the call
    assert (progress.leased_until > shop.clock.now, progress.needs_operator) == (True, False)
    assert progress.reason == "it is in progress"
    shop.clock.forward(minutes=3)
    (doubt,) = shop.payments.in_doubt()
    assert doubt.operation.id == caught.value.operation_id
    assert (doubt.age.total_seconds(), doubt.reason) == (180, "no answer within the time limit")
    assert doubt.next_check == shop.payments.get(session.id).due_at
    assert (doubt.needs_operator, doubt.leased_until) == (False, None)


def test_a_round_of_recovery_tells_what_it_did(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    session = shop.session()
    shop.fake.fail_next("timeout", kind="capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id)
    assert shop.payments.recover().looked == 0  # not yet
    shop.clock.forward(minutes=1)
    done = shop.payments.recover(limit=1)
    assert (done.looked, done.settled, done.waiting) == (1, (), (session.id,))
    shop.clock.forward(minutes=1)
    done = shop.payments.recover()
    assert (done.looked, done.settled, done.waiting) == (1, (session.id,), ())


def test_the_public_url_tells_providers_where_to_notify(make_shop):
    seen = []

    class Spy(FakeProvider):
        @hookimpl
        def initiate(self, session, operation):
            seen.append(operation.webhook_url)
            return super().initiate(session, operation)

    for url in ("https://shop/pay", "https://shop/pay/", None):
        with Payments.open("memory:", providers={"spy": Spy()}, public_url=url, environ={}) as pay:
            pay.initiate(pay.create_collection(eur("1"), reference="r").id, provider="spy")
            (row,) = [row for row in pay.providers() if row.name == "spy"]
            assert (row.webhook_url, type(row.plugin)) == (seen[-1], Spy)
    assert seen == ["https://shop/pay/webhooks/spy"] * 2 + [None]


def test_a_canceled_session_does_not_wait_for_anything(shop):
    session = shop.payments.cancel(shop.session().id)
    assert (session.due_at, session.held, session.cancel_requested) == (None, 0, False)


def test_capture_after_cancel_is_refused(shop):
    session = shop.payments.cancel(shop.session().id)
    for call in (shop.payments.capture, shop.payments.refund, shop.payments.authorize):
        with pytest.raises(InvalidTransition, match="canceled"):
            call(session.id)


def test_cancel_after_a_full_capture_is_refused(shop):
    session = shop.session("captured")
    with pytest.raises(InvalidTransition, match="refund"):
        shop.payments.cancel(session.id)


def test_refund_above_captured_is_refused(shop):
    session = shop.session("captured")
    shop.payments.refund(session.id, eur("40.00"))
    with pytest.raises(InvalidAmount, match=r"2\.00 EUR is left"):
        shop.payments.refund(session.id, eur("2.01"))


@pytest.mark.parametrize("offered", ["none", "full", "once"])
def test_a_provider_captures_as_it_declared(make_shop, offered):
    shop = make_shop(FakeProvider(capture=offered))
    session = shop.session()
    if offered == "once":
        session = shop.payments.capture(session.id, eur("20.00"))
        assert session.authorized_amount == eur("20.00")
        with pytest.raises(InvalidAmount):
            shop.payments.capture(session.id, eur("1.00"))
        return
    with pytest.raises(NotSupported):
        shop.payments.capture(session.id, eur("20.00"))
    if offered == "full":
        assert shop.payments.capture(session.id).captured_amount == eur("42.00")


@pytest.mark.parametrize("offered", ["none", "full"])
def test_a_provider_refunds_as_it_declared(make_shop, offered):
    shop = make_shop(FakeProvider(refund=offered))
    session = shop.session("captured")
    with pytest.raises(NotSupported):
        shop.payments.refund(session.id, eur("20.00"))
    if offered == "full":
        assert shop.payments.refund(session.id).refunded_amount == eur("42.00")


def test_a_refund_names_its_capture_and_not_more_than_that(shop):
    session = shop.session()
    shop.payments.capture(session.id, eur("20.00"))
    session = shop.payments.capture(session.id, eur("22.00"))
    capture = shop.payments.history(session.id)[2]
    with pytest.raises(InvalidAmount):
        shop.payments.refund(session.id, eur("20.01"), capture=capture.id)
    shop.payments.refund(session.id, eur("15.00"), capture=capture.id)
    session = shop.payments.refund(session.id, capture=capture.id)
    assert session.refunded_amount == eur("20.00")
    assert [row.capture_id for row in shop.payments.history(session.id)][-2:] == [capture.id] * 2


def test_an_object_in_place_of_its_id_is_named(shop):
    session = shop.session()
    for call in (shop.payments.get, shop.payments.capture, shop.payments.resume, shop.payments.cancel):
        with pytest.raises(NotFound, match="by its id, a str, not by a PaymentSession"):
            call(session)
    with pytest.raises(NotFound, match="by its id, a str, not by a PaymentCollection"):
        shop.payments.initiate(shop.order, provider="fake")
    with pytest.raises(NotFound, match="given as reference="):
        shop.payments.collection("order-1")


def test_a_store_is_found_by_its_scheme():
    with pytest.raises(StoreError, match="'oracle'.*installed are: memory.*pip install paysession-sql"):
        Payments.open("oracle://x", providers={"fake": FakeProvider()})
    with pytest.raises(StoreError, match="the store is named by a URL; for a file: sqlite:///payments.db"):
        Payments.open("payments.db", providers={"fake": FakeProvider()})
    with pytest.raises(StoreError, match="say where"):
        Payments.open(providers={"fake": FakeProvider()}, environ={})
    with Payments.open("memory:", providers={"fake": FakeProvider()}) as payments:
        assert payments.providers()[0].name == "fake"


# --- what mutations of the calls survived, and no longer do ---------------------------------------


class Keeps(FakeProvider):
    """Keeps the operations that its hooks were called with."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    @hookimpl
    def authorize(self, session, operation):
        self.seen.append(operation)
        return super().authorize(session, operation)

    @hookimpl
    def refund(self, session, operation):
        self.seen.append(operation)
        return super().refund(session, operation)


def test_two_keys_are_two_sessions(shop):
    one, two = (shop.payments.initiate(shop.order.id, provider="fake", idempotency_key=k) for k in ("a", "b"))
    other = shop.payments.create_collection(eur("1.00"), reference="order-2")
    three = shop.payments.initiate(other.id, provider="fake", idempotency_key="a")
    assert len({one.id, two.id, three.id}) == 3


def test_ids_of_sessions_sort_by_time(shop):
    ids = []
    for _ in range(5):
        ids.append(shop.session("requires_more").id)
        shop.clock.forward(milliseconds=2)
    assert sorted(ids) == ids
    assert {31} == {len(id_) for id_ in ids}
    assert int(ids[0][3:15], 16) == int(shop.clock.now.timestamp() * 1000) - 10


def test_authorize_hands_the_payload_over_and_keeps_its_key(make_shop):
    shop = make_shop(Keeps())
    session = shop.session("requires_more")
    shop.fake.fail_next("declined")
    for _ in range(2):
        declined = shop.payments.authorize(session.id, payload={"token": "t"}, idempotency_key="k")
        assert declined.status == "error"
    assert [row.payload for row in shop.fake.seen] == [{"token": "t"}]
    assert shop.payments.authorize(session.id, idempotency_key="k2").status == "authorized"
    assert [row.idempotency_key for row in shop.payments.history(session.id)] == [None, "k", "k2"]


def test_update_keeps_its_key(shop):
    session = shop.session("requires_more")
    for _ in range(2):
        session = shop.payments.update(session.id, eur("10.00"), idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        shop.payments.update(session.id, eur("11.00"), idempotency_key="k")
    assert len(shop.payments.history(session.id)) == 2


def test_the_reason_of_a_refund_reaches_the_provider(make_shop):
    shop = make_shop(Keeps())
    session = shop.session("captured")
    shop.payments.refund(session.id, eur("1.00"), reason="arrived broken")
    assert shop.fake.seen[-1].reason == shop.payments.history(session.id)[-1].reason == "arrived broken"


def test_a_collection_tells_the_totals_of_all_its_sessions(shop):
    for amount in ("20.00", "22.00"):
        session = shop.payments.initiate(shop.order.id, provider="fake", amount=eur(amount))
        shop.payments.authorize(session.id)
        shop.payments.capture(session.id, eur("10.00"))
        shop.payments.refund(session.id, eur("1.00"))
    order = shop.payments.collection(shop.order.id)
    assert (order.authorized_amount, order.captured_amount, order.refunded_amount) == (
        eur("42.00"), eur("20.00"), eur("2.00"),
    )  # fmt: skip


def test_a_cancel_settles_the_doubt_before_it_and_keeps_its_key(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    session = shop.session("requires_more")
    shop.fake.fail_next("lost_answer", kind="authorize")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    for _ in range(2):
        assert shop.payments.cancel(session.id, idempotency_key="k").status == "canceled"
    assert [row.kind for row in shop.fake.ledger] == ["authorize", "cancel"]
    assert shop.payments.history(session.id)[-1].idempotency_key == "k"


def test_a_changed_amount_is_dated(shop):
    shop.clock.forward(days=1)
    changed = shop.payments.update_collection(shop.order.id, eur("43.00"))
    assert (changed.created_at, changed.updated_at) == (shop.order.created_at, shop.clock.now)


def test_a_collection_adds_up_all_its_sessions_however_many(shop):
    for number in range(1, 102):
        part = shop.payments.create_collection(eur("42.00"), reference=f"other {number}")
        assert part.status == "not_paid"
        session = shop.payments.initiate(shop.order.id, provider="fake", amount=eur("0.10"))
        shop.payments.authorize(session.id)
    assert shop.payments.collection(shop.order.id).authorized_amount == eur("10.10")


def test_the_ids_of_sessions_sort_by_time_with_a_key_and_without(shop):
    ids = []
    for number, key in enumerate(["a", None, "b", None]):
        shop.clock.forward(milliseconds=1)
        order = shop.payments.create_collection(eur("42.00"), reference=f"sorted {number}")
        ids.append(shop.payments.initiate(order.id, provider="fake", idempotency_key=key).id)
    assert ids == sorted(ids)
    assert {len(session_id) for session_id in ids} == {31}


def test_what_is_in_progress_is_listed_with_its_lease_beside_what_is_in_doubt(shop):
    ids = []
    for number in range(2):
        order = shop.payments.create_collection(eur("42.00"), reference=f"doubt {number}")
        ids.append(shop.payments.initiate(order.id, provider="fake").id)
    seen = []

    def meanwhile():
        shop.clock.forward(seconds=1)
        shop.fake.fail_next("timeout", kind="authorize")
        with pytest.raises(OutcomeUnknown):
            shop.payments.authorize(ids[1])
        seen.extend(
            (row.operation.session_id, row.leased_until is not None) for row in shop.payments.in_doubt()
        )

    shop.fake.fail_next("timeout", kind="authorize", then=meanwhile)
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(ids[0])
    assert seen == [(ids[0], True), (ids[1], False)]


def test_a_payer_who_returns_into_doubt_is_shown_the_session(shop):
    session = shop.session("requires_more")
    shop.fake.fail_next("timeout", kind="authorize")
    shown = shop.payments.resume(session.id)
    assert (shown.id, shown.in_doubt) == (session.id, True)
