"""The provider's settings: what each may be, in sentences that never repeat a secret."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from attrs.validators import gt, in_, instance_of, le, matches_re

from paysession.provider import Endpoint, Secret
from paysession_paypal.sources import SOURCES

# The core reads the types of the settings, so that these names are needed when it runs.
from paysession_paypal.webhooks import Verifier  # noqa: TC001
from paysession_paypal.wire import Transport  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from attrs import Attribute


__all__ = ["Settings"]

MOST_PATIENCE: Final = 300.0
"""The longest timeout, in seconds: an operation is in flight for several of them."""
_OWN: Final = Endpoint("", hosts=("api-m.paypal.com", "api-m.sandbox.paypal.com"))
_PAGES: Final = {
    "sandbox": "https://www.sandbox.paypal.com/checkoutnow?token=",
    "live": "https://www.paypal.com/checkoutnow?token=",
}
"""Where PayPal's approval page stands, should an answer come without the link."""


def _bare(_: object, attribute: Attribute[Endpoint], value: Endpoint) -> None:
    """Refuse an endpoint with a path: the paths are PayPal's."""
    if value.path:
        raise ValueError(f"{attribute.name} is a scheme, a host and a port only")


def _stripped(value: str | Secret) -> Secret:
    """Return a credential without the line break with which a file of it ends."""
    return Secret(Secret(value).reveal().strip())


def _filled(_: object, attribute: Attribute[Any], value: str | Secret) -> None:
    """Refuse a credential that is there and says nothing."""
    if not value:
        raise ValueError(f"{attribute.name} is empty")
    if isinstance(value, str) and value != value.strip():
        raise ValueError(f"{attribute.name} begins or ends with a space or a line break")


def _file(_: object, attribute: Attribute[str], value: str) -> None:
    """Refuse a path at once that would refuse every notification later."""
    if value and not os.path.isfile(value):  # noqa: PTH113 - the path is text in the settings
        raise ValueError(f"{attribute.name} is no file")


def _proxy(_: object, attribute: Attribute[Secret], value: Secret) -> None:
    if value and not re.fullmatch(r"https?://[^\s/]+/?", value.reveal()):
        raise ValueError(f"{attribute.name} is a URL such as http://proxy.example:3128")


