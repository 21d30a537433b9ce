"""What a lookup shows of the authorization, of its end, and of a payer who is awaited."""

from datetime import timedelta

import pytest

from helpers import NOW, cents, eur
from paysession import (
    Kind,
    Money,
    Outcome,
    State,
    Status,
)
from paysession._ledger.evidence import (
    from_snapshot,
    would_show,
)
from paysession._ledger.ledger import IMPLIED, Ledger
from paysession._ledger.rules import Request, begin
from paysession.checkout import Payer
from paysession.outcome import Effect, Snapshot
from paysession.provider import Redirect
from paysession.values import Failure, replace
from recorded import (
    CAN,
    LATER,
    an_operation,
    answered,
    at_gateway,
    authorized,
    canceled,
    events,
    in_doubt,
    kinds,
    looked,
    notified,
    of_kind,
)

PAGE = Redirect("https://gateway.example/pay")
DECLINED = Failure("declined", "no funds", "declined")


# --- updates and increments in doubt ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "state", "code"),
    [
        ("50.00", State.SUCCEEDED, None),
        ("42.00", State.DECLINED, "authorized"),
        ("45.00", State.STARTED, None),
    ],
)
def test_the_amount_that_a_payer_confirmed_says_whether_an_update_came_in_time(amount, state, code):
    session, update = in_doubt(at_gateway(), Kind.UPDATE, "50.00")
    told = notified(session, Effect("authorize", eur(amount), "succeeded", "au"), operations=[update])
    shown = looked(session, Snapshot("authorized", authorized=eur(amount)), update, room=10_000)
    for ledger in (told, shown):
        settled = ledger.operation(update.id)
        assert (settled.state, settled.error and settled.error.code) == (state, code)
        if code is not None:
            assert settled.message == "the payer had confirmed the former amount"


@pytest.mark.parametrize(
    ("status", "amount", "state"),
    [
        ("authorized", "50.00", State.SUCCEEDED),
        ("canceled", "50.00", State.SUCCEEDED),
        ("authorized", "49.99", State.STARTED),
        ("authorized", None, State.STARTED),
        ("pending", "50.00", State.STARTED),
    ],
)
def test_an_increment_in_doubt_is_shown_by_the_amount_of_what_was_authorized(status, amount, state):
    session, raised = in_doubt(authorized(), Kind.UPDATE, "50.00")
    snapshot = Snapshot(status, amount=eur(amount) if amount else None)
    assert looked(session, snapshot, raised, room=10_000).operation(raised.id).state is state


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        (Kind.UPDATE, Status.PENDING, State.DECLINED),
        (Kind.UPDATE, Status.AUTHORIZED, State.DECLINED),
        (Kind.CAPTURE, Status.AUTHORIZED, State.STARTED),
    ],
)
def test_a_cancel_that_is_reported_refuses_all_in_doubt_but_a_capture_that_may_precede_it(
    kind, status, state
):
    session = authorized() if status is Status.AUTHORIZED else at_gateway()
    session, operation = in_doubt(session, kind, "50.00" if kind is Kind.UPDATE else "10.00")
    ledger = notified(session, Effect("cancel", eur("42.00")), operations=[operation])
    assert ledger.operation(operation.id).state is state


# --- what is released ---------------------------------------------------------------------------------


def test_what_was_released_beside_a_pending_capture_is_no_success_of_that():
    capture = an_operation(Kind.CAPTURE, "10.00", State.PENDING, reference="ch")
    session = authorized(capturing=1000, pending=1)
    ledger = looked(session, Snapshot("authorized", authorized=eur("10.00")), capture)
    assert ledger.operation(capture.id).state is State.PENDING
    assert [row.amount for row in of_kind(ledger, Kind.CANCEL)] == [eur("32.00")]
    assert ledger.row.authorized == 1000


