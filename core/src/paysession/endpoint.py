"""Where secrets are sent: an address that is checked when it is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Endpoint"]

# Narrower than a URL may be: what two programs could read as two different hosts is refused.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(?P<path>/[\w.~/-]*)?",
    re.ASCII,
)


class Endpoint(str):
    """The address of a gateway, to which a provider sends its secrets.

    Declare it as you declare a `Secret`:
    ``api_base: Endpoint = field(default=Endpoint("https://api.acme.example"), converter=Endpoint)``.
    Plain http goes to this machine only. The settings of a provider that come from the environment or
    from a file may replace the default only as `paysession._plugins.settings.build` says.

    Args:
        value: The address: scheme, host, and perhaps a port and a path. Empty: none is set.
        hosts: Further hosts that are the gateway's own, such as its sandbox.

    Attributes:
        hosts: The hosts that are the gateway's own: this address's and the further ones.

    Raises:
        ValueError: It is no such address; the sentence does not repeat it.
    """

    __slots__ = ("hosts",)
    hosts: frozenset[str]

    def __new__(cls, value: str, hosts: Iterable[str] = ()) -> Self:
        """Check the address, and keep which hosts are the gateway's own."""
        self = super().__new__(cls, value)
        host = self.host
        self.hosts = frozenset([host, *hosts] if host else hosts)
        return self

    @property
    def host(self) -> str:
        """The host in small letters, without the port; empty: there is none."""
        if not self:
            return ""
        found = _ADDRESS.fullmatch(self)
        if found is None:
            raise ValueError(
                "an address is a scheme, a host, and perhaps a port and a path, and nothing else"
            )
        host = found["host"].strip("[]").lower()
        if found["scheme"] != "https" and not (found["scheme"] == "http" and _is_here(host)):
            raise ValueError("an address is https, or http on this machine")
        return host

    @property
    def path(self) -> str:
        """The path, without a slash at its end."""
        found = _ADDRESS.fullmatch(self)
        return (found["path"] or "").rstrip("/") if found is not None else ""


def _is_here(host: str) -> bool:
    from ipaddress import ip_address  # noqa: PLC0415 - only an address without https pays for it

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
