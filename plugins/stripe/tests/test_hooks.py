"""Each hook against the sandbox over sockets, called as the core calls it."""

import pytest
from attrs import evolve

from paysession.provider import (
    Answer,
    Checkout,
    ClientAction,
    ConfigurationError,
    Declined,
    InvalidData,
    Kind,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Redirect,
    Snapshot,
    Status,
)
from paysession.values import decode
from paysession_sandbox.stripe.refusals import Refusal

EXPAND = ("latest_charge.refunds", "latest_charge.balance_transaction")
THREE_DS = "4000002500003155"
DECLINED = "4000000000000341"


@pytest.fixture
def begin(values):
    """Return a function that initiates a session; it returns the session as the ledger then has it."""

    def begin(provider, amount=None, **changes):
        session = values.session(amount, **changes)
        outcome = provider.initiate(session, values.operation(session, "initiate"))
        return after(session, outcome)

    return begin


def after(session, outcome, **changes):
    """Return a session with what an outcome says, as the core would book it."""
    if outcome.data is not None:
        session = copy(session, _data=outcome.data)
    if outcome.reference is not None and session.reference is None:
        session = copy(session, reference=outcome.reference)
    return copy(session, **changes)


def copy(session, **changes):
    from paysession.values import replace

    return replace(session, **changes)


def authorized(session):
    return copy(session, status=Status.AUTHORIZED, authorized=session.amount.minor)


# --- initiate -------------------------------------------------------------------------------------


def test_initiate_makes_an_inert_intent_that_carries_our_ids(stripe, sandbox, values):
    session = values.session(checkout=Checkout(description="Two books"))
    operation = values.operation(session, "initiate")
    outcome = stripe.initiate(session, operation)
    assert Answer.PENDING == outcome.answer
    (request,) = sandbox.writes()
    assert operation.key == request.headers["idempotency-key"]
    assert {
        "amount": "4200",
        "currency": "eur",
        "capture_method": "manual",
        "description": "Two books",
        "metadata": {
            "paysession_session": session.id,
            "paysession_operation": operation.key,
            "paysession_reference": "order-1001",
        },
    } == request.params
    intent = sandbox.call("GET", f"/v1/payment_intents/{outcome.reference}")
    assert "requires_payment_method" == intent["status"]
    assert {"payment_intent": outcome.reference, "status": "requires_payment_method"} == decode(outcome.data)


def test_the_browser_gets_the_client_secret_and_the_publishable_key_and_nothing_else(stripe, values, sandbox):
    session = values.session(data={"email": "jenny@example.com"})
    outcome = stripe.initiate(session, values.operation(session, "initiate"))
    intent = sandbox.call("GET", f"/v1/payment_intents/{outcome.reference}")
    params = {"client_secret": intent["client_secret"], "publishable_key": "pk_test_1"}
    assert ClientAction("stripe.payment_element", params) == outcome.next_action
    assert "secret" not in outcome.data


def test_the_browser_is_told_of_a_connected_account(make, values, sandbox):
    provider = make(stripe_account="acct_1")
    session = values.session()
    outcome = provider.initiate(session, values.operation(session, "initiate"))
    assert "acct_1" == outcome.next_action.params["stripe_account"]
    assert "acct_1" == sandbox.writes()[0].headers["stripe-account"]


def test_a_customer_that_is_given_is_used(stripe, payer, values, sandbox):
    customer = payer.saved_card()["customer"]
    session = values.session(data={"customer": customer, "setup_future_usage": "off_session"})
    outcome = stripe.initiate(session, values.operation(session, "initiate"))
    (request,) = sandbox.writes()
    assert customer == request.params["customer"]
    assert "off_session" == request.params["setup_future_usage"]
    assert customer == decode(outcome.data)["customer"]


def test_a_customer_that_is_described_is_created_under_a_key_of_its_own(stripe, values, sandbox):
    session = values.session(data={"email": "jenny@example.com", "name": "Jenny Rosen"})
    operation = values.operation(session, "initiate")
    outcome = stripe.initiate(session, operation)
    customer, intent = sandbox.writes()
    assert ["/v1/customers", "/v1/payment_intents"] == [customer.path, intent.path]
    assert operation.subkey("customer") == customer.headers["idempotency-key"]
    made = sandbox.call("GET", f"/v1/customers/{decode(outcome.data)['customer']}")
    assert ("jenny@example.com", "Jenny Rosen") == (made["email"], made["name"])
    assert made["id"] == intent.params["customer"]


def test_a_customer_is_created_once_though_the_intent_fails(stripe, values, sandbox):
    session = values.session(data={"email": "jenny@example.com"})
    sandbox.fail("429", "/v1/payment_intents")
    with pytest.raises(NotApplied) as refused:
        stripe.initiate(session, values.operation(session, "initiate"))
    assert refused.value.data["customer"].startswith("cus_")
    again = copy(session, _data=values.session(data=refused.value.data).data_text)
    stripe.initiate(again, values.operation(session, "initiate", ordinal=2))
    assert 1 == len(sandbox.writes("/v1/customers"))


