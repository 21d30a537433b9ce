"""What goes over the wire, byte by byte, and what each answer of Stripe's means."""

import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import SSLError as PoolSSLError

from paysession import PaysessionError
from paysession.bounded import BoundedResponse
from paysession.provider import (
    ConfigurationError,
    Declined,
    InvalidData,
    NotApplied,
    OutcomeUnknown,
    Secret,
    Status,
)
from paysession_stripe import Stripe
from paysession_stripe.gateway import API_VERSION
from paysession_stripe.refusal import STATE_CODES
from paysession_stripe.transport import Transport

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
API = "https://api.stripe.com"
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4200,
    "amount_capturable": 0,
    "amount_received": 0,
    "currency": "eur",
    "status": "requires_payment_method",
    "client_secret": "pi_1_secret_hushhush",
    "livemode": False,
    "metadata": {},
    "latest_charge": None,
    "next_action": None,
    "last_payment_error": None,
}


@pytest.fixture
def provider():
    provider = Stripe(api_key=KEY, max_network_retries=0)
    yield provider
    provider.close()


def initiate(provider, values, **changes):
    session = values.session(**changes)
    return provider.initiate(session, values.operation(session, "initiate"))


def capture(provider, values):
    session = values.session(reference="pi_1", authorized=4200, status=Status.AUTHORIZED)
    return provider.capture(session, values.operation(session, "capture", ordinal=3))


def error(status, **details):
    return {"status": status, "json": {"error": details}, "headers": {"Request-Id": "req_1"}}


# --- what is sent ---------------------------------------------------------------------------------


def test_every_write_carries_the_key_the_version_and_no_telemetry(wire, provider, values):
    wire.post(f"{API}/v1/payment_intents", json=INTENT, headers={"Request-Id": "req_1"})
    session = values.session()
    operation = values.operation(session, "initiate")
    for _ in range(2):  # telemetry tells of the request before
        provider.initiate(session, operation)
    for call in wire.calls:
        headers = call.request.headers
        assert operation.key == headers["Idempotency-Key"]
        assert API_VERSION == headers["Stripe-Version"]
        assert f"Bearer {KEY}" == headers["Authorization"]
        assert "Stripe-Account" not in headers
        assert "X-Stripe-Client-Telemetry" not in headers
        assert "telemetry_id" not in json.loads(headers["X-Stripe-Client-User-Agent"])


def test_the_version_is_the_one_that_the_package_was_made_for():
    import stripe

    assert API_VERSION == stripe.api_version


def test_two_accounts_share_nothing(wire, values):
    first = Stripe(api_key="sk_test_one", stripe_account="acct_1")
    second = Stripe(api_key="sk_test_two")
    wire.post(f"{API}/v1/payment_intents", json=INTENT)
    initiate(first, values)
    initiate(second, values)
    sent = [call.request.headers for call in wire.calls]
    assert ["Bearer sk_test_one", "Bearer sk_test_two"] == [headers["Authorization"] for headers in sent]
    assert ["acct_1", None] == [headers.get("Stripe-Account") for headers in sent]
    import stripe

    assert (None, None) == (stripe.api_key, stripe.default_http_client)
    for provider in (first, second):
        provider.close()


def test_the_time_limits_are_those_of_the_settings(wire, values):
    wire.post(f"{API}/v1/payment_intents", json=INTENT)
    for timeout, expected in ((20.0, (10.0, 20.0)), (3.0, (3.0, 3.0))):
        provider = Stripe(api_key=KEY, timeout=timeout)
        initiate(provider, values)
        assert expected == wire.calls[-1].request.req_kwargs["timeout"]
        provider.close()


def test_the_call_limit_covers_every_attempt_of_every_request():
    provider = Stripe(api_key=KEY, timeout=20, max_network_retries=2)
    attempts, requests_of_a_hook = 3, 3
    assert provider.capabilities.call_limit.total_seconds() >= requests_of_a_hook * attempts * (20 + 10)


# --- what an answer means -------------------------------------------------------------------------