@pytest.mark.parametrize(
    ("session", "minor"),
    [
        (authorized(granted=3000, authorized=3000), 3000),
        (at_gateway(captured=1000), 3200),
        (at_gateway(captured=4200), 0),
        (at_gateway(captured=5000), 0),
    ],
)
def test_a_cancel_that_is_reported_ends_the_session_and_releases_what_was_left(session, minor):
    ledger = notified(session, Effect("cancel", eur("42.00")))
    assert ledger.row.status is Status.CANCELED
    assert [row.amount.minor for row in of_kind(ledger, Kind.CANCEL)] == [minor]


@pytest.mark.parametrize("captured", [1, 4200])
def test_a_cancel_after_all_was_captured_changes_nothing(captured):
    session = authorized(captured=captured, authorized=captured, held=captured, granted=captured)
    ledger = notified(session, Effect("cancel", eur("42.00")))
    assert (ledger.changed, of_kind(ledger, Kind.CANCEL)) == (False, [])


@pytest.mark.parametrize(
    ("session", "rows"),
    [
        (authorized(capturing=4200, pending=1), []),
        (authorized(captured=4200, cancel_requested=True), []),
        (canceled(released=False), []),
        (authorized(captured=4200), [an_operation(Kind.AUTHORIZE, answer=IMPLIED)]),
    ],
)
def test_a_cancel_with_nothing_left_counts_where_something_may_still_be_left_or_waits_for_it(session, rows):
    ledger = notified(session, Effect("cancel", eur("42.00")), operations=rows)
    assert (ledger.row.released, ledger.row.cancel_requested) == (True, False)
    assert of_kind(ledger, Kind.CANCEL) == []


# --- how much is authorized ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "minor"),
    [
        ({"effects": [Effect("capture", eur("42.00"), "failed", "ch")]}, 1000),
        ({"effects": [Effect("capture", eur("42.00"), "pending", "ch")]}, 4200),
        ({"effects": [Effect("capture", eur("42.00"), reference="ch")]}, 4200),
        ({"effects": [Effect("refund", eur("42.00"), reference="re")]}, 1000),
        ({"captured": eur("42.00")}, 4200),
    ],
)
def test_at_least_what_was_or_is_being_captured_was_authorized(shown, minor):
    ledger = looked(at_gateway(), Snapshot("authorized", authorized=eur("10.00"), **shown), room=10_000)
    (row,) = of_kind(ledger, Kind.AUTHORIZE)
    assert (row.amount.minor, row.answer) == (minor, "found")


def test_a_capture_that_failed_before_a_cancel_authorized_nothing():
    effect = Effect("capture", eur("42.00"), "failed", "ch")
    assert events(looked(at_gateway(), Snapshot("canceled", effects=[effect]))) == ["session.canceled"]


@pytest.mark.parametrize(
    ("status", "captured", "authorized_", "expected"),
    [
        ("canceled", 1000, [1000], ["session.authorized", "session.captured"]),
        ("canceled", 0, [], ["session.canceled"]),
        ("pending", 1000, [], ["session.captured"]),
    ],
)
def test_what_was_captured_before_the_rest_was_canceled_had_been_authorized(
    status, captured, authorized_, expected
):
    ledger = looked(at_gateway(), Snapshot(status, captured=cents(captured)), room=10_000)
    assert [row.amount.minor for row in of_kind(ledger, Kind.AUTHORIZE)] == authorized_
    assert [event for event in events(ledger) if event != "session.conflict"] == expected


def test_what_was_captured_and_undone_before_it_was_known_to_be_authorized_is_not_any_more():
    first, second = (an_operation(Kind.CAPTURE, amount, place=n) for n, amount in ((1, "10.00"), (2, "5.00")))
    refund = an_operation(Kind.REFUND, "1.00")
    rows = [first, second, refund]
    rows += [replace(row, id=f"{row.id}-undone", reverses=row.id) for row in (first, refund)]
    ledger = looked(at_gateway(captured=500), Snapshot("authorized"), *rows, room=10_000)
    assert ledger.row.authorized == 3200


