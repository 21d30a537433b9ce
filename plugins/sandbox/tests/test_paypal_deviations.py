"""The tests of the stand-in are worth something: each deliberate deviation from PayPal's documentation turns one red."""

import inspect
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
from paypalserversdk.exceptions.error_exception import ErrorException
from paysession_sandbox_deviations import around, beside, value

from paysession_sandbox.paypal import app, documents, ledger, objects, signing, vault
from paysession_sandbox.paypal.deliveries import PayPalDeliveries
from paysession_sandbox.paypal.problems import Problem

life, payers, rules = beside("test_paypal_life"), beside("test_paypal_payers"), beside("test_paypal_rules")
EVER = timedelta(days=3650)


def kept(what, duration):
    return lambda patch: patch.setitem(app._KEPT, what, duration)


def nothing(*_args, **_more):
    return None


class Everything:
    def __contains__(self, _thing):
        return True


def forgotten(original, self, *args):
    self.done.clear()
    return original(self, *args)


def with_a_request_id(original, self, call, identifier, headers, tree):
    return original(self, call, identifier, {"paypal-request-id": str(self.number), **headers}, tree)


def with_good_credentials(original, self, headers, body):
    return original(self, {**headers, "authorization": self._basic}, body)


def with_a_good_token(original, self, call, identifier, headers, body):
    self.tokens[headers["authorization"].removeprefix("Bearer ")] = self.clock() + EVER
    return original(self, call, identifier, headers, body)


def as_if_for_the_first_time(original, self, order_id, body=None):
    order = self.order(order_id)
    before, order.authorizations = order.authorizations, []
    found = original(self, order_id, body)
    order.authorizations += before
    return found


def in_euros(original, amount, **more):
    return "EUR", original(amount, **more)[1]


def or_one_cent(original, amount, **more):
    try:
        return original(amount, **more)
    except Problem:
        return "EUR", Decimal("0.01")


def not_final(original, self, order, amount, invoice, *, final):
    return original(self, order, amount, invoice, final=False)


def without_invoice(original, self, identifier, body):
    return original(self, identifier, {name: part for name, part in body.items() if name != "invoice_id"})


def as_pending(original, *args, **more):
    return {**original(*args, **more), "status": "PENDING"}


def continuing_nothing(original, self, identifier, body):
    order, again = original(self, identifier, body)
    again.parent = None
    return order, again


def approved_still(original, self, order_id, body=None):
    try:
        return original(self, order_id, body)
    except Problem:
        self.approve(order_id)
        raise


def with_whatever_is_named(self, order, body):
    if body.get("payment_source"):
        order.status, order.approved_at = "APPROVED", self.now()


def before_the_approval(original, of, body):
    vault.approve(of, body["payment_source"]["token"]["id"])
    return original(of, body)


def again_and_again(original, of, body):
    row = vault.setup_of(of, body["payment_source"]["token"]["id"])
    row.status = "APPROVED" if row.status == "VAULTED" else row.status
    return original(of, body)


def everything(self, event):
    for webhook_id, row in self._webhooks.items():
        self.send_to(event, row["url"], webhook_id)


def lost_though_won(original, self, capture_id, *, won, **more):
    return original(self, capture_id, won=False, **more)


def not_held(self, order, capture):
    """Let the merchant keep what is disputed."""


ID = rules.test_a_request_id_is_kept_for_6_hours_with_orders_and_45_days_with_payments
ORDER = rules.test_an_order_is_authorized_once_and_only_after_the_approval
AMOUNT = rules.test_amounts_have_paypals_rules
CAPTURE = rules.test_captures_never_exceed_the_authorization_and_end_with_it
REFUND = rules.test_refunds_never_exceed_their_capture_nor_180_days
AGAIN = rules.test_an_authorization_is_continued_once_after_three_days_for_at_most_15_percent_more
LINES = rules.test_lines_add_up_to_the_amount
BANK = rules.test_a_bank_captures_by_itself_once_the_payer_has_approved
DISPUTE = rules.test_a_disputed_capture_is_pending_until_the_dispute_is_decided
SETUP = rules.test_a_setup_token_becomes_a_payment_token_once_and_only_after_the_approval
WEBHOOK = rules.test_a_registered_webhook_is_sent_what_it_asked_for_and_a_shop_can_verify_it
WHOLE = life.test_paypals_own_client_lives_a_whole_life

