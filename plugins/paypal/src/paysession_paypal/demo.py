"""The scene for ``paysession demo --provider paypal``: a PayPal on this machine, or PayPal's sandbox."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from paysession import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from paysession.provider import PaymentSession
    from paysession_sandbox.paypal import PayPalFake

__all__ = ["PayPalDemo"]

_ID, _SECRET = "PAYSESSION_PAYPAL__CLIENT_ID", "PAYSESSION_PAYPAL__CLIENT_SECRET"


class PayPalDemo:
    """Starts the fake PayPal, and plays the payer; a context manager.

    With ``PAYSESSION_PAYPAL__CLIENT_ID`` and ``PAYSESSION_PAYPAL__CLIENT_SECRET`` in the environment
    the demo runs in PayPal's sandbox instead: it shows the approval page's address and waits until
    a person has approved there, with a sandbox buyer's account.

    Attributes:
        settings: The provider's settings; the credentials of the sandbox stay in the environment.
        data: What the session is initiated with.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._fake: PayPalFake | None = None
        self._sandbox = bool(environ.get(_ID) and environ.get(_SECRET))
        self.settings = {"environment": "sandbox", "brand_name": "The Shop"}
        self.data = {}

    def __enter__(self) -> Self:
        if not self._sandbox:
            fake = self._fake = _start()
            self.settings = {
                **self.settings,
                "endpoint": fake.url,
                "client_id": fake.client_id,
                "client_secret": fake.client_secret,
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fake is not None:
            self._fake.close()

    def payer_acts(self, session: PaymentSession) -> dict[str, str]:
        """Approve in the payer's place; return the query that the browser brings back to the shop."""
        url = getattr(session.next_action, "url", "")
        if self._fake is not None:
            return _press_pay(url)
        print(f"Approve as a sandbox buyer at {url} and press Enter.", file=sys.stderr)  # noqa: T201
        try:
            input()
        except EOFError:
            raise SettingsError(
                "in PayPal's sandbox a person plays the payer: run it in a terminal"
            ) from None
        return {"token": session.reference or ""}


def _start() -> PayPalFake:
    try:
        # A package of its own, that only the demo and tests need.
        from paysession_sandbox.paypal import PayPalFake  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsError(
            "paysession-sandbox is not installed: pip install 'paysession-paypal[demo]', or give the "
            f"credentials of PayPal's sandbox in {_ID} and {_SECRET}"
        ) from None
    return PayPalFake()


def _press_pay(url: str) -> dict[str, str]:
    """Open the approval page as a browser does, press its first button, and follow it back to the shop."""
    from paysession_paypal.connection import open_session  # noqa: PLC0415 - only once the payer acts

    with open_session() as browser:
        page = browser.get(url, timeout=10).text
        button = re.search(r'action="([^"]*)"', page)
        if button is None:
            raise SettingsError(f"there is nothing to approve at {url}")
        answer = browser.post(urljoin(url, button[1]), allow_redirects=False, timeout=10)
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
