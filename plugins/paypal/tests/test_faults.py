"""Every fault at every call: one effect, the same request id while in doubt, and the right class of error."""

import json
from contextlib import contextmanager

import pytest

from paysession.provider import Declined, NotApplied, OutcomeUnknown
from paysession_sandbox.paypal import Fault

HTML = b"<html><h1>503 Service Temporarily Unavailable</h1></html>"
BROKEN = {
    "name": "INTERNAL_SERVER_ERROR",
    "message": "An internal server error occurred.",
    "debug_id": "f00d",
}
WRITES = ["create", "authorize", "capture", "refund", "void"]
DOUBT = {
    "dropped": Fault.drop(),
    "dropped after commit": Fault.drop(committed=True),
    "hang": Fault.hang(),
    "hang after commit": Fault.hang(committed=True),
    "500": Fault.answer(500, json.dumps(BROKEN).encode()),
    "500 after commit": Fault.answer(500, json.dumps(BROKEN).encode(), committed=True),
    "503 in HTML": Fault.answer(503, HTML, headers={"Content-Type": "text/html"}),
    "503 in HTML after commit": Fault.answer(503, HTML, committed=True),
    "200 that is not UTF-8": Fault.answer(200, b'{"id": "\xff\xfe"}', committed=True),
    "200 that is no object": Fault.answer(200, b'["COMPLETED"]', committed=True),
    "200 cut short": Fault.answer(200, b'{"id": "C1", "status": "COMP', committed=True),
    "200 nested too deep": Fault.answer(200, b"[" * 100_000, committed=True),
    "408": Fault.answer(408, b""),
    "409": Fault.answer(409, json.dumps({"name": "RESOURCE_CONFLICT", "debug_id": "f"}).encode()),
    "302 to another host": Fault.answer(302, headers={"Location": "http://localhost:9/v2/checkout/orders"}),
}


@pytest.fixture
def quick(make_shop, make_provider):
    return make_shop(make_provider(timeout=2.0))


@contextmanager
def impatient(shop, fault):
    """Wait shortly where nothing will come, and long where a busy machine may need it."""
    transport = shop.provider.transport
    if fault.then == "hang":
        transport._timeout = 0.25
    yield
    transport._timeout = 2.0


def request_ids(fake, call):
    return {exchange.headers["paypal-request-id"] for exchange in fake.calls(call)}


def attempt(step):
    """Take a step; return what it raised, or None."""
    try:
        step()
    except (Declined, NotApplied, OutcomeUnknown) as error:
        return error
    return None


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        # A capture meets every fault, and every call loses its request and its answer.
        pytest.param(call, fault, marks=[] if call == "capture" or "dropped" in fault else [pytest.mark.slow])
        for call in WRITES
        for fault in DOUBT
    ],
)
def test_what_is_in_doubt_is_settled_under_its_own_key_with_one_effect(quick, fake, call, fault):
    step = quick.until(call)
    before, sent = len(fake.effects), request_ids(fake, call)
    fake.fail(call, DOUBT[fault])
    with impatient(quick, DOUBT[fault]):
        error = attempt(step)
    assert error is None or isinstance(error, OutcomeUnknown), "in doubt, or looked up and settled at once"
    if error is not None:
        assert [row.operation.kind for row in quick.payments.in_doubt()] != []
        assert len(request_ids(fake, call) - sent) == 1
    quick.settle()
    assert quick.payments.in_doubt() == ()
    assert fake.effects[before:] == quick.EFFECT[call]
    assert len(request_ids(fake, call) - sent) == 1, "the key stays on doubt"
    assert quick.books() == quick.AFTER[call]
    assert attempt(step) is None, "the same key of the caller's: the same result"
    assert fake.effects[before:] == quick.EFFECT[call]


@pytest.mark.parametrize("call", WRITES)
def test_what_cannot_be_looked_up_either_stays_in_doubt_until_it_can(quick, fake, call):
    step = quick.until(call)
    before, sent = len(fake.effects), request_ids(fake, call)
    fake.fail(call, Fault.drop(committed=True))
    # Authorizing looks before it writes: that look still goes well.
    fake.fail("show", Fault.answer(503, HTML), times=3, after=1 if call == "authorize" else 0)
    assert isinstance(attempt(step), OutcomeUnknown)
    quick.settle(rounds=12)
    assert quick.payments.in_doubt() == ()
    assert fake.effects[before:] == quick.EFFECT[call]
    assert quick.books() == quick.AFTER[call]
    assert len(request_ids(fake, call) - sent) == 1


