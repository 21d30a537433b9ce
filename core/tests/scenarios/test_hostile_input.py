"""What hostile callers, payers and gateways pass in, where no store is concerned; the rest is in `StoreContract`."""

import asyncio
import inspect
import logging
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import eur
from paysession import (
    AsyncPayments,
    Checkout,
    ClientAction,
    Declined,
    Instructions,
    InvalidAmount,
    InvalidData,
    MemoryStore,
    Money,
    NotApplied,
    NotFound,
    Outcome,
    OutcomeUnknown,
    Payments,
    PaysessionError,
    Redirect,
)
from paysession._plugins.registry import Provider
from paysession.operation import Kind
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession.text import shown, storable
from paysession.values import MAX_DEPTH, Failure, decode, encode, replace
from paysession_testing import FakeProvider, hostile


@pytest.mark.parametrize("examples", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_many_hostile_calls_raise_nothing_else(examples):
    hostile.try_calls(MemoryStore(), examples=examples)


def test_the_same_calls_in_a_loop_raise_nothing_else():
    class Looped(hostile.Victim):
        def answer(self, name, arguments):
            return asyncio.run(getattr(AsyncPayments(self.payments, max_workers=1), name)(**arguments))

    hostile.try_calls(MemoryStore(), examples=10, victim=Looped)


WRONG = [0, 10**5000, True, 1.5, b"x", "", "\0", "\ud800", "x", [], ["a\ud800"], [1], {"": FakeProvider()}, {1: None},
         {"a\ud800": FakeProvider()}, {"fake": 5}, {"fake": FakeProvider}, {"fake": {"use": 7}}, object(), print, hostile._Evil(),
         {"a": 1}, datetime.now]  # fmt: skip
OPENED = list(inspect.signature(Payments.open).parameters)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(OPENED), st.sampled_from(WRONG), min_size=1, max_size=2))
def test_what_cannot_be_opened_is_a_paysession_error(given):
    good = {"url": "memory:", "providers": {"fake": FakeProvider()}, "environ": {}}
    try:
        Payments.open(**{**good, **given}).close()
    except PaysessionError as error:
        str(error).encode()


@pytest.mark.parametrize("workers", [0, -1, "2", 1.0, None, True])
def test_a_number_of_threads_that_is_none_is_refused(workers):
    with pytest.raises(PaysessionError, match="max_workers"):
        AsyncPayments.open("memory:", providers={"fake": FakeProvider()}, environ={}, max_workers=workers)


@pytest.mark.parametrize("amount", ["0E999999999999", "1." + "0" * 5000, "1" * 5000, "\ud800", "1\0"])
def test_an_amount_of_absurd_length_is_refused_at_once(amount):
    if amount.startswith("0E"):
        assert eur(amount).minor == 0
        return
    with pytest.raises(InvalidAmount):
        eur(amount)


@pytest.mark.parametrize("minor", [10**400, 2**64, -(10**5000)], ids=["large", "64 bit", "negative"])
def test_minor_units_of_absurd_length_are_refused(minor):
    with pytest.raises(InvalidAmount):
        Money.from_minor(minor, "EUR")
    with pytest.raises(InvalidAmount):
        Money.from_minor(1, minor)


def test_an_id_that_cannot_exist_is_not_found(shop):
    for call in (shop.payments.get, shop.payments.sync, shop.payments.history, shop.payments.collection):
        for wrong in ("a\ud800", "a\0", 7, None if call != shop.payments.collection else 7.5):
            with pytest.raises(NotFound):
                call(wrong)


@pytest.mark.parametrize("wrong", ["a\ud800", "a\0"])
def test_text_of_the_caller_that_no_database_can_hold_is_refused(shop, wrong):
    session, pay = shop.session("captured"), shop.payments
    for call in (
        lambda: pay.create_collection(eur("1"), reference=wrong),
        lambda: pay.collection(reference=wrong),
        lambda: pay.refund(session.id, idempotency_key=wrong),
        lambda: pay.refund(session.id, reason=wrong),
        lambda: pay.refund(session.id, capture=wrong),
        lambda: pay.resolve(f"{session.id}-1", Outcome.pending(), note=wrong),
        lambda: pay.sessions(reference=wrong),
        lambda: pay.collections(after=wrong),
        lambda: pay.events(after=wrong),
        lambda: pay.initiate(shop.order.id, provider="fake", data={"a": [wrong]}),
        lambda: pay.initiate(shop.order.id, provider="fake", payload={wrong: 1}),
        lambda: pay.initiate(shop.order.id, provider="fake", checkout=Checkout(user_agent=wrong)),
    ):
        with pytest.raises(InvalidData):
            call()
    with pytest.raises(NotFound):
        pay.sessions(after=wrong)


