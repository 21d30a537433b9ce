"""How often this process was forked from another: connections must not cross a fork."""

from __future__ import annotations

import os

__all__ = ["generation"]

_forks = 0


def generation() -> int:
    """Return a number that is another one in a forked child: cheaper than asking for the process's id."""
    return _forks


def _forked() -> None:
    global _forks  # noqa: PLW0603 - one process has one number
    _forks += 1


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)