@pytest.mark.parametrize("call", WRITES)
def test_429_is_not_applied_says_how_long_to_wait_and_is_tried_again_under_a_new_key(quick, fake, call):
    step = quick.until(call)
    before, sent = len(fake.effects), request_ids(fake, call)
    body = json.dumps(
        {"name": "RATE_LIMIT_REACHED", "message": "Too many requests.", "debug_id": "f"}
    ).encode()
    fake.fail(call, Fault.answer(429, body, headers={"Retry-After": "7"}))
    error = attempt(step)
    assert isinstance(error, NotApplied)
    assert error.retry_after.total_seconds() == 7
    assert quick.payments.in_doubt() == ()
    assert attempt(step) is None
    assert fake.effects[before:] == quick.EFFECT[call]
    assert quick.books() == quick.AFTER[call]
    assert len(request_ids(fake, call) - sent) == 2


@pytest.mark.parametrize("call", WRITES)
def test_a_401_that_stays_is_not_applied_after_at_most_four_requests(quick, fake, call):
    step = quick.until(call)
    fake.forget_tokens()
    before = len(fake.effects)
    asked = len([row for row in fake.calls() if row.call in (call, "token")])
    fake.fail(
        call, Fault.answer(401, b'{"name":"AUTHENTICATION_FAILURE","message":"no","debug_id":"f"}'), times=50
    )
    error = attempt(step)
    assert isinstance(error, NotApplied)
    assert "credentials" in error.message
    more = [row.call for row in fake.calls() if row.call in (call, "token")][asked:]
    assert more.count(call) == 2, "once more with a new token, and never again"
    assert len(more) <= 4
    assert fake.effects[before:] == []


@pytest.mark.parametrize("call", WRITES)
def test_an_expired_token_is_renewed_before_or_after_paypal_refuses_it(quick, fake, clock, call):
    step = quick.until(call)
    tokens = len(fake.calls("token"))
    fake.forget_tokens()
    assert attempt(step) is None
    assert quick.books() == quick.AFTER[call]
    assert len(fake.calls("token")) == tokens + 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.drop(),
        Fault.hang(),
        Fault.answer(500),
        Fault.answer(503, HTML),
        Fault.answer(200, b"\xff"),
        Fault.answer(200, b'{"access_token": "a\\nb", "expires_in": 32400}'),
        Fault.answer(200, b'{"access_token": "t", "expires_in": NaN}'),
        Fault.answer(401, b'{"error":"invalid_client"}'),
        Fault.answer(302, headers={"Location": "http://localhost:9/"}),
    ],
    ids=["drop", "hang", "500", "503", "not UTF-8", "header injection", "NaN", "wrong secret", "302"],
)
@pytest.mark.parametrize("call", ["create", "capture"])
def test_without_a_token_nothing_is_sent_so_nothing_is_in_doubt(quick, fake, call, fault):
    step = quick.until(call)
    quick.provider.transport._access = None
    before = len(fake.calls(call))
    fake.fail("token", fault, times=2)
    with impatient(quick, fault):
        assert isinstance(attempt(step), NotApplied)
    assert len(fake.calls(call)) == before
    assert quick.payments.in_doubt() == ()
    fake.fix()
    assert attempt(step) is None
    assert quick.books() == quick.AFTER[call]


@pytest.mark.parametrize("fault", ["dropped", "hang", "500", "503 in HTML", "409"])
def test_an_update_that_did_not_arrive_is_looked_up_and_never_sent_again(quick, fake, fault):
    step = quick.until("patch")
    fake.fail("patch", DOUBT[fault])
    with impatient(quick, DOUBT[fault]):
        assert isinstance(attempt(step), OutcomeUnknown)
    quick.settle()
    assert len(fake.calls("patch")) == 1, "PayPal keeps no key of a PATCH"
    assert quick.payments.in_doubt() == ()
    assert quick.books() == ("requires_more", 4200, 0, 0, 0)
    assert attempt(step) is None
    assert quick.books() == quick.AFTER["patch"]


@pytest.mark.parametrize("fault", [name for name, fault in DOUBT.items() if fault.committed])
def test_an_update_whose_answer_was_lost_is_found(quick, fake, fault):
    step = quick.until("patch")
    fake.fail("patch", DOUBT[fault])
    with impatient(quick, DOUBT[fault]):
        attempt(step)
    quick.settle()
    assert len(fake.calls("patch")) == 1
    assert quick.books() == quick.AFTER["patch"]


@pytest.mark.parametrize("fault", DOUBT)
def test_looking_that_fails_changes_nothing(quick, fake, fault):
    session = quick.session()
    fake.fail("show", DOUBT[fault])
    with impatient(quick, DOUBT[fault]), pytest.raises(NotApplied):
        quick.payments.sync(session.id)
    assert quick.books() == quick.AFTER["authorize"]


