"""What a review found: each of these failed before the commit that brought it."""

import asyncio
import threading
from datetime import timedelta

import pytest
from attrs import evolve

from paysession import (
    AsyncPayments,
    Declined,
    Failure,
    MemoryStore,
    Money,
    NotApplied,
    NotFound,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
    hookimpl,
)
from paysession.outcome import Effect, Snapshot
from paysession.testing import FakeProvider


def eur(amount):
    return Money(amount, "EUR")


def cancels(told):
    return [kind for kind, _ in told.fake.calls].count("cancel")


def test_async_close_waits():
    entered, go = threading.Event(), threading.Event()
    order = []

    class Slow(FakeProvider):
        @hookimpl
        def authorize(self, session, operation):
            entered.set()
            go.wait(5)
            order.append("authorize ended")
            return Outcome.authorized()

        @hookimpl
        def close(self):
            order.append("closed")

    async def main():
        payments = AsyncPayments.open("memory:", providers={"fake": Slow()})
        c = await payments.create_collection(eur("42.00"), reference="r")
        s = await payments.initiate(c.id, provider="fake")
        task = asyncio.create_task(payments.authorize(s.id))
        await asyncio.to_thread(entered.wait)
        threading.Timer(0.3, go.set).start()
        await payments.close()
        await task

    asyncio.run(main())
    assert order == ["authorize ended", "closed"]


def test_two_browsers_at_once_over_limit(make_told):
    class Racing(MemoryStore):
        then = None

        def operations(self, session_id):
            then, self.then = self.then, None
            if then is not None:
                then()
            return super().operations(session_id)

    told = make_told(store=Racing)
    one, two = told.session("requires_more"), told.session("requires_more")
    told.fake.authorize_in_browser(one.id)
    told.fake.authorize_in_browser(two.id)
    told.store.then = lambda: told.payments.sync(two.id)
    told.payments.sync(one.id)
    told.settle()
    held = told.payments.collection(told.order.id).held
    assert held == 4200, (held, told.books(one.id), told.books(two.id))
    assert "session.conflict" in told.told()


@pytest.mark.parametrize("way", ["webhook", "resume"])
def test_a_wanted_cancel_is_not_overtaken_by_ready(make_told, way):
    told = make_told(approve=False)
    session = told.session("requires_more", capture="automatic")
    told.fake.answers["authorize"] = told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session.id)
    told.fake.answers = {"cancel": NotApplied("down")}
    told.fake.snapshot = None
    told.clock.forward(minutes=10)
    told.payments.recover()
    s = told.payments.get(session.id)
    assert (s.open, s.cancel_wanted, s.status) == (None, True, "requires_more")
    told.fake.payer_approves(session.id)
    if way == "webhook":
        headers, body = told.fake.webhook(session.id)
        told.payments.handle_webhook("fake", headers=headers, body=body)
    else:
        told.payments.resume(session.id)
    assert told.fake.total(session.id, "capture") == 0, told.books(session.id)
    del told.fake.answers["cancel"]
    told.settle()
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)


def test_a_statement_tells_that_an_authorization_succeeded_which_had_required_more(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.requires_more()
    told.payments.authorize(session.id)
    effect = Effect("authorize", eur("42.00"), key=f"{session.id}-2")
    provider = told.payments._registry.provider("fake")
    for _ in range(2):
        told.payments._recovery.book_effects(provider, session.id, [effect])
        assert told.books(session.id) == ("authorized", 4200, 0, 0, None)
    told.payments.cancel(session.id)
    told.payments._recovery.book_effects(provider, session.id, [effect])  # it is told once more, late
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)


def test_capture_at_authorization_that_answer_tells_after_lookup_saw_authorized(told):
    session = told.session("requires_more", capture="automatic")

    def webhook():
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("0.00"), session_id=session.id
        )
        headers, body = told.fake.webhook(session.id)
        assert told.payments.handle_webhook("fake", headers=headers, body=body).status == 200
        told.fake.snapshot = None

    told.fake.meanwhile["authorize"] = webhook
    told.payments.authorize(session.id)
    told.settle()
    assert told.fake.total(session.id, "capture") == 4200
    assert told.books(session.id) == ("authorized", 4200, 4200, 0, None)