@pytest.mark.parametrize("data", [{"costumer": "cus_1"}, {"payment_intent": "pi_1"}, {"customer": ""}])
def test_data_that_is_not_for_the_host_to_give_is_refused_before_the_network(stripe, values, sandbox, data):
    session = values.session(data=data)
    with pytest.raises(InvalidData):
        stripe.initiate(session, values.operation(session, "initiate"))
    assert [] == sandbox.requests


@pytest.mark.parametrize("amount", [Money("1000000.00", "USD"), Money("5.124", "KWD"), Money("1.000", "LYD")])
def test_an_amount_that_stripe_does_not_take_is_declined_before_the_network(stripe, values, sandbox, amount):
    session = values.session(amount)
    with pytest.raises(Declined):
        stripe.initiate(session, values.operation(session, "initiate"))
    assert [] == sandbox.requests


@pytest.mark.parametrize(
    ("amount", "sent"),
    [(Money("5", "UGX"), "500"), (Money("500", "JPY"), "500"), (Money("5.120", "KWD"), "5120")],
)
def test_what_stripe_counts_otherwise_is_converted_both_ways(stripe, values, sandbox, amount, sent):
    stripe = evolve(stripe)
    if amount.currency == "UGX":
        amount = Money("5000", "UGX")
        sent = "500000"
    session = values.session(amount)
    outcome = stripe.initiate(session, values.operation(session, "initiate"))
    assert sent == sandbox.writes()[0].params["amount"]
    assert amount == stripe.retrieve(after(session, outcome), None).amount
    stripe.close()


@pytest.mark.parametrize("where", ["session", "settings"])
def test_automatic_capture_is_asked_for_by_the_session_or_by_the_settings(make, values, sandbox, where):
    provider = make(capture_method="automatic" if where == "settings" else "manual")
    session = values.session(capture="automatic" if where == "session" else "manual")
    provider.initiate(session, values.operation(session, "initiate"))
    assert "automatic" == sandbox.writes()[0].params["capture_method"]


def test_the_descriptor_and_multicapture_are_passed_on(make, values, sandbox):
    provider = make(statement_descriptor_suffix="BOOKS", multicapture=True)
    session = values.session()
    provider.initiate(session, values.operation(session, "initiate"))
    params = sandbox.writes()[0].params
    assert "BOOKS" == params["statement_descriptor_suffix"]
    assert {"card": {"request_multicapture": "if_available"}} == params["payment_method_options"]


def test_an_intent_of_another_amount_is_not_believed(stripe, values, sandbox):
    sandbox.patch(lambda intent: intent.update(amount=4300))
    session = values.session()
    with pytest.raises(OutcomeUnknown, match=r"43\.00 EUR where 42\.00 EUR") as doubt:
        stripe.initiate(session, values.operation(session, "initiate"))
    assert doubt.value.reference.startswith("pi_")
    assert doubt.value.reference == doubt.value.data["payment_intent"]


@pytest.mark.parametrize("status", ["requires_capture", "succeeded", "canceled"])
def test_an_intent_that_was_paid_or_is_over_when_it_is_made_is_looked_up(stripe, values, sandbox, status):
    sandbox.patch(lambda intent: intent.update(status=status))
    session = values.session()
    with pytest.raises(OutcomeUnknown, match=f"is {status} already"):
        stripe.initiate(session, values.operation(session, "initiate"))


# --- update ---------------------------------------------------------------------------------------


def test_update_changes_the_amount(stripe, begin, values):
    session = begin(stripe)
    operation = values.operation(session, "update", values.eur("50.00"), 2)
    outcome = stripe.update(session, operation)
    assert Answer.PENDING == outcome.answer
    assert values.eur("50.00") == stripe.retrieve(session, None).amount


def test_an_update_after_a_payment_that_is_recorded_is_declined(stripe, begin, values, payer):
    session = begin(stripe)
    payer.confirm(session)
    session = copy(session, authorized=2600)
    with pytest.raises(Declined) as refused:
        stripe.update(session, values.operation(session, "update", values.eur("50.00"), 2))
    assert ("authorized", True) == (refused.value.code, refused.value.conclusive)


def test_update_after_the_browser_confirmed_is_looked_up(stripe, begin, values, payer):
    session = begin(stripe)
    payer.confirm(session)
    with pytest.raises(OutcomeUnknown, match="payment_intent_unexpected_state"):
        stripe.update(session, values.operation(session, "update", values.eur("50.00"), 2))
    assert values.eur("42.00") == stripe.retrieve(session, None).amount