CASES = [
    (402, {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}, Declined),
    (402, {"type": "card_error", "code": "expired_card"}, Declined),
    (
        400,
        {"type": "invalid_request_error", "code": "parameter_invalid_integer", "param": "amount"},
        Declined,
    ),
    (400, {"type": "invalid_request_error"}, Declined),
    (404, {"type": "invalid_request_error", "code": "resource_missing", "param": "intent"}, Declined),
    (400, {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}, OutcomeUnknown),
    (400, {"type": "invalid_request_error", "code": "intent_invalid_state"}, OutcomeUnknown),
    (400, {"type": "invalid_request_error", "code": "charge_already_captured"}, OutcomeUnknown),
    (400, {"type": "invalid_request_error", "code": "charge_already_refunded"}, OutcomeUnknown),
    (400, {"type": "invalid_request_error", "code": "charge_expired_for_capture"}, OutcomeUnknown),
    (400, {"type": "invalid_request_error", "code": "capture_charge_authorization_expired"}, OutcomeUnknown),
    (400, {"type": "idempotency_error"}, OutcomeUnknown),
    (401, {"type": "invalid_request_error"}, ConfigurationError),
    (403, {"type": "invalid_request_error"}, ConfigurationError),
    (429, {"type": "invalid_request_error", "code": "rate_limit"}, NotApplied),
    (429, {"type": "invalid_request_error", "code": "lock_timeout"}, NotApplied),
    (400, {"type": "invalid_request_error", "code": "rate_limit"}, NotApplied),
    (408, {"type": "api_error"}, OutcomeUnknown),
    (409, {"type": "invalid_request_error", "code": "idempotency_key_in_use"}, OutcomeUnknown),
    (424, {"type": "api_error"}, OutcomeUnknown),
    (500, {"type": "api_error"}, OutcomeUnknown),
    (502, {"type": "api_error"}, OutcomeUnknown),
    (503, {"type": "api_error"}, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "details", "expected"), CASES)
def test_a_refusal_is_sorted_by_what_it_proves(wire, provider, values, status, details, expected):
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **error(status, message="So it is.", **details))
    if details.get("code") in STATE_CODES:  # the object is looked at, and proves nothing here
        wire.get(f"{API}/v1/payment_intents/pi_1", json=INTENT)
    with pytest.raises(PaysessionError) as refused:
        capture(provider, values)
    assert isinstance(refused.value, expected)
    for part in ("So it is.", f"HTTP {status}", "request req_1"):
        assert part in refused.value.message


def test_a_decline_keeps_the_banks_reason_and_stripes_words(wire, provider, values):
    details = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "lost_card",
        "message": "Declined.",
    }
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **error(402, **details))
    with pytest.raises(Declined) as refused:
        capture(provider, values)
    assert "lost_card" == refused.value.code
    assert "Declined. (card_declined, lost_card, HTTP 402, request req_1)" == refused.value.message


def test_a_refusal_names_the_parameter_that_stripe_names(wire, provider, values):
    details = {"type": "invalid_request_error", "param": "amount_to_capture", "message": "Too much."}
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **error(400, **details))
    with pytest.raises(Declined) as refused:
        capture(provider, values)
    assert "invalid_request_error" == refused.value.code
    assert "Too much. (parameter amount_to_capture, HTTP 400, request req_1)" == refused.value.message


@pytest.mark.parametrize(
    ("told", "category", "shown"),
    [
        ({"code": "card_declined", "decline_code": "stolen_card"}, "hard", "declined"),
        ({"code": "expired_card"}, "hard", "method_expired"),
        ({"code": "card_declined", "decline_code": "generic_decline"}, "soft", "declined"),
        ({"code": "card_declined", "decline_code": "insufficient_funds"}, "soft", "insufficient_funds"),
        ({"code": "incorrect_cvc"}, "soft", "check_details"),
        ({"code": "authentication_required"}, "authentication", "authentication_failed"),
        ({"code": "card_declined", "decline_code": "issuer_not_available"}, "try_later", "try_again_later"),
        ({"code": "card_declined", "decline_code": "testmode_decline"}, "configuration", "not_available"),
        ({"code": "card_declined", "advice_code": "do_not_try_again"}, "hard", "declined"),
        ({"code": "card_declined", "advice_code": "try_again_later"}, "try_later", "try_again_later"),
        ({"code": "card_declined", "advice_code": "confirm_card_data"}, "soft", "check_details"),
        ({"code": "a_new_one"}, "soft", "declined"),
    ],
)
def test_a_decline_says_what_may_follow_and_what_the_payer_may_be_shown(
    wire, provider, values, told, category, shown
):
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **error(402, type="card_error", **told))
    with pytest.raises(Declined) as refused:
        capture(provider, values)
    assert (category, shown) == (refused.value.category, refused.value.payer_message_key)
    wire.get(f"{API}/v1/payment_intents/pi_1", json={**INTENT, "last_payment_error": told})
    seen = provider.retrieve(values.session(reference="pi_1"), None).error
    assert (category, shown) == (seen.category, seen.payer_message_key)


