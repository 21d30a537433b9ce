"""For tests: a fake provider for a shop's own suite, and the contracts of a provider and of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paysession_testing.contract.counterpart import Counterpart, Reply, Request
from paysession_testing.fake import FakeProvider, LedgerEntry

if TYPE_CHECKING:
    from paysession_testing.contract.suite import BaseProviderContract
    from paysession_testing.stores import StoreContract

__all__ = [
    "BaseProviderContract",
    "Counterpart",
    "FakeProvider",
    "LedgerEntry",
    "Reply",
    "Request",
    "StoreContract",
]


if not TYPE_CHECKING:  # a checker of types sees the names above, and no others

    def __getattr__(name: str) -> Any:
        if name == "StoreContract":  # it imports pytest
            from paysession_testing.stores import StoreContract  # noqa: PLC0415

            return StoreContract
        if name == "BaseProviderContract":
            from paysession_testing.contract.suite import BaseProviderContract  # noqa: PLC0415

            return BaseProviderContract
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
