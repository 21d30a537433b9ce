"""What a setting may be: validators whose sentences never repeat a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from paysession.provider import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    from paysession.provider import Endpoint

__all__ = ["bare", "file", "filled", "offers", "stripped"]


def bare(_: object, attribute: Attribute[Endpoint], value: Endpoint) -> None:
    """Refuse an endpoint with a path: the paths are PayPal's."""
    if value.path:
        raise ValueError(f"{attribute.name} is a scheme, a host and a port only")


def stripped(value: str | Secret) -> Secret:
    """Return a credential without the line break with which a file of it ends."""
    return Secret(Secret(value).reveal().strip())


def filled(_: object, attribute: Attribute[Any], value: str | Secret) -> None:
    """Refuse a credential that is there and says nothing."""
    if not value:
        raise ValueError(f"{attribute.name} is empty")
    if isinstance(value, str) and value != value.strip():
        raise ValueError(f"{attribute.name} begins or ends with a space or a line break")


def file(_: object, attribute: Attribute[str], value: str) -> None:
    """Refuse a path at once that would refuse every notification later."""
    if value and not os.path.isfile(value):  # noqa: PTH113 - the path is text in the settings
        raise ValueError(f"{attribute.name} is no file")


def offers(*methods: str) -> Callable[[object, Attribute[Any], Any], None]:
    """Return a validator: what takes a part's place must be able to play it."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
            raise TypeError(f"{attribute.name} must be an object with the methods {' and '.join(methods)}")

    return check
