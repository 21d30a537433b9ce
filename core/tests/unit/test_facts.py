"""What each fact changes of a session and its operations, field by field."""

from datetime import timedelta

import pytest

from helpers import NOW, a_session, cents, eur
from paysession import Kind, State, Status
from paysession._ledger.facts import (
    Accepted,
    Begun,
    CancelRequested,
    Claimed,
    ConflictClosed,
    ConflictOpened,
    Forgotten,
    Found,
    Identified,
    OperatorNeeded,
    Postponed,
    Presented,
    Recognized,
    Refused,
    Released,
    Reopened,
    Reversed,
    Succeeded,
    Unanswered,
)
from paysession._ledger.ids import found_id
from paysession._ledger.ledger import IMPLIED, Ledger
from paysession.operation import Dispute, Operation
from paysession.provider import Redirect
from paysession.values import Failure, replace

LATER = NOW + timedelta(minutes=1)
WORDS = Failure("declined", "Ann Payer's card was refused", "declined")


def authorized(**changes):
    return a_session(Status.AUTHORIZED, **{"granted": 4200, "authorized": 4200, "held": 4200} | changes)


def canceled(**changes):
    return a_session(Status.CANCELED, **{"released": True} | changes)


def an_operation(kind=Kind.CAPTURE, amount="10.00", state=State.STARTED, **changes):
    return Operation(
        id=f"ps_1-1-{kind}", session_id="ps_1", kind=kind, ordinal=1, amount=eur(amount), state=state,
        created_at=NOW, updated_at=NOW, session_status=Status.AUTHORIZED, **changes,
    )  # fmt: skip


def applied(session, *facts, operations=(), conflicts=()):
    ledger = Ledger(session, LATER, operations, conflicts)
    for fact in facts:
        ledger.apply(fact)
    return ledger


def events(ledger):
    return [type_ for type_, _, _ in ledger.events]


def closed_by(fact, session=None, **operation):
    """Return an operation in doubt as a fact leaves it."""
    given = {"doubted_at": NOW, "lease_until": LATER, "note": "seen by ann", "payload": '{"token": "t"}'}
    payload = given.pop("payload")
    begun = replace(an_operation(**given | operation), _payload=payload)
    return applied(session or authorized(open=begun.id), fact(begun)).written[begun.id]


# --- an operation is closed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fact",
    [
        Accepted,
        lambda operation: Succeeded(operation, "captured"),
        lambda operation: Refused(operation, State.DECLINED, WORDS),
    ],
)
def test_what_is_closed_is_in_doubt_no_more_and_keeps_its_note_and_nothing_of_the_browsers(fact):
    closed = closed_by(fact)
    assert (closed.doubted_at, closed.lease_until, closed.payload) == (None, None, {})
    assert closed.note == "seen by ann"


def test_an_answer_with_a_reference_identifies_the_effect():
    assert closed_by(lambda operation: Succeeded(operation, "captured", reference="ch"), sure=False).sure
    assert not closed_by(lambda operation: Succeeded(operation, "captured"), sure=False).sure


@pytest.mark.parametrize(
    ("kind", "cancel_requested", "checks"),
    [(Kind.CANCEL, True, 5), (Kind.CANCEL, False, 0), (Kind.CAPTURE, True, 0), (Kind.CAPTURE, False, 0)],
)
def test_only_a_requested_cancel_keeps_its_growing_intervals(kind, cancel_requested, checks):
    operation = an_operation(kind)
    session = authorized(cancel_requested=cancel_requested, checks=5)
    assert applied(session, Begun(operation)).row.checks == checks
    session = replace(session, open=operation.id)
    refused = applied(session, Refused(operation, State.NOT_APPLIED, WORDS))
    assert refused.row.checks == (checks + 1 if checks else 0)


