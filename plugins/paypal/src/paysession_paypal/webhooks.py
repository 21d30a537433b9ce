"""Notifications: whether PayPal sent them, and what they are about.

The signature is over ``transmission_id|transmission_time|webhook_id|crc32 of the raw body``
(https://developer.paypal.com/api/rest/webhooks/rest/). The certificate's URL comes with the
notification, from whoever sent it: it is fetched only from PayPal's hosts, and believed only if it
chains to a trusted authority and is PayPal's. Everything fails closed.
"""

from __future__ import annotations

import json
import re
import threading
import time
import warnings
import zlib
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from paysession.provider import OutcomeUnknown, WebhookEvent, WebhookRejected
from paysession_paypal.reading import as_list, as_object, as_text, text_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paysession_paypal.reading import Document

__all__ = ["HOSTS", "Postback", "Signature", "Verifier", "parse"]

HOSTS: Final = {
    "sandbox": frozenset({"api.sandbox.paypal.com", "api-m.sandbox.paypal.com"}),
    "live": frozenset({"api.paypal.com", "api-m.paypal.com"}),
}
"""Where PayPal publishes the certificates that it signs with."""

CERTIFICATES: Final = "/v1/notifications/certs/"
ALGORITHM: Final = "SHA256withRSA"
OLDEST: Final = timedelta(days=4)
"""PayPal sends a notification again for three days."""
AHEAD: Final = timedelta(minutes=5)
KEPT: Final = 16
"""How many certificates are kept; PayPal uses a few at a time."""
MAX_CERTIFICATE: Final = 65_536
"""The largest certificate file that is read, in bytes."""
_OK: Final = 200
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_OURS: Final = ("CHECKOUT.ORDER.", "CHECKOUT.PAYMENT-APPROVAL.", "PAYMENT.")
"""Which events are about payments; PAYMENTS.PAYMENT.CREATED and the like are of PayPal's older API."""