def _offers(*methods: str) -> Callable[[object, Attribute[Any], Any], None]:
    """Return a validator: what takes a part's place must be able to play it."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
            raise TypeError(f"{attribute.name} must be an object with the methods {' and '.join(methods)}")

    return check


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return a list of words; text, as of the environment, has commas or spaces between them."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    return tuple(words)


def _known_sources(_: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    unknown = [word for word in value if word not in SOURCES]
    if unknown or not value:
        raise ValueError(f"{attribute.name} are some of {', '.join(SOURCES)}")


def _text(most: int) -> Callable[[object, Attribute[str], str], None]:
    def check(_: object, attribute: Attribute[str], value: str) -> None:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise ValueError(f"{attribute.name} is at most {most} characters of one line")

    return check


@define(kw_only=True, eq=False)
class Settings:
    """What the provider ``paypal`` is opened with.

    Args:
        client_id: The client id of the REST app, from PayPal's developer dashboard.
        client_secret: Its secret.
        environment: ``sandbox`` or ``live``.
        endpoint: Another server in place of PayPal's, for tests. Plain http goes to this machine only.
        webhook_id: The id that PayPal gave the webhook; without it no notification is accepted.
        webhook_verification: ``local`` checks PayPal's signature and certificate here; ``postback``
            asks PayPal about each notification.
        webhook_ca: A PEM file of certificates to trust in place of the public authorities.
        timeout: Seconds for connecting, and for a whole answer.
        proxy: The URL of an HTTP proxy for all requests to PayPal; the environment's are not used.
        intent: ``authorize``, or ``capture`` to have PayPal capture at once; a session initiated
            with ``capture="automatic"`` is captured at once in any case.
        payment_sources: What a session may be paid with, the first one if its data does not say; see
            `paysession_paypal.sources`.
        reauthorize: Whether a capture after the three days for which PayPal keeps the funds for certain
            reauthorizes first.
        return_url: Where the payer comes back to, if the session's checkout does not say;
            ``{session_id}`` is filled in.
        cancel_url: Where a payer who gave up comes back to.
        brand_name: What PayPal's pages call the shop.
        locale: The language of PayPal's pages, such as ``de-DE``, if the checkout does not say.
        landing_page: ``LOGIN``, ``GUEST_CHECKOUT`` or ``NO_PREFERENCE``; empty: PayPal's default.
        user_action: ``PAY_NOW``: the payer pays at PayPal; ``CONTINUE``: your page asks once more.
        immediate_payment: Whether sources that pay later, such as an e-check, are refused.
        shipping_preference: ``AUTO`` (the address of the session's checkout, if it has one, else
            ``NO_SHIPPING``), ``NO_SHIPPING``, ``GET_FROM_FILE`` (the payer chooses one at PayPal) or
            ``SET_PROVIDED_ADDRESS``.
        invoice_number: ``suffix`` (the reference and a key that makes it unique) or ``plain`` (the
            reference alone) as the order's invoice number. Those of captures and refunds end with a key.
        soft_descriptor: What stands on a card's statement beside PayPal's prefix: at most 22 characters.
        partner_attribution_id: The BN code of a partner.
        merchant_id: For platforms: the merchant whose payments these are. It is the payee, and each request
            is made on the merchant's behalf (``PayPal-Auth-Assertion``).
        require_liability_shift: For cards: whether a payment is refused for which the issuer does not take
            the liability.
        transport: Carries the requests, in place of the one on ``paypalrestsdk``.
        verifier: Checks notifications, in place of the one that ``webhook_verification`` names.
    """

    client_id: str = field(validator=[instance_of(str), _filled])
    client_secret: Secret = field(converter=_stripped, validator=_filled)
    environment: str = field(default="sandbox", validator=in_(tuple(_PAGES)))
    endpoint: Endpoint = field(default=_OWN, converter=Endpoint, validator=_bare)
    webhook_id: str = field(default="", validator=instance_of(str))
    webhook_verification: str = field(default="local", validator=in_(("local", "postback")))
    webhook_ca: str = field(default="", validator=[instance_of(str), _file])
    timeout: float = field(default=10.0, converter=float, validator=[gt(0), le(MOST_PATIENCE)])
    proxy: Secret = field(default=Secret(""), converter=_stripped, validator=_proxy)
    intent: str = field(default="authorize", validator=in_(("authorize", "capture")))
    payment_sources: tuple[str, ...] = field(default=("paypal",), converter=_words, validator=_known_sources)
    reauthorize: bool = field(default=False, validator=instance_of(bool))
    return_url: str = field(default="", validator=instance_of(str))
    cancel_url: str = field(default="", validator=instance_of(str))
    brand_name: str = field(default="", validator=instance_of(str))
    locale: str = field(default="", validator=instance_of(str))
    landing_page: str = field(default="", validator=in_(("", "LOGIN", "GUEST_CHECKOUT", "NO_PREFERENCE")))
    user_action: str = field(default="PAY_NOW", validator=in_(("PAY_NOW", "CONTINUE")))
    immediate_payment: bool = field(default=False, validator=instance_of(bool))
    shipping_preference: str = field(
        default="AUTO", validator=in_(("AUTO", "NO_SHIPPING", "GET_FROM_FILE", "SET_PROVIDED_ADDRESS"))
    )
    invoice_number: str = field(default="suffix", validator=in_(("suffix", "plain")))
    soft_descriptor: str = field(default="", validator=_text(22))
    partner_attribution_id: str = field(default="", validator=_text(36))
    merchant_id: str = field(default="", validator=matches_re(r"([2-9A-HJ-NP-Z]{13})?"))
    require_liability_shift: bool = field(default=False, validator=instance_of(bool))
    transport: Transport | None = field(default=None, repr=False, validator=_offers("send", "close"))
    verifier: Verifier | None = field(default=None, repr=False, validator=_offers("check"))

    @property
    def approval_page(self) -> str:
        """Where PayPal's approval page stands, up to the order's id; empty: it is another server."""
        return "" if self.endpoint else _PAGES[self.environment]