@pytest.mark.parametrize(("cancel_requested", "checks"), [(False, 0), (True, 5)])
def test_the_queries_about_what_was_pending_end_with_it(cancel_requested, checks):
    pending = an_operation(state=State.PENDING)
    session = authorized(pending=1, capturing=1000, checks=5, cancel_requested=cancel_requested)
    assert applied(session, Succeeded(pending, "found")).row.checks == checks


def test_an_operation_in_doubt_is_reported_so_once():
    operation = an_operation(lease_until=NOW)
    ledger = applied(authorized(), Claimed(operation, LATER))
    claimed = ledger.written[operation.id]
    assert (events(ledger), claimed.doubted_at, claimed.attempt) == (["operation.in_doubt"], NOW, 2)
    assert [detail for _, _, detail in ledger.events] == ["the process that sent it is gone"]
    assert events(applied(authorized(), Claimed(claimed, LATER))) == []


@pytest.mark.parametrize(("needed", "since"), [(True, LATER), (False, None)])
def test_what_no_gateway_can_settle_is_listed_for_an_operator(needed, since):
    ledger = applied(authorized(), Unanswered(an_operation(), "timeout", None, needs_operator=needed))
    assert ledger.row.attention_at == since
    error = ledger.written["ps_1-1-capture"].error
    assert (error.category, error.payer_message_key) == ("try_later", "being_checked")
    assert applied(authorized(), Unanswered(an_operation(), "timeout", None)).row.attention_at is None


# --- what is found ------------------------------------------------------------------------------------


def test_what_is_found_is_in_the_order_in_which_it_was_recorded():
    facts = [Found(Kind.CAPTURE, eur("1.00"), State.SUCCEEDED, reference=name) for name in "abc"]
    times = [row.created_at for row in applied(authorized(), *facts).operations]
    assert times == sorted(set(times))


def test_what_is_found_goes_by_the_gateways_id_and_what_is_undone_by_what_it_undoes():
    captured = an_operation(state=State.SUCCEEDED)
    facts = [
        Found(Kind.CAPTURE, eur("1.00"), State.SUCCEEDED, reference="ch"),
        Reversed(captured, eur("10.00")),
        Found(Kind.CAPTURE, eur("1.00"), State.SUCCEEDED),
    ]
    ids = list(applied(authorized(captured=1000), *facts, operations=[captured]).written)
    assert ids[:2] == [found_id("ps_1", "capture", of) for of in ("ch", captured.id)]
    # What has neither may be found again in another commit, which knows no other operation of the session.
    assert ids[2] != found_id("ps_1", "capture", None)


@pytest.mark.parametrize(("of_refused", "expected"), [("ps_1-0-a", "ps_1-0-a"), (None, "ps_1-0-b")])
def test_an_effect_after_a_refusal_refers_to_what_was_asked_for(of_refused, expected):
    refused = an_operation(Kind.REFUND, state=State.NOT_APPLIED, capture_id=of_refused)
    found = Found(Kind.REFUND, eur("10.00"), State.SUCCEEDED, capture_id="ps_1-0-b", refused=refused)
    (row,) = [op for op in applied(authorized(captured=4200), found).operations if op.id != refused.id]
    assert row.capture_id == expected


@pytest.mark.parametrize(
    ("minor", "left", "event"), [(4199, 1, "session.released"), (4200, 0, "session.canceled")]
)
def test_a_release_that_leaves_nothing_ends_the_session(minor, left, event):
    ledger = applied(authorized(), Found(Kind.CANCEL, cents(minor), State.SUCCEEDED))
    assert (ledger.row.authorized, events(ledger)) == (left, [event])
    assert ledger.row.released is (left == 0)


def test_a_second_authorization_that_is_pending_holds_what_was_authorized():
    ledger = applied(authorized(), Found(Kind.AUTHORIZE, eur("1.00"), State.PENDING, answer="seen"))
    assert (ledger.row.held, ledger.row.status) == (4200, Status.AUTHORIZED)
    assert ledger.operations[0].answer == "seen"