class Verifier(Protocol):
    """Tells whether PayPal sent a notification."""

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal sent it.

        Raises:
            WebhookRejected: It did not, or that cannot be shown.
            OutcomeUnknown: It could not be checked now; PayPal is to send it again.
        """
        ...


def parse(verifier: Verifier, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent]:
    """Verify a notification and read what it is about; empty: it is not about payments.

    Raises:
        WebhookRejected: It is forged, stale, or no JSON object.
        OutcomeUnknown: It could not be checked now.
    """
    event = _object(body)
    verifier.check(headers, body)
    kind, resource = text_in(event, "event_type"), as_object(event.get("resource"))
    if kind is None or not kind.startswith(_OURS) or resource is None:
        return ()
    references, session_id = _references(resource), _session_id(resource)
    if session_id is None and not references:
        return ()
    return (WebhookEvent(id=text_in(event, "id"), type=kind, session_id=session_id, references=references),)


def _object(body: bytes) -> Document:
    """Return the body as JSON: one object and nothing after it, so that it can be spliced whole."""
    try:
        tree = as_object(json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        raise WebhookRejected("the notification is no JSON") from None
    if tree is None:
        raise WebhookRejected("the notification is no JSON object")
    return tree


def _session_id(resource: Document) -> str | None:
    """Return ``custom_id``, which every object of ours carries: an order has it in its unit."""
    units = filter(None, map(as_object, as_list(resource.get("purchase_units"))))
    found = (text_in(row, "custom_id") for row in (resource, *units))
    return next((custom_id for custom_id in found if custom_id), None)


def _references(resource: Document) -> tuple[str, ...]:
    """Return the ids by which the session may be known: of the object itself, and those above it."""
    data = as_object(resource.get("supplementary_data")) or {}
    related = as_object(data.get("related_ids")) or {}
    values: list[str | None] = [text_in(resource, "id"), text_in(resource, "order_id")]
    values += map(as_text, related.values())
    for link in filter(None, map(as_object, as_list(resource.get("links")))):
        if link.get("rel") == "up":
            values.append((text_in(link, "href") or "").rstrip("/").rpartition("/")[2] or None)
    return tuple(dict.fromkeys(value for value in values if value is not None))


# --- the signature, checked here ------------------------------------------------------------------


class Signature:
    """Checks PayPal's signature and certificate. Thread-safe.

    Args:
        webhook_id: The id that PayPal gave the webhook.
        environment: ``sandbox`` or ``live``.
        ca_file: A PEM file of certificates to trust in place of the public authorities.
        timeout: Seconds for fetching a certificate.
        fetch: Returns what a URL holds, as PEM; injectable for tests.
        now: The time; injectable for tests.
    """

    def __init__(
        self,
        webhook_id: str,
        *,
        environment: str = "sandbox",
        ca_file: str = "",
        timeout: float = 10.0,
        fetch: Callable[[str, float], bytes] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._webhook_id = webhook_id
        self._environment = environment
        self._ca_file = ca_file
        self._timeout = timeout
        self._fetch = fetch or _fetch
        self._now = now
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._chains: dict[str, list[x509.Certificate]] = {}

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal signed the body for our webhook."""
        if not self._webhook_id:
            raise WebhookRejected("no webhook_id is configured, so no notification can be trusted")
        sent_at = _header(headers, "paypal-transmission-time")
        self._check_age(sent_at)
        if _header(headers, "paypal-auth-algo") != ALGORITHM:
            raise WebhookRejected("the notification is signed by an algorithm that is not PayPal's")
        try:
            signature = b64decode(_header(headers, "paypal-transmission-sig"), validate=True)
        except ValueError:
            raise WebhookRejected("the notification's signature cannot be read") from None
        url = _header(headers, "paypal-cert-url")
        self._check_url(url)
        key = self._public_key(url)
        parts = _header(headers, "paypal-transmission-id"), sent_at, self._webhook_id, str(zlib.crc32(body))
        try:
            key.verify(signature, "|".join(parts).encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise WebhookRejected("the notification's signature is wrong") from None

    def _check_age(self, text: str) -> None:
        try:
            sent_at = datetime.fromisoformat(text)
        except ValueError:
            raise WebhookRejected("the notification's time cannot be read") from None
        now = self._now()
        if sent_at.tzinfo is None or not now - OLDEST <= sent_at <= now + AHEAD:
            raise WebhookRejected("the notification is stale, or from the future")

    def _check_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise WebhookRejected("the certificate's URL cannot be read") from None
        plain = parts.username is None and parts.password is None and port in (None, 443)
        path = parts.path
        if (
            parts.scheme != "https"
            or parts.hostname not in HOSTS[self._environment]
            or not plain
            or not path.startswith(CERTIFICATES)
            or ".." in path
            or not url.isascii()
            or "\\" in url
        ):
            raise WebhookRejected("the certificate's URL is not PayPal's; it was not fetched")

    def _public_key(self, url: str) -> RSAPublicKey:
        """Return the key of the certificate at a URL, if it is PayPal's and valid today."""
        with self._lock:
            chain = self._chains.get(url)
            store = self._store = self._store or _store(self._ca_file)
        known = chain is not None
        if chain is None:
            pem = self._fetch(url, self._timeout)
            try:
                chain = x509.load_pem_x509_certificates(pem)
            except ValueError:
                raise WebhookRejected("what the certificate's URL holds is no certificate") from None
        self._verify_chain(store, chain)
        key = chain[0].public_key()
        if not isinstance(key, RSAPublicKey):
            raise WebhookRejected("PayPal's certificate holds no RSA key")
        if not known:
            with self._lock:
                if len(self._chains) >= KEPT:
                    self._chains.clear()
                self._chains[url] = chain
        return key

    def _verify_chain(self, store: Store, chain: Sequence[x509.Certificate]) -> None:
        """Verify the certificate as a browser would for the name that it states, which is PayPal's."""
        leaf, *others = chain
        name = next(iter(self._names(leaf)), None)
        if name is None:
            raise WebhookRejected("the certificate is not PayPal's")
        policy = PolicyBuilder().store(store).time(self._now().replace(tzinfo=None))
        try:
            policy.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
        except VerificationError as error:
            raise WebhookRejected(f"the certificate cannot be trusted: {error}") from None

    def _names(self, leaf: x509.Certificate) -> list[str]:
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):
            return []
        return [
            name
            for name in names.get_values_for_type(x509.DNSName)
            if name.endswith(".paypal.com")
            and "*" not in name
            and (self._environment == "sandbox" or not name.endswith(".sandbox.paypal.com"))
        ]


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise WebhookRejected(f"the notification has no header {name}")
    return value


