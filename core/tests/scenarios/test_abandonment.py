"""What nobody pays is watched for as long as it can be paid, or canceled after a time."""

from datetime import timedelta

import pytest

from helpers import eur
from paysession import Declined, NotApplied, Outcome, OutcomeUnknown, Payments, SettingsError
from paysession._plugins.registry import Registry
from paysession.errors import InvalidData
from paysession.outcome import Effect, Snapshot
from paysession_testing import FakeProvider


@pytest.fixture
def told(make_told):
    """Return a shop whose payer has not approved anything."""
    return make_told(approve=False)


def rounds(shop, **duration):
    """Let recovery run every hour for a while."""
    until = shop.clock.now + timedelta(**duration)
    while shop.clock.now < until:
        shop.clock.forward(hours=1)
        shop.payments.recover()


@pytest.mark.parametrize("days", [8, 40, 200])
def test_a_payment_long_after_is_found_without_a_notification(told, days):
    session = told.session("requires_more")
    rounds(told, days=days)
    told.fake.authorize_in_browser(session.id)
    rounds(told, days=8)
    assert told.payments.get(session.id).status == "authorized"


def test_it_is_looked_at_ever_more_seldom(told):
    told.session("requires_more")
    rounds(told, days=8)
    looks = len(told.fake.looks)
    assert 28 < looks < 40
    rounds(told, days=92)
    assert len(told.fake.looks) - looks < 20


def test_one_that_is_not_paid_in_time_is_canceled_at_the_gateway(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=24))
    rounds(told, hours=23)
    assert told.payments.get(session.id).status == "requires_more"
    rounds(told, hours=1)
    assert told.payments.get(session.id).status == "canceled"
    assert ("cancel", told.payments.history(session.id)[-1].key) in told.fake.calls
    event = told.payments.events()[-1]
    assert (event.type, event.detail) == ("session.canceled", "abandoned")
    assert told.payments.history(session.id)[-1].reason == "abandoned"
    assert told.payments.get(session.id).due_at is None


@pytest.mark.parametrize(
    ("options", "waits"),
    [({}, timedelta(days=2)), ({"abandon_after": timedelta(hours=1)}, timedelta(hours=1))],
)
def test_a_settings_file_says_how_long_one_waits_unless_code_does(tmp_path, options, waits):
    file = tmp_path / "paysession.toml"
    file.write_text('store = "memory:"\nabandon_after = 172_800\n')
    with Payments.open(config=file, providers={"fake": FakeProvider()}, environ={}, **options) as payments:
        order = payments.create_collection(eur("1.00"), reference="order-1")
        session = payments.initiate(order.id, provider="fake")
        assert session.abandon_at - session.created_at == waits


@pytest.mark.parametrize("value", ["0", "-1", "true", '"2 days"', "nan", "inf", "31_622_401", "[1]"])
def test_a_time_of_a_settings_file_that_makes_no_sense_is_refused(tmp_path, value):
    file = tmp_path / "paysession.toml"
    file.write_text(f'store = "memory:"\nabandon_after = {value}\n')
    with pytest.raises(SettingsError, match="abandon_after is a number of seconds"):
        Payments.open(config=file, providers={"fake": FakeProvider()}, environ={})


def test_one_that_was_paid_just_before_is_not_canceled(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=24))
    rounds(told, hours=23)
    told.fake.authorize_in_browser(session.id)
    rounds(told, hours=48)
    assert told.payments.get(session.id).status == "authorized"
    assert "cancel" not in [kind for kind, _ in told.fake.calls]


