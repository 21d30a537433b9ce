"""The contract of a provider, on Later."""

from paysession_later.contract import LaterContract


class TestLater(LaterContract):
    pass