@pytest.mark.parametrize("kind", [Kind.CHARGEBACK, Kind.REFUND])
def test_only_a_pending_authorization_holds_an_amount(kind):
    assert applied(a_session(), Found(kind, eur("10.00"), State.PENDING)).row.held == 0


def test_a_release_of_all_that_was_not_captured_is_for_good():
    ledger = applied(authorized(captured=1000), Found(Kind.CANCEL, eur("32.00"), State.SUCCEEDED))
    assert (ledger.row.authorized, ledger.row.released) == (1000, True)


# --- an amount that is another ------------------------------------------------------------------------


def test_an_effect_of_another_amount_is_a_conflict_unless_nobody_asked_for_it():
    for kind in (Kind.CAPTURE, Kind.CHARGEBACK):
        operation = an_operation(kind)
        session = authorized(captured=2000)
        same = applied(session, Succeeded(operation, "found", eur("10.00")))
        assert (same.opened, same.written[operation.id].note) == ((), None)
        other = applied(session, Succeeded(operation, "found", eur("9.00")))
        assert [conflict.kind for conflict in other.opened] == (["amount"] if kind is Kind.CAPTURE else [])
        note = other.written[operation.id].note
        assert note == f"10.00 EUR was {'asked for' if kind is Kind.CAPTURE else 'disputed'}"


def test_nobody_asked_for_the_amount_of_an_implied_authorization():
    implied = an_operation(Kind.AUTHORIZE, state=State.SUCCEEDED, answer=IMPLIED)
    ledger = applied(authorized(granted=1000, authorized=1000), Succeeded(implied, "found", eur("42.00")))
    assert (ledger.written[implied.id].note, ledger.row.authorized) == (None, 4200)


# --- what is authorized -------------------------------------------------------------------------------


def test_one_cent_is_authorized():
    ledger = applied(a_session(amount=cents(1)), Found(Kind.AUTHORIZE, cents(1), State.SUCCEEDED))
    assert (ledger.row.status, ledger.row.authorized) == (Status.AUTHORIZED, 1)


def test_an_authorization_that_is_found_shows_that_the_session_was_accepted():
    session = a_session(initiated=False, next_action=Redirect("https://gateway.example"), error=WORDS)
    row = applied(session, Found(Kind.AUTHORIZE, eur("42.00"), State.SUCCEEDED)).row
    assert (row.initiated, row.next_action, row.error) == (True, None, None)


def test_what_initiates_a_session_shows_that_it_was_accepted():
    ledger = applied(a_session(initiated=False), Succeeded(an_operation(Kind.INITIATE), "found"))
    assert (ledger.row.initiated, events(ledger)) == (True, ["session.initiated"])


def test_what_the_payer_must_do_stays_when_more_is_authorized():
    action = Redirect("https://gateway.example")
    ledger = applied(authorized(next_action=action), Found(Kind.AUTHORIZE, eur("1.00"), State.SUCCEEDED))
    assert (ledger.row.next_action, events(ledger)) == (action, ["session.changed"])


def test_each_authorization_after_a_cancel_is_an_event_and_all_of_them_one_conflict():
    found = [Found(Kind.AUTHORIZE, eur("42.00"), State.SUCCEEDED, reference=name) for name in "ab"]
    ledger = applied(canceled(), *found)
    assert [conflict.kind for conflict in ledger.opened] == ["authorized_after_cancel"]
    assert events(ledger) == ["session.conflict", "session.changed"]


def test_a_capture_after_a_cancel_is_a_conflict():
    ledger = applied(canceled(), Found(Kind.CAPTURE, eur("10.00"), State.SUCCEEDED))
    (conflict,) = ledger.opened
    assert (conflict.kind, conflict.expected, conflict.found) == (
        "authorized_after_cancel", "nothing", "10.00 EUR",
    )  # fmt: skip


def test_a_pending_capture_takes_no_release_back():
    session = authorized(released=True, captured=1000, authorized=1000, held=1000)
    row = applied(session, Accepted(an_operation(amount="1.00"))).row
    assert (row.released, row.authorized) == (True, 1100)