def test_what_replaces_a_session_is_checked_before_that_one_is_canceled(shop):
    session = shop.session()
    with pytest.raises(InvalidAmount):
        shop.payments.initiate(shop.order.id, provider="fake", amount=eur("43.00"), replaces=session.id)
    assert shop.payments.get(session.id).status == "authorized"


# --- card data ---


CARD_DATA = ["cardnumber", "card_number", "CardNumber", "card-number", "CARD NUMBER", "card[number]", "card.number", "creditCardNumber",
             "cc_number", "ccnum", "pan", "PAN", "card_pan", "primaryAccountNumber", "cvc", "CVC2", "cvv", "cvv2", "card_cvc", "csc",
             "cvv-code", "security code", "securityCode", "card_security_code", "cardVerificationValue",
             "payment_method_data[card][number]", "payment_method_data[card][cvc]"]  # fmt: skip
OTHERS = ["number", "reference", "company", "span", "panel", "cvc_check", "card_number_last4", "gift_card_number", "card", "token",
          "encryptedCardNumber", "customer_number", "order.number", "phone[number]", "securitycodecheck"]  # fmt: skip


@pytest.mark.parametrize("name", CARD_DATA)
def test_what_is_passed_in_under_a_name_of_card_data_is_refused(shop, name):
    session = shop.session("requires_more")
    for call in (
        lambda tree: shop.payments.initiate(shop.order.id, provider="fake", data=tree),
        lambda tree: shop.payments.initiate(shop.order.id, provider="fake", payload={"a": [{"b": tree}]}),
        lambda tree: shop.payments.authorize(session.id, payload={"a": tree}),
        lambda tree: shop.payments.resume(session.id, payload=tree),
        lambda tree: shop.payments.resolve(f"{session.id}-1", Outcome.pending(data=tree), note="n"),
        lambda tree: shop.payments.resolve(f"{session.id}-1", Declined("no", data=tree), note="n"),
    ):
        with pytest.raises(InvalidData, match="card data, which must not pass through here") as caught:
            call({name: "4242424242424242"})
        assert "4242" not in str(caught.value)
    assert shop.payments.get(session.id) == session
    assert shop.payments.authorize(session.id, payload={name: ""}).status == "authorized"


def test_card_data_below_the_name_of_a_card_is_refused(shop):
    for tree in (
        {"card": {"number": "4242"}},
        {"credit_card": [{"x": {}, "No": 4242}]},
        {"a": {"Card": {"num": "4"}}},
    ):
        with pytest.raises(InvalidData, match="card data"):
            shop.session(data=tree)


def test_a_payload_of_long_names_is_read_at_once(shop):
    tree = {"x" * 30_000: {f"{n:x}": n for n in range(3000)}}
    begun = time.process_time()
    shop.session(payload=tree)
    assert time.process_time() - begun < 1  # reading the long name for each of the others took seconds


def test_card_data_in_a_return_url_is_refused(shop):
    with pytest.raises(InvalidData, match=r"return_url: 'card_number' is a name of card data"):
        shop.session(checkout=Checkout(return_url="https://shop.example/back?a=b&card%5Fnumber=4242"))
    url = "https://shop.example/back?reference=4242424242424242"
    assert shop.session(checkout=Checkout(return_url=url)).checkout.return_url == url


@pytest.mark.parametrize("name", OTHERS)
def test_other_values_are_left_alone_whatever_they_look_like(shop, name):
    data = {name: "4242424242424242", "list": [{name: 4242424242424242}]}
    kept = shop.session("requires_more", data=data).data
    assert {**kept, **data} == kept


def test_a_gateways_reference_may_look_like_a_card_number(told):
    told.fake.answers["authorize"] = Outcome.authorized(
        reference="4242424242424242", data={"pan": "gateway's own"}
    )
    session = told.session()
    assert (session.reference, session.data) == ("4242424242424242", {"pan": "gateway's own"})


# --- a gateway's words ---


def test_text_that_every_store_can_hold_is_kept_as_it_is():
    for text in ("", "plain", "ü", "\U0001f600", "\x1b[31m", "\\ud800"):
        assert storable(text) is text
    assert storable("a\ud83d\0b\udc00") == "a\\ud83d\\u0000b\\udc00"


BAD, KEPT = "a\ud83d\0", "a\\ud83d\\u0000"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Failure(BAD, BAD), Failure(KEPT, KEPT)),
        (Failure(None, 7), Failure("", "7")),
        (Redirect(BAD, BAD, {BAD: BAD}), Redirect(KEPT, KEPT, {KEPT: KEPT})),
        (ClientAction(BAD, {"a": [{BAD: (BAD, 1)}]}), ClientAction(KEPT, {"a": [{KEPT: [KEPT, 1]}]})),
        (Instructions(BAD, {"a": BAD}), Instructions(KEPT, {"a": KEPT})),
        (Outcome.pending(reference=BAD), Outcome.pending(reference=KEPT)),
        (
            Snapshot("error", reference=BAD, session_id=BAD),
            Snapshot("error", reference=KEPT, session_id=KEPT),
        ),
        (
            Effect("refund", eur("1"), reference=BAD, key=BAD, capture=BAD),
            Effect("refund", eur("1"), reference=KEPT, key=KEPT, capture=KEPT),
        ),
        (WebhookEvent(BAD, BAD, BAD, [BAD]), WebhookEvent(KEPT, KEPT, KEPT, [KEPT])),
    ],
)
def test_the_words_of_a_gateway_are_escaped_where_they_are_made(value, kept):
    assert value == kept


