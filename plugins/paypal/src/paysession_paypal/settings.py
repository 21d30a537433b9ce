"""What a setting may be: validators whose sentences never repeat a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    from paysession.provider import Secret

__all__ = ["file", "filled", "offers", "safe"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def safe(_: object, attribute: Attribute[str], value: str) -> None:
    """Refuse an endpoint that would get the credentials unencrypted over a network."""
    if not value:
        return
    url = urlsplit(value)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise ValueError(f"{attribute.name} must be https, or http on this machine")
    if not url.hostname or url.path.strip("/") or url.query or url.fragment or url.username is not None:
        raise ValueError(f"{attribute.name} is a scheme, a host and a port only")


def filled(_: object, attribute: Attribute[Any], value: str | Secret) -> None:
    """Refuse a credential that is there and says nothing."""
    if not value:
        raise ValueError(f"{attribute.name} is empty")


def file(_: object, attribute: Attribute[str], value: str) -> None:
    """Refuse a path at once that would refuse every notification later."""
    if value and not os.path.isfile(value):  # noqa: PTH113 - the path is text in the settings
        raise ValueError(f"{attribute.name} is no file: {value}")


def offers(*methods: str) -> Callable[[object, Attribute[Any], Any], None]:
    """Return a validator: what takes a part's place must be able to play it."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
            raise TypeError(f"{attribute.name} must be an object with the methods {' and '.join(methods)}")

    return check
