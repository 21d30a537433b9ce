"""The wire of the contract: what passes through it, what it remembers, and how it breaks."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from paysession import Money
from paysession_testing import Counterpart
from paysession_testing.contract.wire import Proxy


class Echo(Counterpart):
    """Answers with what it got, and counts."""

    def __init__(self, url=None):
        self.url = url
        self.count = 0

    def handle(self, method, path, headers, body):
        self.count += 1
        if path.endswith("/nothing"):
            return 204, {}, b""
        told = {"count": self.count, "method": method, "path": path, "body": body.decode(), "amount": 4210}
        return (
            200,
            {"X-Echo": headers.get("x-told", ""), "Set-Cookie": "a=b"},
            {
                **told,
                "currency": "EUR",
                "status": "done",
            },
        )


@pytest.fixture
def serve():
    served = []

    def serve(counterpart):
        served.append(Proxy(counterpart))
        return served[-1]

    yield serve
    for proxy in reversed(served):
        proxy.close()


def ask(wire, method="POST", path="/x", body=None, **headers):
    url = urlsplit(wire.url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
    try:
        connection.request(
            method, url.path + path, body, {n.replace("_", "-"): v for n, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_a_request_passes_and_is_kept(serve):
    wire = serve(Echo())
    status, headers, body = ask(wire, body=b'{"a": 1}', X_Told="you")
    assert (status, headers["X-Echo"]) == (200, "you")
    assert json.loads(body)["body"] == '{"a": 1}'
    assert [(r.method, r.path, r.body, r.headers["x-told"]) for r in wire.requests] == [
        ("POST", "/x", b'{"a": 1}', "you")
    ]


def test_a_body_in_chunks_arrives_whole(serve):
    wire = serve(Echo())
    assert json.loads(ask(wire, body=iter([b"one ", b"two"]))[2])["body"] == "one two"


def test_a_server_at_an_address_is_reached_below_its_path(serve):
    upstream = serve(Echo())
    wire = serve(Echo(url=f"{upstream.url}/v1"))
    assert wire.url.endswith("/v1")
    status, headers, body = ask(wire, path="/orders?a=b", body=b"sent", X_Told="you")
    told = json.loads(body)
    assert (status, told["path"], told["body"], headers["X-Echo"]) == (200, "/v1/orders?a=b", "sent", "you")


def test_an_answer_is_replayed_for_its_key_and_refused_for_another_request(serve):
    echo = Echo()
    wire = serve(echo)
    first = ask(wire, body=b"same", Idempotency_Key="k")
    assert ask(wire, body=b"same", Idempotency_Key="k") == first
    assert ask(wire, body=b"other", Idempotency_Key="k")[0] == 422
    assert ask(wire, body=b"same", Idempotency_Key="l")[2] != first[2]
    assert echo.count == 2


def test_a_stand_in_that_replays_by_itself_sees_every_request(serve):
    echo = Echo()
    echo.replays = True
    wire = serve(echo)
    for _ in range(2):
        ask(wire, Idempotency_Key="k")
    assert echo.count == 2


def test_a_fault_hits_what_it_is_meant_for_until_it_is_cleared(serve):
    echo = Echo()
    wire = serve(echo)
    wire.fail("500_before", on="write")
    assert [ask(wire, method)[0] for method in ("GET", "POST", "POST")] == [200, 500, 500]
    assert (wire.struck, echo.count) == (2, 1)
    wire.fail("500_after", on="read")
    assert [ask(wire, method)[0] for method in ("GET", "POST")] == [500, 200]
    assert (wire.struck, echo.count) == (1, 3)
    wire.clear()
    assert ask(wire)[0] == 200


@pytest.mark.parametrize(
    ("fault", "error", "carried_out"),
    [
        ("reset", (ConnectionResetError, http.client.RemoteDisconnected), 0),
        ("drop_before", http.client.RemoteDisconnected, 0),
        ("drop_after", http.client.RemoteDisconnected, 1),
        ("reset_after", (ConnectionResetError, http.client.RemoteDisconnected), 1),
        ("cut", http.client.IncompleteRead, 1),
    ],
)
def test_a_connection_breaks_before_or_after(serve, fault, error, carried_out):
    echo = Echo()
    wire = serve(echo)
    wire.fail(fault)
    with pytest.raises(error):
        ask(wire)
    assert echo.count == carried_out


def test_the_refusing_address_refuses(serve):
    wire = serve(Echo())
    wire.url = wire.refused()
    with pytest.raises(ConnectionRefusedError):
        ask(wire)


def test_an_answer_lies_about_the_amount_or_the_currency(serve):
    wire = serve(Echo())
    wire.fail("wrong_amount", amount=Money("42.10", "EUR"))
    assert json.loads(ask(wire)[2])["amount"] == 4211
    wire.fail("wrong_currency", amount=Money("42.10", "EUR"))
    assert json.loads(ask(wire)[2])["currency"] == "USD"


def test_an_answer_tells_of_a_status_that_nobody_knows(serve):
    wire = serve(Echo())
    wire.fail("unknown_status", amount=Money("42.10", "EUR"))
    told = json.loads(ask(wire)[2])
    assert (told["status"], told["amount"]) == ("unheard_of", 4210)


def test_what_says_nothing_cannot_lie_and_counts_as_not_hit(serve):
    wire = serve(Echo())
    for fault in ("empty", "cut", "wrong_amount", "unknown_status"):
        wire.fail(fault, amount=Money("42.10", "EUR"))
        assert ask(wire, path="/nothing")[0] == 204
        assert wire.struck == 0


def test_a_refusal_stays_with_its_key(serve):
    wire = serve(Echo())
    wire.fail("400")
    assert ask(wire, Idempotency_Key="k")[0] == 400
    wire.clear()
    assert ask(wire, Idempotency_Key="k")[0] == 400
    assert ask(wire, Idempotency_Key="l")[0] == 200


def test_an_unknown_fault_is_refused(serve):
    with pytest.raises(ValueError, match="a fault is one of refused, reset"):
        serve(Echo()).fail("earthquake")


def test_a_mistake_of_the_counterpart_is_kept_for_the_test(serve):
    class Wrong(Counterpart):
        def handle(self, method, path, headers, body):
            if method == "POST":
                raise KeyError("mistake")
            return {"id": 1}

    wire = serve(Wrong())
    assert [ask(wire, method)[0] for method in ("POST", "GET")] == [501, 501]
    assert [str(error) for error in wire.errors] == [
        "'mistake'",
        "handle() returns status, headers and body, not {'id': 1}",
    ]
