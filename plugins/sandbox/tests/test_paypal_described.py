"""Every call that the stand-in offers is one of PayPal's, and is answered as PayPal's OpenAPI files describe it."""

import json
import sys
from decimal import Decimal

import pytest

from paysession_sandbox.paypal import app, problems
from paysession_sandbox.paypal.app import Answer, Exchange

description = sys.modules["paysession_sandbox_paypal_description"]
pytestmark = pytest.mark.skipif(
    not description.available(), reason="PayPal's OpenAPI files are not here: set PAYSESSION_SPECS"
)

EUR42 = {"currency_code": "EUR", "value": "42.00"}
ORDER = {"intent": "AUTHORIZE", "purchase_units": [{"amount": EUR42, "custom_id": "ps_1"}]}
HOOK = {"url": "https://shop.example/hook", "event_types": [{"name": "PAYMENT.CAPTURE.COMPLETED"}]}
SETUP = {
    "payment_source": {
        "paypal": {
            "description": "Tea, every month",
            "usage_type": "MERCHANT",
            "experience_context": {
                "return_url": "https://shop.example/back",
                "cancel_url": "https://shop.example/no",
            },
        }
    }
}
CALLS = {call: (method, path) for method, path, call in app.CALLS}


class Life:
    """A life of orders, which goes as far as a call needs it."""

    def __init__(self, paypal, session):
        self.paypal, self.ledger, self.session = paypal, paypal.ledger, session

    def order(self, intent="AUTHORIZE"):
        order = self.ledger.create({**ORDER, "intent": intent})
        self.paypal.payer_approves(order.id)
        return order

    def authorization(self):
        return self.ledger.authorize(self.order().id).authorizations[0]

    def capture(self):
        return self.ledger.capture(self.authorization().id, {})[1]

    def refund(self):
        return self.ledger.refund(self.capture().id, {})[2]

    def dispute(self):
        return self.ledger.dispute(self.capture().id)

    def old_authorization(self):
        row = self.authorization()
        self.paypal.clock.forward(days=4)
        self.session.authorize()
        return row

    def setup(self, *, approved=False):
        token = self.session.send("POST", "/v3/vault/setup-tokens", SETUP)[1]["id"]
        if approved:
            self.session.post(f"/agreements/approve/yes?approval_session_id={token}", allow_redirects=False)
        return token

    def webhook(self):
        return self.session.send("POST", "/v1/notifications/webhooks", HOOK)[1]["id"]

    def question(self):
        body = b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1"}}'
        told = self.paypal.signer.headers(body)
        names = ("auth-algo", "cert-url", "transmission-id", "transmission-sig", "transmission-time")
        asked = {name.replace("-", "_"): told[f"paypal-{name}"] for name in names}
        return {"webhook_id": self.paypal.signer.webhook_id, **asked, "webhook_event": json.loads(body)}


WITH = {
    "create": lambda life: ("", ORDER),
    "show": lambda life: (life.order().id, None),
    "patch": lambda life: (
        life.ledger.create(ORDER).id,
        [{"op": "replace", "path": "/purchase_units/@reference_id=='default'/amount", "value": EUR42}],
    ),
    "authorize": lambda life: (life.order().id, None),
    "capture_order": lambda life: (life.order("CAPTURE").id, None),
    "show_authorization": lambda life: (life.authorization().id, None),
    "capture": lambda life: (life.authorization().id, {"amount": EUR42, "invoice_id": "INV-1"}),
    "void": lambda life: (life.authorization().id, None),
    "reauthorize": lambda life: (life.old_authorization().id, {"amount": EUR42}),
    "show_capture": lambda life: (life.capture().id, None),
    "refund": lambda life: (life.capture().id, {"amount": EUR42, "note_to_payer": "Sorry"}),
    "show_refund": lambda life: (life.refund().id, None),
    "show_disputes": lambda life: (life.dispute().id and "", None),
    "show_dispute": lambda life: (life.dispute().id, None),
    "begin_to_save": lambda life: ("", SETUP),
    "show_setup": lambda life: (life.setup(), None),
    "save": lambda life: (
        "",
        {"payment_source": {"token": {"id": life.setup(approved=True), "type": "SETUP_TOKEN"}}},
    ),
    "show_saved": lambda life: (life.ledger.save("venmo"), None),
    "show_all_saved": lambda life: (f"?customer_id={life.ledger.saved[life.ledger.save()].customer}", None),
    "forget": lambda life: (life.ledger.save(), None),
    "show_webhooks": lambda life: (life.webhook() and "", None),
    "webhook": lambda life: ("", HOOK),
    "change_webhook": lambda life: (
        life.webhook(),
        [{"op": "replace", "path": "/event_types", "value": [{"name": "*"}]}],
    ),
    "verify": lambda life: ("", life.question()),
}
"""What each call is made with: an id in its path, and a body."""
UNKNOWN = {"order": "O7", "token": "V7000000", "webhook": "WH7"}


