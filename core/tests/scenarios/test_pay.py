"""`pay`: one call that continues or begins, however often and from wherever it is made."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import (
    Checkout,
    Declined,
    IdempotencyMismatch,
    InvalidData,
    MemoryStore,
    NotApplied,
    NotOffered,
    Outcome,
    OutcomeUnknown,
    Payments,
    SessionBusy,
)
from paysession._engine import pay as paying
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, Snapshot
from paysession_testing import FakeProvider


class Gate(FakeProvider):
    """A gateway whose payer has to approve; it answers what a test says, and tells who can be paid there."""

    def __init__(self, **options):
        super().__init__(approve=False, **options)
        self.answers = {}
        self.meanwhile = {}

    def _answer(self, operation, act):
        self.meanwhile.pop(operation.kind, bool)()
        answer = self.answers.get(operation.kind)
        if answer is None:
            return super()._answer(operation, act)
        self.calls.append((operation.kind, operation.key))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Raced(MemoryStore):
    """A store in which something else happens, once: after a list of sessions is read, or before a commit.

    It lists few sessions, unless it is asked for more.
    """

    listed = None
    first = None

    def sessions(self, *, limit=2, **wanted):
        found = super().sessions(limit=limit, **wanted)
        self._once("listed")
        return found

    def commit(self, change):
        if change.session is not None:
            self._once("first")
        super().commit(change)

    def _once(self, name):
        act = getattr(self, name)
        setattr(self, name, None)
        if act is not None:
            act()


class NoUpdate(Gate):
    """One that cannot change an amount."""

    update = None


@pytest.fixture
def make(make_shop):
    def made(**options):
        shop = make_shop(Gate(**options), store=Raced)
        shop.card, shop.wallet = shop.fake, Gate()
        shop.payments = Payments(shop.store, Registry({"card": shop.card, "wallet": shop.wallet}))
        shop.pay = lambda provider="card", **more: shop.payments.pay(shop.order.id, provider=provider, **more)
        return shop

    return made


@pytest.fixture
def shop(make):
    return make()


def kinds(gate):
    return [str(kind) for kind, _ in gate.calls]


def statuses(shop):
    return sorted(str(row.status) for row in shop.payments.sessions(collection_id=shop.order.id))


def paid(shop, gate, session):
    """Approve a session at its gateway, and return it as it is then."""
    gate.payer_approves(session.id)
    return shop.payments.resume(session.id)


def test_it_begins_what_a_payer_chose(shop):
    session = shop.pay(data={"customer": "cus_1"}, capture="automatic", by="web")
    assert (session.provider, session.amount, session.status) == ("card", eur("42.00"), "requires_more")
    assert (session.capture, session.data["customer"]) == ("automatic", "cus_1")
    (begun,) = shop.payments.history(session.id)
    assert (begun.origin, begun.by) == ("payer", "web")


def test_a_reload_is_the_same_session_and_asks_the_gateway_only_how_it_stands(shop):
    first = shop.pay()
    assert [shop.pay().id for _ in range(9)] == [first.id] * 9
    assert kinds(shop.card) == ["initiate"]
    assert shop.payments.get(first.id).version == first.version


def test_the_next_day_it_is_still_the_same(shop):
    first = shop.pay()
    shop.clock.forward(days=1)
    shop.payments.recover()
    assert shop.pay().id == first.id


def test_a_payer_who_has_paid_just_now_is_not_asked_again(shop):
    session = shop.pay(capture="automatic")
    shop.card.payer_approves(session.id)  # and no notification has come
    again = shop.pay()
    assert (again.id, again.status, again.captured) == (session.id, "authorized", 4200)
    assert shop.pay("wallet").id == session.id
    assert shop.wallet.calls == []


def test_another_method_replaces_the_first(shop):
    card = shop.pay()
    wallet = shop.pay("wallet")
    assert (wallet.provider, wallet.status) == ("wallet", "requires_more")
    assert statuses(shop) == ["canceled", "requires_more"]
    back = shop.pay()
    assert back.id not in (card.id, wallet.id)
    assert statuses(shop) == ["canceled", "canceled", "requires_more"]


def test_what_holds_the_amount_and_is_not_authorized_is_replaced(shop):
    session = shop.pay()
    session = shop.payments.authorize(session.id)  # 3DS is to come
    assert (session.status, session.held) == ("requires_more", 4200)
    assert shop.pay().id == session.id
    assert shop.pay("wallet").amount == eur("42.00")
    assert shop.payments.get(session.id).status == "canceled"


def test_a_payment_that_failed_is_begun_anew(shop):
    session = shop.pay()
    shop.card.payer_declines(session.id)
    again = shop.pay()
    assert (again.status, again.id != session.id) == ("requires_more", True)
    assert shop.payments.get(session.id).status == "canceled"


def test_one_that_was_canceled_at_the_gateway_is_begun_anew(shop):
    session = shop.pay()
    shop.card.cancel_in_dashboard(session.id)
    assert shop.pay().id != session.id
    assert statuses(shop) == ["canceled", "requires_more"]


def test_an_expired_one_is_begun_anew(shop):
    expiry = shop.clock.now + timedelta(hours=1)
    shop.card.answers["initiate"] = Outcome.requires_more(expires_at=expiry)
    session = shop.pay()
    shop.card.answers = {"cancel": Outcome.canceled()}
    shop.clock.forward(hours=1)
    assert shop.pay().id != session.id


def test_a_changed_cart_updates_the_session(shop):
    session = shop.pay()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    again = shop.pay(by="web")
    assert (again.id, again.amount) == (session.id, eur("50.00"))
    shop.payments.update_collection(shop.order.id, eur("7.00"))
    assert shop.pay().amount == eur("7.00")
    assert kinds(shop.card) == ["initiate", "update", "update"]
    assert shop.payments.history(session.id)[1].by == "web"


def test_a_changed_cart_replaces_a_session_that_cannot_be_updated(make_shop):
    store = MemoryStore()
    payments = Payments(store, Registry({"card": NoUpdate()}))
    order = payments.create_collection(eur("42.00"), reference="1")
    session = payments.pay(order.id, provider="card")
    payments.update_collection(order.id, eur("50.00"))
    again = payments.pay(order.id, provider="card")
    assert (again.id != session.id, again.amount) == (True, eur("50.00"))
    assert payments.get(session.id).status == "canceled"


def test_an_update_that_is_refused_replaces_the_session(shop):
    session = shop.pay()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    shop.card.answers["update"] = Declined("not_now")
    again = shop.pay()
    assert (again.id != session.id, again.amount) == (True, eur("50.00"))


def test_an_update_in_doubt_is_raised_and_nothing_else_is_begun(make):
    shop = make(lookup="none", replay_window=timedelta(0))
    shop.pay()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    shop.card.answers["update"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.pay()
    with pytest.raises(SessionBusy):
        shop.pay("wallet")
    assert shop.wallet.calls == []


@pytest.mark.parametrize(
    "changed",
    [{"data": {"customer": "cus_2"}}, {"capture": "automatic"}, {"checkout": Checkout(locale="de")}],
    ids=lambda changed: next(iter(changed)),
)
def test_what_the_gateway_was_given_otherwise_is_replaced(shop, changed):
    given = {"data": {"customer": "cus_1"}, "checkout": Checkout(locale="en")}
    session = shop.pay(**given)
    assert shop.pay(**given).id == session.id
    again = shop.pay(**(given | changed))
    assert again.id != session.id
    assert statuses(shop) == ["canceled", "requires_more"]


def test_a_payer_on_the_way_home_means_the_same_payment(shop):
    back = "https://shop.example/back/{session_id}"
    session = shop.pay(checkout=Checkout(return_url=back, ip="192.0.2.1", user_agent="a"))
    assert session.checkout.return_url == f"https://shop.example/back/{session.id}"
    assert shop.pay(checkout=Checkout(return_url=back, ip="198.51.100.9", user_agent="b")).id == session.id
    assert shop.pay().id == session.id  # nothing is said of the visit


def test_it_pays_what_others_leave(shop):
    voucher = shop.payments.initiate(shop.order.id, provider="wallet", amount=eur("10.00"))
    shop.wallet.payer_approves(voucher.id)
    shop.payments.resume(voucher.id)
    session = shop.pay()
    assert session.amount == eur("32.00")
    shop.card.payer_approves(session.id)
    assert shop.pay().status == "authorized"
    assert shop.payments.collection(shop.order.id).status == "authorized"


def test_a_dearer_order_is_paid_by_another_session(shop):
    session = shop.pay()
    shop.card.payer_approves(session.id)
    assert shop.pay().authorized == 4200
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    more = shop.pay()
    assert (more.id != session.id, more.amount) == (True, eur("8.00"))
    assert shop.pay().id == more.id


def test_a_bank_that_is_at_work_is_waited_for(shop):
    session = shop.pay()
    shop.card.answers["authorize"] = Outcome.pending()
    shop.card.payer_approves(session.id)
    assert shop.pay().authorizing is not None
    assert shop.pay("wallet").id == session.id


def test_a_refunded_order_is_not_paid_again(shop):
    session = shop.pay(capture="automatic")
    shop.card.payer_approves(session.id)
    shop.pay()
    shop.payments.refund(session.id)
    assert shop.pay().id == session.id


# --- what is in doubt ---------------------------------------------------------------------------------


def test_nothing_is_begun_while_a_beginning_is_in_doubt(make):
    shop = make(lookup="none", replay_window=timedelta(0))
    shop.card.answers["initiate"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.pay()
    (session,) = shop.payments.sessions()
    with pytest.raises(SessionBusy) as caught:
        shop.pay("wallet")
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, session.open)
    assert shop.wallet.calls == []


def test_nothing_is_begun_while_an_authorization_is_in_doubt(make):
    shop = make(lookup="none", replay_window=timedelta(0))
    session = shop.pay()
    shop.card.answers["authorize"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    for provider in ("card", "wallet"):
        with pytest.raises(SessionBusy):
            shop.pay(provider)
    assert shop.wallet.calls == []


def test_nothing_is_begun_while_a_cancel_is_in_doubt(make):
    shop = make(lookup="none", replay_window=timedelta(0))
    shop.pay()
    shop.card.answers["cancel"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.pay("wallet")
    with pytest.raises(SessionBusy):
        shop.pay("wallet")
    assert shop.wallet.calls == []


def test_a_capture_in_doubt_asks_nobody_to_pay_again(make):
    shop = make(lookup="none", replay_window=timedelta(0))
    session = shop.pay()
    shop.card.payer_approves(session.id)
    shop.payments.authorize(session.id)
    shop.card.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id)
    again = shop.pay("wallet")
    assert (again.id, again.in_doubt) == (session.id, True)


def test_doubt_that_a_lookup_settles_holds_nobody_up(shop):
    shop.card.fail_next("lost_answer", kind="initiate")
    session = shop.pay()
    assert (session.status, shop.pay().id) == ("requires_more", session.id)


def test_one_that_the_gateway_does_not_cancel_could_still_be_paid(shop):
    session = shop.pay()
    shop.card.answers["cancel"] = Declined("in_use")
    with pytest.raises(Declined):
        shop.pay("wallet")
    assert shop.wallet.calls == []
    shop.card.payer_approves(session.id)
    assert shop.pay("wallet").id == session.id  # and was


def test_one_that_is_paid_while_it_is_canceled_is_the_payment(shop):
    session = shop.pay()
    shop.card.answers["cancel"] = Declined("paid")
    shop.card.meanwhile["cancel"] = lambda: shop.card.authorize_in_browser(session.id)
    again = shop.pay("wallet")
    assert (again.id, again.status) == (session.id, "authorized")
    assert shop.wallet.calls == []


def test_a_cancel_that_is_not_finished_there_is_waited_for(shop):
    shop.pay()
    shop.card.answers["cancel"] = Outcome.pending()
    with pytest.raises(SessionBusy):
        shop.pay("wallet")
    assert shop.wallet.calls == []


def test_a_call_in_progress_elsewhere_is_waited_for(shop, monkeypatch):
    """The second of two clicks, while the first asks the gateway: here it has to give up."""
    monkeypatch.setattr(paying, "PATIENCE", 0.0)
    seen = []

    def second_click():
        with pytest.raises(SessionBusy) as caught:
            shop.pay("wallet")
        seen.append(caught.value.session_id)

    shop.card.meanwhile["initiate"] = second_click
    session = shop.pay()
    assert seen == [session.id]


def test_a_call_in_progress_ends_while_it_is_waited_for(shop, monkeypatch):
    session = shop.pay()
    pauses = []
    answer = shop.store.session(session.id)
    operation = shop.payments.history(session.id)[0]
    busy = SessionBusy("in flight", session_id=session.id, operation_id=operation.id)
    monkeypatch.setattr(paying.time, "sleep", pauses.append)
    outcomes = iter([busy, busy, None, answer])

    def attempt(_):
        found = next(outcomes)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(paying.Pay, "_attempt", attempt)
    monkeypatch.setattr(paying.Pay, "_in_progress", lambda *_: True)
    assert shop.pay() == answer
    assert pauses == [0.02, 0.04]


# --- what could not begin -----------------------------------------------------------------------------


def test_one_that_was_not_applied_begins_with_the_next_call(shop):
    shop.card.answers["initiate"] = NotApplied("down")
    for _ in range(3):
        with pytest.raises(NotApplied):
            shop.pay()
    shop.card.answers.clear()
    session = shop.pay()
    assert session.status == "requires_more"
    assert statuses(shop) == ["requires_more"]


def test_one_that_was_not_applied_makes_way_for_another_method(shop):
    shop.card.answers["initiate"] = NotApplied("down")
    with pytest.raises(NotApplied):
        shop.pay()
    assert shop.pay("wallet").status == "requires_more"
    assert "cancel" not in kinds(shop.card)


def test_one_that_is_refused_says_so_each_time(shop):
    shop.card.answers["initiate"] = Declined("no_such_currency")
    for _ in range(2):
        with pytest.raises(Declined):
            shop.pay()
    shop.card.answers.clear()
    assert shop.pay().status == "requires_more"


# --- what is asked for --------------------------------------------------------------------------------


def test_a_payer_may_choose_what_is_offered_only(shop):
    payments = Payments(shop.store, Registry({"card": shop.card, "wallet": shop.wallet}), offered=["card"])
    with pytest.raises(NotOffered):
        payments.pay(shop.order.id, provider="wallet")
    with pytest.raises(NotOffered):
        payments.pay(shop.order.id, provider=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"capture": "later"},
        {"checkout": {"return_url": "x"}},
        {"data": [1]},
        {"by": ""},
        {"by": "x" * 201},
        {"idempotency_key": ""},
        {"abandon_after": timedelta(0)},
        {"abandon_after": 60},
    ],
    ids=str,
)
def test_what_is_wrong_with_the_call_is_said_before_anything_is_canceled(shop, wrong):
    shop.pay("wallet")
    with pytest.raises(InvalidData):
        shop.pay(**wrong)
    assert statuses(shop) == ["requires_more"]


def test_a_key_of_the_callers_stands_for_the_session_that_it_began(shop):
    session = shop.pay(idempotency_key="form-1")
    assert shop.pay(idempotency_key="form-1").id == session.id
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    assert shop.pay(idempotency_key="form-1").amount == eur("50.00")
    shop.payments.cancel(session.id)
    assert shop.pay(idempotency_key="form-1").status == "canceled"
    other = shop.pay(idempotency_key="form-2")
    assert (other.id != session.id, other.status) == (True, "requires_more")
    with pytest.raises(IdempotencyMismatch):
        shop.pay("wallet", idempotency_key="form-2")
    assert shop.payments.get(other.id).status == "requires_more"


def test_a_provider_that_confirms_by_hand_can_be_left_for_another_way():
    pytest.importorskip("paysession_manual")
    from paysession_testing import FakeProvider as Online

    payments = Payments.open("memory:", providers={"manual": {}, "card": Online(approve=False)})
    order = payments.create_collection(eur("42.00"), reference="1")
    transfer = payments.pay(order.id, provider="manual")
    assert payments.pay(order.id, provider="manual").id == transfer.id
    assert payments.pay(order.id, provider="card").provider == "card"
    assert payments.get(transfer.id).status == "canceled"


def test_two_that_begin_at_the_same_moment_with_two_methods_end_with_one_open(shop):
    """The other call comes between the look at the sessions and the first commit."""
    shop.card.meanwhile["initiate"] = lambda: None
    begin = shop.payments._begin
    other = []

    def interrupted(*arguments):
        if not other:
            other.append(None)
            other[0] = shop.pay("wallet")
        return begin(*arguments)

    shop.payments._begin = interrupted
    session = shop.pay()
    assert session.provider == "card"
    assert statuses(shop) == ["canceled", "requires_more"]
    assert shop.payments.get(other[0].id).status == "canceled"


# --- what others of the collection do meanwhile ------------------------------------------------------


@pytest.mark.parametrize("by", ["another payer", "the host"])
def test_an_order_that_is_authorized_as_its_payment_begins_is_not_paid_again(shop, by):
    def elsewhere():
        if by == "the host":
            session = shop.payments.initiate(shop.order.id, provider="wallet")
        else:
            session = shop.pay("wallet")
        paid(shop, shop.wallet, session)

    shop.store.listed = elsewhere
    session = shop.pay()
    assert (session.provider, session.status) == ("wallet", "authorized")
    assert shop.card.calls == []


def test_an_order_that_becomes_cheaper_as_its_session_is_looked_at_is_not_paid_beyond_it(shop):
    voucher = shop.payments.initiate(shop.order.id, provider="wallet", amount=eur("10.00"))
    shop.wallet.payer_approves(voucher.id)
    shop.payments.resume(voucher.id)
    rest = shop.pay()
    operations = shop.store.operations

    def cheaper(session_id):
        shop.store.operations = operations
        shop.payments.update_collection(shop.order.id, eur("10.00"))
        return operations(session_id)

    shop.store.operations = cheaper
    assert shop.pay().id == voucher.id
    assert shop.payments.get(rest.id).amount == eur("32.00")
    assert kinds(shop.card) == ["initiate"]


@pytest.mark.parametrize("meanwhile", ["wallet", "card"])
def test_one_that_began_just_before_this_commit_is_replaced_or_found(shop, meanwhile):
    shop.store.first = lambda: shop.pay(meanwhile)
    session = shop.pay()
    assert (session.provider, session.status) == ("card", "requires_more")
    assert statuses(shop) == (["requires_more"] if meanwhile == "card" else ["canceled", "requires_more"])


@pytest.mark.parametrize("key", [None, "form-1"])
def test_one_that_began_and_ended_just_before_this_commit_is_over(shop, key):
    def elsewhere():
        shop.payments.cancel(shop.pay(idempotency_key=key).id)

    shop.store.first = elsewhere
    session = shop.pay(idempotency_key=key)
    assert session.status == ("requires_more" if key is None else "canceled")
    assert len(statuses(shop)) == (2 if key is None else 1)


def test_another_that_is_paid_while_it_is_canceled_is_the_payment_though_one_waits(shop):
    other = shop.payments.initiate(shop.order.id, provider="wallet")
    shop.payments.initiate(shop.order.id, provider="card")
    shop.wallet.answers["cancel"] = Declined("paid")
    shop.wallet.meanwhile["cancel"] = lambda: shop.wallet.authorize_in_browser(other.id)
    session = shop.pay()
    assert (session.id, session.status) == (other.id, "authorized")
    assert statuses(shop) == ["authorized", "requires_more"]


def test_another_at_which_a_bank_is_at_work_by_the_time_of_its_cancel_is_the_payment(told):
    other = told.payments.initiate(told.order.id, provider="fake")

    def at_work():
        pending = Effect("authorize", eur("42.00"), "pending")
        told.fake.snapshot = Snapshot("pending", amount=eur("42.00"), effects=[pending])

    told.fake.snapshot = Snapshot("requires_more")
    told.fake.answers["cancel"] = Declined("in_use")
    told.fake.meanwhile["cancel"] = at_work
    session = told.payments.pay(told.order.id, provider="fake", capture="automatic")
    assert (session.id, session.authorizing is not None) == (other.id, True)
    assert [str(kind) for kind, _ in told.fake.calls] == ["initiate", "cancel"]


def test_all_others_are_ended_however_many(shop):
    others = [shop.payments.initiate(shop.order.id, provider="wallet").id for _ in range(25)]
    session = shop.pay()
    assert [shop.payments.get(other).status for other in others] == ["canceled"] * 25
    assert shop.pay().id == session.id
    assert kinds(shop.card) == ["initiate"]


def test_the_newest_of_several_that_fit_is_continued(shop):
    older = shop.payments.initiate(shop.order.id, provider="card")
    shop.clock.forward(minutes=1)
    newer = shop.payments.initiate(shop.order.id, provider="card")
    assert shop.pay().id == newer.id
    assert shop.payments.get(older.id).status == "canceled"


def test_what_is_replaced_was_canceled_by_whoever_asks(shop):
    session = shop.pay()
    shop.pay("wallet", by="web")
    assert shop.payments.history(session.id)[-1].by == "web"


# --- what is paid -------------------------------------------------------------------------------------


def test_an_order_that_is_paid_is_not_answered_with_what_was_canceled_since(shop):
    first = shop.payments.initiate(shop.order.id, provider="card")
    shop.clock.forward(minutes=1)
    second = shop.payments.initiate(shop.order.id, provider="wallet")
    paid(shop, shop.card, first)
    shop.payments.cancel(second.id)
    assert shop.pay().id == first.id


def test_an_order_that_is_paid_in_parts_is_answered_with_the_latest(shop):
    first = paid(shop, shop.card, shop.payments.initiate(shop.order.id, provider="card", amount=eur("20.00")))
    shop.clock.forward(minutes=1)
    second = paid(shop, shop.wallet, shop.payments.initiate(shop.order.id, provider="wallet"))
    assert (first.held, second.held) == (2000, 2200)
    assert shop.pay().id == second.id


def test_the_last_cent_is_asked_for(shop):
    first = shop.payments.initiate(shop.order.id, provider="wallet", amount=eur("41.99"))
    paid(shop, shop.wallet, first)
    session = shop.pay()
    assert session.amount == eur("0.01")
    assert shop.pay().id == session.id


def test_one_that_is_canceled_and_took_money_all_the_same_is_the_payment(shop):
    session = shop.pay()
    shop.payments.cancel(session.id)
    shop.card.capture_in_dashboard(session.id, eur("42.00"))
    shop.payments.sync(session.id)
    assert shop.payments.get(session.id).held == 4200
    assert shop.pay("wallet").id == session.id
    assert shop.wallet.calls == []


def test_a_refund_in_doubt_of_one_that_is_canceled_holds_nobody_up(make):
    shop = make(replay_window=timedelta(0))
    session = shop.pay()
    shop.payments.cancel(session.id)
    shop.card.capture_in_dashboard(session.id, eur("42.00"))
    shop.payments.sync(session.id)
    shop.card.fail_next("timeout", kind="refund")
    with pytest.raises(OutcomeUnknown):
        shop.payments.refund(session.id)
    again = shop.pay("wallet")
    assert (again.id, again.in_doubt) == (session.id, True)


def test_a_key_names_its_payment_though_the_order_is_dearer_by_now(shop):
    session = paid(shop, shop.card, shop.pay(idempotency_key="form-1"))
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    assert shop.pay(idempotency_key="form-1").id == session.id
    assert statuses(shop) == ["authorized"]


def test_a_key_whose_session_was_canceled_ends_no_other(shop):
    session = shop.pay(idempotency_key="form-1")
    other = shop.pay("wallet")
    assert shop.pay(idempotency_key="form-1").id == session.id
    assert shop.payments.get(other.id).status == "requires_more"


def test_one_that_expires_later_is_continued(shop):
    shop.card.answers["initiate"] = Outcome.requires_more(expires_at=shop.clock.now + timedelta(hours=1))
    session = shop.pay()
    assert shop.pay().id == session.id


def test_one_that_was_not_applied_and_whose_order_is_dearer_by_now_begins_with_the_new_amount(shop):
    shop.card.answers["initiate"] = NotApplied("down")
    with pytest.raises(NotApplied) as caught:
        shop.pay()
    shop.card.answers.clear()
    shop.payments.update_collection(shop.order.id, eur("50.00"))
    assert shop.pay().amount == eur("50.00")
    assert shop.payments.get(caught.value.session_id).status == "canceled"


# --- what is in flight --------------------------------------------------------------------------------


def test_a_capture_in_flight_asks_nobody_to_pay_again(shop):
    session = paid(shop, shop.card, shop.pay())
    seen = []
    shop.card.meanwhile["capture"] = lambda: seen.append(shop.pay("wallet").id)
    shop.payments.capture(session.id)
    assert seen == [session.id]


@pytest.mark.parametrize("call", ["cancel", "final capture"])
def test_what_may_end_what_is_authorized_is_waited_for(shop, monkeypatch, call):
    monkeypatch.setattr(paying, "PATIENCE", 0.0)
    session = paid(shop, shop.card, shop.pay())
    seen = []

    def meanwhile():
        with pytest.raises(SessionBusy) as caught:
            shop.pay("wallet")
        seen.append(caught.value.session_id)

    shop.card.meanwhile["cancel" if call == "cancel" else "capture"] = meanwhile
    if call == "cancel":
        shop.payments.cancel(session.id)
    else:
        shop.payments.capture(session.id, eur("10.00"), final=True)
    assert seen == [session.id]


def test_one_that_is_authorized_though_its_cancel_was_asked_for_is_not_the_payment(make):
    shop = make(lookup="none")
    session = shop.pay()
    shop.card.answers["authorize"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    with pytest.raises(OutcomeUnknown, match="remembered"):
        shop.payments.cancel(session.id)
    shop.card.answers = {"authorize": Outcome.authorized(), "cancel": NotApplied("down")}
    with pytest.raises(SessionBusy) as caught:
        shop.pay("wallet")
    assert (caught.value.session_id, shop.payments.get(session.id).status) == (session.id, "authorized")
    assert shop.wallet.calls == []
    shop.card.answers["cancel"] = Outcome.canceled()
    assert shop.pay("wallet").status == "requires_more"
    assert shop.payments.get(session.id).status == "canceled"


def test_one_whose_payment_is_in_doubt_goes_on_once_the_doubt_can_be_settled(make):
    shop = make(lookup="none")
    shop.card.answers["initiate"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown) as caught:
        shop.pay()
    shop.card.answers.clear()
    session = shop.pay()
    assert (session.id, session.status) == (caught.value.session_id, "requires_more")


# --- how long it waits --------------------------------------------------------------------------------


def test_a_call_that_died_is_waited_for_until_its_lease_is_over(shop, monkeypatch):
    class Crash(BaseException):
        pass

    def dies():
        raise Crash

    shop.card.meanwhile["initiate"] = dies
    with pytest.raises(Crash):
        shop.pay()
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        shop.clock.forward(minutes=1)

    monkeypatch.setattr(paying.time, "sleep", sleep)
    session = shop.pay()
    assert (session.status, len(statuses(shop))) == ("requires_more", 1)
    assert 0 < len(pauses) < 5


@pytest.mark.parametrize(
    ("after", "waits"), [(-1, True), (0, False), (1, False)], ids=["alive", "over", "old"]
)
def test_a_call_in_the_way_is_waited_for_while_its_lease_lives(shop, after, waits):
    session = paid(shop, shop.card, shop.pay())
    seen = []

    def meanwhile():
        begun = shop.payments.history(session.id)[-1]
        shop.clock.now = begun.lease_until + timedelta(seconds=after)
        busy = SessionBusy("busy", session_id=session.id, operation_id=begun.id)
        seen.append(waiting(shop)._in_progress(busy))

    shop.card.meanwhile["capture"] = meanwhile
    shop.payments.capture(session.id)
    assert seen == [waits]


def test_a_call_that_has_just_ended_is_tried_again_and_one_that_nobody_knows_is_not(shop):
    session = shop.pay()
    ended = shop.payments.history(session.id)[-1].id
    for operation_id, waits in ((ended, True), (f"{session.id}-9-unknown", False), (None, False)):
        busy = SessionBusy("busy", session_id=session.id, operation_id=operation_id)
        assert waiting(shop)._in_progress(busy) is waits


def waiting(shop):
    """Return a call of `pay` that has met something."""
    return paying.Pay(shop.payments, shop.payments._engine, None, None)


def test_one_that_is_in_doubt_is_not_waited_for(make, monkeypatch):
    shop = make(lookup="none", replay_window=timedelta(0))
    monkeypatch.setattr(paying.time, "sleep", lambda _: pytest.fail("nobody is at work on it"))
    shop.card.answers["initiate"] = OutcomeUnknown("reset")
    with pytest.raises(OutcomeUnknown):
        shop.pay()
    with pytest.raises(SessionBusy):
        shop.pay()


def test_an_order_that_never_rests_is_busy(shop, monkeypatch):
    attempts = []
    monkeypatch.setattr(paying.Pay, "_attempt", lambda _: attempts.append(1))
    with pytest.raises(SessionBusy, match="too fast"):
        shop.pay()
    assert len(attempts) == paying.ATTEMPTS