def test_how_long_to_wait_is_told(wire, provider, values):
    told = error(429, code="rate_limit")
    told["headers"]["Retry-After"] = "7"
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **told)
    with pytest.raises(NotApplied) as refused:
        capture(provider, values)
    assert 7 == refused.value.retry_after.total_seconds()


@pytest.mark.parametrize("told", ["soon", "-7", "inf", "nan", "1e300", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_time_to_wait_that_is_none_is_left_out(wire, provider, values, told):
    refusal = error(429, code="rate_limit")
    refusal["headers"]["Retry-After"] = told
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", **refusal)
    with pytest.raises(NotApplied) as refused:
        capture(provider, values)
    assert refused.value.retry_after is None


@pytest.mark.parametrize("status", [200, 400, 402, 404])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"<html>",
        b"{}",
        b'{"error": "x"}',
        b'{"object": "charge"}',
        b"\xff",
    ],
)
def test_an_answer_that_cannot_be_read_proves_nothing(wire, provider, values, status, body):
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", body=body, status=status)
    with pytest.raises(OutcomeUnknown):
        capture(provider, values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": None},
        {"amount": "4200"},
        {"amount_received": None},
        {"currency": "xyz"},
        {"currency": None},
        {"status": None},
        {"id": None},
        {"latest_charge": []},
        {"amount": -1},
    ],
)
def test_an_intent_that_cannot_be_read_proves_nothing(wire, provider, values, wrong):
    wire.post(f"{API}/v1/payment_intents", json={**INTENT, **wrong})
    with pytest.raises(OutcomeUnknown):
        initiate(provider, values)


@pytest.mark.parametrize("body", ["[]", "null", "7", "{}", '{"id": "ch_1"}', '{"id": ""}', '{"id": [1]}'])
def test_a_customer_that_cannot_be_read_proves_nothing_and_no_intent_is_made(wire, provider, values, body):
    wire.post(f"{API}/v1/customers", body=body)
    with pytest.raises(OutcomeUnknown):
        initiate(provider, values, data={"email": "jenny@example.com"})


def test_a_notice_of_stripes_is_no_failure(wire, provider, values, caplog):
    # The package turns it into a warning, which this suite, and a host's, turns into an error.
    taken = {**INTENT, "status": "succeeded", "amount_received": 4200, "latest_charge": "ch_1"}
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", json=taken, headers={"Stripe-Notice": "Hello."})
    assert "ch_1" == capture(provider, values).reference
    assert "Hello." in caplog.text


# --- what a lost connection means -----------------------------------------------------------------


def refused(reason=None):
    reason = reason or NewConnectionError(None, "connection refused")
    return requests.ConnectionError(MaxRetryError(None, "/", reason))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (refused(), NotApplied),
        (refused(NameResolutionError("api.stripe.com", None, "unknown")), NotApplied),
        (refused(ConnectTimeoutError(None, "too long")), NotApplied),
        (refused(ProtocolError("the proxy hung up")), OutcomeUnknown),
        (requests.ConnectTimeout(), NotApplied),
        (
            requests.exceptions.SSLError(
                MaxRetryError(None, "/", PoolSSLError(ssl.SSLCertVerificationError("self-signed")))
            ),
            NotApplied,
        ),
        (requests.exceptions.SSLError("bad record"), OutcomeUnknown),
        (requests.ReadTimeout(), OutcomeUnknown),
        (requests.ConnectionError("reset by peer"), OutcomeUnknown),
        (requests.exceptions.ChunkedEncodingError(), OutcomeUnknown),
        (RuntimeError("anything else"), OutcomeUnknown),
    ],
)
def test_only_what_never_connected_did_certainly_not_happen(wire, provider, values, failure, expected):
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", body=failure)
    with pytest.raises((NotApplied, OutcomeUnknown)) as refused:
        capture(provider, values)
    assert expected is type(refused.value)