# --- authorize ------------------------------------------------------------------------------------


def test_authorize_finds_what_the_browser_confirmed_and_writes_nothing(stripe, begin, values, payer, sandbox):
    session = begin(stripe)
    payer.confirm(session)
    sandbox.requests.clear()
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.AUTHORIZED, values.eur("42.00")) == (outcome.answer, outcome.amount)
    assert decode(outcome.data)["latest_charge"].startswith("ch_")
    assert [] == sandbox.writes()


def test_authorize_before_the_payer_did_anything_asks_for_the_payer(stripe, begin, values):
    session = begin(stripe)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert Answer.REQUIRES_MORE == outcome.answer
    assert "stripe.payment_element" == outcome.next_action.kind


def test_authorize_with_automatic_capture_says_what_was_captured(stripe, begin, values, payer):
    session = begin(stripe, capture="automatic")
    payer.confirm(session)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.CAPTURED, values.eur("42.00")) == (outcome.answer, outcome.amount)


def test_a_saved_card_is_charged_by_authorize_and_not_before(stripe, begin, values, payer, sandbox):
    session = begin(stripe, data=payer.saved_card())
    assert session.next_action is None
    assert Status.PENDING == stripe.retrieve(session, None).status
    operation = values.operation(session, "authorize", ordinal=2)
    outcome = stripe.authorize(session, operation)
    assert (Answer.AUTHORIZED, values.eur("42.00")) == (outcome.answer, outcome.amount)
    (confirm,) = sandbox.writes("/confirm")
    assert operation.key == confirm.headers["idempotency-key"]
    assert {"off_session": "true", "expand": [*EXPAND]} == confirm.params
    created = sandbox.writes("/payment_intents")[0].params
    assert {"enabled": "true", "allow_redirects": "never"} == created["automatic_payment_methods"]


def test_a_saved_card_is_not_charged_because_of_what_a_payer_did(stripe, begin, values, payer, sandbox):
    session = begin(stripe, data=payer.saved_card())
    operation = values.operation(session, "authorize", ordinal=2, origin="payer")
    assert "pending" == stripe.authorize(session, operation).answer
    assert [] == sandbox.writes("/confirm")


def test_a_saved_card_with_an_address_to_come_back_to_may_redirect(stripe, begin, values, payer, sandbox):
    checkout = Checkout(return_url="https://shop.example/back")
    session = begin(stripe, data=payer.saved_card(), checkout=checkout)
    stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert "automatic_payment_methods" not in sandbox.writes("/payment_intents")[0].params
    assert "https://shop.example/back" == sandbox.writes("/confirm")[0].params["return_url"]


def test_a_saved_card_that_is_declined_is_declined(stripe, begin, values, payer):
    session = begin(stripe, data=payer.saved_card(DECLINED))
    with pytest.raises(Declined) as refused:
        stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert "generic_decline" == refused.value.code
    assert "generic_decline" == refused.value.data["last_error"]
    snapshot = stripe.retrieve(session, None)
    assert (Status.ERROR, "generic_decline") == (snapshot.status, snapshot.error.code)


@pytest.mark.parametrize("success", [True, False])
def test_three_d_secure_asks_for_the_payer_and_the_return_settles_it(stripe, begin, values, payer, success):
    session = begin(stripe)
    payer.confirm(session, THREE_DS)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.REQUIRES_MORE, "stripe.next_action") == (outcome.answer, outcome.next_action.kind)
    session = after(session, outcome, status=Status.REQUIRES_MORE)
    payer.authenticate(session, success=success)
    back = values.operation(session, "authorize", ordinal=3)
    if success:
        assert Answer.AUTHORIZED == stripe.authorize(session, back).answer
    else:
        with pytest.raises(Declined) as refused:
            stripe.authorize(session, back)
        assert "payment_intent_authentication_failure" == refused.value.code


def test_a_saved_card_whose_bank_wants_the_payer_is_tried_again_with_the_payer(
    stripe, begin, values, payer, sandbox
):
    session = begin(stripe, data=payer.saved_card(THREE_DS))
    with pytest.raises(Declined) as refused:
        stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert "authentication_required" == refused.value.code
    session = copy(session, _data=values.session(data=refused.value.data).data_text, status=Status.ERROR)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=3))
    assert (Answer.REQUIRES_MORE, "stripe.next_action") == (outcome.answer, outcome.next_action.kind)
    assert "off_session" not in sandbox.writes("/confirm")[1].params
    session = after(session, outcome, status=Status.REQUIRES_MORE)
    payer.authenticate(session, success=True)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=4))
    assert Answer.AUTHORIZED == outcome.answer


def test_a_page_of_the_bank_is_a_redirect(stripe, begin, values, payer, sandbox):
    session = begin(stripe)
    payer.confirm(session, THREE_DS)
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/3ds"}}
    sandbox.patch(lambda intent: intent.update(next_action=action))
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert Redirect("https://bank.example/3ds") == outcome.next_action