@pytest.mark.parametrize(("released", "minor"), [(True, 3200), (False, 2700)])
def test_what_is_authorized_after_the_end_is_what_the_ledger_does_not_know_yet(released, minor):
    session = canceled(captured=1000, authorized=1000, held=1000, granted=1500, released=released)
    ledger = looked(session, Snapshot("authorized", authorized=eur("42.00")))
    assert [row.amount.minor for row in of_kind(ledger, Kind.AUTHORIZE)] == [minor]
    assert kinds(ledger) == ["authorized_after_cancel"]


@pytest.mark.parametrize(("captured", "found"), [(0, 1), (1000, 0)])
def test_without_a_total_an_object_that_is_authorized_after_the_end_may_be_what_was_captured(captured, found):
    session = canceled(captured=captured, authorized=captured, held=captured)
    ledger = looked(session, Snapshot("authorized"))
    assert len(of_kind(ledger, Kind.AUTHORIZE)) == found


@pytest.mark.parametrize(
    ("state", "canceling"),
    [(None, False), (State.STARTED, True), (State.PENDING, True), (State.DECLINED, False)],
)
def test_only_a_cancel_under_way_explains_that_less_is_authorized_than_was_asked(state, canceling):
    cancels = [] if state is None else [an_operation(Kind.CANCEL, state=state)]
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    snapshot = Snapshot("authorized", authorized=eur("30.00"))
    ledger = looked(session, snapshot, operation, *cancels, room=10_000)
    assert ledger.operation(operation.id).amount == eur("42.00" if canceling else "30.00")
    assert ledger.row.authorized == 3000
    assert (len(of_kind(ledger, Kind.CANCEL)) > len(cancels)) is canceling


# --- what was pending and is over ---------------------------------------------------------------------

TAKEN = Effect("capture", eur("10.00"), "succeeded", "ch")


def pending_after_the_end(snapshot, **options):
    """Return the ledger of a session that was canceled while its authorization was pending, and what is that."""
    authorization = an_operation(Kind.AUTHORIZE, state=State.PENDING, answer="pending")
    session = canceled(pending=1, authorizing=authorization.id)
    ledger = looked(session, snapshot, authorization, **options)
    return ledger, ledger.operation(authorization.id)


@pytest.mark.parametrize("total", [eur("10.00"), None])
def test_an_authorization_that_was_captured_before_our_cancel_is_pending_no_more(total):
    ledger, authorization = pending_after_the_end(Snapshot("authorized", authorized=total, effects=[TAKEN]))
    assert (authorization.state, authorization.answer) == (State.SUCCEEDED, "canceled")
    assert (ledger.row.pending, ledger.row.authorizing, ledger.row.due_at) == (0, None, None)
    assert (ledger.row.status, ledger.row.authorized, ledger.row.held) == (Status.CANCELED, 1000, 1000)
    assert (kinds(ledger), ledger.row.cancel_requested) == (["authorized_after_cancel"], False)
    assert events(ledger) == ["session.captured", "session.conflict", "session.released"]


def test_an_authorization_that_was_captured_and_refunded_before_anybody_looked_is_pending_no_more():
    given_back = Effect("refund", eur("10.00"), "succeeded", "re")
    snapshot = Snapshot("authorized", authorized=eur("10.00"), effects=[TAKEN, given_back])
    ledger, authorization = pending_after_the_end(snapshot)
    assert authorization.state is State.SUCCEEDED
    assert (ledger.row.pending, ledger.row.due_at, ledger.row.refunded) == (0, None, 1000)
    again = looked(ledger.session, snapshot, *ledger.operations, conflicts=ledger.opened)
    assert (kinds(ledger), again.conflicts) == (["authorized_after_cancel"], {})  # reported, and over


@pytest.mark.parametrize(
    ("more", "fresh"), [([], False), ([Effect("authorize", eur("32.00"), "pending", "au")], True)]
)
def test_an_authorization_after_the_end_stays_pending_while_it_may_still_come(more, fresh):
    snapshot = Snapshot("authorized", authorized=eur("10.00"), effects=[TAKEN, *more])
    ledger, authorization = pending_after_the_end(snapshot, fresh=fresh)
    assert (authorization.state, ledger.row.authorized) == (State.PENDING, 1000)
    assert ledger.row.due_at is not None


