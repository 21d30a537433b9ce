"""The contract of a provider where the payer acts by a token in the payload only."""

import importlib.util
from pathlib import Path

import pytest

from paysession_testing import BaseProviderContract

spec = importlib.util.spec_from_file_location("token_cards", Path(__file__).with_name("token_cards.py"))
cards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cards)


class TokenContract(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return self.counterpart()

    @pytest.fixture
    def make_provider(self):
        return lambda url: self.provider(url, timeout=0.5)

    @pytest.fixture
    def provider_without_webhook_secret(self, wire):
        return self.provider(wire.url, webhook_secret=None)


class TestTokenIntents(TokenContract):
    counterpart, provider = cards.TokenIntents, cards.TokenIntentProvider


class TestTokenCards(TokenContract):
    counterpart, provider = cards.TokenCards, cards.TokenCardProvider
