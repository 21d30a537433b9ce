"""Notifications: what is read from them, and all that somebody may make up."""

import hmac
import json
import time
from hashlib import sha256

import pytest

from paysession.provider import Money, Secret, WebhookRejected
from paysession_stripe import Stripe
from paysession_stripe.webhooks import listed, parse

SECRET = "whsec_test"
NOW = 1_767_268_800
TOLERANCE = 300  # Stripe's own: https://docs.stripe.com/webhooks


def signed(body, secret=SECRET, at=NOW, scheme="v1"):
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return {"stripe-signature": f"t={at},{scheme}={signature}"}


def event(kind="payment_intent.succeeded", event_id="evt_1", found=None, **changes):
    if found is None:
        found = {"object": "payment_intent", "id": "pi_1", "metadata": {"paysession_session": "ps_1"}}
    told = {"object": "event", "id": event_id, "type": kind, "livemode": False, "data": {"object": found}}
    return json.dumps({**told, **changes}).encode()


def read(body, headers=None, *, secrets=(SECRET,), now=NOW, **options):
    headers = signed(body) if headers is None else headers
    return parse(headers, body, secrets=[Secret(secret) for secret in secrets], now=now, **options)


# --- what is read ---------------------------------------------------------------------------------


def test_an_event_about_an_intent_of_ours_names_the_session():
    (found,) = read(event())
    assert ("evt_1", "payment_intent.succeeded", "ps_1", ("pi_1",)) == (
        found.id,
        found.type,
        found.session_id,
        tuple(found.references),
    )


@pytest.mark.parametrize(
    ("kind", "found", "references"),
    [
        ("refund.created", {"object": "refund", "id": "re_1", "payment_intent": "pi_1", "latest_charge": "ch_1"},
         ("pi_1", "re_1", "ch_1")),
        ("refund.created", {"object": "refund", "id": "re_1", "payment_intent": "pi_1", "charge": "ch_1"},
         ("pi_1", "re_1", "ch_1")),
        ("refund.failed", {"object": "refund", "id": "re_1", "payment_intent": "pi_1", "metadata": None},
         ("pi_1", "re_1")),
        ("charge.dispute.created", {"object": "dispute", "id": "dp_1", "payment_intent": {"id": "pi_1"}},
         ("pi_1", "dp_1")),
        ("charge.dispute.closed", {"object": "dispute", "id": "dp_1", "payment_intent": None, "charge": "ch_1"},
         ("dp_1", "ch_1")),
    ],
)  # fmt: skip
def test_what_carries_no_mark_of_ours_is_found_by_stripes_ids(kind, found, references):
    (told,) = read(event(kind, found=found))
    assert (None, references) == (told.session_id, tuple(told.references))


MARK = {"paysession_session": "ps_1"}
BY_PAGE = {**MARK, "paysession_page": "yes"}
CHARGE = {
    "object": "charge",
    "id": "ch_1",
    "payment_intent": "pi_1",
    "status": "succeeded",
    "captured": True,
    "metadata": BY_PAGE,
}


