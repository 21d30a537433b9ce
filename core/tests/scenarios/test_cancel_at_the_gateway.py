"""What the gateway shows of a cancel: ours in doubt or under way, its own, and what it kept."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import Declined, Failure, InvalidTransition, NotApplied, Outcome, OutcomeUnknown
from paysession.outcome import Effect, Snapshot

TOO_LATE = Failure("too_late", "It was settled this morning.")


def in_doubt(told, kind, session, *arguments):
    """Leave an operation of a kind in doubt, and return its id."""
    told.fake.fail_next("timeout", kind=kind)
    with pytest.raises(OutcomeUnknown) as caught:
        getattr(told.payments, kind)(session.id, *arguments)
    assert caught.value.session_id == session.id
    return caught.value.operation_id


def captured_in_part(told):
    session = told.session()
    return told.payments.capture(session.id, eur("20.00"))


def test_a_cancel_in_doubt_that_was_wanted_is_wanted_no_more_when_the_rest_is_gone(told):
    session = captured_in_part(told)
    told.fake.answers["cancel"], told.fake.snapshot = OutcomeUnknown("reset"), NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)  # remembered, while the first is in doubt
    told.fake.snapshot = Snapshot("authorized", authorized=eur("20.00"), captured=eur("20.00"))
    told.clock.forward(hours=1)
    session = told.payments.sync(session.id)
    assert (session.cancel_requested, session.in_doubt, session.due_at) == (False, False, None)
    assert [row[2] for row in told.rows(session.id) if row[0] == "cancel"] == ["succeeded"]


def test_a_pending_cancel_of_the_rest_settles_when_the_rest_is_gone(told):
    session = captured_in_part(told)
    told.fake.answers["cancel"] = Outcome.pending()
    assert told.payments.cancel(session.id).pending == 1
    told.fake.snapshot = Snapshot("authorized", authorized=eur("20.00"), captured=eur("20.00"))
    session = told.payments.sync(session.id)
    assert (session.pending, session.due_at) == (0, None)
    assert told.books(session.id) == ("authorized", 2000, 2000, 0, None)
    assert told.rows(session.id)[-1] == ("cancel", "host", "succeeded", "found", 2200)
    assert told.told()[-2:] == ["operation.pending", "session.released"]
    assert told.payments.collection(told.order.id).held == 2000


def test_a_cancel_of_the_rest_in_doubt_settles_when_the_rest_is_gone(told):
    session = captured_in_part(told)
    told.fake.fail_next("timeout", kind="cancel")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("20.00"), captured=eur("20.00"))
    session = told.payments.cancel(session.id)
    assert not session.in_doubt
    assert told.rows(session.id)[-1] == ("cancel", "host", "succeeded", "found", 2200)
    assert told.told()[-1] == "session.released"


@pytest.mark.parametrize(("taken", "became"), [("20.00", "succeeded"), ("42.00", "started")])
def test_a_cancel_in_doubt_of_what_others_had_authorized_and_captured_settles_if_the_rest_is_gone(
    told, taken, became
):
    """A browser authorized, a dashboard captured, and then came our cancel, of which nobody heard."""
    session = told.session("requires_more")
    told.fake.fail_next("timeout", kind="cancel")
    told.fake.snapshot = Snapshot(
        "authorized",
        authorized=eur(taken),
        captured=eur(taken),
        effects=[Effect("capture", eur(taken), reference="dash_1")],
    )
    if became == "succeeded":
        told.payments.cancel(session.id)
    else:  # the rest is nothing: that says nothing about our cancel
        with pytest.raises(OutcomeUnknown):
            told.payments.cancel(session.id)
    minor = eur(taken).minor
    assert told.books(session.id) == ("authorized", minor, minor, 0, None)
    assert [row[:3] for row in told.rows(session.id) if row[0] == "cancel"] == [("cancel", "host", became)]


def test_a_cancel_of_the_rest_that_was_asked_for_twice_settles_once(told):
    session = captured_in_part(told)
    told.fake.answers["cancel"], told.fake.snapshot = OutcomeUnknown("reset"), NotApplied("down")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            told.payments.cancel(session.id)
    assert told.payments.get(session.id).cancel_requested
    told.fake.snapshot = Snapshot("authorized", authorized=eur("20.00"), captured=eur("20.00"))
    session = told.payments.sync(session.id)
    assert (session.cancel_requested, session.in_doubt, session.due_at) == (False, False, None)
    operation = told.payments.history(session.id)[-1]
    assert (operation.origin, operation.error) == ("host", None)
    assert (told.told()[-1], told.events()[-1].operation_id) == ("session.released", operation.id)


def test_a_refund_under_way_has_nothing_to_do_with_a_rest_that_is_released(told):
    session = captured_in_part(told)
    told.fake.answers["refund"] = Outcome.pending()
    told.payments.refund(session.id, eur("5.00"))
    told.fake.snapshot = Snapshot("authorized", authorized=eur("41.99"))
    session = told.payments.sync(session.id)
    assert (session.authorized, session.pending, session.refunding) == (4199, 1, 500)
    assert told.rows(session.id)[-1] == ("cancel", "provider", "succeeded", "found", 1)
    assert told.events()[-1].operation_id == told.payments.history(session.id)[-1].id


def canceled_while_pending(told):
    """Return a session that was canceled while the bank was still at work on its authorization."""
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.pending()
    told.payments.authorize(session.id)
    session = told.payments.cancel(session.id)
    assert (session.status, session.pending) == ("canceled", 1)
    return session


def test_an_authorization_that_others_had_captured_before_our_cancel_is_pending_no_more(told):
    """The bank said yes, somebody captured a part at the dashboard, and our cancel released the rest."""
    session = canceled_while_pending(told)
    taken = Effect("capture", eur("20.00"), reference="dash_1")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("20.00"), effects=[taken])
    session = told.payments.sync(session.id)
    assert (session.pending, session.due_at, session.conflict) == (0, None, "authorized_after_cancel")
    assert told.books(session.id)[:4] == ("canceled", 2000, 2000, 0)
    assert told.rows(session.id)[1] == ("authorize", "host", "succeeded", "canceled", 4200)
    assert told.payments.collection(told.order.id).held == 2000


def test_an_authorization_that_failed_after_our_cancel_is_pending_no_more(told):
    session = canceled_while_pending(told)
    told.fake.snapshot = Snapshot("error", error=TOO_LATE)
    session = told.payments.sync(session.id)
    assert (session.status, session.pending, session.due_at) == ("canceled", 0, None)
    assert told.rows(session.id)[1][2:4] == ("declined", "pending")
    assert told.told()[-1] == "operation.failed"


def test_a_lookup_that_lags_does_not_bring_back_what_was_released(told):
    lag = timedelta(minutes=5)
    told.fake.capabilities = evolve(told.fake.capabilities, lookup="lagging", lookup_lag=lag)
    told = type(told)(told.fake)
    session = captured_in_part(told)
    session = told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"))
    assert told.payments.sync(session.id).version == session.version
    told.clock.now += lag
    told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 4200, 2000, 0, "amount")


def test_a_rest_that_the_gateway_released_by_itself_is_recorded_as_its_cancel(told):
    session = captured_in_part(told)
    told.fake.snapshot = Snapshot("authorized", authorized=eur("30.00"), captured=eur("20.00"))
    told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 3000, 2000, 0, None)
    assert told.rows(session.id)[-1] == ("cancel", "provider", "succeeded", "found", 1200)
    assert told.told()[-1] == "session.released"
    assert told.payments.collection(told.order.id).held == 3000


def test_an_authorization_that_grew_is_booked_and_reported(told):
    session = told.session()
    told.fake.snapshot = Snapshot("authorized", authorized=eur("45.00"))
    for _ in range(2):
        told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 4500, 0, 0, "amount")
    event = told.events()[-1]
    assert (event.type, event.detail) == ("session.conflict", "amount: expected 42.00 EUR, found 45.00 EUR")
    assert told.told().count("session.conflict") == 1
    assert told.payments.collection(told.order.id).held == 4500


@pytest.mark.parametrize("answer", [Outcome.pending(), OutcomeUnknown("reset")], ids=["pending", "in doubt"])
def test_a_cancel_that_fails_at_the_gateway_is_closed_with_its_reason(told, answer):
    session = told.session()
    told.fake.answers["cancel"] = answer
    failed = Effect("cancel", eur("42.00"), "failed", key=told.next_key(session.id, "cancel"), error=TOO_LATE)
    if isinstance(answer, Outcome):
        assert told.payments.cancel(session.id).pending == 1
        told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[failed])
        session = told.payments.sync(session.id)
    else:
        told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[failed])
        with pytest.raises(Declined, match="settled this morning") as caught:
            told.payments.cancel(session.id)
        assert (caught.value.code, caught.value.operation_id) == ("too_late", told.key(session.id, 3))
        session = told.payments.get(session.id)
    assert (session.status, session.pending, session.open, session.due_at) == ("authorized", 0, None, None)
    assert told.payments.history(session.id)[-1].error == TOO_LATE
    assert told.told()[-1] == "operation.failed"
    assert told.payments.sync(session.id).version == session.version


def test_a_cancel_in_doubt_that_the_gateway_has_under_way_is_pending(told):
    session = told.session()
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    under_way = Effect("cancel", eur("42.00"), "pending", key=told.next_key(session.id, "cancel"))
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[under_way])
    seen, told.fake.snapshot = told.fake.snapshot, NotApplied("down")
    for _ in range(2):  # the second is remembered
        with pytest.raises(OutcomeUnknown):
            told.payments.cancel(session.id)
    told.fake.snapshot = seen
    for _ in range(2):
        session = told.payments.sync(session.id)
    assert (session.status, session.pending, session.in_doubt) == ("authorized", 1, False)
    assert session.cancel_requested is False
    operation = told.payments.history(session.id)[-1]
    assert (operation.state, operation.answer, operation.error) == ("pending", "pending", None)
    assert told.told()[-1:] == ["operation.pending"]
    told.fake.snapshot = Snapshot("canceled")
    told.settle()
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert told.told()[-2:] == ["operation.pending", "session.canceled"]


# --- the gateway says canceled, while something of ours is open -----------------------------------


@pytest.mark.parametrize(
    ("kind", "before", "arguments", "row", "told_of"),
    [
        ("cancel", "authorized", (), ("cancel", "host", "succeeded", "found", 4200), ["session.canceled"]),
        (
            "authorize",
            "requires_more",
            (),
            ("authorize", "host", "succeeded", "canceled", 4200),
            ["session.canceled"],
        ),
        (
            "update",
            "requires_more",
            (eur("40.00"),),
            ("update", "host", "declined", None, 4000),
            ["operation.failed", "session.canceled"],
        ),
        (
            "capture",
            "authorized",
            (),
            ("capture", "host", "declined", None, 4200),
            ["operation.failed", "session.canceled"],
        ),
    ],
)
def test_canceled_settles_what_is_in_doubt(told, kind, before, arguments, row, told_of):
    session = told.session(before)
    operation_id = in_doubt(told, kind, session, *arguments)
    told.fake.snapshot = Snapshot("canceled")
    earlier = len(told.events())
    session = told.payments.sync(session.id)
    assert (session.status, session.authorized, session.held) == ("canceled", 0, 0)
    assert (session.open, session.due_at, session.next_action) == (None, None, None)
    rows = dict(zip([r.id for r in told.payments.history(session.id)], told.rows(session.id), strict=True))
    assert rows.pop(operation_id) == row
    if kind in ("cancel", "authorize"):
        assert next(r for r in told.payments.history(session.id) if r.id == operation_id).error is None
    assert told.told()[earlier:] == told_of
    if kind in ("cancel", "authorize"):
        assert told.events()[-1].operation_id == operation_id
    else:
        failed = next(r for r in told.payments.history(session.id) if r.id == operation_id)
        told_why = "the provider has canceled the session"
        assert failed.error == Failure("canceled", told_why, payer_message_key="canceled")
        assert told.rows(session.id)[-1] == ("cancel", "provider", "succeeded", "found", 4200)
        assert told.events()[-1].operation_id == told.payments.history(session.id)[-1].id
    assert told.payments.collection(told.order.id).held == 0
    assert told.payments.sync(session.id).version == session.version


def test_a_refund_in_doubt_is_not_settled_by_a_cancel(told):
    session = captured_in_part(told)
    in_doubt(told, "refund", session)
    told.fake.fail_next("timeout", kind="refund")
    told.fake.snapshot = Snapshot("canceled", captured=eur("20.00"))
    session = told.payments.sync(session.id)
    assert session.in_doubt
    assert told.books(session.id) == ("authorized", 2000, 2000, 0, None)
    told.fake.snapshot = None
    told.fake.cancel_in_dashboard(session.id)
    told.settle()
    assert told.books(session.id) == ("authorized", 2000, 2000, 2000, None)


def test_canceled_ends_a_pending_authorization(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session()
    told.fake.snapshot = Snapshot("canceled")
    session = told.payments.sync(session.id)
    assert (session.status, session.pending, session.authorizing, session.held) == ("canceled", 0, None, 0)
    assert told.payments.history(session.id)[1].error.code == "canceled"
    assert told.told()[-2:] == ["session.error", "session.canceled"]


def test_a_pending_cancel_settles_when_the_gateway_says_canceled(told):
    session = told.session()
    told.fake.answers["cancel"] = Outcome.pending()
    told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot("canceled")
    session = told.payments.sync(session.id)
    assert (session.status, session.pending) == ("canceled", 0)
    assert told.rows(session.id)[-1] == ("cancel", "host", "succeeded", "found", 4200)
    assert told.events()[-1].operation_id == told.payments.history(session.id)[-1].id


def test_an_object_that_is_canceled_before_it_was_authorized_ends_the_session(told):
    session = told.session("requires_more")
    told.fake.snapshot = Snapshot("canceled")
    session = told.payments.sync(session.id)
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert session.next_action is None
    assert told.rows(session.id)[-1] == ("cancel", "provider", "succeeded", "found", 4200)
    with pytest.raises(InvalidTransition, match="canceled") as caught:
        told.payments.authorize(session.id)
    assert caught.value.session_id == session.id


def test_a_capture_under_way_is_kept_when_the_gateway_cancels_the_rest(told):
    session = told.session()
    told.fake.answers["capture"] = Outcome.pending(reference="ch_1")
    told.payments.capture(session.id, eur("20.00"))
    told.fake.snapshot = Snapshot("canceled")
    session = told.payments.sync(session.id)
    assert (session.status, session.authorized, session.capturing) == ("authorized", 2000, 2000)
    assert told.rows(session.id)[-1] == ("cancel", "provider", "succeeded", "found", 2200)
    assert told.told()[-1] == "session.released"
    taken = Effect("capture", eur("20.00"), reference="ch_1")
    told.fake.snapshot = Snapshot("canceled", effects=[taken])
    assert told.payments.sync(session.id).captured == 2000
    assert told.books(session.id) == ("authorized", 2000, 2000, 0, None)


def test_an_object_open_after_the_cancel_that_the_gateway_closes_is_settled(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    told.fake.snapshot = Snapshot("requires_more")
    session = told.payments.sync(session.id)
    assert (session.conflict, session.cancel_requested) == ("open_after_cancel", True)
    told.fake.snapshot = Snapshot("canceled")
    session = told.payments.sync(session.id)
    assert (session.conflict, session.cancel_requested, session.due_at) == (None, False, None)
    assert told.told().count("session.canceled") == 1


def test_an_initiate_in_doubt_whose_object_is_canceled_ends_the_session_once(told):
    told.fake.fail_next("lost_answer", kind="initiate")
    told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown) as caught:
        told.session("requires_more")
    told.fake.snapshot = Snapshot("canceled", session_id=caught.value.session_id)
    session = told.payments.sync(caught.value.session_id)
    assert (session.status, session.error.code, session.open) == ("canceled", "canceled", None)
    assert told.told() == ["session.canceled"]
    assert told.payments.sync(session.id).version == session.version


def test_a_canceled_object_after_a_full_capture_changes_nothing(told):
    session = told.session("captured")
    told.fake.snapshot = Snapshot("canceled", captured=eur("42.00"))
    assert told.payments.sync(session.id).version == session.version


# --- canceled, and the gateway has taken money ----------------------------------------------------


def test_money_taken_before_the_gateway_canceled_can_be_refunded(told):
    session = told.session("requires_more")
    told.fake.authorize_in_browser(session.id)
    told.fake.capture_in_dashboard(session.id, eur("20.00"))
    told.fake.snapshot = Snapshot("canceled", effects=told.fake._accounts[session.id].effects)
    for _ in range(2):
        told.payments.sync(session.id)
    assert told.books(session.id) == ("authorized", 2000, 2000, 0, "amount")
    assert told.payments.collection(told.order.id).held == 2000
    assert told.told()[-3:] == ["session.authorized", "session.captured", "session.conflict"]
    assert told.payments.refund(session.id).refunded == 2000


def test_money_taken_for_a_canceled_session_is_reported_and_can_be_refunded(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    told.fake.capture_in_dashboard(session.id, eur("20.00"))
    told.fake.snapshot = Snapshot("canceled", effects=told.fake._accounts[session.id].effects)
    for _ in range(2):
        session = told.payments.sync(session.id)
    assert told.books(session.id) == ("canceled", 2000, 2000, 0, "authorized_after_cancel")
    assert told.told().count("session.conflict") == 1
    session = told.payments.refund(session.id)
    assert (session.refunded, session.conflict) == (2000, None)
    assert told.payments.sync(session.id).version == session.version


def test_a_pending_authorization_ends_with_the_cancel_that_overtook_it(told):
    session = told.session("requires_more")
    told.fake.answers = {"authorize": Outcome.pending(reference="debit"), "cancel": Outcome.canceled()}
    assert told.payments.authorize(session.id).status == "pending"
    assert told.payments.cancel(session.id).status == "canceled"
    told.fake.snapshot = Snapshot("canceled")
    for _ in range(2):
        session = told.payments.sync(session.id)
    assert (session.status, session.held, session.pending, session.error) == ("canceled", 0, 0, None)
    assert told.told(session.id)[-2:] == ["session.canceled", "operation.failed"]
    assert [(row.kind, row.state) for row in told.payments.history(session.id)][1:] == [
        ("authorize", "declined"),
        ("cancel", "succeeded"),
    ]


def test_a_capture_that_a_lagging_lookup_shows_after_our_cancel_is_a_conflict_and_can_be_refunded(told):
    """Somebody captured in the dashboard before our cancel released the rest."""
    lag = timedelta(seconds=45)
    told.fake.capabilities = evolve(told.fake.capabilities, lookup="lagging", lookup_lag=lag)
    told = type(told)(told.fake)
    session = told.session()
    told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot(
        "authorized",
        authorized=eur("42.00"),
        captured=eur("10.00"),
        effects=[Effect("capture", eur("10.00"), reference="there")],
        session_id=session.id,
    )
    for _ in range(2):
        session = told.payments.sync(session.id)
        assert (session.status, session.captured) == ("canceled", 1000)
        assert session.conflict == "authorized_after_cancel"
    assert told.told().count("session.conflict") == 1
    told.fake.snapshot = None
    told.fake.answers["refund"] = Outcome.refunded(eur("10.00"))
    session = told.payments.refund(session.id)
    assert (session.refunded, session.conflict) == (1000, None)


@pytest.mark.parametrize(("captured", "left"), [("10.00", "32.00"), ("42.00", "0")])
def test_a_cancel_in_doubt_that_found_less_to_release_is_ours_without_a_key(told, captured, left):
    told.fake.capabilities = evolve(told.fake.capabilities, keyed_effects=False)
    session = told.session()
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot(
        "authorized",
        effects=[
            Effect("capture", eur(captured), "pending", "theirs"),
            Effect("cancel", eur(left), "succeeded", "void_1"),
        ],
        session_id=session.id,
    )
    session = told.payments.sync(session.id)
    (cancel,) = [row for row in told.payments.history(session.id) if row.kind == "cancel"]
    assert (cancel.state, cancel.origin, cancel.reference) == ("succeeded", "host", "void_1")
    assert (session.authorized, session.capturing, session.open) == (
        session.capturing,
        eur(captured).minor,
        None,
    )
    assert told.payments.sync(session.id) == session


def authorized_again(told, session):
    """Have the payer authorize the amount again: the gateway shows the same total as before the cancel."""
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), session_id=session.id)


def is_canceled_as_well(told, session):
    told.fake.answers["cancel"] = Outcome.canceled()
    told.settle()
    assert "authorized_after_cancel" in {row.kind for row in told.payments.conflicts(open=False)}
    assert len({key for kind, key in told.fake.calls if kind == "cancel"}) == 2
    assert told.payments.get(session.id).authorized == 0


def test_what_was_authorized_before_a_cancel_was_repeated_is_found_without_a_notification(told):
    session = told.session()
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), session_id=session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    told.fake.answers["cancel"] = Outcome.canceled()  # the gateway replays its first answer
    authorized_again(told, session)
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.payments.get(session.id).status == "canceled"
    is_canceled_as_well(told, session)


def test_a_notification_that_comes_while_a_cancel_is_under_way_is_looked_into_again(told):
    session = told.session()

    def meanwhile():
        authorized_again(told, session)
        headers, body = told.fake.webhook(session.id)
        assert told.payments.handle_webhook("fake", headers=headers, body=body).status == 200

    told.fake.answers["cancel"] = Outcome.canceled()
    told.fake.meanwhile["cancel"] = meanwhile
    assert told.payments.cancel(session.id).status == "canceled"
    is_canceled_as_well(told, session)


def test_a_cancel_that_was_answered_at_once_is_not_looked_into_again(told):
    session = told.session()
    told.payments.cancel(session.id)
    assert told.payments.get(session.id).due_at is None
