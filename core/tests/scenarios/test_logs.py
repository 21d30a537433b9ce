"""What is logged, and what the feed says of doubt: each thing once, with what an operator searches by, and no secret."""

import logging

import pytest

from helpers import eur
from paysession import Declined, Dispute, NotApplied, Outcome, OutcomeUnknown, PaysessionError
from paysession.outcome import Effect, Snapshot
from paysession.values import Failure


class Kept(logging.Handler):
    """Keeps the records of paysession."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def take(self):
        """Return level, event and text of the records since the last time."""
        taken, self.records = self.records, []
        return [(row.levelname, getattr(row, "payment_event", None), row.getMessage()) for row in taken]


@pytest.fixture
def kept():
    logger, handler, level = logging.getLogger("paysession"), Kept(), logging.getLogger("paysession").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def attempt(call, *args, **kwargs):
    with pytest.raises(PaysessionError) as caught:
        call(*args, **kwargs)
    return caught.value


def lose(told, session):
    """Capture, lose the answer, and find no trace of it."""
    told.fake.answers["capture"] = OutcomeUnknown("reset by peer")
    told.fake.snapshot = NotApplied("no connection")
    attempt(told.payments.capture, session.id)
    return told.payments.history(session.id)[-1]


def test_what_goes_as_it_should_is_not_logged(told, kept):
    session = told.session("captured")
    told.payments.refund(session.id, eur("1.00"))
    told.payments.sync(session.id)
    assert kept.take() == []


def test_doubt_is_logged_when_it_begins_and_when_it_ends_however_often_recovery_looks(told, kept):
    session = told.session()
    row = lose(told, session)
    assert kept.take() == [
        (
            "WARNING",
            "operation.in_doubt",
            f"capture of 42.00 EUR with fake is in doubt: reset by peer (operation {row.id})",
        )
    ]
    for _ in range(5):
        told.clock.forward(minutes=1)
        told.payments.recover()
    assert kept.take() == []
    del told.fake.answers["capture"]
    told.fake.snapshot = None
    told.clock.forward(hours=1)
    told.payments.recover()
    assert kept.take() == [
        (
            "INFO",
            "operation.settled",
            f"capture of 42.00 EUR with fake is settled after 3900 s: succeeded (operation {row.id})",
        )
    ]
    types = [event.type for event in told.payments.events()]
    assert types[-3:] == ["operation.in_doubt", "operation.settled", "session.captured"]


def test_a_record_has_what_an_operator_searches_by_and_nothing_of_the_payers(told, kept):
    session = told.session("requires_more", data={"customer": "cus_secret"})
    told.fake.answers["authorize"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("no connection")
    attempt(told.payments.authorize, session.id, payload={"token": "tok_secret"})
    (record,) = kept.records
    row = told.payments.history(session.id)[-1]
    assert {name: getattr(record, name) for name in (
        "payment_event", "session_id", "operation_id", "order_reference", "provider", "kind", "amount", "currency",
        "age_seconds", "detail",
    )} == {
        "payment_event": "operation.in_doubt", "session_id": session.id, "operation_id": row.id,
        "order_reference": "order-1", "provider": "fake", "kind": "authorize", "amount": "42.00", "currency": "EUR",
        "age_seconds": 0.0, "detail": "reset",
    }  # fmt: skip
    assert "_secret" not in str(vars(record))


def test_doubt_that_a_lookup_ends_within_the_call_is_none(told, kept):
    session = told.session()
    told.fake.fail_next("lost_answer")
    told.payments.capture(session.id)
    assert kept.take() == []
    assert told.told()[-1] == "session.captured"


def test_an_operation_whose_process_is_gone_is_in_doubt_once_its_lease_ran_out(told, kept):
    session = told.session()

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    told.fake.meanwhile["capture"] = kill
    with pytest.raises(Killed):
        told.payments.capture(session.id)
    told.clock.forward(hours=1)
    told.payments.recover()
    assert [(level, event) for level, event, _ in kept.take()] == [
        ("WARNING", "operation.in_doubt"),
        ("INFO", "operation.settled"),
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(Declined("no_funds", "too little"), "declined: no_funds"), (NotApplied("busy"), "not applied")],
)
def test_a_refusal_is_logged(told, kept, answer, said):
    session = told.session()
    told.fake.answers["capture"] = answer
    attempt(told.payments.capture, session.id)
    ((level, event, text),) = kept.take()
    assert (level, event) == ("INFO", "operation.failed")
    assert text.startswith(f"capture of 42.00 EUR with fake was {said}")


@pytest.mark.parametrize(
    ("kind", "level"), [("capture", "WARNING"), ("refund", "WARNING"), ("cancel", "INFO")]
)
def test_what_fails_after_it_was_accepted_is_a_warning_where_money_was_expected(told, kept, kind, level):
    session = told.session("captured" if kind == "refund" else "authorized")
    told.fake.answers[kind] = Outcome.pending()
    getattr(told.payments, kind)(session.id)
    key = told.payments.history(session.id)[-1].id
    failed = Effect(kind, session.amount, "failed", key=key, error=Failure("closed", "the account is closed"))
    told.fake.snapshot = Snapshot("authorized", effects=[failed])
    told.payments.sync(session.id)
    ((found, event, text),) = kept.take()
    assert (found, event) == (level, "operation.failed")
    assert text.startswith(f"{kind} of 42.00 EUR with fake was declined: closed")


def test_a_payment_that_is_declined_is_logged_once(told, kept):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Declined("card_declined")
    told.payments.authorize(session.id)
    assert [(level, event) for level, event, _ in kept.take()] == [("INFO", "session.error")]


def test_what_others_did_at_the_gateway_is_logged(told, kept):
    session = told.session("captured")
    told.fake.snapshot = Snapshot("authorized", effects=[Effect("refund", eur("2.00"), reference="r1")])
    told.payments.sync(session.id)
    row = told.payments.history(session.id)[-1]
    assert kept.take() == [
        (
            "INFO",
            "session.refunded",
            f"refund of 2.00 EUR with fake was found at the gateway (operation {row.id})",
        )
    ]
    told.payments.sync(session.id)
    assert kept.take() == []


def test_a_dispute_is_logged_as_a_warning(told, kept):
    session = told.session("captured")
    for state, status in (("pending", "opened"), ("succeeded", "lost"), ("reversed", "won")):
        effect = Effect("chargeback", eur("42.00"), state, "dp_1", dispute=Dispute(status))
        told.fake.snapshot = Snapshot("authorized", effects=[effect])
        told.payments.sync(session.id)
    place = f"of session {session.id} with fake"
    assert kept.take() == [
        ("WARNING", "session.disputed", f"42.00 EUR {place} is disputed: opened"),
        ("WARNING", "session.disputed", f"42.00 EUR {place} is disputed: lost"),
        ("WARNING", "session.charged_back", f"42.00 EUR {place} was charged back: lost"),
        ("INFO", "session.dispute_won", f"42.00 EUR {place} was disputed, and is kept: won"),
    ]


def test_a_conflict_and_what_was_undone_are_warnings(told, kept):
    session = told.session("captured")
    key = told.payments.history(session.id)[-1]
    told.payments.refund(session.id)
    kept.take()
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("capture", eur("42.00"), "reversed", key.reference)]
    )
    told.payments.sync(session.id)
    rows = kept.take()
    assert [row[:2] for row in rows] == [("WARNING", "session.reversed"), ("WARNING", "session.conflict")]
    assert rows[1][2] == f"session {session.id}: over_captured: expected 0.00 EUR, found 42.00 EUR"


def test_an_operator_who_settles_doubt_ends_it(told, kept):
    session = told.session()
    row = lose(told, session)
    kept.take()
    told.payments.resolve(row.id, Outcome.captured(row.amount), note="ann")
    queried, settled = kept.take()
    assert queried[2] == f"session {session.id} could not be queried: no connection"
    assert settled[1] == "operation.settled"