@pytest.fixture
def life(paypal, session):
    return Life(paypal, session)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_paypals_and_is_answered_as_paypal_does(call, life, session, paypal):
    method, path = CALLS[call]
    identifier, body = WITH[call](life)
    whole = path.replace("ID", identifier) if "ID" in path else path + identifier
    status, _ = session.send(method, whole, body)
    assert status in (200, 201, 204)
    asked = paypal.calls(call)[-1]
    assert asked.answer.status == status
    description.spec().check(asked)


@pytest.mark.parametrize("call", [call for call, (_, path) in CALLS.items() if "ID" in path])
def test_a_call_with_an_id_that_does_not_exist_is_refused_as_paypal_does(call, life, session, paypal):
    method, path = CALLS[call]
    _, body = WITH[call](life)
    status, said = session.send(method, path.replace("ID", "X000000000000007"), body)
    if call == "forget":  # what is not there is deleted
        assert status == 204
        return
    assert (status, said["name"]) == (404, "RESOURCE_NOT_FOUND")
    description.spec().check(paypal.calls(call)[-1])


REFUSALS = [
    (call, issue) for call in ("capture", "void", "reauthorize", "refund") for issue in problems._WORDS[call]
]


@pytest.mark.parametrize(("call", "issue"), REFUSALS)
def test_a_refusal_of_a_payment_is_worded_as_paypal_does(call, issue):
    method, path = CALLS[call]
    _, operation, tree, _ = description.spec().find(method, path.replace("ID", "A1"))
    schema = description.resolve(operation["responses"]["422"], tree)["content"]["application/json"]["schema"]
    said = problems.Problem(422, issue).document(call, "f00d")
    description.spec().check_value(f"{call} {issue}", schema, said, tree)


@pytest.mark.parametrize("prefer", ["return=minimal", "return=representation"])
@pytest.mark.parametrize(
    "call", ["create", "authorize", "capture_order", "capture", "void", "reauthorize", "refund"]
)
def test_the_short_and_the_whole_answer_are_paypals(call, prefer, life, session, paypal):
    method, path = CALLS[call]
    identifier, body = WITH[call](life)
    status, _ = session.send(method, path.replace("ID", identifier), body, Prefer=prefer)
    assert status in (200, 201, 204)
    description.spec().check(paypal.calls(call)[-1])


def test_notifications_of_all_kinds_show_what_paypal_shows(life, paypal):
    life.refund()
    ledger = paypal.ledger
    ledger.void(life.authorization().id)
    for won in (True, False):
        disputed = life.capture()
        ledger.dispute(disputed.id)
        ledger.decide(disputed.id, won=won)
    asked = life.capture().id
    ledger.dispute(asked, Decimal("5.00"), stage="INQUIRY")
    ledger.escalate(asked)
    ledger.answer_dispute(asked)
    ledger.decide(asked, won=False, amount=Decimal("2.00"), fee=Decimal("15.00"))
    ledger.reverse(life.capture().id)
    kinds = {event.document["event_type"] for event in paypal.events}
    assert kinds == {
        "CHECKOUT.ORDER.APPROVED",
        "CUSTOMER.DISPUTE.CREATED",
        "CUSTOMER.DISPUTE.RESOLVED",
        "CUSTOMER.DISPUTE.UPDATED",
        "PAYMENT.AUTHORIZATION.CREATED",
        "PAYMENT.AUTHORIZATION.VOIDED",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.PENDING",
        "PAYMENT.CAPTURE.REFUNDED",
        "PAYMENT.CAPTURE.REVERSED",
    }
    for event in paypal.events:
        description.spec().check_event(event.document)


