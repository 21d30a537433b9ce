"""The tests of the stand-in are worth something: each deliberate deviation from Stripe's documentation turns one red."""

import inspect
import re
import sys
from datetime import timedelta

import pytest
import stripe as sdk
from paysession_sandbox_deviations import around, beside, value

from paysession_sandbox.stripe import (
    account,
    amounts,
    api,
    attempts,
    cards,
    disputes,
    parameters,
    payment_intents,
    payment_methods,
    refunds,
    search,
)

life, payers, rules = beside("test_stripe_life"), beside("test_stripe_payers"), beside("test_stripe_rules")


def card(number, **fields):
    return lambda patch: patch.setitem(cards.CARDS, number, cards.Card(**fields))


def routed(call, change):
    """Replace a call of the API by one that is given the call itself first."""

    def changed(*args):
        return change(call, *args)

    routes = [(method, path, changed if known is call else known) for method, path, known in api._ROUTES]
    return lambda patch: patch.setattr(api, "_ROUTES", routes)


def nothing(*_args, **_more):
    return None


def kept(refusal):
    refusal.executed = True
    return refusal


def forgotten(original, self, request, identifier, begun):
    self.kept.clear()
    return original(self, request, identifier, begun)


def lenient(original, params, shape, inside=""):
    return original({name: part for name, part in params.items() if name in shape}, shape, inside)


def at_once(original, account, intent, method):
    original(account, intent, method)
    attempts.debit_settles(account, intent)


def counted_as_refund(original, account, charge, **more):
    dispute = original(account, charge, **more)
    charge["amount_refunded"] += dispute["amount"]
    return dispute


def only_taken(original, account, dispute, amount, **more):
    if amount < 0:
        original(account, dispute, amount, **more)


def with_a_refund_of_the_rest(original, account, params, identifier):
    rest = account.get("payment_intent", identifier)["amount_capturable"]
    found = original(account, params, identifier)
    charge = account.get("charge", account.get("payment_intent", identifier)["latest_charge"])
    if rest > charge["amount_captured"]:
        refunds._make(account, charge, rest - charge["amount_captured"], {})
    return account.show(account.get("payment_intent", identifier), params.get("expand", ())) or found


def without_lag(original, account, kind, params, url):
    account.settings.search_lag = timedelta(0)
    return original(account, kind, params, url)


def of_one_account(original, self, identifier):
    return original(self, "")


def held_as_succeeded(original, account, kind, thing, previous=None):
    if thing.get("status") == "requires_capture":
        thing["status"] = "succeeded"
    return original(account, kind, thing, previous)


def in_order(original, self, kind):
    return iter([*original(self, kind)][::-1])


EVERYWHERE = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
EVERYWHERE += ("processing", "succeeded", "canceled")
EXECUTED = rules.test_a_declined_card_is_kept_for_its_key_and_a_mistake_is_not
DECLINE = payers.test_a_card_that_is_declined_leaves_the_payment_open
STATE = rules.test_what_a_state_does_not_allow_is_refused_with_the_payment_intent
PARAMETER = rules.test_a_parameter_that_is_not_right_is_refused
DEBIT = payers.test_the_account_number_decides_what_comes_of_a_debit
SESSION = payers.test_off_session_only_what_is_set_up_passes
DISPUTE = life.test_a_dispute_takes_the_money_and_only_a_won_one_brings_it_back