@pytest.mark.parametrize(
    ("status", "fresh", "state"),
    [
        ("error", True, State.DECLINED),
        ("error", False, State.PENDING),
        ("pending", True, State.PENDING),
        ("requires_more", True, State.PENDING),
    ],
)
def test_an_authorization_is_pending_after_the_end_until_it_failed(status, fresh, state):
    error = DECLINED if status == "error" else None
    ledger, authorization = pending_after_the_end(Snapshot(status, error=error), fresh=fresh)
    assert authorization.state is state
    assert ("operation.failed" in events(ledger)) is (state is State.DECLINED)
    assert ledger.row.status is Status.CANCELED


@pytest.mark.parametrize(
    ("shown", "captured", "state"),
    [
        (Effect("cancel", eur("0.00"), "succeeded", "void", "ps_1-2-cancel"), 4200, State.SUCCEEDED),
        (Effect("cancel", eur("0.00"), "succeeded", "void"), 4200, State.SUCCEEDED),
        (Effect("cancel", eur("0.00"), "pending", "void", "ps_1-2-cancel"), 4200, State.PENDING),
        (Effect("cancel", eur("0.00"), "succeeded", "void", "ps_1-2-cancel"), 4100, State.PENDING),
    ],
)
def test_a_pending_cancel_that_had_nothing_left_to_release_is_over_once_it_is_shown_to_be(
    shown, captured, state
):
    cancel = an_operation(Kind.CANCEL, "32.00", State.PENDING, 2, answer="pending")
    session = authorized(captured=captured, pending=1)
    snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[shown])
    ledger = looked(session, snapshot, cancel)
    over = state is State.SUCCEEDED
    assert (ledger.operation(cancel.id).state, ledger.operation(cancel.id).reference) == (
        state,
        "void" if over else None,
    )
    assert ledger.row.released is over
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 4200)


# --- what may be from before the last change ----------------------------------------------------------

UNDONE = Effect("capture", eur("10.00"), "reversed", "ch")
CAPTURE = an_operation(Kind.CAPTURE, "10.00", answer="captured", reference="ch")


@pytest.mark.parametrize("released", [True, False])
def test_a_stale_lookup_authorizes_nothing_after_the_end(released):
    session = canceled(released=released)
    ledger = looked(session, Snapshot("authorized", authorized=eur("42.00")), fresh=False)
    assert (ledger.operations, ledger.row.authorized) == ([], 0)


def test_a_stale_lookup_authorizes_no_more_than_is_known():
    session = authorized(granted=1000, authorized=1000, held=1000)
    ledger = looked(session, Snapshot("authorized", authorized=eur("42.00")), fresh=False)
    assert ledger.row.authorized == 1000


@pytest.mark.parametrize(("released", "left"), [(False, 2000), (True, 0)])
def test_what_a_stale_lookup_shows_to_be_undone_ends_no_session_of_which_it_shows_more(released, left):
    session = authorized(granted=1000, authorized=1000, held=1000, captured=1000, released=released)
    snapshot = Snapshot("authorized", authorized=eur("20.00"), effects=[UNDONE])
    ledger = looked(session, snapshot, CAPTURE, fresh=False)
    assert (ledger.row.status, ledger.row.authorized) == (
        Status.AUTHORIZED if left else Status.CANCELED,
        left,
    )


@pytest.mark.parametrize("fresh", [True, False])
def test_an_object_that_waits_although_it_was_authorized_is_a_conflict_if_that_is_how_it_stands(fresh):
    assert kinds(looked(authorized(), Snapshot("pending"), fresh=fresh)) == (["status"] if fresh else [])


@pytest.mark.parametrize(
    ("session", "fresh", "conflict"),
    [
        (canceled(), True, ["open_after_cancel"]),
        (canceled(), False, []),
        (canceled(released=False, cancel_requested=True), True, []),
    ],
)
def test_an_object_that_is_open_after_the_end_is_a_conflict_once(session, fresh, conflict):
    ledger = looked(session, Snapshot("pending"), fresh=fresh)
    assert (kinds(ledger), ledger.row.released) == (conflict, session.released and not conflict)