def test_the_disputes_of_a_capture_are_listed_and_shown_with_what_they_took(life, session, paypal):
    captures = [life.capture().id for _ in range(2)]
    for capture in captures:
        paypal.ledger.dispute(capture, Decimal("12.00"))
    paypal.ledger.decide(captures[0], won=False, amount=Decimal("10.00"), fee=Decimal("15.00"))
    path = "/v1/customer/disputes"
    for capture, count in ((captures[0], 1), (captures[1], 1), ("C7", 0)):
        _, listed = session.send("GET", f"{path}?disputed_transaction_id={capture}", None)
        assert len(listed.get("items", ())) == count
    (row,) = session.send("GET", f"{path}?disputed_transaction_id={captures[0]}", None)[1]["items"]
    assert (row["status"], row["dispute_amount"]["value"]) == ("RESOLVED", "12.00")
    _, shown = session.send("GET", f"{path}/{row['dispute_id']}", None)
    assert [part["seller_transaction_id"] for part in shown["disputed_transactions"]] == captures[:1]
    assert shown["dispute_outcome"]["amount_refunded"]["value"] == "10.00"
    moved = [(part["reason"], part["amount"]["value"]) for part in shown["money_movements"]]
    assert moved == [("DISPUTE_SETTLEMENT", "10.00"), ("DISPUTE_FEE", "15.00")]
    assert paypal.effects[-1] == "chargeback 10.00"
    for exchange in (*paypal.calls("show_disputes"), *paypal.calls("show_dispute")):
        description.spec().check(exchange)


# --- the check itself -----------------------------------------------------------------------------

JSON = {"content-type": "application/json", "paypal-request-id": "k"}


def exchange(body, answer=None, *, path="/v2/checkout/orders", headers=JSON):
    sent = json.dumps(body).encode() if body is not None else b""
    return Exchange("create", "POST", path, headers, sent, answer, False)


def changed(**parts):
    return {**ORDER, **parts}


def test_what_is_right_passes():
    description.spec().check(exchange(ORDER, Answer(201, b'{"id": "O1", "status": "CREATED"}')))


@pytest.mark.parametrize(
    "wrong",
    [
        exchange(changed(colour="red")),
        exchange(changed(status="CREATED")),
        exchange(changed(intent="SALE")),
        exchange(changed(purchase_units=[{"amount": {"currency_code": "EUR", "value": 42}}])),
        exchange(changed(purchase_units=[{"amount": {"currency_code": "EUR", "value": "42", "vat": "0"}}])),
        exchange(changed(payment_source={"paypal": {"experience_context": {"back": "https://x"}}})),
        exchange(changed(payment_source={"paypal": {"email_address": "no address"}})),
        exchange(ORDER, headers={**JSON, "paypal-colour": "red"}),
        exchange(ORDER, headers={**JSON, "paypal-request-id": "k" * 109}),
        exchange(None),
        exchange(ORDER, path="/v2/checkout/baskets"),
        exchange(None, path="/v2/checkout/orders/o-1/authorize"),
        exchange(ORDER, path="/v2/checkout/orders?colour=red"),
        exchange(ORDER, Answer(201, b'{"id": "O1", "status": "PAID"}')),
        exchange(ORDER, Answer(201, b'{"id": "O1", "colour": "red"}')),
        exchange(ORDER, Answer(422, b'{"name": "UNPROCESSABLE_ENTITY", "message": "m", "debug_id": "d", "details": [{"issue": "X"}]}')),
    ],
    ids=lambda row: f"{row.path} {row.body[:60]!r} {row.answer and row.answer.body!r}",
)  # fmt: skip
def test_what_paypals_files_do_not_know_is_found(wrong):
    """The check that all other tests rely on can fail."""
    with pytest.raises(AssertionError):
        description.spec().check(wrong)


@pytest.mark.parametrize("change", [{"colour": "red"}, {"status": "PAID"}, {"amount": "42.00"}])
def test_a_notification_of_another_shape_is_found(life, paypal, change):
    life.capture()
    event = paypal.events[-1].document
    description.spec().check_event(event)
    with pytest.raises(AssertionError):
        description.spec().check_event({**event, "resource": {**event["resource"], **change}})
