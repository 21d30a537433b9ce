"""What counts as evidence that an operation in doubt did not happen, and what does not."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Declined,
    Failure,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
)
from paysession._ledger.evidence import would_show
from paysession.operation import Kind
from paysession.outcome import Effect, Snapshot


def test_nothing_is_sent_again_when_the_lookup_used_up_the_window(told):
    session = told.session()
    told.fake.fail_next("timeout", kind="capture")
    told.fake.snapshot = OutcomeUnknown("down")
    begun = told.clock.now
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.fake.snapshot = None
    told.clock.now = begun + timedelta(hours=24) - timedelta(seconds=61)
    sent = []
    told.fake.meanwhile["capture"] = lambda: sent.append(told.clock.now)
    handle = told.payments._registry.provider("fake")
    hook = handle._hooks["retrieve"]

    def slow(**kw):
        told.clock.forward(seconds=25)
        return hook(**kw)

    handle._hooks["retrieve"] = slow
    told.payments.recover()
    limit = told.fake.capabilities.call_limit
    assert all(t + limit <= begun + timedelta(hours=24) for t in sent), sent[0] - begun


def test_a_replayed_decline_waits_for_what_a_lookup_that_lags_may_show(make_told):
    told = make_told(lookup="lagging")
    told.fake.capabilities = evolve(told.fake.capabilities, lookup_lag=timedelta(minutes=5))
    told = type(told)(told.fake)
    session = told.session()
    told.clock.forward(hours=1)
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    stale = Snapshot("authorized", authorized=eur("42.00"), captured=eur("0.00"), session_id=session.id)
    told.fake.snapshot = stale
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    # repeated at 6 minutes: carried out, answer lost
    told.clock.forward(minutes=6)
    told.payments.recover()
    # 3 minutes later: lookup may still miss it; the gateway replays a decline
    told.clock.forward(minutes=3)
    told.fake.answers["capture"] = Declined("card_declined", "replayed")
    told.payments.recover()
    row = told.payments.history(session.id)[-1]
    assert row.state == "started", row


def test_absence_is_no_evidence_while_a_late_effect_may_still_be_unseen(make_told):
    lag = timedelta(hours=1)
    told = make_told(lookup="lagging", replay_window=timedelta(0))
    told.fake.capabilities = evolve(told.fake.capabilities, lookup_lag=lag)
    told = type(told)(told.fake)
    session = told.session()
    told.clock.forward(hours=2)
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot(
        "authorized", authorized=eur("42.00"), captured=eur("0.00"), session_id=session.id
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.clock.now += lag + timedelta(
        seconds=30
    )  # carried out a minute after it was lost, it shows in 30 seconds
    told.payments.recover()
    assert told.payments.get(session.id).in_doubt


def test_a_failure_that_names_an_earlier_attempt_is_not_of_the_one_in_flight(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.requires_more(reference="try_1")
    told.payments.authorize(session.id)

    def meanwhile():
        told.payments._recovery.record_effects(
            told.payments._registry.provider("fake"),
            session.id,
            [Effect("authorize", eur("42.00"), "failed", reference="try_1", error=Failure("3ds", "gave up"))],
        )

    told.fake.meanwhile["authorize"] = meanwhile
    told.fake.answers["authorize"] = OutcomeUnknown("reset")
    try:
        told.payments.authorize(session.id)
    except OutcomeUnknown:
        pass
    row = told.payments.history(session.id)[-1]
    assert row.state == "started", (row.state, row.error)


def test_a_replayed_decline_is_not_believed_on_a_lookup_from_before_the_quiet(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = before = Snapshot(
        "authorized", authorized=eur("42.00"), captured=eur("0.00"), session_id=session.id
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.clock.forward(seconds=119)

    def carried_out():  # now the lost one is; the gateway replays an earlier decline, and the next lookup fails
        told.clock.forward(seconds=2)
        told.fake.snapshot = NotApplied("down")

    told.fake.meanwhile["capture"] = carried_out
    told.fake.answers["capture"] = Declined("card_declined", "replayed")
    told.payments.recover()
    assert told.payments.history(session.id)[-1].state == "started"
    assert before.captured == eur("0.00")


def test_a_lookup_in_another_currency_is_no_evidence_that_nothing_happened(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot(
        "authorized",
        effects=[
            Effect("capture", eur("42.00"), key=told.next_key(session.id, "capture")),
            Effect("refund", Money("1.00", "USD"), reference="dashboard"),
        ],
        session_id=session.id,
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.settle()
    assert told.payments.get(session.id).conflict == "currency"
    assert told.payments.history(session.id)[-1].state == "started"


def test_an_object_in_another_currency_is_no_evidence_that_there_is_none(make_told):
    told = make_told(replay_window=timedelta(0))
    told.fake.fail_next("timeout", kind="initiate")
    with pytest.raises(OutcomeUnknown) as caught:
        told.session("requires_more", idempotency_key="k")
    session_id = caught.value.session_id
    told.fake.snapshot = Snapshot("requires_more", amount=Money("42.00", "USD"), session_id=session_id)
    told.settle()
    assert told.payments.get(session_id).in_doubt
    told.fake.snapshot = Snapshot("requires_more", amount=eur("42.00"), session_id=session_id)
    told.settle()
    assert told.payments.get(session_id).status == "requires_more"


def test_an_initiation_whose_cancel_is_remembered_is_not_abandoned_where_nobody_can_tell(make_told):
    """The object may be there, open to the payer, and the session would be said to be canceled."""
    told = make_told(lookup="none")
    told.fake.answers = {"initiate": OutcomeUnknown("a stored 500"), "cancel": Outcome.canceled()}
    with pytest.raises(OutcomeUnknown) as caught:
        told.session("requires_more", idempotency_key="k")
    session_id = caught.value.session_id
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session_id)
    told.settle()
    (doubt,) = told.payments.in_doubt()
    assert doubt.needs_operator
    told.payments.resolve(doubt.operation.id, Outcome.requires_more(reference="obj_1"), note="ann")
    assert told.books(session_id) == ("canceled", 0, 0, 0, None)
    assert [row[:3] for row in told.rows(session_id)] == [
        ("initiate", "host", "succeeded"),
        ("cancel", "host", "succeeded"),
    ]


def test_a_release_that_no_lookup_shows_is_not_settled_as_not_applied(told):
    session = told.session()
    told.payments.capture(session.id, eur("20.00"))
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", captured=eur("20.00"), session_id=session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    told.settle()
    assert told.payments.history(session.id)[-1].state == "started"


def test_a_replayed_decline_is_not_believed_where_the_lookup_is_in_another_currency(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.fake.snapshot = Snapshot(
        "authorized",
        effects=[
            Effect("capture", eur("42.00"), key=told.key(session.id, 3)),
            Effect("refund", Money("1.00", "USD"), reference="dashboard"),
        ],
        session_id=session.id,
    )
    told.fake.answers["capture"] = Declined("card_declined", "replayed")
    told.clock.forward(minutes=5)
    told.payments.recover()
    assert told.payments.history(session.id)[-1].state == "started"


def test_a_statement_tells_that_an_authorization_succeeded_which_had_required_more(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.requires_more()
    told.payments.authorize(session.id)
    effect = Effect("authorize", eur("42.00"), key=told.key(session.id, 2))
    provider = told.payments._registry.provider("fake")
    for _ in range(2):
        told.payments._recovery.record_effects(provider, session.id, [effect])
        assert told.books(session.id) == ("authorized", 4200, 0, 0, None)
    told.payments.cancel(session.id)
    told.payments._recovery.record_effects(provider, session.id, [effect])  # it is reported once more, late
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)


def test_a_total_that_shows_what_was_settled_as_not_applied_answers_for_the_callers_key(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", captured=eur("0.00"), session_id=session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur("10.00"), idempotency_key="k")
    told.settle()
    assert told.payments.history(session.id)[-1].state == "not_applied"
    told.fake.snapshot = Snapshot("authorized", captured=eur("10.00"), session_id=session.id)
    assert told.payments.sync(session.id).captured == 1000
    del told.fake.answers["capture"]
    told.payments.capture(session.id, eur("10.00"), idempotency_key="k")
    assert told.fake.total(session.id, "capture") == 0  # 10.00 were taken before, and no more are


def test_a_total_does_not_answer_for_a_key_whose_request_certainly_never_arrived(told):
    session = told.session()
    told.fake.answers["capture"] = NotApplied("refused to connect")
    with pytest.raises(NotApplied):
        told.payments.capture(session.id, eur("10.00"), idempotency_key="k")
    del told.fake.answers["capture"]
    told.fake.snapshot = Snapshot("authorized", captured=eur("10.00"), session_id=session.id)
    assert told.payments.sync(session.id).conflict is None
    told.payments.capture(session.id, eur("10.00"), idempotency_key="k")
    assert told.fake.total(session.id, "capture") == 1000


@pytest.mark.parametrize(
    ("kind", "captured", "authorized", "expected"),
    [
        ("cancel", "0.00", None, True),
        ("cancel", "0.00", "42.00", True),
        ("cancel", "20.00", "42.00", True),
        ("cancel", "20.00", None, False),
        ("capture", "20.00", None, True),
        ("refund", "20.00", None, True),
    ],
)
def test_only_what_tells_of_the_rest_is_evidence_that_a_cancel_did_not_happen(
    told, kind, captured, authorized, expected
):
    session = told.session()
    if captured != "0.00":
        session = told.payments.capture(session.id, eur(captured))
    shown = Snapshot(
        "authorized",
        authorized=authorized and eur(authorized),
        captured=eur(captured),
        refunded=eur("0.00"),
    )
    assert would_show(session, shown, Kind(kind)) is expected


def test_a_lookup_closes_no_conflict_of_another_session(told):
    one, two = told.session("requires_more"), told.session("requires_more")
    told.fake.snapshot = Snapshot("authorized", authorized=Money("42.00", "USD"))
    for session in (one, two):
        assert told.payments.sync(session.id).conflict == "currency"
    told.fake.snapshot = Snapshot("requires_more")
    assert told.payments.sync(one.id).conflict is None
    (left,) = told.payments.conflicts()
    assert (left.session_id, left.kind) == (two.id, "currency")
    assert told.payments.get(two.id).conflict == "currency"
