"""What ``paysession demo --provider stripe`` needs: a Stripe to speak to, and a payer.

Without an account it is the sandbox's, started here (``pip install 'paysession-stripe[demo]'``); with a
test key in ``PAYSESSION_STRIPE__API_KEY`` it is Stripe itself, or what ``PAYSESSION_STRIPE__API_BASE``
names.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from paysession import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from paysession.provider import PaymentSession

__all__ = ["Demo"]

_KEY: Final = "PAYSESSION_STRIPE__API_KEY"
_BASE: Final = "PAYSESSION_STRIPE__API_BASE"


class Demo:
    """A context in which sessions of the provider ``stripe`` can be paid.

    Args:
        environ: Where a test key, and settings to go with it, may be found; ``os.environ`` by default.

    Attributes:
        settings: The provider's settings.
        data: What a session is initiated with.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._key = environ.get(_KEY, "")
        self._base = environ.get(_BASE, "https://api.stripe.com")
        self._stack = ExitStack()
        self.settings: Mapping[str, Any] = {}
        self.data: Mapping[str, Any] = {"email": "jenny.rosen@example.com", "name": "Jenny Rosen"}

    def __enter__(self) -> Self:
        if not self._key:
            sandbox = self._stack.enter_context(self._start())
            self.settings = {"api_key": "sk_test_sandbox", "api_base": sandbox.url, "multicapture": True}
        elif self._key.startswith(("sk_test_", "rk_test_")):
            self.settings = {"api_key": self._key, "api_base": self._base}
        else:
            raise ConfigurationError(f"the demo takes no real money: {_KEY} is not a test key")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> AbstractContextManager[Any]:
        try:
            # A package of its own, that only the demo and tests need.
            from paysession_sandbox.stripe import StripeSandbox  # noqa: PLC0415
        except ModuleNotFoundError:
            raise ConfigurationError(
                "paysession-sandbox is not installed: pip install 'paysession-stripe[demo]', or give a test "
                f"key in {_KEY} to use Stripe itself"
            ) from None
        return StripeSandbox()

    def payer_acts(self, session: PaymentSession) -> None:
        """Pay as the payer's browser would, with the test card 4242 4242 4242 4242.

        Raises:
            ConfigurationError: Stripe does not let the payer pay, or cannot be reached.
        """
        form = {
            "payment_method": "pm_card_visa",
            "return_url": session.checkout.return_url or "https://shop.example/back",
        }
        base: str = self.settings["api_base"]
        # As the provider does: no proxy stands between us and a stand-in on this machine.
        opener = build_opener(ProxyHandler({} if base.startswith("http://") else None))
        request = Request(  # noqa: S310 - the address is our own, or Stripe's
            f"{base}/v1/payment_intents/{session.reference}/confirm",
            data=urlencode(form).encode(),
            headers={"Authorization": f"Bearer {self.settings['api_key']}"},
        )
        try:
            opener.open(request, timeout=30).close()
        except HTTPError as error:
            with error:
                raise ConfigurationError(f"the payer could not pay: HTTP {error.code}") from None
        except OSError as error:
            raise ConfigurationError(f"the payer could not pay: {error}") from None
