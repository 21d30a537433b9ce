"""A payer's personal data is erased wherever it is kept, and the ledger is kept."""

import json
import logging

import pytest
from attrs import asdict

from paysession import (
    Checkout,
    InvalidData,
    InvalidTransition,
    MemoryStore,
    Money,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    Payer,
    Payments,
    SessionBusy,
)
from paysession._plugins.registry import Registry
from paysession.change import Change
from paysession.provider import (
    Address,
    Declined,
    Dispute,
    Effect,
    Outcome,
    Redirect,
    Snapshot,
    WebhookEvent,
    hookimpl,
)
from paysession.values import replace
from paysession_testing import FakeProvider

ANN = "Ann Miller"
PAYER = Payer(name=ANN, email="ann@example.com", address=Address(line1=f"{ANN}, 1 Main St"))
CHECKOUT = Checkout(email="ann@example.com", ip="192.0.2.7", description=f"A book for {ANN}", payer=PAYER)


class Talkative(FakeProvider):
    """A gateway that repeats the payer's name wherever it can."""

    events = ()

    @hookimpl
    def initiate(self, session, operation):
        super().initiate(session, operation)
        return Outcome.requires_more(
            data={**session.data, "name": ANN}, next_action=Redirect(f"https://x/?{ANN}"), payer=PAYER
        )

    @hookimpl
    def capture(self, session, operation):
        if operation.amount.minor == 100:
            raise Declined("refused", f"{ANN} has no money")
        return super().capture(session, operation)

    @hookimpl
    def retrieve(self, session, operation):
        shown = super().retrieve(session)
        return Snapshot(
            shown.status,
            authorized=shown.authorized,
            captured=shown.captured,
            refunded=shown.refunded,
            effects=shown.effects,
            session_id=session.id,
            reference=shown.reference,
            data={"name": ANN},
            payer=PAYER,
        )

    @hookimpl
    def parse_webhook(self, headers, body):
        return self.events


def paid(shop):
    pay = shop.payments
    session = pay.initiate(
        shop.order.id, provider="fake", checkout=CHECKOUT, data={"customer": ANN}, payload={"token": ANN}
    )
    session = pay.authorize(session.id, payload={"name": ANN})
    with pytest.raises(Declined):
        pay.capture(session.id, Money("1.00", "EUR"))
    session = pay.capture(session.id, Money("30.00", "EUR"), final=True)
    return pay.refund(session.id, Money("5.00", "EUR"), reason=f"{ANN} complained", idempotency_key="r1")


def everything(store, session_id):
    """Return all that a store has of a session, as text."""
    rows = [store.session(session_id), *store.operations(session_id), *store.events()]
    rows += store.conflicts(session_id=session_id, open=False)
    rows += store.unprocessed()
    return json.dumps([asdict(row) for row in rows], default=str) + repr(rows)


@pytest.fixture
def talk(make_shop):
    return make_shop(Talkative())


def test_nothing_personal_is_left_and_the_ledger_is_as_it_was(talk):
    session = paid(talk)
    assert ANN in everything(talk.store, session.id)
    before, history = talk.books(session.id), talk.payments.history(session.id)
    collection = talk.payments.forget(talk.order.id, by="the data officer")
    text = everything(talk.store, session.id)
    assert ANN not in text
    assert "ann@example.com" not in text
    assert "192.0.2.7" not in text
    assert talk.books(session.id) == before
    assert collection == talk.payments.collection(talk.order.id)
    assert collection.captured_amount == Money("30.00", "EUR")
    kept = [(row.id, row.kind, row.state, row.amount, row.reference, row.updated_at) for row in history]
    after = talk.payments.history(session.id)
    assert kept == [(row.id, row.kind, row.state, row.amount, row.reference, row.updated_at) for row in after]
    (refused,) = [row.error for row in after if row.error is not None]
    assert refused.code == "refused"


def test_it_is_recorded_who_asked_and_asking_again_records_nothing(talk):
    session = paid(talk)
    talk.payments.forget(talk.order.id, by="the data officer")
    last = talk.payments.events()[-1]
    assert (last.type, last.session_id, last.by) == ("session.forgotten", session.id, "the data officer")
    row = talk.payments.get(session.id)
    talk.payments.forget(talk.order.id, by="ann")
    assert talk.payments.get(session.id) == row


def test_what_the_gateway_reports_later_is_not_kept(talk):
    session = paid(talk)
    talk.payments.forget(talk.order.id, by="ann")
    talk.fake.events = [WebhookEvent("e1", "news", session_id=session.id, payer=PAYER, data={"name": ANN})]
    assert talk.payments.handle_webhook("fake", headers={}, body=ANN.encode()).status == 200
    session = talk.payments.sync(session.id)
    assert (session.payer, session.data) == (None, {})
    assert ANN not in everything(talk.store, session.id)


