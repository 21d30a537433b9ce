"""The contract of a provider, on what ships with the core: its gateway, and the fake for shops."""

import pytest

from paysession.testing import BaseProviderContract
from paysession.testing.contract.gateway import GatewayCounterpart
from paysession.testing.gateway_provider import GatewayProvider


class TestGatewayProvider(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return GatewayCounterpart()

    @pytest.fixture
    def make_provider(self):
        return lambda url: GatewayProvider(url, timeout=0.5)
