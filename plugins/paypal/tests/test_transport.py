"""The transport by itself: what paypalrestsdk gets wrong, and what it does instead."""

import json
import logging
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import responses
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paypalrestsdk import Api

import paysession_paypal
from paysession.provider import NotApplied
from paysession_paypal.transport import ENDPOINTS, MAX_ANSWER, SdkTransport
from paysession_paypal.wire import Lost, NotSent, Request
from paysession_sandbox.paypal import Fault
from paysession_sandbox.paypal.signing import Authority

LOOK = Request("GET", "/v2/checkout/orders/O1")
WRITE = Request(
    "POST", "/v2/checkout/orders/O1/authorize", headers={"PayPal-Request-Id": "k", "Prefer": "return=minimal"}
)


def soon(seconds=5.0):
    return time.monotonic() + seconds


@pytest.fixture
def transport(fake, clock):
    transport = SdkTransport(
        fake.client_id, fake.client_secret, endpoint=fake.url, timeout=2.0, clock=clock.seconds
    )
    yield transport
    transport.close()


@contextmanager
def raw(answer, *, hold=False):
    """Serve one kind of answer, byte by byte as told; yield the URL and the requests that came."""
    requests, over = [], threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.02)

    def serve():
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                requests.append(connection.recv(65536))
                try:
                    for part in answer() if callable(answer) else [answer]:
                        connection.sendall(part)
                        if over.is_set():
                            break
                    if hold:
                        over.wait()
                except OSError:
                    pass  # the client has hung up, as it should

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
    finally:
        over.set()
        thread.join()
        server.close()


@contextmanager
def facing(answer, *, timeout=2.0, **options):
    """Yield a transport with a token, whose server answers what is said."""
    with raw(answer, **options) as (url, requests):
        transport = SdkTransport("id", "secret", endpoint=url, timeout=timeout)
        transport._access, transport._access_until = {"Authorization": "Bearer token"}, float("inf")
        try:
            yield transport, requests
        finally:
            transport.close()


# --- what is sent ---------------------------------------------------------------------------------


def test_the_hosts_are_todays():
    transport = SdkTransport("id", "secret", environment="live")
    assert transport.endpoint == ENDPOINTS["live"] == "https://api-m.paypal.com"
    assert SdkTransport("id", "secret").endpoint == "https://api-m.sandbox.paypal.com"


def test_a_slash_at_the_end_of_the_endpoint_breaks_no_url(fake, clock):
    transport = SdkTransport(
        fake.client_id, fake.client_secret, endpoint=f"{fake.url}//", clock=clock.seconds
    )
    assert transport.send(LOOK, soon()).status == 404
    assert [exchange.path for exchange in fake.exchanges] == ["/v1/oauth2/token", LOOK.path]
    transport.close()


def test_no_body_is_sent_where_there_is_none_and_a_write_always_has_its_content_type(fake, transport):
    transport.send(LOOK, soon())
    transport.send(WRITE, soon())
    look, write = fake.calls("show", "authorize")
    assert (look.body, write.body) == (b"", b"")
    assert "content-type" not in look.headers
    assert write.headers["content-type"] == "application/json", "PayPal answers 415 without it"


def test_the_calls_own_headers_do_not_leak_into_the_request_for_the_token(fake, transport):
    transport.send(WRITE, soon())
    (token,) = fake.calls("token")
    assert {"paypal-request-id", "prefer"}.isdisjoint(token.headers)
    (call,) = fake.calls("authorize")
    assert call.headers["paypal-request-id"] == "k"


def test_connections_are_kept_and_shared(fake, transport):
    for _ in range(5):
        transport.send(LOOK, soon())
    assert len(fake.connections) == 1