def _store(ca_file: str) -> Store:
    if not ca_file:
        import certifi  # noqa: PLC0415 - needed only where no file is given

        ca_file = certifi.where()
    with open(ca_file, "rb") as file:  # noqa: PTH123 - the path is text in the settings
        return Store(list(_certificates(file.read())))


def _certificates(pem: bytes) -> Iterator[x509.Certificate]:
    """Read a file of authorities one by one: one that cannot be read must not cost all the others.

    The public ones hold some that RFC 5280 disallows, and that cryptography is about to refuse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        for part in _PEM.findall(pem):
            with suppress(ValueError, CryptographyDeprecationWarning):
                yield x509.load_pem_x509_certificate(part)


def _fetch(url: str, timeout: float) -> bytes:
    """Fetch a certificate: without redirects, credentials, proxies, or more than a few kilobytes.

    Raises:
        OutcomeUnknown: It could not be fetched now.
    """
    import requests  # noqa: PLC0415 - needed only for a certificate that is not known yet

    from paysession_paypal.connection import exchange, open_session  # noqa: PLC0415

    try:
        with open_session() as session:
            response, pem = exchange(
                session,
                "GET",
                url,
                headers={"Accept-Encoding": "identity"},
                wait=timeout,
                deadline=time.monotonic() + timeout,
                most=MAX_CERTIFICATE,
            )
    except requests.RequestException as error:
        raise OutcomeUnknown(f"PayPal's certificate could not be fetched: {type(error).__name__}") from None
    status = response.status_code
    if status != _OK:
        raise OutcomeUnknown(f"PayPal's certificate could not be fetched: HTTP {status}")
    return pem


# --- or by asking PayPal --------------------------------------------------------------------------


class Postback:
    """Asks PayPal about each notification: slower, and independent of certificates.

    Args:
        webhook_id: The id that PayPal gave the webhook.
        ask: Sends the question's body to PayPal, and returns its answer.
    """

    def __init__(self, webhook_id: str, ask: Callable[[bytes], bool]) -> None:
        self._webhook_id = webhook_id
        self._ask = ask

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal says that it sent the body to our webhook."""
        if not self._webhook_id:
            raise WebhookRejected("no webhook_id is configured, so no notification can be trusted")
        question = {
            "auth_algo": _header(headers, "paypal-auth-algo"),
            "cert_url": _header(headers, "paypal-cert-url"),
            "transmission_id": _header(headers, "paypal-transmission-id"),
            "transmission_sig": _header(headers, "paypal-transmission-sig"),
            "transmission_time": _header(headers, "paypal-transmission-time"),
            "webhook_id": self._webhook_id,
        }
        # PayPal checks the bytes that it signed: written anew, 1.0 or an accent would come out otherwise.
        # They were read as one JSON object, so nothing else can hide behind it.
        head = json.dumps(question, separators=(",", ":"))[:-1].encode()
        if not self._ask(head + b',"webhook_event":' + body + b"}"):
            raise WebhookRejected("PayPal did not send this notification")
