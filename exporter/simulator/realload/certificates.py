"""The portal's client certificates: real containers, so that their expiry can be read."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

from exporter.simulator.realload.fleet import OWNER_ID, Fleet


if TYPE_CHECKING:
    from exporter.simulator.realload.agents import Handler, Json


_DAYS_LEFT: Final = (300, 10, -3)


def _certificates(fleet: Fleet, _: Json) -> Json:
    """Answer with one certificate that is good, one that expires soon, one that has expired."""
    if fleet.certificates is None:
        fleet.certificates = _make_rows(fleet.timeline.now())
    return {"clientCertificatesArray": fleet.certificates}


def _make_rows(now: float) -> list[Json]:
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    return [
        {
            "certificateId": number,
            "ownerUserId": OWNER_ID,
            "recorderId": -1,
            "originalCertFileName": f"client-{number}.p12",
            "certFileType": "PKCS#12",
            "certFileDataB64": _container(number, today, today + dt.timedelta(days=days)),
            "certPassword": _password(number),
            "certDescription": f"Client {number}",
            "certActive": days > 0,
            "applyForHost": f"app{number}.example.net",
            "applyForPort": 443,
        }
        for number, days in enumerate(_DAYS_LEFT, start=1)
    ]


def _password(number: int) -> str:
    return f"simulated-password-{number}"


def _container(number: int, today: dt.datetime, expires: dt.datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"client {number}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(today - dt.timedelta(days=365))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )
    encryption = BestAvailableEncryption(_password(number).encode())
    data = pkcs12.serialize_key_and_certificates(b"client", key, certificate, None, encryption)
    return base64.b64encode(data).decode()


CERTIFICATE_HANDLERS: Final[dict[str, Handler]] = {
    "getProxyRecordersClientCertificates": _certificates
}
