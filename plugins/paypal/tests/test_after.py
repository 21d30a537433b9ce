"""After the payment: reauthorizations, and words and links that PayPal leaves out."""

import json
from datetime import timedelta

import pytest

from paysession.operation import State
from paysession.provider import Declined, Kind, Money, NotApplied, OutcomeUnknown, Status
from paysession.values import encode, replace
from paysession_paypal.data import PayPalData
from paysession_sandbox.paypal import Fault

EUR = "EUR"
EUR20, EUR42 = Money("20.00", EUR), Money("42.00", EUR)


# --- words that no file has, and what may be missing ----------------------------------------------


def test_an_expired_authorization_ends_the_session(shop, fake, reword):
    session = shop.session()
    reword("authorizations", "EXPIRED")
    assert shop.look(session.id).status is Status.CANCELED


@pytest.mark.parametrize("kind", ["authorizations", "captures", "refunds"])
def test_a_word_that_is_not_known_is_reported_and_changes_no_figure(captured, fake, caplog, kind, reword):
    shop, session_id, _ = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    before = shop.books()

    reword(kind, "PARTIALLY_SOMETHING")
    session = shop.look(session_id)
    assert (session.conflict, shop.books()) == ("status", before)
    assert "PARTIALLY_SOMETHING" in PayPalData.of(session).unclear[0]
    assert "PARTIALLY_SOMETHING" in caplog.text
    fake.twist(lambda call, document: document)
    assert shop.look(session_id).conflict is None


def test_an_unknown_word_for_the_authorization_that_is_asked_for_is_pending_until_it_is_known(
    shop, fake, reword
):
    session = shop.session("approved")
    reword("authorizations", "PARTIALLY_CREATED")
    session = shop.payments.resume(session.id, payload=shop.query)
    assert (session.status, session.held) == (Status.PENDING, 4200)
    assert shop.look(session.id).status is Status.PENDING
    fake.twist(lambda call, document: document)
    assert shop.look(session.id).status is Status.AUTHORIZED


def without_links(call, document):
    """Leave out every link, as the files allow."""
    if isinstance(document, dict):
        return {name: without_links(call, part) for name, part in document.items() if name != "links"}
    return [without_links(call, part) for part in document] if isinstance(document, list) else document


def test_a_refund_without_a_link_is_of_the_only_capture(captured, fake):
    shop, session_id, _ = captured
    fake.twist(without_links)
    shop.payments.refund(session_id, EUR20)
    session = shop.look(session_id)
    assert (session.refunded_amount, session.conflict) == (EUR20, None)
    assert len([row for row in shop.payments.history(session_id) if row.kind is Kind.REFUND]) == 1


def test_refunds_without_links_are_never_counted_twice(captured, fake):
    """Of two captures PayPal does not say which; both are refunded, one of them by a chargeback."""
    shop, session_id, first = captured
    shop.payments.capture(session_id, Money("22.00", EUR))
    rows = [row for row in shop.payments.history(session_id) if row.kind is Kind.CAPTURE]
    fake.twist(without_links)
    shop.payments.refund(session_id, Money("22.00", EUR), capture=rows[1].id)
    fake.ledger.decide(first, won=False)
    session = shop.look(session_id)
    assert (session.refunded_amount, session.charged_back_amount) == (Money("22.00", EUR), EUR20)
    assert session.conflict is None


def test_an_answer_with_no_more_than_an_id_is_completed_by_a_look(shop, fake):
    fake.twist(lambda call, document: {"id": document["id"]} if call == "create" else document)
    session = shop.session("initiated")
    assert session.status is Status.REQUIRES_MORE
    assert session.next_action.url.endswith(f"token={session.reference}")
    assert [row.call for row in fake.calls()] == ["token", "create", "show"]


def test_an_answer_without_details_keeps_the_orders_id_if_the_look_fails_too(hand, fake):
    fake.twist(lambda call, document: {"id": document["id"]})
    with pytest.raises(OutcomeUnknown) as caught:
        hand.do("initiate")
    (order,) = fake.ledger.orders
    assert caught.value.reference == order