@pytest.mark.parametrize(
    "fact",
    [
        Accepted(an_operation()),
        Succeeded(an_operation(), "captured"),
        Found(Kind.CAPTURE, eur("10.00"), State.SUCCEEDED),
    ],
)
def test_a_capture_leaves_the_rest_authorized_unless_it_releases_it(fact):
    for given, authorized_ in [(fact, 4200), (fact._replace(released=True), 1000)]:
        assert applied(authorized(), given).row.authorized == authorized_


def test_an_object_that_is_open_though_the_session_is_canceled_authorizes_nothing_yet():
    row = applied(canceled(granted=4200, captured=1000, authorized=1000), Reopened()).row
    assert (row.granted, row.released, row.authorized) == (1000, False, 1000)


@pytest.mark.parametrize("released", [True, False])
def test_an_implied_authorization_after_a_cancel_is_no_conflict_beside_its_captures(released):
    implied = Found(Kind.AUTHORIZE, eur("10.00"), State.SUCCEEDED, IMPLIED)
    assert applied(canceled(released=released), implied).opened == ()


def test_an_update_of_what_was_authorized_meanwhile_holds_nothing_more():
    update = replace(an_operation(Kind.UPDATE, "50.00"), session_status=Status.PENDING)
    row = applied(authorized(), Succeeded(update, "found")).row
    assert (row.amount, row.held) == (eur("50.00"), 4200)


@pytest.mark.parametrize(
    ("kind", "released", "held"),
    [(Kind.UPDATE, False, 5000), (Kind.UPDATE, True, 2000), (Kind.AUTHORIZE, False, 4200)],
)
def test_an_increment_in_doubt_is_held_beside_what_is_authorized_until_that_is_released(kind, released, held):
    pending, opened = an_operation(state=State.PENDING), an_operation(kind, "50.00", hold=800)
    session = authorized(
        captured=2000, capturing=1000, pending=1, released=released, held=5000, open=opened.id
    )
    failed = Refused(pending, State.DECLINED, WORDS)
    assert applied(session, failed, operations=[pending, opened]).row.held == held


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "key", "cancel_requested", "ends"),
    [
        (State.DECLINED, "k", False, True),
        (State.NOT_APPLIED, None, False, True),
        (State.NOT_APPLIED, "k", True, True),
        (State.NOT_APPLIED, "k", False, False),
    ],
)
def test_a_session_that_was_not_accepted_is_over_unless_its_caller_can_repeat_the_call(
    state, key, cancel_requested, ends
):
    initiate = an_operation(Kind.INITIATE, idempotency_key=key)
    session = a_session(initiated=False, cancel_requested=cancel_requested)
    row = applied(session, Refused(initiate, state, WORDS)).row
    assert row.status is (Status.CANCELED if ends else Status.PENDING)
    assert (row.released, row.cancel_requested) == (ends, False)


def test_a_second_authorization_that_is_declined_leaves_the_first():
    declined = an_operation(Kind.AUTHORIZE)
    ledger = applied(authorized(), Refused(declined, State.DECLINED, WORDS))
    assert (ledger.row.status, ledger.row.error, events(ledger)) == (
        Status.AUTHORIZED, None, ["operation.failed"],
    )  # fmt: skip


def test_the_end_of_a_session_stays_its_end_when_something_else_is_refused():
    raised = an_operation(Kind.UPDATE, "50.00")
    ended = Succeeded(an_operation(Kind.CANCEL), "found")
    ledger = applied(authorized(), ended, Refused(raised, State.DECLINED, WORDS))
    assert (ledger.row.status, events(ledger)) == (
        Status.CANCELED, ["session.canceled", "operation.failed"],
    )  # fmt: skip


# --- what releases, and what reverses -----------------------------------------------------------------


def test_a_release_asks_the_payer_for_nothing_more():
    session = a_session(Status.REQUIRES_MORE, next_action=Redirect("https://gateway.example"))
    assert applied(session, Released()).row.next_action is None


