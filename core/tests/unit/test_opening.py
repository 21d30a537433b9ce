"""What `Payments.open` takes from code, from the environment and from a file."""

from datetime import UTC, datetime

import pytest

from paysession import ConfigurationError, Money, Payments, hookimpl
from paysession_testing import FakeProvider


class Notified(FakeProvider):
    """Keeps where it is told to send its notifications."""

    url = None

    @hookimpl
    def initiate(self, session, operation):
        self.url = operation.webhook_url
        return super().initiate(session, operation)


def first_payment(payments):
    order = payments.create_collection(Money("1.00", "EUR"), reference="r")
    return payments.initiate(order.id, provider=payments.providers()[0].name)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "https://file/webhooks/shop-us"), ("https://code/pay/", "https://code/pay/webhooks/shop-us")],
)
def test_the_public_url_of_the_file_is_used_unless_code_gives_one(tmp_path, given, expected):
    config = tmp_path / "pay.toml"
    config.write_text('store = "memory:"\npublic_url = "https://file"\n')
    provider = Notified()
    with Payments.open(
        config=config, providers={"shop-us": provider}, environ={}, public_url=given
    ) as payments:
        first_payment(payments)
    assert provider.url == expected


def test_the_plugins_of_the_file_are_used_unless_code_gives_some(tmp_path):
    config = tmp_path / "pay.toml"
    config.write_text('store = "memory:"\nplugins = ["nix"]\n')
    options = {"config": config, "providers": {"fake": FakeProvider()}, "environ": {}}
    with pytest.raises(ConfigurationError, match="no installed distribution offers a plugin 'nix'"):
        Payments.open(**options)
    Payments.open(**options, plugins=[]).close()


def test_the_clock_that_is_given_dates_everything():
    now = datetime(2001, 2, 3, tzinfo=UTC)
    with Payments.open(
        "memory:", providers={"fake": FakeProvider()}, environ={}, clock=lambda: now
    ) as payments:
        session = first_payment(payments)
        (order,) = payments.collections()
        assert {session.created_at, session.updated_at, order.created_at, order.updated_at} == {now}
        (operation,) = payments.history(session.id)
        (event,) = payments.events()
        assert {operation.created_at, operation.updated_at, event.occurred_at} == {now}
        assert (event.reference, session.collection_reference) == ("r", "r")


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("PAYSESSION_DB", "memory:")
    with Payments.open(providers={"fake": FakeProvider()}) as payments:
        assert first_payment(payments).status == "requires_more"


def test_an_instance_shows_what_it_can_do():
    fake = FakeProvider()
    with Payments.open("memory:", providers={"mine": fake}, environ={}) as payments:
        shown = payments.providers()[0]
    assert (shown.name, shown.distribution, shown.selected) == ("mine", "", True)
    assert (shown.capabilities, shown.problem) == (fake.capabilities, None)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": 42}, "the store is named by a URL"),
        ({"url": "payments.db"}, "named by a URL; for a file: sqlite:///payments.db"),
        ({"public_url": 1}, "public_url is a URL such as https://shop.example/pay$"),
        ({"public_url": "shop.example/pay"}, "public_url is a URL"),
        ({"public_url": "https://"}, "public_url is a URL"),
        ({"public_url": "https:///pay"}, "public_url is a URL"),
        ({"public_url": "https://shop example/pay"}, "public_url is a URL"),
        ({"public_url": "https://shop.example/pay\n"}, "public_url is a URL"),
        ({"public_url": "https://shop.example/pay?x=1"}, "public_url is a URL"),
        ({"public_url": "https://shop.example/pay#top"}, "public_url is a URL"),
        ({"providers": "fake"}, 'a list of names, such as \\["stripe"]'),
        ({"providers": [FakeProvider()]}, "give an instance one: {'name': FakeProvider"),
    ],
)
def test_what_cannot_be_opened_is_an_error_that_says_what_is_wanted(given, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        Payments.open(**{"url": "memory:", "providers": {"fake": FakeProvider()}, "environ": {}} | given)
