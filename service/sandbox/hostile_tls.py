"""What the hostile subscriber does below HTTP, one case a port: at the TCP connection and in the TLS handshake.

Its certificates are made anew at each start, by an authority that `/_authority` on its first port shows.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.sandbox.hostile_cases import Case, saying
from service.sandbox.hostile_line import Line

_DAY = datetime.timedelta(days=1)


async def _silent(line: Line) -> None:
    await line.gone()


# Nothing listens at `refuse`, and nobody takes a call at `unanswered`: the server makes these two by itself.
CONNECTIONS: Mapping[str, str] = {
    "refuse": "nobody listens there",
    "unanswered": "its queue is full, so that no connection comes about",
}
TCP: Mapping[str, Case] = {
    "silent": Case("takes the connection and says nothing", _silent),
    "tls-silent": Case("the same, where TLS is expected", _silent),
    "tls-noise": Case("speaks SMTP where TLS is expected", saying(b"220 mail.example ESMTP\r\n")),
}
CERTIFICATES: Mapping[str, str] = {
    "tls-ok": "a certificate for localhost, 127.0.0.1 and *.hostile.test, for comparison",
    "tls-other-name": "a certificate for another name",
    "tls-expired": "a certificate that has expired",
    "tls-self-signed": "a certificate that vouches for itself",
}


@dataclass(frozen=True, slots=True)
class _Signed:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class Authority:
    """Signs certificates that the client was told to trust, and some that nobody should."""

    def __init__(self) -> None:
        self._root = _sign("hostile subscriber", None, authority=True)

    @property
    def pem(self) -> bytes:
        return self._root.certificate.public_bytes(serialization.Encoding.PEM)

    def context(self, case: str) -> ssl.SSLContext:
        """What the server of this case shows."""
        match case:
            case "tls-other-name":
                signed = _sign("somebody-else.example", self._root)
            case "tls-expired":
                signed = _sign("localhost", self._root, days=-1)
            case "tls-self-signed":
                signed = _sign("localhost", None)
            case _:
                signed = _sign("localhost", self._root)
        return _context(signed)


def _sign(name: str, issuer: _Signed | None, *, authority: bool = False, days: int = 30) -> _Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issued_by = issuer.certificate.subject if issuer is not None else subject
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name.replace(" ", "-"))]
    if name == "localhost":
        names += [x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")), x509.DNSName("*.hostile.test")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 60 * _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .sign(issuer.key if issuer is not None else key, hashes.SHA256())
    )
    return _Signed(key, certificate)


def _context(signed: _Signed) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = signed.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads files only
        file = Path(folder) / "both.pem"
        file.write_bytes(key + signed.certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(file)
    return context
