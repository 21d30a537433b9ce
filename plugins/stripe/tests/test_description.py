"""The check that every other test's requests go through: does it see what is wrong."""

import pytest

GOOD = {"amount": "4200", "currency": "eur", "metadata": {"a": "b"}, "expand": ["latest_charge"]}


def test_a_good_request_has_no_problems(description):
    assert [] == description.request_problems("POST", "/v1/payment_intents", GOOD)
    assert [] == description.request_problems(
        "GET", "/v1/payment_intents/pi_1", {"expand": ["latest_charge.refunds"]}
    )


@pytest.mark.parametrize(
    ("method", "path", "params", "told"),
    [
        ("POST", "/v1/payment_intents", {"currency": "eur"}, "amount is missing"),
        ("POST", "/v1/payment_intents", {**GOOD, "amount": "42.00"}, "no integer"),
        ("POST", "/v1/payment_intents", {**GOOD, "payment_method_types": ["card"]}, "is unknown"),
        ("POST", "/v1/payment_intents", {**GOOD, "capture_method": "later"}, "is none of"),
        ("POST", "/v1/payment_intents", {**GOOD, "confirm": "yes"}, "no boolean"),
        ("POST", "/v1/payment_intents", {**GOOD, "metadata": "x"}, "no object"),
        ("POST", "/v1/payment_intents", {**GOOD, "expand": "x"}, "no list"),
        ("POST", "/v1/payment_intents", {**GOOD, "automatic_payment_methods": {}}, "enabled is missing"),
        ("POST", "/v1/payment_intents/pi_1/capture", {"amount": "1"}, "is unknown"),
        ("POST", "/v1/refunds", {"reason": "a whim"}, "is none of"),
        ("GET", "/v1/payment_intents/search", {}, "query is missing"),
        ("GET", "/v1/payment_intents/pi_1", {"limit": "1"}, "is unknown"),
        ("POST", "/v1/nothing", {}, "there is no"),
        ("POST", "/v1/charges/ch_1/dispute/x", {}, "there is no"),
    ],
)
def test_a_bad_request_is_told(description, method, path, params, told):
    assert any(told in problem for problem in description.request_problems(method, path, params))
