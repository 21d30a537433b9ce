"""Certificates that strangers name: each is fetched once, by one thread, and not without end."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from paysession.provider import OutcomeUnknown, WebhookRejected
from paysession_paypal import certificates
from paysession_paypal.certificates import Certificates


class Host:
    """What fetches: it answers, fails, or waits as a test says."""

    def __init__(self):
        self.asked, self.seconds = [], 0.0
        self.error = None
        self.entered, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()
        self.certificates = Certificates(self.load, timeout=10, elapsed=lambda: self.seconds)

    def load(self, url):
        self.asked.append(url)
        self.entered.release()
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return [url]

    def chain(self, url):
        return self.certificates.chain(url)

    def waiting(self, url):
        return self.certificates._fetches[os.getpid(), url].waiting


@pytest.fixture
def host():
    return Host()


def test_what_was_good_is_kept_and_said_to_be_known(host):
    assert [host.chain("a"), host.chain("a")] == [(["a"], False), (["a"], True)]
    assert host.asked == ["a"]


@pytest.mark.parametrize("error", [WebhookRejected("no"), OutcomeUnknown("down")])
def test_what_failed_is_not_fetched_again_for_a_while(host, error):
    host.error = error
    seen = []
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)) as caught:
            host.chain("a")
        seen.append(caught.value)
    assert host.asked == ["a"]
    assert error not in seen
    host.seconds += certificates.FAILED_FOR
    host.error = None
    assert host.chain("a") == (["a"], False)


def test_while_many_have_failed_only_what_is_known_is_served(host):
    host.chain("known")
    host.error = OutcomeUnknown("HTTP 404")
    for number in range(2 * certificates.FAILURES):
        with pytest.raises(OutcomeUnknown):
            host.chain(f"invented {number}")
    assert len(host.asked) == 1 + certificates.FAILURES
    host.error = None
    assert host.chain("known") == (["known"], True)
    with pytest.raises(OutcomeUnknown, match="too many"):
        host.chain("new")
    host.seconds += certificates.FAILED_FOR
    assert host.chain("new") == (["new"], False)
    assert len(host.certificates._failed) == 0


def test_one_thread_fetches_and_a_bounded_number_waits(host):
    host.go.clear()
    with ThreadPoolExecutor(certificates.WAITERS + 1) as pool:
        first = pool.submit(host.chain, "a")
        assert host.entered.acquire(timeout=10)
        others = [pool.submit(host.chain, "a") for _ in range(certificates.WAITERS)]
        until(lambda: host.waiting("a") == certificates.WAITERS)
        with pytest.raises(OutcomeUnknown, match="many wait"):
            host.chain("a")
        host.go.set()
        assert {str(row.result(10)) for row in (first, *others)} == {"(['a'], False)"}
    assert host.asked == ["a"]


def test_who_waits_is_given_the_same_error(host):
    host.go.clear()
    host.error = WebhookRejected("no certificate")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(host.chain, "a")
        assert host.entered.acquire(timeout=10)
        second = pool.submit(host.chain, "a")
        until(lambda: host.waiting("a") == 1)
        host.go.set()
        for row in (first, second):
            with pytest.raises(WebhookRejected, match="no certificate"):
                row.result(10)


def test_only_so_many_are_fetched_at_a_time(host):
    host.go.clear()
    with ThreadPoolExecutor(certificates.FETCHES) as pool:
        running = [pool.submit(host.chain, f"{number}") for number in range(certificates.FETCHES)]
        for _ in running:
            assert host.entered.acquire(timeout=10)
        with pytest.raises(OutcomeUnknown, match="too many"):
            host.chain("one more")
        host.go.set()
        for row in running:
            row.result(10)
    assert len(host.asked) == certificates.FETCHES


def test_a_fetch_that_is_interrupted_leaves_nobody_waiting(host):
    host.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        host.chain("a")
    host.error = None
    assert host.chain("a") == (["a"], False)


def test_a_child_process_does_not_wait_for_a_thread_of_its_parent(host):
    host.go.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(host.chain, "a")
        assert host.entered.acquire(timeout=10)
        child = os.fork()
        if not child:
            host.go.set()
            os._exit(0 if host.chain("a") == (["a"], False) else 1)
        assert os.waitpid(child, 0)[1] == 0
        host.go.set()
        running.result(10)


def until(condition):
    """Wait for what another thread is about to do."""
    done = threading.Event()
    for _ in range(2000):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it did not happen")