def test_after_a_failure_was_told_the_payer_may_try_another_card(stripe, begin, values, payer, sandbox):
    session = begin(stripe)
    payer.confirm(session, DECLINED)
    with pytest.raises(Declined):
        stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    session = copy(session, status=Status.ERROR)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=3))
    assert (Answer.REQUIRES_MORE, "stripe.payment_element") == (outcome.answer, outcome.next_action.kind)


def test_an_intent_that_was_canceled_ends_the_session(stripe, begin, values, payer):
    session = begin(stripe)
    payer.send(f"payment_intents/{session.reference}/cancel")
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert Answer.CANCELED == outcome.answer


@pytest.mark.parametrize("status", ["processing", "partially_funded"])
def test_what_is_not_decided_yet_is_pending(stripe, begin, values, payer, sandbox, status, caplog):
    session = begin(stripe)
    payer.confirm(session)
    sandbox.patch(lambda intent: intent.update(status=status, amount_capturable=0))
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.PENDING, status) == (outcome.answer, decode(outcome.data)["status"])
    snapshot = stripe.retrieve(session, None)
    assert Status.PENDING == snapshot.status
    assert [(Kind.AUTHORIZE, "pending")] == [(e.kind, e.state) for e in snapshot.effects]
    assert (status in caplog.text) == (status == "partially_funded")


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"type": "card", "card": {"capture_before": 1_767_873_600}}, "2026-01-08T12:00:00+00:00"),
        ({"type": "card", "card": {"capture_before": 10**30}}, "2026-01-08T14:00:00+00:00"),
        ({"type": "card", "card": {"capture_before": -(10**18)}}, "2026-01-08T14:00:00+00:00"),
        ({"type": "card", "card": {"capture_before": "soon"}}, "2026-01-08T14:00:00+00:00"),
        ({"type": "card", "card": {"capture_before": True}}, "2026-01-08T14:00:00+00:00"),
        ({"type": "klarna", "klarna": {}}, "2026-01-29T00:00:00+00:00"),
        ({"type": "afterpay_clearpay", "afterpay_clearpay": {}}, "2026-01-14T14:00:00+00:00"),
        ({"type": "affirm"}, "2026-01-31T14:00:00+00:00"),
        ({"type": "paypal"}, "2026-01-11T14:00:00+00:00"),
        ({"type": "cashapp"}, "2026-01-08T14:00:00+00:00"),
        (None, "2026-01-08T14:00:00+00:00"),
    ],
)
def test_every_authorization_has_a_deadline(stripe, begin, values, payer, sandbox, details, expected):
    session = begin(stripe)
    payer.confirm(session)

    def patch(intent):
        if isinstance(intent["latest_charge"], dict):
            intent["latest_charge"] |= {"payment_method_details": details, "created": 1_767_276_000}

    sandbox.patch(patch)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert expected == (outcome.expires_at and outcome.expires_at.isoformat())
    assert outcome.expires_at == stripe.retrieve(session, None).expires_at


@pytest.mark.parametrize("fault", ["500_before", "drop_before", "garbage", "429"])
def test_an_intent_that_cannot_be_looked_at_is_not_written_to(stripe, begin, values, payer, sandbox, fault):
    session = begin(stripe, data=payer.saved_card())
    sandbox.fail(fault, session.reference, method="GET")
    with pytest.raises(NotApplied if fault == "429" else OutcomeUnknown):
        stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert [] == sandbox.writes("/confirm")


def test_an_intent_of_another_session_is_not_written_to(stripe, begin, values, payer, sandbox):
    session, other = begin(stripe, data=payer.saved_card()), begin(stripe)
    with pytest.raises(NotApplied, match="carries another session's id"):
        stripe.authorize(
            copy(session, reference=other.reference), values.operation(session, "authorize", ordinal=2)
        )
    assert [] == sandbox.writes("/confirm")


def test_an_intent_whose_mark_somebody_took_off_is_ours_by_its_id(stripe, begin, values, payer, sandbox):
    session = begin(stripe, data=payer.saved_card())
    sandbox.patch(lambda intent: intent.update(metadata={}))
    assert stripe.retrieve(session, None).session_id is None
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert Answer.AUTHORIZED == outcome.answer


def test_a_saved_card_asks_nothing_of_the_payer_until_the_bank_does(stripe, begin, values, payer):
    session = begin(stripe, data=payer.saved_card(THREE_DS))
    assert stripe.retrieve(session, None).next_action is None
    session = copy(session, _data=values.session(data={**session.data, "off_session": False}).data_text)
    stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert "stripe.next_action" == stripe.retrieve(session, None).next_action.kind


# --- capture, refund, cancel ----------------------------------------------------------------------


