"""Notifications of a gateway that does not sign: anybody can send them, any number of times."""

import threading
from datetime import timedelta

import pytest
from attrs import evolve

from paysession import Capabilities, Money, NotApplied, Outcome, ProviderLoadError, hookimpl
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, WebhookEvent
from paysession_testing import FakeProvider


class Unsigned(FakeProvider):
    """A gateway whose notifications are the id of a payment, or several, and nothing else."""

    def __init__(self, approve=True, **more):
        super().__init__(approve=approve)
        self.capabilities = evolve(self.capabilities, unsigned_webhooks=True, **more)
        self.looks = 0
        self.meanwhile = bool
        self.effects = []

    @hookimpl
    def parse_webhook(self, body):
        return [
            WebhookEvent(None, "t", references=part.split(), effects=self.effects)
            for part in body.decode().split(";")
        ]

    @hookimpl
    def retrieve(self, session):
        self.looks += 1
        shown = super().retrieve(session)
        self.meanwhile()
        return shown


@pytest.fixture
def shop(make_shop):
    return make_shop(Unsigned())


def post(shop, body, **options):
    return shop.payments.handle_webhook("fake", headers={}, body=body.encode(), **options)


def kept(shop):
    return [row for key, row in shop.store._notifications.items() if key.startswith("wh_")]


def flood(shop, body, count):
    for _ in range(count):
        reply = post(shop, body)
        assert reply.status == 200
        shop.clock.forward(milliseconds=100)
        shop.payments.recover()


def test_what_names_nothing_known_is_answered_and_forgotten(shop):
    shop.session("requires_more")
    for number in range(20_000):
        reply = post(shop, f"gw_{number:08}")
        assert (reply.status, reply.body) == (200, "nothing new")
    assert (kept(shop), shop.fake.looks) == ([], 0)


def test_what_names_a_session_is_looked_into_at_once(make_shop):
    shop = make_shop(Unsigned(approve=False))
    session = shop.session("requires_more")
    shop.fake.payer_approves(session.id)
    assert post(shop, session.reference).body == "ok"
    assert shop.payments.get(session.id).status == "authorized"
    (row,) = kept(shop)
    assert (row.session_id, row.references, row.body, row.effects) == (session.id, (), b"", "[]")
    assert row.type == "unverified"
    assert (row.state, row.due_at) == ("processed", None)


def test_it_may_be_left_to_recovery(shop):
    session = shop.session("requires_more")
    assert post(shop, session.reference, settle=False).body == "ok"
    assert shop.fake.looks == 0
    assert shop.payments.recover().notifications_done == 1
    assert shop.fake.looks == 1


def test_a_flood_causes_one_look_an_interval_and_one_row(shop):
    session = shop.session("requires_more")
    flood(shop, session.reference, 295)  # 29.5 seconds
    assert shop.fake.looks == 1
    flood(shop, session.reference, 10)
    assert shop.fake.looks == 2
    flood(shop, session.reference, 290)
    assert shop.fake.looks == 2
    assert len(kept(shop)) == 1
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    assert shop.fake.looks == 3  # something came after the last look
    shop.clock.forward(minutes=1)
    assert shop.payments.recover().notifications == 0


def test_a_flood_writes_nothing_while_a_look_is_coming(shop):
    session = shop.session("requires_more")
    post(shop, session.reference)
    post(shop, session.reference)
    (row,) = kept(shop)
    for _ in range(100):
        assert post(shop, session.reference).body == "nothing new"
    assert kept(shop) == [row]
    assert (row.state, row.due_at) == ("received", row.received_at + timedelta(seconds=30))


def test_what_else_a_stranger_says_makes_no_further_row(shop):
    session = shop.session("captured")
    capture = shop.payments.history(session.id)[-1]
    shop.fake.effects = [Effect("refund", Money("42.00", "EUR"))]
    for body in (f"a {session.reference}", f"b c {capture.reference}", f"x;y;{session.reference};z"):
        post(shop, body)
    assert len(kept(shop)) == 1
    assert shop.payments.get(session.id).refunded == 0


def test_of_a_long_list_only_the_first_are_compared(shop):
    session = shop.session("requires_more")
    asked = []
    find = shop.store.find_session
    shop.store.find_session = lambda provider, references: (
        asked.append(len(references)) or find(provider, references)
    )
    many = ";".join(" ".join(f"gw_{n}" for n in range(500)) for _ in range(50))
    assert post(shop, f"{many};{session.reference}").body == "nothing new"
    assert asked == [8] * 8


