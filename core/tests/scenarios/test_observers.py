"""When observers are notified: once of each change of a payment, and of nothing else."""

import pytest

from paysession import Money, hookimpl


class Observer:
    def __init__(self):
        self.seen = []

    @hookimpl
    def session_changed(self, before, after, operation):
        self.seen.append((str(operation.kind), str(operation.state), str(after.status)))


@pytest.fixture
def observer():
    return Observer()


@pytest.fixture
def shop(make_shop, observer):
    return make_shop(plugins=[observer])


def test_an_operation_is_reported_once_it_has_an_answer_and_not_when_it_begins(shop, observer):
    session = shop.session()
    shop.payments.capture(session.id, Money("10.00", "EUR"))
    assert observer.seen == [
        ("initiate", "succeeded", "requires_more"),
        ("authorize", "succeeded", "authorized"),
        ("capture", "succeeded", "authorized"),
    ]


def test_a_look_that_shows_nothing_new_is_reported_to_nobody(shop, observer):
    session = shop.session("requires_more")
    shop.fake.payer_declines(session.id)
    shop.payments.recover(now=True)
    observer.seen.clear()
    shop.settle()
    assert shop.payments.get(session.id).checks > 3
    assert observer.seen == []
