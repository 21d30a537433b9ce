"""`paysession demo` with providers whose gateway it starts itself: what a newcomer sees first."""

import json
import sys

import pytest


@pytest.fixture
def demo(in_process):
    def demo(*arguments, call=in_process, status=0, **environ):
        done = call("demo", *arguments, **environ)
        assert status == done.returncode, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return demo


@pytest.fixture
def stripe():
    """An account at Stripe, as far as a test key can tell: one that may capture a payment once."""
    sandbox = pytest.importorskip("paysession_sandbox.stripe")
    with sandbox.StripeSandbox(multicapture=False) as account:
        yield account


def test_the_demo_of_stripe_needs_no_account(demo, in_a_process):
    pytest.importorskip("paysession_sandbox")
    told = json.loads(demo("--provider", "stripe", "--json", call=in_a_process))
    session = told["session"]
    assert ("authorized", "35.00", "35.00", "5.00") == (
        session["status"],
        session["authorized"],
        session["captured"],
        session["refunded"],
    )
    kinds = [row["kind"] for row in told["operations"]]
    assert ["initiate", "authorize", "capture", "capture", "refund", "cancel"] == kinds
    assert {"succeeded"} == {row["state"] for row in told["operations"]}


def test_the_demo_of_stripe_with_a_test_key_speaks_to_stripe(demo, stripe):
    environ = {"PAYSESSION_STRIPE__API_KEY": "sk_test_mine", "PAYSESSION_STRIPE__API_BASE": stripe.url}
    told = demo("--provider", "stripe", **environ)
    assert "the payer sees stripe.payment_element" in told
    assert "partially_refunded: captured 20.00 EUR, refunded 5.00 EUR" in told


def test_the_demo_of_stripe_takes_no_real_money(demo):
    told = demo("--provider", "stripe", status=1, PAYSESSION_STRIPE__API_KEY="sk_live_mine")
    assert "the demo takes no real money" in told
    assert "sk_live_mine" not in told


def test_the_demo_of_stripe_says_what_to_install(demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "paysession_sandbox.stripe", None)
    assert "pip install 'paysession-stripe[demo]'" in demo("--provider", "stripe", status=1)
