"""When recovery looks at a session again: every kind of waiting, and how the waits grow."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, eur
from paysession import Capabilities, Declined, Kind, Outcome, Status
from paysession._ledger.evidence import from_answer
from paysession._ledger.ledger import Ledger
from paysession._ledger.rules import Request, begin, claim
from paysession._ledger.schedule import schedule
from paysession.values import replace

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

ASKED = Capabilities(lookup="consistent")
UNASKED = Capabilities(lookup="none")
LOCAL = Capabilities(lookup="consistent", local=True)


def authorized(**changes):
    return a_session(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def wait(session, capabilities=ASKED, **options):
    """Return how long it is until recovery has something to do; None: for ever."""
    ledger = Ledger(session, NOW)
    schedule(ledger, capabilities, **options)
    due_at = ledger.session.due_at
    return None if due_at is None else due_at - NOW


def waits(session, capabilities=ASKED, *, checks, **options):
    return [wait(replace(session, checks=number), capabilities, **options) for number in checks]


# --- what is in doubt ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unavailable", [True, False])
def test_doubt_and_a_provider_that_is_unavailable_are_looked_into_from_five_seconds_to_an_hour(unavailable):
    options = {"capabilities": None} if unavailable else {"doubt": True}
    seconds = [wait.total_seconds() for wait in waits(authorized(), checks=range(12), **options)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_a_look_into_what_is_in_doubt_is_counted():
    ledger = Ledger(authorized(checks=3), NOW)
    schedule(ledger, ASKED, doubt=True)
    assert ledger.session.checks == 4
    schedule(ledger, ASKED)
    assert ledger.session.checks == 4


def test_an_operation_that_goes_on_is_looked_into_when_its_lease_runs_out():
    ledger, operation = begin(authorized(), Request(Kind.CANCEL), ASKED, NOW)
    schedule(ledger, ASKED)
    assert ledger.session.due_at == operation.lease_until == NOW + 90 * SECOND


# --- a requested cancel -------------------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [ASKED, UNASKED, LOCAL])
def test_a_requested_cancel_is_sent_at_once_and_then_at_growing_intervals(capabilities):
    session = authorized(cancel_requested=True, pending=1, expires_at=NOW + DAY)
    expected = [0 * SECOND, 5 * SECOND, 10 * SECOND, 20 * SECOND, HOUR]
    assert waits(session, capabilities, checks=(0, 1, 2, 3, 30)) == expected


# --- what is pending ----------------------------------------------------------------------------------


def test_what_is_pending_is_queried_from_five_minutes_to_six_hours():
    expected = [5 * MINUTE, 10 * MINUTE, 320 * MINUTE, 6 * HOUR]
    assert waits(authorized(pending=1), checks=(0, 1, 6, 7)) == expected


def test_what_is_pending_is_queried_when_its_provider_says():
    assert wait(authorized(pending=1), first=3 * DAY) == 3 * DAY


def test_what_a_gateway_without_a_lookup_accepted_is_overdue_after_two_weeks_or_when_its_provider_says():
    assert wait(authorized(pending=1), UNASKED) == 14 * DAY
    assert wait(authorized(pending=1), UNASKED, first=HOUR) == HOUR


def test_what_is_pending_locally_waits_for_an_operator_as_long_as_that_takes():
    assert wait(authorized(pending=1), LOCAL) is None
    assert wait(authorized(pending=1), Capabilities(lookup="none", local=True), first=HOUR) is None


# --- a payer who has not paid yet ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.PENDING, Status.REQUIRES_MORE, Status.ERROR])
def test_a_gateway_is_queried_about_a_payer_for_a_week_and_then_more_seldom(status):
    first = waits(a_session(status), checks=(0, 1, 5, 6, 31))
    assert first == [10 * MINUTE, 20 * MINUTE, 320 * MINUTE, 6 * HOUR, 6 * HOUR]
    later = waits(a_session(status), checks=(32, 33, 34, 35, 36))
    assert later == [12 * HOUR, DAY, 2 * DAY, 4 * DAY, 7 * DAY]


def test_a_payer_whose_session_is_not_initiated_cannot_pay():
    assert wait(a_session(initiated=False)) is None


@pytest.mark.parametrize("status", [Status.PENDING, Status.REQUIRES_MORE])
def test_without_a_lookup_a_payers_time_is_over_an_hour_after_the_object_expired(status):
    assert wait(a_session(status, expires_at=NOW + DAY), UNASKED) == DAY + HOUR
    assert wait(a_session(status, expires_at=NOW - DAY), UNASKED) == HOUR


@pytest.mark.parametrize(
    "session",
    [
        a_session(),
        a_session(initiated=False, expires_at=NOW + DAY),
        a_session(Status.ERROR, expires_at=NOW + DAY),
        authorized(expires_at=NOW + DAY),
        authorized(disputes=1),
    ],
)
def test_without_a_lookup_nothing_else_is_ever_due(session):
    assert wait(session, UNASKED) is None


# --- what may change at the gateway -------------------------------------------------------------------


def test_an_authorization_is_queried_once_it_has_expired_and_until_the_gateway_says_so():
    assert wait(authorized(expires_at=NOW + DAY)) == DAY
    assert waits(authorized(expires_at=NOW - DAY), checks=(0, 1)) == [5 * MINUTE, 10 * MINUTE]


@pytest.mark.parametrize(
    "session",
    [
        authorized(),
        authorized(captured=4200, expires_at=NOW + DAY),
        a_session(Status.CANCELED, released=True, expires_at=NOW + DAY),
    ],
)
def test_what_nothing_can_change_is_at_rest(session):
    assert wait(session) is None


def test_a_dispute_is_queried_from_six_hours_to_a_day():
    session = authorized(captured=4200, disputes=1)
    assert waits(session, checks=(0, 1, 2, 3)) == [6 * HOUR, 12 * HOUR, DAY, DAY]


CANCELS = Capabilities(capture="multiple", lookup="lagging", lookup_lag=MINUTE)


@pytest.mark.parametrize(
    ("session", "kind", "again", "answer", "expected"),
    [
        (authorized(), Kind.CANCEL, True, Outcome.canceled(), 6 * MINUTE),
        (authorized(), Kind.CANCEL, False, Outcome.canceled(), None),
        (authorized(), Kind.CANCEL, True, Declined("no", "words"), None),
        (authorized(), Kind.CAPTURE, True, Outcome.captured(eur("42.00")), None),
        (a_session(), Kind.AUTHORIZE, True, Outcome.canceled(), None),
    ],
)
def test_a_cancel_that_was_answered_when_it_was_sent_again_is_queried_once_a_lookup_shows_it(
    session, kind, again, answer, expected
):
    ledger, operation = begin(session, Request(kind), CANCELS, NOW)
    if again:
        ledger, operation = claim(ledger.session, operation, now=NOW, capabilities=CANCELS)
    ledger = Ledger(ledger.session, NOW)
    from_answer(ledger, operation, answer, CANCELS)
    assert ledger.session.due_at == (expected and NOW + expected)


# --- an abandoned session -----------------------------------------------------------------------------


def test_an_unpaid_session_is_due_when_it_is_abandoned_if_nothing_else_is_before():
    assert wait(a_session(abandon_at=NOW + DAY)) == 10 * MINUTE
    assert wait(a_session(abandon_at=NOW + MINUTE)) == MINUTE
    assert wait(a_session(abandon_at=NOW + DAY), UNASKED) == DAY


@pytest.mark.parametrize("since", [0 * MINUTE, DAY])
def test_the_cancel_of_an_abandoned_session_that_failed_is_attempted_again_at_growing_intervals(since):
    session = a_session(abandon_at=NOW - since)
    assert waits(session, UNASKED, checks=(0, 1, 2, 9)) == [5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 6 * HOUR]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.AUTHORIZED, "authorized": 4200, "granted": 4200, "expires_at": NOW + 3 * DAY},
        {"initiated": False},
        {"authorizing": "ps_1-1", "pending": 1},
        {"cancel_requested": True, "checks": 1},
    ],
)
def test_what_is_paid_not_begun_pending_or_canceled_is_not_abandoned(changes):
    session = a_session(**changes)
    assert wait(replace(session, abandon_at=NOW - DAY)) == wait(session)
    assert wait(replace(session, abandon_at=NOW + SECOND)) == wait(session)
