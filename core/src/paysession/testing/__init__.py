"""For tests: a fake provider for a shop's own suite, and the contract of a store.

``FakeProvider`` needs nothing but the core; ``StoreContract`` needs pytest (``paysession[testing]``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paysession.testing.fake import FakeProvider, LedgerEntry

if TYPE_CHECKING:
    from paysession.testing.stores import StoreContract

__all__ = ["FakeProvider", "LedgerEntry", "StoreContract"]


def __getattr__(name: str) -> Any:
    if name == "StoreContract":  # it imports pytest, which a shop's fixture of FakeProvider may do without
        from paysession.testing.stores import StoreContract  # noqa: PLC0415

        return StoreContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
