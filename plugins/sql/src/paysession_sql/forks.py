"""Bringing stores to rest before the process forks: no connection is carried across a fork.

SQLite forbids it (https://www.sqlite.org/howtocorrupt.html, "Carrying an open database connection
across a fork"): a child that inherits an open database relies on file locks that only its parent
holds. Closing the inherited connection there does not help, for SQLite keeps what it knows of the
file's locks once per process. So the connections are closed *before* the fork, and opened anew by
whoever calls next, parent or child.

The same stores are closed when the interpreter ends: a daemon thread may be inside SQLite then.
"""

from __future__ import annotations

import atexit
import logging
import mmap
import os
from threading import RLock
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["Watched", "generation", "watch"]

logger = logging.getLogger("paysession")


# --- which process this is ------------------------------------------------------------------------

_WIPE_ON_FORK: Final = 18  # of madvise(2), since Linux 4.14
_MOST: Final = 255


def _wiped_page() -> mmap.mmap | None:
    """Return a page of memory that the kernel fills with zeros in a forked process, where it can."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        page.madvise(_WIPE_ON_FORK)
    except (OSError, ValueError):
        page.close()
        return None
    return page


_page: Final = _wiped_page()
_generations: Final[dict[int, int]] = {}


def generation() -> int:
    """Return a number that is another one in a forked process, also where Python's handlers do not run.

    A server written in C may fork without them. To ask for the process's id each time would take longer
    than all else that a call does before it reaches SQLite.
    """
    if _page is None:
        return os.getpid()
    return _page[0] or _new_generation(_page)


def _new_generation(page: mmap.mmap) -> int:
    page[0] = number = _generations.setdefault(os.getpid(), len(_generations) % _MOST + 1)
    return number


# --- what happens at a fork -----------------------------------------------------------------------


class Watched(Protocol):
    """What has to know that the process forks or ends."""

    def before_fork(self) -> None:
        """Come to rest; this returns once it is safe to fork."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin anew, alone in the process."""
        ...

    def close(self) -> None:
        """Close: calls that run are waited for."""
        ...


class _Stores:
    """All that is watched. From before a fork until after it, nothing is added."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.all: WeakSet[Watched] = WeakSet()
        self.stopped: list[Watched] = []

    def before(self) -> None:
        self.lock.acquire()
        self.stopped = list(self.all)
        for store in self.stopped:
            try:
                store.before_fork()
            except Exception:  # the others come to rest all the same, and this one refuses in the child
                logger.exception("a store did not come to rest before a fork")

    def after_in_parent(self) -> None:
        for store in self.stopped:
            store.after_fork_in_parent()
        self.stopped = []
        self.lock.release()

    def after_in_child(self) -> None:
        self.lock = RLock()
        for store in self.stopped:
            store.after_fork_in_child()
        self.stopped = []

    def end(self) -> None:
        for store in list(self.all):
            store.close()


_stores: Final = _Stores()


def watch(store: Watched) -> None:
    """Have a store take part in the forks and in the end of this process, for as long as it exists."""
    with _stores.lock:
        _stores.all.add(store)


atexit.register(_stores.end)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=_stores.before,
        after_in_parent=_stores.after_in_parent,
        after_in_child=_stores.after_in_child,
    )
