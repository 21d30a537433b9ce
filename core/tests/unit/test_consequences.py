"""What follows from what was recorded: conflicts, the cancel of what is left, and the room of the collection."""

from datetime import timedelta

import pytest

from helpers import NOW, cents, eur
from paysession import (
    Kind,
    Outcome,
    Status,
)
from paysession._ledger.evidence import (
    from_answer,
)
from paysession._ledger.facts import ConflictOpened
from paysession._ledger.ledger import Ledger
from paysession.outcome import Effect, Snapshot
from paysession.values import replace
from recorded import (
    CAN,
    LATER,
    an_operation,
    answered,
    at_gateway,
    authorized,
    canceled,
    in_doubt,
    kinds,
    looked,
)


@pytest.mark.parametrize(
    ("final", "releases", "amount", "requested"),
    [
        (True, False, "10.00", True),
        (False, False, "10.00", False),
        (True, True, "10.00", False),
        (True, False, "42.00", False),
    ],
)
def test_the_rest_of_a_final_capture_is_canceled_where_the_gateway_keeps_it(
    final, releases, amount, requested
):
    capabilities = replace(CAN, final_capture_releases=releases)
    answer = Outcome.captured(eur(amount))
    ledger, _ = answered(
        authorized(), Kind.CAPTURE, answer, eur(amount), capabilities=capabilities, final=final
    )
    assert ledger.row.cancel_requested is requested
    assert ledger.row.authorized == (1000 if releases else 4200)


@pytest.mark.parametrize(
    ("refunded", "charged_back", "conflict"),
    [(3000, 1200, False), (3000, 1201, True), (0, 4201, True), (4200, 0, False)],
)
def test_more_that_went_back_than_was_captured_is_a_conflict(refunded, charged_back, conflict):
    operations = [an_operation(Kind.CAPTURE, answer="captured")]
    snapshot = Snapshot(
        "authorized", captured=eur("42.00"), refunded=cents(refunded), charged_back=cents(charged_back)
    )
    ledger = looked(authorized(captured=4200), snapshot, *operations)
    assert ("over_captured" in kinds(ledger)) is conflict


@pytest.mark.parametrize(("refunded", "expected"), [(0, "10.00 EUR"), (400, "6.00 EUR"), (1000, None)])
def test_what_a_canceled_session_keeps_is_a_conflict_of_that_amount(refunded, expected):
    capture = an_operation(Kind.CAPTURE, "10.00", answer="found")
    session = at_gateway(
        Status.CANCELED, released=True, captured=1000, refunded=1000, authorized=1000, held=1000
    )
    refund = an_operation(Kind.REFUND, "10.00", answer="found")
    snapshot = Snapshot("canceled", captured=eur("10.00"), refunded=cents(refunded))
    (*opened,) = looked(session, snapshot, capture, refund).opened
    assert [conflict.found for conflict in opened] == ([expected] if expected else [])


def test_a_cancel_that_was_given_up_is_requested_again_by_nothing_that_was_known():
    session = canceled(granted=4200, authorized=4200, held=4200, released=False)
    ledger = looked(session, Snapshot("authorized", authorized=eur("42.00")))
    assert (ledger.row.cancel_requested, kinds(ledger)) == (False, [])


def test_more_that_went_back_than_was_captured_is_a_conflict_once():
    rows = [
        an_operation(Kind.CAPTURE, answer="found"),
        an_operation(Kind.REFUND, "30.00", answer="found"),
        an_operation(Kind.CHARGEBACK, "20.00", answer="found"),
    ]
    totals = {"captured": eur("42.00"), "refunded": eur("30.00")}
    session = authorized(captured=4200, refunded=3000, charged_back=2000)
    for back, conflicts in [("20.00", []), ("20.01", ["over_captured"])]:
        snapshot = Snapshot("authorized", **totals, charged_back=eur(back))
        assert kinds(looked(session, snapshot, *rows)) == conflicts


@pytest.mark.parametrize(("amount", "conflicts"), [("0.01", [("nothing", "0.01 EUR")]), (None, [])])
def test_a_cent_that_a_canceled_session_keeps_is_a_conflict(amount, conflicts):
    rows = [an_operation(Kind.CAPTURE, "10.00", answer="found")]
    rows += [
        an_operation(Kind.REFUND, given, answer="found", place=place, reference=f"re_{place}")
        for place, given in enumerate(["9.99", "0.01"], 1)
    ]
    effects = [Effect("refund", eur(amount), "reversed", "re_2")] if amount else []
    session = canceled(captured=1000, refunded=1000, authorized=1000, held=1000)
    ledger = looked(session, Snapshot("canceled", effects=effects), *rows)
    assert [(row.expected, row.found) for row in ledger.opened] == conflicts


