"""What a host says of the payer, and what a gateway reports: kept for the provider, and shown nowhere."""

import json
import logging
from contextlib import suppress

import pytest

from paysession import Address, Checkout, InvalidData, Item, Money, Payer
from paysession.provider import Declined, Effect, Outcome, OutcomeUnknown, Snapshot, WebhookEvent, hookimpl
from paysession_testing import FakeProvider

EUR_42 = Money("42.00", "EUR")
ANN = Payer(name="Ann Miller", email="ann@example.com", address=Address(line1="1 Main St", country="US"))


class Reports(FakeProvider):
    """A gateway that cannot be queried; its notifications are what a test says."""

    def __init__(self, lookup="none"):
        super().__init__(lookup=lookup)
        self.events = []
        self.seen = []
        self.answers = {}

    @hookimpl
    def initiate(self, session, operation):
        self.seen.append(session)
        return self.answers.get("initiate", Outcome.requires_more())

    @hookimpl
    def authorize(self, session, operation):
        answer = self.answers.get("authorize", Outcome.requires_more())
        return answer() if callable(answer) else answer

    @hookimpl
    def capture(self, session, operation):
        self.seen.append(session)
        return Outcome.captured(operation.amount)

    @hookimpl
    def parse_webhook(self, headers, body):
        return self.events


def report(shop, session, *effects, **more):
    number = shop.fake.__dict__.setdefault("reported", 0)
    shop.fake.reported = number + 1
    shop.fake.events = [WebhookEvent(f"e{number}", "news", session_id=session.id, effects=effects, **more)]
    reply = shop.payments.handle_webhook("fake", headers={}, body=b"")
    assert reply.status == 200
    return shop.payments.get(session.id)


@pytest.fixture
def reports(make_shop):
    return make_shop(Reports())


CHECKOUT = Checkout(
    return_url="https://shop.example/back/{session_id}",
    address=Address(name="Ann Miller", line1="2 Side St", city="Springfield", country="US"),
    items=[
        Item("Book", Money("20.00", "EUR"), quantity=2, reference="b-1"),
        Item("Bag", Money("2.00", "EUR")),
    ],
    payer=ANN,
)


def test_a_provider_sees_the_address_the_items_and_the_payer(reports):
    reports.session("requires_more", checkout=CHECKOUT)
    checkout = reports.fake.seen[0].checkout
    assert checkout.address.city == "Springfield"
    assert [(item.name, item.amount, item.quantity, item.reference) for item in checkout.items] == [
        ("Book", Money("20.00", "EUR"), 2, "b-1"),
        ("Bag", Money("2.00", "EUR"), 1, None),
    ]
    assert checkout.payer == ANN
    assert checkout.email == "ann@example.com"
    assert "{session_id}" not in checkout.return_url


def test_mappings_are_taken_as_the_values_that_they_describe():
    amount = {"minor": 2000, "currency": "EUR"}
    made = Checkout(
        payer={"name": "Ann", "address": {"city": "Springfield"}}, items=[{"name": "Book", "amount": amount}]
    )
    assert made.payer == Payer(name="Ann", address=Address(city="Springfield"))
    assert made.items == (Item("Book", Money("20.00", "EUR")),)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Checkout(payer="Ann"), "a payer is Payer or a mapping"),
        (lambda: Checkout(payer={"phone": "1"}), "a payer has no field 'phone'"),
        (lambda: Checkout(items=[{"name": "Book"}]), "an item"),
        (lambda: Checkout(items=7), "items are a list"),
        (lambda: Checkout(items=[Item("Book", "20.00")]), "an item's amount is a Money"),
        (lambda: Checkout(items=[Item("Book", EUR_42, quantity=0)]), "quantity"),
        (lambda: Checkout(items=[Item("Book", EUR_42)] * 201), "at most 200"),
        (lambda: Checkout(address=Address(city=7)), "checkout: address: city is a str"),
        (lambda: Checkout(payer=Payer(address=Address(line1="\0"))), "address: line1 has a NUL"),
    ],
)
def test_what_is_no_checkout_is_refused_with_the_place(shop, make, words):
    with pytest.raises(InvalidData, match=words):
        shop.payments.initiate(shop.order.id, provider="fake", checkout=make())


@pytest.mark.parametrize("way", ["answer", "lookup"])
def test_the_gateway_reports_who_paid(told, way):
    session = told.session("requires_more")
    if way == "answer":
        told.fake.answers["authorize"] = Outcome.authorized(payer=ANN)
        session = told.payments.authorize(session.id)
    else:
        told.fake.snapshot = Snapshot("requires_more", session_id=session.id, payer=ANN)
        session = told.payments.sync(session.id)
    assert session.payer == ANN


def test_what_a_gateway_leaves_out_stays_as_it_is_known(reports):
    session = reports.session("requires_more")
    report(reports, session, payer=ANN)
    session = report(reports, session, payer=Payer(email="new@example.com"))
    assert session.payer == Payer(name="Ann Miller", email="new@example.com", address=ANN.address)


def test_the_payer_is_in_no_repr_event_or_log(reports, caplog):
    caplog.set_level(logging.DEBUG)
    session = reports.session("requires_more", checkout=CHECKOUT)
    session = report(reports, session, Effect("authorize", EUR_42, reference="A1"), payer=ANN)
    assert session.status == "authorized"
    assert session.payer == ANN
    shown = [session, session.checkout, session.payer, reports.fake.events, *reports.payments.events()]
    shown += [Outcome.authorized(payer=ANN), Snapshot("authorized", payer=ANN)]
    text = caplog.text + repr(shown) + "".join(map(str, shown))
    assert "Ann" not in text
    assert "ann@" not in text
    assert "Main" not in text


