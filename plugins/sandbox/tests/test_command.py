"""``paysession sandbox``, the pages, what is kept in a folder, and the fixtures for a shop's tests."""

import html
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import requests

from paysession_sandbox.paypal import FAULTS, PayPalFake, vault
from paysession_sandbox.paypal.problems import Problem

INTENT = {"amount": 4200, "currency": "eur"}


def test_one_command_starts_both_and_prints_the_settings(start):
    process = start(
        "--json", "--stripe-port", "0", "--paypal-port", "0", "--webhooks", "http://127.0.0.1:9/hook"
    )
    shown = json.loads(process.stdout.readline())
    settings = shown["settings"]
    assert settings["PAYSESSION_STRIPE__API_KEY"].startswith("sk_test_")
    assert settings["PAYSESSION_STRIPE__WEBHOOK_SECRET"].startswith("whsec_")
    assert settings["PAYSESSION_STRIPE__API_BASE"] == shown["addresses"]["Stripe"]
    assert settings["PAYSESSION_PAYPAL__ENDPOINT"] == shown["addresses"]["PayPal"]
    for address in shown["addresses"].values():
        with urlopen(f"{address}/", timeout=10) as page:
            assert b"on your machine" in page.read()


def test_settings_are_printed_to_be_pasted_and_one_may_start_alone(start):
    process = start("--only", "stripe", "--stripe-port", "0")
    assert process.stdout.readline().startswith("# Stripe: http://127.0.0.1:")
    assert process.stdout.readline() == "export PAYSESSION_STRIPE__API_KEY=sk_test_sandbox\n"


def test_the_command_is_listed_without_importing_what_it_starts():
    code = "import sys, paysession_sandbox.command; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "paysession_sandbox.command" in found.stdout
    assert "paysession_sandbox.stripe" not in found.stdout
    assert "paysession_sandbox.paypal" not in found.stdout


