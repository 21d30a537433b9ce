"""Whose an effect is: by its key, by the gateway's id of it, by its time, and, where nothing tells, as a guess."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import Capabilities, Declined, Outcome, OutcomeUnknown
from paysession.outcome import Effect, Snapshot


def in_doubt(told, amount="10.00"):
    """A capture of which nobody heard; the gateway keeps no keys of requests."""
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", session_id=session.id)
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id, eur(amount))
    return session, told.payments.get(session.id).open


def shown(told, session, *effects):
    told.fake.snapshot = Snapshot("authorized", effects=effects, session_id=session.id)
    told.payments.sync(session.id)


def captures(told, session):
    return [
        (row.origin, str(row.state), row.reference, row.sure)
        for row in told.payments.history(session.id)
        if row.kind == "capture"
    ]


@pytest.fixture
def told(make_told):
    return make_told(replay_window=timedelta(0))


@pytest.fixture
def keyed(make_told):
    told = make_told(replay_window=timedelta(0))
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="consistent", keyed_effects=True
    )
    return told


def test_an_effect_alike_is_taken_for_ours_and_said_to_be_a_guess(told):
    session, _ = in_doubt(told)
    shown(told, session, Effect("capture", eur("10.00"), reference="c1"))
    assert captures(told, session) == [("host", "succeeded", "c1", False)]


def test_what_is_matched_by_its_key_is_no_guess(told):
    session, key = in_doubt(told)
    shown(told, session, Effect("capture", eur("10.00"), reference="c1", key=key))
    assert captures(told, session) == [("host", "succeeded", "c1", True)]


def test_where_effects_carry_our_key_one_without_it_is_somebody_elses(keyed):
    session, key = in_doubt(keyed)
    others = Effect("capture", eur("10.00"), reference="c9")
    shown(keyed, session, others)
    assert captures(keyed, session) == [
        ("host", "started", None, True),
        ("provider", "succeeded", "c9", True),
    ]
    shown(keyed, session, others, Effect("capture", eur("10.00"), reference="c1", key=key))
    assert keyed.payments.get(session.id).captured == 2000


@pytest.mark.parametrize(("seconds", "taken"), [(301, False), (299, True)])
def test_an_effect_that_is_older_than_the_operation_is_not_its_own(told, seconds, taken):
    session, _ = in_doubt(told)
    made_at = told.clock.now - timedelta(seconds=seconds)  # the clocks may differ by five minutes
    shown(told, session, Effect("capture", eur("10.00"), reference="c1", created_at=made_at))
    assert (captures(told, session)[0][1] == "succeeded") is taken


def late_answer(told, session, answer):
    """Answer a capture whose effect another one was taken for meanwhile."""

    def meanwhile():
        told.clock.forward(minutes=5)
        shown(told, session, Effect("capture", eur("10.00"), reference="c9"))

    told.fake.snapshot = Snapshot("authorized", session_id=session.id)
    told.fake.answers["capture"] = answer
    told.fake.meanwhile["capture"] = meanwhile
    return told.payments.capture(session.id, eur("10.00"))


def test_a_guess_is_revised_by_the_answer_and_both_effects_count_once(told):
    session = told.session()
    after = late_answer(told, session, Outcome.captured(eur("10.00"), reference="c1"))
    assert captures(told, session) == [
        ("host", "succeeded", "c1", True),
        ("provider", "succeeded", "c9", True),
    ]
    assert after.captured == 2000
    both = [Effect("capture", eur("10.00"), reference=reference) for reference in ("c1", "c9")]
    shown(told, session, *both)
    assert (told.payments.get(session.id).captured, len(captures(told, session))) == (2000, 2)
    assert told.told(session.id).count("session.captured") == 2


def test_a_guess_is_revised_where_the_true_effect_was_found_meanwhile(told):
    session, key = in_doubt(told)
    both = [Effect("capture", eur("10.00"), reference=reference) for reference in ("c9", "c1")]
    shown(told, session, *both)
    assert [row[2] for row in captures(told, session)] == ["c9", "c1"]
    shown(told, session, both[0], Effect("capture", eur("10.00"), reference="c1", key=key))
    assert captures(told, session) == [
        ("host", "succeeded", "c1", True),
        ("provider", "succeeded", "c9", True),
    ]
    assert told.payments.get(session.id).captured == 2000


def test_an_effect_found_again_is_never_a_second_row(told):
    session = told.session()
    shown(told, session, Effect("capture", eur("10.00"), reference="c1"))
    (row,) = [row for row in told.payments.history(session.id) if row.kind == "capture"]
    assert row.id.startswith(f"{session.id}-0")
    later = told.next_key(session.id, "capture", eur("5.00"))
    shown(told, session, *[Effect("capture", eur("10.00"), reference=name) for name in ("c1", "c2")])
    assert (
        told.next_key(session.id, "capture", eur("5.00")) == later
    )  # which effects are found changes no key
    assert len(captures(told, session)) == 2


def test_a_guess_of_what_is_pending_is_revised_and_both_stay_reserved(told):
    session, key = in_doubt(told)
    other = Effect("capture", eur("10.00"), "pending", reference="c9")
    shown(told, session, other)
    assert captures(told, session) == [("host", "pending", "c9", False)]
    shown(told, session, other, Effect("capture", eur("10.00"), reference="c1", key=key))
    assert captures(told, session) == [("host", "succeeded", "c1", True), ("provider", "pending", "c9", True)]
    after = told.payments.get(session.id)
    assert (after.captured, after.capturing) == (1000, 1000)


def answered_after_it_was_shown(keyed, kind, state, answer):
    """Ask for 10 euros whose effect a lookup shows, without the key that was declared, before the answer comes."""
    session = keyed.session("captured" if kind == "refund" else "authorized")
    before = () if kind == "capture" else (Effect("capture", eur("42.00"), reference="c0"),)
    effect = Effect(kind, eur("10.00"), state, reference="e1")
    keyed.fake.answers[kind] = answer
    keyed.fake.meanwhile[kind] = lambda: shown(keyed, session, *before, effect)
    getattr(keyed.payments, kind)(session.id, eur("10.00"), by="ann")
    return keyed.payments.get(session.id)


@pytest.mark.parametrize(
    ("kind", "state", "answer"),
    [
        ("capture", "succeeded", Outcome.captured(eur("10.00"), reference="e1")),
        ("capture", "pending", Outcome.captured(eur("10.00"), reference="e1")),
        ("capture", "succeeded", Outcome.pending(reference="e1")),
        ("refund", "succeeded", Outcome.refunded(eur("10.00"), reference="e1")),
        ("refund", "pending", Outcome.refunded(eur("10.00"), reference="e1")),
    ],
)
def test_an_answer_that_names_what_was_found_is_that_effect(keyed, kind, state, answer):
    after = answered_after_it_was_shown(keyed, kind, state, answer)
    rows = [row for row in keyed.payments.history(after.id) if row.kind == kind and row.reference == "e1"]
    assert [(row.origin, row.by, row.state) for row in rows] == [("host", "ann", "succeeded")]
    assert (after.capturing, after.refunding, after.pending) == (0, 0, 0)
    done = {"capture": "captured", "refund": "refunded"}[kind]
    assert (getattr(after, done), keyed.told(after.id).count(f"session.{done}")) == (1000, 1)
    left = [row for row in keyed.payments.history(after.id) if row.answer == "merged"]
    assert [(row.origin, row.state, row.note) for row in left] == [
        ("provider", "not_applied", f"it is {rows[0].id}")
    ]


def test_what_was_found_pending_and_is_answered_as_pending_is_reserved_once(keyed):
    after = answered_after_it_was_shown(keyed, "capture", "pending", Outcome.pending(reference="e1"))
    assert (after.capturing, after.captured, after.pending) == (1000, 0, 1)
    shown(keyed, after, Effect("capture", eur("10.00"), reference="e1"))
    assert captures(keyed, after)[0] == ("host", "succeeded", "e1", True)
    assert keyed.payments.get(after.id).captured == 1000


def test_an_answer_that_names_another_effect_than_was_found_is_recorded_beside_it(keyed):
    answer = Outcome.captured(eur("10.00"), reference="e2")
    after = answered_after_it_was_shown(keyed, "capture", "succeeded", answer)
    assert after.captured == 2000
    assert [row[2] for row in captures(keyed, after)] == ["e2", "e1"]


def test_a_final_capture_that_was_found_first_releases_the_rest(keyed):
    keyed.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="e1", released=True)
    session = keyed.session()
    effect = Effect("capture", eur("10.00"), reference="e1")
    keyed.fake.meanwhile["capture"] = lambda: shown(keyed, session, effect)
    after = keyed.payments.capture(session.id, eur("10.00"), final=True)
    assert (after.authorized, after.captured, after.held) == (1000, 1000, 1000)


def test_a_repetition_that_is_answered_with_what_was_found_settles_the_doubt(make_told):
    keyed = make_told(replay_window=timedelta(days=1))
    keyed.fake.capabilities = evolve(keyed.fake.capabilities, keyed_effects=True)
    session, key = in_doubt(keyed)
    effect = Effect("capture", eur("10.00"), reference="e1")
    keyed.fake.snapshot = Snapshot("authorized", effects=[effect], session_id=session.id)
    keyed.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="e1")
    keyed.settle()
    assert captures(keyed, session)[0] == ("host", "succeeded", "e1", True)
    assert keyed.payments.get(session.id).captured == 1000
    settled = [row for row in keyed.payments.events() if row.type == "operation.settled"]
    assert [(row.operation_id, row.detail) for row in settled] == [(key, "succeeded")]


def test_an_operator_may_name_what_was_found_as_the_effect_of_what_is_pending(keyed):
    keyed.fake.answers["capture"] = Outcome.pending()
    session = keyed.session()
    key = keyed.next_key(session.id, "capture", eur("10.00"))
    keyed.payments.capture(session.id, eur("10.00"))
    shown(keyed, session, Effect("capture", eur("10.00"), reference="e1"))
    assert keyed.payments.get(session.id).capturing == 1000
    answer = Outcome.captured(eur("10.00"), reference="e1")
    after = keyed.payments.resolve(key, answer, note="it is e1")
    assert (after.captured, after.capturing, after.pending) == (1000, 0, 0)
    assert captures(keyed, session)[0] == ("host", "succeeded", "e1", True)


def test_what_refers_to_what_was_found_refers_to_the_operation_afterwards(keyed):
    keyed.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="e1")
    session = keyed.session()
    effects = [
        Effect("capture", eur("10.00"), reference="e1"),
        Effect("refund", eur("4.00"), reference="r1", capture="e1"),
    ]
    keyed.fake.meanwhile["capture"] = lambda: shown(keyed, session, *effects)
    keyed.payments.capture(session.id, eur("10.00"))
    (standing,) = keyed.payments.captures(session.id)
    assert (standing.operation.origin, standing.refundable_amount) == ("host", eur("6.00"))


def test_what_was_found_and_undone_before_the_answer_stays_undone(keyed):
    keyed.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="e1")
    session = keyed.session()

    def meanwhile():
        shown(keyed, session, Effect("capture", eur("10.00"), reference="e1"))
        shown(keyed, session, Effect("capture", eur("10.00"), "reversed", reference="e1"))

    keyed.fake.meanwhile["capture"] = meanwhile
    after = keyed.payments.capture(session.id, eur("10.00"))
    assert (after.authorized, after.captured) == (3200, 0)
    shown(keyed, session, Effect("capture", eur("10.00"), "reversed", reference="e1"))
    assert keyed.payments.get(session.id).captured == 0
    assert keyed.told(session.id).count("session.reversed") == 1


def test_a_call_that_is_repeated_after_a_restore_is_answered_with_what_a_lookup_found(told):
    session = told.session()
    shown(told, session, Effect("capture", eur("10.00"), reference="c1"))
    told.fake.answers["capture"] = Outcome.captured(eur("10.00"), reference="c1")
    after = told.payments.capture(session.id, eur("10.00"), idempotency_key="parcel 1")
    assert after.captured == 1000
    assert captures(told, session)[-1] == ("host", "succeeded", "c1", True)


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_a_call_is_answered_with_what_a_lookup_found_though_as_much_is_pending_beside_it(told, kind):
    session = told.session("captured" if kind == "refund" else "authorized")
    found = [
        Effect(kind, eur("10.00"), reference="e1"),
        Effect(kind, eur("10.00"), "pending", reference="e2"),
    ]
    shown(told, session, *found)
    outcome = {"capture": Outcome.captured, "refund": Outcome.refunded}[kind]
    told.fake.answers[kind] = outcome(eur("10.00"), reference="e1")
    after = getattr(told.payments, kind)(session.id, eur("10.00"), idempotency_key="parcel 1")
    done = {"capture": after.captured, "refund": after.refunded}[kind]
    assert (done, after.pending) == (1000, 1)


def test_a_refusal_of_what_another_effect_was_taken_for_is_noted(told):
    session = told.session()
    after = late_answer(told, session, Declined("no", "not now"))
    assert (after.captured, after) == (1000, told.payments.get(session.id))
    assert captures(told, session) == [("host", "succeeded", "c9", False)]
    assert told.payments.history(session.id)[-1].note == "late answer: Declined: not now"