DEVIATIONS = {
    # Idempotency.
    "a replay is forgotten": (
        around(api.Api, "_once", forgotten),
        rules.test_a_key_gives_the_same_answer_again,
        {},
    ),
    "a key takes other parameters": (
        value(api.Api, "_again", staticmethod(lambda known, _request: (known.status, known.found, True))),
        rules.test_a_key_with_other_parameters_is_refused,
        {},
    ),
    "a key in use is taken": (
        value(api.Api, "_again", staticmethod(lambda known, _request: (200, known.found, True))),
        rules.test_a_key_in_use_is_refused_until_the_first_request_is_done,
        {},
    ),
    "a key is kept for ever": (
        value(api, "_KEPT_FOR", timedelta(days=3650)),
        rules.test_a_key_is_forgotten_after_a_day,
        {},
    ),
    "a key is forgotten after an hour": (
        value(api, "_KEPT_FOR", timedelta(hours=1)),
        rules.test_a_key_is_forgotten_after_a_day,
        {},
    ),
    "a key may be of any length": (
        value(api, "_LONGEST_KEY", 1000),
        rules.test_a_key_has_at_most_255_characters,
        {},
    ),
    "a mistake is kept for its key": (
        around(amounts, "invalid", lambda original, *a: kept(original(*a))),
        EXECUTED,
        {},
    ),
    # Keys of the API.
    "live keys are taken": (
        value(api, "_SECRET_KEY", re.compile(r"\w+")),
        rules.test_only_test_keys_are_taken,
        {"key": "sk_live_1"},
    ),
    "a client secret may be guessed": (
        value(api.hmac, "compare_digest", lambda *_: True),
        rules.test_a_publishable_key_may_do_what_a_browser_does,
        {},
    ),
    "a browser sees the metadata": (
        lambda patch: patch.setitem(
            api._OF_A_BROWSER, payment_intents.retrieve, payment_intents.PUBLIC | {"metadata"}
        ),
        rules.test_a_publishable_key_may_do_what_a_browser_does,
        {},
    ),
    "connected accounts are one": (
        around(api.Api, "account", of_one_account),
        rules.test_a_connected_account_has_objects_of_its_own,
        {},
    ),
    # Limits and parameters.
    "unknown parameters are ignored": (
        around(payment_intents, "read", lenient),
        PARAMETER,
        {"params": {"colour": "red"}, "code": "parameter_unknown", "param": "colour"},
    ),
    "any amount will do": (
        value(amounts, "check", nothing),
        PARAMETER,
        {"params": {"amount": 49}, "code": "amount_too_small", "param": "amount"},
    ),
    "metadata has no limit": (
        value(parameters, "_KEYS", 1000),
        PARAMETER,
        {"params": {"metadata": {f"k{n}": "v" for n in range(51)}}, "code": None, "param": "metadata"},
    ),
    "a suffix needs no letter": (
        lambda patch: patch.setitem(
            payment_intents._CREATE, "statement_descriptor_suffix", parameters.text(22)
        ),
        PARAMETER,
        {
            "params": {"statement_descriptor_suffix": "123"},
            "code": None,
            "param": "statement_descriptor_suffix",
        },
    ),
    "a payment is captured without an end": (
        value(payment_intents, "_MOST_CAPTURES", 1000),
        rules.test_a_payment_is_captured_at_most_fifty_times,
        {},
    ),
    "more is captured than is held": (
        value(payment_intents, "_check_capture", nothing),
        rules.test_no_more_is_captured_than_is_held,
        {},
    ),
    "more is refunded than was captured": (
        value(refunds, "left", lambda *_: 10**9),
        rules.test_no_more_is_refunded_than_was_captured,
        {},
    ),
    "what is charged back is refunded": (
        value(refunds, "_refuse_if_disputed", nothing),
        rules.test_what_is_charged_back_cannot_be_refunded_as_well,
        {},
    ),
    "what was used is used again": (
        value(attempts, "keep_for_later", nothing),
        rules.test_what_paid_once_and_was_not_kept_cannot_pay_again,
        {},
    ),
    # States.
    "a wrong status": (
        around(account.Account, "record_event", held_as_succeeded),
        life.test_a_card_is_authorized_captured_in_part_and_refunded,
        {},
    ),
    "what has succeeded is canceled": (
        value(payment_intents, "OPEN", EVERYWHERE),
        STATE,
        {"status": "succeeded", "call": "cancel", "params": {}, "allowed": (*rules.OPEN, "requires_capture")},
    ),
    "what is under way is canceled": (
        value(payment_intents, "OPEN", EVERYWHERE),
        STATE,
        {
            "status": "processing",
            "call": "cancel",
            "params": {},
            "allowed": (*rules.OPEN, "requires_capture"),
        },
    ),
    "what was paid gets another amount": (
        value(payment_intents, "OPEN", EVERYWHERE),
        STATE,
        {"status": "succeeded", "call": "update", "params": {"amount": 4000}, "allowed": rules.OPEN},
    ),
    "the rest that is released is a refund": (
        routed(payment_intents.capture, with_a_refund_of_the_rest),
        life.test_a_card_is_authorized_captured_in_part_and_refunded,
        {},
    ),
    "an authorization never runs out": (
        lambda patch: patch.setitem(api._ACTS, "expire", nothing),
        payers.test_an_authorization_runs_out_after_seven_days,
        {},
    ),
    # Cards and banks.
    "0002 is approved": (
        card("4000000000000002"),
        DECLINE,
        {"method": "4000000000000002", "code": "card_declined", "decline_code": "generic_decline"},
    ),
    "9995 has another decline code": (
        card("4000000000009995", code="card_declined", decline_code="do_not_honor"),
        DECLINE,
        {"method": "4000000000009995", "code": "card_declined", "decline_code": "insufficient_funds"},
    ),
    "the bank never asks": (
        value(attempts, "wants_payer", lambda *_, **__: False),
        payers.test_the_bank_asks_the_payer,
        {"number": "4000002760003184", "success": True},
    ),
    "a set-up card asks again": (
        card("4000002500003155", authentication="always"),
        SESSION,
        {"number": "4000002500003155"},
    ),
    "3184 passes once it is set up": (
        card("4000002760003184", authentication="unless_set_up"),
        SESSION,
        {"number": "4000002760003184"},
    ),
    "a declined card is saved": (
        card("4000000000000002", code="card_declined", attaches=True),
        payers.test_a_declined_card_cannot_be_saved_and_0341_can,
        {},
    ),
    "a mistyped card is taken": (
        value(payment_methods, "sound", lambda _number: True),
        payers.test_a_card_that_is_mistyped_is_refused_when_it_is_typed,
        {"details": {"number": "4242424242424241"}, "code": "incorrect_number"},
    ),
    "a debit settles at once": (
        around(attempts, "_debit", at_once),
        DEBIT,
        {"iban": "DE08370400440532013003", "after": 180, "status": "succeeded"},
    ),
    "a debit that fails succeeds": (
        lambda patch: patch.setitem(cards.BANK_ACCOUNTS, "3001", cards.BANK_ACCOUNTS["3000"]),
        DEBIT,
        {"iban": "DE62370400440532013001", "after": 5, "status": "requires_payment_method"},
    ),
    "a dispute is a refund": (around(disputes, "open_one", counted_as_refund), DISPUTE, {"outcome": "lost"}),
    "a won dispute brings nothing back": (around(disputes, "_move", only_taken), DISPUTE, {"outcome": "won"}),
    "a dispute waits for ever": (
        lambda patch: patch.setitem(api._ACTS, "dispute_over", nothing),
        life.test_a_dispute_that_nobody_answers_is_lost,
        {},
    ),
    # Looking.
    "a search finds at once": (
        around(search, "search", without_lag),
        rules.test_a_search_finds_what_is_old_enough,
        {},
    ),
    "lists begin with the oldest": (
        around(account.Account, "all", in_order),
        life.test_lists_are_paged_the_newest_first,
        {},
    ),
    "a refund has its balance transaction at once": (
        lambda patch: patch.setattr(refunds, "_take", lambda a, r, c: r.update(balance_transaction="txn_1")),
        payers.test_a_refund_may_have_no_balance_transaction_for_a_while,
        {},
    ),
}