def test_a_port_where_nobody_listens_is_not_applied(values):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        provider = Stripe(
            api_key=KEY, api_base=f"http://127.0.0.1:{taken.getsockname()[1]}", max_network_retries=0
        )
        with pytest.raises(NotApplied):
            capture(provider, values)
        provider.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_proves_nothing(wire, provider, values, status):
    # Followed, what became of the second request would be taken for what became of the first.
    elsewhere = "https://elsewhere.example/"
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", status=status, headers={"Location": elsewhere})
    with pytest.raises(OutcomeUnknown):
        capture(provider, values)
    assert [f"{API}/v1/payment_intents/pi_1/capture"] == [call.request.url for call in wire.calls]


@pytest.fixture
def unhurried(monkeypatch):
    """Let the package's own retries not wait."""
    monkeypatch.setattr("stripe._http_client.HTTPClient._sleep_time_seconds", lambda *_: 0.0)


LOST = [requests.ReadTimeout(), error(500, type="api_error"), error(409, code="idempotency_key_in_use")]
CERTAIN = [
    refused(), error(429, code="rate_limit"), error(401, type="invalid_request_error"),
    error(400, type="invalid_request_error", message="It is refused."),
]  # fmt: skip


@pytest.mark.parametrize("second", CERTAIN, ids=["refused", "429", "401", "400"])
@pytest.mark.parametrize("first", LOST, ids=["timeout", "500", "409"])
def test_a_certain_no_proves_nothing_about_the_attempt_before(wire, unhurried, values, first, second):
    provider = Stripe(api_key=KEY, max_network_retries=1)
    for answer in (first, second):
        more = {"body": answer} if isinstance(answer, Exception) else answer
        wire.post(f"{API}/v1/payment_intents/pi_1/capture", **more)
    with pytest.raises(OutcomeUnknown, match="an attempt before may have been carried out"):
        capture(provider, values)
    assert 2 == len(wire.calls)
    assert 1 == len({call.request.headers["Idempotency-Key"] for call in wire.calls})
    provider.close()


def test_a_decline_of_a_repetition_stands_because_stripe_keeps_it_under_the_key(wire, unhurried, values):
    provider = Stripe(api_key=KEY, max_network_retries=1)
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", body=requests.ReadTimeout())
    wire.post(
        f"{API}/v1/payment_intents/pi_1/capture",
        **error(402, type="card_error", code="card_declined", message="Your card was declined."),
    )
    with pytest.raises(Declined, match="Your card was declined"):
        capture(provider, values)
    provider.close()


def test_the_doubt_of_one_call_is_not_that_of_the_next(wire, provider, values):
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", body=requests.ReadTimeout())
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", body=refused())
    with pytest.raises(OutcomeUnknown):
        capture(provider, values)
    with pytest.raises(NotApplied):
        capture(provider, values)


def test_answers_are_bounded_directly_and_through_a_proxy_and_are_not_compressed():
    transport = Transport(Secret(KEY), (1.0, 1.0), direct=False)
    session = transport._session
    assert session.headers["Accept-Encoding"] == "identity"
    for scheme in ("https://", "http://"):
        adapter = session.get_adapter(scheme)
        for manager in (adapter.poolmanager, adapter.proxy_manager_for("http://127.0.0.1:9")):
            pools = manager.pool_classes_by_scheme.values()
            assert {pool.ConnectionCls.response_class for pool in pools} == {BoundedResponse}
    transport.close()


def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request(wire, provider, values):
    wire.post(f"{API}/v1/payment_intents", json=INTENT, headers={"Set-Cookie": "a=b; Path=/"})
    initiate(provider, values)
    initiate(provider, values)
    assert "Cookie" not in wire.calls[-1].request.headers


@pytest.mark.parametrize("machine", ["machine api.stripe.com", "default"])
def test_a_netrc_entry_does_not_replace_the_key(wire, provider, values, tmp_path, monkeypatch, machine):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{machine} login sk_live_other password x\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    wire.post(f"{API}/v1/payment_intents", json=INTENT)
    initiate(provider, values)
    assert f"Bearer {KEY}" == wire.calls[0].request.headers["Authorization"]