def test_a_port_that_is_taken_is_said_in_one_sentence(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start("--only", "stripe", "--stripe-port", str(taken.getsockname()[1]))
        _, said = process.communicate(timeout=20)
    assert (process.returncode, "does not start on port" in said, "Traceback" in said) == (1, True, False)


# --- the page at / --------------------------------------------------------------------------------


def press(url, *, origin=None, as_page=True, **form):
    headers = {"Accept": "text/html" if as_page else "application/json"}
    if origin is not None:
        headers["Origin"] = origin
    request = Request(f"{url}/_sandbox/act", urlencode(form).encode(), headers)
    with urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def paid(stripe, method="pm_card_visa", **params):
    intent = stripe.call("POST", "/v1/payment_intents", {**INTENT, **params})
    confirm = {"payment_method": method, "return_url": "https://shop.example"}
    return stripe.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", confirm)["id"]


def test_the_buttons_of_stripes_page_act(sandbox):
    intent = paid(sandbox)
    page = press(sandbox.url, act="dispute", id=intent)
    assert intent in page
    (dispute,) = json.loads(urlopen(f"{sandbox.url}/_sandbox/state", timeout=10).read())["dispute"]
    assert dispute["status"] == "needs_response"
    press(sandbox.url, act="decide", id=dispute["id"], status="won")
    press(sandbox.url, act="refund", id=intent)
    waits = paid(sandbox, "pm_card_authenticationRequired")
    press(sandbox.url, act="authenticate", id=waits, success="false")
    held = paid(sandbox, capture_method="manual")
    press(sandbox.url, act="capture", id=held)
    expires = paid(sandbox, capture_method="manual")
    press(sandbox.url, act="advance", seconds=str(8 * 86_400))
    state = json.loads(urlopen(f"{sandbox.url}/_sandbox/state", timeout=10).read())
    statuses = {row["id"]: row["status"] for row in [*state["payment_intent"], *state["dispute"]]}
    assert statuses == {
        dispute["id"]: "won",
        intent: "succeeded",
        waits: "requires_payment_method",
        held: "succeeded",
        expires: "canceled",
    }
    assert [row["amount"] for row in state["refund"]] == [4200]


def test_the_page_injects_a_fault_and_takes_it_back(sandbox):
    assert "500_before" in press(sandbox.url, act="fault", fault="500_before", path="/capture")
    assert sandbox.faults() == ["POST .../capture: 500_before"]
    press(sandbox.url, act="clear_faults")
    assert sandbox.faults() == []


def test_the_page_says_what_is_not_possible(sandbox):
    assert "there is no debit under way" in press(sandbox.url, act="settle_debit", id=paid(sandbox))
    with pytest.raises(HTTPError) as refused:
        press(sandbox.url, as_page=False, act="whatever")
    with refused.value as error:
        assert (error.code, b"There is no act" in error.read()) == (400, True)


def test_no_other_page_may_press_the_buttons(sandbox):
    with pytest.raises(HTTPError) as refused:
        press(sandbox.url, origin="https://evil.example", act="advance", seconds="1")
    with refused.value as error:
        assert error.code == 403


def test_what_a_shop_wrote_is_text_on_the_page(sandbox):
    paid(sandbox, metadata={"order": "<script>alert(1)</script>"})
    page = urlopen(f"{sandbox.url}/", timeout=10).read().decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_buttons_of_paypals_page_act():
    with PayPalFake() as paypal:
        unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
        order = paypal.ledger.create({"intent": "AUTHORIZE", "purchase_units": [unit]})
        assert order.id in press(paypal.url, act="approve", id=order.id)
        paypal.ledger.authorize(order.id)
        press(paypal.url, act="capture", id=order.authorizations[0].id)
        press(paypal.url, act="refund", id=order.captures[0].id)
        assert paypal.effects == ["authorize 42.00", "capture 42.00", "refund 42.00"]
        assert "not possible" in press(paypal.url, act="void", id=order.authorizations[0].id)


def test_a_payment_is_disputed_on_paypals_page_and_the_dispute_decided():
    with PayPalFake() as paypal:
        unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
        order = paypal.ledger.create({"intent": "CAPTURE", "purchase_units": [unit]})
        paypal.payer_approves(order.id)
        (capture,) = paypal.ledger.capture_order(order.id).captures
        assert "Win the dispute" in press(paypal.url, act="inquire", id=capture.id)
        assert (capture.status, capture.disputes[0].stage) == ("COMPLETED", "INQUIRY")
        assert "Win the dispute" not in press(paypal.url, act="win", id=capture.id)
        press(paypal.url, act="dispute", id=capture.id)
        assert (capture.status, capture.reason) == ("PENDING", "BUYER_COMPLAINT")
        press(paypal.url, act="lose", id=capture.id)
        assert [dispute.outcome for dispute in capture.disputes] == [
            "RESOLVED_SELLER_FAVOUR",
            "RESOLVED_BUYER_FAVOUR",
        ]
        assert paypal.effects == ["capture 42.00", "chargeback 42.00"]


def state(url):
    with urlopen(f"{url}/_sandbox/state", timeout=10) as answer:
        return json.loads(answer.read())


def test_the_buttons_of_paypals_page_act_as_bank_and_vault(paypal):
    ledger, unit = paypal.ledger, {"amount": {"currency_code": "EUR", "value": "42.00"}}

    def order(intent="CAPTURE", **more):
        return ledger.create({"intent": intent, "purchase_units": [unit], **more})

    pending = order()
    press(paypal.url, act="approve", id=pending.id)
    ledger.next_status["capture"] = ["PENDING"]
    ledger.capture_order(pending.id)
    settled = {"act": "settle", "id": pending.captures[0].id, "status": "COMPLETED"}
    assert "not possible" not in press(paypal.url, **settled)
    assert "is not pending" in press(paypal.url, **settled)  # it is pressed twice
    ledger.next_status["bank"] = ["LATER"]
    source = {"ideal": {"name": "Jenny Rosen", "country_code": "NL"}}
    completes = {"processing_instruction": "ORDER_COMPLETE_ON_PAYMENT_APPROVAL"}
    of_a_bank = order(payment_source=source, **completes)
    assert "Let the bank pay" in press(paypal.url, act="approve", id=of_a_bank.id)
    press(paypal.url, act="bank_pays", id=of_a_bank.id)
    assert "no bank is to pay" in press(paypal.url, act="bank_pays", id=of_a_bank.id)
    declined = order()
    press(paypal.url, act="approve", id=declined.id)
    press(paypal.url, act="decline")
    with pytest.raises(Problem, match="INSTRUMENT_DECLINED"):
        ledger.capture_order(declined.id)
    setup = vault.begin(ledger, {"payment_source": {"paypal": {}}})
    press(paypal.url, act="approve", id=setup.id)
    token = vault.turn(ledger, {"payment_source": {"token": {"id": setup.id, "type": "SETUP_TOKEN"}}})
    shown = state(paypal.url)
    assert shown["effects"] == ["capture 42.00", "capture 42.00"]
    assert [row["status"] for row in shown["orders"]] == ["COMPLETED", "COMPLETED", "CREATED"]
    assert ([row["id"] for row in shown["payment_tokens"]], shown["setup_tokens"][0]["status"]) == (
        [token],
        "VAULTED",
    )
    press(paypal.url, act="forget", id=token)
    assert state(paypal.url)["payment_tokens"] == []


def test_paypals_page_injects_a_fault_and_takes_it_back(paypal):
    assert "capture: 500_after" in press(paypal.url, act="fault", call="capture", fault="500_after", times=2)
    assert paypal.faults() == ["capture: 500_after"] * 2
    press(paypal.url, act="fix")
    assert paypal.faults() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_paypals_goes_wrong_before_or_after_the_call_is_carried_out(
    paypal, make_session, fault
):
    session = make_session(paypal.url)
    paypal.fail("create", fault)
    unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
    body = {"intent": "CAPTURE", "purchase_units": [unit]}
    with suppress(requests.RequestException, ValueError):
        status, said = session.send("POST", "/v2/checkout/orders", body, timeout=0.3)
        assert (status, said) != (201, {"id": "O0000000000000001"})
    assert paypal.wait_for("create", 1)
    assert len(paypal.ledger.orders) == FAULTS[fault].committed
    status, _ = session.send("POST", "/v2/checkout/orders", body)
    assert status == 201


def test_paypals_page_says_what_is_not_possible(paypal):
    for form, said in (
        ({"act": "whatever"}, "there is no act"),
        ({"act": "fault", "call": "fly", "fault": "429"}, "there is no call"),
        ({"act": "fault", "call": "void", "fault": "rain"}, "there is no fault"),
        ({"act": "advance"}, "seconds is missing"),
        ({"act": "void", "id": "A7"}, "404 INVALID_RESOURCE_ID"),
    ):
        assert said in html.unescape(press(paypal.url, **form))
        with pytest.raises(HTTPError) as refused:
            press(paypal.url, as_page=False, **form)
        with refused.value as error:
            assert (error.code, said in json.loads(error.read())["error"]["message"]) == (400, True)
    with pytest.raises(HTTPError) as refused:
        press(paypal.url, origin="https://evil.example", act="advance", seconds="1")
    with refused.value as error:
        assert error.code == 403


def test_what_a_shop_wrote_is_text_on_paypals_page(paypal):
    unit = {"amount": {"currency_code": "EUR", "value": "42.00"}, "custom_id": "<script>alert(1)</script>"}
    paypal.ledger.create({"intent": "CAPTURE", "purchase_units": [unit]})
    page = urlopen(f"{paypal.url}/", timeout=10).read().decode()
    assert ("<script>" in page, "&lt;script&gt;" in page) == (False, True)


def test_a_shop_of_another_origin_may_load_the_script_and_speak_to_the_api(sandbox):
    with urlopen(f"{sandbox.url}/v3/", timeout=10) as script:
        assert script.headers["Content-Type"].startswith("text/javascript")
        assert b"window.Stripe" in script.read()
    asked = Request(
        f"{sandbox.url}/v1/payment_methods", method="OPTIONS", headers={"Origin": "https://shop.example"}
    )
    with urlopen(asked, timeout=10) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


# --- the fixtures ---------------------------------------------------------------------------------

SHOPS_TEST = """
def test_a_shop(stripe_sandbox, paypal_sandbox):
    intent = stripe_sandbox.call("POST", "/v1/payment_intents", {"amount": 4200, "currency": "eur"})
    assert intent["status"] == "requires_payment_method"
    stripe_sandbox.advance(days=1)
    assert paypal_sandbox.url.startswith("http://127.0.0.1:")
"""


def test_a_shops_own_tests_get_the_fixtures(tmp_path):
    (tmp_path / "test_shop.py").write_text(SHOPS_TEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_run_of_pytest_imports_no_stand_in_until_a_test_asks_for_one():
    code = (
        "import sys, paysession_sandbox.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith(('paysession_sandbox.', 'cryptography'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "['paysession_sandbox.pytest_plugin']\n"