def test_the_sdk_is_held_and_sends_nothing(fake, transport, monkeypatch):
    """Its client knows how credentials and headers look; whatever of it sends would fail this test."""
    for name in ("http_call", "request", "get_access_token"):
        monkeypatch.setattr(Api, name, lambda *_, **__: pytest.fail("the SDK sent something"))
    assert not isinstance(transport, Api)
    assert transport.send(LOOK, soon()).status == 404
    assert [row.headers["user-agent"] for row in fake.calls()] == [Api.user_agent] * 2


def test_one_module_touches_the_sdk_and_it_is_short():
    package = Path(paysession_paypal.__file__).parent
    imports = re.compile(r"^\s*(import|from) paypalrestsdk", re.MULTILINE)
    assert [path.name for path in package.rglob("*.py") if imports.search(path.read_text())] == ["sdk.py"]
    assert len((package / "sdk.py").read_text().splitlines()) < 80


def test_a_proxy_is_used_only_if_it_is_given():
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as (proxy, seen):
        transport = SdkTransport("id", "secret", endpoint="http://paypal.invalid", proxy=proxy)
        transport._access, transport._access_until = {"Authorization": "Bearer t"}, float("inf")
        assert transport.send(LOOK, soon()).status == 200
        transport.close()
    assert seen[0].startswith(b"GET http://paypal.invalid/v2/checkout/orders/O1")


def test_a_proxy_that_refuses_the_tunnel_has_not_seen_the_request():
    with raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (proxy, _):
        transport = SdkTransport("id", "secret", endpoint="https://paypal.invalid", proxy=proxy)
        transport._access, transport._access_until = {"Authorization": "Bearer t"}, float("inf")
        with pytest.raises(NotSent, match="ProxyError"):
            transport.send(WRITE, soon())
        transport.close()


def test_every_wait_has_a_timeout():
    with responses.RequestsMock() as mock:
        mock.add(
            "POST",
            "https://api-m.sandbox.paypal.com/v1/oauth2/token",
            json={"access_token": "t", "expires_in": 900},
        )
        mock.add("GET", "https://api-m.sandbox.paypal.com/v2/checkout/orders/O1", json={"id": "O1"})
        SdkTransport("id", "secret", timeout=7.0).send(LOOK, soon(100))
        SdkTransport("id", "secret", timeout=7.0).send(LOOK, soon(3))
        waits = [call.request.req_kwargs["timeout"] for call in mock.calls]
    assert waits[:2] == [(7.0, 7.0)] * 2
    assert all(0 < wait <= 3 for pair in waits[2:] for wait in pair), "the deadline is nearer"
    assert not any(call.request.req_kwargs.get("allow_redirects") for call in mock.calls)


# --- the token ------------------------------------------------------------------------------------


def look_twenty_times_at_once(transport):
    barrier = threading.Barrier(20)

    def look():
        barrier.wait()
        return transport.send(LOOK, soon()).status

    with ThreadPoolExecutor(20) as pool:
        return [future.result() for future in [pool.submit(look) for _ in range(20)]]


def test_twenty_cold_threads_fetch_one_token(fake, transport):
    assert look_twenty_times_at_once(transport) == [404] * 20
    assert len(fake.calls("token")) == 1


def test_twenty_threads_whose_token_is_refused_fetch_one_new_one(fake, transport):
    transport.send(LOOK, soon())
    fake.forget_tokens()
    assert look_twenty_times_at_once(transport) == [404] * 20
    assert len(fake.calls("token")) == 2


def test_a_token_is_renewed_before_its_end(fake, transport, clock):
    transport.send(LOOK, soon())
    clock.forward(seconds=32_400 - 61)
    transport.send(LOOK, soon())
    assert len(fake.calls("token")) == 1
    clock.forward(seconds=2)
    transport.send(LOOK, soon())
    assert len(fake.calls("token")) == 2
    assert [exchange.answer.status for exchange in fake.calls("show")] == [404] * 3, (
        "none of them was refused"
    )


