"""What a lookup that lags shows from before the ledger's last change proves nothing about what is less since."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import Capabilities, Outcome, OutcomeUnknown
from paysession.outcome import Snapshot

LAG = timedelta(minutes=5)


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


def test_a_stale_amount_does_not_say_that_an_update_in_doubt_was_carried_out(told):
    session = told.session("requires_more")
    told.clock.forward(hours=1)
    told.payments.update(session.id, eur("30.00"))
    told.clock.forward(seconds=10)
    told.fake.answers["update"] = OutcomeUnknown("lost on its way")
    with pytest.raises(OutcomeUnknown):
        told.payments.update(session.id, eur("42.00"))
    told.fake.snapshot = Snapshot("requires_more", amount=eur("42.00"), session_id=session.id)
    told.clock.forward(seconds=10)
    told.payments.sync(session.id)  # how it stood before the first update
    assert [row.operation.kind for row in told.payments.in_doubt()] == ["update"]
    assert told.payments.get(session.id).amount == eur("30.00")
    told.fake.snapshot = Snapshot("requires_more", amount=eur("30.00"), session_id=session.id)
    told.clock.forward(hours=1)
    told.payments.recover()
    assert told.rows(session.id)[-1][:3] == ("update", "host", "not_applied")
    assert told.payments.get(session.id).amount == eur("30.00")


def test_an_amount_that_is_fresh_says_that_an_update_in_doubt_was_carried_out(told):
    session = told.session("requires_more")
    told.fake.answers["update"] = OutcomeUnknown("lost on its way back")
    with pytest.raises(OutcomeUnknown):
        told.payments.update(session.id, eur("30.00"))
    told.fake.snapshot = Snapshot("requires_more", amount=eur("30.00"), session_id=session.id)
    told.clock.forward(hours=1)
    told.payments.recover()
    assert told.rows(session.id)[-1] == ("update", "host", "succeeded", "found", 3000)
    assert [kind for kind, _ in told.fake.calls].count("update") == 1


def test_a_stale_approval_is_no_reason_to_authorize_what_is_pending(told, caplog):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.pending()
    told.payments.authorize(session.id)
    told.fake.snapshot = Snapshot("requires_more", ready=True, session_id=session.id)
    told.clock.forward(seconds=10)
    assert told.payments.sync(session.id).pending == 1
    assert [kind for kind, _ in told.fake.calls].count("authorize") == 1
    assert "cannot be authorized" not in caplog.text
