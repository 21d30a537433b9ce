"""No request to PayPal takes longer than the caller of the hook waits."""

import time
from datetime import timedelta

import pytest

from paysession import MemoryStore, Money, NotApplied, Payments
from paysession._plugins.registry import Registry
from paysession_paypal import PayPal
from paysession_paypal.wire import NotSent


class Noting:
    """Sends nothing, and notes how many seconds each request would have had."""

    def __init__(self):
        self.left = []

    def send(self, _request, deadline):
        self.left.append(deadline - time.monotonic())
        raise NotSent("not tried")

    def close(self):
        pass


@pytest.mark.parametrize(
    ("deadline", "most"), [(timedelta(seconds=5), 5), (timedelta(hours=1), 30), (None, 30)]
)
def test_a_request_has_the_budget_of_its_hook_or_the_time_of_its_caller(deadline, most):
    transport = Noting()
    provider = PayPal(client_id="c", client_secret="s", transport=transport, timeout=10)
    with Payments(MemoryStore(), Registry({"paypal": provider}), call_deadline=deadline) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="order-1")
        with pytest.raises(NotApplied):
            payments.initiate(order.id, provider="paypal")
    assert transport.left[0] <= most
    if deadline is None or deadline > timedelta(minutes=1):
        assert transport.left[0] > 5