def test_a_resource_that_always_answers_401_is_asked_twice(fake, transport):
    fake.fail("show", Fault.answer(401, b"{}"), times=10)
    assert transport.send(LOOK, soon()).status == 401
    assert [exchange.call for exchange in fake.calls()] == ["token", "show", "token", "show"]


def test_wrong_credentials_are_said_to_be_wrong(fake, clock):
    transport = SdkTransport(fake.client_id, "wrong", endpoint=fake.url, clock=clock.seconds)
    with pytest.raises(NotSent, match="client_id and client_secret"):
        transport.send(LOOK, soon())
    transport.close()


def test_who_waits_for_anothers_token_gives_up_at_the_deadline(fake, transport):
    with transport._lock, ThreadPoolExecutor(1) as pool:
        future = pool.submit(transport.send, LOOK, soon(0.05))
        with pytest.raises(NotSent, match="another thread"):
            future.result()
    assert fake.exchanges == []


def test_after_the_deadline_nothing_is_sent(fake, transport):
    with pytest.raises(NotSent, match="no time left"):
        transport.send(LOOK, time.monotonic() - 1)
    assert fake.exchanges == []


# --- where it must not go -------------------------------------------------------------------------


def test_no_redirect_is_followed_so_the_token_goes_nowhere_else(fake, transport):
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as (elsewhere, seen):
        for status in (301, 302, 303, 307, 308):
            fake.fail(
                "show", Fault.answer(status, headers={"Location": f"{elsewhere}/v2/checkout/orders/O1"})
            )
            assert transport.send(LOOK, soon()).status == status
        fake.fail("token", Fault.answer(302, headers={"Location": f"{elsewhere}/v1/oauth2/token"}))
        transport._access = None
        with pytest.raises(NotSent):
            transport.send(LOOK, soon())
        assert seen == []