# --- a payer who is awaited ---------------------------------------------------------------------------

PROCESSING = [Effect("authorize", eur("42.00"), "pending")]


@pytest.mark.parametrize(
    ("effects", "fresh", "state"),
    [
        (PROCESSING, True, State.PENDING),
        (PROCESSING, False, State.PENDING),
        ([], True, State.SUCCEEDED),
        ([], False, State.STARTED),
    ],
)
def test_our_authorization_is_settled_by_how_things_stand_or_because_it_is_processed(effects, fresh, state):
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    snapshot = Snapshot("requires_more", effects=effects)
    ledger = looked(session, snapshot, operation, fresh=fresh, none_in_flight=True)
    assert ledger.operation(operation.id).state is state


@pytest.mark.parametrize(
    ("status", "session", "fresh", "found"),
    [
        ("pending", at_gateway(), True, True),
        ("pending", at_gateway(), False, False),
        ("pending", at_gateway(initiated=False), True, False),
        ("requires_more", at_gateway(), True, False),
    ],
)
def test_what_a_payer_began_in_the_browser_is_an_authorization_that_is_pending(status, session, fresh, found):
    ledger = looked(session, Snapshot(status, effects=PROCESSING, next_action=PAGE), fresh=fresh, room=10_000)
    assert [(row.kind, row.state, row.answer) for row in ledger.operations] == (
        [(Kind.AUTHORIZE, State.PENDING, "pending")] if found else []
    )
    assert (ledger.row.status, ledger.row.held) == (status, 4200 if found else 0)
    assert ledger.row.next_action == (None if found else PAGE)


FAILED = an_operation(Kind.AUTHORIZE, state=State.DECLINED)
MORE = an_operation(Kind.AUTHORIZE, answer="requires_more", place=2)
CANCEL = an_operation(Kind.CANCEL, state=State.DECLINED, place=3)


@pytest.mark.parametrize(
    ("session", "operations", "shown"),
    [
        (at_gateway(Status.ERROR), [FAILED], False),
        (at_gateway(Status.ERROR), [FAILED, replace(CANCEL, state=State.NOT_APPLIED)], False),
        (at_gateway(Status.ERROR), [MORE, CANCEL], True),
        (at_gateway(Status.ERROR), [FAILED, MORE], True),
        (at_gateway(Status.ERROR), [], True),
        (at_gateway(Status.ERROR, initiated=False), [FAILED], True),
        (at_gateway(Status.PENDING), [FAILED], True),
    ],
)
def test_an_approval_that_was_declined_last_is_ready_no_more(session, operations, shown):
    ledger = looked(session, Snapshot("requires_more", ready=True), *operations)
    assert ledger.row.status is (Status.REQUIRES_MORE if shown else Status.ERROR)


BEFORE = an_operation(Kind.INITIATE)


@pytest.mark.parametrize(
    ("before", "fresh", "state"),
    [
        ([BEFORE], False, State.SUCCEEDED),
        ([BEFORE, an_operation(Kind.REFUND, "50.00")], False, State.SUCCEEDED),
        ([an_operation(Kind.INITIATE, "50.00")], False, State.STARTED),
        ([BEFORE, an_operation(Kind.UPDATE, "50.00")], False, State.STARTED),
        ([BEFORE, an_operation(Kind.UPDATE, "50.00")], True, State.SUCCEEDED),
    ],
)
def test_an_amount_shows_an_update_unless_it_may_be_from_before(before, fresh, state):
    session, update = in_doubt(at_gateway(), Kind.UPDATE, "50.00")
    ledger = looked(session, Snapshot("pending", amount=eur("50.00")), *before, update, fresh=fresh)
    assert ledger.operation(update.id).state is state


def test_that_the_payer_goes_on_settles_no_cancel():
    session, cancel = in_doubt(at_gateway(), Kind.CANCEL)
    for effects in (PROCESSING, []):
        snapshot = Snapshot("requires_more", effects=effects)
        ledger = looked(session, snapshot, cancel, none_in_flight=True)
        assert ledger.operation(cancel.id).state is State.STARTED


