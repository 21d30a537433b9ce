"""What `Payments.open` needs: the store that a URL names, and the providers that were chosen."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession._plugins.registry import installed
from paysession._plugins.settings import Found, Table, listed
from paysession.errors import SettingsError, StoreError
from paysession.store import MemoryStore
from paysession.text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from paysession._plugins.registry import Registry
    from paysession.store import Store

__all__ = [
    "checked_deadline",
    "checked_environ",
    "checked_offer",
    "checked_path",
    "checked_url",
    "open_store",
    "read_patience",
    "selection",
]

_MOST_SECONDS: Final = 86_400
"""A longer time is a mistake of units."""

_MOST_PATIENCE: Final = 366 * 86_400
"""The longest time in seconds that a settings file may give an unpaid session."""

_PUBLIC_URL: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
"""A host and perhaps a path."""


def open_store(url: str, *, clock: Callable[[], datetime] | None = None) -> Store:
    """Open the store that a URL names; stores are found through ``paysession.stores`` by scheme.

    Raises:
        StoreError: No installed distribution offers the scheme, or the store cannot be opened.
        SettingsError: The clock returns no time with a time zone.
    """
    _check_clock(clock)
    scheme, colon, _ = url.partition(":") if isinstance(url, str) and is_storable(url) else ("", "", "")
    if not colon:
        # It is not repeated: a URL may hold a password.
        raise StoreError("the store is named by a URL; for a file: sqlite:///payments.db")
    scheme = scheme.partition("+")[0]
    if scheme == "memory":
        return MemoryStore.open(url, clock=clock)
    found = installed("paysession.stores", scheme).get(scheme)
    if found is None:
        raise StoreError(
            f"no installed distribution offers a store {scheme!r:.80}; installed are: "
            f"{', '.join(installed('paysession.stores'))} (for SQLite: pip install paysession-sql)"
        )
    store: Store = found.load()(url, clock=clock)
    return store


def selection(
    providers: Mapping[str, object] | Iterable[str] | None, file: Mapping[str, Any], config: object = None
) -> dict[str, object] | None:
    """Return the settings of the chosen providers by name; None: none were chosen, so all installed.

    Args:
        providers: What was given in code.
        file: What a settings file says; code wins over it.
        config: The file's path; `Found`: nobody named it.

    Raises:
        SettingsError: One name was given where several are expected.
    """
    found = config if isinstance(config, Found) else None
    tables = file.get("providers", {})
    if providers is None:
        return {name: Table({}, tables[name], found) for name in tables} if "providers" in file else None
    if isinstance(providers, str):
        raise SettingsError('providers is a mapping or a list of names, such as ["stripe"]')
    if not hasattr(providers, "__iter__"):
        raise SettingsError(f"providers is a mapping or a list of names, not {type(providers).__name__}")
    if hasattr(providers, "keys"):
        chosen: dict[str, Any] = dict(providers)  # type: ignore[arg-type]
        return {
            name: Table(given, tables.get(name), found) if hasattr(given, "keys") else given
            for name, given in chosen.items()
        }
    named = listed(providers, "providers")
    for name in named:
        if not isinstance(name, str):
            made = f"{{'name': {type(name).__name__}(...)}}"
            raise SettingsError(f"providers is a list of names; give an instance one: {made}")
    return {name: Table({}, tables.get(name), found) for name in named}


def checked_url(public_url: str | None) -> str | None:
    """Return where the host serves payments, or refuse what no provider can call.

    Raises:
        SettingsError: It is no URL of a host, or has a query or a fragment: a path is added to it.
    """
    if public_url is None or (isinstance(public_url, str) and not public_url):
        return None
    if isinstance(public_url, str) and _PUBLIC_URL.fullmatch(public_url):
        return public_url
    raise SettingsError("public_url is a URL such as https://shop.example/pay")


def checked_offer(offered: Iterable[str] | None, registry: Registry) -> tuple[str, ...] | None:
    """Return the names of the providers that a payer may choose; None: all that are for payers.

    Raises:
        SettingsError: It is no list of names, or one of them is for operators only.
        ProviderNotFound: One of them is not selected.
    """
    if offered is None:
        return None
    if isinstance(offered, str) or not hasattr(offered, "__iter__"):
        raise SettingsError('offered is a list of names of providers, such as ["stripe"]')
    names = tuple(listed(offered, "offered"))
    for name in names:
        if registry.provider(name).capabilities.operator_only:
            raise SettingsError(
                f"the provider {name!r} is for operators only, so a payer cannot choose it: leave it out of "
                "offered"
            )
    return names


def checked_deadline(value: object) -> timedelta | None:
    """Return how long a call may keep its caller; None: without a limit.

    Args:
        value: A time, or seconds as a settings file gives them.

    Raises:
        SettingsError: It is neither, or no time at all.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST_SECONDS:
        value = timedelta(seconds=value)
    if value is None or (isinstance(value, timedelta) and value > timedelta(0)):
        return value
    raise SettingsError(
        f"call_deadline is a time, such as timedelta(seconds=25), or None; not {shown(value)}"
    )


def read_patience(value: object) -> timedelta | None:
    """Return how long an unpaid session may wait, from a settings file; None: for ever.

    Raises:
        SettingsError: It is no number of seconds, or none of a year at the most.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST_PATIENCE:
        return timedelta(seconds=value)
    raise SettingsError(
        "in a settings file abandon_after is a number of seconds, of 366 days at the most, such as 172_800 "
        f"for two days; not {shown(value)}"
    )


def checked_path(config: str | os.PathLike[str]) -> str:
    """Return the path of a settings file, or refuse what is none.

    Raises:
        SettingsError: It is no path.
    """
    path = os.fspath(config) if isinstance(config, str | os.PathLike) else None
    if isinstance(path, str) and is_storable(path):
        return config if isinstance(config, Found) else path
    raise SettingsError(f"config is the path of a TOML file, not {type(config).__name__}")


def checked_environ(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment that was given, or refuse it.

    Raises:
        SettingsError: It is no mapping of texts.
    """
    try:
        if all(isinstance(part, str) for pair in environ.items() for part in pair):
            return environ
    except Exception:  # noqa: BLE001, S110 - it is no environment, whatever it is
        pass
    raise SettingsError(f"environ is a mapping of str such as os.environ, not {type(environ).__name__}")


def _check_clock(clock: Callable[[], datetime] | None) -> None:
    if clock is None:
        return
    try:
        aware = clock().utcoffset() is not None
    except Exception:  # noqa: BLE001 - it is no clock, whatever it is
        aware = False
    if not aware:
        raise SettingsError("clock returns the time with its time zone, such as datetime.now(UTC)")