def test_a_netrc_entry_does_not_replace_the_token(fake, transport, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text(
        "machine 127.0.0.1 login mallory password hunter2\ndefault login m password p\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert transport.send(LOOK, soon()).status == 404
    token, look = fake.exchanges
    assert token.headers["authorization"] == transport._sdk.token_request().headers["Authorization"]
    assert look.headers["authorization"].startswith("Bearer A21AA")


def test_a_proxy_of_the_environment_is_not_used(fake, transport, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert transport.send(LOOK, soon()).status == 404


def test_cookies_are_not_kept(fake, transport):
    fake.fail("show", Fault.answer(200, b"{}", headers={"Set-Cookie": "track=me"}))
    transport.send(LOOK, soon())
    transport.send(LOOK, soon())
    assert "cookie" not in fake.exchanges[-1].headers


# --- what comes back ------------------------------------------------------------------------------


def test_any_status_and_any_bytes_are_returned_as_they_came():
    for status in (200, 204, 400, 403, 404, 409, 422, 500, 503):
        body = b"" if status == 204 else b"\xff<html>"
        answer = (
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nPaypal-Debug-Id: d1\r\n\r\n" % (status, len(body)) + body
        )
        with facing(answer) as (transport, _):
            reply = transport.send(WRITE, soon())
            assert (reply.status, reply.body, reply.document, reply.debug_id) == (status, body, None, "d1")


def test_an_answer_in_chunks_is_read_whole():
    answer = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n6\r\n:"O1"}\r\n0\r\n\r\n'
    with facing(answer) as (transport, _):
        assert transport.send(LOOK, soon()).document == {"id": "O1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER + 1) + b" " * (MAX_ANSWER + 1),
    ],
    ids=["nothing", "cut short", "chunks cut short", "no chunks", "no HTTP", "500 headers", "too large"],
)
def test_an_answer_that_is_not_whole_is_lost(answer):
    with facing(answer) as (transport, _), pytest.raises(Lost):
        transport.send(WRITE, soon())


def test_an_answer_that_never_comes_is_lost_after_the_timeout():
    with facing(b"", hold=True, timeout=0.2) as (transport, _):
        begun = time.monotonic()
        with pytest.raises(Lost, match="ReadTimeout"):
            transport.send(WRITE, soon())
        assert time.monotonic() - begun < 2


def test_a_head_that_drips_is_lost_after_the_timeout():
    def drip():
        yield b"HTTP/1.1 200 OK\r\nX-Endless: "
        while True:
            time.sleep(0.02)  # the server's pace; the client is what is tested
            yield b"x"

    with facing(drip, timeout=0.3) as (transport, _):
        begun = time.monotonic()
        with pytest.raises(Lost, match="Timeout"):
            transport.send(LOOK, soon(30))
        assert time.monotonic() - begun < 10


def test_an_answer_that_drips_is_lost_at_the_deadline():
    def drip():
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while True:
            time.sleep(0.02)  # the server's pace; the client is what is tested
            yield b" "

    with facing(drip) as (transport, _):
        begun = time.monotonic()
        with pytest.raises(Lost, match="Timeout"):
            transport.send(WRITE, soon(0.3))
        assert 0.2 < time.monotonic() - begun < 2


def test_a_host_that_cannot_be_resolved_or_reached_got_nothing():
    for endpoint in ("http://127.0.0.1:9", "http://nobody.invalid"):
        transport = SdkTransport("id", "secret", endpoint=endpoint, timeout=1.0)
        transport._access, transport._access_until = {"Authorization": "Bearer token"}, float("inf")
        with pytest.raises(NotSent, match="could not be reached"):
            transport.send(WRITE, soon())
        transport.close()


def test_a_certificate_that_is_not_trusted_gets_nothing(tmp_path, clock):
    """The handshake fails, so neither token nor request has left: it is not applied."""
    now = datetime.now(UTC)
    certificate, key = Authority.make("Foreign", now).issue("localhost", now, now + timedelta(days=1))
    file = tmp_path / "server.pem"
    file.write_bytes(certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            connection, _ = server.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except (ssl.SSLError, OSError):
                connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        transport = SdkTransport(
            "id", "secret", endpoint=f"https://localhost:{server.getsockname()[1]}", timeout=2.0
        )
        with pytest.raises(NotSent, match="certificate"):
            transport.send(WRITE, soon())
        transport.close()
        thread.join()


# --- what is told of it ---------------------------------------------------------------------------


def test_neither_secrets_nor_tokens_nor_bodies_are_logged_or_shown(fake, transport, caplog):
    caplog.set_level(logging.DEBUG)
    order = {
        "intent": "AUTHORIZE",
        "purchase_units": [{"amount": {"currency_code": "EUR", "value": "42.00"}}],
        "payment_source": {"paypal": {"email_address": "ann@shop.example"}},
    }
    body = json.dumps(order).encode()
    transport.send(Request("POST", "/v2/checkout/orders", body, {"PayPal-Request-Id": "k"}), soon())
    fake.fail("show", Fault.drop())
    with pytest.raises(Lost) as lost:
        transport.send(LOOK, soon())
    token = fake.calls("show")[0].headers["authorization"].removeprefix("Bearer ")
    told = caplog.text + repr(transport) + str(lost.value) + repr(lost.value.__context__)
    basic = transport._sdk.token_request().headers["Authorization"].removeprefix("Basic ")
    for secret in (fake.client_secret, basic, token, "ann@shop.example"):
        assert secret not in told
    assert "POST /v2/checkout/orders: 201" in caplog.text, "what was asked and what came of it is"
    assert repr(Request("POST", "/", body)) == "Request(method='POST', path='/', headers={})"


def test_the_providers_repr_and_errors_hide_the_secret(make_provider, make_hand, fake):
    provider = make_provider(secret="not-the-secret")
    assert fake.client_secret not in repr(provider)
    with pytest.raises(NotApplied) as error:
        make_hand(provider).do("initiate")
    assert "not-the-secret" not in str(error.value)
