"""A request that went unanswered may still be carried out: until it cannot be, a refusal is no answer to it.

It is in a queue of the gateway's, which keeps no refusals under their keys: it carries out, after the
payer has approved anew or the cause is gone, what it refused when it was asked again.
"""

from datetime import timedelta

import pytest

from paysession import Declined, Money, NotApplied, OutcomeUnknown, SessionBusy
from paysession._ledger.verdict import IN_FLIGHT
from paysession.provider import Redirect, Snapshot

KINDS = ["authorize", "capture", "refund"]
SHORTLY = timedelta(seconds=1)


def doubt(told, kind):
    """Leave an operation in doubt that never arrived, and return its session's id."""
    session = told.session({"capture": "authorized", "refund": "captured"}.get(kind, "requires_more"))
    told.fake.fail_next("timeout", kind=kind)
    with pytest.raises(OutcomeUnknown):
        getattr(told.payments, kind)(session.id)
    return session.id


def dies():
    """End the process that has sent something."""
    raise KeyboardInterrupt


def asked_after(told, session_id, duration):
    """Let time pass, look into the session, and return what became of its last operation."""
    told.clock.now += duration
    told.payments.sync(session_id)
    return told.rows(session_id)[-1][2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_decline_when_sent_again_is_believed_once_the_first_request_cannot_be_under_way(told, kind):
    session_id = doubt(told, kind)
    told.fake.answers[kind] = Declined("no", "not any more")
    assert asked_after(told, session_id, IN_FLIGHT / 2) == "started"
    assert asked_after(told, session_id, IN_FLIGHT / 2 - SHORTLY) == "started"  # however often it is asked
    assert asked_after(told, session_id, SHORTLY) == "declined"


@pytest.mark.parametrize("kind", KINDS)
def test_a_repetition_that_goes_unanswered_may_be_under_way_in_its_turn(told, kind):
    session_id = doubt(told, kind)
    told.fake.answers[kind] = OutcomeUnknown("a timeout")
    assert asked_after(told, session_id, IN_FLIGHT) == "started"
    told.fake.answers[kind] = Declined("no", "not any more")
    assert asked_after(told, session_id, IN_FLIGHT - SHORTLY) == "started"
    assert asked_after(told, session_id, SHORTLY) == "declined"


def test_a_lookup_that_fails_makes_the_time_neither_longer_nor_shorter(told):
    """It is counted from the last request that went unanswered."""
    session_id = doubt(told, "capture")
    told.fake.answers["capture"] = OutcomeUnknown("a timeout")
    assert asked_after(told, session_id, IN_FLIGHT / 2) == "started"
    told.fake.snapshot = NotApplied("down")
    told.clock.now += IN_FLIGHT / 2
    with pytest.raises(NotApplied):
        told.payments.sync(session_id)
    told.fake.snapshot = None
    told.fake.answers["capture"] = Declined("no", "not any more")
    assert asked_after(told, session_id, IN_FLIGHT / 2 - SHORTLY) == "started"
    assert asked_after(told, session_id, SHORTLY) == "declined"


def test_a_lookup_that_shows_nothing_makes_the_time_neither_longer_nor_shorter(make_told):
    told = make_told(replay_window=timedelta(0))
    session = told.session("requires_more")
    told.fake.meanwhile["authorize"] = dies
    with pytest.raises(KeyboardInterrupt):
        told.payments.authorize(session.id)
    lease = told.payments.history(session.id)[-1].lease_until - told.clock.now
    assert asked_after(told, session.id, lease) == "started"
    told.fake.snapshot = Snapshot("error")
    assert asked_after(told, session.id, IN_FLIGHT - SHORTLY) == "started"
    assert asked_after(told, session.id, SHORTLY) == "declined"


@pytest.mark.parametrize("kind", KINDS)
def test_a_repetition_that_was_not_sent_is_not_under_way(told, kind):
    session_id = doubt(told, kind)
    told.fake.answers[kind] = NotApplied("connection refused")
    assert asked_after(told, session_id, IN_FLIGHT - SHORTLY) == "started"
    told.fake.answers[kind] = Declined("no", "not any more")
    assert asked_after(told, session_id, SHORTLY) == "declined"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_process_sent_before_it_died_may_be_under_way_since_its_lease_ran_out(told, kind):
    session = told.session({"capture": "authorized", "refund": "captured"}.get(kind, "requires_more"))
    told.fake.meanwhile[kind] = dies
    with pytest.raises(KeyboardInterrupt):
        getattr(told.payments, kind)(session.id)
    lease = told.payments.history(session.id)[-1].lease_until - told.clock.now
    told.fake.answers[kind] = Declined("no", "not any more")
    assert asked_after(told, session.id, lease) == "started"
    assert asked_after(told, session.id, IN_FLIGHT - SHORTLY) == "started"
    assert asked_after(told, session.id, SHORTLY) == "declined"


@pytest.mark.parametrize(
    ("shown", "became"),
    [
        (Snapshot("error"), ("declined", None)),
        (
            Snapshot("requires_more", next_action=Redirect("https://pay.example")),
            ("succeeded", "requires_more"),
        ),
    ],
    ids=["error", "requires_more"],
)
def test_what_a_lookup_shows_of_the_payer_is_no_answer_while_the_request_may_be_under_way(
    make_told, shown, became
):
    """The payer was declined in the browser meanwhile, or must act there: that is not of our doing."""
    told = make_told(replay_window=timedelta(0))
    session = told.session("requires_more")
    if shown.status == "requires_more":
        told.fake.answers["authorize"] = Declined("no", "the first card")
        told.payments.authorize(session.id)
        del told.fake.answers["authorize"]
    told.fake.fail_next("timeout", kind="authorize")
    told.fake.snapshot = shown
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    assert asked_after(told, session.id, IN_FLIGHT - SHORTLY) == "started"
    assert asked_after(told, session.id, SHORTLY) == became[0]
    assert told.payments.history(session.id)[-1].answer == became[1]


def test_an_authorization_carried_out_late_settles_the_operation_that_asked_for_it(make_told):
    told = make_told(replay_window=timedelta(0))
    session_id = doubt(told, "authorize")
    told.fake.snapshot = Snapshot("error")
    assert asked_after(told, session_id, IN_FLIGHT / 2) == "started"
    told.fake.snapshot = Snapshot("authorized", authorized=Money("42.00", "EUR"))
    assert asked_after(told, session_id, IN_FLIGHT / 4) == "succeeded"
    assert told.books(session_id) == ("authorized", 4200, 0, 0, None)


def test_what_a_lookup_shows_after_an_unanswered_repetition_is_no_answer_to_that(told):
    session_id = doubt(told, "authorize")
    told.fake.answers["authorize"] = OutcomeUnknown("a timeout")
    told.fake.meanwhile["authorize"] = lambda: setattr(told.fake, "snapshot", Snapshot("error"))
    assert asked_after(told, session_id, IN_FLIGHT) == "started"


def test_what_a_lookup_shows_after_a_repetition_that_was_not_sent_is_the_answer(told):
    session_id = doubt(told, "authorize")
    told.fake.answers["authorize"] = NotApplied("connection refused")
    told.fake.meanwhile["authorize"] = lambda: setattr(told.fake, "snapshot", Snapshot("error"))
    assert asked_after(told, session_id, IN_FLIGHT) == "declined"


def test_a_payer_who_returns_sees_the_refusal_once_the_request_cannot_be_under_way(told):
    session_id = doubt(told, "authorize")
    told.fake.snapshot = Snapshot("error")
    told.clock.now += IN_FLIGHT - SHORTLY
    assert told.payments.resume(session_id).in_doubt
    told.clock.now += SHORTLY
    assert told.payments.resume(session_id).status == "error"


def test_a_refusal_is_no_answer_to_a_request_that_this_process_still_waits_for(make_told):
    told = make_told(replay_window=timedelta(0))
    session = told.session("requires_more")
    seen = []

    def hangs():
        told.clock.now = told.payments.history(session.id)[-1].lease_until + IN_FLIGHT
        told.fake.snapshot = Snapshot("error")
        told.payments.recover()
        seen.append(told.rows(session.id)[-1][2])
        told.fake.snapshot = None

    told.fake.meanwhile["authorize"] = hangs
    with pytest.raises(SessionBusy, match="lost its lease"):
        told.payments.authorize(session.id)
    assert seen == ["started"]
    told.payments.recover()
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)


def test_what_is_shown_from_before_is_no_answer_to_an_authorization_that_has_just_begun(told):
    """It begins elsewhere while a payer returns, after the session was read and before it is queried."""
    session = told.session("requires_more")
    told.fake.snapshot = Snapshot("error")
    read = told.store.session

    def begun(session_id):
        told.store.session = read
        found = read(session_id)
        told.fake.meanwhile["authorize"] = dies
        with pytest.raises(KeyboardInterrupt):
            told.payments.authorize(session_id)
        return found

    told.store.session = begun
    assert told.payments._recovery.payer_returned(session.id, None).in_doubt
    assert told.rows(session.id)[-1][2] == "started"
