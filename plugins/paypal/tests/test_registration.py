"""The account's webhook, and what payers saved: by call and by command."""

import pytest

from paysession.provider import Declined
from paysession_paypal.__main__ import main
from paysession_paypal.registration import EVENTS

URL = "https://shop.example/webhooks/paypal"


@pytest.fixture
def run(fake, capsys):
    """Return a function that runs a command; its exit status, and what it printed."""
    environ = {
        "PAYSESSION_PAYPAL__CLIENT_ID": fake.client_id,
        "PAYSESSION_PAYPAL__CLIENT_SECRET": fake.client_secret,
        "PAYSESSION_PAYPAL__ENDPOINT": fake.url,
    }

    def run(*arguments, **more):
        status = main(arguments, {**environ, **more})
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_a_webhook_is_registered_once_with_all_that_is_needed(run, fake):
    status, printed = run("register-webhook", URL)
    (webhook,) = fake.webhooks
    assert (status, printed) == (0, f"PAYSESSION_PAYPAL__WEBHOOK_ID={webhook['id']}\n")
    assert (webhook["url"], {row["name"] for row in webhook["event_types"]}) == (URL, set(EVENTS))
    assert run("register-webhook", URL) == (status, printed)
    assert len(fake.webhooks) == 1


def test_what_a_webhook_lacks_is_reported_and_added(run, fake):
    run("register-webhook", URL)
    (webhook,) = fake.webhooks
    webhook["event_types"] = [{"name": "PAYMENT.CAPTURE.COMPLETED"}, {"name": "BILLING.PLAN.CREATED"}]
    known = {"PAYSESSION_PAYPAL__WEBHOOK_ID": webhook["id"]}
    status, printed = run("check-webhook", **known)
    assert (status, "CUSTOMER.DISPUTE.CREATED" in printed) == (1, True)
    assert run("register-webhook", URL)[0] == 0
    names = {row["name"] for row in fake.webhooks[0]["event_types"]}
    assert names == {*EVENTS, "BILLING.PLAN.CREATED"}, "what the shop asked for itself stays"
    assert run("check-webhook", **known) == (0, f"{URL} is sent all that is needed\n")


def test_a_webhook_for_everything_lacks_nothing(run, fake):
    run("register-webhook", URL)
    fake.webhooks[0]["event_types"] = [{"name": "*"}]
    assert run("check-webhook", PAYSESSION_PAYPAL__WEBHOOK_ID=fake.webhooks[0]["id"])[0] == 0


@pytest.mark.parametrize("webhook_id", ["", "WH-unknown"])
def test_a_webhook_that_is_not_there_is_reported(run, webhook_id):
    status, printed = run("check-webhook", PAYSESSION_PAYPAL__WEBHOOK_ID=webhook_id)
    assert (status, "no webhook with the id" in printed) == (1, True)


@pytest.mark.parametrize("url", ["http://shop.example/x", "https://shop.example:8443/x", "shop.example"])
def test_an_address_that_paypal_does_not_take_is_refused_before_anything_is_sent(make_provider, fake, url):
    with pytest.raises(Declined, match="https and port 443"):
        make_provider().register_webhook(url)
    assert fake.calls() == []


def test_what_a_payer_saved_is_deleted_and_deleting_it_again_does_no_harm(run, fake):
    token = fake.ledger.save()
    for _ in range(2):
        assert run("forget", token) == (0, f"{token} is deleted\n")
    assert fake.ledger.vault == {}


def test_without_credentials_and_with_wrong_ones_a_sentence_says_so(run):
    assert run("check-webhook", PAYSESSION_PAYPAL__CLIENT_ID="")[1].startswith(
        "not set: PAYSESSION_PAYPAL__CLIENT_ID"
    )
    status, printed = run("forget", "V1", PAYSESSION_PAYPAL__CLIENT_SECRET="wrong-secret-7")
    assert (status, "client_id and client_secret" in printed) == (1, True)
    assert "wrong-secret-7" not in printed
    assert run("forget", "V1", PAYSESSION_PAYPAL__ENVIRONMENT="moon")[0] == 1
