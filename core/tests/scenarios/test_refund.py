"""Refunds that refer to one capture: which it is, and how much of it is left."""

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Declined,
    InvalidAmount,
    InvalidData,
    NotApplied,
    NotSupported,
    Outcome,
    OutcomeUnknown,
)
from paysession.outcome import Effect, Snapshot
from paysession.provider import hookimpl
from paysession_testing import FakeProvider


class ByCapture(FakeProvider):
    """A gateway that refunds one capture at a time, and shows what a test says."""

    snapshot = None

    def __init__(self):
        super().__init__()
        self.capabilities = evolve(self.capabilities, refund_needs_capture=True)
        self.refunded = []

    @hookimpl
    def refund(self, session, operation):
        outcome = super().refund(session, operation)
        self.refunded.append(operation.capture.reference)
        return outcome

    @hookimpl
    def retrieve(self, session):
        return self.snapshot if self.snapshot is not None else super().retrieve(session)


@pytest.fixture
def shop(make_shop):
    return make_shop(ByCapture())


def captured(shop, *amounts):
    """Return a session with these captures, and their operations."""
    session = shop.session()
    for amount in amounts:
        shop.payments.capture(session.id, eur(amount))
    return session.id, [row for row in shop.payments.history(session.id) if row.kind == "capture"]


def test_the_only_capture_is_meant_when_none_is_named(shop):
    session_id, (capture,) = captured(shop, "20.00")
    shop.payments.refund(session_id, eur("5.00"))
    session = shop.payments.refund(session_id)
    assert session.refunded_amount == eur("20.00")
    assert shop.fake.refunded == [capture.reference] * 2
    assert [row.capture_id for row in shop.payments.history(session_id)][-2:] == [capture.id] * 2


def test_a_capture_after_others_refers_to_none_of_them(shop):
    session_id, captures = captured(shop, "10.00", "10.00", "10.00")
    assert [row.capture_id for row in captures] == [None] * 3
    assert shop.payments.get(session_id).captured == 3000


def test_the_only_capture_that_is_large_enough_is_meant(shop):
    session_id, (_, large) = captured(shop, "5.00", "20.00")
    shop.payments.refund(session_id, eur("6.00"))
    assert shop.fake.refunded == [large.reference]


def test_where_several_could_be_meant_one_has_to_be_named(shop):
    session_id, (first, second) = captured(shop, "20.00", "10.00")
    for amount in (None, eur("10.00")):
        with pytest.raises(NotSupported, match=f"capture=, one of {first.id}, {second.id}") as caught:
            shop.payments.refund(session_id, amount)
        assert caught.value.session_id == session_id
    session = shop.payments.refund(session_id, capture=second.id)
    assert session.refunded_amount == eur("10.00")
    assert shop.fake.refunded == [second.reference]
    shop.payments.refund(session_id)  # now the first alone is left
    assert shop.fake.refunded == [second.reference, first.reference]


def test_no_more_than_is_left_of_the_capture_is_refunded(shop):
    session_id, (first, second) = captured(shop, "20.00", "10.00")
    shop.payments.refund(session_id, eur("15.00"), capture=first.id)
    with pytest.raises(InvalidAmount, match=r"5\.00 EUR is left"):
        shop.payments.refund(session_id, eur("5.01"), capture=first.id)
    with pytest.raises(InvalidAmount, match=r"5\.00 EUR is left"):
        shop.payments.refund(session_id, eur("10.01"))  # fits none
    shop.payments.refund(session_id, eur("5.00"), capture=first.id)
    session = shop.payments.refund(session_id, eur("10.00"), capture=second.id)
    assert session.refunded == session.captured == 3000


def test_a_refund_that_failed_does_not_count_against_its_capture(shop):
    session_id, (capture, _) = captured(shop, "20.00", "10.00")
    shop.fake.fail_next("declined", kind="refund")
    with pytest.raises(Declined):
        shop.payments.refund(session_id, eur("15.00"), capture=capture.id)
    shop.fake.fail_next("not_applied", kind="refund")
    with pytest.raises(NotApplied):
        shop.payments.refund(session_id, eur("15.00"), capture=capture.id)
    session = shop.payments.refund(session_id, eur("20.00"), capture=capture.id)
    assert session.refunded_amount == eur("20.00")


def test_a_pending_refund_counts_against_its_capture(shop, monkeypatch):
    session_id, (capture, _) = captured(shop, "20.00", "10.00")
    with monkeypatch.context() as patch:
        patch.setattr(type(shop.fake), "refund", _pending)
        shop.payments = type(shop)(shop.fake, store=lambda clock: shop.store).payments
        shop.payments.refund(session_id, eur("15.00"), capture=capture.id)
    with pytest.raises(InvalidAmount, match=r"5\.00 EUR is left"):
        shop.payments.refund(session_id, eur("6.00"), capture=capture.id)


@hookimpl
def _pending(self, session, operation):
    return Outcome.pending(reference="re_slow")