@pytest.mark.parametrize("payload", [{"token": ["{}"]}, {"orderID": "{}"}, {"token": "{}", "PayerID": "P"}])
def test_the_payers_query_may_come_from_a_querydict_or_from_the_buttons(shop, payload):
    session = shop.session("approved")
    filled = json.loads(json.dumps(payload).replace("{}", session.reference))
    assert shop.payments.resume(session.id, payload=filled).status is Status.AUTHORIZED


def test_another_orders_token_in_a_list_is_refused(hand, fake):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    for token in (["O9"], ["O9", hand.session.reference], []):
        with pytest.raises(NotApplied, match="another order's token"):
            hand.do("authorize", payload={"token": token})


# --- refusals that no request of ours can have caused ---------------------------------------------


@pytest.mark.parametrize("issue", ["AUTHORIZATION_DENIED", "AUTHORIZATION_EXPIRED"])
def test_a_capture_of_what_was_denied_or_expired_is_declined_at_once(shop, fake, refuse, issue):
    session = shop.session()
    refuse("capture", issue)
    with pytest.raises(Declined, match="authorization cannot be captured"):
        shop.payments.capture(session.id, EUR20, idempotency_key="c")
    session = shop.payments.get(session.id)
    assert not session.in_doubt
    assert [row.state for row in shop.payments.history(session.id) if row.kind is Kind.CAPTURE] == [
        State.DECLINED
    ]
    assert shop.payments.cancel(session.id).status is Status.CANCELED, "and a cancel is not blocked"


# --- reauthorizations -----------------------------------------------------------------------------


@pytest.fixture
def reauthorized(shop, fake):
    """Return a shop whose session was reauthorized in PayPal's dashboard; the original one ended since."""
    session = shop.session()
    shop.clock.forward(days=5)
    (old,) = session.data["authorizations"]
    _, new = fake.ledger.reauthorize(old, {})
    fake.ledger.authorization(old)[1].status = "VOIDED"
    return shop, session.id, old, new.id


@pytest.mark.parametrize("known", [True, False])
def test_a_cancel_voids_the_authorization_that_is_live(reauthorized, fake, known):
    shop, session_id, old, new = reauthorized
    if known:
        shop.look(session_id)
    session = shop.payments.cancel(session_id)
    assert (session.status, session.in_doubt) == (Status.CANCELED, False)
    assert {row.status for row in fake.ledger.orders[session.reference].authorizations} == {"VOIDED"}
    voids = [row.path.split("/")[-2] for row in fake.calls("void")]
    assert voids == ([new] if known else [old, new])


@pytest.mark.parametrize("known", [True, False])
def test_a_capture_takes_the_authorization_that_is_live_and_takes_it_once(reauthorized, fake, known):
    shop, session_id, old, new = reauthorized
    if known:
        shop.look(session_id)
    session = shop.payments.capture(session_id, EUR20)
    assert (session.captured_amount, session.in_doubt) == (EUR20, False)
    assert fake.effects.count("capture 20.00") == 1
    captures = [row.path.split("/")[-2] for row in fake.calls("capture")]
    assert captures == ([new] if known else [old, new])
    assert shop.look(session_id).captured_amount == EUR20


def test_two_live_authorizations_end_with_the_older_one(shop, fake):
    session = shop.session()
    shop.clock.forward(days=5)
    (old,) = session.data["authorizations"]
    fake.ledger.reauthorize(old, {})
    shop.look(session.id)
    assert shop.payments.cancel(session.id).status is Status.CANCELED
    assert {row.status for row in fake.ledger.orders[session.reference].authorizations} == {"VOIDED"}
    assert [row.path.split("/")[-2] for row in fake.calls("void")][0] == old


def test_a_capture_is_not_sent_to_another_authorization_while_it_may_have_happened(shop, fake, refuse):
    """The refusal may be of our own repetition: the order lists the capture, and nothing is sent again."""
    session = shop.session()
    (authorization,) = session.data["authorizations"]
    shop.clock.forward(days=5)
    fake.ledger.reauthorize(authorization, {})
    refuse("capture", "AUTHORIZATION_VOIDED", committed=True)
    session = shop.payments.capture(session.id, EUR20, idempotency_key="c")
    assert (session.captured_amount, len(fake.calls("capture"))) == (EUR20, 1)