@pytest.fixture
def taken(stripe, begin, payer):
    """An authorized session of 42.00 EUR."""
    session = begin(stripe)
    payer.confirm(session)
    return authorized(session)


def test_capture_takes_all(stripe, taken, values, sandbox):
    operation = values.operation(taken, "capture", ordinal=3)
    outcome = stripe.capture(taken, operation)
    assert (Answer.CAPTURED, values.eur("42.00"), True) == (outcome.answer, outcome.amount, outcome.released)
    (request,) = sandbox.writes("/capture")
    assert {"paysession_capture_3": f"{operation.key} 4200 3"} == request.params["metadata"]
    assert outcome.reference.startswith("ch_")


def test_a_partial_capture_lets_go_of_the_rest(stripe, taken, values):
    operation = values.operation(taken, "capture", values.eur("20.00"), 3)
    outcome = stripe.capture(taken, operation)
    assert (values.eur("20.00"), True) == (outcome.amount, outcome.released)
    snapshot = stripe.retrieve(taken, None)
    assert (Status.AUTHORIZED, values.eur("20.00")) == (snapshot.status, snapshot.authorized)
    assert values.eur("20.00") == snapshot.captured
    assert values.eur("0.00") == snapshot.refunded
    (effect,) = snapshot.effects
    assert (Kind.CAPTURE, values.eur("20.00"), operation.key) == (effect.kind, effect.amount, effect.key)
    assert outcome.reference == effect.reference


def test_capture_answers_what_stripe_received_and_not_what_was_asked(stripe, taken, values, sandbox):
    def patch(intent):
        if intent["status"] == "succeeded":
            intent["amount_received"] = 1900

    sandbox.patch(patch)
    outcome = stripe.capture(taken, values.operation(taken, "capture", values.eur("20.00"), 3))
    assert values.eur("19.00") == outcome.amount


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("requested_by_customer", "payment_intent_canceled"),
        ("expired", "authorization_expired"),
        ("automatic", "authorization_expired"),
    ],
)
def test_capture_of_a_canceled_intent_is_refused_for_good(
    stripe, taken, values, payer, sandbox, reason, code
):
    payer.send(f"payment_intents/{taken.reference}/cancel")
    sandbox.patch(lambda intent: intent.update(cancellation_reason=reason))
    with pytest.raises(Declined) as refused:
        stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    assert (code, True, "hard") == (refused.value.code, refused.value.conclusive, refused.value.category)
    assert "canceled" == refused.value.data["status"]


def test_several_captures_are_told_one_by_one(make, begin, values, payer):
    provider = make(multicapture=True)
    assert "multiple" == provider.capabilities.capture
    session = begin(provider)
    payer.confirm(session)
    session = authorized(session)
    first = values.operation(session, "capture", values.eur("10.00"), 3)
    outcome = provider.capture(session, first)
    assert (values.eur("10.00"), False) == (outcome.amount, outcome.released)
    session = copy(session, captured=1000)
    second = values.operation(session, "capture", values.eur("10.00"), 4, final=True)
    outcome = provider.capture(session, second)
    assert (values.eur("10.00"), True) == (outcome.amount, outcome.released)
    snapshot = provider.retrieve(session, None)
    told = [(effect.amount, effect.reference, effect.key) for effect in snapshot.effects]
    assert [(values.eur("10.00"), None, first.key), (values.eur("10.00"), None, second.key)] == told
    assert values.eur("20.00") == snapshot.captured == snapshot.authorized


def test_the_rest_is_released_after_some_captures(make, begin, values, payer, sandbox):
    provider = make(multicapture=True)
    session = begin(provider)
    payer.confirm(session)
    session = authorized(session)
    provider.capture(session, values.operation(session, "capture", values.eur("10.00"), 3))
    session = copy(session, captured=1000)
    outcome = provider.cancel(session, values.operation(session, "cancel", values.eur("32.00"), 4))
    assert Answer.CANCELED == outcome.answer
    assert "0" == sandbox.writes("/capture")[1].params["amount_to_capture"]
    snapshot = provider.retrieve(session, None)
    assert (Status.AUTHORIZED, values.eur("10.00")) == (snapshot.status, snapshot.authorized)


def test_a_part_that_is_not_the_last_is_declined_where_the_card_allows_one_capture(
    make, begin, values, payer, sandbox
):
    sandbox.settings.multicapture = False
    provider = make(multicapture=True)
    session = begin(provider)
    payer.confirm(session)
    session = authorized(session)
    with pytest.raises(Declined, match="final_capture"):
        provider.capture(session, values.operation(session, "capture", values.eur("10.00"), 3))
    assert values.eur("0.00") == provider.retrieve(session, None).captured


