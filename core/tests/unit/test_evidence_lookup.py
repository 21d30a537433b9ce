"""What lookups and notifications show of the authorization, of its end, and of a payer who is awaited."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, cents, eur
from paysession import Capabilities, Kind, Outcome, State, Status
from paysession._ledger.evidence import from_answer, from_effects, from_snapshot
from paysession._ledger.facts import ConflictOpened
from paysession._ledger.ledger import IMPLIED, Ledger
from paysession.operation import Operation
from paysession.outcome import Effect, Snapshot
from paysession.provider import Redirect
from paysession.values import Failure, replace

LATER = NOW + timedelta(minutes=1)
CAN = Capabilities(capture="multiple", refund="multiple", lookup="consistent", increment=True)
LAGGING = replace(CAN, lookup="lagging", lookup_lag=timedelta(hours=1))
TOLD = Capabilities(capture="multiple", refund="multiple")
"""A gateway that cannot be queried, but notifies."""
PAGE = Redirect("https://gateway.example/pay")
DECLINED = Failure("declined", "no funds", "declined")


def at_gateway(status=Status.PENDING, **changes):
    return a_session(status, **{"reference": "pi_1"} | changes)


def authorized(**changes):
    return at_gateway(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def canceled(**changes):
    return at_gateway(Status.CANCELED, **{"released": True} | changes)


def an_operation(kind, amount="42.00", state=State.SUCCEEDED, place=1, **changes):
    given = {"session_status": Status.AUTHORIZED} | changes
    return Operation(
        id=f"ps_1-{place}-{kind}", session_id="ps_1", kind=kind, ordinal=place, amount=eur(amount),
        state=state, created_at=NOW, updated_at=NOW, **given,
    )  # fmt: skip


def looked(session, snapshot, *operations, fresh=True, room=0, conflicts=(), **options):
    """Return the ledger once a lookup was recorded; without ``fresh`` it may be of an hour ago."""
    ledger = Ledger(session, LATER, operations, conflicts)
    options = {"asked_at": LATER, "room": room} | options
    from_snapshot(ledger, snapshot, CAN if fresh else LAGGING, **options)
    return ledger


def notified(session, *effects, operations=(), room=10_000, conflicts=()):
    """Return the ledger once a notification of a gateway that cannot be queried was recorded."""
    ledger = Ledger(session, LATER, operations, conflicts)
    from_effects(ledger, effects, TOLD, room=room)
    return ledger


def in_doubt(session, kind, amount="42.00", **changes):
    """Return a session with an operation in doubt, and the operation."""
    operation = an_operation(kind, amount, State.STARTED, 2, **{"session_status": session.status} | changes)
    return replace(session, open=operation.id), operation


def of_kind(ledger, kind):
    return [row for row in ledger.operations if row.kind is kind]


def events(ledger):
    return [type_ for type_, _, _ in ledger.events]


def kinds(ledger):
    return [conflict.kind for conflict in ledger.opened]


# --- which authorization is meant ---------------------------------------------------------------------


def test_what_is_authorized_by_our_key_goes_by_the_gateways_id_alone():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    for reference in ("au", None):
        effect = Effect("authorize", eur("42.00"), reference=reference, key=operation.id)
        ours = notified(session, effect, operations=[operation]).written[operation.id]
        assert (ours.state, ours.answer, ours.reference) == (State.SUCCEEDED, "found", reference)


def test_an_authorization_that_a_restored_backup_does_not_know_gets_its_id_back():
    effect = Effect("authorize", eur("42.00"), reference="au", key="ps_1-7-abcdefgh")
    for ledger in (
        notified(at_gateway(), effect),
        looked(at_gateway(), Snapshot("authorized", effects=[effect])),
    ):
        assert [row.id for row in ledger.operations] == ["ps_1-7-abcdefgh"]
        assert ledger.row.ordinal == 7


@pytest.mark.parametrize(("known", "expected"), [(None, "au"), ("before", "before")])
def test_a_lookup_answers_our_authorization_and_names_it_if_nothing_has(known, expected):
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE, reference=known)
    effects = [
        Effect("capture", eur("1.00"), reference="ch"),
        Effect("authorize", eur("42.00"), "succeeded", "au"),
    ]
    ours = looked(session, Snapshot("authorized", effects=effects), operation).written[operation.id]
    assert (ours.answer, ours.reference) == ("authorized", expected)


def test_a_capture_shows_that_it_was_authorized_even_where_the_begin_was_only_found():
    initiated = an_operation(Kind.INITIATE, answer="found")
    ledger = notified(at_gateway(), Effect("capture", eur("10.00"), reference="ch"), operations=[initiated])
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 1000)


@pytest.mark.parametrize(("captured", "granted"), [("10.00", 4200), ("50.00", 5000)])
def test_a_capture_shows_that_our_authorization_in_doubt_succeeded(captured, granted):
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect("capture", eur(captured), reference="ch")
    ledger = notified(session, effect, operations=[operation])
    assert ledger.written[operation.id].state is State.SUCCEEDED
    assert (len(of_kind(ledger, Kind.AUTHORIZE)), ledger.row.authorized) == (1, granted)


def test_a_pending_authorization_goes_by_the_gateways_id():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect("authorize", eur("42.00"), "pending", "au", operation.id)
    accepted = notified(session, effect, operations=[operation]).written[operation.id]
    assert (accepted.state, accepted.reference) == (State.PENDING, "au")


@pytest.mark.parametrize(("reference", "key", "known"), [("au", "k", "au"), (None, "k", "k")])
def test_the_report_of_an_implied_authorization_names_it_and_is_compared_with_what_was_asked(
    reference, key, known
):
    implied = an_operation(Kind.AUTHORIZE, "10.00", answer=IMPLIED)
    session = authorized(captured=1000, granted=1000, authorized=1000, held=1000)
    effect = Effect("authorize", eur("50.00"), reference=reference, key=key)
    ledger = notified(session, effect, operations=[implied])
    assert ledger.written[implied.id].reference == known
    assert (ledger.row.authorized, kinds(ledger)) == (5000, ["amount"])


def test_a_report_by_our_key_gives_an_authorization_the_gateways_id():
    ours = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger = notified(
        authorized(), Effect("authorize", eur("42.00"), "succeeded", "au", ours.id), operations=[ours]
    )
    assert ledger.written[ours.id].reference == "au"
    assert ledger.row.authorized == 4200


def test_an_authorization_that_was_declined_and_succeeds_after_all_is_one_beside_a_later_one():
    declined = an_operation(Kind.AUTHORIZE, state=State.DECLINED)
    later = an_operation(Kind.AUTHORIZE, answer="authorized", place=2)
    effect = Effect("authorize", eur("42.00"), "succeeded", "au", declined.id)
    ledger = notified(authorized(), effect, operations=[declined, later])
    assert ledger.row.authorized == 8400


@pytest.mark.parametrize(("amount", "authorized_"), [("42.00", 4200), ("10.00", 5200)])
def test_a_report_of_another_amount_is_of_another_authorization(amount, authorized_):
    ours = an_operation(Kind.AUTHORIZE, answer="authorized")
    ledger = notified(authorized(), Effect("authorize", eur(amount), "succeeded", "au"), operations=[ours])
    assert ledger.row.authorized == authorized_


@pytest.mark.parametrize(("reference", "conflict"), [(None, []), ("au_1", ["authorized_after_cancel"])])
def test_after_the_end_only_an_authorization_without_an_id_is_named_by_a_report(reference, conflict):
    ours = an_operation(Kind.AUTHORIZE, answer="authorized", reference=reference)
    ledger = notified(canceled(), Effect("authorize", eur("42.00"), "succeeded", "au_2"), operations=[ours])
    assert kinds(ledger) == conflict


def test_another_authorization_that_failed_says_nothing_of_ours_in_doubt():
    session, operation = in_doubt(at_gateway(), Kind.AUTHORIZE)
    effect = Effect("authorize", eur("42.00"), "failed", "au", "another", error=DECLINED)
    ledger = notified(session, effect, operations=[operation])
    assert (ledger.row.status, events(ledger)) == (Status.PENDING, [])


def test_an_authorization_that_nobody_knew_releases_nothing_when_it_is_undone():
    ledger = notified(authorized(), Effect("authorize", eur("42.00"), "reversed", "another"))
    assert (ledger.row.authorized, events(ledger)) == (4200, [])


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


# --- what follows -------------------------------------------------------------------------------------


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


def test_a_capture_like_one_that_was_undone_is_another():
    capture = an_operation(Kind.CAPTURE, "10.00", answer="found", reference="ch_1")
    undone = replace(
        an_operation(Kind.CAPTURE, "10.00", answer="reversed", origin="provider"),
        id="ps_1-0undone",
        reverses=capture.id,
    )
    ledger = looked(
        authorized(), Snapshot("authorized", effects=[Effect("capture", eur("10.00"))]), capture, undone
    )
    assert ledger.row.captured == 1000


def test_an_authorization_that_was_found_without_an_id_is_named_by_a_report():
    found = an_operation(Kind.AUTHORIZE, answer="found")
    ledger = notified(authorized(), Effect("authorize", eur("42.00"), "succeeded", "au"), operations=[found])
    assert (ledger.operation(found.id).reference, ledger.row.authorized) == ("au", 4200)