# --- what nobody may see --------------------------------------------------------------------------


AUTHENTICATE = (
    "https://hooks.stripe.com/redirect/authenticate/src_1?client_secret=src_client_secret_quietquiet"
)
ACTING = {
    **INTENT,
    "status": "requires_action",
    "next_action": {"type": "redirect_to_url", "redirect_to_url": {"url": AUTHENTICATE, "return_url": None}},
}


@pytest.mark.parametrize("level", ["debug", None], ids=["to stderr", "to logging"])
@pytest.mark.parametrize("status", [200, 400, 402, 500])
def test_no_log_no_exception_and_no_chain_holds_the_key_or_a_client_secret(
    wire, values, caplog, capsys, status, level
):
    import stripe

    caplog.set_level(logging.DEBUG)
    provider = Stripe(api_key=KEY, webhook_secret=["whsec_1"], max_network_retries=0)
    body = ACTING if status == 200 else {"error": {"message": "Not so.", "payment_intent": ACTING}}
    wire.post(f"{API}/v1/payment_intents", json=body, status=status)
    shown = [repr(provider), str(provider)]
    stripe.log = level  # the package's own switch: it prints
    try:
        try:
            shown.append(repr(initiate(provider, values)))
        except PaysessionError as error:
            chained = error
            while chained is not None:
                shown += [repr(chained), str(chained), repr(chained.__dict__)]
                chained = chained.__cause__ or chained.__context__
    finally:
        stripe.log = None
        provider.close()
    captured = capsys.readouterr()
    logged = captured.err if level else caplog.text
    assert "API response body" in logged  # the package does log whole answers
    assert '"client_secret": "***"' in logged.replace("\\", "")
    everything = "\n".join([*shown, caplog.text, captured.err, captured.out])
    for secret in (KEY, "hushhush", "quietquiet", "whsec_1"):
        assert secret not in everything


def test_an_error_that_repeats_the_key_is_told_and_logged_without_it(wire, provider, values, caplog):
    caplog.set_level(logging.DEBUG)
    wire.post(f"{API}/v1/payment_intents", **error(400, message=f"The key {KEY} is odd."))
    with pytest.raises(InvalidData, match=r"The key \*\*\* is odd") as refused:
        initiate(provider, values)
    assert KEY not in repr(refused.value.__dict__)
    assert "The key *** is odd" in caplog.text
    assert KEY not in caplog.text


def test_the_payer_is_sent_to_the_page_with_its_secret_all_the_same(wire, provider, values):
    wire.post(f"{API}/v1/payment_intents", json=ACTING)
    assert AUTHENTICATE == initiate(provider, values).next_action.url


def test_the_browser_gets_its_secret_all_the_same(wire, provider, values):
    wire.post(f"{API}/v1/payment_intents", json=INTENT)
    assert "pi_1_secret_hushhush" == initiate(provider, values).next_action.params["client_secret"]


# --- threads --------------------------------------------------------------------------------------


def test_eight_threads_share_one_provider_and_one_client(values, monkeypatch):
    import stripe

    made = []
    original = stripe.StripeClient.__init__

    def counted(self, *args, **options):
        made.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(stripe.StripeClient, "__init__", counted)
    provider = Stripe(api_key=KEY)
    barrier = threading.Barrier(8)
    gateways = []

    def build():
        barrier.wait()
        gateways.append(provider._gateway())

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1, 1) == (len(gateways), len(set(map(id, gateways))), len(made))
    provider.close()


FORKED = """
import os, sys, warnings
from paysession_stripe import Stripe
warnings.simplefilter("ignore", DeprecationWarning)
provider = Stripe(api_key="sk_test_1")
ours = provider._gateway()
assert ours is provider._gateway()
with provider._lazy.here.lock:  # as a thread of the parent may hold it
    child = os.fork()
    if child == 0:
        theirs = provider._gateway()
        assert theirs is not ours
        ours.close = None  # nor does it close its parent's
        provider.close()
        os._exit(0 if provider._gateway() is not theirs else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), provider._gateway() is ours)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_uses_no_connection_of_its_parents():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=False, timeout=60
    )
    assert ("0 True\n", "") == (done.stdout, done.stderr)