def test_a_release_of_none_of_ours_is_an_event_only_where_less_is_authorized():
    session = authorized(captured=1000)
    assert events(applied(session, Released())) == ["session.released"]
    assert events(applied(replace(session, authorized=1000), Released())) == []
    cancel = an_operation(Kind.CANCEL)
    assert events(applied(replace(session, authorized=1000), Released(cancel))) == ["session.released"]


@pytest.mark.parametrize(("rest", "requested"), [(0, False), (3200, True)])
def test_a_requested_cancel_is_over_once_all_was_reversed(rest, requested):
    capture = an_operation(state=State.SUCCEEDED)
    minor = 1000 + rest
    session = authorized(captured=1000, granted=minor, authorized=minor, cancel_requested=True)
    assert applied(session, Reversed(capture, eur("10.00"))).row.cancel_requested is requested


def test_what_is_captured_before_it_is_authorized_keeps_no_session_from_its_end():
    ledger = applied(a_session(captured=1000), Released())
    assert (ledger.row.status, ledger.row.held, events(ledger)) == (
        Status.CANCELED, 1000, ["session.canceled"],
    )  # fmt: skip


@pytest.mark.parametrize(("answer", "over"), [("found", True), (IMPLIED, False)])
def test_once_nothing_is_left_a_session_is_over_unless_its_authorization_may_be_of_more(answer, over):
    capture = an_operation(state=State.SUCCEEDED)
    authorization = an_operation(Kind.AUTHORIZE, state=State.SUCCEEDED, answer=answer)
    session = authorized(captured=1000, granted=1000, authorized=1000)
    undone = Reversed(capture, eur("10.00"))
    row = applied(session, undone, operations=[authorization, capture]).row
    assert (row.status, row.released) == (Status.CANCELED, over)


def test_a_release_that_is_no_end_keeps_its_reason():
    cancel = an_operation(Kind.CANCEL, reason="sold out", doubted_at=NOW)
    found = Found(Kind.AUTHORIZE, eur("42.00"), State.SUCCEEDED)
    ledger = applied(authorized(), Succeeded(cancel, "found"), found)
    assert [(type_, detail) for type_, _, detail in ledger.events] == [
        ("operation.settled", "succeeded"),
        ("session.released", "sold out"),
        ("session.changed", None),
    ]


@pytest.mark.parametrize(("status", "then"), [("opened", "won"), ("under_review", "won"), ("lost", "lost")])
def test_money_that_comes_back_decides_a_dispute_that_was_open(status, then):
    chargeback = an_operation(Kind.CHARGEBACK, state=State.SUCCEEDED, dispute=Dispute(status))
    ledger = applied(authorized(captured=4200, charged_back=1000), Reversed(chargeback, eur("10.00")))
    assert [(type_, detail) for type_, _, detail in ledger.events] == [("session.dispute_won", then)]


# --- what was found is ours ---------------------------------------------------------------------------


def test_an_operation_takes_the_place_of_what_was_found_with_all_that_refers_to_it():
    ours = replace(
        an_operation(doubted_at=NOW, lease_until=LATER, note="mine", error=WORDS, sure=False),
        _payload='{"a": 1}',
    )
    found = replace(an_operation(state=State.SUCCEEDED, answer="found", reference="ch"), id="ps_1-0found")
    refund = an_operation(Kind.REFUND, "1.00", State.SUCCEEDED, capture_id=found.id)
    other = replace(refund, id="ps_1-1-other", capture_id="ps_1-0another")
    session = authorized(open=ours.id, checks=3, captured=1000)
    ledger = applied(session, Recognized(ours, found, True), operations=[ours, found, refund, other])
    row = ledger.written[ours.id]
    assert (row.state, row.reference, row.answer, row.sure) == (State.SUCCEEDED, "ch", "found", True)
    assert (row.error, row.note, row.lease_until, row.doubted_at, row.payload) == (
        None,
        "mine",
        None,
        None,
        {},
    )
    assert ledger.written[refund.id].capture_id == ours.id
    assert other.id not in ledger.written
    assert (ledger.row.open, ledger.row.checks, ledger.row.authorized) == (None, 0, 1000)
    assert events(ledger)[0] == "operation.settled"