def test_what_comes_during_a_look_is_looked_into_after_it(make_shop):
    shop = make_shop(Unsigned(approve=False))
    session = shop.session("requires_more")

    def paid_meanwhile():
        shop.fake.meanwhile = bool
        shop.fake.payer_approves(session.id)
        assert post(shop, session.reference).body == "nothing new"

    shop.fake.meanwhile = paid_meanwhile
    post(shop, session.reference)
    assert shop.payments.get(session.id).status == "requires_more"
    shop.clock.forward(seconds=30)
    assert shop.payments.recover().notifications == 1
    assert shop.payments.get(session.id).status == "authorized"


def test_deliveries_at_once_cause_one_look(shop):
    session = shop.session("requires_more")
    flood(shop, session.reference, 1)
    shop.clock.forward(minutes=1)
    together = threading.Barrier(4)
    known = shop.store.notification

    def at_once(notification_id):
        row = known(notification_id)
        together.wait(10)
        return row

    shop.store.notification = at_once
    threads = [threading.Thread(target=post, args=(shop, session.reference)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert shop.fake.looks == 2
    assert len(kept(shop)) == 1


def test_a_delivery_that_another_one_overtakes_is_acknowledged(shop):
    session = shop.session("requires_more")
    known = shop.store.notification

    def overtaken(notification_id):
        shop.store.notification = known
        row = known(notification_id)
        assert post(shop, session.reference, settle=False).body == "ok"
        return row

    shop.store.notification = overtaken
    reply = post(shop, session.reference)
    assert (reply.status, reply.body, shop.fake.looks) == (200, "nothing new", 0)
    assert len(kept(shop)) == 1


def test_two_workers_do_not_both_look(shop, caplog):
    session = shop.session("requires_more")
    post(shop, session.reference, settle=False)
    (row,) = kept(shop)
    inbox = shop.payments._inbox
    assert inbox.settle(row)
    assert not inbox.settle(row)  # read before the other began
    assert caplog.text == ""  # it is no fault
    assert shop.fake.looks == 1


def test_a_look_that_a_crash_cut_short_is_repeated(shop):
    session = shop.session("requires_more")

    def dies():
        shop.fake.meanwhile = bool
        raise KeyboardInterrupt

    shop.fake.meanwhile = dies
    with pytest.raises(KeyboardInterrupt):
        post(shop, session.reference)
    assert kept(shop)[0].state == "processed"
    assert shop.payments.recover().notifications == 0
    shop.clock.forward(seconds=30)
    assert shop.payments.recover().notifications_done == 1
    assert shop.fake.looks == 2


def test_a_gateway_that_is_down_is_tried_again_and_asked_at_once_when_more_comes(shop):
    session = shop.session("requires_more")

    def down():
        raise NotApplied("it is down")

    shop.fake.meanwhile = down
    post(shop, session.reference)
    for _ in range(6):
        shop.clock.now = kept(shop)[0].due_at
        shop.payments.recover()
    (row,) = kept(shop)
    assert row.state == "received"
    assert row.due_at > shop.clock.now + timedelta(minutes=10)
    shop.fake.meanwhile = bool
    looks = shop.fake.looks
    shop.clock.forward(seconds=31)
    post(shop, session.reference)
    assert shop.fake.looks == looks + 1
    assert kept(shop)[0].due_at is None


def test_a_lagging_lookup_is_asked_once_more_and_then_left_alone(make_shop):
    shop = make_shop(Unsigned(lookup="lagging", lookup_lag=timedelta(seconds=45)))
    session = shop.session("requires_more")
    post(shop, session.reference)
    looks = []
    for _ in range(6):
        shop.clock.forward(seconds=45)
        shop.payments.recover()
        looks.append(shop.fake.looks)
    assert looks == [2] * 6


def test_the_reference_of_another_provider_is_not_known_here(shop):
    other = Unsigned()
    session = shop.session("requires_more")
    payments = type(shop.payments)(shop.store, Registry({"fake": shop.fake, "other": other}))
    payments.handle_webhook("other", headers={}, body=session.reference.encode())
    assert (kept(shop), other.looks, shop.fake.looks) == ([], 0, 0)


@pytest.mark.parametrize(
    "capabilities",
    [
        Capabilities(unsigned_webhooks=True),
        Capabilities(unsigned_webhooks=True, lookup="consistent", local=True),
    ],
)
def test_who_can_neither_verify_nor_be_queried_is_refused(capabilities):
    class Believing:
        @hookimpl
        def initiate(self):
            return Outcome.pending()

        authorize = cancel = initiate

    Believing.capabilities = capabilities
    with pytest.raises(ProviderLoadError, match="unsigned_webhooks.*cannot be queried"):
        Registry({"believing": Believing()}).provider("believing")