def test_definite_answer_after_pending_notification_no_lookup(make_told):
    told = make_told(lookup="none")
    session = told.session("authorized")

    def meanwhile():
        told.payments._recovery.book_effects(
            told.payments._registry.provider("fake"),
            session.id,
            [Effect("capture", eur("42.00"), "pending", key=f"{session.id}-3")],
        )

    told.fake.meanwhile["capture"] = meanwhile
    told.payments.capture(session.id)
    told.settle()
    s = told.payments.get(session.id)
    assert (s.captured, s.pending) == (4200, 0)


def test_totals_only_dashboard_capture_before_ours(told):
    session = told.session("authorized")

    def meanwhile():
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("10.00"), session_id=session.id
        )
        told.payments.sync(session.id)
        told.fake.snapshot = Snapshot(
            "authorized", authorized=eur("42.00"), captured=eur("20.00"), session_id=session.id
        )

    told.fake.meanwhile["capture"] = meanwhile
    told.payments.capture(session.id, eur("10.00"))
    told.settle()
    assert told.books(session.id)[:3] == ("authorized", 4200, 2000)


def test_requires_more_settled_then_late_authorized_no_lookup(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")

    def person():
        told.clock.forward(minutes=5)
        (doubt,) = told.payments.in_doubt()
        told.payments.resolve(doubt.operation.id, Outcome.requires_more(), note="ann")

    told.fake.meanwhile["authorize"] = person
    told.payments.authorize(session.id)
    told.settle()
    assert told.books(session.id) == ("authorized", 4200, 0, 0, None)


def test_rest_is_cancelled_after_refund_of_what_was_captured_after_cancel(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    s = told.payments.sync(session.id)
    assert (s.conflict, s.cancel_wanted) == ("authorized_after_cancel", True)
    told.fake.capture_in_dashboard(session.id, eur("20.00"))
    told.payments.sync(session.id)
    told.payments.refund(session.id)
    del told.fake.answers["cancel"]
    told.settle()
    s = told.payments.get(session.id)
    assert told.fake._accounts[session.id].authorized == 2000, (
        told.books(session.id),
        s.cancel_wanted,
        s.due_at,
    )
    assert told.books(session.id) == ("canceled", 2000, 2000, 2000, None)


def test_notification_faster_than_lagging_lookup(make_told):
    told = make_told(lookup="lagging")
    told.fake.capabilities = evolve(told.fake.capabilities, lookup_lag=timedelta(seconds=45))
    told = type(told)(told.fake)
    session = told.session("captured")
    told.clock.forward(days=1)
    stale = Snapshot(
        "authorized",
        authorized=eur("42.00"),
        captured=eur("42.00"),
        refunded=eur("0.00"),
        session_id=session.id,
    )
    told.fake.snapshot = stale
    told.fake.refund_in_dashboard(session.id, eur("42.00"))
    headers, body = told.fake.webhook(session.id)
    told.payments.handle_webhook("fake", headers=headers, body=body)
    told.fake.snapshot = None
    told.settle()
    assert told.books(session.id)[:4] == ("authorized", 4200, 4200, 4200)


def test_checks_of_payer_are_inherited_by_wanted_cancel(told):
    session = told.session("requires_more")
    told.fake.payer_declines(session.id)
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    while told.payments.get(session.id).due_at is not None:
        told.clock.now = told.payments.get(session.id).due_at
        told.payments.recover()
    told.fake.snapshot = None
    told.session()
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = Declined("try_later", "being processed")
    s = told.payments.sync(session.id)
    assert (cancels(told), s.conflict, s.cancel_wanted) == (1, "over_limit", True)


def test_sync_after_cancel_refused_starts_over(told):
    session = told.session("requires_more")
    told.payments.cancel(session.id)
    told.fake.answers["cancel"] = Declined("no", "no")
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    told.payments.sync(session.id)
    for _ in range(60):
        told.clock.forward(hours=1)
        told.payments.recover()
    s = told.payments.get(session.id)
    assert (s.conflict, s.cancel_wanted) == ("cancel_refused", False)
    n = cancels(told)
    told.payments.sync(session.id)
    s = told.payments.get(session.id)
    assert (s.conflict, s.cancel_wanted, cancels(told)) == ("cancel_refused", False, n)


def test_remembered_cancel_of_initiate_not_applied(told):
    told.fake.fail_next("timeout", kind="initiate")
    told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown) as doubt:
        told.session("requires_more", idempotency_key="k")
    session_id = doubt.value.session_id
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session_id)
    told.fake.snapshot = Snapshot.absent()
    told.fake.answers["initiate"] = NotApplied("no")
    for _ in range(30):
        told.clock.forward(hours=2)
        told.payments.recover()
    s = told.payments.get(session_id)
    assert (s.open, s.status) == (None, "canceled")