def test_another_operation_that_is_open_stays_open():
    pending = an_operation(state=State.PENDING)
    found = replace(an_operation(state=State.PENDING), id="ps_1-0found")
    session = authorized(open="ps_1-2-refund", pending=2, capturing=2000, checks=3)
    ledger = applied(session, Recognized(pending, found))
    assert (ledger.row.open, ledger.row.checks, ledger.row.released) == ("ps_1-2-refund", 3, False)
    assert events(ledger) == []


@pytest.mark.parametrize(
    ("kept", "status", "ends"), [(0, "canceled", ["session.canceled"]), (500, "authorized", [])]
)
def test_what_releases_the_rest_ends_a_session_of_which_nothing_is_captured_any_more(kept, status, ends):
    """A final capture was found and undone, and then its answer names it."""
    found = replace(an_operation(state=State.SUCCEEDED), id="ps_1-0found")
    undone = replace(an_operation(state=State.SUCCEEDED), id="ps_1-0undone", reverses=found.id)
    fact = Recognized(an_operation(), found, released=True)
    ledger = applied(authorized(captured=kept), fact, operations=[found, undone])
    assert (ledger.row.status, ledger.row.authorized, events(ledger)) == (status, kept, ends)


def test_a_request_that_is_answered_at_once_was_in_no_doubt():
    found = replace(an_operation(state=State.SUCCEEDED), id="ps_1-0found")
    assert events(applied(authorized(captured=1000), Recognized(an_operation(), found))) == []


def test_what_was_taken_for_ours_is_found_in_the_state_that_it_was_in():
    guessed = an_operation(state=State.PENDING, reference="theirs", sure=False, answer="pending")
    ledger = applied(authorized(pending=1, capturing=1000), Identified(guessed, "ours"))
    ours, theirs = ledger.operations
    assert (ours.reference, ours.answer, theirs.reference) == ("ours", "pending", "theirs")
    assert (theirs.state, theirs.answer, ledger.row.pending) == (State.PENDING, "found", 2)
    guessed = replace(guessed, state=State.SUCCEEDED, answer="captured")
    ours, theirs = applied(authorized(captured=1000), Identified(guessed, "ours")).operations
    assert (ours.answer, theirs.state, theirs.answer) == ("captured", State.SUCCEEDED, "found")


def test_a_first_id_of_the_gateways_makes_no_other_operation():
    nameless = an_operation(state=State.SUCCEEDED, sure=False)
    (row,) = applied(authorized(captured=1000), Identified(nameless, "ours")).operations
    assert (row.reference, row.sure) == ("ours", True)


# --- personal data ------------------------------------------------------------------------------------


def test_nothing_that_names_the_payer_is_kept_once_the_payment_is_to_be_forgotten():
    operation = replace(
        an_operation(state=State.DECLINED, reason="Ann asked", note="Ann called", error=WORDS),
        _payload='{"name": "Ann"}', _data='{"name": "Ann"}',
    )  # fmt: skip
    action = Redirect("https://gateway.example/ann")
    session = a_session(Status.ERROR, _data='{"name": "Ann"}', next_action=action, error=WORDS)
    opened = applied(session, ConflictOpened("amount", 1, 2)).opened
    closed = [
        replace(row, closed_at=NOW, note=note) for row, note in zip(opened * 2, ("Ann", None), strict=True)
    ]
    ledger = applied(session, Forgotten("bob", closed), operations=[operation])
    row, erased = ledger.row, ledger.written[operation.id]
    assert (row.data_text, row.next_action, row.forgotten_at) == ("{}", None, LATER)
    assert (row.error.code, row.error.message) == (erased.error.code, erased.error.message)
    assert (erased.error.code, erased.error.message) == ("declined", "erased")
    assert (erased.payload, erased.data_text, erased.reason, erased.note) == ({}, "{}", None, None)
    change = ledger.change()
    assert [conflict.note for conflict in change.conflicts] == [None]
    assert (change.erased, [event.by for event in change.events]) == (True, ["bob"])