@pytest.mark.parametrize(
    ("kind", "state", "later", "requested"),
    [
        (Kind.CAPTURE, "failed", 0, True),
        (Kind.CAPTURE, "failed", -1, False),
        (Kind.CAPTURE, "pending", 0, False),
        (Kind.CAPTURE, "succeeded", 0, False),
        (Kind.REFUND, "failed", 0, False),
    ],
)
def test_a_capture_that_fails_after_a_final_one_leaves_a_rest_to_be_canceled(kind, state, later, requested):
    final = an_operation(Kind.CAPTURE, "20.00", final=True, reference="ch_1", answer="captured")
    final = replace(final, updated_at=NOW + timedelta(seconds=later))
    session, operation = in_doubt(authorized(captured=2000), kind, "10.00")
    effect = Effect(kind, eur("10.00"), state, "of_2", operation.id)
    ledger = looked(session, Snapshot("authorized", effects=[effect]), final, operation)
    assert ledger.row.cancel_requested is requested


@pytest.mark.parametrize(("state", "requested"), [("succeeded", True), ("failed", False)])
def test_only_a_final_capture_that_succeeded_leaves_a_rest_to_be_canceled(state, requested):
    session, final = in_doubt(authorized(), Kind.CAPTURE, "10.00", final=True)
    effect = Effect("capture", eur("10.00"), state, "ch", final.id)
    ledger = looked(session, Snapshot("authorized", effects=[effect]), final)
    assert ledger.row.cancel_requested is requested


@pytest.mark.parametrize("kind", ["open_after_cancel", "cancel_refused"])
def test_an_end_at_the_gateway_settles_that_it_was_open_or_refused_to_be_canceled(kind):
    before = Ledger(canceled(released=False), NOW)
    before.apply(ConflictOpened(kind, "canceled", "pending"))
    for status, still_open in [("canceled", False), ("error", True)]:
        ledger = looked(before.session, Snapshot(status), conflicts=before.opened)
        assert (kind in ledger.conflicts) is still_open


def test_a_refund_that_was_found_before_its_answer_releases_nothing():
    once = replace(CAN, capture="once")
    session, refund = in_doubt(authorized(captured=1000, refunded=500), Kind.REFUND, "5.00")
    found = replace(an_operation(Kind.REFUND, "5.00", origin="provider", reference="re"), id="ps_1-0found")
    ledger = Ledger(session, LATER, [refund, found])
    from_answer(ledger, refund, Outcome.refunded(eur("5.00"), reference="re"), once)
    assert (ledger.row.refunded, ledger.row.authorized) == (500, 4200)


# --- the room of the collection -----------------------------------------------------------------------


@pytest.mark.parametrize(("room", "closed"), [(1, True), (0, True), (-1, False)])
def test_a_session_is_over_its_limit_until_what_it_holds_fits_into_the_collection(room, closed):
    before = Ledger(authorized(), NOW)
    before.apply(ConflictOpened("over_limit", "0.00 EUR", "42.00 EUR"))
    snapshot = Snapshot("authorized", authorized=eur("42.00"))
    ledger = looked(before.session, snapshot, room=room, conflicts=before.opened)
    assert ("over_limit" not in ledger.conflicts) is closed


@pytest.mark.parametrize(("room", "guarded"), [(4201, True), (4200, True), (4199, False)])
def test_what_fits_into_the_collection_relies_on_that_room(room, guarded):
    ledger = looked(at_gateway(), Snapshot("authorized", authorized=eur("42.00")), room=room)
    assert ledger.guarded is guarded
    assert kinds(ledger) == ([] if guarded else ["over_limit"])


def test_over_the_limit_is_what_is_beyond_what_the_session_held_and_the_room_that_was_left():
    ledger = looked(at_gateway(held=1000), Snapshot("authorized", authorized=eur("42.00")), room=500)
    (conflict,) = ledger.opened
    assert (conflict.kind, conflict.expected, conflict.found) == ("over_limit", "15.00 EUR", "42.00 EUR")


@pytest.mark.parametrize(
    ("captured", "refunded", "conflicts", "requested"),
    [(0, 0, ["over_limit"], True), (1000, 0, ["over_limit"], False), (4200, 4200, [], False)],
)
def test_what_is_over_the_limit_is_canceled_unless_some_of_it_was_captured(
    captured, refunded, conflicts, requested
):
    snapshot = Snapshot(
        "authorized", authorized=eur("42.00"), captured=cents(captured), refunded=cents(refunded)
    )
    ledger = looked(at_gateway(), snapshot)
    assert (kinds(ledger), ledger.row.cancel_requested) == (conflicts, requested)
