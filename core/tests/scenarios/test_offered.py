"""Which providers a payer may choose, and that test money cannot pay a live order."""

import asyncio

import pytest

from paysession import (
    AsyncPayments,
    InvalidData,
    Money,
    NotOffered,
    Payments,
    ProviderNotFound,
    SettingsError,
)
from paysession.provider import Capabilities
from paysession_testing import FakeProvider


class Till(FakeProvider):
    def __init__(self):
        super().__init__()
        self.capabilities = Capabilities(operator_only=True)


class Account(FakeProvider):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode


def order(payments):
    return payments.create_collection(Money("42.00", "EUR"), reference="order-1").id


def opened(**options):
    providers = {"card": FakeProvider(), "till": Till(), "transfer": FakeProvider()}
    return Payments.open("memory:", providers=providers, environ={}, **options)


def test_all_providers_that_are_not_for_operators_are_offered():
    with opened() as payments:
        assert payments.offered == ("card", "transfer")
        shown = {row.name: row.offered for row in payments.providers() if row.selected}
        assert shown == {"card": True, "till": False, "transfer": True}


@pytest.mark.parametrize("provider", ["till", "transfer", "unknown", "", None])
def test_a_payer_may_choose_only_what_is_offered(provider):
    with opened(offered=["card"]) as payments:
        collection = order(payments)
        with pytest.raises(NotOffered, match="offered are: card"):
            payments.initiate(collection, provider=provider, origin="payer")
        assert payments.sessions() == ()
        session = payments.initiate(collection, provider="card", origin="payer")
        assert [row.origin for row in payments.history(session.id)] == ["payer"]


def test_the_host_may_choose_any_selected_provider():
    with opened(offered=[]) as payments:
        assert payments.offered == ()
        for provider in ("card", "till", "transfer"):
            session = payments.initiate(order(payments), provider=provider)
            assert [row.origin for row in payments.history(session.id)] == ["host"]


def test_the_offer_has_the_order_that_was_given():
    with opened(offered=("transfer", "card")) as payments:
        assert payments.offered == ("transfer", "card")


@pytest.mark.parametrize(
    ("offered", "error", "sentence"),
    [
        ("card", SettingsError, "offered is a list of names"),
        (7, SettingsError, "offered is a list of names"),
        (["till"], SettingsError, "'till' is for operators only"),
        (["cash"], ProviderNotFound, "no provider 'cash' is selected"),
    ],
)
def test_an_offer_that_cannot_be_made_is_refused_at_the_start(offered, error, sentence):
    with pytest.raises(error, match=sentence):
        opened(offered=offered)


def test_an_origin_is_the_host_or_the_payer():
    with opened() as payments, pytest.raises(InvalidData, match="'host' or 'payer', not 'provider'"):
        payments.initiate(order(payments), provider="card", origin="provider")


def test_the_file_may_say_what_is_offered(tmp_path):
    file = tmp_path / "paysession.toml"
    file.write_text('store = "memory:"\noffered = ["transfer"]\n')
    with opened(config=file) as payments:
        assert payments.offered == ("transfer",)
    with opened(config=file, offered=["card"]) as payments:
        assert payments.offered == ("card",)


def test_a_provider_that_cannot_be_loaded_is_not_offered():
    pytest.importorskip("paysession_manual")
    pytest.importorskip("paysession_stripe")
    with Payments.open("memory:", environ={}) as payments:  # everything that is installed, loaded when used
        assert "manual" in payments.offered
        assert "stripe" not in payments.offered, "it has no key"
        with pytest.raises(NotOffered):
            payments.initiate(order(payments), provider="stripe", origin="payer")


def test_async_payments_offer_the_same():
    async def run():
        async with AsyncPayments(opened(offered=["card"])) as payments:
            assert payments.offered == ("card",)
            collection = await payments.create_collection(Money("42.00", "EUR"), reference="order-1")
            with pytest.raises(NotOffered):
                await payments.initiate(collection.id, provider="till", origin="payer")

    asyncio.run(run())


# --- test and live --------------------------------------------------------------------------------


def accounts(*modes):
    return {f"{mode}-{place}": Account(mode) for place, mode in enumerate(modes)}


@pytest.mark.parametrize("modes", [("test", "live"), ("live", None, "test"), ("live", "sandbox")])
def test_test_and_live_providers_are_refused_together(modes, tmp_path):
    providers = accounts(*modes)
    with pytest.raises(SettingsError, match="test money could pay a live order"):
        Payments.open("memory:", providers=providers, environ={})
    file = tmp_path / "paysession.toml"
    file.write_text("allow_mixed_modes = true\n")
    Payments.open("memory:", providers=providers, environ={}, allow_mixed_modes=True).close()
    Payments.open("memory:", providers=providers, environ={}, config=file).close()
    with pytest.raises(SettingsError, match="test money could pay a live order"):
        Payments.open("memory:", providers=providers, environ={}, config=file, allow_mixed_modes=False)


@pytest.mark.parametrize(
    "modes", [("test", "test"), ("live", "live"), ("live", None), ("test", None), ("unknown", "live")]
)
def test_what_does_not_differ_or_is_not_known_may_be_mixed(modes):
    Payments.open("memory:", providers=accounts(*modes), environ={}).close()


def test_the_permission_to_mix_is_a_flag():
    with pytest.raises(SettingsError, match="allow_mixed_modes is True or False"):
        Payments.open("memory:", providers=accounts("test"), environ={}, allow_mixed_modes="no")


def test_a_mixture_of_providers_that_are_loaded_later_is_refused_then():
    from paysession._plugins.registry import Registry

    registry = Registry(accounts("test", "live"))
    assert registry.provider("test-0").mode == "test"
    with pytest.raises(SettingsError, match="'live-1' is in live mode and 'test-0' in test mode"):
        registry.provider("live-1")
