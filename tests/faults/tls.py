"""The ways in which TLS can fail; each is made with the authority that the sources trust."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import trustme

from exporter.conformance.faults.table import Fault, silent, talks
from exporter.errors import Reason


def server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make the server's end of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def expired(authority: trustme.CA) -> Fault:
    """Present an expired certificate."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    return _shown(server(authority.issue_cert("127.0.0.1", not_after=past)))


def not_yet_valid(authority: trustme.CA) -> Fault:
    """Present a certificate that is not yet valid."""
    future = datetime(2100, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
    certificate = authority.issue_cert("127.0.0.1", not_before=future[0], not_after=future[1])
    return _shown(server(certificate))


def another_name(authority: trustme.CA) -> Fault:
    """Present the certificate of another name."""
    return _shown(server(authority.issue_cert("other.example")))


def unknown_authority(authority: trustme.CA) -> Fault:
    """Present a certificate of an untrusted authority."""
    del authority
    return _shown(server(trustme.CA().issue_cert("127.0.0.1")))


def client_certificate_demanded(authority: trustme.CA) -> Fault:
    """Ask for a certificate that the sources do not have, and hang up without an alert."""
    context = server(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return _shown(context, Reason.CONNECT)  # nothing tells it from any other dropped connection


def plain_http(authority: trustme.CA) -> Fault:
    """Speak HTTP where TLS is expected."""
    del authority
    return Fault(
        name="plain HTTP", reason=Reason.TLS, greeting=talks(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    )


def handshake_refused(authority: trustme.CA) -> Fault:
    """Answer with the alert for a failed handshake."""
    del authority
    alert = bytes.fromhex("15030300020228")
    return Fault(name="alert", reason=Reason.TLS, greeting=talks(alert))


def closed_in_the_handshake(authority: trustme.CA) -> Fault:
    """Hang up in the middle of the handshake."""
    del authority
    return Fault(name="closed", reason=Reason.CONNECT, greeting=talks(b""))


def silent_in_the_handshake(authority: trustme.CA) -> Fault:
    """Never answer the client's hello."""
    del authority
    return Fault(name="silent", reason=Reason.TIMEOUT, greeting=silent, lasts=True)


FAULTS = (
    expired,
    not_yet_valid,
    another_name,
    unknown_authority,
    client_certificate_demanded,
    plain_http,
    handshake_refused,
    closed_in_the_handshake,
    silent_in_the_handshake,
)


def _shown(context: ssl.SSLContext, reason: Reason = Reason.TLS) -> Fault:
    return Fault(name="shown", reason=reason, tls=context)
