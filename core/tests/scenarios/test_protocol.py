"""Doubt and what settles it: one effect at the gateway for each operation, whatever goes wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from helpers import eur
from paysession import (
    Capabilities,
    Declined,
    InvalidAmount,
    InvalidData,
    MemoryStore,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    PaysessionError,
    SessionBusy,
    hookimpl,
)
from paysession.provider import Snapshot
from paysession_testing import FakeProvider

SENT = ("lost_answer", "raises", "none", "wrong_type", "wrong_amount", "wrong_currency")
"""Faults after which the gateway has done it."""
KINDS = ("update", "authorize", "capture", "refund", "cancel")


def act(shop, kind, session=None, **options):
    """Do one operation of a kind on a session that allows it."""
    before = {"update": "requires_more", "authorize": "requires_more", "refund": "captured"}
    session = session or shop.session(before.get(kind, "authorized"))
    arguments = (eur("40.00"),) if kind == "update" else ()
    return session.id, lambda: getattr(shop.payments, kind)(session.id, *arguments, **options)


def done(shop, session_id, kind):
    session = shop.payments.get(session_id)
    return {
        "update": session.amount == eur("40.00"),
        "authorize": session.status == "authorized",
        "capture": session.captured == 4200,
        "refund": session.refunded == 4200,
        "cancel": session.status == "canceled",
    }[kind]


def effects(shop, session_id, kind):
    return sum(row.kind == kind and row.session_id == session_id for row in shop.fake.ledger)


@pytest.mark.parametrize("kind", ["authorize", "capture", "refund", "cancel"])
@pytest.mark.parametrize("fault", SENT)
def test_a_lost_answer_is_looked_up_within_the_call(shop, kind, fault):
    session_id, call = act(shop, kind)
    shop.fake.fail_next(fault, kind=kind)
    call()
    assert done(shop, session_id, kind)
    assert effects(shop, session_id, kind) == 1
    assert not shop.payments.in_doubt()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [*SENT, "timeout"])
def test_without_a_lookup_recovery_sends_again_under_the_same_key(make_shop, kind, fault):
    shop = make_shop(FakeProvider(lookup="none"))
    session_id, call = act(shop, kind)
    shop.fake.fail_next(fault, kind=kind)
    with pytest.raises(OutcomeUnknown) as caught:
        call()
    assert (session_id, True) == (caught.value.session_id, shop.payments.get(session_id).in_doubt)
    assert caught.value.operation_id == shop.payments.in_doubt()[0].operation.id
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert done(shop, session_id, kind)
    assert len({key for name, key in shop.fake.calls if name == kind}) == 1
    assert effects(shop, session_id, kind) == (kind != "update")
    assert not shop.payments.in_doubt()


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_arrived_stays_in_doubt_until_it_is_sent_again(shop, kind):
    session_id, call = act(shop, kind)
    shop.fake.fail_next("timeout", kind=kind)
    with pytest.raises(OutcomeUnknown):
        call()
    assert not done(shop, session_id, kind)
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert done(shop, session_id, kind)
    assert effects(shop, session_id, kind) == (kind != "update")


@pytest.mark.parametrize("fault", [*SENT, "timeout"])
def test_doubt_at_initiate_is_settled_and_bars_nothing(shop, fault):
    shop.fake.fail_next(fault, kind="initiate")
    try:
        session_id = shop.payments.initiate(shop.order.id, provider="fake").id
    except OutcomeUnknown as error:
        session_id = error.session_id
        other = shop.session()  # another session pays meanwhile
        shop.payments.cancel(other.id)
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    session = shop.payments.get(session_id)
    assert (session.status, session.in_doubt) == ("requires_more", False)
    assert shop.payments.authorize(session_id).status == "authorized"


@pytest.mark.parametrize("kind", KINDS)
def test_not_applied_is_certain_and_may_be_tried_again(shop, kind):
    session_id, call = act(shop, kind)
    before = shop.payments.get(session_id)
    shop.fake.fail_next("not_applied", kind=kind)
    with pytest.raises(NotApplied):
        call()
    after = shop.payments.get(session_id)
    assert (before.status, before.held, None) == (after.status, after.held, after.open)
    call()
    assert done(shop, session_id, kind)


def test_a_callers_key_resumes_the_operation_in_doubt(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    session_id, call = act(shop, "capture", idempotency_key="k")
    shop.fake.fail_next("lost_answer", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    assert call().captured_amount == eur("42.00")
    assert effects(shop, session_id, "capture") == 1


def test_another_operation_waits_for_the_one_in_doubt(make_shop):
    shop = make_shop(FakeProvider(lookup="none", replay_window=timedelta(0)))
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("lost_answer", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    for other in (shop.payments.capture, shop.payments.refund):
        with pytest.raises(SessionBusy, match="in doubt"):
            other(session_id)
    (doubt,) = shop.payments.in_doubt()
    assert doubt.needs_operator
    assert effects(shop, session_id, "capture") == 1


@pytest.mark.parametrize("key", [None, "k"])
def test_a_call_settles_the_doubt_that_stands_before_it_and_goes_on(shop, key):
    session = shop.session()
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, eur("10.00"))
    shop.clock.forward(minutes=2)
    after = shop.payments.capture(session.id, eur("5.00"), idempotency_key=key)
    assert (after.captured, after.open, after) == (1500, None, shop.payments.get(session.id))
    assert shop.fake.total(session.id, "capture") == 1500


def test_a_call_that_finds_all_done_once_doubt_is_settled_returns_the_session_as_it_is_then(shop):
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    shop.clock.forward(minutes=2)
    session = call()
    assert (session.captured, session.open, session) == (4200, None, shop.payments.get(session_id))
    assert effects(shop, session_id, "capture") == 1


def test_a_repeated_call_that_is_done_is_answered_while_another_is_in_flight(told):
    session = told.session()
    done = told.payments.capture(session.id, eur("10.00"), idempotency_key="k").captured
    again = []

    def meanwhile():
        again.append(told.payments.capture(session.id, eur("10.00"), idempotency_key="k"))

    told.fake.meanwhile["capture"] = meanwhile
    assert told.payments.capture(session.id, eur("5.00")).captured == 1500
    assert [(row.captured, row.in_doubt) for row in again] == [(done, True)]
    assert told.fake.total(session.id, "capture") == 1500


def test_another_session_cannot_authorize_while_one_is_in_doubt(make_shop):
    shop = make_shop(FakeProvider(lookup="none"))
    one, two = shop.session("requires_more"), shop.session("requires_more")
    shop.fake.fail_next("timeout", kind="authorize")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(one.id)
    with pytest.raises(InvalidAmount):
        shop.payments.authorize(two.id)


@pytest.mark.parametrize("lookup", ["consistent", "none"])
def test_after_the_key_has_expired_nothing_is_sent_again(make_shop, lookup):
    shop = make_shop(FakeProvider(lookup=lookup, replay_window=timedelta(hours=1)))
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    calls = len(shop.fake.calls)
    shop.clock.forward(hours=2)
    shop.payments.recover()
    assert calls == len(shop.fake.calls)
    if lookup == "none":
        assert shop.payments.in_doubt()[0].needs_operator  # nobody can tell
    else:
        assert shop.payments.history(session_id)[-1].state == "not_applied"  # the gateway can
        assert shop.payments.capture(session_id).captured_amount == eur("42.00")


def test_a_lookup_that_lags_is_waited_for(make_shop):
    class Lagging(FakeProvider):
        hidden = True

        @hookimpl
        def retrieve(self, session):
            snapshot = super().retrieve(session)
            return Snapshot.absent() if self.hidden else snapshot

    fake = Lagging()
    fake.capabilities = Capabilities(
        capture="multiple",
        lookup="lagging",
        lookup_lag=timedelta(minutes=5),
        replay_window=timedelta(hours=24),
    )
    shop = make_shop(fake)
    session_id, call = act(shop, "capture")
    fake.fail_next("lost_answer", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    calls = len(fake.calls)
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert shop.payments.get(session_id).in_doubt
    assert calls == len(fake.calls)
    fake.hidden = False
    shop.clock.forward(minutes=4)
    shop.payments.recover()
    assert done(shop, session_id, "capture")
    assert effects(shop, session_id, "capture") == 1


def test_a_replayed_decline_does_not_outweigh_what_the_gateway_shows(make_shop):
    class Replays(FakeProvider):
        """Its first answer to the key was a decline; the effect happened all the same."""

        @hookimpl
        def capture(self, session, operation):
            if not effects_of(self, "capture"):
                self._effect(self._account(session.id), operation.kind, operation.amount, "")
                self.blind = True
                raise OutcomeUnknown("reset")
            self.blind = False
            raise Declined("card_declined", "a replay")

        @hookimpl
        def retrieve(self, session):
            if getattr(self, "blind", False):
                raise NotApplied("down")
            return super().retrieve(session)

    def effects_of(fake, kind):
        return [row for row in fake.ledger if row.kind == kind]

    fake = Replays()
    shop = make_shop(fake)
    session_id, call = act(shop, "capture")
    with pytest.raises(OutcomeUnknown):
        call()
    fake.blind = False
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert done(shop, session_id, "capture")


def test_recovery_does_not_send_again_while_the_lookup_is_down(shop):
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    calls = len(shop.fake.calls)
    account = shop.fake._accounts
    shop.fake._accounts = None  # the lookup raises
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert (calls, True) == (len(shop.fake.calls), shop.payments.get(session_id).in_doubt)
    shop.fake._accounts = account
    shop.clock.forward(minutes=2)
    shop.payments.recover()
    assert done(shop, session_id, "capture")


def test_recovery_waits_longer_each_time_and_never_gives_up(make_shop):
    shop = make_shop(FakeProvider(lookup="none", replay_window=timedelta(0)))
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        call()
    waits = []
    for _ in range(15):
        due = shop.payments.get(session_id).due_at
        waits.append((due - shop.clock.now).total_seconds())
        shop.clock.now = due
        assert shop.payments.recover().waiting == (session_id,)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 3600


# --- crashes: a process that dies between two lines -----------------------------------------------


class Crash(BaseException):
    pass


class CrashingStore(MemoryStore):
    """A store whose process dies at its n-th commit from now, before or after it is made."""

    before = after = None

    def commit(self, change):
        if self.before is not None:
            self.before -= 1
            if self.before < 0:
                self.before = None
                raise Crash
        super().commit(change)
        if self.after is not None:
            self.after -= 1
            if self.after < 0:
                self.after = None
                raise Crash


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("point", "commits"), [("after", 0), ("before", 1), ("after", 1)], ids=["begun", "answered", "finished"]
)
def test_a_process_that_dies_leaves_what_recovery_settles(make_shop, kind, point, commits):
    shop = make_shop(store=CrashingStore)
    store = shop.store
    session_id, call = act(shop, kind)
    setattr(store, point, commits)
    with pytest.raises(Crash):
        call()
    if (point, commits) != ("after", 1):
        assert shop.payments.get(session_id).in_doubt
        with pytest.raises(SessionBusy):
            call()  # somebody may be at it: the lease lives
        shop.clock.forward(minutes=5)
        shop.payments.recover()
    assert done(shop, session_id, kind)
    assert effects(shop, session_id, kind) == (kind != "update")
    types = [event.type for event in shop.payments.events() if event.session_id == session_id]
    assert len(types) == len(set(types))


def test_an_initiate_that_died_is_resumed_by_its_key(make_shop):
    shop = make_shop(store=CrashingStore)
    shop.store.before = 1
    with pytest.raises(Crash):
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    shop.clock.forward(minutes=5)
    session = shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="k")
    assert session.status == "requires_more"
    assert len(shop.payments.sessions()) == len(shop.fake._accounts) == 1


class Overtaken(MemoryStore):
    """A store in which something else happens just before a commit."""

    first = None

    def commit(self, change):
        first, self.first = self.first, None
        if first is not None:
            first()
        super().commit(change)


@pytest.mark.parametrize("kind", ["authorize", "cancel"])
def test_a_call_that_another_one_has_done_meanwhile_returns_what_that_made(make_shop, kind):
    shop = make_shop(store=Overtaken)
    session_id, call = act(shop, kind)
    shop.store.first = call
    session = call()
    assert done(shop, session_id, kind)
    assert session == shop.payments.get(session_id)
    assert effects(shop, session_id, kind) == 1


def test_a_payer_who_returns_while_a_notification_authorizes_sees_the_result(make_shop):
    shop = make_shop(store=Overtaken)
    session_id, call = act(shop, "authorize")
    shop.store.first = call
    assert shop.payments.resume(session_id).status == "authorized"
    assert effects(shop, session_id, "authorize") == 1


def test_a_process_paused_before_it_sent_sends_nothing(make_shop):
    class Paused(MemoryStore):
        """Time passes between the commit of begin and the call."""

        pause = False

        def commit(self, change):
            super().commit(change)
            if self.pause:
                self.pause = False
                shop.clock.forward(seconds=31)  # its call could end after its lease

    shop = make_shop(store=Paused)
    session = shop.session()
    shop.store.pause = True
    with pytest.raises(NotApplied, match="paused"):
        shop.payments.capture(session.id)
    assert effects(shop, session.id, "capture") == 0
    assert shop.payments.capture(session.id).captured_amount == eur("42.00")


def test_a_call_that_hangs_past_its_lease_is_overtaken(make_shop):
    shop = make_shop(FakeProvider())
    session = shop.session()

    def recovery_takes_over():
        shop.clock.forward(minutes=5)
        shop.payments.recover()

    shop.fake.fail_next("lost_answer", kind="capture", then=recovery_takes_over)
    session = shop.payments.capture(session.id)
    assert session.captured_amount == eur("42.00")
    assert effects(shop, session.id, "capture") == 1
    assert [row.type for row in shop.payments.events()].count("session.captured") == 1


def test_a_late_answer_that_contradicts_is_kept_and_looked_up(make_shop):
    class Late(FakeProvider):
        @hookimpl
        def capture(self, session, operation):
            shop.clock.forward(minutes=5)
            shop.payments.resolve(operation.id, NotApplied("a person was told so"), note="by ann")
            return super().capture(session, operation)

    shop = make_shop(Late())
    session = shop.session()
    with pytest.raises(PaysessionError):
        shop.payments.capture(session.id)
    session = shop.payments.get(session.id)
    assert session.captured_amount == eur("42.00")  # the gateway's truth is in the ledger
    assert session.conflict == "effect_after_refusal"
    assert "late answer" in shop.payments.history(session.id)[2].note


# --- at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyed", [True, False])
def test_32_threads_capture_once(make_shop, keyed):
    shop = make_shop()
    session = shop.session()
    barrier = threading.Barrier(32)

    def capture(_):
        barrier.wait()
        try:
            return shop.payments.capture(session.id, idempotency_key="k" if keyed else None).captured
        except SessionBusy:
            return "busy"

    with ThreadPoolExecutor(32) as pool:
        answers = set(pool.map(capture, range(32)))
    assert answers <= {4200, "busy"}
    assert 4200 in answers
    assert effects(shop, session.id, "capture") == 1
    assert [kind for kind, _ in shop.fake.calls].count("capture") == 1


def test_captures_at_once_never_exceed_what_is_authorized(shop):
    session = shop.session()
    barrier = threading.Barrier(8)

    def capture(_):
        barrier.wait()
        for _ in range(5):
            try:
                shop.payments.capture(session.id, eur("10.00"))
            except (SessionBusy, InvalidAmount):
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(capture, range(8)))
    assert shop.payments.get(session.id).captured == shop.fake.total(session.id, "capture") <= 4000


def test_two_sessions_of_one_collection_authorize_at_once_and_one_wins(shop):
    sessions = [shop.session("requires_more") for _ in range(8)]
    barrier = threading.Barrier(8)

    def authorize(session):
        barrier.wait()
        try:
            return shop.payments.authorize(session.id).status
        except InvalidAmount:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(authorize, sessions))
    assert (answers.count("authorized"), answers.count("refused")) == (1, 7)
    assert shop.payments.collection(shop.order.id).held == 4200


def test_no_lock_of_the_store_is_held_while_the_provider_is_called(shop):
    session = shop.session()
    finished = []

    def another_writes():
        def write():
            shop.payments.create_collection(eur("1"), reference="x")

        thread = threading.Thread(target=write)
        thread.start()
        thread.join(timeout=10)
        finished.append(not thread.is_alive())

    shop.fake.fail_next("lost_answer", kind="capture", then=another_writes)
    shop.payments.capture(session.id)
    assert finished == [True]


# --- a cancel that waits, and an operator's resolution -----------------------------------------------------


def test_a_cancel_asked_for_in_doubt_is_remembered(make_shop):
    class Down(FakeProvider):
        down = False

        @hookimpl
        def authorize(self, session, operation):
            if self.down:
                super().authorize(session, operation)
                raise OutcomeUnknown("down")
            return super().authorize(session, operation)

        @hookimpl
        def retrieve(self, session):
            if self.down:
                raise NotApplied("down")
            return super().retrieve(session)

    shop = make_shop(Down())
    session = shop.session("requires_more")
    shop.fake.down = True
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    with pytest.raises(OutcomeUnknown, match="remembered"):
        shop.payments.cancel(session.id)
    assert effects(shop, session.id, "cancel") == 0
    shop.fake.down = False
    shop.settle()
    assert shop.payments.get(session.id).status == "canceled"
    assert [row.kind for row in shop.fake.ledger] == ["authorize", "cancel"]
    assert shop.payments.collection(shop.order.id).held == 0


@pytest.mark.parametrize(
    ("outcome", "state", "captured"),
    [
        (Outcome.captured(eur("42.00"), reference="fx"), "succeeded", 4200),
        (Declined("no", "said the bank"), "declined", 0),
        (NotApplied("never arrived"), "not_applied", 0),
    ],
)
def test_a_person_resolves_what_nobody_else_can(make_shop, outcome, state, captured):
    shop = make_shop(FakeProvider(lookup="none", replay_window=timedelta(0)))
    session_id, call = act(shop, "capture")
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown) as caught:
        call()
    with pytest.raises(InvalidData):
        shop.payments.resolve(caught.value.operation_id, Outcome.refunded(eur("1")), note="n")
    session = shop.payments.resolve(caught.value.operation_id, outcome, note="ann, by phone")
    operation = shop.payments.history(session_id)[-1]
    assert (operation.state, operation.note, session.captured) == (state, "ann, by phone", captured)
    assert not session.in_doubt


def test_the_payload_of_the_browser_is_erased_when_the_operation_closes(shop):
    seen = []

    class Spy(FakeProvider):
        @hookimpl
        def authorize(self, session, operation):
            seen.append(operation.payload)
            return super().authorize(session, operation)

    shop = type(shop)(Spy())
    session = shop.session("requires_more")
    session = shop.payments.resume(session.id, payload={"token": "t"})
    operation = shop.payments.history(session.id)[-1]
    assert seen == [{"token": "t"}]
    assert (operation.payload, operation.origin) == ({}, "payer")
