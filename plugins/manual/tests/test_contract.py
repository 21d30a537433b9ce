"""The contract of a provider, on manual: its effects are its own, and a person plays the payer."""

import pytest

from paysession.testing import BaseProviderContract, Counterpart
from paysession_manual import Manual


class Office(Counterpart):
    cannot = {"decline": "nobody declines: what does not come is cancelled"}

    def approve(self, session):
        return {"by": "ann", "reference": "statement 12, line 3"}


class TestManual(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return Office()

    @pytest.fixture
    def make_provider(self):
        return lambda url: Manual(account_holder="Shop", iban="DE02120300000000202051")