FAST = (
    "a replay is forgotten",
    "unknown parameters are ignored",
    "more is captured than is held",
    "a wrong status",
    "the bank never asks",
    "a debit settles at once",
    "a dispute is a refund",
    "a search finds at once",
)
"""One of each kind; the others are of the slow tier."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in DEVIATIONS],
)
def test_a_deviation_turns_a_test_red(name, request, monkeypatch, clock):
    deviate, test, given = DEVIATIONS[name]
    wanted = [parameter for parameter in inspect.signature(test).parameters if parameter not in given]
    # What the deviation shows is not held against the description: the test itself is to notice.
    monkeypatch.setattr(sys.modules["paysession_sandbox_description"], "path", lambda: None)
    deviate(monkeypatch)
    fixtures = {parameter: request.getfixturevalue(parameter) for parameter in wanted}
    with pytest.raises((AssertionError, AttributeError, sdk.StripeError, pytest.fail.Exception)):
        test(**fixtures, **given)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"status": "paid"},
        {"amount": "42.00"},
        {"livemode": None},
    ],
)
def test_an_object_of_another_shape_is_not_stripes(sandbox, change):
    description = sys.modules["paysession_sandbox_description"]
    if description.path() is None:
        pytest.skip("Stripe's description is not here: set PAYSESSION_SPECS")
    intent = sandbox.call("POST", "/v1/payment_intents", {"amount": 4200, "currency": "eur"})
    assert description.object_problems(intent) == []
    assert description.object_problems({**intent, **change}) != []
    del intent["status"]
    assert description.object_problems(intent) != []
