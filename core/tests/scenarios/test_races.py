"""Two at one session: whoever commits second sees what the first has done, and decides again."""

import pytest

from helpers import eur
from paysession import (
    Declined,
    InvalidTransition,
    MemoryStore,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
)
from paysession._engine.recovery import ATTEMPTS
from paysession.provider import Effect, Snapshot
from paysession.store import Stale


class Contended(MemoryStore):
    """A store in which somebody else is faster: at the next commits of sessions, or once with an act.

    That act comes before the next commit, before the next that clears a cancel request, before an operation is
    read, or after it was read what a caller's key led to.
    """

    faster = 0
    first = None
    cleared = None
    read = None
    meanwhile = None

    def operation(self, operation_id):
        read, self.read = self.read, None
        if read is not None:
            read()
        return super().operation(operation_id)

    def repeated(self, *call):
        earlier = super().repeated(*call)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return earlier

    def commit(self, change):
        if change.session is not None:
            before = self.session(change.session.id)
            if self.cleared is not None and before.cancel_requested and not change.session.cancel_requested:
                cleared, self.cleared = self.cleared, None
                cleared()
            elif self.first is not None:
                first, self.first = self.first, None
                first()
            elif self.faster:
                self.faster -= 1
                raise Stale(change.session.id)
        super().commit(change)


@pytest.fixture
def told(make_told):
    return make_told(store=Contended)


@pytest.fixture
def deaf(make_told):
    """Return a shop whose gateway cannot be asked."""
    return make_told(store=Contended, lookup="none")


def doubtful(shop):
    session = shop.session()
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id, eur("10.00"))
    return session.id


@pytest.mark.parametrize("faster", [1, 3, 19])
def test_a_call_decides_again_until_it_is_first(told, faster):
    session = told.session()
    told.store.faster = faster
    assert told.payments.capture(session.id, eur("10.00")).captured == 1000
    assert told.fake.total(session.id, "capture") == 1000
    assert len(told.payments.history(session.id)) == 3


def test_a_call_that_was_carried_out_elsewhere_while_it_waited_for_doubt_is_not_begun_again(told):
    session_id = doubtful(told)
    told.clock.forward(minutes=2)

    def call():
        return told.payments.capture(session_id, eur("5.00"), idempotency_key="k")

    def elsewhere():
        told.payments.recover()
        call()

    told.store.meanwhile = elsewhere
    assert call().captured == told.fake.total(session_id, "capture") == 1500
    assert [row.type for row in told.payments.events()].count("session.captured") == 2


def test_a_next_attempt_that_failed_elsewhere_is_followed_by_another_one(told):
    session_id = doubtful(told)
    told.clock.forward(minutes=2)

    def call():
        return told.payments.capture(session_id, eur("5.00"), idempotency_key="k")

    def elsewhere():
        told.payments.recover()
        told.fake.fail_next("not_applied", kind="capture")
        with pytest.raises(NotApplied):
            call()

    told.store.meanwhile = elsewhere
    assert call().captured == told.fake.total(session_id, "capture") == 1500
    states = [row.state for row in told.payments.history(session_id) if row.idempotency_key == "k"]
    assert states == ["not_applied", "succeeded"]


@pytest.mark.parametrize(
    "call", ["capture", "recover", "sync", "cancel"], ids=["begin", "claim", "truth", "abandon"]
)
def test_a_session_that_never_rests_is_busy_and_named(told, call):
    if call == "cancel":
        told.fake.answers["initiate"] = NotApplied("down")
        with pytest.raises(NotApplied) as caught:
            told.session(idempotency_key="k")
        session_id = caught.value.session_id
    elif call == "recover":
        session_id = doubtful(told)
    else:
        session_id = told.session().id
    if call == "sync":
        told.fake.capture_in_dashboard(session_id, eur("1.00"))
    before = told.payments.get(session_id)
    told.store.faster = 1000
    with pytest.raises(SessionBusy, match="too fast") as caught:
        getattr(told.payments, "cancel" if call == "recover" else call)(session_id)
    assert caught.value.session_id == session_id
    assert told.payments.get(session_id) == before


def test_an_answer_is_written_though_the_session_moved_meanwhile(told):
    """A notification books what somebody refunded in the dashboard while we capture."""
    session = told.session()
    told.payments.capture(session.id, eur("20.00"))

    def dashboard():
        told.fake.refund_in_dashboard(session.id, eur("5.00"))
        headers, body = told.fake.webhook(session.id)
        told.payments.handle_webhook("fake", headers=headers, body=body)

    told.fake.meanwhile["capture"] = dashboard
    session = told.payments.capture(session.id, eur("10.00"))
    assert told.books(session.id) == ("authorized", 4200, 3000, 500, None)
    assert (session, session.in_doubt) == (told.payments.get(session.id), False)


def test_recovery_leaves_alone_what_somebody_else_takes_over(told):
    session_id = doubtful(told)
    told.clock.forward(minutes=1)
    told.store.first = told.payments.recover
    assert told.payments.recover().settled == (session_id,)
    assert told.fake.total(session_id, "capture") == 1000
    assert told.told(session_id).count("session.captured") == 1