def test_refunds_are_told_one_by_one_with_their_ids(stripe, taken, values, sandbox):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    first = values.operation(taken, "refund", values.eur("5.00"), 4, reason="requested_by_customer")
    second = values.operation(taken, "refund", values.eur("5.00"), 5, reason="a torn page")
    made = [stripe.refund(taken, first), stripe.refund(taken, second)]
    assert [(Answer.REFUNDED, values.eur("5.00"))] * 2 == [(o.answer, o.amount) for o in made]
    sent = [request.params for request in sandbox.writes("/refunds")]
    assert "requested_by_customer" == sent[0]["reason"]
    assert ("a torn page", None) == (sent[1]["metadata"]["reason"], sent[1].get("reason"))
    snapshot = stripe.retrieve(taken, None)
    told = [(e.reference, e.key, e.state) for e in snapshot.effects if e.kind is Kind.REFUND]
    expected = [(o.reference, op.key, "succeeded") for o, op in zip(made, (first, second), strict=True)]
    assert sorted(expected) == sorted(told)
    assert values.eur("10.00") == snapshot.refunded


def test_more_than_is_left_is_declined(stripe, taken, values):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    with pytest.raises(Declined, match="greater than unrefunded"):
        stripe.refund(taken, values.operation(taken, "refund", values.eur("42.01"), 4))


def test_a_charge_that_is_given_back_already_is_looked_up_and_ours_refuted(stripe, taken, values, payer):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    payer.send("refunds", payment_intent=taken.reference)
    operation = values.operation(taken, "refund", ordinal=4)
    with pytest.raises(OutcomeUnknown, match="charge_already_refunded"):
        stripe.refund(taken, operation)
    ours, theirs = (e for e in stripe.retrieve(taken, operation).effects if e.kind is Kind.REFUND)
    assert (operation.key, "failed") == (ours.key, ours.state)
    assert (theirs.reference, "succeeded") == (theirs.key, theirs.state)


@pytest.mark.parametrize(
    ("status", "answer", "state"),
    [("pending", Answer.PENDING, "pending"), ("requires_action", Answer.PENDING, "pending")],
)
def test_a_refund_that_is_not_finished_is_pending(stripe, taken, values, sandbox, status, answer, state):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    _refund_status(sandbox, status)
    outcome = stripe.refund(taken, values.operation(taken, "refund", values.eur("5.00"), 4))
    assert answer == outcome.answer
    snapshot = stripe.retrieve(taken, None)
    assert [state] == [e.state for e in snapshot.effects if e.kind is Kind.REFUND]
    assert values.eur("0.00") == snapshot.refunded


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_fails_is_declined(stripe, taken, values, sandbox, status):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    _refund_status(sandbox, status)
    with pytest.raises(Declined):
        stripe.refund(taken, values.operation(taken, "refund", values.eur("5.00"), 4))
    assert ["failed"] == [e.state for e in stripe.retrieve(taken, None).effects if e.kind is Kind.REFUND]


def _refund_status(sandbox, status):
    sandbox.refund_status = status


def test_cancel_lets_go_of_everything(stripe, taken, values):
    outcome = stripe.cancel(taken, values.operation(taken, "cancel", ordinal=3))
    assert Answer.CANCELED == outcome.answer
    assert Status.CANCELED == stripe.retrieve(taken, None).status


def test_cancel_before_anything_was_paid(stripe, begin, values):
    session = begin(stripe)
    assert Answer.CANCELED == stripe.cancel(session, values.operation(session, "cancel", ordinal=2)).answer


def test_cancel_of_what_is_canceled_is_done(stripe, taken, values, payer):
    payer.send(f"payment_intents/{taken.reference}/cancel")
    outcome = stripe.cancel(taken, values.operation(taken, "cancel", ordinal=3))
    assert (Answer.CANCELED, "canceled") == (outcome.answer, decode(outcome.data)["status"])


@pytest.mark.parametrize("part", ["4200", "3000"])
def test_cancel_of_what_somebody_captured_is_refused_for_good(stripe, taken, values, payer, part):
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture=part)
    with pytest.raises(Declined, match="refund it instead") as refused:
        stripe.cancel(taken, values.operation(taken, "cancel", ordinal=3))
    assert ("already_captured", True) == (refused.value.code, refused.value.conclusive)


def test_a_cancel_in_doubt_is_refuted_by_a_whole_capture(stripe, taken, values, payer):
    payer.send(f"payment_intents/{taken.reference}/capture")
    operation = values.operation(taken, "cancel", ordinal=3)
    ours = stripe.retrieve(taken, operation).effects[0]
    assert (Kind.CANCEL, "failed", operation.key) == (ours.kind, ours.state, ours.key)
    assert "already_captured" == ours.error.code


