"""What a test of the contract ends with: a broken rule in words, or the reason why it does not apply."""

from __future__ import annotations

import traceback
from typing import NoReturn

import pytest

__all__ = ["broken", "not_declared"]


def broken(rule: str, *, found: str, fix: str) -> NoReturn:
    """Fail: say which rule is broken, what was found, and what to do."""
    frames = traceback.extract_stack()[-2::-1]
    test = next((frame for frame in frames if frame.name.startswith("test_")), frames[0])
    pytest.fail(
        f"{rule}\n  found: {found}\n  fix:  {fix}\n  rule:  docs/contract-kit.md, {test.name}\n"
        f"  test:  {test.filename}:{test.lineno}",
        pytrace=False,
    )


def not_declared(why: str) -> NoReturn:
    """Report the test as not declared."""
    pytest.skip(f"not declared: {why}")
