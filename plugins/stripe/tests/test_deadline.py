"""No request to Stripe takes longer than the caller of the hook waits."""

import socket
import time
from datetime import timedelta

import pytest

from paysession import MemoryStore, Money, NotApplied, OutcomeUnknown, Payments
from paysession._plugins.registry import Registry
from paysession_stripe import Stripe


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def stripe(base):
    return Stripe(api_key="sk_test_x", api_base=base, timeout=60, max_network_retries=2)


def begin(provider, deadline):
    provider._gateway()  # loading the package takes its time
    payments = Payments(MemoryStore(), Registry({"stripe": provider}), call_deadline=deadline)
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1")
    return payments, lambda: payments.initiate(order.id, provider="stripe")


def test_a_server_that_never_answers_is_given_up_when_the_caller_is_answered(silent):
    payments, initiate = begin(stripe(silent), timedelta(seconds=0.2))
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        initiate()
    payments.close()  # waits for the request, which has a timeout of 60 s and two retries of its own
    assert time.monotonic() - begun < 30


def test_what_there_is_no_time_for_is_not_sent(silent):
    provider = stripe(silent)
    account = provider._gateway().account("", until=time.monotonic())
    with pytest.raises(NotApplied):
        account.cancel_intent("pi_1", key="k")