def test_a_doubt_that_another_worker_settles_before_it_is_claimed_is_not_in_the_way(told):
    session_id = doubtful(told)
    told.clock.forward(minutes=1)
    told.store.first = told.payments.recover
    assert told.payments.capture(session_id, eur("5.00")).captured == 1500


def test_what_another_worker_settles_before_it_is_claimed_is_not_sent_again(deaf):
    session_id = doubtful(deaf)
    deaf.clock.forward(minutes=1)
    deaf.store.first = deaf.payments.recover
    deaf.payments.recover()
    assert [kind for kind, _ in deaf.fake.calls].count("capture") == 1
    assert deaf.payments.get(session_id).captured == 1000


def test_a_doubt_whose_lookup_cannot_be_recorded_stays_in_the_way(told):
    session_id = doubtful(told)
    told.fake.capture_in_dashboard(session_id, eur("1.00"))
    told.store.first = lambda: vars(told.store).update(faster=ATTEMPTS)  # the claim comes through
    with pytest.raises(SessionBusy, match="in doubt"):
        told.payments.capture(session_id, eur("5.00"))
    assert told.store.faster == 0


def test_a_lookup_that_never_gets_through_leaves_the_call_in_doubt(told):
    session = told.session()
    told.fake.fail_next("lost_answer", kind="capture", then=lambda: vars(told.store).update(faster=ATTEMPTS))
    with pytest.raises(OutcomeUnknown, match="do not repeat it"):
        told.payments.capture(session.id, eur("10.00"))
    assert (told.store.faster, told.payments.get(session.id).in_doubt) == (0, True)
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.payments.get(session.id).captured == told.fake.total(session.id, "capture") == 1000


def test_a_refusal_is_raised_though_the_lookup_after_it_never_gets_through(told):
    session = told.session("captured")
    told.fake.refund_in_dashboard(session.id, eur("1.00"))
    told.fake.fail_next("declined", kind="refund")

    def moves():
        del told.fake.paused
        told.store.faster = ATTEMPTS

    told.fake.paused = moves
    with pytest.raises(Declined, match="refused on demand"):
        told.payments.refund(session.id, eur("5.00"))
    assert (told.store.faster, told.payments.get(session.id).refunded) == (0, 0)


@pytest.mark.parametrize("faster", [1, 2, 3])
def test_recovery_goes_on_though_the_session_moves(deaf, faster):
    session_id = doubtful(deaf)
    deaf.clock.forward(minutes=1)
    deaf.store.faster = faster
    assert deaf.payments.recover().settled == (session_id,)
    assert deaf.fake.total(session_id, "capture") == 1000


@pytest.mark.parametrize("faster", [ATTEMPTS, 1000])
def test_recovery_that_never_gets_through_looks_again(deaf, faster):
    session_id = doubtful(deaf)
    deaf.clock.forward(minutes=1)
    deaf.store.faster = faster
    assert deaf.payments.recover().waiting == (session_id,)
    deaf.store.faster = 0
    assert deaf.payments.recover().settled == (session_id,)


def test_the_truth_is_fetched_again_when_the_session_moved(told):
    session = told.session()
    told.fake.capture_in_dashboard(session.id, eur("1.00"))

    def moves():
        told.fake.capture_in_dashboard(session.id, eur("2.00"))
        raise Stale(session.id)

    told.store.first = moves
    assert told.payments.sync(session.id).captured_amount == eur("3.00")


def test_a_later_look_is_planned_though_the_session_moves(told):
    session = told.session("requires_more")
    told.fake.snapshot = NotApplied("down")
    told.clock.forward(minutes=10)
    told.store.faster = 1
    assert told.payments.recover().looked == 0  # who was faster may have looked
    assert told.payments.recover().waiting == (session.id,)
    assert told.payments.get(session.id).due_at > told.clock.now


def test_a_session_accepted_while_it_is_abandoned_is_cancelled_at_the_provider(told):
    told.fake.fail_next("not_applied", kind="initiate")
    with pytest.raises(NotApplied) as caught:
        told.session(idempotency_key="k")
    told.store.first = lambda: told.session("requires_more", idempotency_key="k")
    session = told.payments.cancel(caught.value.session_id)
    assert session.status == "canceled"
    assert [row.kind for row in told.fake.ledger] == ["cancel"]
    assert told.told() == ["operation.failed", "session.initiated", "session.canceled"]


def test_a_session_is_not_abandoned_while_its_initiation_is_sent_again(told):
    told.fake.fail_next("not_applied", kind="initiate")
    with pytest.raises(NotApplied) as caught:
        told.session(idempotency_key="k")
    session_id = caught.value.session_id

    def dies():
        raise KeyboardInterrupt

    def begins():
        told.fake.meanwhile["initiate"] = dies
        with pytest.raises(KeyboardInterrupt):
            told.session(idempotency_key="k")

    told.store.first = begins
    with pytest.raises(SessionBusy, match="in flight"):
        told.payments.cancel(session_id)
    session = told.payments.get(session_id)
    assert (session.status, session.in_doubt) == ("pending", True)


