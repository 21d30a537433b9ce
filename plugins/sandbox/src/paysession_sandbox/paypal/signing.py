"""Notifications as PayPal signs them, by a certificate authority of the fake's own."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from datetime import timedelta
from functools import cache, cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from paysession_sandbox.paypal.clock import Clock

__all__ = ["Authority", "Signer"]

CERT_URL: Final = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-5edb1dd5"
NAME: Final = "messageverificationcerts.sandbox.paypal.com"


@frozen
class Authority:
    """A certificate authority.

    Attributes:
        certificate: Its own certificate.
        key: Its key.
    """

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @classmethod
    def make(cls, name: str, now: datetime, *, years: int = 20) -> Authority:
        """Make a new one."""
        key = _key_of(name)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            _builder(
                subject, subject, key.public_key(), now - timedelta(days=1), now + timedelta(days=365 * years)
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(builder.sign(key, SHA256()), key)

    def subordinate(self, name: str, now: datetime) -> Authority:
        """Make an authority that this one vouches for, as public ones do."""
        key = _key_of(name)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        begins, ends = now - timedelta(days=1), now + timedelta(days=3650)
        builder = (
            _builder(subject, self.certificate.subject, key.public_key(), begins, ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(issuer, critical=False)
        )
        return Authority(builder.sign(self.key, SHA256()), key)

    def issue(
        self, name: str, begins: datetime, ends: datetime, *, key: CertificatePublicKeyTypes | None = None
    ) -> tuple[bytes, rsa.RSAPrivateKey]:
        """Issue a certificate for a name and its key, or another's; return it as PEM, and the name's key."""
        own = _key_of(name)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(subject, self.certificate.subject, key or own.public_key(), begins, ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.key, SHA256())
        )
        return certificate.public_bytes(Encoding.PEM), own

    def pem(self) -> bytes:
        """Return its certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


class Signer:
    """Signs notifications for one webhook.

    Args:
        clock: The time at PayPal.
        webhook_id: The webhook's id.
    """

    def __init__(self, clock: Clock, webhook_id: str) -> None:
        self.webhook_id = webhook_id
        self._clock = clock

    @cached_property
    def authority(self) -> Authority:
        """The authority that the certificate chains to."""
        return Authority.make("Root of the PayPal fake", self._clock())

    @cached_property
    def _issued(self) -> tuple[bytes, rsa.RSAPrivateKey]:
        now = self._clock()
        return self.authority.issue(NAME, now - timedelta(days=1), now + timedelta(days=365))

    @property
    def certificate(self) -> bytes:
        """What stands at the certificate's URL, as PEM."""
        return self._issued[0]

    def headers(
        self,
        body: bytes,
        *,
        webhook_id: str | None = None,
        cert_url: str = CERT_URL,
        key: rsa.RSAPrivateKey | None = None,
        at: datetime | None = None,
    ) -> dict[str, str]:
        """Return the headers of a signed notification; for the same body again, of its transmission.

        Args:
            body: What is signed.
            webhook_id: Another webhook's id, to sign for that.
            cert_url: Where the certificate is said to stand.
            key: Another key to sign with.
            at: When it is sent.
        """
        webhook_id = webhook_id or self.webhook_id
        number = sha256(webhook_id.encode() + body).hexdigest()[:12]  # the same again after a restart
        transmission_id = f"69cd13f0-d67a-11e5-baa3-{number}"
        sent_at = (at or self._clock()).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{transmission_id}|{sent_at}|{webhook_id}|{zlib.crc32(body)}"
        signature = (key or self._issued[1]).sign(text.encode(), PKCS1v15(), SHA256())
        return {
            "content-type": "application/json",
            "paypal-auth-algo": "SHA256withRSA",
            "paypal-cert-url": cert_url,
            "paypal-transmission-id": transmission_id,
            "paypal-transmission-sig": b64encode(signature).decode(),
            "paypal-transmission-time": sent_at,
        }

    def verifies(self, question: bytes, registered: Collection[str] = ()) -> bool:
        """Answer the postback: whether these very bytes were signed for a webhook.

        Args:
            question: The body of the postback.
            registered: The ids of the webhooks that were registered, beside the signer's own.
        """
        tree: dict[str, Any] = json.loads(question)
        webhook_id = tree["webhook_id"]
        raw = question.partition(b'"webhook_event":')[2][:-1]
        text = f"{tree['transmission_id']}|{tree['transmission_time']}|{webhook_id}|{zlib.crc32(raw)}"
        signature = b64decode(tree["transmission_sig"])
        try:
            self._issued[1].public_key().verify(signature, text.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return webhook_id == self.webhook_id or webhook_id in registered


@cache
def _key_of(name: str) -> rsa.RSAPrivateKey:
    """Return the key of whoever bears a name; made once for a process, since that takes a while."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