def test_a_release_of_an_object_that_waits_for_its_payer_ends_nothing():
    ledger = looked(at_gateway(), Snapshot("pending", effects=[Effect("cancel", eur("42.00"))]))
    assert (ledger.row.status, ledger.operations) == (Status.PENDING, [])


def test_what_the_payer_must_do_stays_where_a_lookup_does_not_say():
    session = at_gateway(Status.REQUIRES_MORE, next_action=PAGE)
    for status in ("requires_more", "pending"):
        assert looked(session, Snapshot(status)).row.next_action == PAGE


def test_why_an_earlier_attempt_failed_is_no_news_of_an_object_that_waits():
    ledger = looked(at_gateway(), Snapshot("pending", error=DECLINED))
    assert (ledger.row.error, events(ledger)) == (None, [])


def test_our_authorization_was_declined_for_the_reason_that_a_lookup_gives():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    error = Failure("stolen_card", "call your bank", "hard", "insufficient_funds")
    ledger = looked(session, Snapshot("error", error=error), operation, none_in_flight=True)
    assert ledger.operation(operation.id).error == error


def test_our_authorization_that_was_undone_was_not_refused():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    undone = Effect("authorize", eur("42.00"), "reversed", "au", operation.id)
    ledger = looked(session, Snapshot("requires_more", effects=[undone]), operation)
    assert ledger.operation(operation.id).state is State.STARTED


# --- lookups ------------------------------------------------------------------------------------------


def test_a_lookup_in_another_currency_is_a_conflict_until_one_in_ours():
    session = authorized(expires_at=NOW + timedelta(days=1))
    other = Snapshot("authorized", authorized=Money("40.00", "USD"), reference="other")
    ledger = looked(session, other)
    assert (kinds(ledger), ledger.row.due_at) == (["currency"], session.expires_at)
    assert (ledger.row.authorized, ledger.row.reference) == (4200, "pi_1")
    again = Ledger(ledger.session, LATER, (), ledger.opened)
    from_snapshot(again, Snapshot("authorized", authorized=eur("42.00")), CAN, room=0, asked_at=LATER)
    assert (again.row.conflict, dict(again.conflicts)) == (None, {})


@pytest.mark.parametrize(
    ("asked", "fresh"), [(timedelta(0), False), (timedelta(seconds=59), False), (timedelta(minutes=1), True)]
)
def test_a_lagging_lookup_releases_nothing_before_it_shows_the_last_change(asked, fresh):
    lagging = replace(CAN, lookup="lagging", lookup_lag=timedelta(minutes=1))
    for capabilities, released in [(lagging, fresh), (CAN, True)]:
        ledger = Ledger(authorized(), LATER)
        snapshot = Snapshot("authorized", authorized=eur("40.00"))
        from_snapshot(ledger, snapshot, capabilities, room=0, asked_at=NOW + asked)
        assert ledger.row.authorized == (4000 if released else 4200)


def test_only_a_refusal_that_carries_our_key_answers_a_request_that_may_be_in_flight():
    ledger, operation = begin(at_gateway(), Request(Kind.AUTHORIZE), CAN, NOW)
    ours = Effect("authorize", eur("42.00"), "failed", "au", operation.id)
    others = [
        Effect("authorize", eur("42.00"), "failed", "au", "another"),
        Effect("capture", eur("42.00"), "failed", "au", operation.id),
    ]
    for effect, state in [(ours, State.DECLINED), *((other, State.STARTED) for other in others)]:
        shown = looked(ledger.session, Snapshot("error", effects=[effect]), operation)
        assert shown.operation(operation.id).state is state


PARTS = Snapshot("authorized", effects=[Effect("capture", eur("12.00"), reference="c1")])


