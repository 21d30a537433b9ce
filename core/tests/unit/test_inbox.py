"""How a notification is kept: until it is done, at growing intervals, and never lost by a fault of ours."""

import logging
import time
from datetime import timedelta
from hashlib import sha256

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    ConfigurationError,
    MemoryStore,
    Money,
    NotApplied,
    OutcomeUnknown,
    Payments,
    SessionBusy,
    hookimpl,
)
from paysession._engine.inbox import MAX_BODY
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession_testing import FakeProvider


class Keeps(MemoryStore):
    """A store that keeps every state of every notification."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kept = []

    def commit(self, change):
        super().commit(change)
        if change.notification is not None and change.notification.id.startswith("wh_"):
            self.kept.append(change.notification)


@pytest.fixture
def told(make_told):
    return make_told(store=Keeps)


def post(told, session_id, **options):
    headers, body = told.fake.webhook(session_id, id=options.pop("id", None))
    return told.payments.handle_webhook("fake", headers=headers, body=body, **options)


def rounds(told, count):
    """Let recovery come whenever the notification is due; return how long each wait was."""
    waits = []
    for _ in range(count):
        due = told.store.kept[-1].due_at
        waits.append((due - told.clock.now).total_seconds())
        told.clock.now = due
        assert told.payments.recover().notifications == 1
    return waits


def test_what_is_stored_before_it_is_acknowledged(told):
    session = told.session("requires_more")
    assert post(told, session.id, settle=False).body == "ok"
    (kept,) = told.store.kept
    assert (kept.provider, kept.type, kept.session_id) == ("fake", "account.changed", session.id)
    assert (kept.state, kept.attempts, kept.received_at) == ("received", 0, told.clock.now)
    assert kept.body == b'{"id": "evt_1", "session": "%s"}' % session.id.encode()
    assert kept.due_at == told.clock.now
    told.payments.recover()
    done = told.store.kept[-1]
    assert (done.id, done.state, done.attempts, done.due_at) == (kept.id, "processed", 1, None)
    assert done.body == b""  # it has been put to use
    assert told.payments.recover().notifications == 0


def test_one_without_an_id_is_never_a_duplicate(make_shop):
    class Nameless(FakeProvider):
        @hookimpl
        def parse_webhook(self, body):
            return [WebhookEvent(None, "t" * 300, references=[body.decode()])]

    told = make_shop(Nameless(), store=Keeps)
    session = told.session("requires_more")
    for _ in range(2):
        reply = told.payments.handle_webhook("fake", headers={}, body=session.reference.encode())
        assert (reply.status, reply.body) == (200, "ok")
    assert len({kept.id for kept in told.store.kept}) == 2
    assert {kept.state for kept in told.store.kept[1::2]} == {"processed"}
    assert {len(kept.type) for kept in told.store.kept} == {200}


def test_a_request_with_nothing_for_us_is_acknowledged(make_shop):
    class Other(FakeProvider):
        @hookimpl
        def parse_webhook(self):
            return []

    reply = make_shop(Other()).payments.handle_webhook("fake", headers={}, body=b"{}")
    assert (reply.status, reply.body) == (200, "nothing new")


def test_the_same_id_at_two_providers_is_two(told):
    session = told.session("requires_more")
    other = FakeProvider()
    told.payments = Payments(told.store, Registry({"fake": told.fake, "other": other}))
    post(told, session.id, id="evt")
    headers, body = other.webhook(session.id, id="evt")
    assert told.payments.handle_webhook("other", headers=headers, body=body).body == "ok"
    assert [kept.state for kept in told.store.kept] == ["received", "processed", "received", "received"]


def test_it_is_found_by_the_reference_of_an_operation(make_shop):
    class ByReference(FakeProvider):
        @hookimpl
        def parse_webhook(self, body):
            return [WebhookEvent(None, "t", session_id="ps_unknown", references=["nix", body.decode()])]

    told = make_shop(ByReference(), store=Keeps)
    session = told.session("captured")
    told.fake.refund_in_dashboard(session.id, Money("1.00", "EUR"))
    capture = told.payments.history(session.id)[-1]
    told.payments.handle_webhook("fake", headers={}, body=capture.reference.encode())
    assert told.payments.get(session.id).refunded == 100


@pytest.mark.parametrize(("session_id", "days"), [(None, 3), ("ps_later", 90)])
def test_one_that_matches_nothing_is_tried_at_growing_intervals_the_longer_if_it_names_a_session(
    told, session_id, days
):
    assert post(told, session_id).status == 200
    assert rounds(told, 10) == [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert (told.store.kept[-1].state, told.store.kept[-1].attempts) == ("received", 11)
    told.clock.now = told.store.kept[0].received_at + timedelta(days=3)
    if days > 3:
        told.payments.recover()
        assert rounds(told, 2) == [32_400, 36_450]  # an eighth of its age
    told.clock.now = told.store.kept[0].received_at + timedelta(days=days)
    done = told.payments.recover()
    assert (done.notifications, done.notifications_done) == (1, 1)
    assert (told.store.kept[-1].state, told.store.kept[-1].due_at) == ("unmatched", None)
    assert told.store.kept[-1].body == told.store.kept[0].body != b""


def test_of_two_workers_with_one_notification_the_second_leaves_what_the_first_wrote(told, caplog):
    session = told.session("requires_more")
    post(told, session.id, settle=False)
    (row,) = told.store.kept
    assert told.payments._inbox.settle(row)
    done = told.store.kept[-1]
    told.snapshot = NotApplied("it is down")
    assert not told.payments._inbox.settle(row)
    assert told.store.notification(row.id) == done
    assert caplog.text == ""  # it is no fault


def test_a_delivery_that_another_one_overtakes_is_acknowledged(told):
    session = told.session("requires_more")
    known = told.store.notification

    def overtaken(notification_id):
        told.store.notification = known
        assert post(told, session.id, id="e", settle=False).body == "ok"

    told.store.notification = overtaken
    reply = post(told, session.id, id="e")
    assert (reply.status, reply.body) == (200, "nothing new")
    assert [kept.state for kept in told.store.kept] == ["received"]


@pytest.mark.parametrize(
    "fault",
    [
        NotApplied("down"),
        ValueError("a fault of the plugin"),
        SessionBusy("busy"),
        ConfigurationError("gone"),
    ],
)
def test_one_that_cannot_be_settled_now_is_tried_again_for_as_long_as_it_takes(told, fault, caplog):
    session = told.session("requires_more")
    told.fake.authorize_in_browser(session.id)
    told.fake.snapshot = fault
    assert post(told, session.id).status == 200
    assert rounds(told, 3) == [20, 40, 80]
    told.clock.forward(days=4)
    told.payments.recover()
    assert told.store.kept[-1].state == "received"
    assert "could not be settled" not in caplog.text  # it is no fault of ours
    told.fake.snapshot = None
    told.clock.forward(hours=1)
    told.payments.recover()
    assert told.store.kept[-1].state == "processed"
    assert told.payments.get(session.id).status == "authorized"


def test_a_fault_of_our_own_does_not_lose_it(told, caplog):
    session = told.session("requires_more")
    told.fake.authorize_in_browser(session.id)
    find, told.store.operations = told.store.operations, lambda _: 1 / 0
    assert post(told, session.id).status == 200
    assert "could not be settled" in caplog.text
    kept = told.store.kept[-1]
    assert (kept.state, kept.attempts) == ("received", 1)
    assert kept.due_at == told.clock.now + timedelta(seconds=20)
    told.store.operations = find
    told.clock.forward(seconds=20)
    told.payments.recover()
    assert told.payments.get(session.id).status == "authorized"


def test_a_round_takes_no_more_than_it_is_told_to(told):
    for _ in range(3):
        post(told, "ps_later", settle=False)
    assert told.payments.recover(limit=2).notifications == 2
    assert told.payments.recover(limit=2).notifications == 1


def test_a_round_takes_no_more_sessions_than_it_is_told_to(told):
    for _ in range(3):
        told.session("requires_more")
    told.clock.forward(hours=1)
    told.fake.snapshot = NotApplied("down")
    assert told.payments.recover(limit=2).looked == 2
    assert told.payments.recover(limit=2).looked == 1


def test_a_body_is_taken_up_to_its_bound(told):
    def status(size):
        return told.payments.handle_webhook("fake", headers={}, body=b"x" * size).status

    assert MAX_BODY == 1_048_576
    assert (status(MAX_BODY), status(MAX_BODY + 1)) == (400, 413)


def test_what_is_refused_says_so_in_the_log(told, caplog):
    caplog.set_level(logging.WARNING, "paysession")
    told.payments.handle_webhook("fake", headers={}, body=b"{}")
    assert caplog.messages == ["a notification for fake was rejected: the signature does not match"]


def test_what_the_callers_time_does_not_last_for_is_left_to_recovery_untried(told):
    session = told.session("requires_more")
    assert told.payments._calls.until(time.monotonic(), lambda: post(told, session.id)).status == 200
    assert [(kept.state, kept.attempts) for kept in told.store.kept] == [("received", 0)]
    assert told.payments.recover().notifications_done == 1


def test_what_a_list_of_changes_names_and_a_notification_has_named_is_that_notifications_matter(told):
    session = told.session("requires_more")
    post(told, session.id, id="e", settle=False)
    event = WebhookEvent("e", "account.changed", session_id=session.id)
    assert told.payments._inbox.keep_listed("fake", event) is None
    assert len(told.store.kept) == 1


@pytest.mark.parametrize(
    ("lookup", "waits"), [("consistent", [20, 40]), ("lagging", [60])], ids=["consistent", "lagging"]
)
def test_what_comes_while_a_cancel_is_under_way_is_looked_into_again(make_told, lookup, waits):
    """What was authorized again meanwhile cannot be told from what the cancel is to release."""
    told = make_told(lookup=lookup, store=Keeps)
    session = told.session()
    told.fake.answers["cancel"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.cancel(session.id)
    told.fake.snapshot = Snapshot("authorized", session_id=session.id, authorized=eur("42.00"))
    told.clock.forward(hours=1)
    post(told, session.id)
    assert rounds(told, len(waits)) == waits
    del told.fake.answers["cancel"]
    told.fake.snapshot = None
    told.clock.now = told.store.kept[-1].due_at
    told.payments.recover()
    assert (told.store.kept[-1].due_at, told.payments.get(session.id).status) == (None, "canceled")


def test_one_that_is_first_looked_into_after_the_lag_is_not_looked_into_again(make_told):
    told = make_told(lookup="lagging", store=Keeps)
    session = told.session("requires_more")
    post(told, session.id, settle=False)
    told.clock.forward(minutes=1)
    assert told.payments.recover().notifications_done == 1
    assert told.store.kept[-1].due_at is None


class Statements(FakeProvider):
    """A gateway that cannot be queried, and whose notifications say what a test does."""

    events = ()

    def __init__(self):
        super().__init__(lookup="none")
        self.capabilities = evolve(self.capabilities, keyed_effects=False)

    @hookimpl
    def parse_webhook(self):
        return self.events


@pytest.fixture
def statements(make_shop):
    return make_shop(Statements(), store=Keeps)


def test_a_refund_of_a_capture_that_is_not_known_yet_waits_for_three_days(statements):
    session = statements.session("captured")
    refund = Effect("refund", eur("5.00"), reference="r1", capture="unknown")
    statements.fake.events = [
        WebhookEvent("e", "t", session_id=session.id, effects=[refund], data={"batch": 1})
    ]
    statements.payments.handle_webhook("fake", headers={}, body=b"{}")
    waiting = statements.store.kept[-1]
    assert (waiting.state, waiting.details) == ("received", "{}")  # its data was put to use
    assert statements.payments.get(session.id).data["batch"] == 1
    assert rounds(statements, 3) == [20, 40, 80]
    statements.clock.now = waiting.received_at + timedelta(days=3, microseconds=-1)
    statements.payments.recover()
    assert statements.payments.get(session.id).refunded == 0
    statements.clock.now = waiting.received_at + timedelta(days=3)
    statements.payments._inbox.settle(statements.store.notification(waiting.id))
    assert statements.payments.get(session.id).refunded == 500


@pytest.mark.parametrize(("before", "captured"), [(timedelta(hours=1), [500, 500]), (timedelta(0), [500])])
def test_what_a_notification_says_to_be_from_before_an_operation_in_doubt_is_another_effect(
    statements, before, captured
):
    session = statements.session()
    statements.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        statements.payments.capture(session.id, eur("5.00"))
    effect = Effect("capture", eur("5.00"), reference="c1", created_at=statements.clock() - before)
    statements.fake.events = [WebhookEvent("e", "t", session_id=session.id, effects=[effect])]
    statements.payments.handle_webhook("fake", headers={}, body=b"{}")
    assert statements.payments.get(session.id).in_doubt == (len(captured) > 1)
    rows = [row for row in statements.payments.history(session.id) if row.kind == "capture"]
    assert [row.amount.minor for row in rows] == captured


def test_notifications_without_a_session_are_listed_once_however_many_there_are(told):
    """Those that have found theirs since stand between them."""
    session = told.session("requires_more")
    names = sorted(
        (f"e{number}" for number in range(120)), key=lambda name: sha256(f"fake\n{name}".encode()).hexdigest()
    )
    for place, name in enumerate(names):
        post(told, session.id if place % 2 == 0 else "ps_later", id=name, settle=False)
    ids = [row.id for row in told.store.kept]
    assert [row.id for row in told.payments.unmatched(limit=1000)] == ids[1::2]
    assert [row.id for row in told.payments.unmatched(limit=2)] == ids[1:4:2]
    assert [row.id for row in told.payments.unmatched(limit=2, after=ids[1])] == ids[3:6:2]