@pytest.mark.parametrize(
    ("found", "payment"),
    [
        ({"object": "payment_intent", "id": "pi_1", "metadata": MARK}, "pi_1"),
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "metadata": MARK}, "pi_1"),
        ({"object": "charge", "id": "ch_1", "payment_intent": None, "metadata": MARK}, None),
        ({"object": "checkout.session", "id": "cs_1", "payment_intent": "pi_1", "metadata": MARK}, None),
        ({"object": "payment_intent", "id": "pi_1", "status": "succeeded", "metadata": BY_PAGE}, "pi_1"),
        (
            {"object": "payment_intent", "id": "pi_1", "status": "requires_capture", "metadata": BY_PAGE},
            "pi_1",
        ),
        ({"object": "payment_intent", "id": "pi_1", "status": "requires_action", "metadata": BY_PAGE}, None),
        ({"object": "payment_intent", "id": "pi_1", "status": "processing", "metadata": BY_PAGE}, None),
        ({"object": "payment_intent", "id": "pi_1", "status": "canceled", "metadata": BY_PAGE}, "pi_1"),
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1", "metadata": BY_PAGE}, None),
        ({**CHARGE, "amount_refunded": 0}, None),
        ({**CHARGE, "amount_refunded": 500}, "pi_1"),
        ({**CHARGE, "amount_refunded": "500"}, None),
        ({"object": "refund", "id": "re_1", "payment_intent": "pi_1", "metadata": MARK}, "pi_1"),
        ({"object": "refund", "id": "re_1", "payment_intent": None, "metadata": MARK}, None),
    ],
)
def test_the_payment_is_named_where_that_is_what_the_session_names(found, payment):
    (told,) = read(event(found=found))
    assert (told.session_id, told.payment) == ("ps_1", payment)


@pytest.mark.parametrize("kind", ["refund", "dispute"])
def test_the_payment_is_not_named_where_the_session_is_not(kind):
    """As of a refund in the dashboard, and of any dispute: they carry no mark."""
    (told,) = read(event(found={"object": kind, "id": "x_1", "payment_intent": "pi_1", "metadata": {}}))
    assert (told.session_id, told.payment, told.references) == (None, None, ("pi_1", "x_1"))


WARNING = {
    "object": "radar.early_fraud_warning",
    "id": "issfr_1",
    "charge": "ch_1",
    "payment_intent": "pi_1",
    "fraud_type": "made_with_stolen_card",
    "actionable": True,
}


def test_a_warning_of_fraud_is_handed_on_and_not_logged_before_it_is_known_whose_it_is(caplog):
    (found,) = read(event("radar.early_fraud_warning.created", found=WARNING))
    assert ("pi_1", "issfr_1", "ch_1") == tuple(found.references)
    assert {"fraud_warning": "made_with_stolen_card", "fraud_actionable": True} == json.loads(found.data)
    assert not caplog.records


def test_a_warning_of_fraud_whose_notification_was_lost_is_found_by_the_list_of_events():
    found = listed(json.loads(event("radar.early_fraud_warning.created", found=WARNING)))
    assert ("pi_1", {"fraud_warning": "made_with_stolen_card", "fraud_actionable": True}) == (
        found.references[0],
        json.loads(found.data),
    )


def test_a_warning_of_fraud_that_changed_is_not_to_be_logged_again():
    (found,) = read(event("radar.early_fraud_warning.updated", found=WARNING))
    assert {"fraud_warning": "made_with_stolen_card"} == json.loads(found.data)


def test_a_warning_of_fraud_that_stripe_words_otherwise_is_one_all_the_same():
    (found,) = read(
        event("radar.early_fraud_warning.created", found={**WARNING, "fraud_type": 7, "actionable": False})
    )
    assert {"fraud_warning": "unknown", "fraud_actionable": False} == json.loads(found.data)


@pytest.mark.parametrize(
    "body",
    [
        event("customer.created", found={"object": "customer", "id": "cus_1"}),
        event(found={"object": "payment_intent", "id": "pi_9", "metadata": {}}),
        event("charge.refunded", found={"object": "charge", "id": "ch_9", "metadata": {"order": "7"}}),
        event(found={"object": "payment_intent", "id": "pi_9", "metadata": {"paysession_session": ""}}),
        event(found={"object": "payment_intent", "id": "pi_9", "metadata": {"paysession_session": 7}}),
        event(found={"object": "payment_intent", "id": "pi_9", "metadata": [7]}),
        event(livemode=True),
        b'{"object": "v2.core.event", "id": "evt_1", "type": "x"}',
    ],
    ids=[
        "another kind",
        "foreign intent",
        "foreign charge",
        "an empty mark",
        "a mark that is no text",
        "no marks",
        "live",
        "thin event",
    ],
)
def test_what_is_stripes_and_not_ours_is_acknowledged_and_ignored(body):
    assert [] == read(body, livemode=False)