@pytest.mark.parametrize("call", WRITES)
def test_a_connection_refused_is_not_applied(make_shop, make_provider, fake, call):
    provider = make_provider()
    shop = make_shop(provider)
    step = shop.until(call)
    working, provider.transport = provider.transport, make_provider(endpoint="http://127.0.0.1:9").transport
    provider.transport._access, provider.transport._access_until = {"Authorization": "Bearer t"}, 1e12
    before = list(fake.effects)
    assert isinstance(attempt(step), NotApplied)
    provider.transport = working
    assert fake.effects == before
    assert attempt(step) is None
    assert shop.books() == shop.AFTER[call]


# --- what PayPal says on purpose ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "issue"),
    [
        ("create", "INVALID_CURRENCY_CODE"),
        ("authorize", "PAYER_CANNOT_PAY"),
        ("authorize", "TRANSACTION_REFUSED"),
        ("capture", "MAX_CAPTURE_COUNT_EXCEEDED"),
        ("capture", "TRANSACTION_REFUSED"),
        ("refund", "REFUND_TIME_LIMIT_EXCEEDED"),
        ("refund", "REFUND_FAILED_INSUFFICIENT_FUNDS"),
        ("refund", "PENDING_CAPTURE"),
    ],
)
def test_a_definite_refusal_is_declined_and_once_fixed_succeeds_under_a_new_key(
    quick, fake, refuse, call, issue
):
    step = quick.until(call)
    before, sent = len(fake.effects), request_ids(fake, call)
    refuse(call, issue)
    error = attempt(step)
    (session,) = quick.payments.sessions()
    if call == "authorize":
        assert (str(session.status), session.error.code) == ("error", issue)
    else:
        assert isinstance(error, Declined)
        assert error.code == issue
        assert "debug_id f00d" in error.message
    assert fake.effects[before:] == []
    if call == "create":
        return
    pay = quick.payments
    again = {
        "authorize": lambda: pay.authorize(session.id, payload=quick.query),
        "capture": lambda: pay.capture(session.id, session.amount.from_minor(2000, "EUR")),
        "refund": lambda: pay.refund(session.id, session.amount.from_minor(500, "EUR")),
    }
    again[call]()
    assert fake.effects[before:] == quick.EFFECT[call]
    assert len(request_ids(fake, call) - sent) == 2
    assert quick.books() == quick.AFTER[call]


@pytest.mark.parametrize(
    ("call", "issue"),
    [
        ("authorize", "ORDER_ALREADY_AUTHORIZED"),
        ("authorize", "DUPLICATE_INVOICE_ID"),
        ("capture", "AUTHORIZATION_ALREADY_CAPTURED"),
        ("capture", "DUPLICATE_INVOICE_ID"),
        ("refund", "CAPTURE_FULLY_REFUNDED"),
        ("refund", "DUPLICATE_INVOICE_ID"),
        ("void", "PREVIOUSLY_VOIDED"),
        ("void", "PREVIOUSLY_CAPTURED"),
    ],
)
def test_a_refusal_for_the_objects_state_is_looked_up(quick, fake, refuse, call, issue):
    """Our own first request may have brought the object there: its effect is then the answer."""
    step = quick.until(call)
    before = len(fake.effects)
    refuse(call, issue, committed=True)
    assert attempt(step) is None
    assert fake.effects[before:] == quick.EFFECT[call]
    assert quick.books() == quick.AFTER[call]


@pytest.mark.parametrize("issue", ["PREVIOUSLY_VOIDED", "PREVIOUSLY_CAPTURED"])
def test_a_refusal_for_the_objects_state_without_the_effect_is_never_taken_for_it(quick, fake, refuse, issue):
    step = quick.until("void")
    refuse("void", issue)
    assert isinstance(attempt(step), OutcomeUnknown)
    quick.settle()
    assert fake.effects[-1] == "void 22.00"
    assert quick.books() == quick.AFTER["void"]


def test_an_answer_for_another_amount_says_nothing_of_ours(quick, fake):
    step = quick.until("capture")
    answer = {"id": "C7", "status": "COMPLETED", "amount": {"currency_code": "EUR", "value": "21.00"}}
    fake.fail("capture", Fault.answer(201, json.dumps(answer).encode()))
    assert isinstance(attempt(step), OutcomeUnknown)
    quick.settle()
    assert fake.effects[-1] == "capture 20.00"
    assert quick.books() == quick.AFTER["capture"]
