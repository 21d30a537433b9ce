"""The contract on a bank: short order numbers, no keys, paid at once on its page, and nothing to cancel."""

import importlib.util
from pathlib import Path

import pytest

from paysession_testing import BaseProviderContract

spec = importlib.util.spec_from_file_location("bank", Path(__file__).with_name("bank.py"))
bank = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bank)


class TestBank(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return bank.Bank()

    @pytest.fixture
    def make_provider(self):
        return lambda url: bank.BankProvider(url, timeout=0.5)
