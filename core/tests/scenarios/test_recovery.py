"""What recovery does with an operation in doubt, at which moment, and with which parts of the session."""

from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Declined,
    MemoryStore,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Payments,
    SessionBusy,
    hookimpl,
)
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, Snapshot
from paysession.store import Stale
from paysession_testing import FakeProvider

DAY, HOUR, GRACE = timedelta(hours=24), timedelta(hours=1), timedelta(minutes=10)
CALL = timedelta(seconds=60)
LATEST = DAY - CALL - timedelta(minutes=2)
UNANSWERED = "no answer within the time limit"


class Restless(MemoryStore):
    """A store of sessions that move all the time, once a test says so."""

    restless = False

    def commit(self, change):
        if self.restless and change.session is not None:
            raise Stale(change.session.id)
        super().commit(change)


def doubt(told, kind="capture", *arguments):
    """Leave an operation in doubt that never arrived, and return its session's id."""
    session = told.session({"capture": "authorized", "refund": "captured"}.get(kind, "requires_more"))
    told.fake.fail_next("timeout", kind=kind)
    with pytest.raises(OutcomeUnknown):
        getattr(told.payments, kind)(session.id, *arguments)
    return session.id


def sent(told, kind="capture"):
    return [name for name, _ in told.fake.calls].count(kind)


# --- a call that meets doubt ----------------------------------------------------------------------


def lose(told, fault, kind, session_id):
    """Leave an operation of 5.00 in doubt, whether it happened or not; then the gateway can be queried."""
    told.fake.fail_next(fault, kind=kind)
    told.fake.snapshot = NotApplied("away")
    with pytest.raises(OutcomeUnknown):
        getattr(told.payments, kind)(session_id, eur("5.00"))
    told.fake.snapshot = None


@pytest.mark.parametrize("fault", ["timeout", "lost_answer"])
@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_a_call_without_a_key_that_finds_itself_in_doubt_is_that_call_once(told, kind, fault):
    session = told.session("captured" if kind == "refund" else "authorized")
    lose(told, fault, kind, session.id)
    before = told.fake.total(session.id, kind)
    assert before == (0 if fault == "timeout" else 500)
    for minor in (500, 1000):  # nothing is in doubt any more: the next one is another
        session = getattr(told.payments, kind)(session.id, eur("5.00"))
        assert (session.refunded if kind == "refund" else session.captured) == minor
        assert told.fake.total(session.id, kind) == minor


@pytest.mark.parametrize(("amount", "key"), [("5.00", "ship-1"), ("6.00", None)])
def test_a_call_that_finds_another_in_doubt_is_carried_out_after_it(told, amount, key):
    session = told.session()
    lose(told, "lost_answer", "capture", session.id)
    session = told.payments.capture(session.id, eur(amount), idempotency_key=key)
    assert session.captured_amount == eur("5.00") + eur(amount)


# --- when it sends again, and when it stops -------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "again"),
    [(LATEST - timedelta(seconds=1), True), (LATEST, False), (DAY - CALL, False), (DAY, False)],
)
def test_it_sends_again_only_while_the_gateway_surely_keeps_the_key(make_told, after, again):
    """A call that takes its whole time limit, and is carried out 2 minutes after that, is still within the window."""
    told = make_told(lookup="none", replay_window=DAY)
    session_id = doubt(told)
    told.clock.now += after
    told.payments.recover()
    assert (sent(told), told.payments.get(session_id).in_doubt) == (int(again), not again)
    assert [row.reason for row in told.payments.in_doubt()] == ([] if again else [UNANSWERED])


def test_each_kind_has_its_own_window(told):
    told.fake.capabilities = evolve(told.fake.capabilities, lookup="none", replay_window={"capture": HOUR})
    told = type(told)(told.fake)
    session_id = doubt(told)
    assert not told.payments.in_doubt()[0].needs_operator
    told.clock.forward(minutes=30)
    told.payments.recover()
    assert told.payments.get(session_id).captured == 4200
    told.fake.fail_next("timeout", kind="refund")
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session_id)
    assert told.payments.in_doubt()[0].needs_operator  # refunds have none: nobody may repeat it
    told.clock.forward(minutes=30)
    told.payments.recover()
    assert sent(told, "refund") == 0