@pytest.mark.parametrize("kind", ["cancel", "update"])
def test_what_is_processed_takes_no_cancel_and_no_update(stripe, begin, values, payer, sandbox, kind):
    session = begin(stripe)
    payer.confirm(session)
    sandbox.patch(lambda intent: intent.update(status="processing", amount_capturable=0))
    amount = values.eur("50.00") if kind == "update" else session.amount
    refusal = Refusal(400, code="payment_intent_unexpected_state", message="Not now.")
    sandbox.refuse(session.reference if kind == "update" else "/cancel", refusal)
    with pytest.raises(Declined) as refused:
        getattr(stripe, kind)(session, values.operation(session, kind, amount, 2))
    assert ("payment_processing", False) == (refused.value.code, refused.value.conclusive)
    assert "try_later" == refused.value.category


@pytest.mark.parametrize("fault", ["500_before", "drop_before", "429", "garbage"])
def test_a_refusal_for_the_state_of_what_cannot_be_looked_at_is_doubt(
    stripe, taken, values, payer, sandbox, fault
):
    payer.send(f"payment_intents/{taken.reference}/cancel")
    sandbox.fail(fault, taken.reference, method="GET")
    with pytest.raises(OutcomeUnknown, match="payment_intent_unexpected_state"):
        stripe.cancel(taken, values.operation(taken, "cancel", ordinal=3))


def test_cancel_is_not_refuted_by_a_capture_of_a_part(stripe, taken, values, payer):
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture="3000")
    effects = stripe.retrieve(taken, values.operation(taken, "cancel", ordinal=3)).effects
    assert [Kind.CAPTURE] == [effect.kind for effect in effects]


# --- retrieve -------------------------------------------------------------------------------------


def test_an_intent_whose_id_was_lost_is_found_by_our_session_id(stripe, begin):
    session = begin(stripe)
    lost = copy(session, reference=None, _data="{}")
    snapshot = stripe.retrieve(lost, None)
    assert (session.reference, session.id) == (snapshot.reference, snapshot.session_id)


@pytest.mark.parametrize("canceled", [0, 1])
def test_of_two_intents_for_a_session_the_one_that_is_alive_is_found(
    stripe, values, payer, sandbox, canceled
):
    session = values.session()
    made = [stripe.initiate(session, values.operation(session, "initiate", ordinal=n)) for n in (1, 2)]
    payer.send(f"payment_intents/{made[canceled].reference}/cancel")
    assert made[1 - canceled].reference == stripe.retrieve(session, None).reference


def test_an_account_without_a_search_finds_nothing(stripe, begin, sandbox):
    lost = copy(begin(stripe), reference=None, _data="{}")
    sandbox.fail("400", "/search", method="GET")
    assert Snapshot.absent() == stripe.retrieve(lost, None)


@pytest.mark.parametrize("fault", ["500_before", "429", "401", "garbage", "drop_before"])
def test_a_search_that_fails_is_no_absence(stripe, values, sandbox, fault):
    sandbox.fail(fault, "/search", method="GET")
    with pytest.raises((ConfigurationError, NotApplied, OutcomeUnknown)):
        stripe.retrieve(values.session(), None)


def test_a_session_that_stripe_does_not_know_is_absent(stripe, values):
    assert Snapshot.absent() == stripe.retrieve(values.session(), None)


def test_an_intent_that_stripe_does_not_know_is_not_absent_but_another_accounts(stripe, values):
    with pytest.raises(OutcomeUnknown, match="cannot be asked"):
        stripe.retrieve(values.session(reference="pi_gone"), None)


def test_a_capture_in_the_dashboard_is_told_once_and_not_as_ours(stripe, taken, payer, values):
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture="1500")
    (effect,) = stripe.retrieve(taken, None).effects
    assert (values.eur("15.00"), "") == (effect.amount, effect.key)
    assert effect.reference.startswith("ch_")
    booked = stripe.retrieve(copy(taken, captured=1500), None)
    assert ((), values.eur("15.00")) == (booked.effects, booked.captured)


def test_a_capture_in_doubt_is_refuted_by_an_intent_that_takes_no_more(stripe, taken, payer, values):
    payer.send(f"payment_intents/{taken.reference}/capture")
    operation = values.operation(taken, "capture", ordinal=3)
    ours, theirs = stripe.retrieve(taken, operation).effects
    assert (operation.key, "failed") == (ours.key, ours.state)
    assert ("succeeded", "") == (theirs.state, theirs.key)


def test_a_capture_in_doubt_is_not_refuted_while_it_may_still_come(stripe, taken, values):
    assert () == stripe.retrieve(taken, values.operation(taken, "capture", ordinal=3)).effects


def test_a_mark_that_somebody_wrote_into_the_metadata_is_not_believed(stripe, taken, values, sandbox):
    stripe.capture(taken, values.operation(taken, "capture", values.eur("20.00"), 3))
    sandbox.patch(lambda intent: intent["metadata"].update(paysession_capture_9="ps_x-9 999900"))
    snapshot = stripe.retrieve(taken, None)
    assert ((), values.eur("20.00")) == (snapshot.effects, snapshot.captured)


