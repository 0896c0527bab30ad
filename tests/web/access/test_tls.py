"""TLS on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography import x509
from starlette.responses import PlainTextResponse

from exporter.clock import SYSTEM_CLOCK
from exporter.config.address import Address
from exporter.metrics.telemetry import SelfMetrics
from exporter.settings.sections import WebSettings
from exporter.web.access.security import WebSecurity
from exporter.web.access.tls import names_in
from exporter.web.app import make_server
from exporter.web.server.uvicorn_server import WebServer
from tests.support.certificates import Authority, chain


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme
    from starlette.types import Receive, Scope, Send


GET = b"GET / HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once."""
    await PlainTextResponse("hello")(scope, receive, send)


@asynccontextmanager
async def serving(
    config_file: Path, telemetry: SelfMetrics | None = None
) -> AsyncIterator[WebServer]:
    """Run a server with a web configuration file."""
    web = WebSettings(listen_address=("127.0.0.1:0",), config_file=config_file)
    server = make_server(hello, web, clock=SYSTEM_CLOCK, telemetry=telemetry)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


class RefusedError(Exception):
    """The server gave the client no answer."""


async def ask(server: WebServer, context: ssl.SSLContext) -> int:
    """Make a request on a connection of its own and return the serial of the certificate seen.

    Raises:
        RefusedError: The server gave no answer.
    """
    address = server.addresses[0]
    try:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname="localhost"
        )
    except OSError as error:
        raise RefusedError from error
    try:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        seen = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
        writer.write(GET)
        answer = await reader.read()
    except OSError as error:
        raise RefusedError from error
    finally:
        writer.transport.abort()
    if not answer.startswith(b"HTTP/1.1 200 OK\r\n"):
        raise RefusedError(answer[:100])
    return seen.serial_number


def serial(cert: bytes) -> int:
    return x509.load_pem_x509_certificate(cert).serial_number


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.issue()
    return made


class TestServer:
    async def test_serves_its_certificate(self, authority: Authority) -> None:
        """A client that trusts the authority gets its answer, under an https address."""
        async with serving(authority.configure()) as server:
            seen = await ask(server, authority.client())

        assert "https" == server.scheme
        assert serial((authority.folder / "server.crt").read_bytes()) == seen

    @pytest.mark.parametrize(
        ("tls", "newest", "served"),
        [
            ({}, ssl.TLSVersion.TLSv1_2, True),
            ({"min_version": "TLS13"}, ssl.TLSVersion.TLSv1_2, False),
            ({"min_version": "TLS13"}, ssl.TLSVersion.TLSv1_3, True),
            ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, ssl.TLSVersion.TLSv1_2, False),
        ],
    )
    async def test_demands_a_version(
        self, authority: Authority, tls: dict[str, Any], newest: ssl.TLSVersion, served: bool
    ) -> None:
        """Clients that speak nothing new enough are turned away."""
        context = authority.client()
        context.maximum_version = newest
        async with serving(authority.configure(tls=tls)) as server:
            if served:
                assert await ask(server, context)
            else:
                with pytest.raises(RefusedError):
                    await ask(server, context)

    @pytest.mark.parametrize(
        ("suite", "served"),
        [
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", True),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", False),
        ],
    )
    async def test_demands_a_cipher(self, authority: Authority, suite: str, served: bool) -> None:
        """Up to TLS 1.2 only the listed cipher suites are spoken."""
        context = authority.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        tls = {"cipher_suites": [suite], "curve_preferences": ["CurveP256"]}
        async with serving(authority.configure(tls=tls)) as server:
            if served:
                assert await ask(server, context)
            else:
                with pytest.raises(RefusedError):
                    await ask(server, context)

    async def test_cuts_off_who_never_begins(self, authority: Authority) -> None:
        """A connection that says nothing must not be held open during the handshake either."""
        security = WebSecurity(authority.configure())
        server = WebServer(
            hello, [Address("127.0.0.1", 0)], tls=security.context, handshake_seconds=0.05
        )
        await server.start()
        address = server.addresses[0]
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            ended = await asyncio.wait_for(reader.read(), timeout=5)
        finally:
            writer.transport.abort()
            await server.stop(0)

        assert b"" == ended