def test_window_is_checked_after_the_lookup(told):
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


def test_lagging_lookup_and_replayed_decline(make_told):
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


def test_keyless_failure_of_earlier_attempt(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    session = told.session("requires_more")
    told.fake.answers["authorize"] = Outcome.requires_more(reference="try_1")
    told.payments.authorize(session.id)

    def meanwhile():
        told.payments._recovery.book_effects(
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


def test_resolve_overtaken_by_recovery_is_told(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    (doubt,) = told.payments.in_doubt()
    registry = told.payments._registry
    real = registry.provider

    def provider(name):
        registry.provider = real
        told.clock.forward(hours=1)
        told.payments.recover()
        return real(name)

    registry.provider = provider
    told.payments._engine.registry = registry
    try:
        s = told.payments._recovery.resolve(doubt.operation.id, Outcome.captured(eur("42.00")), "ann")
    except SessionBusy:
        return
    assert s.captured == 4200


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
            Effect("capture", eur("42.00"), key=f"{session.id}-3"),
            Effect("refund", Money("1.00", "USD"), reference="dashboard"),
        ],
        session_id=session.id,
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    told.settle()
    assert told.payments.get(session.id).conflict == "currency"
    assert told.payments.history(session.id)[-1].state == "started"


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
            Effect("capture", eur("42.00"), key=f"{session.id}-3"),
            Effect("refund", Money("1.00", "USD"), reference="dashboard"),
        ],
        session_id=session.id,
    )
    told.fake.answers["capture"] = Declined("card_declined", "replayed")
    told.clock.forward(minutes=5)
    told.payments.recover()
    assert told.payments.history(session.id)[-1].state == "started"


def test_more_than_the_limit_is_reported_where_another_conflict_is_open(make_told):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    provider = told.payments._registry.provider("fake")
    told.payments._recovery.book_effects(
        provider, session.id, [Effect("capture", eur("20.00"), reference="t1")]
    )
    assert told.books(session.id)[-1] == "amount"  # the payer transferred too little, and then all of it
    told.payments._recovery.book_effects(
        provider, session.id, [Effect("capture", eur("42.00"), reference="t2")]
    )
    assert told.books(session.id) == ("authorized", 6200, 6200, 0, "over_limit")
    assert told.told().count("session.conflict") == 2


