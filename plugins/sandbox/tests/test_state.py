"""What is kept in a folder is there again after a restart; what is no state of ours is refused."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.request import Request, urlopen

import pytest
from click import ClickException

from paysession_sandbox import kept
from paysession_sandbox.clock import Clock
from paysession_sandbox.command import run
from paysession_sandbox.paypal import PayPalFake
from paysession_sandbox.stripe import StripeSandbox

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
INTENT = {"amount": 4200, "currency": "eur"}
UNIT = {"amount": {"currency_code": "EUR", "value": "42.00"}, "custom_id": "ps_1"}
ORDER = {"intent": "AUTHORIZE", "purchase_units": [UNIT]}
EUR10 = {"amount": {"currency_code": "EUR", "value": "10.00"}}
STAND_INS = {"stripe": StripeSandbox, "paypal": PayPalFake}


def test_what_stripe_holds_is_there_again_after_a_restart(tmp_path):
    with StripeSandbox(folder=tmp_path) as before:
        intent = before.call(
            "POST", "/v1/payment_intents", {**INTENT, "capture_method": "manual"}, idempotency_key="k1"
        )
        confirm = {"payment_method": "pm_card_visa", "return_url": "https://shop.example"}
        before.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", confirm)
        before.advance(hours=3)
        at = before.clock()
        before.changed()
    assert (tmp_path / "stripe.json").stat().st_mode & 0o077 == 0
    with StripeSandbox(folder=tmp_path) as after:
        assert after.clock() >= at
        again = after.call(
            "POST", "/v1/payment_intents", {**INTENT, "capture_method": "manual"}, idempotency_key="k1"
        )
        assert (again["id"], after.summary()["payment_intent"]) == (intent["id"], 1)
        after.advance(days=7)  # the authorization runs out
        assert after.call("GET", f"/v1/payment_intents/{intent['id']}")["status"] == "canceled"


def test_an_event_that_was_not_delivered_is_sent_after_a_restart(tmp_path):
    with StripeSandbox(folder=tmp_path) as before:
        before.deliveries.held = True
        before.send_webhooks_to("http://127.0.0.1:9/nobody", events=["payment_intent.created"])
        before.call("POST", "/v1/payment_intents", INTENT)
        before.changed()
    with StripeSandbox(folder=tmp_path) as after:
        assert after.deliveries.wait_for(1)
        assert [row.kind for row in after.deliveries.done] == ["payment_intent.created"]


# --- PayPal ---------------------------------------------------------------------------------------


def test_all_that_happened_at_paypal_is_there_again(tmp_path, clock):
    with PayPalFake(clock, folder=tmp_path) as before:
        ledger = before.ledger
        order = ledger.create({**ORDER, "purchase_units": [{**UNIT, "$": {"Decimal": "1"}}]})
        before.payer_approves(order.id)
        authorization = ledger.authorize(order.id).authorizations[0]
        clock.forward(days=4)
        ledger.reauthorize(authorization.id, {})
        other = ledger.create(ORDER)
        before.payer_approves(other.id)
        _, captured = ledger.capture(ledger.authorize(other.id).authorizations[0].id, {})
        ledger.refund(captured.id, EUR10)
        ledger.dispute(captured.id)
        saved = ledger.save("venmo")
        before.changed()
        effects, events, now = before.effects, before.events, clock()
    with PayPalFake(Clock(START), folder=tmp_path) as after:
        assert (after.effects, after.events, after.clock()) == (effects, events, now)
        assert after.ledger.orders[order.id].unit["$"] == {"Decimal": "1"}
        assert after.ledger.vault == {saved: "venmo"}
        after.ledger.decide(captured.id, won=True)
        assert after.ledger.orders[other.id].captures[0].disputes[0].outcome == "RESOLVED_SELLER_FAVOUR"
        after.ledger.void(authorization.id)  # and with it the one that continues it
        assert {row.status for row in after.ledger.orders[order.id].authorizations} == {"VOIDED"}
        assert after.ledger.create(ORDER).id not in (order.id, other.id)


def test_a_notification_that_was_not_delivered_is_sent_after_a_restart(tmp_path, clock):
    with PayPalFake(clock, folder=tmp_path) as before:
        before.deliveries.held = True
        before.send_webhooks_to("http://127.0.0.1:9/nobody")
        before.payer_approves(before.ledger.create(ORDER).id)
        (event,) = before.events
        signed = before.signer.headers(event.body)
    with PayPalFake(clock, folder=tmp_path) as after:
        assert after.deliveries.wait_for(1)
        assert [row.kind for row in after.deliveries.done] == ["CHECKOUT.ORDER.APPROVED"]
        assert after.deliveries.urls == ["http://127.0.0.1:9/nobody"]
        again = after.signer.headers(event.body)
        assert again["paypal-transmission-id"] == signed["paypal-transmission-id"]


def test_what_was_delivered_is_not_sent_after_a_restart(tmp_path, clock, hook):
    url, taken = hook
    with PayPalFake(clock, folder=tmp_path) as before:
        before.deliveries.held = True
        before.deliveries.times = 2
        before.send_webhooks_to(url)
        before.payer_approves(before.ledger.create(ORDER).id)
        before.deliveries.deliver(everything=True)
    with PayPalFake(clock, folder=tmp_path) as after:
        assert (len(taken), after.deliveries.waiting(), after.deliveries.done) == (2, [], [])


# --- the command ----------------------------------------------------------------------------------


def ask_stripe(address, key):
    """Create a PaymentIntent; return its id."""
    headers = {"Authorization": "Bearer sk_test_sandbox", "Idempotency-Key": key}
    asked = Request(f"{address}/v1/payment_intents", b"amount=4200&currency=eur", headers)
    with urlopen(asked, timeout=10) as answer:
        return json.loads(answer.read())["id"]


def test_what_both_hold_survives_a_process_that_is_killed(start, make_session, tmp_path):
    options = ("--json", "--stripe-port", "0", "--paypal-port", "0", "--state", str(tmp_path))
    process = start(*options)
    addresses = json.loads(process.stdout.readline())["addresses"]
    intent = ask_stripe(addresses["Stripe"], "k1")
    session = make_session(addresses["PayPal"])
    _, order = session.send("POST", "/v2/checkout/orders", ORDER, **{"PayPal-Request-Id": "k1"})
    urlopen(Request(f"{session.url}/sdk/approve?token={order['id']}", b"")).close()
    _, shown = session.send("POST", f"/v2/checkout/orders/{order['id']}/authorize")
    authorization = shown["purchase_units"][0]["payments"]["authorizations"][0]["id"]
    capture = f"/v2/payments/authorizations/{authorization}/capture"
    _, first = session.send("POST", capture, EUR10, **{"PayPal-Request-Id": "k2"})
    process.kill()
    process.wait(timeout=20)
    assert [file.stat().st_mode & 0o077 for file in tmp_path.iterdir()] == [0, 0]

    addresses = json.loads(start(*options).stdout.readline())["addresses"]
    assert ask_stripe(addresses["Stripe"], "k1") == intent
    assert ask_stripe(addresses["Stripe"], "k2") != intent
    session.url = addresses["PayPal"]
    status, again = session.send("POST", "/v2/checkout/orders", ORDER, **{"PayPal-Request-Id": "k1"})
    assert (status, again["id"], again["status"]) == (200, order["id"], "COMPLETED")  # the token is good, too
    _, again = session.send("POST", capture, EUR10, **{"PayPal-Request-Id": "k2"})
    assert again["id"] == first["id"]
    _, second = session.send("POST", capture, EUR10, **{"PayPal-Request-Id": "k3"})
    assert second["id"] != first["id"]
    status, refused = session.send("POST", capture, {"amount": {"currency_code": "EUR", "value": "22.01"}})
    assert (status, refused["details"][0]["issue"]) == (422, "MAX_CAPTURE_AMOUNT_EXCEEDED")
    _, shown = session.send("GET", f"/v2/checkout/orders/{order['id']}")
    captures = shown["purchase_units"][0]["payments"]["captures"]
    assert [row["id"] for row in captures] == [first["id"], second["id"]]


# --- the files ------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_whole_is_as_it_was_before(tmp_path):
    file = tmp_path / "paypal.json"
    kept.write(file, "before")
    with pytest.raises(UnicodeEncodeError):
        kept.write(file, "after" * 100_000 + "\ud800")
    assert file.read_text() == "before"


@pytest.fixture(params=STAND_INS)
def kept_by(request, tmp_path):
    """Return a stand-in that keeps what it holds, and the file that it has just written."""
    made = STAND_INS[request.param](folder=tmp_path)
    if request.param == "stripe":
        made.call("POST", "/v1/payment_intents", INTENT, idempotency_key="k1")
    else:
        made.payer_approves(made.ledger.create(ORDER).id)
    made.changed()
    made.close()
    return STAND_INS[request.param], tmp_path / f"{request.param}.json"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "7",
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
        lambda text: text.replace('"format": 1', '"format": 99'),
        lambda text: text.replace('"of": "', '"of": "Another '),
        lambda text: text.replace('"now": ', '"then": '),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(kept_by, damage):
    stand_in, file = kept_by
    file.write_text(damage(file.read_text()))
    damaged = file.read_text()
    with pytest.raises(ValueError, match="or move the file away to begin with nothing"):
        stand_in(folder=file.parent)
    assert file.read_text() == damaged


@pytest.mark.parametrize(
    "part", ["orders", "effects", "vault", "events", "done", "tokens", "pending", "numbers"]
)
def test_a_part_of_another_shape_is_refused(tmp_path, clock, part):
    with PayPalFake(clock, folder=tmp_path) as paypal:
        paypal.changed()
    file = tmp_path / "paypal.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), part: [7]}))
    with pytest.raises(ValueError, match="no state of PayPal"):
        PayPalFake(clock, folder=tmp_path)


@pytest.mark.parametrize("only", STAND_INS)
def test_the_command_says_in_one_sentence_which_file_it_cannot_read(tmp_path, only):
    (tmp_path / f"{only}.json").write_text('{"name": "something else"}')
    with ExitStack() as stack, pytest.raises(ClickException) as caught:
        run(stack, stripe_port=0, paypal_port=0, only=only, folder=tmp_path)
    assert f"does not start: {tmp_path / only}.json is no state of" in caught.value.message


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with ExitStack() as stack, pytest.raises(ClickException, match="--state .*file/folder"):
        run(stack, stripe_port=0, paypal_port=0, folder=tmp_path / "file" / "folder")