def test_what_names_the_payer_in_one_place_is_erased_there():
    session = replace(applied(a_session(), Forgotten("bob")).session, version=1)
    for before, operations in [(replace(session, error=WORDS), []), (session, [an_operation(note="Ann")])]:
        ledger = applied(before, Forgotten("bob"), operations=operations)
        assert (ledger.changed, ledger.change().erased) == (True, True)


def test_what_is_forgotten_already_is_not_forgotten_again():
    session = replace(applied(a_session(), Forgotten("bob")).session, version=1)
    ledger = applied(session, Forgotten("eve"))
    assert (ledger.erased, ledger.changed, events(ledger)) == (False, False, [])
    ledger = applied(replace(session, forgotten_at=NOW, error=WORDS), Forgotten("eve"))
    assert (ledger.erased, ledger.row.forgotten_at) == (True, NOW)


# --- when to look again -------------------------------------------------------------------------------


def test_a_cancel_that_is_requested_again_goes_on_at_its_intervals():
    row = applied(authorized(checks=7), CancelRequested("ann")).row
    assert (row.cancel_requested, row.checks, row.cancel_by) == (True, 0, "ann")
    row = applied(authorized(checks=7, cancel_requested=True, cancel_by="ann"), CancelRequested("bob")).row
    assert (row.checks, row.cancel_by) == (7, "ann")


@pytest.mark.parametrize(("opened", "checks"), [(None, 3), ("ps_1-2-capture", 2)])
def test_a_look_is_counted_where_no_operation_is_open(opened, checks):
    assert applied(authorized(open=opened, checks=2), Postponed()).row.checks == checks


@pytest.mark.parametrize(
    ("abandon_at", "due_at"),
    [(None, None), (NOW, None), (LATER, None), (LATER + timedelta(1), LATER + timedelta(1))],
)
def test_what_waits_for_an_operator_is_due_only_when_it_is_abandoned(abandon_at, due_at):
    row = applied(a_session(abandon_at=abandon_at, due_at=NOW), OperatorNeeded()).row
    assert (row.due_at, row.attention_at, row.updated_at) == (due_at, LATER, NOW)


# --- conflicts ----------------------------------------------------------------------------------------


def test_a_session_shows_the_newest_conflict_that_is_open():
    kinds = ["amount", "currency", "over_limit"]
    opened = []
    for place, kind in enumerate(kinds):
        ledger = Ledger(authorized(version=place), NOW + timedelta(hours=place))
        ledger.apply(ConflictOpened(kind, "this", "that"))
        opened += ledger.opened
    ledger = Ledger(authorized(conflict="over_limit"), LATER, (), opened)
    for kind, shown in [("over_limit", "currency"), ("amount", "currency"), ("currency", None)]:
        ledger.apply(ConflictClosed(kind, "ann", "it is right"))
        assert ledger.row.conflict == shown
    closed = ledger.change().conflicts
    assert [(row.closed_by, row.note) for row in closed] == [("ann", "it is right")] * 3


def test_of_two_conflicts_within_a_second_the_later_one_is_the_newest():
    opened = []
    for kind, after in [("amount", 1), ("currency", 2)]:
        ledger = Ledger(authorized(version=after), NOW + timedelta(milliseconds=after))
        ledger.apply(ConflictOpened(kind, "this", "that"))
        opened += ledger.opened
    assert opened[0].id[:-16] < opened[1].id[:-16]


# --- the ledger as it is read and written -------------------------------------------------------------


