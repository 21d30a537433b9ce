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
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from paysession.provider import OutcomeUnknown, WebhookRejected
from paysession_paypal.certificates import Certificates
from paysession_paypal.transmission import Transmission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Signature"]

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
        proxy: The URL of an HTTP proxy to fetch it through; empty: none.
        fetch: Returns what a URL holds, as PEM; injectable for tests.
        now: The time; injectable for tests.
        elapsed: The seconds of a clock that only goes forward; injectable for tests.
    """

    def __init__(
        self,
        webhook_id: str,
        *,
        environment: str = "sandbox",
        ca_file: str = "",
        timeout: float = 10.0,
        proxy: str = "",
        fetch: Callable[[str, float], bytes] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._webhook_id = webhook_id
        self._environment = environment
        self._ca_file = ca_file
        self._timeout = timeout
        self._fetch = fetch or partial(_fetch, proxy=proxy)
        self._now = now
        self._lock = threading.Lock()
        self._store: Store | None = None
        # Fetching has a timeout for connecting, and one for the rest.
        self._certificates = Certificates(self._load, timeout=2 * timeout, elapsed=elapsed)

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal signed the body for our webhook."""
        if not self._webhook_id:
            raise WebhookRejected("no webhook_id is configured, so no notification can be trusted")
        sent = Transmission.of(headers, self._environment, self._now())
        key = self._public_key(sent.certificate)
        text = f"{sent.id}|{sent.sent_at}|{self._webhook_id}|{zlib.crc32(body)}"
        try:
            key.verify(sent.signature, text.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            raise WebhookRejected("the notification's signature is wrong") from None

    def _public_key(self, url: str) -> RSAPublicKey:
        """Return the key of the certificate at a URL, if it is PayPal's and valid today."""
        chain, known = self._certificates.chain(url)
        if known:
            self._verify_chain(chain)
        return _key_of(chain)

    def _load(self, url: str) -> list[x509.Certificate]:
        """Fetch a chain, and return it if it is PayPal's and valid today."""
        pem = self._fetch(url, self._timeout)
        try:
            chain = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise WebhookRejected("what the certificate's URL holds is no certificate") from None
        self._verify_chain(chain)
        _key_of(chain)
        return chain

    def _verify_chain(self, chain: Sequence[x509.Certificate]) -> None:
        """Verify the certificate as a browser would for the name that it states, which is PayPal's."""
        leaf, *others = chain
        name = next(iter(self._names(leaf)), None)
        if name is None:
            raise WebhookRejected("the certificate is not PayPal's")
        with self._lock:
            store = self._store = self._store or _store(self._ca_file)
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


def _key_of(chain: Sequence[x509.Certificate]) -> RSAPublicKey:
    key = chain[0].public_key()
    if not isinstance(key, RSAPublicKey):
        raise WebhookRejected("PayPal's certificate holds no RSA key")
    return key


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


def _fetch(url: str, timeout: float, *, proxy: str = "") -> bytes:
    """Fetch a certificate: without redirects, credentials, or more than a few kilobytes.

    Raises:
        OutcomeUnknown: It could not be fetched now.
    """
    import requests  # noqa: PLC0415 - needed only for a certificate that is not known yet

    from paysession_paypal.connection import exchange, open_session  # noqa: PLC0415

    try:
        with open_session(proxy) as session:
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
