"""Why a payment failed: categories, what the payer may be told, and our own mistakes, which decline nothing."""

from typing import get_args

import pytest

from helpers import eur
from paysession import (
    ConfigurationError,
    Declined,
    Failure,
    InvalidData,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    hookimpl,
)
from paysession.outcome import Effect, Snapshot
from paysession.reasons import CATEGORIES, PAYER_MESSAGES, FailureCategory, PayerMessageKey


def test_every_word_has_a_meaning():
    assert tuple(CATEGORIES) == get_args(FailureCategory)
    assert tuple(PAYER_MESSAGES) == get_args(PayerMessageKey)


@pytest.mark.parametrize(
    ("category", "key"),
    [
        (None, "declined"),
        ("hard", "declined"),
        ("authentication", "authentication_failed"),
        ("try_later", "try_again_later"),
        ("configuration", "not_available"),
    ],
)
def test_the_category_says_what_the_payer_may_be_told(category, key):
    failure = Failure("51", "no cover", category)
    assert (failure.category, failure.payer_message_key) == (category or "soft", key)


@pytest.mark.parametrize("word", ["HARD", "", 7, None, ["hard"]])
def test_a_word_that_is_none_of_them_counts_as_none(word):
    """It must not turn a refusal into doubt."""
    failure = Failure("51", "no cover", word, word)
    assert (failure.category, failure.payer_message_key) == ("soft", "declined")
    error = Declined("51", category=word, payer_message_key=word)
    assert (error.category, error.payer_message_key) == ("soft", "declined")


def test_a_decline_keeps_what_the_provider_says_of_it(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Declined(
        "insufficient_funds", "do not show", category="soft", payer_message_key="insufficient_funds"
    )
    session = told.payments.authorize(session.id)
    assert session.error == Failure("insufficient_funds", "do not show", "soft", "insufficient_funds")
    assert told.payments.history(session.id)[-1].error == session.error


def test_a_capture_that_is_declined_raises_what_the_provider_says_of_it(told):
    session = told.session()
    told.fake.answers["capture"] = Declined("expired", category="hard", payer_message_key="method_expired")
    with pytest.raises(Declined) as caught:
        told.payments.capture(session.id, idempotency_key="k")
    assert (caught.value.category, caught.value.payer_message_key) == ("hard", "method_expired")
    with pytest.raises(Declined) as caught:
        told.payments.capture(session.id, idempotency_key="k")  # from the ledger
    assert (caught.value.category, caught.value.payer_message_key) == ("hard", "method_expired")


def test_a_lookup_keeps_what_the_provider_says_of_it(told):
    session = told.session("requires_more")
    failure = Failure("sca", "not authenticated", "authentication")
    told.fake.snapshot = Snapshot("error", error=failure)
    assert told.payments.sync(session.id).error == failure


def test_an_effect_that_failed_keeps_what_the_provider_says_of_it(told):
    session = told.session()
    told.fake.answers["capture"] = Outcome.pending(reference="cap")
    told.payments.capture(session.id)
    failure = Failure("frozen", "the account is frozen", "hard")
    told.fake.snapshot = Snapshot(
        "authorized", effects=[Effect("capture", eur("42.00"), "failed", "cap", error=failure)]
    )
    told.payments.sync(session.id)
    assert told.payments.history(session.id)[-1].error == failure


def test_what_is_in_doubt_is_being_checked_and_what_was_not_applied_may_be_tried_later(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = NotApplied("down")
    with pytest.raises(NotApplied):
        told.payments.capture(session.id)
    assert told.payments.history(session.id)[-1].error.payer_message_key == "try_again_later"
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    assert told.payments.history(session.id)[-1].error.payer_message_key == "being_checked"


MISTAKES = [ConfigurationError("the key lacks a permission"), InvalidData("there is no customer cus_1")]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: type(mistake).__name__)
def test_a_mistake_of_ours_is_raised_and_leaves_the_session_usable(told, mistake):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = mistake
    with pytest.raises(type(mistake), match=str(mistake)) as caught:
        told.payments.authorize(session.id)
    operation = told.payments.history(session.id)[-1]
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, operation.id)
    assert (operation.state, operation.error.category) == ("not_applied", "configuration")
    assert told.payments.get(session.id).error is None
    told.fake.answers.clear()
    assert told.payments.authorize(session.id).status == "authorized"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: type(mistake).__name__)
def test_a_payment_that_could_not_begin_by_a_mistake_of_ours_begins_with_the_same_key(told, mistake):
    told.fake.answers["initiate"] = mistake
    with pytest.raises(type(mistake)):
        told.session(idempotency_key="k")
    told.fake.answers.clear()
    assert told.session("requires_more", idempotency_key="k").status == "requires_more"


def test_a_mistake_of_ours_at_a_repetition_says_nothing_of_the_request_before(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.fake.answers["capture"] = ConfigurationError("the key was revoked")
    told.settle()
    assert told.payments.get(session.id).in_doubt


def test_a_lookup_that_a_mistake_of_ours_prevents_raises_it(told):
    session = told.session()
    told.fake.snapshot = ConfigurationError("the key was revoked")
    with pytest.raises(ConfigurationError, match="revoked") as caught:
        told.payments.sync(session.id)
    assert caught.value.session_id == session.id
    assert told.payments.resume(session.id).status == "authorized"


class Careless:
    """A provider that makes an answer that cannot be kept, after the gateway has done it."""

    def __init__(self, fake):
        self._fake = fake
        self.capabilities = fake.capabilities
        self.broken = True

    def __getattr__(self, name):
        return getattr(self._fake, name)

    @hookimpl
    def initiate(self, session, operation):
        return self._fake.initiate(session=session, operation=operation)

    @hookimpl
    def authorize(self, session, operation):
        return self._fake.authorize(session=session, operation=operation)

    @hookimpl
    def cancel(self, session, operation):
        return self._fake.cancel(session=session, operation=operation)

    @hookimpl
    def refund(self, session, operation):
        return self._fake.refund(session=session, operation=operation)

    @hookimpl
    def retrieve(self, session):
        return self._fake.retrieve(session=session)

    @hookimpl
    def capture(self, session, operation):
        answer = self._fake.capture(session=session, operation=operation)
        return Outcome.captured(operation.amount, data={"object": object()}) if self.broken else answer


def test_an_answer_that_cannot_be_kept_is_no_mistake_found_before_anything_happened(make_shop):
    """`Outcome` raises `InvalidData` itself then, after the gateway took the money."""
    from paysession_testing import FakeProvider

    fake = FakeProvider()
    shop = make_shop(Careless(fake))
    session = shop.session()
    assert shop.payments.capture(session.id).captured == 4200  # a lookup found it
    assert fake.total(session.id, "capture") == 4200


def test_a_plugin_that_finds_a_mistake_after_the_call_proves_nothing(make_shop):
    from paysession_testing import FakeProvider

    class Around:
        @hookimpl(wrapper=True)
        def capture(self):
            answer = yield
            if answer is not None:
                raise InvalidData("I dislike that")
            return answer

    fake = FakeProvider()
    shop = make_shop(fake, plugins=[Around()])
    session = shop.session()
    assert shop.payments.capture(session.id).captured == 4200
    assert fake.total(session.id, "capture") == 4200


def test_a_notification_keeps_the_reason_of_its_effect(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers["capture"] = Outcome.pending(reference="cap")
    told.payments.capture(session.id)
    failure = Failure("frozen", "the account is frozen", "hard", "check_details")
    from paysession._engine.inbox import _dump, _load

    effects = [Effect("capture", eur("42.00"), "failed", "cap", error=failure)]
    assert _load(_dump(effects)) == effects