def test_an_update_of_what_the_gateway_does_not_know_did_not_happen(told):
    """A gateway that hears of a payment only when it is authorized has nothing that could be updated."""
    told.fake.capabilities = evolve(told.fake.capabilities, replay_window={})
    told = type(told)(told.fake)
    session_id = doubt(told, "update", Money("40.00", "EUR"))
    told.fake.snapshot = Snapshot.absent()
    told.clock.now += GRACE
    told.payments.recover()
    assert [row.state for row in told.payments.history(session_id)] == ["succeeded", "not_applied"]
    assert told.payments.get(session_id).amount == Money("42.00", "EUR")


@pytest.mark.parametrize(
    ("after", "state"),
    [(HOUR + GRACE - timedelta(seconds=1), "started"), (HOUR + GRACE, "not_applied")],
)
def test_what_the_gateway_does_not_show_long_after_the_last_send_did_not_happen(make_told, after, state):
    told = make_told(replay_window=HOUR)
    session_id = doubt(told)
    told.clock.now += after
    listed = told.payments.in_doubt()[0]
    assert listed.needs_operator == (state == "not_applied")
    told.payments.recover()
    operation = told.payments.history(session_id)[-1]
    assert (operation.state, sent(told)) == (state, 0)
    if state == "not_applied":
        assert operation.error.code == "not_applied"
        assert "no trace of it" in operation.error.message
        assert told.told()[-1] == "operation.failed"


def test_a_lookup_that_lags_for_long_is_given_its_time(told):
    lag = timedelta(hours=3)
    told.fake.capabilities = evolve(
        told.fake.capabilities, lookup="lagging", lookup_lag=lag, replay_window=HOUR
    )
    told = type(told)(told.fake)
    session_id = doubt(told)
    for after, open_ in (
        (GRACE, True),
        (lag - HOUR - GRACE, True),
        (HOUR, True),
        (HOUR + timedelta(minutes=2), False),
    ):
        told.clock.now += after
        assert told.payments.in_doubt()[0].needs_operator != open_
        told.payments.recover()
        assert told.payments.get(session_id).in_doubt == open_
        # Nobody is at it after the look, and what was known of it stays known.
        assert [row.reason for row in told.payments.in_doubt()] == [UNANSWERED] * open_
    assert sent(told) == 0


def test_right_after_the_lag_it_sends_again(told):
    lag = timedelta(minutes=5)
    told.fake.capabilities = evolve(told.fake.capabilities, lookup="lagging", lookup_lag=lag)
    told = type(told)(told.fake)
    session_id = doubt(told)
    told.clock.now += lag
    told.payments.recover()
    assert told.payments.get(session_id).captured == 4200


@pytest.mark.parametrize("kind", ["capture", "refund", "update"])
def test_a_snapshot_that_does_not_tell_of_a_kind_proves_nothing_about_it(make_told, kind):
    told = make_told(replay_window=timedelta(0))
    session_id = doubt(told, kind, *([eur("40.00")] if kind == "update" else []))
    told.fake.snapshot = Snapshot("requires_more" if kind == "update" else "authorized")
    told.settle()
    assert told.payments.get(session_id).in_doubt
    assert told.payments.in_doubt()[0].needs_operator