def test_events_of_connected_accounts_are_ours_by_the_session_that_they_carry():
    (found,) = read(event(account="acct_1"))
    assert "ps_1" == found.session_id


@pytest.mark.parametrize("kind", ["completed", "expired", "async_payment_succeeded"])
def test_an_event_about_a_hosted_page_names_the_session(kind):
    page = {
        "object": "checkout.session",
        "id": "cs_test_1",
        "payment_intent": "pi_1",
        "metadata": {"paysession_session": "ps_1"},
    }
    (found,) = read(event(f"checkout.session.{kind}", found=page))
    assert ("ps_1", ("pi_1", "cs_test_1")) == (found.session_id, tuple(found.references))
    assert [] == read(event("checkout.session.completed", found={**page, "metadata": {}}))


def test_both_secrets_are_good_while_one_replaces_the_other():
    body = event()
    for secret in ("whsec_old", "whsec_new"):
        assert read(body, signed(body, secret), secrets=("whsec_new", "whsec_old"))
    both = signed(body, "whsec_elsewhere")["stripe-signature"]
    mine = signed(body)["stripe-signature"].partition(",")[2]
    assert read(body, {"stripe-signature": f"{both},{mine}"})


# --- what is rejected -----------------------------------------------------------------------------

GOOD = event()
ATTACKS = {
    "no header": (GOOD, {}),
    "empty header": (GOOD, {"stripe-signature": ""}),
    "header of nonsense": (GOOD, {"stripe-signature": "hello"}),
    "header that is not ASCII": (GOOD, {"stripe-signature": f"t={NOW},v1=é\udcff"}),
    "no signature": (GOOD, {"stripe-signature": f"t={NOW}"}),
    "no timestamp": (GOOD, {"stripe-signature": signed(GOOD)["stripe-signature"].partition(",")[2]}),
    "timestamp of nonsense": (GOOD, {"stripe-signature": "t=now,v1=00"}),
    "timestamp in other digits": (GOOD, {"stripe-signature": "t=\u0661\u0662,v1=00"}),
    "negative timestamp": (GOOD, signed(GOOD, at=-NOW)),
    "enormous timestamp": (GOOD, {"stripe-signature": f"t={'9' * 5000},v1=00"}),
    "two timestamps": (GOOD, {"stripe-signature": f"t=1,{signed(GOOD)['stripe-signature']}"}),
    "another secret": (GOOD, signed(GOOD, "whsec_other")),
    "the empty secret": (GOOD, signed(GOOD, "")),
    "the old scheme": (GOOD, signed(GOOD, scheme="v0")),
    "another body": (GOOD + b" ", signed(GOOD)),
    "too old": (GOOD, signed(GOOD, at=NOW - TOLERANCE - 1)),
    "from the future": (GOOD, signed(GOOD, at=NOW + TOLERANCE + 1)),
    "far in the future": (GOOD, signed(GOOD, at=NOW + 10**9)),
    "signed, not UTF-8": (b"\xff\xfe", None),
    "signed, no JSON": (b"hello", None),
    "signed, empty": (b"", None),
    "signed list": (b"[]", None),
    "signed null": (b"null", None),
    "signed empty object": (b"{}", None),
    "signed number": (b"7", None),
    "signed nesting": (b"[" * 100_000, None),
    "an envelope of EventBridge": (b'{"detail": {"object": "event", "id": "evt_1"}}', None),
    "no id": (event(event_id=None), None),
    "an id of another kind": (event(event_id="pi_1"), None),
    "no type": (event(kind=None), None),
    "no data": (event(data=None), None),
    "no object": (event(data={}), None),
    "an object that is a list": (event(data={"object": []}), None),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_ends_in_one_rejection(name):
    body, headers = ATTACKS[name]
    with pytest.raises(WebhookRejected):
        read(body, headers)


def test_without_a_secret_nothing_is_trusted():
    for secrets in ((), ("",)):
        with pytest.raises(WebhookRejected, match="no webhook_secret"):
            read(GOOD, signed(GOOD, ""), secrets=secrets)


@pytest.mark.parametrize("at", [NOW - TOLERANCE, NOW + TOLERANCE])
def test_a_notification_at_the_edge_is_taken(at):
    assert read(GOOD, signed(GOOD, at=at))


def test_a_rejection_does_not_show_the_secret(caplog):
    with pytest.raises(WebhookRejected) as rejected:
        read(GOOD, signed(GOOD, "whsec_other"))
    assert SECRET not in str(rejected.value)


def test_a_webhook_opens_no_connection(values):
    provider = Stripe(api_key="sk_test_1", webhook_secret=SECRET)
    body = event()
    assert provider.parse_webhook(signed(body, at=int(time.time())), body)
    assert provider._lazy.here.gateway is None


# --- through the ledger ----------------------------------------------------------------------------


def notify(payments, body, at=None):
    headers = {"Stripe-Signature": signed(body, at=at or int(time.time()))["stripe-signature"]}
    return payments.handle_webhook("stripe", headers=headers, body=body)


@pytest.fixture
def session(payments):
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    return payments.initiate(order.id, provider="stripe")


def about(session, kind, event_id):
    found = {
        "object": "payment_intent",
        "id": session.reference,
        "metadata": {"paysession_session": session.id},
    }
    return event(kind, event_id, found)


def test_a_forged_notification_changes_nothing(payments, session, payer):
    payer.confirm(session)
    body = about(session, "payment_intent.amount_capturable_updated", "evt_1")
    headers = signed(body, "whsec_other", int(time.time()))
    assert 400 == payments.handle_webhook("stripe", headers=headers, body=body).status
    assert session == payments.get(session.id)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_changes_the_ledger(payments, session, payer, monkeypatch, name):
    monkeypatch.setattr("paysession_stripe.provider.time.time", lambda: float(NOW))
    payer.confirm(session)
    before = (payments.get(session.id), payments.history(session.id), payments.events())
    body, headers = ATTACKS[name]
    reply = payments.handle_webhook("stripe", headers=signed(body) if headers is None else headers, body=body)
    assert (400, "rejected") == (reply.status, reply.body)
    assert before == (payments.get(session.id), payments.history(session.id), payments.events())
    assert 200 == notify(payments, about(session, "payment_intent.succeeded", "evt_1"), NOW).status
    assert "authorized" == payments.get(session.id).status


def test_a_notification_replayed_is_nothing_new(payments, session, payer, sandbox):
    payer.confirm(session)
    body = about(session, "payment_intent.amount_capturable_updated", "evt_1")
    assert ["ok", "nothing new"] == [notify(payments, body).body, notify(payments, body).body]
    fetched = [r for r in sandbox.requests if r.method == "GET"]
    assert 1 == len(fetched)


def test_events_in_the_wrong_order_and_twice_lead_to_what_stripe_shows(payments, session, payer):
    payer.confirm(session)
    payer.send(f"payment_intents/{session.reference}/capture")
    kinds = ["succeeded", "amount_capturable_updated", "payment_failed", "created", "canceled"]
    for number, kind in enumerate(kinds):
        body = about(session, f"payment_intent.{kind}", f"evt_{number}")
        assert [200, 200] == [notify(payments, body).status, notify(payments, body).status]
    found = payments.get(session.id)
    assert ("authorized", 4200, 4200) == (found.status, found.authorized, found.captured)
    types = [told.type for told in payments.events()]
    assert (1, 1) == (types.count("session.authorized"), types.count("session.captured"))


def test_a_notification_that_lies_is_only_a_hint(payments, session):
    assert 200 == notify(payments, about(session, "payment_intent.succeeded", "evt_1")).status
    assert "pending" == payments.get(session.id).status


@pytest.mark.parametrize("captured", [False, True])
def test_a_second_payment_of_a_session_is_reported_until_it_is_canceled(payments, session, payer, captured):
    """As a restored ledger finds it, whose session was begun under another key before."""
    if captured:
        payer.confirm(session)
        payments.authorize(session.id)
        payments.capture(session.id, Money("20.00", "EUR"))
    before = payments.get(session.id).status
    made = {
        "amount": 4200,
        "currency": "eur",
        "capture_method": "manual",
        "confirm": "true",
        "payment_method": "pm_card_visa",
        "metadata[paysession_session]": session.id,
        "return_url": "https://shop.example/back",
    }
    other = payer.send("payment_intents", **made)["id"]
    found = {"object": "payment_intent", "id": other, "metadata": {"paysession_session": session.id}}
    assert 200 == notify(payments, event("payment_intent.amount_capturable_updated", "evt_1", found)).status
    (conflict,) = payments.conflicts()
    assert ("second_payment", session.reference, other) == (conflict.kind, conflict.expected, conflict.found)
    payer.send(f"payment_intents/{other}/cancel")
    assert 200 == notify(payments, event("payment_intent.canceled", "evt_2", found)).status
    assert not payments.conflicts()
    assert (before, session.reference) == (payments.get(session.id).status, session.reference)


@pytest.mark.parametrize("ends", ["refunded", "canceled"])
def test_a_second_payment_made_by_a_page_is_reported_until_it_ends(payments, session, payer, sandbox, ends):
    """The refund in the dashboard carries no mark; its charge does, and names the PaymentIntent."""
    marks = {"paysession_session": session.id, "paysession_page": "yes"}
    made = {
        "amount": 4200,
        "currency": "eur",
        "capture_method": "automatic" if ends == "refunded" else "manual",
        "confirm": "true",
        "payment_method": "pm_card_visa",
        "return_url": "https://shop.example/back",
        **{f"metadata[{name}]": value for name, value in marks.items()},
    }
    other = payer.send("payment_intents", **made)
    assert 200 == notify(payments, event("payment_intent.succeeded", "evt_1", other)).status
    assert [other["id"]] == [conflict.found for conflict in payments.conflicts()]
    if ends == "refunded":
        payer.send("refunds", payment_intent=other["id"])
        charge = sandbox.call("GET", f"/v1/charges/{other['latest_charge']}")
        body = event("charge.refunded", "evt_2", charge)
    else:
        body = event("payment_intent.canceled", "evt_2", payer.send(f"payment_intents/{other['id']}/cancel"))
    assert 200 == notify(payments, body).status
    assert not payments.conflicts()
    assert payments.get(session.id).reference == session.reference


def test_a_refund_in_the_dashboard_arrives(payments, session, payer):
    payer.confirm(session)
    payments.authorize(session.id)
    payments.capture(session.id)
    made = payer.send("refunds", payment_intent=session.reference, amount="500")
    assert 200 == notify(payments, event("refund.created", "evt_1", {**made, "object": "refund"})).status
    assert 500 == payments.get(session.id).refunded


def test_an_intent_of_somebody_else_is_acknowledged(payments, session):
    body = event(found={"object": "payment_intent", "id": "pi_theirs", "metadata": {}})
    assert 200 == notify(payments, body).status
    assert session == payments.get(session.id)


def test_stripe_down_while_notified_is_settled_later(payments, session, payer, sandbox, clock):
    payer.confirm(session)
    sandbox.fail("500_before", session.reference, method="GET")
    assert 200 == notify(payments, about(session, "payment_intent.amount_capturable_updated", "evt_1")).status
    assert "pending" == payments.get(session.id).status
    clock.advance(minutes=1)
    payments.recover()
    assert "authorized" == payments.get(session.id).status
