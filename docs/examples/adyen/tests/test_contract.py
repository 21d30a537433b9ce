"""The contract of a provider, on a fake of Adyen that keeps to Adyen's documentation."""

import pytest
from fake_adyen import ACCOUNT, API_KEY, HMAC_KEY, FakeAdyen
from paysession_adyen import Adyen

from paysession_testing import BaseProviderContract


class TestAdyen(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return FakeAdyen()

    @pytest.fixture
    def make_provider(self):
        return lambda url: Adyen(
            api_key=API_KEY, merchant_account=ACCOUNT, webhook_hmac_key=HMAC_KEY, api_base=url, timeout=0.5
        )