def test_a_payer_whose_name_no_database_can_hold_is_kept_escaped(reports):
    session = reports.session("requires_more")
    assert report(reports, session, payer=Payer(name="A\0\ud800")).payer.name == "A\\u0000\\ud800"


def test_a_notification_hands_its_reference_and_data_to_later_hooks(reports):
    session = reports.session("requires_more", data={"customer": "c1"})
    paid = Effect("authorize", EUR_42, reference="A1")
    report(reports, session, paid, reference="P1", data={"psp": "P1"})
    reports.payments.capture(session.id)
    seen = reports.fake.seen[-1]
    assert (seen.reference, seen.data) == ("P1", {"customer": "c1", "psp": "P1"})


def test_a_reference_alone_is_news_enough(reports):
    session = reports.session("requires_more")
    assert report(reports, session, reference="P1").reference == "P1"
    assert report(reports, session).reference == "P1"


def test_without_a_reference_the_authorization_is_what_later_hooks_name(reports):
    session = reports.session("requires_more")
    session = report(reports, session, Effect("authorize", EUR_42, reference="A1"))
    assert session.reference == "A1"
    session = report(reports, session, Effect("authorize", EUR_42, reference="A2"))
    assert session.conflict == "over_limit"  # another one is not the same, and does not replace the name
    assert session.reference == "A1"


@pytest.mark.parametrize("named", [None, "S1"])
def test_a_second_authorization_is_told_from_the_one_that_was_answered(reports, named):
    session = reports.session("requires_more")
    reports.fake.answers["authorize"] = Outcome.authorized(reference=named)
    session = reports.payments.authorize(session.id)
    session = report(reports, session, Effect("authorize", EUR_42, reference="A1"), reference="A1")
    assert (session.authorized, session.conflict) == (4200, None)
    session = report(reports, session, Effect("authorize", EUR_42, reference="A2"))
    assert (session.authorized, session.conflict) == (8400, "over_limit")


def test_an_answer_that_comes_after_a_notification_keeps_what_that_added(reports):
    session = reports.session("requires_more", data={"customer": "c1"})

    def meanwhile():
        report(reports, session, data={"psp": "P1"})
        return Outcome.requires_more(data={"customer": "c1", "step": 2})

    reports.fake.answers["authorize"] = meanwhile
    found = reports.payments.authorize(session.id)
    assert found.data == {"customer": "c1", "step": 2, "psp": "P1"}


@pytest.mark.parametrize("error", [Declined, OutcomeUnknown])
def test_an_error_that_comes_after_a_notification_keeps_what_that_added(reports, error):
    session = reports.session("requires_more", data={"customer": "c1"})

    def meanwhile():
        report(reports, session, data={"psp": "P1"})
        arguments = ("no", "No.") if error is Declined else ("Lost.",)
        raise error(*arguments, data={"customer": "c1", "step": 2})

    reports.fake.answers["authorize"] = meanwhile
    with suppress(error):
        reports.payments.authorize(session.id)
    assert reports.payments.get(session.id).data == {"customer": "c1", "step": 2, "psp": "P1"}


def test_a_lookup_that_a_notification_overtakes_is_made_again_with_what_that_added(make_shop):
    arrives = []

    class Slow(Reports):
        @hookimpl
        def retrieve(self, session):
            if arrives:
                report(shop, session, data=arrives.pop())
            return Snapshot("requires_more", session_id=session.id, data={**session.data, "looked": True})

    shop = make_shop(Slow("consistent"))
    session = shop.session("requires_more", data={"customer": "c1"})
    arrives.append({"psp": "P1"})
    found = shop.payments.sync(session.id)
    assert found.data == {"customer": "c1", "psp": "P1", "looked": True}


def test_an_answer_counts_though_its_data_and_a_notifications_do_not_fit_together(reports):
    session = reports.session("requires_more")

    def meanwhile():
        report(reports, session, data={"b": "y" * 60_000})
        return Outcome.authorized(data={"a": "x" * 60_000})

    reports.fake.answers["authorize"] = meanwhile
    found = reports.payments.authorize(session.id)
    assert ("authorized", ["a"]) == (found.status, list(found.data))


def test_data_that_does_not_fit_any_more_is_left_out_and_the_effects_count(reports, caplog):
    session = reports.session("requires_more", data={"a": "x" * 60_000})
    effect = Effect("authorize", EUR_42, reference="A1")
    session = report(reports, session, effect, reference="P1", data={"b": "y" * 60_000})
    assert (session.status, session.reference, list(session.data)) == ("authorized", "P1", ["a"])
    assert "data is left out" in caplog.text


def test_what_a_notification_says_waits_with_it_for_its_session(reports):
    told = WebhookEvent("e9", "news", session_id="ps_unknown", data={"a": 1}, payer=ANN)
    reports.fake.events = [told]
    reports.payments.handle_webhook("fake", headers={}, body=b"{}")
    (kept,) = reports.store.unprocessed()
    assert json.loads(json.loads(kept.details)["data"]) == {"a": 1}
    session = reports.session("requires_more")
    report(reports, session, payer=ANN)
    seen = [row for row in reports.store._notifications.values() if row.state == "processed"]
    assert [row.details for row in seen] == ["{}"]  # it was put to use


class Asked(Reports):
    @hookimpl
    def retrieve(self, session, operation):
        self.seen.append(session)
        return Snapshot("requires_more", session_id=session.id)


def test_a_lookup_is_made_with_the_reference_that_the_notification_named(make_shop):
    shop = make_shop(Asked(lookup="consistent"))
    session = shop.session("requires_more")
    session = report(shop, session, reference="P1", data={"psp": "P1"})
    seen = shop.fake.seen[-1]
    assert (seen.reference, seen.data) == ("P1", {"psp": "P1"})
