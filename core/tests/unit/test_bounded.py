"""An answer has one limit of time and one of size, its head included."""

import http.client
import itertools
import socket

import pytest
import urllib3

from paysession.bounded import MOST, BoundedResponse, bounded_pools

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    yield ours, theirs
    ours.close()
    theirs.close()


def dripping(theirs, message, seconds):
    """Return a class of answers whose clock lets one byte arrive, and so many seconds pass, at each look."""
    times, places = itertools.count(0, seconds), itertools.count()

    def clock():
        place = next(places)
        theirs.sendall(message[place : place + 1])
        return next(times)

    return type("Dripping", (BoundedResponse,), {"clock": staticmethod(clock)})


def test_an_answer_that_comes_in_time_is_read(ends):
    ours, theirs = ends
    message = HEAD % 5 + b"hello"
    with dripping(theirs, message, 10 / len(message) / 2)(ours) as answer:
        answer.begin()
        assert (answer.status, answer.read()) == (200, b"hello")
    assert ours.gettimeout() == 10  # what the next request on this connection waits for


@pytest.mark.parametrize(
    "message", [HEAD % 5 + b"hello", HEAD % 5 + b"hell", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 999]
)
def test_an_answer_that_drips_beyond_the_timeout_is_given_up(ends, message):
    ours, theirs = ends
    with dripping(theirs, message, 10 / len(message) * 1.1)(ours) as answer, pytest.raises(TimeoutError):
        answer.begin()
        answer.read()
    assert ours.gettimeout() == 10


def test_without_a_timeout_there_is_none(ends):
    ours, theirs = ends
    ours.settimeout(None)
    theirs.sendall(HEAD % 2 + b"ok")
    with BoundedResponse(ours) as answer:
        answer.begin()
        assert answer.read() == b"ok"


@pytest.mark.parametrize("head", [True, False])
def test_an_answer_that_is_too_large_is_given_up(ends, head):
    ours, theirs = ends
    small = type("Small", (BoundedResponse,), {"most": 1000})
    theirs.sendall(
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 500 + b"\r\n") * 60
        if head
        else HEAD % 50_000 + b" " * 50_000
    )
    with small(ours) as answer, pytest.raises(http.client.HTTPException, match="too large"):
        answer.begin()
        answer.read()
    assert MOST == 16 * 1024 * 1024


@pytest.mark.parametrize("coding", ["gzip", "BR", "deflate, gzip"])
def test_an_answer_that_is_compressed_is_refused(ends, coding):
    ours, theirs = ends
    theirs.sendall(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 0\r\n\r\n".encode())
    with BoundedResponse(ours) as answer, pytest.raises(http.client.HTTPException, match="identity"):
        answer.begin()


def test_pools_are_bounded_once():
    manager = urllib3.PoolManager()
    once = bounded_pools(manager.pool_classes_by_scheme)
    assert {scheme: pool.ConnectionCls.response_class for scheme, pool in once.items()} == {
        "http": BoundedResponse, "https": BoundedResponse,
    }  # fmt: skip
    assert bounded_pools(once) == once
    assert urllib3.connectionpool.HTTPConnectionPool.ConnectionCls.response_class is http.client.HTTPResponse
