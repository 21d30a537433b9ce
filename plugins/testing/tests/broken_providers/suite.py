"""The contract on every broken provider: run by ``test_contract_broken`` in a process of its own."""

from contextlib import suppress

import by_capture  # noqa: F401 - registers its own
import pytest
import raising  # noqa: F401 - registers its own
import tokens  # noqa: F401 - registers its own
import truths  # noqa: F401 - registers its own

with suppress(ModuleNotFoundError):  # the examples are not where this suite runs alone
    import notified  # noqa: F401 - registers its own
from providers import BROKEN
from sdk_at_import import SdkAtImport

from paysession_testing import BaseProviderContract
from paysession_testing.contract import recorder
from paysession_testing.contract.gateway import GatewayCounterpart

recorder.HANGS = 10.0
BROKEN["SdkAtImport"] = (SdkAtImport, GatewayCounterpart, ("test_importing_the_provider_loads_no_sdk",))


def contract_of(cls, counterpart):
    class Contract(BaseProviderContract):
        @pytest.fixture
        def gateway(self):
            return counterpart()

        @pytest.fixture
        def make_provider(self):
            return lambda url: cls(url, api_key="sk_of_the_shop", timeout=0.3)

        @pytest.fixture
        def provider_without_webhook_secret(self, wire):
            return cls(wire.url, webhook_secret=None, timeout=0.3)

    Contract.__name__ = f"Test{cls.__name__}"
    return Contract


for cls, counterpart, _ in BROKEN.values():
    globals()[f"Test{cls.__name__}"] = contract_of(cls, counterpart)
