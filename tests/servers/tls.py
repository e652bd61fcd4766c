"""Certificates for tests: an authority, servers and clients that it vouches for, made anew for each test."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass
class Pair:
    """A certificate and its key, as PEM texts."""

    certificate: str
    key: str


class Authority:
    """Vouches for what it makes. `certificate` is its own, as PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("tests")
        built = _builder(name, name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = built.sign(self._key, hashes.SHA256())
        self.certificate = _pem(self._certificate)

    def client(self, name: str, passphrase: str | None = None) -> Pair:
        """A client's certificate; with a passphrase its key is encrypted."""
        return self._pair(name, ExtendedKeyUsageOID.CLIENT_AUTH, passphrase)

    def server(self) -> Pair:
        """A certificate for 127.0.0.1 and localhost."""
        return self._pair("localhost", ExtendedKeyUsageOID.SERVER_AUTH, None)

    def server_context(self, folder: Path, *, wants_clients: bool) -> ssl.SSLContext:
        """TLS of a server; with `wants_clients` only those get in for whom this authority vouches."""
        pair, path = self.server(), folder / "server.pem"
        path.write_text(pair.certificate + pair.key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.certificate)
        context.load_cert_chain(path)
        if wants_clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _pair(self, name: str, purpose: x509.ObjectIdentifier, passphrase: str | None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        built = _builder(_name(name), self._certificate.subject, key)
        built = built.add_extension(names, critical=False).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
        written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        return Pair(_pem(built.sign(self._key, hashes.SHA256())), written.decode())


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