def test_an_initiate_that_nobody_can_tell_of_is_abandoned_in_the_end(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    told.fake.fail_next("timeout")
    with pytest.raises(OutcomeUnknown) as caught:
        told.session()
    told.clock.now += GRACE - timedelta(seconds=1)
    told.payments.recover()
    assert told.payments.get(caught.value.session_id).in_doubt
    told.settle()
    session = told.payments.get(caught.value.session_id)
    assert (session.status, session.open, session.due_at) == ("canceled", None, None)
    assert told.told() == ["session.canceled"]


def test_without_its_provider_only_a_person_can_tell(told):
    session_id = doubt(told)
    without = Payments(told.store, Registry({"other": FakeProvider()}))
    (listed,) = without.in_doubt()
    assert (listed.operation.session_id, listed.needs_operator) == (session_id, True)
    told.clock.forward(minutes=1)
    assert without.recover().waiting == (session_id,)
    assert without.get(session_id).due_at > told.clock.now
    told.settle()
    assert told.payments.get(session_id).captured == 4200


def test_where_its_provider_cannot_be_loaded_it_is_no_operators_while_the_gateway_is_down(told):
    session_id = doubt(told)
    told.fake.snapshot = NotApplied("down")
    told.clock.forward(days=3)
    told.payments.recover()
    elsewhere = Payments(told.store, Registry({"fake": object()}))
    (listed,) = elsewhere.in_doubt()
    assert (listed.operation.session_id, listed.reason, listed.needs_operator) == (session_id, "down", False)


def test_what_a_dead_process_left_says_so(make_told):
    class Dies(BaseException):
        pass

    told = make_told(lookup="none", replay_window=timedelta(0))
    one, two = (told.payments.initiate(told.order.id, provider="fake", amount=eur("10.00")) for _ in "12")

    def dies():
        raise Dies

    for session in (one, two):
        told.fake.meanwhile["authorize"] = dies
        with pytest.raises(Dies):
            told.payments.authorize(session.id)
        told.clock.forward(seconds=44)
    assert all(row.leased_until for row in told.payments.in_doubt())
    told.clock.forward(seconds=2)
    assert [
        (row.reason, row.age.total_seconds(), bool(row.leased_until)) for row in told.payments.in_doubt()
    ] == [("the process that sent it is gone", 90, False), ("it is in progress", 46, True)]
    told.clock.forward(seconds=44)
    assert [row.operation.session_id for row in told.payments.in_doubt()] == [one.id, two.id]
    assert [row.operation.session_id for row in told.payments.in_doubt(limit=1)] == [one.id]


def test_what_a_dead_process_sent_is_taken_over_at_the_moment_its_lease_ends(told):
    session = told.session()

    def dies():
        raise KeyboardInterrupt

    told.fake.meanwhile["capture"] = dies
    with pytest.raises(KeyboardInterrupt):
        told.payments.capture(session.id)
    lease_until = told.payments.history(session.id)[-1].lease_until
    told.clock.now = lease_until - timedelta(microseconds=1)
    with pytest.raises(SessionBusy, match="in flight"):
        told.payments.capture(session.id)
    told.clock.now = lease_until
    assert told.payments.capture(session.id).captured == 4200
    assert told.fake.total(session.id, "capture") == 4200


def test_an_operation_in_flight_does_not_hide_those_in_doubt(make_told):
    told = make_told(lookup="none")
    one, two = (told.payments.initiate(told.order.id, provider="fake", amount=eur("10.00")) for _ in "12")
    told.fake.answers["authorize"] = OutcomeUnknown("reset")
    listed = []
    told.fake.meanwhile["authorize"] = lambda: (
        _suppressed(lambda: told.payments.authorize(two.id)),
        listed.extend(told.payments.in_doubt()),
    )
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(one.id)
    assert [row.operation.session_id for row in listed if not row.leased_until] == [two.id]


def _suppressed(call):
    with pytest.raises(OutcomeUnknown):
        call()


def test_a_fault_with_one_session_does_not_keep_recovery_from_the_others(told, caplog):
    bad, good = (told.payments.initiate(told.order.id, provider="fake", amount=eur("10.00")).id for _ in "12")
    told.fake.authorize_in_browser(bad)
    told.fake.authorize_in_browser(good)
    rows = told.store.operations
    told.store.operations = lambda id_: rows(id_) if id_ != bad else 1 / 0
    told.clock.forward(hours=1)
    done = told.payments.recover()
    assert (done.looked, done.settled, done.waiting) == (2, (good,), (bad,))
    assert told.payments.get(good).status == "authorized"
    assert f"session {bad} could not be looked into" in caplog.text
    assert told.payments.get(bad).due_at > told.clock.now
    told.store.operations = rows
    told.settle()
    assert told.payments.get(bad).status == "authorized"


# --- what it sends, and whom it asks about --------------------------------------------------------


class Records(FakeProvider):
    """Keeps what its hooks were shown, and answers authorize and retrieve as a test says."""

    def __init__(self, **options):
        super().__init__(**options)
        self.shown, self.asked, self.says, self.down = [], [], [], False

    @hookimpl
    def authorize(self, session, operation):
        self.shown.append(
            (session.data, session.reference, session.status, operation.key, operation.webhook_url)
        )
        if self.says:
            raise self.says.pop(0)
        return super().authorize(session, operation)

    @hookimpl
    def retrieve(self, session, operation):
        self.asked.append(operation and operation.id)
        if self.down:
            raise NotApplied("down", data={"lookup": 1}, reference="from the lookup")
        return super().retrieve(session)


def test_it_sends_the_session_as_it_was_when_the_operation_began(make_shop):
    shop = make_shop(Records(lookup="none"))
    shop.payments = Payments(shop.store, Registry({"fake": shop.fake}), public_url="https://shop")
    session = shop.session("requires_more")
    shop.fake.says = [
        OutcomeUnknown("reset", data={"step": 2}, reference="pi_2"),
        NotApplied("refused", data={"step": 3}, reference="pi_3"),
    ]
    with pytest.raises(OutcomeUnknown, match="reset"):
        shop.payments.authorize(session.id)
    after = shop.payments.get(session.id)
    assert (after.data, after.reference) == ({"step": 2}, "pi_2")
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    after = shop.payments.get(session.id)
    assert (after.data, after.reference, after.in_doubt) == ({"step": 3}, "pi_3", True)
    assert shop.payments.in_doubt()[0].reason == "refused"
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    assert shop.payments.get(session.id).status == "authorized"
    first, *others = shop.fake.shown
    assert first == (
        session.data,
        session.reference,
        "requires_more",
        shop.key(session.id, 2),
        "https://shop/webhooks/fake",
    )
    assert others == [first, first]


def test_not_applied_when_sent_again_says_nothing_of_the_first_time(make_shop):
    shop = make_shop(Records(lookup="none"))
    session = shop.session("requires_more")
    shop.fake.says = [OutcomeUnknown("reset"), NotApplied("connection refused")]
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    (listed,) = shop.payments.in_doubt()
    assert (listed.reason, listed.operation.state) == ("connection refused", "started")
    assert shop.payments.get(session.id).held == 4200


def test_what_a_failed_lookup_learnt_is_kept(make_shop):
    shop = make_shop(Records())
    session = shop.session("requires_more")
    shop.fake.says, shop.fake.down = [OutcomeUnknown("reset")], True
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    after = shop.payments.get(session.id)
    assert (after.data, after.reference) == ({"lookup": 1}, "from the lookup")
    assert shop.payments.in_doubt()[0].reason == "down"
    assert len(shop.fake.shown) == 1


def test_the_gateway_is_asked_about_the_operation_in_doubt(make_shop):
    """Once when the answer is lost, once before it is sent again, and once more if that fails too."""
    shop = make_shop(Records())
    session = shop.session("requires_more")
    operation_id = shop.next_key(session.id, "authorize")
    shop.fake.says = [OutcomeUnknown("reset"), OutcomeUnknown("reset")]
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    assert shop.fake.asked == [operation_id]
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    assert shop.fake.asked == [operation_id] * 3
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    assert shop.fake.asked == [operation_id] * 4  # a success when sent again is believed
    shop.payments.sync(session.id)
    assert shop.fake.asked[4:] == [None]


def test_a_look_while_a_call_is_in_flight_asks_about_that_call(make_shop):
    shop = make_shop(Records())
    session = shop.session("requires_more")
    shop.fake.fail_next("lost_answer", kind="authorize", then=lambda: shop.payments.sync(session.id))
    shop.payments.authorize(session.id)
    assert shop.fake.asked == [shop.key(session.id, 2)] * 2


def test_a_gateway_that_cannot_be_asked_is_not_asked(make_shop):
    shop = make_shop(Records(lookup="none"))
    session = shop.session()
    shop.fake.refund_in_dashboard(session.id, eur("1.00"))
    assert shop.payments.sync(session.id) == session
    assert shop.fake.asked == []


def test_a_sync_returns_what_comes_of_the_doubt_where_nobody_can_be_queried(make_told):
    told = make_told(lookup="none")
    session_id = doubt(told)
    told.clock.forward(minutes=1)
    session = told.payments.sync(session_id)
    assert (session.captured, session.in_doubt) == (4200, False)


def test_what_an_early_look_settles_is_said_to_be_settled(told):
    session_id = doubt(told)
    assert told.payments.get(session_id).due_at > told.clock.now
    assert told.payments.recover(now=True).settled == (session_id,)
    assert told.payments.get(session_id).captured == 4200


def test_a_gateway_that_is_down_is_no_fault(told, caplog):
    session = told.session("requires_more")
    told.fake.snapshot = NotApplied("down")
    caplog.set_level("INFO")
    told.clock.forward(minutes=10)
    assert told.payments.recover().waiting == (session.id,)
    assert [(row.levelname, row.message) for row in caplog.records] == [
        ("INFO", f"session {session.id} is not settled: down")
    ]


def test_a_sync_settles_the_doubt_it_meets(told):
    session_id = doubt(told)
    told.clock.forward(minutes=1)
    session = told.payments.sync(session_id)
    assert (session.captured, session.in_doubt) == (4200, False)


@pytest.mark.parametrize("kind", ["capture", "refund", "cancel"])
def test_a_success_when_sent_again_is_believed(told, kind):
    session_id = doubt(told, kind)
    told.clock.forward(minutes=1)
    looks = []
    told.fake.snapshot = None
    retrieve = told.fake._accounts.get

    class Counted(dict):
        def get(self, key, default=None):
            looks.append(key)
            return retrieve(key, default)

    told.fake._accounts = Counted(told.fake._accounts)
    told.payments.recover()
    assert not told.payments.get(session_id).in_doubt
    assert len(looks) == 2  # one lookup before it, and the call itself


def test_what_is_sent_again_sees_the_status_that_the_session_had(told, make_shop):
    """The capture bounced meanwhile, which ended the session."""

    class Seeing(type(told.fake)):
        seen = ()

        @hookimpl
        def refund(self, session, operation):
            self.seen += (str(session.status),)
            return super().refund(session, operation)

    told = make_shop(Seeing())
    session_id = doubt(told, "refund", eur("10.00"))
    capture = next(row for row in told.payments.history(session_id) if row.kind == "capture")
    bounced = Effect("capture", capture.amount, "reversed", capture.reference, capture.id)
    told.fake.snapshot = Snapshot("authorized", authorized=eur("0"), captured=eur("0"), effects=[bounced])
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.fake.seen == ("authorized",) * 2


@pytest.mark.parametrize(("kind", "event"), [("capture", "session.captured"), ("refund", "session.refunded")])
def test_what_is_sent_again_and_settled_by_a_notification_meanwhile_is_booked_once(told, kind, event):
    session_id = doubt(told, kind)
    told.clock.forward(minutes=1)
    refunded = eur("42.00") if kind == "refund" else None

    def notified():
        told.fake.snapshot = Snapshot("authorized", captured=eur("42.00"), refunded=refunded)
        told.payments.sync(session_id)
        told.fake.snapshot = None

    told.fake.meanwhile[kind] = notified
    told.payments.recover()
    assert told.books(session_id) == ("authorized", 4200, 4200, 4200 if refunded else 0, None)
    assert told.told(session_id).count(event) == 1


@pytest.mark.parametrize("replay", [Declined("no", "a replay"), OutcomeUnknown("a replayed 500")])
def test_a_replayed_failure_does_not_outweigh_the_lookup(told, replay):
    session_id = doubt(told, "authorize")
    told.clock.forward(minutes=1)
    told.fake.answers["authorize"] = replay
    told.fake.meanwhile["authorize"] = lambda: told.fake.authorize_in_browser(session_id)
    told.payments.recover()
    assert told.books(session_id) == ("authorized", 4200, 0, 0, None)
    assert told.rows(session_id)[-1] == ("authorize", "host", "succeeded", "authorized", 4200)
    assert told.told() == ["session.initiated", "session.authorized"]


def test_an_operation_in_flight_is_synced_around(told):
    """Another process may look while we capture; what it learns is recorded, and ours goes on."""
    session = told.session()
    told.payments.capture(session.id, eur("5.00"))
    told.fake.refund_in_dashboard(session.id, eur("1.00"))
    seen = []
    told.fake.meanwhile["capture"] = lambda: seen.append(told.payments.sync(session.id))
    session = told.payments.capture(session.id, eur("10.00"))
    assert (seen[0].refunded, seen[0].in_doubt) == (100, True)
    assert told.books(session.id) == ("authorized", 4200, 1500, 100, None)


def test_a_payer_who_returns_meets_doubt_and_is_never_turned_away(told):
    session_id = doubt(told, "authorize")
    told.fake.snapshot = NotApplied("down")
    session = told.payments.resume(session_id)
    assert session == told.payments.get(session_id)
    assert session.in_doubt
    told.fake.snapshot = None
    told.clock.forward(minutes=1)
    session = told.payments.get(session_id)
    for _ in range(3):  # the gateway shows nothing of it yet, and repeating it is for recovery
        assert told.payments.resume(session_id, payload={"token": "t"}) == session
    assert sent(told, "authorize") == 0
    told.payments.recover()
    assert told.payments.resume(session_id).status == "authorized"
    assert sent(told, "authorize") == 1


def test_a_payer_who_returns_to_a_pending_authorization_sees_how_it_stands(told):
    told.fake.answers["authorize"] = Outcome.pending()
    session = told.session()
    told.fake.snapshot = Snapshot("error", effects=[Effect("authorize", eur("42.00"), "failed")])
    del told.fake.answers["authorize"]
    for _ in range(3):
        assert told.payments.resume(session.id).status == "error"
    assert [row[2] for row in told.rows(session.id)] == ["succeeded", "declined"]


def test_a_lookup_about_a_refund_in_doubt_is_told_of_its_capture(told):
    session = told.session("captured")
    capture = told.payments.history(session.id)[-1]
    told.fake.fail_next("timeout", kind="refund")
    with pytest.raises(OutcomeUnknown):
        told.payments.refund(session.id, eur("5.00"), capture=capture.id)
    told.clock.forward(minutes=2)
    told.payments.recover()
    assert [capture.id] * 2 == [row.capture.id for row in told.fake.looks]


def test_a_replayed_payer_must_act_does_not_outweigh_the_lookup(told):
    session_id = doubt(told, "authorize")
    told.clock.forward(minutes=1)
    told.fake.answers["authorize"] = Outcome.requires_more()
    told.fake.meanwhile["authorize"] = lambda: told.fake.authorize_in_browser(session_id)
    told.payments.recover()
    assert told.books(session_id) == ("authorized", 4200, 0, 0, None)
    assert told.rows(session_id)[-1] == ("authorize", "host", "succeeded", "authorized", 4200)


@pytest.mark.parametrize("replay", [Declined("no", "a replay"), NotApplied("down"), OutcomeUnknown("reset")])
def test_what_the_lookup_shows_to_be_pending_is_not_undone_by_a_replayed_failure(told, replay):
    session_id = doubt(told, "authorize")
    told.clock.forward(minutes=5)  # a refusal would be believed
    told.fake.answers["authorize"] = replay
    debit = Snapshot("pending", effects=[Effect("authorize", eur("42.00"), "pending")])
    told.fake.meanwhile["authorize"] = lambda: setattr(told.fake, "snapshot", debit)
    told.payments.recover()
    operation = told.payments.history(session_id)[-1]
    assert (operation.state, operation.note) == ("pending", None)
    assert told.payments.get(session_id).held == 4200


def test_an_answer_that_is_lost_and_shown_to_be_pending_is_queried_once(told):
    session = told.session("requires_more")
    told.fake.answers["authorize"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("pending", effects=[Effect("authorize", eur("42.00"), "pending")])
    assert told.payments.authorize(session.id).status == "pending"
    operation = told.payments.history(session.id)[-1]
    assert (operation.state, operation.note, len(told.fake.looks)) == ("pending", None, 1)


def test_an_answer_of_a_worker_that_lost_its_lease_while_it_sent_again_is_not_taken(make_told):
    """Another worker has sent it again since, and that request is unanswered."""
    told = make_told(lookup="none")
    session_id = doubt(told)
    told.clock.forward(minutes=5)

    def taken_over():
        told.clock.forward(minutes=5)
        told.fake.answers["capture"] = OutcomeUnknown("reset")
        told.payments.recover()
        told.fake.answers["capture"] = Declined("no", "not any more")

    told.fake.meanwhile["capture"] = taken_over
    told.payments.recover()
    assert told.rows(session_id)[-1][2] == "started"
    assert told.payments.in_doubt()[0].reason == "reset"


def test_a_lookup_while_a_refund_is_in_flight_is_told_of_its_capture(told):
    session = told.session("captured")
    capture = told.payments.history(session.id)[-1]
    told.fake.meanwhile["refund"] = lambda: told.payments.sync(session.id)
    told.payments.refund(session.id, eur("5.00"), capture=capture.id)
    assert [row.capture.id for row in told.fake.looks] == [capture.id]


def test_a_payer_who_returns_after_the_process_died_is_shown_what_the_gateway_has(told):
    session = told.session("requires_more")

    def dies():
        raise KeyboardInterrupt

    told.fake.meanwhile["authorize"] = dies
    with pytest.raises(KeyboardInterrupt):
        told.payments.authorize(session.id)
    told.fake.authorize_in_browser(session.id)
    lease_until = told.payments.history(session.id)[-1].lease_until
    told.clock.now = lease_until - timedelta(microseconds=1)
    assert told.payments.resume(session.id).in_doubt
    told.clock.now = lease_until
    assert told.payments.resume(session.id).status == "authorized"


def test_a_fault_while_an_operation_is_taken_over_is_tried_again_later(told):
    session_id = doubt(told)
    read = told.store.operation

    def faulty(_):
        told.store.operation = read
        raise RuntimeError("a fault of the store")

    told.store.operation = faulty
    told.clock.forward(minutes=1)
    assert told.payments.recover().waiting == (session_id,)
    assert told.payments.get(session_id).due_at > told.clock.now
    told.settle()
    assert told.payments.get(session_id).captured == 4200


@pytest.mark.parametrize("early", [True, False])
def test_a_session_without_its_provider_that_never_rests_waits(make_told, early):
    told = make_told(store=Restless)
    session_id = doubt(told)
    without = Payments(told.store, Registry({"other": FakeProvider()}))
    told.clock.forward(minutes=1)
    told.store.restless = True
    assert without.recover(now=early).waiting == (session_id,)
