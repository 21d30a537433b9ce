"""The gateway's own truth: dashboards, browsers, chargebacks, and what contradicts our ledger."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Capabilities,
    Failure,
    InvalidAmount,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    hookimpl,
)
from paysession._plugins.registry import Provider
from paysession.outcome import Effect, Snapshot
from paysession_testing import FakeProvider

LOST = Failure("lost_or_stolen_card", "The card was reported lost.")


def kinds(shop, session):
    return [(row.kind, row.origin, row.state) for row in shop.payments.history(session.id)]


def test_a_refund_in_the_dashboard_becomes_the_providers_operation(shop):
    session = shop.session("captured")
    shop.payments.refund(session.id, eur("2.00"))
    shop.fake.refund_in_dashboard(session.id, eur("5.00"))
    for _ in range(2):
        session = shop.payments.sync(session.id)
    assert session.refunded_amount == eur("7.00")
    assert kinds(shop, session)[-2:] == [("refund", "host", "succeeded"), ("refund", "provider", "succeeded")]
    assert session.conflict is None


def test_a_capture_in_the_dashboard_is_booked(shop):
    session = shop.session()
    shop.fake.capture_in_dashboard(session.id, eur("5.00"))
    session = shop.payments.sync(session.id)
    assert (session.captured_amount, session.authorized_amount) == (eur("5.00"), eur("42.00"))


@pytest.mark.parametrize(("captured", "status", "left"), [(None, "canceled", 0), ("5.00", "authorized", 500)])
def test_an_authorization_that_expires_follows_the_rules_of_cancel(shop, captured, status, left):
    session = shop.session()
    if captured:
        shop.payments.capture(session.id, eur(captured))
    shop.fake.cancel_in_dashboard(session.id)
    session = shop.payments.sync(session.id)
    assert (session.status, session.authorized) == (status, left)
    assert shop.payments.collection(shop.order.id).held == left
    assert kinds(shop, session)[-1] == ("cancel", "provider", "succeeded")
    version = session.version
    assert shop.payments.sync(session.id).version == version


def test_what_the_browser_authorized_is_booked_without_our_call(shop):
    session = shop.session("requires_more")
    shop.fake.authorize_in_browser(session.id)
    session = shop.payments.sync(session.id)
    assert (session.status, session.authorized_amount, session.held) == ("authorized", eur("42.00"), 4200)
    assert shop.payments.collection(shop.order.id).held == 4200


def test_what_the_browser_authorized_beyond_the_limit_is_reported_and_cancelled(shop):
    one, two = shop.session("requires_more"), shop.session("requires_more")
    shop.payments.authorize(one.id)
    shop.fake.authorize_in_browser(two.id)
    two = shop.payments.sync(two.id)
    assert two.status == "canceled"
    (conflict,) = (event for event in shop.payments.events() if event.type == "session.conflict")
    assert conflict.detail == "over_limit: expected 0.00 EUR, found 42.00 EUR"
    assert shop.fake.ledger[-1].kind == "cancel"
    assert shop.payments.collection(shop.order.id).held == 4200


def test_an_authorization_after_the_cancel_is_booked_and_cancelled(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    session = told.payments.sync(session.id)
    assert (session.status, session.authorized, session.conflict) == ("canceled", 0, None)
    conflicts = [event for event in told.payments.events() if event.type == "session.conflict"]
    assert len(conflicts) == 1
    assert conflicts[0].authorized_amount == eur("42.00")
    assert conflicts[0].detail == "authorized_after_cancel: expected nothing, found 42.00 EUR"
    assert told.payments.collection(told.order.id).held == 0


def test_money_taken_after_the_cancel_can_be_refunded(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    told.fake.capture_in_dashboard(session.id, eur("42.00"))
    session = told.payments.sync(session.id)
    assert (session.status, session.captured_amount) == ("canceled", eur("42.00"))
    assert session.conflict == "authorized_after_cancel"
    session = told.payments.refund(session.id)
    assert (session.refunded_amount, session.conflict) == (eur("42.00"), None)


def test_conflicts_are_listed_of_all_sessions_or_of_one(shop):
    sessions = [shop.session(amount=eur("20.00")), shop.session(amount=eur("22.00"))]
    for session in sessions:
        shop.fake.capture_in_dashboard(session.id, eur("50.00"))
        shop.payments.sync(session.id)
    assert {row.session_id for row in shop.payments.conflicts()} == {session.id for session in sessions}
    for session in sessions:
        (row,) = shop.payments.conflicts(session_id=session.id)
        assert row.session_id == session.id
    assert shop.payments.conflicts(session_id="ps_nix") == ()


def test_an_object_that_outlived_the_cancel_is_cancelled(told):
    session = told.session("requires_more")
    told.fake.fail_next("timeout", kind="cancel")
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    told.settle()
    assert told.payments.get(session.id).status == "canceled"
    assert told.fake._accounts[session.id].canceled


def test_a_browser_that_confirms_during_an_update_decides_it(told):
    for asked, confirmed in (("40.00", "40.00"), ("40.00", "42.00")):
        session = told.session("requires_more")
        told.fake.fail_next("timeout", kind="update")
        with pytest.raises(OutcomeUnknown):
            told.payments.update(session.id, eur(asked))
        told.fake.authorize_in_browser(session.id, eur(confirmed))
        session = told.payments.sync(session.id)
        assert (session.amount, session.authorized_amount) == (eur(confirmed), eur(confirmed))
        assert not session.in_doubt
        told.payments.cancel(session.id)


def test_a_reversed_refund_is_undone_once_by_an_operation_of_its_own(told):
    session = told.session("captured")
    told.payments.refund(session.id, eur("5.00"))
    refund = told.payments.history(session.id)[-1]
    effects = [
        Effect("capture", eur("42.00"), reference=told.fake.ledger[1].reference),
        Effect("refund", eur("5.00"), "failed", refund.reference, refund.key, error=LOST),
    ]
    told.fake.snapshot = Snapshot("authorized", effects=effects)
    for _ in range(3):
        session = told.payments.sync(session.id)
    assert session.refunded == 0
    rows = told.payments.history(session.id)
    assert [row.reverses for row in rows] == [None] * 4 + [refund.id]
    assert rows[-1].error == LOST
    assert [e.type for e in told.payments.events()][-2:] == ["session.refunded", "session.reversed"]


def test_a_dashboard_refund_counts_against_the_capture_it_names(told):
    told.fake.capabilities = evolve(told.fake.capabilities, refund_needs_capture=True)
    told = type(told)(told.fake)
    session = told.session()
    for amount in ("20.00", "15.00"):
        session = told.payments.capture(session.id, eur(amount))
    first, second = (row for row in told.payments.history(session.id) if row.kind == "capture")
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("refund", eur("12.00"), reference="re_1", capture=second.reference)]
    )
    told.payments.sync(session.id)
    assert told.payments.history(session.id)[-1].capture_id == second.id
    with pytest.raises(InvalidAmount, match=r"3\.00 EUR is left"):
        told.payments.refund(session.id, eur("4.00"), capture=second.id)
    session = told.payments.refund(session.id, eur("20.00"), capture=first.id)
    assert session.refunded_amount == eur("32.00")


def test_a_pending_refund_that_fails_keeps_the_gateways_reason(told):
    session = told.session("captured")
    told.fake.answers["refund"] = Outcome.pending(reference="re_1")
    session = told.payments.refund(session.id, eur("5.00"))
    refund = told.payments.history(session.id)[-1]
    assert (refund.state, session.refunded) == ("pending", 0)
    failed = Effect("refund", eur("5.00"), "failed", "re_1", refund.key, error=LOST)
    told.fake.snapshot = Snapshot("authorized", effects=[failed])
    session = told.payments.sync(session.id)
    refund = told.payments.history(session.id)[-1]
    assert (refund.state, refund.error, session.refunding) == ("declined", LOST, 0)


def test_totals_alone_are_booked_too(told):
    session = told.session()
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42"), captured=eur("30"), refunded=eur("7"))
    session = told.payments.sync(session.id)
    assert (session.captured, session.refunded) == (3000, 700)
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42"), captured=eur("30"), refunded=eur("4"))
    session = told.payments.sync(session.id)
    assert (session.captured, session.refunded) == (3000, 400)
    assert told.payments.sync(session.id).version == session.version


def test_totals_settle_an_operation_in_doubt(told):
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot("authorized", captured=eur("20.00"))
    session = told.payments.capture(session.id, eur("20.00"))
    assert session.captured_amount == eur("20.00")
    assert kinds(told, session)[-1] == ("capture", "host", "succeeded")


def test_an_effect_without_a_key_settles_the_operation_in_doubt_and_one_with_another_key_does_not(told):
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("capture", eur("20.00"), reference="a", key="")]
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("20.00"))
    assert told.payments.get(session.id).captured_amount == eur("20.00")  # somebody else's
    ours = Effect("capture", eur("20.00"), reference="b")
    told.fake.snapshot = Snapshot("authorized", effects=[*told.fake.snapshot.effects, ours])
    session = told.payments.sync(session.id)
    assert (session.captured_amount, session.in_doubt) == (eur("40.00"), False)


def test_another_amount_than_was_asked_is_booked_and_reported(told):
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    key = told.next_key(session.id, "capture", eur("20.00"))
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("capture", eur("19.00"), reference="a", key=key)]
    )
    session = told.payments.capture(session.id, eur("20.00"))
    assert (session.captured_amount, session.conflict) == (eur("19.00"), "amount")


def test_another_currency_is_reported_and_settles_nothing(told):
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot("authorized", captured=Money("42.00", "USD"))
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    session = told.payments.get(session.id)
    assert (session.captured, session.conflict, session.in_doubt) == (0, "currency", True)
    conflicts = [e for e in told.payments.events() if e.type == "session.conflict"]
    told.payments.sync(session.id)
    assert conflicts == [e for e in told.payments.events() if e.type == "session.conflict"]


def test_an_object_of_another_session_is_not_taken_for_ours(told):
    session = told.session("requires_more")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42"), session_id="ps_other")
    with pytest.raises(OutcomeUnknown, match="another session"):
        told.payments.sync(session.id)
    assert session == told.payments.get(session.id)


@pytest.mark.parametrize("reference", [None, "fake_other"])
def test_an_object_found_elsewhere_is_adopted_only_if_it_carries_our_id(told, reference):
    if reference is None:
        told.fake.fail_next("timeout", kind="initiate")
        told.fake.snapshot = Snapshot.absent()
        with pytest.raises(OutcomeUnknown):
            told.session()
        session = told.payments.sessions()[0]
    else:
        session = told.session("requires_more")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42"), reference=reference)
    with pytest.raises(OutcomeUnknown, match="does not carry our session's id"):
        Provider("fake", told.fake).retrieve(session, None)
    told.fake.snapshot = Snapshot("authorized", reference=reference, session_id=session.id)
    assert Provider("fake", told.fake).retrieve(session, None) is told.fake.snapshot


def test_a_payer_who_is_ready_waits_while_another_session_holds_the_amount(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    other = shop.session("requires_more")
    shop.fake.payer_approves(other.id)
    shop.payments.authorize(other.id)
    shop.fake.payer_approves(session.id)
    assert shop.payments.sync(session.id).status == "requires_more"
    shop.payments.cancel(other.id)
    assert shop.payments.sync(session.id).status == "authorized"


@pytest.fixture
def slow(told):
    """Return a shop whose gateway accepts operations, and finishes them later."""
    told.fake.answers = {
        "authorize": Outcome.pending(reference="pi"),
        "refund": Outcome.pending(reference="re_1"),
        "cancel": Outcome.pending(),
    }
    return told


def test_a_pending_authorization_reserves_and_settles_later(slow):
    session = slow.session()
    assert (session.status, session.authorized, session.held) == ("pending", 0, 4200)
    with pytest.raises(Exception, match="pending at the provider"):
        slow.payments.authorize(session.id)
    assert slow.payments.resume(session.id).status == "pending"
    slow.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"))
    slow.settle()
    session = slow.payments.get(session.id)
    assert (session.status, session.authorized, session.pending, session.due_at) == (
        "authorized",
        4200,
        0,
        None,
    )
    assert kinds(slow, session)[-1] == ("authorize", "payer", "succeeded")


def test_a_pending_authorization_that_fails_releases_its_amount(slow):
    session = slow.session()
    slow.fake.snapshot = Snapshot("error")
    session = slow.payments.sync(session.id)
    assert (session.status, session.held, session.pending) == ("error", 0, 0)
    events = [event.type for event in slow.payments.events()]
    assert events == ["session.initiated", "operation.pending", "session.error"]


@pytest.mark.parametrize(("state", "refunded"), [("succeeded", 4200), ("failed", 0)])
def test_a_pending_refund_is_left_out_of_the_totals_until_it_settles(slow, state, refunded):
    session = slow.session()
    slow.fake.snapshot = told = Snapshot("authorized", authorized=eur("42.00"), captured=eur("42.00"))
    slow.payments.sync(session.id)
    session = slow.payments.refund(session.id)
    assert (session.refunded, session.refunding) == (0, 4200)
    with pytest.raises(Exception, match="nothing is left"):
        slow.payments.refund(session.id)
    effect = Effect("refund", eur("42.00"), state, "re_1")
    slow.fake.snapshot = Snapshot(
        "authorized", authorized=told.authorized, captured=told.captured, effects=[effect]
    )
    session = slow.payments.sync(session.id)
    assert (session.refunded, session.refunding, session.pending) == (refunded, 0, 0)


def test_a_pending_cancel_ends_the_session_when_it_settles(slow):
    session = slow.session("requires_more")
    session = slow.payments.cancel(session.id)
    assert (session.status, session.pending) == ("requires_more", 1)
    slow.fake.snapshot = Snapshot("canceled")
    slow.settle()
    session = slow.payments.get(session.id)
    assert (session.status, session.pending) == ("canceled", 0)
    assert [row.kind for row in slow.payments.history(session.id)] == ["initiate", "cancel"]


def test_a_payer_who_approved_and_never_returned_is_no_lost_sale(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    assert shop.payments.resume(session.id).status == "requires_more"
    shop.settle()
    assert shop.payments.get(session.id).status == "requires_more"
    shop.fake.payer_approves(session.id)
    shop.settle()
    assert shop.payments.get(session.id).status == "authorized"


def test_a_payer_who_never_comes_is_asked_about_once_a_week_in_the_end(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    for _ in range(40):
        shop.clock.now = shop.payments.get(session.id).due_at
        shop.payments.recover()
    assert shop.payments.get(session.id).due_at == shop.clock.now + timedelta(days=7)


def test_a_lookup_that_lags_undoes_nothing_it_does_not_show_yet(told):
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="lagging", lookup_lag=timedelta(minutes=5)
    )
    shop = type(told)(told.fake)
    session = shop.session("captured")
    shop.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), captured=eur("0"))
    assert shop.payments.sync(session.id).captured_amount == eur("42.00")


def test_what_the_observers_hear(make_shop):
    heard = []

    class Watch:
        @hookimpl
        def session_changed(self, before, after, operation):
            heard.append((before.status if before else None, after.status, operation.kind))

        @hookimpl
        def operation_in_doubt(self, operation):
            heard.append(("doubt", operation.kind))

        @hookimpl
        def conflict_found(self, session, kind, expected, found):
            heard.append((kind, expected, found))

    class Broken:
        @hookimpl
        def session_changed(self, after):
            raise RuntimeError("an observer's own fault")

    shop = make_shop(FakeProvider(), plugins=[Broken(), Watch()])
    session = shop.session("requires_more")
    shop.fake.fail_next("timeout", kind="authorize")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    shop.fake.cancel_in_dashboard(session.id)
    shop.fake.authorize_in_browser(session.id, eur("50.00"))
    shop.payments.sync(session.id)
    assert ("requires_more", "requires_more", "initiate") in heard or (
        "pending",
        "requires_more",
        "initiate",
    ) in heard
    assert ("doubt", "authorize") in heard
    assert ("requires_more", "authorized", "authorize") in heard
    assert ("amount", "42.00 EUR", "50.00 EUR") in heard


def test_wrappers_stand_around_the_provider_and_may_veto(make_shop):
    class Limit:
        veto = False

        @hookimpl(wrapper=True)
        def capture(self, session, operation):
            if self.veto:
                raise NotApplied("not at night")
            answer = yield
            assert answer.answer == "captured"
            return answer

    class Loses:
        lose = False

        @hookimpl(wrapper=True)
        def refund(self, operation):
            answer = yield
            if self.lose:
                raise NotApplied("after the fact")
            return answer

    limit, loses = Limit(), Loses()
    shop = make_shop(FakeProvider(), plugins=[limit, loses])
    session = shop.session()
    limit.veto = True
    with pytest.raises(NotApplied, match="night"):
        shop.payments.capture(session.id)
    assert shop.fake.total(session.id, "capture") == 0
    limit.veto = False
    shop.payments.capture(session.id)
    loses.lose = True  # it hides an answer: what it says proves nothing, and the lookup decides
    assert shop.payments.refund(session.id).refunded_amount == eur("42.00")


def test_a_capture_shown_by_mistake_does_not_end_a_session_that_waits_for_the_payer(told):
    session = told.session("requires_more")
    for captured in ("0.01", "0.00"):
        told.fake.snapshot = Snapshot("requires_more", captured=eur(captured))
        session = told.payments.sync(session.id)
    assert (session.status, session.captured, session.authorized) == ("requires_more", 0, 0)


def test_a_wanted_cancel_that_the_gateway_declines_is_tried_again_ever_more_slowly(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    for _ in range(100):
        told.fake.fail_next("declined", kind="cancel")
    told.payments.sync(session.id)
    for _ in range(12 * 60):
        told.clock.forward(minutes=1)
        told.payments.recover()
    tried = [
        row for row in told.payments.history(session.id) if row.kind == "cancel" and row.state == "declined"
    ]
    assert 15 < len(tried) < 25
    told.fake._faults.clear()
    told.settle()
    session = told.payments.get(session.id)
    assert (session.cancel_requested, session.authorized, session.due_at) == (False, 0, None)


def test_what_is_authorized_after_a_cancel_is_followed_up_and_down(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    for authorized in ("42.00", "43.00", "10.00"):
        told.fake.snapshot = Snapshot("authorized", authorized=eur(authorized), captured=eur("10.00"))
        session = told.payments.sync(session.id)
        assert (session.status, session.authorized_amount, session.held) == (
            "canceled", eur(authorized), eur(authorized).minor,
        )  # fmt: skip
        event = told.payments.events()[-1]
        assert (event.authorized, event.captured) == (session.authorized, session.captured)
    assert told.payments.sync(session.id).version == session.version


def test_a_capture_at_authorization_does_not_settle_another_capture_of_that_amount(told):
    session = told.session()
    authorize = told.payments.history(session.id)[-1]
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("capture", eur("42.00"), "succeeded", "x", authorize.key)]
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    ours, found = told.payments.history(session.id)[-2:]
    assert (ours.state, found.state, found.origin, found.reference) == (
        "started",
        "succeeded",
        "provider",
        "x",
    )
    assert told.payments.get(session.id).captured == 4200


@pytest.fixture
def behind(told):
    """A shop whose gateway shows how it stood up to 45 seconds ago."""
    can = evolve(told.fake.capabilities, lookup="lagging", lookup_lag=timedelta(seconds=45))
    told.fake.capabilities = can
    return told


def an_authorization_in_doubt(behind):
    session = behind.session("requires_more")
    behind.clock.forward(minutes=5)
    behind.fake.answers["authorize"], behind.fake.snapshot = OutcomeUnknown("reset"), OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        behind.payments.authorize(session.id)
    behind.clock.forward(seconds=30)
    return behind.payments.history(session.id)[-1]


@pytest.mark.parametrize(("effects", "became"), [(["pending"], "pending"), ([], "started")])
def test_a_lookup_that_is_behind_settles_an_authorization_in_doubt_by_the_debit_it_shows(
    behind, effects, became
):
    row = an_authorization_in_doubt(behind)
    effects = [Effect("authorize", eur("42.00"), state, key=row.id) for state in effects]
    behind.fake.snapshot = Snapshot("pending", effects=effects)
    session = behind.payments.sync(row.session_id)
    assert session.pending == len(effects)
    assert behind.payments.history(row.session_id)[-1].state == became


@pytest.mark.parametrize("shown", ["requires_more", "error"])
def test_a_lookup_that_is_behind_settles_an_update_in_doubt_by_the_amount_it_shows(behind, shown):
    session = behind.session("requires_more")
    behind.fake.fail_next("timeout", kind="update")
    behind.fake.snapshot = Snapshot(shown, amount=eur("40.00"))
    assert behind.payments.update(session.id, eur("40.00")).amount == eur("40.00")


@pytest.mark.parametrize("shown", ["requires_more", "error"])
def test_a_lookup_that_is_behind_does_not_end_a_debit_that_it_does_not_show_yet(behind, shown):
    session = behind.session("requires_more")
    behind.clock.forward(minutes=5)
    behind.fake.answers["authorize"] = Outcome.pending()
    behind.payments.authorize(session.id)
    behind.fake.snapshot = Snapshot(shown, ready=True)
    behind.clock.forward(seconds=30)
    session = behind.payments.sync(session.id)
    assert (session.status, session.pending) == ("pending", 1)
    behind.fake.snapshot = Snapshot("authorized")
    behind.payments.sync(session.id)
    assert [(row.kind, row.state) for row in behind.payments.history(session.id)][1:] == [
        ("authorize", "succeeded")
    ]


def test_a_lookup_that_is_behind_is_believed_after_its_lag_though_recovery_looked_meanwhile(behind):
    session = behind.session("requires_more")
    behind.clock.forward(minutes=5)
    behind.fake.answers["authorize"] = Outcome.pending()
    behind.payments.authorize(session.id)
    behind.fake.snapshot = Snapshot("error")
    behind.clock.forward(minutes=6)
    behind.payments.recover()
    session = behind.payments.get(session.id)
    assert (session.status, session.pending, session.held) == ("error", 0, 0)


def test_a_lookup_that_is_behind_a_cancel_reports_no_conflict(behind):
    session = behind.session()
    behind.clock.forward(minutes=5)
    behind.payments.cancel(session.id)
    behind.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"))
    behind.clock.forward(seconds=30)
    session = behind.payments.sync(session.id)
    assert (session.status, session.conflict, session.cancel_requested) == ("canceled", None, False)
    behind.clock.forward(seconds=30)
    assert behind.payments.sync(session.id).version > session.version  # it still shows it: that is a conflict
    assert "session.conflict" in [event.type for event in behind.payments.events()]


def test_a_lookup_that_is_behind_shows_where_a_session_stands_that_nothing_is_open_of(behind):
    session = behind.session("requires_more")
    behind.fake.snapshot = Snapshot("error", error=Failure("gone", "The page has expired."))
    assert behind.payments.sync(session.id).status == "error"
