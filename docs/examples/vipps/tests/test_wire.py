"""Each hook on the wire: the request that Vipps' documentation shows, and the answers that it shows."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from paysession_vipps import Vipps
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError

from paysession.provider import (
    Checkout,
    Declined,
    Money,
    NotApplied,
    Operation,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Snapshot,
    Status,
)

SESSION_ID = "ps_01a2100088003ecf7e092d8b959a"
REFERENCE = "ps-01a2100088003ecf7e092d8b959a"
PAYMENTS = "/epayment/v1/payments"
PAYMENT = f"{PAYMENTS}/{REFERENCE}"
PAGE = "https://landing.vipps.no?token=abc123"
NOW = datetime(2026, 1, 19, 16, 26, 40, tzinfo=UTC)
CREATION_KEY = "19986263-dedf-4b8e-a424-8d042eee4013"  # of the documentation's example log


def nok(value: int) -> dict[str, Any]:
    return {"currency": "NOK", "value": value}


def aggregate(authorized: int, cancelled: int = 0, captured: int = 0, refunded: int = 0) -> dict[str, Any]:
    return {
        "authorizedAmount": nok(authorized),
        "cancelledAmount": nok(cancelled),
        "capturedAmount": nok(captured),
        "refundedAmount": nok(refunded),
    }


def modified(total: dict[str, Any], state: str = "AUTHORIZED") -> dict[str, Any]:
    """An answer to a capture, a refund or a cancellation."""
    return {
        "amount": nok(49900),
        "state": state,
        "aggregate": total,
        "pspReference": "37c34d8c-2649-448e-864b-060d5d93e4c4",
        "reference": REFERENCE,
    }


def shown(state: str, total: dict[str, Any]) -> dict[str, Any]:
    """An answer to a lookup."""
    return {
        **modified(total, state),
        "paymentMethod": {"type": "WALLET"},
        "profile": {},
        "redirectUrl": PAGE,
        "metadata": {"session": SESSION_ID},
    }


def entry(name: str, value: int, psp: str, key: str | None = CREATION_KEY) -> dict[str, Any]:
    """An entry of the event log."""
    row = {
        "reference": REFERENCE,
        "pspReference": psp,
        "name": name,
        "amount": nok(value),
        "timestamp": "2023-03-27T10:51:44.533Z",
        "success": True,
    }
    return row if key is None else {**row, "idempotencyKey": key}


CREATED = entry("CREATED", 49900, "83b3fdb0-9547-4ec5-bdb7-5600ce70e792")
APPROVED = entry("AUTHORIZED", 49900, "1304787731")


def problem(code: str, title: str, status: int = 400) -> dict[str, Any]:
    """A domain error, as the page on errors shows it."""
    return {
        "type": f"https://httpstatuses.io/{status}",
        "title": title,
        "detail": "",
        "instance": "/v1/payments/577531734343670112/capture",
        "status": status,
        "extraDetails": [{"name": "ErrorCode", "reason": code}],
        "traceId": "00-813b63975adcaaeef2b0ec7c103c40e3-706492e906541d31-01",
    }


INVALID = {
    "type": "https://httpstatuses.io/400",
    "title": "Bad Request",
    "status": 400,
    "detail": "See extraDetails for further details",
    "instance": "/v1/payments",
    "traceId": "00-6614b5c7ea5c404b17e45c3a398c4754-5ca6de688e27022d-01",
    "extraDetails": [{"name": "reference", "reason": "must match '^[a-zA-Z0-9-]{8,64}$'."}],
}


def session(**changes: Any) -> PaymentSession:
    values: dict[str, Any] = {
        "id": SESSION_ID,
        "collection_id": "pc_1",
        "collection_reference": "1001",
        "provider": "vipps",
        "amount": Money("499.00", "NOK"),
        "created_at": NOW,
        "updated_at": NOW,
        "reference": REFERENCE,
        "next_action": Redirect(PAGE),
        "checkout": Checkout(return_url="https://example.com/redirect", description="One pair of socks"),
    }
    return PaymentSession(**values | changes)


def operation(kind: str, ordinal: int, amount: str = "499.00", **changes: Any) -> Operation:
    values: dict[str, Any] = {
        "id": f"{SESSION_ID}-{ordinal}",
        "session_id": SESSION_ID,
        "kind": kind,
        "ordinal": ordinal,
        "amount": Money(amount, "NOK"),
        "state": "started",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Operation(**values | changes)


def shows(wire: Any, payment: dict[str, Any], *log: dict[str, Any]) -> None:
    """Let the payment and its log be looked up."""
    wire.get(PAYMENT, payment)
    wire.get(f"{PAYMENT}/events", [CREATED, *log])


# --- the access token -------------------------------------------------------------------------------


def test_a_token_is_used_again(vipps: Vipps, wire: Any) -> None:
    shows(wire, shown("CREATED", aggregate(0)))
    vipps.retrieve(session(), None)
    vipps.retrieve(session(), None)
    assert wire.sent.count("POST /accesstoken/get") == 1


def test_a_token_is_renewed_before_it_ends(vipps: Vipps, wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("paysession_vipps.time.monotonic", lambda: clock[0])
    shows(wire, shown("CREATED", aggregate(0)))
    for now in (1000.0, 1000.0 + 0.8 * 86398, 1000.0 + 0.95 * 86398):
        clock[0] = now
        vipps.retrieve(session(), None)
    assert wire.sent.count("POST /accesstoken/get") == 2


def test_a_refused_token_is_forgotten(vipps: Vipps, wire: Any) -> None:
    wire.get(PAYMENT, {"statusCode": 401, "message": "Unauthorized"}, 401)
    shows(wire, shown("CREATED", aggregate(0)))
    with pytest.raises(NotApplied, match="401"):
        vipps.retrieve(session(), None)
    assert vipps.retrieve(session(), None).status is Status.REQUIRES_MORE
    assert wire.sent.count("POST /accesstoken/get") == 2


def test_without_a_token_nothing_is_sent(vipps: Vipps, wire: Any) -> None:
    wire.token(401, {"error": "invalid_client"})
    with pytest.raises(NotApplied, match="401"):
        vipps.capture(session(), operation("capture", 3))
    assert wire.sent == ["POST /accesstoken/get"]


# --- initiate ---------------------------------------------------------------------------------------

NEW = {
    "amount": nok(49900),
    "paymentMethod": {"type": "WALLET"},
    "userFlow": "WEB_REDIRECT",
    "reference": REFERENCE,
    "returnUrl": "https://example.com/redirect",
    "paymentDescription": "One pair of socks",
    "metadata": {"session": SESSION_ID},
}
FIRST = f"{SESSION_ID}-1"


def test_initiate(vipps: Vipps, wire: Any) -> None:
    wire.post(PAYMENTS, NEW, FIRST, {"redirectUrl": PAGE, "reference": REFERENCE}, 201)
    outcome = vipps.initiate(session(), operation("initiate", 1))
    assert outcome.answer == "requires_more"
    assert outcome.next_action == Redirect(PAGE)
    assert outcome.reference == REFERENCE


def test_initiate_with_a_phone_number_and_no_description(vipps: Vipps, wire: Any) -> None:
    body = NEW | {"customer": {"phoneNumber": "4712345678"}, "paymentDescription": "Order 1001"}
    wire.post(PAYMENTS, body, FIRST, {"redirectUrl": PAGE, "reference": REFERENCE}, 201)
    checkout = Checkout(return_url="https://example.com/redirect")
    asked = session(data='{"phone_number": "4712345678"}', checkout=checkout)
    assert vipps.initiate(asked, operation("initiate", 1)).reference == REFERENCE


@pytest.mark.parametrize("data", ['{"phone_number": "+47 12345678"}', '{"phone": "4712345678"}'])
def test_initiate_takes_no_other_data(vipps: Vipps, data: str) -> None:
    with pytest.raises(Declined) as caught:
        vipps.initiate(session(data=data), operation("initiate", 1))
    assert caught.value.code == "invalid_data"
    assert "12345678" not in str(caught.value)


def test_initiate_with_a_field_that_vipps_does_not_take(vipps: Vipps, wire: Any) -> None:
    wire.post(PAYMENTS, NEW, FIRST, INVALID, 400)
    with pytest.raises(NotApplied, match="400 reference"):
        vipps.initiate(session(), operation("initiate", 1))


def test_initiate_of_a_reference_that_exists_may_be_our_own(vipps: Vipps, wire: Any) -> None:
    wire.post(PAYMENTS, NEW, FIRST, problem("4150", "Reference exists", 409), 409)
    with pytest.raises(OutcomeUnknown, match="4150"):
        vipps.initiate(session(), operation("initiate", 1))


# --- authorize --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "total", "answer"),
    [
        ("CREATED", aggregate(0), "requires_more"),
        ("AUTHORIZED", aggregate(49900), "authorized"),
        ("AUTHORIZED", aggregate(49900, cancelled=49900), "canceled"),
        ("AUTHORIZED", aggregate(49900, captured=49900), "captured"),
        ("EXPIRED", aggregate(0), "canceled"),
        ("TERMINATED", aggregate(0, cancelled=49900), "canceled"),
    ],
)
def test_authorize_looks(vipps: Vipps, wire: Any, state: str, total: dict[str, Any], answer: str) -> None:
    shows(wire, shown(state, total))
    outcome = vipps.authorize(session(), operation("authorize", 2))
    assert outcome.answer == answer
    assert outcome.amount == (Money("499.00", "NOK") if answer in ("authorized", "captured") else None)
    assert wire.sent[1:] == [
        f"GET {PAYMENT}",
        f"GET {PAYMENT}/events",
    ]


def test_authorize_after_the_payer_said_no(vipps: Vipps, wire: Any) -> None:
    shows(wire, shown("ABORTED", aggregate(0)), entry("ABORTED", 49900, "2", None))
    with pytest.raises(Declined) as caught:
        vipps.authorize(session(), operation("authorize", 2))
    assert caught.value.code == "payer_aborted"


def test_authorize_captures_what_is_to_be_captured_at_once(vipps: Vipps, wire: Any) -> None:
    shows(wire, shown("AUTHORIZED", aggregate(49900)), APPROVED)
    body = {"modificationAmount": nok(49900)}
    wire.post(f"{PAYMENT}/capture", body, f"{SESSION_ID}-2", modified(aggregate(49900, captured=49900)))
    outcome = vipps.authorize(session(capture="automatic"), operation("authorize", 2))
    assert (outcome.answer, outcome.amount) == ("captured", Money("499.00", "NOK"))


# --- capture ----------------------------------------------------------------------------------------

PART = {"modificationAmount": nok(10000)}
THIRD = f"{SESSION_ID}-3"


def capture(vipps: Vipps, *, captured: int = 0, final: bool = False) -> Any:
    now = session(status=Status.AUTHORIZED, authorized=49900, captured=captured)
    return vipps.capture(now, operation("capture", 3, "100.00", final=final))


@pytest.mark.parametrize(("before", "total"), [(0, 10000), (20000, 30000)])
def test_capture_is_what_the_total_grew_by(vipps: Vipps, wire: Any, before: int, total: int) -> None:
    wire.post(f"{PAYMENT}/capture", PART, THIRD, modified(aggregate(49900, captured=total)))
    outcome = capture(vipps, captured=before)
    assert (outcome.amount, outcome.released) == (Money("100.00", "NOK"), False)


def test_a_final_capture_leaves_the_rest_to_the_core(vipps: Vipps, wire: Any) -> None:
    wire.post(f"{PAYMENT}/capture", PART, THIRD, modified(aggregate(49900, captured=10000)))
    assert not capture(vipps, final=True).released


REFUSED = NewConnectionError(HTTPSConnection("apitest.vipps.no"), "refused")


@pytest.mark.parametrize(
    ("told", "status", "raised"),
    [
        # The documented errors of the domain.
        (problem("6080", "Cannot capture before reservation"), 400, OutcomeUnknown),
        (problem("6090", "Capture amount too high"), 400, OutcomeUnknown),
        (problem("6160", "Order processing"), 400, OutcomeUnknown),
        (problem("6170", "Payment already captured"), 400, OutcomeUnknown),
        (problem("6280", "Capture failed, please try again later"), 400, OutcomeUnknown),
        (problem("4010", "Capture idempotency conflict"), 400, OutcomeUnknown),
        (problem("4010", "Capture idempotency conflict", 409), 409, OutcomeUnknown),
        (problem("6100", "Capture period expired"), 400, Declined),
        (problem("6140", "Must capture full amount"), 400, Declined),
        (problem("6260", "Funds unavailable"), 400, Declined),
        (problem("4040", "Invalid amount"), 400, NotApplied),
        (problem("5090", "Reference not found", 404), 404, NotApplied),
        # The statuses of the page on errors; 401, 403, 422 and 429 come from Azure.
        (INVALID, 400, NotApplied),
        ({"statusCode": 401, "message": "Unauthorized"}, 401, NotApplied),
        ({"statusCode": 403, "message": "Forbidden"}, 403, NotApplied),
        ("", 422, NotApplied),
        ({"statusCode": 429, "message": "Rate limit is exceeded."}, 429, NotApplied),
        (problem("", "Locked", 423), 423, OutcomeUnknown),
        (problem("3010", "Internal error", 500), 500, OutcomeUnknown),
        # What a network does.
        (requests.ConnectionError(MaxRetryError(None, "", REFUSED)), 200, NotApplied),  # type: ignore[arg-type]
        (requests.ConnectTimeout(), 200, NotApplied),
        (requests.ConnectionError("reset"), 200, OutcomeUnknown),
        (requests.ReadTimeout(), 200, OutcomeUnknown),
        ("<html>Bad Gateway</html>", 502, OutcomeUnknown),
        ("<html>OK</html>", 200, OutcomeUnknown),
        ("[]", 200, OutcomeUnknown),
    ],
)
def test_capture_that_fails(vipps: Vipps, wire: Any, told: Any, status: int, raised: type[Exception]) -> None:
    wire.post(f"{PAYMENT}/capture", PART, THIRD, told, status)
    with pytest.raises(raised) as caught:
        capture(vipps)
    assert "AAAA" not in str(caught.value)
    if raised is Declined:
        assert caught.value.code == told["extraDetails"][0]["reason"]  # type: ignore[attr-defined]


def test_a_redirect_is_not_followed(vipps: Vipps, wire: Any) -> None:
    wire.post(f"{PAYMENT}/capture", PART, THIRD, "", 302, {"Location": "https://elsewhere.example/"})
    with pytest.raises(OutcomeUnknown, match="302"):
        capture(vipps)


# --- refund and cancel ------------------------------------------------------------------------------


def test_refund_of_a_part(vipps: Vipps, wire: Any) -> None:
    done = modified(aggregate(49900, captured=49900, refunded=15000))
    wire.post(f"{PAYMENT}/refund", PART, f"{SESSION_ID}-4", done)
    now = session(status=Status.AUTHORIZED, authorized=49900, captured=49900, refunded=5000)
    assert vipps.refund(now, operation("refund", 4, "100.00")).amount == Money("100.00", "NOK")


@pytest.mark.parametrize(
    ("code", "raised"), [("6150", OutcomeUnknown), ("6180", OutcomeUnknown), ("6220", Declined)]
)
def test_refund_that_is_refused(vipps: Vipps, wire: Any, code: str, raised: type[Exception]) -> None:
    wire.post(f"{PAYMENT}/refund", PART, f"{SESSION_ID}-4", problem(code, "refused"), 400)
    with pytest.raises(raised):
        vipps.refund(session(captured=49900), operation("refund", 4, "100.00"))


@pytest.mark.parametrize(
    ("before", "done"),
    [
        (shown("CREATED", aggregate(0)), modified(aggregate(0, cancelled=1000), "TERMINATED")),
        (shown("AUTHORIZED", aggregate(49900)), modified(aggregate(49900, cancelled=49900))),
        (
            shown("AUTHORIZED", aggregate(1000, captured=250)),
            modified(aggregate(1000, cancelled=750, captured=250)),
        ),
    ],
)
def test_cancel(vipps: Vipps, wire: Any, before: dict[str, Any], done: dict[str, Any]) -> None:
    shows(wire, before)
    wire.post(f"{PAYMENT}/cancel", {}, f"{SESSION_ID}-5", done)
    assert vipps.cancel(session(), operation("cancel", 5)).answer == "canceled"


@pytest.mark.parametrize("state", ["ABORTED", "EXPIRED", "TERMINATED"])
def test_cancel_of_what_has_ended_sends_nothing(vipps: Vipps, wire: Any, state: str) -> None:
    shows(wire, shown(state, aggregate(0)))
    assert vipps.cancel(session(), operation("cancel", 5)).answer == "canceled"


@pytest.mark.parametrize(
    ("code", "raised"), [("6040", OutcomeUnknown), ("6250", OutcomeUnknown), ("6030", Declined)]
)
def test_cancel_that_is_refused(vipps: Vipps, wire: Any, code: str, raised: type[Exception]) -> None:
    shows(wire, shown("AUTHORIZED", aggregate(49900)))
    wire.post(f"{PAYMENT}/cancel", {}, f"{SESSION_ID}-5", problem(code, "refused"), 400)
    with pytest.raises(raised):
        vipps.cancel(session(), operation("cancel", 5))


def test_cancel_of_what_vipps_does_not_show_is_asked_for_all_the_same(vipps: Vipps, wire: Any) -> None:
    wire.get(PAYMENT, problem("5090", "Reference not found", 404), 404)
    wire.post(f"{PAYMENT}/cancel", {}, f"{SESSION_ID}-5", problem("5090", "Reference not found", 404), 404)
    with pytest.raises(NotApplied):
        vipps.cancel(session(), operation("cancel", 5))


# --- retrieve ---------------------------------------------------------------------------------------


def test_retrieve_of_the_documented_log(vipps: Vipps, wire: Any) -> None:
    wire.get(PAYMENT, shown("AUTHORIZED", aggregate(1000, cancelled=750, captured=250)))
    log = [
        entry("CREATED", 1000, "83b3fdb0-9547-4ec5-bdb7-5600ce70e792"),
        entry("AUTHORIZED", 1000, "1304787731"),
        entry("CAPTURED", 250, "2018200034"),
        entry("CANCELLED", 750, "2019200034", None),
    ]
    wire.get(f"{PAYMENT}/events", log)
    seen = vipps.retrieve(session(), None)
    assert (seen.status, seen.authorized) == (Status.AUTHORIZED, Money("2.50", "NOK"))
    assert (seen.captured, seen.refunded) == (Money("2.50", "NOK"), Money("0.00", "NOK"))
    assert (seen.session_id, seen.reference, seen.next_action) == (SESSION_ID, REFERENCE, None)
    (effect,) = seen.effects
    # Its key is that of the creation: it does not prove that this capture is none of ours.
    assert (effect.kind, effect.amount, effect.reference) == ("capture", Money("2.50", "NOK"), "2018200034")
    assert (effect.state, effect.key) == ("succeeded", None)


def test_retrieve_tells_our_own_effects_from_others(vipps: Vipps, wire: Any) -> None:
    shows(
        wire,
        shown("AUTHORIZED", aggregate(49900, captured=20000, refunded=5000)),
        APPROVED,
        entry("CAPTURED", 20000, "2", THIRD),
        entry("CAPTURED", 29900, "3", THIRD) | {"success": False},
        entry("REFUNDED", 5000, "4", None),
    )
    effects = vipps.retrieve(session(), operation("capture", 3, "200.00")).effects
    assert [(one.kind, one.reference, one.key) for one in effects] == [
        ("capture", "2", THIRD),
        ("refund", "4", None),
    ]


@pytest.mark.parametrize(
    ("state", "total", "status"),
    [
        ("CREATED", aggregate(0), Status.REQUIRES_MORE),
        ("AUTHORIZED", aggregate(49900), Status.AUTHORIZED),
        ("AUTHORIZED", aggregate(49900, cancelled=49900), Status.CANCELED),
        ("AUTHORIZED", aggregate(0), Status.AUTHORIZED),  # nothing says that it was cancelled
        ("ABORTED", aggregate(0), Status.ERROR),
        ("EXPIRED", aggregate(0), Status.CANCELED),
        ("TERMINATED", aggregate(0, cancelled=49900), Status.CANCELED),
    ],
)
def test_retrieve_of_every_state(
    vipps: Vipps, wire: Any, state: str, total: dict[str, Any], status: Status
) -> None:
    shows(wire, shown(state, total))
    seen = vipps.retrieve(session(), None)
    assert seen.status is status
    assert not seen.ready
    assert (seen.next_action is not None) is (status is Status.REQUIRES_MORE)
    assert (seen.error is not None) is (status is Status.ERROR)


def test_retrieve_of_a_state_that_is_new_to_us_tells_nothing(vipps: Vipps, wire: Any) -> None:
    shows(wire, shown("FROZEN", aggregate(0)))
    with pytest.raises(KeyError):  # which is unknown, as every exception is
        vipps.retrieve(session(), None)


def test_an_approved_session_is_ready_to_be_captured_at_once(vipps: Vipps, wire: Any) -> None:
    shows(wire, shown("AUTHORIZED", aggregate(49900)), APPROVED)
    seen = vipps.retrieve(session(capture="automatic"), None)
    assert (seen.status, seen.ready, seen.authorized) == (Status.REQUIRES_MORE, True, None)


def test_a_payment_that_vipps_does_not_know_is_absent(vipps: Vipps, wire: Any) -> None:
    wire.get(PAYMENT, problem("5090", "Reference not found", 404), 404)
    assert vipps.retrieve(session(), None) == Snapshot.absent()


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"statusCode": 404, "message": "Resource not found"}, 404),  # Azure's: there is no such address
        ({"statusCode": 429, "message": "Rate limit is exceeded."}, 429),
        (problem("3010", "Internal error", 500), 500),
        ({}, 200),
    ],
)
def test_a_lookup_that_fails_says_nothing(vipps: Vipps, wire: Any, told: Any, status: int) -> None:
    wire.get(PAYMENT, told, status)
    with pytest.raises(NotApplied):
        vipps.retrieve(session(), None)