def test_what_was_forgotten_can_still_be_refunded_and_repeated(talk):
    session = paid(talk)
    talk.payments.forget(talk.order.id, by="ann")
    again = talk.payments.refund(
        session.id, Money("5.00", "EUR"), reason=f"{ANN} complained", idempotency_key="r1"
    )
    assert again.refunded == 500  # the key is known, though the words are gone
    assert talk.payments.refund(session.id).refunded == 3000


def test_notifications_that_wait_are_emptied(talk):
    session = paid(talk)
    other = WebhookEvent("e2", "news", session_id="ps_of_somebody_else", data={"name": "Bob"})
    talk.fake.events = [other]
    talk.payments.handle_webhook("fake", headers={}, body=b"Bob")
    talk.fake.events = [
        WebhookEvent("e1", "news", session_id=session.id, payer=PAYER, reference="P1", data={"name": ANN})
    ]
    talk.payments.handle_webhook("fake", headers={}, body=ANN.encode(), settle=False)
    talk.payments.forget(talk.order.id, by="ann")
    assert ANN not in everything(talk.store, session.id)
    emptied, others = sorted(talk.store.unprocessed(), key=lambda row: row.body)
    assert (emptied.body, others.body) == (b"", b"Bob")
    assert (emptied.details, emptied.attempts) == ('{"reference": "P1"}', 1)  # what it is about is kept
    talk.payments.recover(now=True)
    assert [row.body for row in talk.store.unprocessed()] == [b"Bob"]  # what the other was about is known


def test_conflicts_keep_who_closed_them_and_not_the_words(make_told):
    shop = make_told()
    session = shop.session("captured")
    shop.fake.snapshot = Snapshot(
        "authorized", authorized=Money("50.00", "EUR"), captured=Money("50.00", "EUR"), session_id=session.id
    )
    shop.payments.sync(session.id)
    for conflict in shop.payments.conflicts():
        shop.payments.acknowledge(conflict.id, by="bob", note=f"{ANN} phoned")
    shop.payments.forget(shop.order.id, by="ann")
    closed = [row for row in shop.payments.conflicts(open=False) if row.closed_by == "bob"]
    assert closed
    assert {row.note for row in closed} == {None}


def test_what_was_said_since_is_erased_when_it_is_asked_for_again(make_told):
    shop = make_told()
    session = shop.session("captured")
    shop.fake.snapshot = Snapshot(
        "authorized", authorized=Money("50.00", "EUR"), captured=Money("50.00", "EUR"), session_id=session.id
    )
    shop.payments.sync(session.id)
    shop.payments.forget(shop.order.id, by="ann")
    for conflict in shop.payments.conflicts():
        shop.payments.acknowledge(conflict.id, by="bob", note=f"{ANN} phoned")
    shop.payments.forget(shop.order.id, by="ann")
    assert {row.note for row in shop.payments.conflicts(open=False)} == {None}


def test_a_session_that_is_not_over_is_refused(shop):
    with pytest.raises(NotFound):
        shop.payments.forget("pc_unknown", by="ann")
    with pytest.raises(InvalidData):
        shop.payments.forget(shop.order.id, by="")
    session = shop.session("requires_more")
    with pytest.raises(InvalidTransition, match="waits for its payer"):
        shop.payments.forget(shop.order.id, by="ann")
    shop.payments.authorize(session.id)
    with pytest.raises(InvalidTransition, match="not captured"):
        shop.payments.forget(shop.order.id, by="ann")
    shop.payments.cancel(session.id)
    shop.payments.forget(shop.order.id, by="ann")


@pytest.mark.parametrize("answer", [OutcomeUnknown("lost"), Outcome.pending()])
def test_doubt_and_what_is_pending_have_to_end_first(make_told, answer):
    shop = make_told()
    session = shop.session("captured", checkout=CHECKOUT)
    shop.fake.answers["refund"] = answer
    shop.fake.snapshot = NotApplied("unreachable")
    try:
        shop.payments.refund(session.id)
    except OutcomeUnknown:
        pass
    with pytest.raises(SessionBusy):
        shop.payments.forget(shop.order.id, by="ann")
    assert shop.payments.get(session.id).checkout == CHECKOUT


