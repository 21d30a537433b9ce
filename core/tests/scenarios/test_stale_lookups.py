"""What a lookup that lags shows from before the ledger's last change proves nothing about what is less since."""

from datetime import timedelta

import pytest

from paysession import Capabilities, Money, Outcome
from paysession.outcome import Snapshot

LAG = timedelta(minutes=5)


def eur(amount):
    return Money(amount, "EUR")


@pytest.fixture
def told(make_told):
    told = make_told()
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="lagging", lookup_lag=LAG
    )
    return told


def test_a_stale_total_does_not_say_that_a_pending_cancel_has_succeeded(told):
    session = told.session()
    told.clock.forward(hours=1)
    told.fake.snapshot = Snapshot(
        "authorized", authorized=eur("50.00"), captured=eur("0"), session_id=session.id
    )
    assert told.payments.sync(session.id).authorized == 5000  # somebody authorized more
    told.fake.answers["cancel"] = Outcome.pending()
    told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot(
        "authorized", authorized=eur("42.00"), captured=eur("0"), session_id=session.id
    )
    after = told.payments.sync(session.id)  # how it stood before that
    assert (after.status, after.authorized, after.pending) == ("authorized", 5000, 1)
    told.clock.forward(hours=1)
    after = told.payments.sync(session.id)  # how it stands now
    assert (after.authorized, after.pending) == (4200, 1)