def test_a_session_abandoned_twice_at_once_ends_once(told):
    told.fake.fail_next("not_applied", kind="initiate")
    with pytest.raises(NotApplied) as caught:
        told.session(idempotency_key="k")
    session_id, ended = caught.value.session_id, []
    told.store.first = lambda: ended.append(told.payments.cancel(session_id))
    session = told.payments.cancel(session_id)
    assert ended == [session]
    assert (session.status, session.held, session.due_at) == ("canceled", 0, None)
    assert told.told().count("session.canceled") == 1
    with pytest.raises(InvalidTransition, match="canceled"):
        told.session(idempotency_key="k")


@pytest.mark.parametrize("keyed", [None, "k"])
def test_a_cancel_that_waits_for_doubt_settled_just_now_runs(deaf, keyed):
    """Between the look and the note that a cancel is wanted, somebody settles the doubt."""
    session = deaf.session("requires_more")
    deaf.fake.answers["authorize"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        deaf.payments.authorize(session.id)
    operation_id = deaf.key(session.id, 2)
    looks = []

    def settles():
        if not looks:  # the first commit is the claim, the next the doubt that stays
            looks.append(1)
            deaf.store.first = settles
        elif len(looks) == 1:
            looks.append(2)
            deaf.store.first = settles
        else:
            deaf.payments.resolve(operation_id, NotApplied("never arrived"), note="ann")

    deaf.store.first = settles
    session = deaf.payments.cancel(session.id, idempotency_key=keyed)
    assert (session.status, session.cancel_requested) == ("canceled", False)
    assert deaf.payments.history(session.id)[-1].idempotency_key == keyed
    assert deaf.told()[-1] == "session.canceled"


@pytest.mark.parametrize("faster", [1, 2])
def test_a_late_answer_is_kept_though_the_session_moves(deaf, faster):
    session = deaf.session()

    def takes_over():
        deaf.clock.forward(minutes=5)
        deaf.payments.recover()
        deaf.store.faster = faster

    deaf.fake.meanwhile["capture"] = takes_over
    deaf.fake.fail_next("timeout", kind="capture")
    with pytest.raises(SessionBusy, match="lost its lease"):
        deaf.payments.capture(session.id)
    assert deaf.payments.history(session.id)[-1].note == "late answer: captured 42.00 EUR fx_2"


def test_a_late_answer_to_a_session_that_never_rests_says_who_has_the_operation(deaf):
    session = deaf.session()

    def takes_over():
        deaf.clock.forward(minutes=5)
        deaf.payments.recover()
        deaf.store.faster = 1000

    deaf.fake.meanwhile["capture"] = takes_over
    deaf.fake.fail_next("timeout", kind="capture")
    with pytest.raises(SessionBusy, match="lost its lease") as caught:
        deaf.payments.capture(session.id)
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, deaf.key(session.id, 3))


def test_an_authorization_that_a_lookup_shows_is_recorded_though_another_session_takes_its_room(told):
    session, other = told.session("requires_more"), told.session("requires_more")
    told.fake.authorize_in_browser(session.id)
    told.store.first = lambda: told.payments.authorize(other.id)
    session = told.payments.sync(session.id)
    assert (session, session.status) == (told.payments.get(session.id), "canceled")
    assert (
        told.told(session.id).count("session.conflict")
        == told.told(session.id).count("session.canceled")
        == 1
    )
    assert told.payments.get(other.id).held == told.payments.collection(told.order.id).held == 4200


def test_a_requested_cancel_stays_if_a_capture_is_undone_just_before_it_is_cleared(told):
    session = told.session("requires_more")
    told.session()
    told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = NotApplied("down")
    told.payments.sync(session.id)  # it is beyond the limit, and its cancel fails
    first, second = (Effect("capture", eur(amount), reference=amount) for amount in ("20.00", "22.00"))
    told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[first, second])

    def undo():
        undone = Effect("capture", eur("20.00"), "reversed", reference="20.00")
        told.fake.snapshot = Snapshot("authorized", authorized=eur("42.00"), effects=[undone, second])
        told.payments.sync(session.id)

    told.store.cleared = undo
    told.clock.forward(minutes=1)
    told.payments.sync(session.id)
    row = told.payments.get(session.id)
    assert (row.captured, row.held, row.cancel_requested) == (2200, 4200, True)
    told.fake.answers["cancel"], told.fake.snapshot = Outcome.canceled(), NotApplied("down")
    told.settle()
    row = told.payments.get(session.id)
    assert (row.captured, row.held, row.cancel_requested) == (2200, 2200, False)


def test_recovery_decides_again_on_an_operation_that_was_settled_as_it_was_read(told):
    session_id = doubtful(told)
    told.clock.forward(minutes=2)
    told.store.read = told.payments.recover
    assert told.payments.capture(session_id, eur("5.00")).captured == 1500
    assert told.fake.total(session_id, "capture") == 1500