class TestClients:
    async def test_without_a_certificate_are_refused(self, authority: Authority) -> None:
        """With `RequireAndVerifyClientCert` only clients of the authority get an answer."""
        stranger = Authority(authority.folder / "strange")
        path = authority.configure(
            tls={"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
        )
        leaf = authority.ca.issue_cert("prometheus.example")
        async with serving(path) as server:
            known = await ask(server, authority.client(leaf))
            for context in (
                authority.client(),
                authority.client(stranger.ca.issue_cert("prometheus.example")),
            ):
                with pytest.raises(RefusedError):
                    await ask(server, context)

        assert known

    async def test_may_come_without_where_that_is_said(self, authority: Authority) -> None:
        """`VerifyClientCertIfGiven` refuses wrong certificates, not missing ones."""
        stranger = Authority(authority.folder / "strange")
        path = authority.configure(
            tls={"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "ca.pem"}
        )
        async with serving(path) as server:
            without = await ask(server, authority.client())
            with pytest.raises(RefusedError):
                await ask(server, authority.client(stranger.ca.issue_cert("prometheus.example")))

        assert without

    @pytest.mark.parametrize(
        ("names", "served"),
        [
            (["prometheus.example"], True),
            (["other.example", "prometheus.example"], True),
            (["192.0.2.7"], True),
            (["2001:db8:0::7"], True),
            (["other.example"], False),
            (["sub.prometheus.example"], False),
            (["192.0.2.8"], False),
        ],
    )
    async def test_need_an_allowed_name(
        self, authority: Authority, names: list[str], served: bool
    ) -> None:
        """A certificate of the authority is not enough where names are listed."""
        path = authority.configure(
            tls={
                "client_auth_type": "RequireAndVerifyClientCert",
                "client_ca_file": "ca.pem",
                "client_allowed_sans": ["prometheus.example", "192.0.2.7", "2001:db8::7"],
            }
        )
        async with serving(path) as server:
            context = authority.client(authority.ca.issue_cert(*names))
            if served:
                assert await ask(server, context)
            else:
                with structlog.testing.capture_logs() as logs, pytest.raises(RefusedError):
                    await ask(server, context)
                assert ["client_refused"] == [entry["event"] for entry in logs]

    def test_have_names_of_four_kinds(self) -> None:
        """DNS names, addresses, mail addresses and URIs can be allowed; the subject cannot."""
        certificate = {
            "subject": ((("commonName", "cn.example"),),),
            "subjectAltName": (
                ("DNS", "a.example"),
                ("IP Address", "2001:DB8:0:0:0:0:0:1"),
                ("email", "a@example"),
                ("URI", "spiffe://a"),
                ("DirName", "b"),
            ),
        }

        assert {"a.example", "2001:db8::1", "a@example", "spiffe://a"} == names_in(certificate)


class TestRotation:
    async def test_fails_no_scrape_under_load(self, authority: Authority) -> None:
        """Certificates change again and again while clients connect; every request is answered."""
        folder = authority.folder
        seen: set[int] = set()
        rotated = asyncio.Event()

        async def scrape(server: WebServer) -> int:
            count = 0
            while not rotated.is_set():
                seen.add(await ask(server, authority.client()))
                count += 1
            return count

        async with serving(authority.configure()) as server:
            scrapers = [asyncio.create_task(scrape(server)) for _ in range(4)]
            issued = set()
            for _ in range(10):
                # One file after the other, as most tools do: for a while they do not fit.
                leaf = authority.ca.issue_cert("localhost")
                (folder / "server.crt").write_bytes(chain(leaf)[:100])
                await asyncio.gather(*(ask(server, authority.client()) for _ in range(2)))
                (folder / "server.crt").write_bytes(chain(leaf))
                await asyncio.gather(*(ask(server, authority.client()) for _ in range(2)))
                (folder / "server.key").write_bytes(leaf.private_key_pem.bytes())
                issued.add(serial(chain(leaf)))
                newest = await ask(server, authority.client())
                assert serial(chain(leaf)) == newest
            rotated.set()
            counts = await asyncio.gather(*scrapers)

        assert all(counts)
        assert len(seen & issued) > 1

    async def test_follows_a_swapped_folder(self, authority: Authority) -> None:
        """A Secret of Kubernetes is a link to a folder; its replacement is used at once."""
        for name in ("old", "new"):
            inner = Authority(authority.folder / name)
            inner.ca = authority.ca
            inner.issue()
        (authority.folder / "data").symlink_to("old")
        files = {"cert_file": "data/server.crt", "key_file": "data/server.key"}
        async with serving(authority.configure(tls=files)) as server:
            before = await ask(server, authority.client())
            (authority.folder / "next").symlink_to("new")
            (authority.folder / "next").rename(authority.folder / "data")
            after = await ask(server, authority.client())

        assert [
            serial((authority.folder / name / "server.crt").read_bytes()) for name in ("old", "new")
        ] == [before, after]

    async def test_a_bad_certificate_keeps_the_old_one(self, authority: Authority) -> None:
        """A certificate that cannot be used must be logged once, and the old one stay in use."""
        async with serving(authority.configure()) as server:
            before = await ask(server, authority.client())
            with structlog.testing.capture_logs() as logs:
                (authority.folder / "server.crt").write_text("no certificate")
                after = [await ask(server, authority.client()) for _ in range(3)]

        assert [before] * 3 == after
        assert ["web_config_refused"] == [entry["event"] for entry in logs]

    async def test_metrics_tell_what_is_refused_and_when_the_certificate_ends(
        self, authority: Authority
    ) -> None:
        """A certificate that cannot be used leaves the old one's end, and 0 until it is mended."""
        telemetry = SelfMetrics()
        ends = [datetime(2031, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)]
        first, second = (authority.ca.issue_cert("localhost", not_after=end) for end in ends)
        found = []

        def place(cert: bytes, leaf: trustme.LeafCert) -> None:
            (authority.folder / "server.crt").write_bytes(cert)
            (authority.folder / "server.key").write_bytes(leaf.private_key_pem.bytes())

        place(chain(first), first)
        async with serving(authority.configure(), telemetry) as server:
            for cert, leaf in ((chain(first), first), (b"none", second), (chain(second), second)):
                place(cert, leaf)
                await ask(server, authority.client())
                found.append(
                    tuple(
                        telemetry.registry.get_sample_value(f"loadfleet_exporter_web_{name}")
                        for name in (
                            "config_last_reload_successful",
                            "certificate_not_after_timestamp_seconds",
                        )
                    )
                )

        old, new = (end.timestamp() for end in ends)
        assert [(1.0, old), (0.0, old), (1.0, new)] == found

    async def test_a_client_ca_can_be_taken_away(self, authority: Authority) -> None:
        """Clients of a removed authority must be refused from the next connection on."""
        other = Authority(authority.folder / "other")
        tls = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "clients.pem"}
        (authority.folder / "clients.pem").write_bytes(authority.path.read_bytes())
        context = authority.client(authority.ca.issue_cert("prometheus.example"))
        async with serving(authority.configure(tls=tls)) as server:
            before = await ask(server, context)
            (authority.folder / "clients.pem").write_bytes(other.path.read_bytes())

            with pytest.raises(RefusedError):
                await ask(server, context)

        assert before