@pytest.mark.parametrize(
    ("status", "shown", "state"),
    [
        ("warning_needs_response", "opened", "pending"),
        ("warning_under_review", "under_review", "pending"),
        ("warning_closed", "won", "failed"),
        ("prevented", "won", "failed"),
        ("needs_response", "opened", "succeeded"),
        ("under_review", "under_review", "succeeded"),
        ("lost", "lost", "succeeded"),
        ("won", "won", "reversed"),
        ("something_new", "opened", "pending"),
    ],
)
def test_a_dispute_is_a_chargeback_and_no_refund(stripe, taken, values, sandbox, status, shown, state):
    charge = stripe.capture(taken, values.operation(taken, "capture", ordinal=3)).reference
    sandbox.disputes[charge] = [
        {
            "object": "dispute",
            "id": "dp_1",
            "amount": 4200,
            "currency": "eur",
            "status": status,
            "reason": "fraudulent",
            "evidence_details": {"due_by": 1_768_435_200},
            "balance_transactions": [{"currency": "eur", "fee": 1500, "net": -5700}],
        }
    ]
    snapshot = stripe.retrieve(taken, None)
    (found,) = [effect for effect in snapshot.effects if effect.kind is Kind.CHARGEBACK]
    assert ("dp_1", "dp_1", state, charge) == (found.reference, found.key, found.state, found.capture)
    assert (shown, "fraudulent", values.eur("15.00")) == (
        found.dispute.status,
        found.dispute.reason,
        found.dispute.fee,
    )
    assert "2026-01-15T00:00:00+00:00" == found.dispute.evidence_due_by.isoformat()
    assert values.eur("0.00") == snapshot.refunded
    assert (values.eur("42.00") if state == "succeeded" else values.eur("0.00")) == snapshot.charged_back


@pytest.mark.parametrize("captured", ["4200", "3000"])
def test_every_refund_that_is_listed_is_of_money(stripe, taken, values, payer, sandbox, captured):
    # "balance_transaction" may be null for a while; what was not captured is listed no more.
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture=captured)
    payer.send("refunds", payment_intent=taken.reference, amount="500")

    def not_yet(intent):
        charge = intent["latest_charge"]
        if isinstance(charge, dict) and "refunds" in charge:
            charge["refunds"]["data"][0]["balance_transaction"] = None

    sandbox.patch(not_yet)
    assert values.eur("5.00") == stripe.retrieve(taken, None).refunded


def test_a_dispute_in_another_currency_is_of_all_that_was_captured(stripe, taken, values, sandbox):
    charge = stripe.capture(taken, values.operation(taken, "capture", values.eur("30.00"), 3)).reference
    dispute = {"object": "dispute", "id": "dp_1", "amount": 3300, "currency": "usd", "status": "lost"}
    sandbox.disputes[charge] = [dispute]
    assert values.eur("30.00") == stripe.retrieve(taken, None).charged_back


def test_all_pages_of_refunds_are_read(stripe, taken, values, payer, sandbox):
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    for _ in range(4):
        payer.send("refunds", payment_intent=taken.reference, amount="100")

    def one_page(intent):
        charge = intent["latest_charge"]
        if isinstance(charge, dict) and "refunds" in charge:
            charge["refunds"]["data"] = charge["refunds"]["data"][:1]
            charge["refunds"]["has_more"] = True

    sandbox.patch(one_page)
    snapshot = stripe.retrieve(taken, None)
    assert 4 == sum(e.kind is Kind.REFUND for e in snapshot.effects)
    assert values.eur("4.00") == snapshot.refunded


def test_refunds_without_an_end_settle_nothing(stripe, taken, values, payer, sandbox, monkeypatch):
    monkeypatch.setattr("paysession_stripe.gateway._PAGES", 3)
    stripe.capture(taken, values.operation(taken, "capture", ordinal=3))
    payer.send("refunds", payment_intent=taken.reference, amount="100")
    page = sandbox.call("GET", "/v1/refunds", {"payment_intent": taken.reference})

    def endless(intent):
        charge = intent["latest_charge"]
        if isinstance(charge, dict) and "refunds" in charge:
            charge["refunds"]["has_more"] = True

    sandbox.patch(endless)
    sandbox.answer("/v1/refunds", {**page, "has_more": True})
    with pytest.raises(OutcomeUnknown, match="no end"):
        stripe.retrieve(taken, None)


def test_the_answers_are_the_cores_own(stripe, begin, values):
    session = begin(stripe)
    assert isinstance(stripe.authorize(session, values.operation(session, "authorize", ordinal=2)), Outcome)
    assert isinstance(stripe.retrieve(session, None), Snapshot)