def test_a_capture_that_was_reversed_cannot_be_refunded(shop):
    session_id, (first, second) = captured(shop, "20.00", "10.00")
    shop.fake.snapshot = Snapshot(
        "authorized",
        effects=[
            Effect("capture", eur("20.00"), "reversed", first.reference, first.key),
            Effect("capture", eur("10.00"), "succeeded", second.reference, second.key),
        ],
    )
    shop.payments.sync(session_id)
    with pytest.raises(InvalidData, match="no capture of this session that succeeded"):
        shop.payments.refund(session_id, capture=first.id)
    assert shop.payments.refund(session_id).refunded_amount == eur("10.00")


def test_what_is_named_must_be_a_capture_of_the_session_that_succeeded(shop):
    session_id, _ = captured(shop, "20.00")
    rows = shop.payments.history(session_id)
    shop.fake.fail_next("declined", kind="capture")
    with pytest.raises(Declined):
        shop.payments.capture(session_id, eur("2.00"))
    declined = shop.payments.history(session_id)[-1]
    for named in (rows[0].id, rows[1].id, declined.id, "ps_other-1", ""):
        with pytest.raises(InvalidData, match="is no capture of this session that succeeded") as caught:
            shop.payments.refund(session_id, capture=named)
        assert caught.value.session_id == session_id


def test_a_named_capture_is_handed_over_by_a_gateway_that_needs_none(make_shop):
    class Plain(ByCapture):
        def __init__(self):
            super().__init__()
            self.capabilities = evolve(self.capabilities, refund_needs_capture=False)

        @hookimpl
        def refund(self, session, operation):
            self.named = operation.capture
            return FakeProvider.refund(self, session, operation)

    shop = make_shop(Plain())
    session_id, (first, _) = captured(shop, "20.00", "10.00")
    shop.payments.refund(session_id, eur("1.00"))
    assert shop.fake.named is None
    shop.payments.refund(session_id, eur("1.00"), capture=first.id)
    assert shop.fake.named.id == first.id


def test_a_refund_in_doubt_is_sent_again_with_its_capture(shop):
    session_id, (first, _) = captured(shop, "20.00", "10.00")
    shop.fake.fail_next("timeout", kind="refund")
    with pytest.raises(OutcomeUnknown):
        shop.payments.refund(session_id, eur("3.00"), capture=first.id)
    shop.fake.refunded.clear()
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert shop.payments.get(session_id).refunded_amount == eur("3.00")
    assert shop.fake.refunded == [first.reference]


def test_a_refund_whose_process_died_is_sent_again_with_its_capture(shop):
    class Dies(BaseException):
        pass

    def dies():
        raise Dies

    session_id, (first, _) = captured(shop, "20.00", "10.00")
    shop.fake.fail_next("timeout", kind="refund", then=dies)
    with pytest.raises(Dies):
        shop.payments.refund(session_id, eur("3.00"), capture=first.id)
    shop.clock.forward(minutes=5)
    shop.payments.recover()
    assert shop.payments.get(session_id).refunded_amount == eur("3.00")
    assert shop.fake.refunded == [first.reference]


def test_a_named_capture_of_which_nothing_is_left_is_refused(shop):
    session_id, (capture,) = captured(shop, "20.00")
    shop.payments.refund(session_id)
    assert shop.payments.refund(session_id).refunded == 2000  # all is refunded: nothing to do
    with pytest.raises(InvalidAmount, match="nothing is left"):
        shop.payments.refund(session_id, capture=capture.id)


def test_nothing_is_refunded_where_nothing_was_captured(shop):
    session = shop.session()
    with pytest.raises(InvalidAmount, match="nothing is left to refund"):
        shop.payments.refund(session.id)


def test_all_is_done_already_while_the_rest_is_under_way(told):
    session = told.session()
    told.payments.capture(session.id, eur("20.00"))
    told.fake.answers["capture"] = Outcome.pending()
    session = told.payments.capture(session.id)
    assert told.payments.capture(session.id) == session
    told.payments.refund(session.id, eur("5.00"))
    told.fake.answers["refund"] = Outcome.pending()
    session = told.payments.refund(session.id)
    assert told.payments.refund(session.id) == session


def test_a_capture_of_another_session_is_refused(shop):
    session_id, _ = captured(shop, "20.00")
    other = shop.payments.create_collection(eur("20.00"), reference="another")
    theirs = shop.payments.initiate(other.id, provider=shop.payments.get(session_id).provider).id
    shop.payments.authorize(theirs)
    shop.payments.capture(theirs)
    capture = shop.payments.history(theirs)[-1]
    with pytest.raises(InvalidData, match="is no capture of this session that succeeded"):
        shop.payments.refund(session_id, eur("5.00"), capture=capture.id)
    assert shop.fake.refunded == []
    assert shop.payments.refund(theirs, capture=capture.id).refunded_amount == eur("20.00")