def test_an_update_that_fails_after_the_payer_confirmed_gives_back_no_room(told):
    told.order = told.payments.update_collection(told.order.id, eur("50.00"))
    told.fake.answers["authorize"] = Outcome.requires_more()
    session = told.payments.initiate(told.order.id, provider="fake", amount=eur("42.00"))
    session = told.payments.authorize(session.id)
    assert session.held == 4200
    told.fake.answers["update"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized", session_id=session.id)  # it tells no amounts
    with pytest.raises(OutcomeUnknown):
        told.payments.update(session.id, eur("45.00"))
    (doubt,) = told.payments.in_doubt()
    told.payments.resolve(doubt.operation.id, NotApplied("no"), note="ann")
    session = told.payments.get(session.id)
    assert (session.authorized, session.held) == (4200, 4200)
    assert told.payments.collection(told.order.id).held == 4200


def test_a_session_whose_cancel_is_not_finished_is_not_replaced(told):
    session = told.session("requires_more")
    told.fake.answers["cancel"] = Outcome.pending()
    with pytest.raises(SessionBusy) as caught:
        told.payments.initiate(told.order.id, provider="fake", replaces=session.id)
    assert caught.value.session_id == session.id
    assert len(told.payments.sessions()) == 1


def test_error_then_payer_tries_another_card_in_browser(told):
    session = told.session("requires_more")
    told.fake.payer_declines(session.id)
    told.settle()
    assert told.payments.get(session.id).status == "error"
    told.fake.authorize_in_browser(session.id)
    told.settle()
    assert told.books(session.id)[0] == "authorized"


def test_what_the_payer_must_do_after_a_debit_of_many_days_is_looked_at_again(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session("requires_more")
    told.payments.authorize(session.id)
    told.fake.snapshot = Snapshot(
        "pending", effects=[Effect("authorize", eur("42.00"), "pending")], session_id=session.id
    )
    for _ in range(60):
        told.clock.forward(hours=6)
        told.payments.recover()
    told.fake.snapshot = Snapshot("requires_more", session_id=session.id)
    told.clock.forward(hours=6)
    told.payments.recover()
    session = told.payments.get(session.id)
    assert (session.status, session.pending) == ("requires_more", 0)
    assert session.due_at is not None


@pytest.mark.parametrize(
    "outcome",
    [Outcome.authorized(), Outcome.captured(eur("42.00")), Outcome.requires_more(), Outcome.pending()],
    ids=lambda outcome: str(outcome.answer),
)
def test_a_persons_word_does_not_reopen_a_canceled_session(make_told, outcome):
    told = make_told(lookup="none")
    session = told.session("requires_more")
    told.fake.answers = {"authorize": Outcome.pending(), "cancel": Outcome.canceled()}
    told.payments.authorize(session.id)
    assert told.payments.cancel(session.id).status == "canceled"
    told.fake.answers["cancel"] = NotApplied("down")
    told.payments.resolve(f"{session.id}-2", outcome, note="ann: the debit went through")
    status, authorized, captured, _, conflict = told.books(session.id)
    assert status == "canceled"
    if outcome.answer in ("authorized", "captured"):
        assert conflict == "authorized_after_cancel"
        assert (authorized, captured) == (4200, 4200 if outcome.answer == "captured" else 0)
        assert told.payments.get(session.id).cancel_wanted == (outcome.answer == "authorized")
        assert told.payments.collection(told.order.id).held == 4200


@pytest.mark.parametrize(
    "answer", [NotApplied("429"), Outcome.requires_more()], ids=["not applied", "requires more"]
)
def test_what_is_ready_and_cannot_be_authorized_is_not_tried_for_ever(told, answer):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = answer
    begun, rounds = told.clock.now, 0
    while (due_at := told.payments.get(session.id).due_at) is not None and rounds < 100:
        told.clock.now, rounds = due_at, rounds + 1
        told.payments.recover()
    assert rounds < 40
    assert told.clock.now - begun > timedelta(days=5)


def test_an_old_notification_does_not_authorize_again_what_was_declined(told):
    session = told.session("requires_more")
    told.fake.fail_next("declined", kind="authorize")
    assert told.payments.resume(session.id).status == "error"
    headers, body = told.fake.webhook(session.id)
    told.payments.handle_webhook("fake", headers=headers, body=body)
    assert [kind for kind, _ in told.fake.calls].count("authorize") == 1


def test_a_capture_that_a_person_knows_to_have_failed_after_the_cancel_holds_nothing(make_told):
    told = make_told(lookup="none")
    session = told.session()
    told.fake.answers = {"capture": Outcome.pending(), "cancel": Outcome.canceled()}
    told.payments.capture(session.id, eur("20.00"))
    told.payments.cancel(session.id)
    told.payments.resolve(f"{session.id}-3", Declined("no", "no"), note="ann")
    assert told.books(session.id) == ("canceled", 0, 0, 0, None)
    assert told.payments.collection(told.order.id).held == 0


def test_an_operation_that_is_named_by_something_else_than_its_id_is_not_found(told):
    with pytest.raises(NotFound, match="a str, not by a int"):
        told.payments.resolve(5, NotApplied("no"), note="ann")


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
