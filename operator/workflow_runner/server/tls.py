"""The sink's certificates: a CA of the operator's own, and serving certificates made from it.

Called by cli.operator, which keeps the CA in a Secret: its certificate travels in pod specs, so it must
outlive an operator. Serving certificates live in memory only and are made again long before they expire.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

CA_LIFETIME = timedelta(days=3650)
SERVING_LIFETIME = timedelta(days=30)
CLOCK_SKEW = timedelta(minutes=5)


class Authority(Struct, frozen=True):
    """A CA as PEM texts. The key never leaves the operator and its Secret."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Authority(…)"


def new_authority(now: datetime | None = None) -> Authority:
    """A fresh CA for ten years."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workflow-runner sink CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def pool_key(authority: Authority, uid: str) -> str:
    """The key of a runner's pool: made from the CA's, so that it need not be read from where it is kept."""
    return hmac.new(authority.key, f"pool/{uid}".encode(), hashlib.sha256).hexdigest()


def serving_certificate(
    authority: Authority, names: list[str], now: datetime | None = None, *, lifetime: timedelta = SERVING_LIFETIME
) -> tuple[bytes, bytes]:
    """(key, certificate chain) as PEM for a server that is called by any of `names`."""
    now = now or datetime.now(UTC)
    ca = x509.load_pem_x509_certificate(authority.certificate)
    ca_key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the sink's CA key is not an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workflow-runner sink")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return _pem(key), certificate.public_bytes(serialization.Encoding.PEM) + authority.certificate


def server_credentials(
    authority: Authority, names: list[str], *, lifetime: timedelta = SERVING_LIFETIME
) -> grpc.ServerCredentials:
    """gRPC credentials whose certificate is made again when half of its life is over."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, chain = serving_certificate(authority, names, lifetime=lifetime)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    made, first = datetime.now(UTC), configuration()

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal made
        if datetime.now(UTC) - made <= lifetime / 2:
            return None
        made = datetime.now(UTC)
        return configuration()

    return changing_credentials(first, newer)


def changing_credentials(
    first: grpc.ServerCertificateConfiguration,
    newer: Callable[[], grpc.ServerCertificateConfiguration | None],
    *,
    require_client_authentication: bool = False,
) -> grpc.ServerCredentials:
    """Credentials of one port, that `newer` is asked for with every connection; it has to give None as long as they are the
    same. Only the first port that has them gets `first`: another one needs credentials of its own.

    gRPC exchanges what it has for what it is given without a lock: exchanged with every connection, two handshakes at the same
    moment end the process (grpcio 1.85, seen after a thousand of them). Tests hold the two that call this to that.
    """
    one_at_a_time = threading.Lock()

    def exchanged() -> grpc.ServerCertificateConfiguration | None:
        if not one_at_a_time.acquire(blocking=False):
            return None
        try:
            return newer()
        finally:
            one_at_a_time.release()

    return grpc.dynamic_ssl_server_credentials(
        first,
        exchanged,  # type: ignore[arg-type] # the stubs do not know of None
        require_client_authentication=require_client_authentication,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
