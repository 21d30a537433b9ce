"""Whose an effect is: by its key, by the gateway's id of it, by its time, and, where nothing tells, as a guess."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import Capabilities, Outcome, OutcomeUnknown
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
