"""What a payer's browser may cause: `resume` looks, and finishes what the payer did at the gateway."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import InvalidData, NotApplied, NotFound, OutcomeUnknown, Redirect
from paysession._engine import returns
from paysession._engine.returns import REMEMBERED, ReturnLimit
from paysession.provider import Effect, Outcome, Snapshot
from paysession_testing import FakeProvider


def asked_to_authorize(shop):
    return [kind for kind, _ in shop.fake.calls].count("authorize")


def reload(shop, session_id, times=10):
    """Open the return page again and again, slowly enough that each reload queries the gateway."""
    for _ in range(times):
        session = shop.payments.resume(session_id, payload={"from": "anybody"})
        shop.clock.forward(minutes=1)
    return session


def test_a_session_that_the_host_has_not_asked_to_authorize_is_not_charged(told):
    """As with a saved card: the gateway would charge it, and nothing there waits for the payer."""
    told.fake.snapshot = Snapshot("pending")
    told.fake.answers["initiate"] = Outcome.pending(reference="fake_1")
    session = told.session("requires_more")
    assert reload(told, session.id) == session
    assert asked_to_authorize(told) == 0
    assert len(told.fake.looks) == 10


@pytest.mark.parametrize("shown", [None, Snapshot("requires_more", ready=True)], ids=["fake", "ready"])
def test_what_was_declined_is_not_repeated_by_reloads_or_by_recovery(told, shown):
    session = told.session("requires_more")
    told.fake.fail_next("declined", kind="authorize")
    session = told.payments.authorize(session.id)
    assert session.status == "error"
    told.fake.snapshot = shown
    before = asked_to_authorize(told)
    after = reload(told, session.id)
    assert (after.status, after.version, after.error) == ("error", session.version, session.error)
    told.settle()
    assert asked_to_authorize(told) == before == 1
    assert told.payments.authorize(session.id).status == "authorized"


def test_a_payer_who_acts_again_after_a_decline_pays(told):
    session = told.session("requires_more")
    told.fake.fail_next("declined", kind="authorize")
    told.payments.authorize(session.id)
    told.fake.snapshot = Snapshot("requires_more", next_action=Redirect("https://fake.example/again"))
    session = told.payments.resume(session.id)
    assert (session.status, session.next_action.url) == ("requires_more", "https://fake.example/again")
    told.fake.snapshot = None  # approved since
    assert told.payments.resume(session.id).status == "authorized"


def test_a_payer_who_gives_up_at_the_gateway_leaves_no_operation_behind(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    session = shop.session("requires_more")
    shop.fake.payer_declines(session.id)
    session = reload(shop, session.id)
    assert (session.status, session.error.code) == ("error", "payer_declined")
    assert [row[0] for row in shop.rows(session.id)] == ["initiate"]
    assert shop.told() == ["session.initiated", "session.error"]


@pytest.mark.parametrize("case", ["waiting", "declined", "pending", "in doubt", "unreachable"])
def test_reloads_that_learn_nothing_write_nothing(told, case):
    session = told.session("requires_more")
    told.fake.snapshot = Snapshot("requires_more")
    if case == "declined":
        told.fake.fail_next("declined", kind="authorize")
        told.payments.authorize(session.id)
        told.fake.snapshot = Snapshot("requires_more", ready=True)
    elif case == "pending":
        told.fake.answers["authorize"] = Outcome.pending()
        told.payments.authorize(session.id)
        told.fake.snapshot = Snapshot("pending", effects=[Effect("authorize", eur("42.00"), "pending")])
    elif case == "in doubt":
        told.fake.fail_next("timeout", kind="authorize")
        with pytest.raises(OutcomeUnknown):
            told.payments.authorize(session.id)
    elif case == "unreachable":
        told.fake.snapshot = NotApplied("down")
    before = told.payments.get(session.id), told.rows(session.id), told.told(), asked_to_authorize(told)
    looks = len(told.fake.looks)
    reload(told, session.id)
    assert len(told.fake.looks) == looks + 10
    after = told.payments.get(session.id), told.rows(session.id), told.told(), asked_to_authorize(told)
    assert after == before


def test_an_approval_is_finished_once_with_what_the_browser_brought(told):
    session = told.session("requires_more")
    session = reload(told, session.id)
    assert session.status == "authorized"
    assert told.rows(session.id)[-1][:4] == ("authorize", "payer", "succeeded", "authorized")
    assert asked_to_authorize(told) == 1
    assert len(told.fake.looks) == 1  # at rest, it is not asked about any more


def test_an_approval_that_a_notification_or_recovery_finds_is_the_payers_too(told):
    session = told.session("requires_more")
    assert told.payments.sync(session.id).status == "authorized"
    assert told.rows(session.id)[-1][1] == "payer"


def test_attempts_that_are_not_applied_grow_rarer_however_often_the_page_is_loaded(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = NotApplied("unavailable")
    for _ in range(360):  # an hour
        told.payments.resume(session.id)
        told.clock.forward(seconds=10)
    assert 3 < asked_to_authorize(told) < 12
    del told.fake.answers["authorize"]
    told.clock.forward(hours=2)
    assert told.payments.resume(session.id).status == "authorized"


def failed(told, session_id):
    """Return at the gateway's page, to which authorizing is not applied; return whether that was tried."""
    before = asked_to_authorize(told)
    session = told.payments.resume(session_id)
    assert (session.id, session.status) == (session_id, "requires_more")
    return asked_to_authorize(told) > before


