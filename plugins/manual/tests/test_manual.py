import subprocess
import sys

import pytest

from paysession import Declined, InvalidAmount, Money, NotOffered, Payments, SettingsError


def eur(amount):
    return Money(amount, "EUR")


@pytest.fixture
def pay():
    with Payments.open("memory:", providers={"manual": {"iban": "DE02"}}, environ={}) as payments:
        yield payments


def begin(pay, **options):
    order = pay.create_collection(eur("42.00"), reference="order-1")
    return pay.initiate(order.id, provider="manual", **options)


def test_the_payer_is_told_what_to_do(pay):
    session = begin(pay)
    assert session.status == "pending"
    assert session.next_action.kind == "bank_transfer"
    due = session.next_action.fields["due"]
    assert session.next_action.fields == {
        "amount": "42.00", "currency": "EUR", "reference": "order-1", "iban": "DE02", "due": due,
    }  # fmt: skip
    assert len(due) == 10


def test_a_persons_confirmation_authorizes_and_is_kept(pay):
    session = begin(pay)
    session = pay.authorize(session.id, payload={"by": "ann", "reference": "12/3", "card": "4242"})
    assert session.status == "authorized"
    assert session.data["confirmed"] == {"by": "ann", "reference": "12/3"}


def test_without_a_person_nothing_is_authorized(pay):
    session = pay.authorize(begin(pay).id)
    assert (session.status, session.authorized) == ("requires_more", 0)
    assert session.next_action.kind == "bank_transfer"
    assert pay.authorize(session.id, payload={"by": "ann"}).status == "authorized"


def test_a_payers_return_confirms_nothing_whatever_it_says(pay):
    session = begin(pay)
    assert session == pay.resume(session.id, payload={"by": "ann", "reference": "12/3"})
    assert (session.status, session.authorized) == ("pending", 0)


@pytest.mark.parametrize(
    "payload", [{"by": ""}, {"by": 3}, {"by": "x" * 201}, {"by": "ann", "reference": ["x"]}]
)
def test_a_confirmation_that_is_none_is_declined(pay, payload):
    session = pay.authorize(begin(pay).id, payload=payload)
    assert (session.status, session.error.code) == ("error", "invalid_confirmation")


def test_auto_authorize_needs_nobody():
    settings = {"auto_authorize": True, "method": "cash"}
    with Payments.open("memory:", providers={"manual": settings}, environ={}) as pay:
        session = begin(pay)
        assert "due" not in session.next_action.fields
        assert pay.authorize(session.id).status == "authorized"
        order = pay.create_collection(eur("1.00"), reference="order-2")
        session = pay.initiate(order.id, provider="manual", capture="automatic")
        assert session == pay.resume(session.id)
        assert pay.authorize(session.id).captured_amount == eur("1.00")


def test_a_till_is_for_operators_only(pay):
    settings = {"use": "manual", "auto_authorize": True, "method": "cash"}
    with Payments.open("memory:", providers={"manual": {}, "till": settings}, environ={}) as pay:
        assert pay.offered == ("manual",)
        order = pay.create_collection(eur("1.00"), reference="order-1")
        with pytest.raises(NotOffered, match="may not choose the provider 'till'; offered are: manual"):
            pay.initiate(order.id, provider="till", origin="payer")
        assert pay.sessions() == ()
        assert pay.initiate(order.id, provider="till").status == "pending"


def test_each_session_may_choose_its_method(pay):
    session = begin(pay, data={"method": "invoice"})
    assert session.next_action.kind == "invoice"
    with pytest.raises(Declined, match="method is one of"):
        pay.initiate(session.collection_id, provider="manual", data={"method": "barter"})


def test_capture_refund_and_cancel_are_one_transaction_each(pay):
    session = begin(pay)
    session = pay.update(session.id, eur("40.00"))
    assert session.next_action.fields["amount"] == "40.00"
    pay.authorize(session.id, payload={"by": "ann"})
    pay.capture(session.id, eur("20.00"))
    pay.capture(session.id, eur("5.00"))
    pay.refund(session.id, eur("10.00"))
    session = pay.cancel(session.id)
    assert (session.authorized, session.captured, session.refunded) == (2500, 2500, 1000)
    assert session.version == len(pay.history(session.id)) == 7
    assert not session.in_doubt
    with pytest.raises(InvalidAmount):
        pay.refund(session.id, eur("15.01"))


@pytest.mark.parametrize(
    "settings", [{"method": "barter"}, {"due_days": -1}, {"due_days": "soon"}, {"ibam": "DE02"}, {"iban": 3}]
)
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(SettingsError):
        Payments.open("memory:", providers={"manual": settings}, environ={})


def test_selecting_it_imports_no_sdk():
    code = (
        "import sys\nfrom paysession import Payments\n"
        "Payments.open('memory:', providers=['manual'], environ={})\n"
        "sys.exit(bool({'stripe', 'paypalrestsdk', 'requests', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