@pytest.mark.parametrize("call", ["capture", "cancel"])
def test_a_refusal_stands_although_the_order_cannot_be_queried_then(reauthorized, fake, call):
    """What ended may have ended by our own earlier request: it is unknown, and never "not applied"."""
    shop, session_id, _, new = reauthorized
    fake.fail("show", Fault.answer(503))
    with pytest.raises(OutcomeUnknown):
        getattr(shop.provider, call)(*asked(shop, session_id, call))
    assert fake.ledger.authorization(new)[1].status == "CREATED"


@pytest.mark.parametrize("after", [0, 1])
def test_a_cancel_that_voided_one_of_two_is_unknown_until_the_other_is_void(hand, fake, clock, after):
    hand.authorized(fake)
    clock.forward(days=5)
    (old,) = hand.session.data["authorizations"]
    _, new = fake.ledger.reauthorize(old, {})
    new.parent = None  # as if it did not end with the original one
    hand.session = replace(hand.session, _data=hand.look().data)
    fake.fail("void" if after else "show", Fault.answer(429 if after else 503), after=1)
    with pytest.raises(OutcomeUnknown, match="an authorization was voided, and then"):
        hand.do("cancel")


def test_a_hook_takes_no_longer_than_its_caller_waits(hand, fake):
    operation = replace(hand.operation("initiate"), _until=0.0)
    with pytest.raises(NotApplied, match="no time left|no access token in time"):
        hand.provider.initiate(hand.session, operation)
    assert fake.exchanges == [], "nothing was sent"


def asked(shop, session_id, call):
    """Return the arguments of a hook: a session, and an operation of it."""
    session = shop.payments.get(session_id)
    first = shop.payments.history(session_id)[0]
    return session, replace(first, kind=Kind(call), amount=EUR20, id=f"{session_id}-9-abcdefgh", final=False)


def test_the_honor_period_is_in_the_data_and_expires_at_is_that_of_the_live_one(reauthorized):
    shop, session_id, _, _ = reauthorized
    before = shop.payments.get(session_id)
    assert PayPalData.of(before).honored_until == before.created_at + timedelta(days=3)
    assert before.expires_at == before.created_at + timedelta(days=29)
    session = shop.look(session_id, seconds=1)
    made = before.created_at + timedelta(days=5)
    assert PayPalData.of(session).honored_until == made + timedelta(days=3)
    assert session.expires_at == made + timedelta(days=29)


# --- what PayPal reports of the payer and of its fee ------------------------------------------------


def test_statuses_fees_and_the_payer_are_in_the_typed_data(captured, fake):
    shop, session_id, capture = captured

    def with_address(call, document):
        if call == "show":
            address = {"address_line_1": "1 Main St", "postal_code": "24103", "country_code": "DE"}
            unit = document["purchase_units"][0]
            unit["shipping"] = {"name": {"full_name": "P. Payer"}, "address": address, "options": []}
            document["payer"]["name"] = {"given_name": "Petra", "surname": "Payer"}
        return document

    fake.twist(with_address)
    session = shop.look(session_id)
    data, payer = PayPalData.of(session), session.payer
    assert data.captures == {capture: "succeeded"}
    assert list(data.authorizations.values()) == ["succeeded"]
    assert data.fees == {capture: Money("0.60", EUR)}
    assert (payer.name, payer.email) == ("Petra Payer", "payer@example.com")
    assert data.shipping["address"]["postal_code"] == "24103"
    assert set(data.shipping) == {"name", "address"}


def test_data_that_was_stored_without_statuses_is_read(shop):
    session = shop.session(data={"customer": "c-7"})
    data = PayPalData.of(session)
    stored = {**session.data, "authorizations": list(data.authorizations), "captures": ["C1"]}

    older = PayPalData.of(replace(session, data=encode(stored, "data")))
    assert older.only_live == data.only_live == next(iter(data.authorizations))
    assert (older.captures, older.host) == ({"C1": ""}, {"customer": "c-7"})
