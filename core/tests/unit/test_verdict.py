"""What to do about an operation in doubt, and from which moment on."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers import eur
from paysession import Capabilities, Kind, Status
from paysession._ledger.rules import Request, begin
from paysession._ledger.verdict import ABSENT, Doubt, Verdict, decide
from paysession.outcome import Snapshot
from paysession.store import SessionRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, MOMENT = timedelta(minutes=1), timedelta(microseconds=1)
CAN = Capabilities(capture="multiple", lookup="lagging", lookup_lag=3 * MINUTE, call_limit=MINUTE)
SHOWN = Snapshot("authorized", authorized=eur("42.00"), captured=eur("0.00"))
SESSION = SessionRow(
    id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=eur("42.00"),
    created_at=NOW, updated_at=NOW, status=Status.AUTHORIZED, initiated=True, granted=4200, authorized=4200,
)  # fmt: skip


def verdict(ago, *, capabilities=CAN, seen=SHOWN, window=timedelta(0), unanswered=False):
    """Return what to do about a capture that was first sent so long ago."""
    _, operation = begin(SESSION, Request(Kind.CAPTURE), capabilities, NOW)
    return decide(ABSENT, Doubt(SESSION, operation, capabilities, seen, ago, ago, unanswered, window)).verdict


def test_a_lookup_that_lags_is_waited_for():
    window = timedelta(hours=1)
    assert verdict(3 * MINUTE - MOMENT, window=window) is Verdict.WAIT
    assert verdict(3 * MINUTE, window=window) is Verdict.RESEND


def test_it_is_sent_again_while_the_key_is_kept_for_as_long_as_the_repetition_may_take():
    window = timedelta(hours=1)  # less a minute's call, and two minutes in flight after it
    assert verdict(57 * MINUTE - MOMENT, window=window) is Verdict.RESEND
    assert verdict(57 * MINUTE, window=window) is Verdict.WAIT


@pytest.mark.parametrize(("lag", "grace"), [(3, 10), (8, 10), (9, 11)])
def test_that_it_is_absent_settles_it_ten_minutes_after_the_last_send_or_once_a_lookup_shows_it(lag, grace):
    capabilities = Capabilities(capture="multiple", lookup="lagging", lookup_lag=lag * MINUTE)
    for window in (timedelta(0), timedelta(hours=1)):
        due = window + grace * MINUTE
        assert verdict(due - MOMENT, capabilities=capabilities, window=window) is Verdict.WAIT
        assert verdict(due, capabilities=capabilities, window=window) is Verdict.SETTLE
        assert verdict(due, capabilities=capabilities, window=window, unanswered=True) is Verdict.WAIT


def test_where_no_lookup_would_show_it_only_an_operator_can_find_out():
    assert verdict(timedelta(days=1), seen=None) is Verdict.OPERATOR