def test_data_of_a_gateway_round_trips():
    data = {BAD: [BAD, {BAD: None}]}
    assert decode(Outcome.pending(data=data).data) == data
    assert Outcome.pending(data=data).data.isascii()


@pytest.mark.parametrize(
    "parts", [{"a": object()}, {"a": float("nan")}, {"a": 10**5000}], ids=["x", "nan", "int"]
)
def test_a_next_action_that_is_no_json_is_refused_where_it_is_made(parts):
    with pytest.raises(InvalidData):
        ClientAction("k", parts)
    with pytest.raises(TypeError):
        Redirect(None)


def test_json_that_could_not_be_read_back_is_refused():
    def nested(depth):
        tree = '[{"[{'
        for _ in range(depth - 1):
            tree = [tree]
        return {"a": tree}

    assert decode(encode(nested(MAX_DEPTH), "data")) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 5000):
        with pytest.raises(InvalidData):
            encode(nested(depth), "data")
    assert decode(encode({"a": "[" * 500 + '"\\'}, "data")) == {"a": "[" * 500 + '"\\'}


def test_times_of_a_gateway_are_kept_as_every_store_can_hold_them():
    west = timezone(timedelta(hours=-8))
    never = datetime(9999, 12, 31, 23, 59, tzinfo=west)
    for made in (Outcome.pending(expires_at=never), Snapshot("pending", expires_at=never)):
        assert made.expires_at == datetime.max.replace(tzinfo=UTC)
    assert Outcome.pending(expires_at=datetime(2026, 1, 1, tzinfo=west)).expires_at.tzinfo is UTC
    assert Outcome.pending(check_after=timedelta.max).check_after == timedelta(days=366)
    assert Outcome.pending(check_after=timedelta(days=-1)).check_after == timedelta(0)


class Odd(Declined):
    """A refusal of a plugin's own that sets nothing of what it should."""

    def __init__(self):
        pass

    @property
    def message(self):
        raise ZeroDivisionError


class Mute(RuntimeError):
    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (Odd(), "declined", "Odd"),
        (Declined(None, None), "declined", "Declined"),
        (Declined(402, {"a": 1}), "402", "{'a': 1}"),
        (Declined("no", BAD, reference=7, data={"a": object()}), "no", KEPT),
    ],
    ids=["odd", "none", "numbers", "text"],
)
def test_a_refusal_is_recorded_whatever_it_carries(told, caplog, raised, code, message):
    told.fake.answers["capture"] = raised
    session = told.session()
    with pytest.raises(Declined) as caught, caplog.at_level(logging.WARNING):
        told.payments.capture(session.id)
    assert (caught.value.code, caught.value.message) == (code, message)
    assert told.payments.history(session.id)[-1].error == Failure(code, message)
    assert ("data that cannot be kept" in caplog.text) == (raised.__dict__.get("data") is not None)


def test_what_a_refusal_proves_is_kept(told):
    told.fake.answers["capture"] = Declined("expired", conclusive=True, reference="r", data={"a": 1})
    session = told.session()
    operation = told.payments.history(session.id)[-1]
    with pytest.raises(Declined) as caught:
        Provider("fake", told.fake).perform(Kind.CAPTURE, session, replace(operation, kind=Kind.CAPTURE))
    raised = caught.value
    assert (raised.conclusive, raised.reference, raised.data) == (True, "r", {"a": 1})


@pytest.mark.parametrize("answer", [Mute(), 10**5000, hostile._Evil()], ids=["error", "int", "object"])
def test_an_answer_that_cannot_be_shown_is_in_doubt(told, answer):
    told.fake.answers["capture"] = answer
    session = told.session()
    with pytest.raises((OutcomeUnknown, NotApplied)):
        told.payments.capture(session.id)
    told.fake.answers.clear()
    told.settle()
    assert not told.payments.get(session.id).in_doubt


def test_what_a_caller_passed_in_is_shown_in_few_characters():
    assert [shown(value) for value in (7, None, True, "x" * 999, 10**5000, hostile._Evil(), "\ud800")] == [
        "7", "None", "True", repr("x" * 80), "int", "_Evil", "'\\ud800'",
    ]  # fmt: skip
