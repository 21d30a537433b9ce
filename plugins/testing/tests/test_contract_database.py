"""The contract on a gateway that is a database, which no HTTP reaches."""

import importlib.util
from pathlib import Path

import pytest

from paysession_testing import BaseProviderContract

spec = importlib.util.spec_from_file_location("gift_cards", Path(__file__).with_name("gift_cards.py"))
gift_cards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gift_cards)


class TestGiftCards(BaseProviderContract):
    @pytest.fixture
    def gateway(self, tmp_path):
        return gift_cards.Tables(tmp_path / "cards.db")

    @pytest.fixture
    def make_provider(self, tmp_path):
        return lambda url: gift_cards.GiftCards(tmp_path / "cards.db")  # the socket of the kit is not asked