def test_what_has_an_id_of_the_gateways_is_found_by_it_as_long_as_it_has_it():
    rows = [
        replace(an_operation(state=State.SUCCEEDED), id=f"ps_1-{place}-capture", reference=reference)
        for place, reference in enumerate(["a", "b", "b", None], 1)
    ]
    ledger = applied(authorized(), operations=rows)
    assert ledger.named("b") == rows[1:3]
    assert ledger.named(None, "a") == rows[:1]
    assert ledger.named("b", "a", "b") == rows[:3]
    assert ledger.named("c") == ledger.named(None) == ()
    ledger.apply(Identified(replace(rows[0], sure=True), "c"))
    assert [row.id for row in ledger.named("c")] == [rows[0].id]
    assert list(ledger.named("a")) == []
    assert ledger.named("a", "b") == rows[1:3]
    ledger.apply(Found(Kind.CAPTURE, eur("1.00"), State.SUCCEEDED, reference="d"))
    assert [row.reference for row in ledger.named("d")] == ["d"]


def test_an_event_says_what_happened_who_asked_and_of_how_much():
    operation = an_operation(by="ann", reason="sold out")
    ledger = applied(authorized(), Refused(operation, State.DECLINED, WORDS))
    (event,) = ledger.change().events
    assert (event.type, event.detail, event.by) == ("operation.failed", "declined", "ann")
    assert (event.operation_id, event.amount) == (operation.id, eur("10.00"))
    (event,) = applied(authorized(), Released()).change().events
    assert (event.operation_id, event.amount, event.by) == (None, eur("42.00"), None)
    cancel = an_operation(Kind.CANCEL, reason="sold out")
    (event,) = applied(authorized(), Succeeded(cancel, "canceled")).change().events
    assert (event.type, event.detail) == ("session.canceled", "sold out")


def test_a_change_is_of_the_session_as_it_is_read_afterwards():
    ledger = applied(authorized(), Released())
    change = ledger.change()
    assert change.session is ledger.session
    assert (change.guarded, change.erased, [event.cursor for event in change.events]) == (False, False, [""])


def test_an_event_has_the_operation_as_it_is_after_all_facts():
    operation = an_operation()
    ledger = applied(authorized(), Succeeded(operation, "captured"), Identified(operation, "ch"))
    assert [row.reference for _, row, _ in ledger.events] == ["ch"]
    assert [row for _, row, _ in applied(authorized(), Released()).events] == [None]
    assert applied(authorized()).events == ()


def test_a_conflict_alone_is_a_change():
    opened = applied(authorized(), ConflictOpened("amount", 1, 2)).opened
    ledger = applied(authorized(), ConflictClosed("amount"), conflicts=opened)
    assert ledger.changed
    assert not applied(authorized(), ConflictClosed("amount")).changed
    assert applied(authorized()).change().conflicts == ()


def test_the_note_of_a_conflict_is_erased_where_nothing_else_names_the_payer():
    session = replace(applied(a_session(), Forgotten("bob")).session, version=1)
    (conflict,) = applied(session, ConflictOpened("amount", 1, 2)).opened
    ledger = applied(session, Forgotten("bob", [replace(conflict, closed_at=NOW, note="Ann")]))
    change = ledger.change()
    assert ledger.changed
    assert (change.erased, [row.note for row in change.conflicts]) == (True, [None])


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.REFUND, Kind.CANCEL])
def test_only_a_dispute_is_disputed(kind):
    assert applied(authorized(captured=2000), Accepted(an_operation(kind))).row.disputes == 0


def test_the_money_that_went_back_is_what_was_refunded_and_what_was_charged_back():
    assert applied(authorized(captured=42, refunded=20, charged_back=3)).row.returned == 23


def test_what_waits_for_an_operator_waits_no_more_once_something_changes():
    assert applied(authorized(attention_at=NOW)).session.attention_at is None


def test_what_is_presented_after_an_end_or_an_authorization_changes_no_status():
    for session in (authorized(), canceled()):
        assert applied(session, Presented(Status.PENDING)).row.status is session.status
    assert applied(a_session(), Presented(Status.REQUIRES_MORE)).row.status is Status.REQUIRES_MORE
