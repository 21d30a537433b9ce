"""The contract of a provider, filled in for `Manual`: a person plays the payer, and there is no gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paysession_manual import Manual
from paysession_testing import BaseProviderContract, Counterpart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession.provider import PaymentSession

__all__ = ["ManualContract"]


class Office(Counterpart):
    """Whoever looks at the bank statement."""

    cannot = {"decline": "nobody declines: a transfer that does not come is cancelled"}  # noqa: RUF012

    def approve(self, session: PaymentSession) -> Mapping[str, str]:
        """Confirm that the money came."""
        del session
        return {"by": "ann", "reference": "statement 12, line 3"}


class ManualContract(BaseProviderContract):
    """Run by this package's tests, and by ``paysession check manual``."""

    @pytest.fixture
    def gateway(self) -> Counterpart:
        """Return the office."""
        return Office()

    @pytest.fixture
    def make_provider(self) -> Callable[[str], Manual]:
        """Return what makes the provider; there is no address."""
        return lambda _: Manual(account_holder="Shop", iban="DE02120300000000202051")
