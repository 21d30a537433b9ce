"""PayPal's own client, ``paypalrestsdk.Api``, held for two things and no more.

It knows how PayPal's credentials look and how a request is signed. It sends nothing: as it stands (1.13.3) it
has no timeout, follows redirects with the token, lets ``~/.netrc`` replace that token, repeats a 401 without
end, logs secrets and bodies in the sandbox, and sends a body with GET. ``paysession_paypal.transport`` sends.

**To replace it**, this is the only module that imports the SDK, and the transport calls two functions of one
class: write a class with ``token_request`` and ``headers``, return it from ``open_sdk``, and drop
``paypalrestsdk`` from the dependencies. The class would come to ten lines: Basic credentials in base64, and
``Authorization: Bearer TOKEN``. To replace the whole transport instead, give the provider a ``transport``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from paysession_paypal.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    class Api:
        """What is used of ``paypalrestsdk.Api``, which has no types of its own."""

        token_hash: Mapping[str, str]
        user_agent: str

        def __init__(self, *, mode: str, endpoint: str, client_id: str, client_secret: str) -> None: ...
        def basic_auth(self) -> str: ...
        def headers(self) -> dict[str, str]: ...

else:
    from paypalrestsdk import Api

__all__ = ["Sdk", "open_sdk"]

_GRANT: Final = b"grant_type=client_credentials"


class Sdk(Protocol):
    """What the transport needs to know of PayPal's authentication."""

    def token_request(self) -> Request:
        """Return the request for an access token."""
        ...

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers that sign a request with a token."""
        ...


class _Held:
    def __init__(self, api: Api) -> None:
        self._api = api

    def token_request(self) -> Request:
        """Return the request for an access token."""
        form = "application/x-www-form-urlencoded"
        basic = f"Basic {self._api.basic_auth()}"
        headers = {"Authorization": basic, "Content-Type": form, "User-Agent": self._api.user_agent}
        return Request("POST", "/v1/oauth2/token", _GRANT, headers)

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers that sign a request; the caller holds a lock."""
        # A token without ``expires_in`` is one that the SDK does not replace by itself.
        self._api.token_hash = {"token_type": "Bearer", "access_token": token}
        return self._api.headers()


def open_sdk(client_id: str, client_secret: str, *, environment: str, endpoint: str) -> Sdk:
    """Return the SDK for one REST app."""
    return _Held(Api(mode=environment, endpoint=endpoint, client_id=client_id, client_secret=client_secret))
