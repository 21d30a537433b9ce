"""What gateways did beyond the order's amount: it is recorded, reported, and gives no room."""

import pytest

from helpers import eur
from paysession import (
    MemoryStore,
    NotApplied,
    Outcome,
    OutcomeUnknown,
)
from paysession.outcome import Effect, Snapshot


def test_two_sessions_that_browsers_authorized_at_once_do_not_pass_the_limit_unnoticed(make_told):
    class Racing(MemoryStore):
        then = None

        def operations(self, session_id):
            then, self.then = self.then, None
            if then is not None:
                then()
            return super().operations(session_id)

    told = make_told(store=Racing)
    one, two = told.session("requires_more"), told.session("requires_more")
    told.fake.authorize_in_browser(one.id)
    told.fake.authorize_in_browser(two.id)
    told.store.then = lambda: told.payments.sync(two.id)
    told.payments.sync(one.id)
    told.settle()
    held = told.payments.collection(told.order.id).held
    assert held == 4200, (held, told.books(one.id), told.books(two.id))
    assert "session.conflict" in told.told()


def test_more_than_the_limit_is_reported_where_another_conflict_is_open(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    provider = told.payments._registry.provider("fake")
    told.payments._recovery.record_effects(
        provider, session.id, [Effect("capture", eur("20.00"), reference="t1")]
    )
    assert told.books(session.id)[-1] == "amount"  # the payer transferred too little, and then all of it
    told.payments._recovery.record_effects(
        provider, session.id, [Effect("capture", eur("42.00"), reference="t2")]
    )
    assert told.books(session.id) == ("authorized", 6200, 6200, 0, "over_limit")
    assert told.told().count("session.conflict") == 2


def test_an_update_that_fails_after_the_payer_confirmed_gives_back_no_room(told):
    told.order = told.payments.update_collection(told.order.id, eur("50.00"))
    told.fake.answers["authorize"] = Outcome.requires_more()
    session = told.payments.initiate(told.order.id, provider="fake", amount=eur("42.00"))
    session = told.payments.authorize(session.id)
    assert session.held == 4200
    told.fake.answers["update"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", session_id=session.id)  # it tells no amounts
    with pytest.raises(OutcomeUnknown):
        told.payments.update(session.id, eur("45.00"))
    (doubt,) = told.payments.in_doubt()
    told.payments.resolve(doubt.operation.id, NotApplied("no"), note="ann")
    session = told.payments.get(session.id)
    assert (session.authorized, session.held) == (4200, 4200)
    assert told.payments.collection(told.order.id).held == 4200


def test_a_capture_that_is_resolved_after_another_was_found_is_reported_beyond_the_limit(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    other = Effect("capture", eur("1.00"), reference="t1", key="")
    told.fake.snapshot = Snapshot(
        "authorized", session_id=session.id, authorized=eur("42.00"), captured=eur("1.00"), effects=[other]
    )
    session = told.payments.sync(session.id)
    assert (session.captured_amount, session.conflict) == (eur("1.00"), None)
    (doubt,) = told.payments.in_doubt()
    session = told.payments.resolve(doubt.operation.id, Outcome.captured(eur("42.00")), note="ann")
    assert (session.authorized_amount, session.captured_amount) == (eur("43.00"), eur("43.00"))
    assert session.conflict == "amount"
    (conflict,) = told.payments.conflicts()
    assert (conflict.expected, conflict.found) == ("42.00 EUR", "43.00 EUR")