DEVIATIONS = {
    # Request ids.
    "a replay is forgotten": (around(app.App, "_write", forgotten), ID, {}),
    "an order's request id is kept too long": (kept("orders", EVER), ID, {}),
    "a payment's request id is kept too short": (kept("payments", timedelta(hours=1)), ID, {}),
    "the vault's request id is kept too long": (
        kept("vault", EVER),
        rules.test_a_request_id_of_the_vault_is_kept_for_3_hours,
        {},
    ),
    "no request id is needed": (
        around(app.App, "_write", with_a_request_id),
        rules.test_with_a_payment_source_a_request_id_is_needed,
        {},
    ),
    # Credentials and bodies.
    "any secret gets a token": (
        around(app.App, "_token", with_good_credentials),
        rules.test_wrong_credentials_get_no_token,
        {},
    ),
    "any token is good": (
        around(app.App, "_carry_out", with_a_good_token),
        rules.test_a_token_that_is_none_is_refused,
        {},
    ),
    "any type of content is taken": (
        value(app, "_TAKES_JSON", ()),
        rules.test_without_its_content_type_a_write_is_refused_with_415,
        {},
    ),
    "everybody is shown everything": (
        value(app, "_minimal", lambda document: document),
        life.test_only_who_asks_for_the_whole_is_shown_it,
        {},
    ),
    # Orders.
    "an order is authorized before its approval": (
        value(ledger.Ledger, "_check_approved", nothing),
        ORDER,
        {},
    ),
    "an approval holds for ever": (value(ledger, "WAITING", EVER), ORDER, {}),
    "an order is authorized twice": (
        around(ledger.Ledger, "authorize", as_if_for_the_first_time),
        ORDER,
        {},
    ),
    "after a decline the approval stands": (
        around(ledger.Ledger, "capture_order", approved_still),
        rules.test_after_a_decline_the_payer_approves_again,
        {},
    ),
    "nothing is too small": (
        around(ledger, "_amount", or_one_cent),
        AMOUNT,
        {"amount": "0.00", "currency": "EUR", "said": "CANNOT_BE_ZERO_OR_NEGATIVE"},
    ),
    "an amount has three decimals": (
        value(ledger, "_PRECISION", 3),
        AMOUNT,
        {"amount": "1.001", "currency": "EUR", "said": "DECIMAL_PRECISION"},
    ),
    "forints have decimals": (
        value(ledger, "_WHOLE", frozenset()),
        AMOUNT,
        {"amount": "100.50", "currency": "HUF", "said": "DECIMAL_PRECISION"},
    ),
    "every currency is taken": (
        value(ledger, "_CURRENCIES", Everything()),
        AMOUNT,
        {"amount": "1.00", "currency": "KWD", "said": "INVALID_CURRENCY_CODE"},
    ),
    "lines need not add up": (
        value(ledger, "_check_lines", nothing),
        LINES,
        {"total": "42.00", "price": "20.00", "said": "ITEM_TOTAL_MISMATCH"},
    ),
    "a bank takes any intent": (value(ledger, "BANKS", ()), BANK, {}),
    "a bank pays later": (value(ledger.Ledger, "bank_pays", nothing), BANK, {}),
    # Payments.
    "a wrong status": (around(documents, "capture", as_pending), WHOLE, {}),
    "a void leaves the authorization": (value(ledger.Ledger, "_void", nothing), WHOLE, {}),
    "more is captured than is authorized": (
        value(objects.Authorization, "captured", property(lambda _: Decimal(0))),
        CAPTURE,
        {},
    ),
    "a capture is in another currency": (around(ledger, "_amount", in_euros), CAPTURE, {}),
    "a final capture is not the last one": (around(ledger.Ledger, "_capture", not_final), CAPTURE, {}),
    "an authorization never expires": (value(ledger, "VALID", EVER), CAPTURE, {}),
    "an authorization is captured without an end": (
        value(ledger, "MOST_CAPTURES", 1000),
        rules.test_an_authorization_is_captured_at_most_ten_times,
        {},
    ),
    "an invoice number is used twice": (
        around(ledger.Ledger, "capture", without_invoice),
        rules.test_an_invoice_number_is_used_once,
        {},
    ),
    "an authorization is continued at once": (value(ledger, "HONORED", timedelta(0)), AGAIN, {}),
    "an authorization is continued for more": (value(ledger, "OVER", Decimal(2)), AGAIN, {}),
    "an authorization is continued twice": (
        around(ledger.Ledger, "reauthorize", continuing_nothing),
        AGAIN,
        {},
    ),
    "more is refunded than was captured": (
        value(objects.Capture, "refunded", property(lambda _: Decimal(0))),
        REFUND,
        {},
    ),
    "a refund has no time limit": (value(ledger, "REFUNDABLE", EVER), REFUND, {}),
    "what is disputed is kept": (value(ledger.Ledger, "_hold", not_held), DISPUTE, {"won": True}),
    "a won dispute is lost": (around(ledger.Ledger, "decide", lost_though_won), DISPUTE, {"won": True}),
    # What is saved.
    "an account is saved without the payer": (around(vault, "turn", before_the_approval), SETUP, {}),
    "an account is saved twice": (around(vault, "turn", again_and_again), SETUP, {}),
    "a setup token waits for ever": (value(vault, "LIVES", EVER), SETUP, {}),
    "what was never saved pays": (
        value(ledger.Ledger, "_pay_with", with_whatever_is_named),
        rules.test_an_order_is_not_paid_with_what_was_never_saved_or_is_something_else,
        {},
    ),
    "a card is saved": (
        value(vault, "WALLETS", Everything()),
        rules.test_a_card_is_not_saved_and_that_is_said,
        {},
    ),
    # Notifications and pages.
    "every notification is genuine": (value(signing.Signer, "verifies", lambda *_: True), WEBHOOK, {}),
    "a webhook is sent everything": (value(PayPalDeliveries, "add", everything), WEBHOOK, {}),
    "who gives up has approved": (
        around(
            app.App, "back", lambda original, self, order, *, approved: original(self, order, approved=True)
        ),
        payers.test_the_payer_approves_or_gives_up_in_a_browser,
        {},
    ),
}
FAST = (
    "a replay is forgotten",
    "any token is good",
    "an order is authorized twice",
    "forints have decimals",
    "a wrong status",
    "more is captured than is authorized",
    "a won dispute is lost",
    "an account is saved twice",
    "every notification is genuine",
)
"""One of each kind; the others are of the slow tier."""
RED = (AssertionError, AttributeError, KeyError, ErrorException, Problem, pytest.fail.Exception)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in DEVIATIONS],
)
def test_a_deviation_turns_a_test_red(name, request, monkeypatch):
    deviate, test, given = DEVIATIONS[name]
    wanted = [parameter for parameter in inspect.signature(test).parameters if parameter not in given]
    # What the deviation shows is not held against the description: the test itself is to notice.
    monkeypatch.setattr(sys.modules["paysession_sandbox_paypal_description"], "available", lambda: False)
    deviate(monkeypatch)
    fixtures = {parameter: request.getfixturevalue(parameter) for parameter in wanted}
    with pytest.raises(RED):
        test(**fixtures, **given)
