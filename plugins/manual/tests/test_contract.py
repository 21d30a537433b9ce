"""The contract of a provider, on manual."""

from paysession_manual.contract import ManualContract


class TestManual(ManualContract):
    pass
