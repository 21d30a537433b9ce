"""PayPal's signature of a notification, and the certificate that it is made with.

The signature is over ``transmission_id|transmission_time|webhook_id|crc32 of the raw body``
(https://developer.paypal.com/api/rest/webhooks/rest/). The certificate's URL comes with the
notification, from whoever sent it: it is fetched only from PayPal's hosts, and believed only if it
chains to a trusted authority and is PayPal's. Everything fails closed.
"""

from __future__ import annotations

import re
import threading
import time
import warnings
import zlib
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from paysession.provider import OutcomeUnknown, WebhookRejected
from paysession_paypal.webhooks import header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["HOSTS", "Signature"]

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
        sent_at = header(headers, "paypal-transmission-time")
        self._check_age(sent_at)
        if header(headers, "paypal-auth-algo") != ALGORITHM:
            raise WebhookRejected("the notification is signed by an algorithm that is not PayPal's")
        try:
            signature = b64decode(header(headers, "paypal-transmission-sig"), validate=True)
        except ValueError:
            raise WebhookRejected("the notification's signature cannot be read") from None
        url = header(headers, "paypal-cert-url")
        self._check_url(url)
        key = self._public_key(url)
        parts = header(headers, "paypal-transmission-id"), sent_at, self._webhook_id, str(zlib.crc32(body))
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
