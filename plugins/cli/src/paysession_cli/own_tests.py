"""A plugin of pytest that leaves the contract out: it is run by itself, and is not counted here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["is_contract", "pytest_collection_modifyitems"]


def is_contract(cls: object) -> bool:
    """Return whether a class is a contract of `paysession_testing`, without importing that."""
    return isinstance(cls, type) and hasattr(cls, "test_initiate_charges_nothing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to a contract."""
    config.hook.pytest_deselected(items=[item for item in items if is_contract(getattr(item, "cls", None))])
    items[:] = [item for item in items if not is_contract(getattr(item, "cls", None))]
