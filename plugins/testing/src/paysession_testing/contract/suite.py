"""The contract of a provider, put together: the class that an author subclasses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

from paysession_testing.contract.bench import Bench
from paysession_testing.contract.connections import ConnectionsContract
from paysession_testing.contract.doubt import DoubtContract
from paysession_testing.contract.faults import FaultsContract
from paysession_testing.contract.increments import IncrementsContract
from paysession_testing.contract.lives import LivesContract
from paysession_testing.contract.meanwhile import MeanwhileContract
from paysession_testing.contract.notifications import NotificationsContract, without_webhook_settings
from paysession_testing.contract.package import PackageContract
from paysession_testing.contract.secrets import SecretsContract
from paysession_testing.contract.truth import TruthContract
from paysession_testing.contract.wire import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paysession_testing.contract.counterpart import Counterpart
    from paysession_testing.contract.wire import Wire

__all__ = ["TESTS", "BaseProviderContract"]

_PARTS: Final = (
    LivesContract,
    TruthContract,
    FaultsContract,
    ConnectionsContract,
    DoubtContract,
    IncrementsContract,
    NotificationsContract,
    MeanwhileContract,
    SecretsContract,
    PackageContract,
)

TESTS: Final = {
    name: function for part in _PARTS for name, function in vars(part).items() if name.startswith("test_")
}
"""Every test of the contract, by name."""


class BaseProviderContract(
    # The last one's tests run first.
    PackageContract,
    SecretsContract,
    MeanwhileContract,
    NotificationsContract,
    IncrementsContract,
    DoubtContract,
    ConnectionsContract,
    FaultsContract,
    TruthContract,
    LivesContract,
):
    """What every provider has to keep: subclass it as ``class TestMyProvider(BaseProviderContract)``.

    Fill in two fixtures: ``gateway``, which returns a `Counterpart` (your gateway, as a small fake),
    and ``make_provider``, which returns a function from an address to a new provider. What the
    provider's capabilities declare decides which tests run; the others are skipped, and say why. A
    test that a subclass overrides or deletes fails by its name.
    """

    @pytest.fixture
    def gateway(self) -> Counterpart:
        """Return the counterpart of the gateway: to be filled in."""
        pytest.fail(
            f"{type(self).__name__}: fill in the fixture `gateway`: return a Counterpart, your gateway as a "
            "small fake (docs/contract-kit.md)",
            pytrace=False,
        )

    @pytest.fixture
    def make_provider(self, gateway: Counterpart) -> Callable[[str], object]:
        """Return a function that makes a provider which speaks to an address: to be filled in."""
        del gateway
        pytest.fail(
            f"{type(self).__name__}: fill in the fixture `make_provider`: return a function that takes the "
            "gateway's address and returns a new provider with a short timeout (docs/contract-kit.md)",
            pytrace=False,
        )

    @pytest.fixture
    def wire(self, gateway: Counterpart) -> Iterator[Wire]:
        """Return what stands between provider and gateway: sockets, unless a subclass has its own way."""
        proxy = Proxy(gateway)
        yield proxy
        proxy.close()

    @pytest.fixture
    def bench(
        self, gateway: Counterpart, wire: Wire, make_provider: Callable[[str], object]
    ) -> Iterator[Bench]:
        """Return the bench on which the provider is tried."""
        bench = Bench(gateway, wire, make_provider)
        yield bench
        bench.close()

    @pytest.fixture
    def provider_without_webhook_secret(self, bench: Bench) -> object | None:
        """Return the provider as if nothing had been configured to verify notifications with.

        An attrs class whose settings are named ``webhook...`` is done without being told; another one
        fills this in. None: there is no such provider, because the settings are required.
        """
        return without_webhook_settings(bench.plugin)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, function in TESTS.items():
            if inspect.getattr_static(cls, name, None) is not function:
                setattr(cls, name, _replaced(cls, name))


def _replaced(cls: type, name: str) -> Callable[[object], NoReturn]:
    """Return a test that fails in place of one that was overridden or deleted."""

    def test(self: object) -> NoReturn:
        del self
        pytest.fail(
            f"{cls.__name__} overrides or deletes {name}: a test of the contract is not the provider's to "
            "change. What it does not do is said by its capabilities, or by the counterpart's `cannot`.",
            pytrace=False,
        )

    test.__name__ = name
    return test
