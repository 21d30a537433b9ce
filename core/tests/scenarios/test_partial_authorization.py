"""A gateway where the payer may pay less than was asked, accepts first, and counts in decimals of its own."""

import pytest

from helpers import eur
from paysession import Capabilities, InvalidAmount, Money, NotApplied, OutcomeUnknown
from paysession.money import exponent
from paysession.provider import Effect, Outcome, Snapshot, hookimpl
from paysession_testing import FakeProvider


class Bank(FakeProvider):
    """A bank: transfers come by notification, of whatever amount the payer chose."""

    def __init__(self, **can):
        super().__init__(lookup=can.pop("lookup", "none"))
        can.setdefault("partial_authorization", True)
        self.capabilities = Capabilities(
            capture="multiple", refund="multiple", lookup=self.capabilities.lookup, **can
        )
        self.answers = {}

    @hookimpl
    def initiate(self, session, operation):
        return Outcome.requires_more()

    @hookimpl
    def authorize(self, session, operation):
        return self.answers.get("authorize", Outcome.requires_more())

    @hookimpl
    def capture(self, session, operation):
        return self.answers.get("capture", Outcome.captured(operation.amount))

    @hookimpl
    def cancel(self, session, operation):
        raise NotApplied("a transfer cannot be canceled")

    @hookimpl
    def retrieve(self, session, operation):
        return self.answers["retrieve"]


@pytest.fixture
def bank(make_shop):
    return make_shop(Bank())


def state(shop, session, *effects):
    provider = shop.payments._registry.provider("fake")
    shop.payments._recovery.record_effects(provider, session.id, effects)
    return shop.payments.get(session.id)


def collection(shop):
    found = shop.payments.collection(shop.order.id)
    return found.status, found.authorized_amount.minor, found.captured_amount.minor


def test_a_transfer_of_a_part_authorizes_a_part_of_the_collection(bank):
    session = bank.session("requires_more")
    session = state(bank, session, Effect("authorize", eur("40.00"), reference="t1"))
    assert (session.status, session.authorized, session.conflict) == ("authorized", 4000, None)
    assert collection(bank) == ("partially_authorized", 4000, 0)
    session = state(bank, session, Effect("authorize", eur("2.00"), reference="t2"))
    assert (session.authorized, session.conflict) == (4200, None)
    assert collection(bank) == ("authorized", 4200, 0)


def test_what_is_missing_may_be_paid_in_another_session(bank):
    state(bank, bank.session("requires_more"), Effect("authorize", eur("40.00"), reference="t1"))
    rest = bank.payments.initiate(bank.order.id, provider="fake")
    assert rest.amount == eur("2.00")
    state(bank, rest, Effect("authorize", eur("2.00"), reference="t2"))
    assert collection(bank) == ("authorized", 4200, 0)


def test_money_that_came_at_once_is_partly_captured(bank):
    session = bank.session("requires_more")
    session = state(bank, session, Effect("capture", eur("40.00"), reference="t1"))
    assert (session.captured, session.conflict) == (4000, None)
    assert collection(bank) == ("partially_captured", 4000, 4000)
    session = state(bank, session, Effect("capture", eur("2.00"), reference="t2"))
    assert (session.conflict, collection(bank)) == (None, ("captured", 4200, 4200))


@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_an_overpayment_is_a_conflict(bank, kind):
    session = bank.session("requires_more")
    session = state(bank, session, Effect(kind, eur("50.00"), reference="t1"))
    assert (session.authorized, session.conflict) == (5000, "over_limit")


def test_an_overpayment_within_the_collection_is_a_conflict_until_it_is_gone(bank):
    session = bank.payments.initiate(bank.order.id, provider="fake", amount=eur("20.00"))
    session = state(bank, session, Effect("authorize", eur("30.00"), reference="t1"))
    assert session.conflict == "amount"
    session = state(bank, session, Effect("authorize", eur("30.00"), "reversed", reference="t1"))
    session = state(bank, session, Effect("authorize", eur("18.00"), reference="t2"))
    assert [row.kind for row in bank.payments.conflicts() if row.kind == "amount"] == []


def test_a_part_where_none_is_declared_is_a_conflict(make_shop):
    shop = make_shop(Bank(partial_authorization=False))
    session = state(shop, shop.session("requires_more"), Effect("authorize", eur("40.00"), reference="t1"))
    assert session.conflict == "amount"


def test_an_answer_may_authorize_or_capture_a_part(bank):
    session = bank.session("requires_more")
    bank.fake.answers["authorize"] = Outcome.authorized(amount=eur("40.00"))
    session = bank.payments.authorize(session.id)
    assert (session.authorized, session.held, session.conflict) == (4000, 4000, None)
    assert bank.payments.history(session.id)[-1].note == "42.00 EUR was asked for"