def test_one_that_is_paid_while_it_is_canceled_stays_paid(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.meanwhile["cancel"] = lambda: told.fake.authorize_in_browser(session.id)
    told.fake.answers["cancel"] = Declined("paid")
    rounds(told, hours=2)
    assert told.payments.get(session.id).status == "authorized"


def test_nothing_is_canceled_that_could_not_be_looked_at(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.snapshot = OutcomeUnknown("down")
    rounds(told, hours=48)
    assert told.payments.get(session.id).status == "requires_more"
    told.fake.snapshot = None
    rounds(told, hours=24)
    assert told.payments.get(session.id).status == "canceled"


@pytest.mark.parametrize(
    "answer", [NotApplied("down"), OutcomeUnknown("reset"), Declined("in_use")], ids=repr
)
def test_a_cancel_that_fails_is_attempted_again(told, answer):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["cancel"] = answer
    rounds(told, hours=5)
    assert told.payments.get(session.id).status == "requires_more"
    told.fake.answers.clear()
    rounds(told, hours=48)
    assert told.payments.get(session.id).status == "canceled"


def test_what_is_in_doubt_when_its_time_is_over_is_looked_at_once_in_a_run(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["authorize"] = told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    told.clock.forward(hours=2)
    told.fake.looks.clear()
    told.payments.recover()
    assert len(told.fake.looks) == 1
    assert told.payments.get(session.id).in_doubt


def test_a_cancel_that_somebody_asked_for_stays_theirs_when_the_time_is_over(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["authorize"] = told.fake.snapshot = OutcomeUnknown("down")
    with pytest.raises(OutcomeUnknown):
        told.payments.authorize(session.id)
    with pytest.raises(OutcomeUnknown, match="remembered"):
        told.payments.cancel(session.id, by="ann")
    told.fake.answers = {"authorize": Declined("no"), "cancel": NotApplied("down")}
    told.fake.snapshot = None
    told.clock.forward(hours=2)
    told.payments.recover()
    assert told.payments.get(session.id).cancel_requested
    told.fake.answers.clear()
    told.clock.forward(hours=2)
    told.payments.recover()
    rows = [row for row in told.payments.history(session.id) if row.kind == "cancel"]
    assert {(row.by, row.reason) for row in rows} == {("ann", None)}
    assert told.payments.get(session.id).status == "canceled"


def test_what_an_early_look_cancels_is_said_to_be_settled(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["cancel"] = NotApplied("down")
    told.clock.forward(hours=1)
    assert told.payments.recover().waiting == (session.id,)
    told.fake.answers.clear()
    assert told.payments.get(session.id).due_at > told.clock.now
    assert told.payments.recover(now=True).settled == (session.id,)
    assert told.payments.get(session.id).status == "canceled"


def test_one_that_failed_is_abandoned_too(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["authorize"] = Declined("card_declined")
    assert told.payments.authorize(session.id).status == "error"
    rounds(told, hours=2)
    assert told.payments.get(session.id).status == "canceled"


def test_a_bank_that_is_at_work_is_not_interrupted(told):
    session = told.session("requires_more", abandon_after=timedelta(hours=1))
    told.fake.answers["authorize"] = Outcome.pending()
    told.payments.authorize(session.id)
    told.fake.snapshot = Snapshot("pending", effects=[Effect("authorize", eur("42.00"), "pending")])
    rounds(told, hours=12)
    assert told.payments.get(session.id).authorizing is not None
    assert "cancel" not in [kind for kind, _ in told.fake.calls]


def test_a_gateway_that_cannot_be_queried_is_told_in_time(make_told):
    told = make_told(lookup="none", approve=False)
    soon = told.clock.now + timedelta(minutes=30)
    told.fake.answers["initiate"] = Outcome.requires_more(expires_at=soon)
    session = told.session("requires_more", abandon_after=timedelta(hours=24))
    told.fake.answers = {"cancel": Outcome.canceled()}
    rounds(told, hours=12)
    assert [row.needs_operator for row in told.payments.in_doubt()] == [True]
    rounds(told, hours=12)
    assert told.payments.get(session.id).status == "canceled"
    assert told.payments.in_doubt() == ()


def test_a_transfer_that_never_came_is_abandoned(make_shop):
    pytest.importorskip("paysession_manual")
    shop = make_shop()
    payments = Payments.open("memory:", providers=["manual"], clock=shop.clock)
    order = payments.create_collection(eur("42.00"), reference="1")
    session = payments.initiate(order.id, provider="manual", abandon_after=timedelta(days=14))
    for _ in range(14):
        shop.clock.forward(days=1)
        payments.recover()
    assert payments.get(session.id).status == "canceled"


def test_it_is_said_once_for_all_sessions_or_for_one(told):
    registry = Registry({"fake": told.fake})
    payments = Payments(told.store, registry, abandon_after=timedelta(hours=3))
    for number, more in enumerate([{}, {"abandon_after": timedelta(hours=9)}]):
        order = payments.create_collection(eur("1.00"), reference=f"o{number}")
        begin = [payments.initiate, payments.pay][number]
        session = begin(order.id, provider="fake", **more)
        assert session.abandon_at == told.clock.now + timedelta(hours=9 if more else 3)
    assert told.session("requires_more").abandon_at is None  # none by default


def test_it_is_longer_than_nothing(told):
    with pytest.raises((InvalidData, SettingsError), match="abandon_after is a timedelta"):
        told.session("requires_more", abandon_after=timedelta(0))
    with pytest.raises((InvalidData, SettingsError), match="abandon_after is a timedelta"):
        Payments.open("memory:", abandon_after="a day")


def test_a_time_beyond_all_time_is_never(told):
    assert told.session("requires_more", abandon_after=timedelta.max).abandon_at is None