@pytest.mark.parametrize(
    ("released", "reference", "ours"),
    [("30.00", "v1", True), ("20.00", "v1", False), ("30.00", None, False), ("42.00", None, True)],
)
def test_a_release_is_our_cancels_if_it_is_of_all_that_was_left(released, reference, ours):
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [*PARTS.effects, Effect("cancel", eur(released), reference=reference)]
    shown = looked(ledger.session, Snapshot("authorized", effects=effects), cancel)
    assert shown.operation(cancel.id).state is (State.SUCCEEDED if ours else State.STARTED)
    assert len([row for row in shown.operations if row.kind is Kind.CANCEL]) == (1 if ours else 2)
    assert shown.row.captured == 1200


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("named", ["pi_1", "v1", None])
def test_a_cancel_is_settled_by_its_release_though_its_answer_named_the_object(named, keyed):
    session = authorized(captured=1200)
    ledger, cancel = answered(session, Kind.CANCEL, Outcome.pending(reference=named))
    effect = Effect("cancel", eur("30.00"), reference="v1", key=cancel.id if keyed else None)
    snapshot = Snapshot("authorized", effects=[effect])
    ledger = looked(replace(ledger.session, reference="pi_1"), snapshot, cancel)
    for _ in range(2):  # the next lookup shows it again
        (cancel,) = ledger.operations
        assert (cancel.state, cancel.reference, cancel.answer) == (State.SUCCEEDED, "v1", "found")
        assert (ledger.row.authorized, ledger.row.pending) == (1200, 0)
        ledger = looked(ledger.session, snapshot, cancel)


@pytest.mark.parametrize(
    ("named", "known"),
    [
        ({"reference": "v1", "key": "theirs"}, "v1"),
        ({"reference": "v1"}, "v1"),
        ({"key": "theirs"}, "theirs"),
    ],
)
def test_a_release_that_nobody_asked_for_is_known_by_its_name_and_counts_once(named, known):
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("12.00"), **named)])
    ledger = looked(authorized(), snapshot)
    assert [row.reference for row in ledger.operations] == [known]
    ledger = looked(ledger.session, snapshot, *ledger.operations)
    assert (ledger.row.authorized, len(ledger.operations)) == (3000, 1)


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_cancel_of_others_that_has_not_succeeded_releases_nothing(state):
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("42.00"), state, "v1")])
    ledger = looked(authorized(), snapshot)
    assert (ledger.row.authorized, ledger.operations) == (4200, [])


def test_that_a_cancel_is_pending_is_said_once():
    ledger, cancel = answered(authorized(), Kind.CANCEL, Outcome.pending())
    effect = Effect("cancel", eur("42.00"), "pending", key=cancel.id)
    shown = looked(ledger.session, Snapshot("authorized", effects=[effect]), cancel)
    assert (events(shown), shown.row.pending) == ([], 1)


@pytest.mark.parametrize(
    ("changes", "effect", "ours", "left"),
    [
        ({}, {}, True, 1200),
        ({}, {"amount": eur("0.00")}, True, 1200),
        ({}, {"amount": eur("0.01")}, False, 4199),
        ({}, {"reference": None}, False, 1200),
        ({"origin": "provider"}, {}, False, 1200),
        ({"state": State.SUCCEEDED}, {}, False, 1200),
        ({"kind": Kind.CAPTURE, "amount": eur("40.00")}, {"kind": Kind.CAPTURE}, False, 4200),
    ],
)
def test_a_release_of_less_is_our_cancels_only_if_that_is_open_and_nothing_else_is_left(
    changes, effect, ours, left
):
    cancel = replace(an_operation(Kind.CANCEL, state=State.PENDING), **changes)
    released = replace(Effect("cancel", eur("30.00"), reference="v1"), **effect)
    ledger = looked(authorized(captured=1200, pending=1), Snapshot("authorized", effects=[released]), cancel)
    assert (ledger.operation(cancel.id).reference == "v1") is ours
    assert ledger.row.authorized == left


def test_a_release_is_no_cancel_of_ours_that_is_known_as_another():
    session = authorized(captured=1200)
    ledger, cancel = answered(session, Kind.CANCEL, Outcome.pending(reference="v0"))
    snapshot = Snapshot("authorized", effects=[Effect("cancel", eur("30.00"), reference="v1")])
    ledger = looked(replace(ledger.session, reference="pi_1"), snapshot, cancel)
    assert ledger.operation(cancel.id).state is State.PENDING


