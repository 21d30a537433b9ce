import pytest

from paysession import MemoryStore
from paysession_testing import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()