def test_an_answer_may_capture_a_part_at_once(bank):
    session = bank.session("requires_more")
    bank.fake.answers["authorize"] = Outcome.captured(eur("40.00"))
    session = bank.payments.authorize(session.id)
    assert (session.authorized, session.captured, session.conflict) == (4000, 4000, None)


@pytest.mark.parametrize("amount", ["42.01", "0.00"])
def test_an_answer_of_more_or_of_nothing_is_not_believed(bank, amount):
    session = bank.session("requires_more")
    bank.fake.answers["authorize"] = Outcome.authorized(amount=eur(amount))
    with pytest.raises(OutcomeUnknown):
        bank.payments.authorize(session.id)


def test_a_lookup_shows_a_part_and_then_the_rest(make_shop):
    shop = make_shop(Bank(lookup="consistent"))
    session = shop.session("requires_more")
    for minor in (4000, 4200):
        shop.fake.answers["retrieve"] = Snapshot(
            "authorized", authorized=Money.from_minor(minor, "EUR"), session_id=session.id
        )
        session = shop.payments.sync(session.id)
        assert (session.authorized, session.conflict) == (minor, None)
    shop.fake.answers["retrieve"] = Snapshot("authorized", authorized=eur("43.00"), session_id=session.id)
    assert shop.payments.sync(session.id).conflict == "amount"


# --- accepted, and the rest released ------------------------------------------------------------------


def test_a_pending_capture_may_have_released_the_rest(bank):
    session = state(bank, bank.session("requires_more"), Effect("authorize", eur("42.00"), reference="t1"))
    bank.fake.answers["capture"] = Outcome.pending(reference="c1", released=True)
    session = bank.payments.capture(session.id, eur("30.00"), final=True)
    assert (session.status, session.authorized, session.capturing, session.held) == (
        "authorized",
        3000,
        3000,
        3000,
    )
    session = state(bank, session, Effect("capture", eur("30.00"), reference="c1"))
    assert (session.authorized, session.captured, session.cancel_requested) == (3000, 3000, False)


def test_a_capture_that_released_the_rest_and_fails_leaves_nothing(bank):
    session = state(bank, bank.session("requires_more"), Effect("authorize", eur("42.00"), reference="t1"))
    bank.fake.answers["capture"] = Outcome.pending(reference="c1", released=True)
    session = bank.payments.capture(session.id, eur("30.00"), final=True)
    session = state(bank, session, Effect("capture", eur("30.00"), "failed", reference="c1"))
    assert (session.status, session.authorized, session.held) == ("canceled", 0, 0)


# --- decimals -----------------------------------------------------------------------------------------

OWN = {"HUF": 0, "ISK": 2, "CLP": 2, "IDR": 0}


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("42.00", "EUR", 4200), ("5", "ISK", 500), ("7", "CLP", 700), ("1000.00", "IDR", 1000), ("3", "JPY", 3)],
)
def test_an_amount_is_counted_as_the_gateway_does(amount, currency, minor):
    can = Capabilities(currency_exponents=OWN)
    assert can.minor(Money(amount, currency)) == minor
    assert can.money(minor, currency) == Money(amount, currency)
    assert can.exponent(currency) == OWN.get(currency, exponent(currency))


@pytest.mark.parametrize(
    "convert",
    [
        lambda can: can.minor(Money("42.50", "HUF")),
        lambda can: can.money(550, "ISK"),
        lambda can: can.money(5.5, "ISK"),
        lambda can: can.money(-1, "EUR"),
        lambda can: can.money(1, "XXX"),
        lambda can: can.exponent("XXX"),
    ],
)
def test_an_amount_that_cannot_be_stated_is_refused(convert):
    with pytest.raises(InvalidAmount):
        convert(Capabilities(currency_exponents=OWN))


@pytest.mark.parametrize("own", [{"XXX": 2}, {"EUR": -1}, {"EUR": "2"}, {"EUR": 9}])
def test_decimals_that_cannot_be_are_refused(own):
    with pytest.raises(InvalidAmount):
        Capabilities(currency_exponents=own)


def test_an_amount_that_the_gateway_cannot_state_is_refused_before_anything_is_sent(make_shop):
    shop = make_shop(Bank(currency_exponents={"HUF": 0}))
    order = shop.payments.create_collection(Money("1000.50", "HUF"), reference="order-2")
    with pytest.raises(InvalidAmount, match="fake: the gateway takes no decimals of HUF"):
        shop.payments.initiate(order.id, provider="fake")
    assert shop.payments.sessions(collection_id=order.id) == ()
    session = shop.payments.initiate(order.id, provider="fake", amount=Money("1000.00", "HUF"))
    with pytest.raises(InvalidAmount):
        shop.payments.update(session.id, Money("999.90", "HUF"))
    session = state(shop, session, Effect("authorize", Money("1000.00", "HUF"), reference="t1"))
    with pytest.raises(InvalidAmount):
        shop.payments.capture(session.id, Money("0.50", "HUF"))
    assert shop.payments.capture(session.id).captured == 100_000