def test_after_three_attempts_that_were_not_applied_a_return_waits_a_minute_and_then_two(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = NotApplied("unavailable")
    for _ in range(3):
        told.clock.forward(seconds=30)
        assert failed(told, session.id)
    for wait in (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)):
        told.clock.now += wait - timedelta(seconds=1)
        assert not failed(told, session.id)
        told.clock.forward(seconds=1)
        assert failed(told, session.id)


def test_updates_that_were_not_applied_do_not_keep_a_payer_waiting(told):
    session = told.session("requires_more")
    told.fake.answers["update"] = NotApplied("unavailable")
    for _ in range(3):
        with pytest.raises(NotApplied):
            told.payments.update(session.id, eur("40.00"))
    assert told.payments.resume(session.id).status == "authorized"


def test_an_approval_that_another_session_leaves_no_room_for_is_shown_as_it_is(make_shop):
    shop = make_shop(FakeProvider(approve=False))
    first, second = shop.session("requires_more"), shop.session("requires_more")
    for session in (first, second):
        shop.fake.payer_approves(session.id)
    assert shop.payments.resume(first.id).status == "authorized"
    assert shop.payments.resume(second.id) == second
    assert asked_to_authorize(shop) == 1


def test_a_debit_that_the_payer_began_in_the_browser_holds_the_amount(told):
    session = told.session("requires_more")
    debit = Effect("authorize", eur("42.00"), "pending")
    told.fake.snapshot = Snapshot("pending", amount=eur("42.00"), effects=[debit])
    session = reload(told, session.id)
    assert (session.status, session.held, session.pending, session.next_action) == ("pending", 4200, 1, None)
    assert told.told() == ["session.initiated", "operation.pending"]
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"))
    assert told.payments.resume(session.id).authorized_amount == eur("42.00")
    assert [row[:3] for row in told.rows(session.id)][1:] == [("authorize", "provider", "succeeded")]


def test_a_gateway_that_cannot_be_queried_is_left_alone(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    session = shop.session("requires_more")
    assert reload(shop, session.id) == session
    assert asked_to_authorize(shop) == 0
    assert shop.payments.authorize(session.id, payload={"signed": "by the gateway"}).status == "authorized"


def test_an_answer_that_is_on_its_way_is_not_asked_about(told):
    session = told.session("requires_more")
    seen = []
    told.fake.meanwhile["authorize"] = lambda: seen.append(told.payments.resume(session.id))
    assert told.payments.authorize(session.id).status == "authorized"
    assert (seen[0].in_doubt, told.fake.looks) == (True, [])


def test_what_is_wrong_with_a_return_is_said(told):
    session = told.session("requires_more")
    with pytest.raises(NotFound):
        told.payments.resume("ps_unknown")
    with pytest.raises(InvalidData):
        told.payments.resume(session.id, payload={"x": object()})


# --- how often a gateway is queried ---------------------------------------------------------------


def test_reloads_query_the_gateway_five_times_and_then_every_ten_seconds(told):
    told.fake.snapshot = Snapshot("requires_more")
    first = told.session("requires_more")
    other = told.payments.initiate(told.order.id, provider="fake")

    def looks(session, times=50):
        before = len(told.fake.looks)
        for _ in range(times):
            told.payments.resume(session.id)
        return len(told.fake.looks) - before

    assert looks(first) == 5
    assert looks(other) == 5, "each session has its own"
    told.clock.forward(seconds=9)
    assert looks(first) == 0
    told.clock.forward(seconds=1)
    assert looks(first) == 1
    told.clock.forward(minutes=1)
    assert looks(first) == 5


def test_a_clock_that_is_set_back_does_not_shut_the_payer_out(told):
    told.fake.snapshot = Snapshot("requires_more")
    session = told.session("requires_more")
    reload(told, session.id, times=1)
    told.clock.forward(days=-1)
    told.payments.resume(session.id)
    assert len(told.fake.looks) == 2


def test_the_limit_remembers_a_bounded_number_of_sessions(told):
    limit, now = ReturnLimit(), told.clock()
    for number in range(3 * REMEMBERED):
        assert limit.allows(f"ps_{number}", now)
    assert len(limit._free_at) + len(limit._earlier) <= REMEMBERED
    last = f"ps_{3 * REMEMBERED - 1}"
    assert [limit.allows(last, now) for _ in range(5)] == [True, True, True, True, False]
    assert limit.allows(last, now + timedelta(seconds=10))


def test_the_limit_remembers_the_latest_half_of_them_at_least(told, monkeypatch):
    monkeypatch.setattr(returns, "REMEMBERED", 12)
    limit, now = ReturnLimit(), told.clock()
    for number in range(30):
        asked = [limit.allows(f"ps_{number}", now) for _ in range(6)]
        assert asked == [True] * 5 + [False]
        latest = range(max(0, number - 5), number + 1)
        assert not any(limit.allows(f"ps_{other}", now) for other in latest)
        assert len(limit._free_at) + len(limit._earlier) <= 12
