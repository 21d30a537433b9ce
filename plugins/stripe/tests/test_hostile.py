"""Whatever arrives: it is read, or refused in the one way that its reader promises."""

import copy
import hmac
import json
from hashlib import sha256

import pytest

from paysession.provider import Secret, WebhookEvent, WebhookRejected
from paysession_stripe.data import StripeData
from paysession_stripe.intent import Dispute, Intent, Refund, read_dispute, read_intent, read_refund
from paysession_stripe.options import StripeOptions
from paysession_stripe.webhooks import parse

REFUND = {
    "object": "refund",
    "id": "re_1",
    "amount": 500,
    "currency": "eur",
    "status": "succeeded",
    "balance_transaction": "txn_1",
    "failure_reason": None,
    "metadata": {"paysession_operation": "ps_1-4", "paysession_session": "ps_1"},
}
INTENT = {
    "object": "payment_intent",
    "id": "pi_1",
    "amount": 4200,
    "amount_capturable": 1200,
    "amount_received": 3000,
    "currency": "eur",
    "status": "requires_capture",
    "client_secret": "pi_1_secret_x",
    "livemode": False,
    "payment_method": "pm_1",
    "metadata": {"paysession_session": "ps_1", "paysession_capture_3": "ps_1-3 3000"},
    "next_action": {"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example"}},
    "last_payment_error": {"code": "card_declined", "decline_code": "lost_card", "message": "No."},
    "latest_charge": {
        "object": "charge",
        "id": "ch_1",
        "disputed": True,
        "payment_method_details": {"card": {"capture_before": 1_767_873_600}},
        "refunds": {"data": [REFUND], "has_more": False},
    },
}
DISPUTE = {"object": "dispute", "id": "dp_1", "amount": 4200, "currency": "eur", "status": "lost"}
EVENT = {
    "object": "event",
    "id": "evt_1",
    "type": "payment_intent.succeeded",
    "livemode": False,
    "data": {"object": INTENT},
}
ODD = [
    *(None, True, False, 0, -1, 7, 10**30, 1.5, -0.0, 1e300),
    *(
        "",
        " ",
        "x",
        "0",
        "pi_",
        "cus_1/..",
        "é\x00",
        "x" * 10_000,
        "ps_1-3 9999",
        "EUR",
        "succeeded",
        "canceled",
    ),
    *([], [None], [[]], [{}], {}, {"object": []}, {"id": 1}, {"a": {"b": {}}}, [REFUND, REFUND]),
]
"""What stands in no place, or in another one."""


def places(tree, path=()):
    """Tell every place in a tree of JSON."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, part in items:
        yield from places(part, (*path, name))


def changed(tree, path, value):
    """Return a tree with another value at a place; the whole, if the place is the root."""
    if not path:
        return value
    tree = copy.deepcopy(tree)
    place = tree
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return tree


READERS = [
    (INTENT, read_intent, Intent),
    (REFUND, read_refund, Refund),
    (DISPUTE, read_dispute, Dispute),
]


@pytest.mark.parametrize(("good", "read", "kind"), READERS, ids=["intent", "refund", "dispute"])
def test_an_answer_is_read_or_a_value_error(good, read, kind):
    assert isinstance(read(good), kind)
    for path in places(good):
        for value in ODD:
            try:
                found = read(changed(good, path, value))
                if isinstance(found, Intent):  # what it tells can be kept
                    json.dumps(StripeData().seen(found).to_json())
            except ValueError:
                continue
            assert isinstance(found, kind), (path, value)


def test_a_signed_event_is_read_or_rejected():
    for path in places(EVENT):
        for value in ODD:
            body = json.dumps(changed(EVENT, path, value)).encode()
            signature = hmac.new(b"whsec_1", b"1000." + body, sha256).hexdigest()
            headers = {"stripe-signature": f"t=1000,v1={signature}"}
            try:
                found = parse(headers, body, secrets=[Secret("whsec_1")], now=1000.0, livemode=False)
            except WebhookRejected:
                continue
            assert all(type(event) is WebhookEvent for event in found), (path, value)


def test_what_a_host_gives_is_understood_or_a_value_error():
    for name in (*StripeOptions.names(), "payment_intent", "x", ""):
        for value in ODD:
            try:
                asked = StripeData.requested({name: value})
            except ValueError:
                continue
            assert StripeData.from_json(asked.to_json()) == asked, (name, value)