def test_a_dispute_has_to_be_decided_first(make_shop):
    shop = make_shop(Talkative(lookup="none"))
    session = shop.session("captured")
    taken = Effect("chargeback", session.amount, reference="D1", dispute=Dispute("opened"))
    shop.fake.events = [WebhookEvent("e1", "news", session_id=session.id, effects=[taken])]
    shop.payments.handle_webhook("fake", headers={}, body=b"body")
    with pytest.raises(SessionBusy, match="dispute"):
        shop.payments.forget(shop.order.id, by="ann")


def test_what_a_notification_said_is_erased_once_it_is_processed(make_shop):
    shop = make_shop(Talkative(lookup="none"))
    session = shop.session("requires_more")
    failed = Effect("authorize", session.amount, "failed", "A1")
    shop.fake.events = [WebhookEvent("e1", "news", session_id=session.id, effects=[failed], payer=PAYER)]
    shop.payments.handle_webhook("fake", headers={}, body=b"body")
    (row,) = shop.store._notifications.values()
    assert (row.state, row.body, row.effects, row.details) == ("processed", b"", "[]", "{}")


def test_nothing_personal_is_logged(talk, caplog):
    caplog.set_level(logging.DEBUG)
    paid(talk)
    caplog.clear()
    talk.payments.forget(talk.order.id, by="ann")
    assert ANN not in caplog.text


class Contended(MemoryStore):
    """A store that keeps the changes of notifications, and where somebody is faster, once, before the next."""

    meanwhile = staticmethod(bool)

    def __init__(self, **options):
        super().__init__(**options)
        self.changes = []

    def commit(self, change):
        if change.notification is not None:
            meanwhile, self.meanwhile = self.meanwhile, bool
            meanwhile()
            self.changes.append(change)
        super().commit(change)


@pytest.fixture
def contended(make_shop):
    """Return a shop with a session that is over and a notification about it that waits."""
    shop = make_shop(Talkative(), store=Contended)
    session = shop.payments.cancel(shop.session("requires_more").id)
    shop.fake.events = [WebhookEvent("e1", "news", session_id=session.id, data={"name": ANN})]
    shop.payments.handle_webhook("fake", headers={}, body=ANN.encode(), settle=False)
    return shop


def test_the_store_is_told_to_erase_what_a_notification_said(contended):
    contended.store.changes.clear()
    contended.payments.forget(contended.order.id, by="ann")
    (change,) = contended.store.changes
    assert (change.erased, change.notification.body) == (True, b"")


def test_a_notification_that_is_tried_while_it_is_emptied_is_emptied_then(contended):
    def fails():
        (row,) = contended.store.unprocessed()
        retried = replace(row, attempts=row.attempts + 1)
        MemoryStore.commit(contended.store, Change(notification=retried, notification_seen=True))

    contended.store.meanwhile = fails
    contended.payments.forget(contended.order.id, by="ann")
    (row,) = contended.store.unprocessed()
    assert (row.body, row.details, row.attempts) == (b"", "{}", 2)


def test_a_notification_that_is_processed_while_it_is_emptied_stays_processed(contended):
    contended.store.meanwhile = contended.payments.recover
    contended.payments.forget(contended.order.id, by="ann")
    assert contended.store.unprocessed() == []
    (row,) = (row for key, row in contended.store._notifications.items() if key.startswith("wh_"))
    assert (row.state, row.attempts) == ("processed", 1)


def test_a_notification_that_is_pruned_while_it_is_emptied_is_gone(contended):
    (row,) = contended.store.unprocessed()
    contended.store.meanwhile = lambda: contended.store._notifications.pop(row.id)
    contended.payments.forget(contended.order.id, by="ann")
    assert contended.store.unprocessed() == []


def test_a_notification_that_names_a_reference_alone_is_emptied_if_that_is_the_sessions(make_shop):
    shop = make_shop(Talkative())
    reference = shop.payments.history(shop.session("captured").id)[-1].reference
    shop.payments = Payments(shop.store, Registry({"fake": shop.fake, "other": shop.fake}))
    shop.fake.events = [
        WebhookEvent("e1", "news", references=["x", reference]),
        WebhookEvent("e2", "news", references=["y"]),
    ]
    for provider in ("fake", "other"):
        shop.payments.handle_webhook(provider, headers={}, body=provider.encode(), settle=False)
    shop.payments.forget(shop.order.id, by="ann")
    kept = [(row.provider, row.references, row.body) for row in shop.store.unprocessed()]
    assert sorted(kept) == [
        ("fake", ("x", reference), b""),
        ("fake", ("y",), b"fake"),
        ("other", ("x", reference), b"other"),
        ("other", ("y",), b"other"),
    ]
