"""Certificates for tests: each its own authority, or signed by one."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_START = datetime.datetime(2020, 1, 1)


def _key_pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    form = serialization.PrivateFormat.PKCS8
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        how = serialization.BestAvailableEncryption(password)
    return key.private_bytes(_PEM, form, how)


def pair(name: str) -> tuple[bytes, bytes]:
    """(certificate, key) as PEM."""
    authority = Authority(name, [name])
    return authority.pem, _key_pem(authority.key)


class Authority:
    """Signs certificates; itself signed by itself."""

    def __init__(self, name: str, hosts: list[str] | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._signed(self.name, self.key, hosts or [], True, 36500).public_bytes(_PEM)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, hosts: list[str], authority: bool, days: int
    ) -> x509.Certificate:
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_START)
            .not_valid_after(_START + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str, hosts: list[str] | None = None, days: int = 36500) -> tuple[bytes, bytes]:
        """(certificate, key) as PEM for these names and addresses, valid for so many days since 2020."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._signed(subject, key, hosts or [], False, days).public_bytes(_PEM), _key_pem(key)

    def files(self, directory: Path, name: str, hosts: list[str] | None = None, days: int = 36500) -> tuple[str, str]:
        """The same in files: their paths."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        for path, pem in zip((certificate, key), self.issue(name, hosts, days)):
            path.write_bytes(pem)
        return str(certificate), str(key)

    def file(self, directory: Path, name: str) -> str:
        """The authority's own certificate in a file: its path."""
        path = directory / f"{name}.pem"
        path.write_bytes(self.pem)
        return str(path)