def test_a_release_that_a_total_covers_is_no_evidence_of_its_own():
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [Effect("cancel", eur("42.00"), key=cancel.id)]
    snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=effects)
    assert looked(ledger.session, snapshot, cancel).operation(cancel.id).state is State.STARTED


@pytest.mark.parametrize(
    ("state", "expected"),
    [("pending", State.PENDING), ("failed", State.DECLINED), ("succeeded", State.STARTED)],
)
def test_a_lookup_shows_that_our_cancel_is_pending_or_failed(state, expected):
    ledger, cancel = begin(authorized(), Request(Kind.CANCEL), CAN, NOW)
    effects = [Effect("cancel", eur("42.00"), state, key=cancel.id)]
    snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=effects)
    assert looked(ledger.session, snapshot, cancel).operation(cancel.id).state is expected


def test_a_lookup_says_when_to_look_again():
    expires_at = NOW + timedelta(days=7)
    ledger = looked(authorized(due_at=NOW), Snapshot("authorized", expires_at=expires_at))
    assert ledger.row.due_at == expires_at


def test_a_lookup_that_does_not_lag_is_believed_whatever_the_clocks_say():
    snapshot = Snapshot("authorized", authorized=eur("40.00"))
    ledger = looked(authorized(), snapshot, asked_at=NOW - timedelta(hours=1))
    assert ledger.row.authorized == 4000


def test_a_lookup_says_who_pays():
    payer = Payer(email="ann@example.org")
    assert looked(authorized(), Snapshot("authorized", payer=payer)).row.payer == payer


def test_that_an_authorization_is_not_shown_is_one_conflict_until_it_is_shown():
    ledger = looked(authorized(), Snapshot("pending"))
    (conflict,) = ledger.opened
    assert (conflict.kind, conflict.expected, conflict.found) == ("status", "authorized", "pending")
    for status, kind in [("requires_more", "status"), ("authorized", None), ("canceled", None)]:
        again = Ledger(ledger.session, LATER, (), [conflict])
        from_snapshot(again, Snapshot(status), CAN, room=0, asked_at=LATER)
        assert (again.row.conflict, again.opened) == (kind, ())


@pytest.mark.parametrize(
    ("session", "authorized_then", "shown"),
    [
        (authorized(), None, True),
        (authorized(), eur("42.00"), False),
        (at_gateway(), None, False),
    ],
)
def test_what_was_captured_and_undone_before_anybody_looked_says_what_is_authorized_if_nothing_else_does(
    session, authorized_then, shown
):
    undone = Effect("capture", eur("10.00"), "reversed", "ch")
    status = Status.AUTHORIZED if session.authorized else Status.PENDING
    ledger = looked(session, Snapshot(status, authorized=authorized_then, effects=[undone]))
    assert events(ledger) == (["session.captured", "session.reversed"] if shown else [])
    assert ledger.row.authorized == (3200 if shown else session.authorized)


@pytest.mark.parametrize(
    ("session", "snapshot", "kind", "shows"),
    [
        (authorized(), Snapshot("authorized"), Kind.CANCEL, True),
        (authorized(captured=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(capturing=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(captured=1000, capturing=1000), Snapshot("authorized"), Kind.CANCEL, False),
        (authorized(captured=1000), Snapshot("authorized", authorized=eur("42.00")), Kind.CANCEL, True),
        (authorized(captured=1000), Snapshot("authorized"), Kind.REFUND, False),
        (authorized(captured=1000), Snapshot("authorized", refunded=eur("0.00")), Kind.REFUND, True),
        (authorized(), Snapshot("authorized", captured=Money("0.00", "USD")), Kind.CAPTURE, False),
    ],
)
def test_an_effect_that_a_lookup_cannot_show_is_not_missing_there(session, snapshot, kind, shows):
    assert would_show(session, snapshot, kind) is shows
