"""The client's behaviour with real servers, broken connections, TLS and proxies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import socket
import ssl
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from exporter import __version__
from exporter.clock import Clock
from exporter.config.secret import Secret
from exporter.conformance.vendor import Step, Vendor, drop, endless, hang, reply, reset, say
from exporter.errors import CallError, ConfigurationError, PollError, Reason
from exporter.http import Call, HttpClient, HttpOptions, Reply
from exporter.http.transport import NetworkTransport
from exporter.simulator.server import serve
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


CANARY = "canary-7f3a"
OPTIONS = HttpOptions(retries=0, total_timeout=10.0, read_timeout=10.0)
HEAD = b"HTTP/1.1 200 OK\r\n"

Connect = Callable[..., HttpClient]


async def no_pause(seconds: float) -> None:
    """Sleep for the clock of these tests: back-offs take no time."""
    await asyncio.sleep(0)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make clients without proxies from the environment, and close them."""
    clients = []

    def make(options: HttpOptions = OPTIONS, **routes: Any) -> HttpClient:
        made = HttpClient(
            options,
            clock=Clock(sleep=no_pause),
            random=Random(1),  # noqa: S311 - jitter is no secret
            transport=NetworkTransport(options, **{"environment": {}, **routes}),
        )
        clients.append(made)
        return made

    yield make
    for made in clients:
        await made.aclose()


def call(url: str, *, method: str = "POST", **fields: Any) -> Call:
    """Make a call with a secret wherever one can be."""
    return Call(
        operation="read",
        method=method,
        url=f"{url}?key={CANARY}",
        headers={"Authorization": f"Bearer {CANARY}"},
        content=CANARY.encode(),
        **fields,
    )


def at(url: str) -> str:
    """Return host and port of a URL."""
    return httpx.URL(url).netloc.decode()


async def failure(sending: Awaitable[Reply]) -> CallError:
    """Return how a call fails, having looked for secrets in all that can be printed of it."""
    with pytest.raises(PollError) as caught:
        await sending
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert isinstance(caught.value, CallError)
    return caught.value


async def test_a_call_arrives_and_its_answer_comes_back(connect: Connect) -> None:
    """Method, target, headers and body arrive as given; names of headers come in lower case."""
    async with Vendor(reply(b'{"a": 1}', status=207, headers={"X-Some": "thing"})) as vendor:
        answer = await connect().send(call(vendor.url))

    (seen,) = vendor.seen
    assert ("POST", f"/api?key={CANARY}") == (seen.method, seen.target)
    assert CANARY.encode() == seen.body
    assert f"Bearer {CANARY}" == seen.headers["authorization"]
    assert f"loadfleet-exporter/{__version__}" == seen.headers["user-agent"]
    assert "gzip, deflate" == seen.headers["accept-encoding"]
    assert (207, b'{"a": 1}') == (answer.status, answer.body)
    assert "thing" == answer.headers["x-some"]


async def test_calls_that_are_alike_have_each_its_own_length(connect: Connect) -> None:
    """The headers that calls have in common are made once; a length is one call's own."""
    contents = (b"", b"12345", b"123", b"")
    methods = ("GET", "POST", "POST", "GET")
    async with Vendor(reply()) as vendor:
        http = connect()
        for method, content in zip(methods, contents, strict=True):
            await http.send(
                msgspec.structs.replace(call(vendor.url), method=method, content=content)
            )

    assert contents == tuple(seen.body for seen in vendor.seen)
    assert [None, "5", "3", None] == [seen.headers.get("content-length") for seen in vendor.seen]


async def test_connections_are_kept(connect: Connect) -> None:
    """A cycle of pings must not open a connection for each."""
    async with Vendor(reply()) as vendor:
        http = connect(msgspec.structs.replace(OPTIONS, connections=1))
        for _ in range(5):
            await http.send(call(vendor.url))

        assert 1 == len(vendor._connections)
    assert 5 == len(vendor.seen)


class Names(AbstractResolver):
    """A name server that is a function."""

    def __init__(self, answer: Callable[[], Awaitable[list[ResolveResult]]]) -> None:
        self._answer = answer

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Answer, whatever the question."""
        del host, port, family
        return await self._answer()

    async def close(self) -> None:
        """Do nothing."""


class TestFaults:
    """POST is used where it is not said otherwise, since Real Load has nothing else."""

    @pytest.mark.parametrize(
        ("step", "reason"),
        [
            (drop, Reason.CONNECT),
            (reset, Reason.CONNECT),
            (say(HEAD + b"Content-Length: 9\r\n\r\nhalf", then=drop), Reason.CONNECT),
            (say(HEAD + b"Content-Length: 9\r\n\r\nhalf", then=reset), Reason.CONNECT),
            (
                say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", then=drop),
                Reason.CONNECT,
            ),
            (say(HEAD[:9], then=drop), Reason.CONNECT),
            (say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Reason.DECODE),
            (say(HEAD + b"no header at all\r\n\r\n"), Reason.DECODE),
            (say(HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n"), Reason.DECODE),
            (say(HEAD + b"Content-Length: nine\r\n\r\n"), Reason.DECODE),
            (reply(headers={"Content-Encoding": "br"}), Reason.DECODE),
            (reply(b"no gzip", headers={"Content-Encoding": "gzip"}), Reason.DECODE),
        ],
        ids=[
            "closed",
            "reset",
            "half a body",
            "half a body, reset",
            "half a chunk",
            "half a head",
            "no HTTP",
            "no header",
            "endless header",
            "no length",
            "unknown encoding",
            "no gzip",
        ],
    )
    @pytest.mark.parametrize("method", ["POST", "GET"])
    async def test_a_broken_answer_has_its_reason(
        self, connect: Connect, step: Step, reason: Reason, method: str
    ) -> None:
        """A broken connection must not be reported as an undecodable reply, and is not retried."""
        async with Vendor(step) as vendor:
            error = await failure(connect().send(call(vendor.url, method=method)))

        assert reason is error.reason
        assert error.sent
        assert 1 == len(vendor.seen)

    async def test_a_refused_connection(self, connect: Connect) -> None:
        """A port without a server must be `connect`, and the call count as not sent."""
        async with Vendor(hang) as vendor:
            url = vendor.url

        error = await failure(connect().send(call(url)))

        assert (Reason.CONNECT, False) == (error.reason, error.sent)
        assert f"read: the connection was refused by {at(url)}" == str(error)

    async def test_a_name_that_does_not_exist(self, connect: Connect) -> None:
        """A name that is not found is `dns`."""

        async def nowhere() -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        error = await failure(
            connect(resolver=Names(nowhere)).send(call("http://nowhere.invalid/"))
        )

        assert (Reason.DNS, False) == (error.reason, error.sent)
        assert "read: the host name was not found: nowhere.invalid" == str(error)

    async def test_a_name_server_that_hangs(self, connect: Connect) -> None:
        """The search for an address counts against the connect time-out."""

        async def silent() -> list[ResolveResult]:
            await asyncio.Event().wait()
            raise AssertionError

        options = msgspec.structs.replace(OPTIONS, connect_timeout=0.05)
        error = await failure(
            connect(options, resolver=Names(silent)).send(call("http://nowhere.invalid/"))
        )

        assert (Reason.TIMEOUT, False) == (error.reason, error.sent)
        assert "read: no connection to nowhere.invalid:80 in time" == str(error)

    async def test_no_connection_within_a_short_total(self, connect: Connect) -> None:
        """A total that is shorter than the limit of a connection must not pass for a late reply."""

        async def silent() -> list[ResolveResult]:
            await asyncio.Event().wait()
            raise AssertionError

        options = msgspec.structs.replace(OPTIONS, connect_timeout=5.0, total_timeout=0.3)
        error = await failure(
            connect(options, resolver=Names(silent)).send(call("http://nowhere.invalid/"))
        )

        assert (Reason.TIMEOUT, False) == (error.reason, error.sent)

    async def test_a_dropped_connection_is_not_tried_again(self, connect: Connect) -> None:
        """A dropped connection must not be retried: the call may have been refused."""
        async with Vendor(drop, reply()) as vendor:
            error = await failure(
                connect(msgspec.structs.replace(OPTIONS, retries=1)).send(call(vendor.url))
            )

        assert (Reason.CONNECT, True, True) == (error.reason, error.sent, error.lost)
        assert 1 == len(vendor.seen)

    async def test_a_body_cut_off_is_not_tried_again(self, connect: Connect) -> None:
        """The reply may have been a refusal, and must not be asked for twice."""
        cut = say(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nhalf", then=drop)
        async with Vendor(cut) as vendor:
            error = await failure(
                connect(msgspec.structs.replace(OPTIONS, retries=3)).send(call(vendor.url))
            )

        assert (Reason.CONNECT, True, False) == (error.reason, error.sent, error.lost)
        assert 1 == len(vendor.seen)

    @pytest.mark.parametrize(
        "step",
        [
            hang,
            say(HEAD + b"Content-Length: 9\r\n\r\nhalf", then=hang),
            endless(HEAD + b"Content-Length: 99999999\r\n\r\n", b"x", pause_seconds=0.01),
            endless(HEAD, b"X-A: b\r\n", pause_seconds=0.01),
        ],
        ids=["no reply", "half a body", "dripping body", "dripping head"],
    )
    async def test_the_total_time_out_ends_everything(self, connect: Connect, step: Step) -> None:
        """A call must end at its total time-out, in silence as during a trickle."""
        options = msgspec.structs.replace(OPTIONS, total_timeout=1.0)
        async with Vendor(step) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert (Reason.TIMEOUT, True) == (error.reason, error.sent)

    async def test_the_read_time_out_ends_silence(self, connect: Connect) -> None:
        """Silence is given up before the total, when so configured."""
        options = msgspec.structs.replace(OPTIONS, read_timeout=0.05)
        async with Vendor(hang) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert Reason.TIMEOUT is error.reason

    @pytest.mark.usefixtures("uncollected")
    async def test_an_error_that_was_handled_is_gone(self, connect: Connect) -> None:
        """An error that was handled must be freed: its frames hold the call and the client."""
        async with Vendor(hang) as vendor:
            url = vendor.url

        with contextlib.suppress(CallError):
            await connect().send(call(url))

        left = [str(each) for each in gc.get_objects() if isinstance(each, CallError)]
        assert [] == [text for text in left if at(url) in text]

    async def test_closing_ends_calls_that_hang(self, connect: Connect) -> None:
        """A stop must not wait for a vendor."""
        options = msgspec.structs.replace(OPTIONS, total_timeout=60.0, read_timeout=60.0)
        async with Vendor(hang) as vendor:
            http = connect(options)
            task = asyncio.create_task(http.send(call(vendor.url)))
            await until(lambda: vendor.seen)

            async with asyncio.timeout(10.0):  # shorter than the time-out
                await http.aclose()
                error = await failure(task)

        assert Reason.CONNECT is error.reason


class TestSize:
    async def test_an_endless_body_is_given_up(self, connect: Connect) -> None:
        """A reply may not be larger than the limit, whatever it says of its size."""
        options = msgspec.structs.replace(OPTIONS, max_reply_bytes=100_000)
        step = endless(HEAD + b"Connection: close\r\n\r\n", b"x" * 10_000)
        async with Vendor(step) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert Reason.DECODE is error.reason
        assert "100000" in str(error)

    async def test_a_body_of_the_limit_is_accepted(self, connect: Connect) -> None:
        """The limit itself is still allowed."""
        options = msgspec.structs.replace(OPTIONS, max_reply_bytes=100_000)
        async with Vendor(reply(b"x" * 100_000)) as vendor:
            answer = await connect(options).send(call(vendor.url))

        assert 100_000 == len(answer.body)

    async def test_a_gzip_bomb_does_not_go_off(self, connect: Connect) -> None:
        """A small compressed reply must not expand past the limit in memory."""
        bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
        options = msgspec.structs.replace(OPTIONS, max_reply_bytes=1_000_000)
        async with Vendor(reply(bomb, headers={"Content-Encoding": "gzip"})) as vendor:
            tracemalloc.start()
            error = await failure(connect(options).send(call(vendor.url)))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

        assert Reason.DECODE is error.reason
        assert peak < 10_000_000

    @pytest.mark.parametrize(
        ("encoding", "body"),
        [
            ("gzip", gzip.compress(b'{"a": 1}')),
            ("deflate", zlib.compress(b'{"a": 1}')),
        ],
    )
    async def test_compressed_bodies_are_read(
        self, connect: Connect, encoding: str, body: bytes
    ) -> None:
        """Bodies must be decompressed by each encoding that the client accepts."""
        async with Vendor(reply(body, headers={"Content-Encoding": encoding})) as vendor:
            answer = await connect().send(call(vendor.url))

        assert b'{"a": 1}' == answer.body


class TestManners:
    async def test_redirects_are_not_followed(self, connect: Connect) -> None:
        """A redirect could carry the credentials elsewhere."""
        async with Vendor(reply()) as other:
            step = reply(status=302, headers={"Location": other.url})
            async with Vendor(step) as vendor:
                answer = await connect().send(call(vendor.url))

        assert 302 == answer.status
        assert [] == other.seen

    async def test_cookies_are_not_kept(self, connect: Connect) -> None:
        """Calls have no session: what a vendor sets must not come back to it."""
        async with Vendor(reply(headers={"Set-Cookie": "session=1; Path=/"})) as vendor:
            http = connect()
            await http.send(call(vendor.url))
            await http.send(call(vendor.url))

        assert "cookie" not in vendor.seen[1].headers

    async def test_retries_are_ours_alone(self, connect: Connect) -> None:
        """A GET is repeated by aiohttp when a connection was dropped; the budget would miss it."""
        async with Vendor(reply(), drop) as vendor:
            http = connect()
            await http.send(call(vendor.url, method="GET"))
            await failure(http.send(call(vendor.url, method="GET")))

        assert 2 == len(vendor.seen)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make an unknown certificate authority."""
    return trustme.CA()


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make the server's end of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def signed_by_itself(folder: Path) -> ssl.SSLContext:
    """Make a server's end of TLS whose certificate has no issuer but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    path = folder / "itself.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def written(authority: trustme.CA, folder: Path) -> Path:
    """Write an authority's certificate to a file."""
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def ending(options: HttpOptions, told: list[float], **routes: Any) -> HttpClient:
    """Make a client that notes when the certificates of servers end."""
    return HttpClient(
        options,
        clock=Clock(sleep=no_pause),
        random=Random(1),  # noqa: S311 - jitter is no secret
        transport=NetworkTransport(
            options, certificate_ends=told.append, **{"environment": {}, **routes}
        ),
    )


@contextlib.asynccontextmanager
async def refusing(answer: bytes) -> AsyncIterator[int]:
    """Run a server that answers whatever comes first and hangs up; yield its port."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class TestTls:
    async def test_a_named_authority_is_trusted(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """`ca_file` makes a private authority acceptable."""
        tls = server_tls(authority.issue_cert("127.0.0.1"))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with Vendor(reply(), tls=tls) as vendor:
            answer = await connect(options).send(call(vendor.url))

        assert 200 == answer.status

    async def test_an_unknown_authority(self, connect: Connect, authority: trustme.CA) -> None:
        """A certificate of an unknown issuer is `tls`, with the remedy, and never tried again."""
        tls = server_tls(authority.issue_cert("127.0.0.1"))
        options = msgspec.structs.replace(OPTIONS, retries=3)
        async with Vendor(reply(), tls=tls) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert (Reason.TLS, False) == (error.reason, error.sent)
        assert f"the certificate of {at(vendor.url)} was not accepted: its issuer" in str(error)
        assert "ca_file" in str(error)
        assert [] == vendor.seen

    async def test_a_certificate_for_another_name(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """A certificate must be for the host that was called."""
        tls = server_tls(authority.issue_cert("other.example"))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with Vendor(reply(), tls=tls) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert Reason.TLS is error.reason
        assert "another" in str(error)

    async def test_an_expired_certificate(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """An expired certificate is named as what it is."""
        expired = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with Vendor(reply(), tls=server_tls(expired)) as vendor:
            error = await failure(connect(options).send(call(vendor.url)))

        assert Reason.TLS is error.reason
        assert "expired" in str(error)

    async def test_a_certificate_signed_by_itself(self, connect: Connect, tmp_path: Path) -> None:
        """A self-signed certificate must be named as such in the error."""
        async with Vendor(reply(), tls=signed_by_itself(tmp_path)) as vendor:
            error = await failure(connect().send(call(vendor.url)))

        assert Reason.TLS is error.reason
        assert "it is self-signed; name it in ca_file to trust it" in str(error)

    async def test_verification_can_be_switched_off(
        self, connect: Connect, authority: trustme.CA
    ) -> None:
        """`insecure_skip_verify` accepts anything."""
        tls = server_tls(authority.issue_cert("other.example"))
        options = msgspec.structs.replace(OPTIONS, insecure_skip_verify=True)
        async with Vendor(reply(), tls=tls) as vendor:
            answer = await connect(options).send(call(vendor.url))

        assert 200 == answer.status

    async def test_the_end_of_the_servers_certificate_is_told(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """The end of a certificate must be reported once, and again when it changes."""
        first, second = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)
        tls = server_tls(authority.issue_cert("127.0.0.1", not_after=first))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        told: list[float] = []
        close = say(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n", then=drop)
        http = ending(options, told)
        async with Vendor(reply(), close, tls=tls) as vendor:
            await http.send(call(vendor.url))
            await http.send(call(vendor.url))
            # A connection that is already there keeps the certificate it began with.
            authority.issue_cert("127.0.0.1", not_after=second).configure_cert(tls)
            await http.send(call(vendor.url))
        await http.aclose()

        assert [first.timestamp(), second.timestamp()] == told

    async def test_it_is_told_of_a_certificate_that_nobody_verifies(
        self, authority: trustme.CA
    ) -> None:
        """`insecure_skip_verify` hides no end."""
        end = datetime(2031, 2, 3, tzinfo=UTC)
        tls = server_tls(authority.issue_cert("other.example", not_after=end))
        told: list[float] = []
        http = ending(msgspec.structs.replace(OPTIONS, insecure_skip_verify=True), told)
        async with Vendor(reply(), tls=tls) as vendor:
            await http.send(call(vendor.url))
        await http.aclose()

        assert [end.timestamp()] == told

    async def test_nothing_ends_on_plain_http(self) -> None:
        """A server without TLS must have no end of a certificate."""
        told: list[float] = []
        http = ending(OPTIONS, told)
        async with Vendor(reply()) as vendor:
            await http.send(call(vendor.url))
        await http.aclose()

        assert [] == told

    async def test_a_client_certificate_is_shown(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """A server that asks for a certificate gets the configured one."""
        tls = server_tls(authority.issue_cert("127.0.0.1"))
        tls.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(tls)
        own = tmp_path / "own.pem"
        authority.issue_cert("exporter").private_key_and_cert_chain_pem.write_to_path(str(own))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with Vendor(reply(), tls=tls) as vendor:
            answer = await connect(msgspec.structs.replace(options, client_cert_file=own)).send(
                call(vendor.url)
            )
            await failure(connect(options).send(call(vendor.url)))

        assert 200 == answer.status
        assert 1 == len(vendor.seen)

    @pytest.mark.parametrize(
        ("answer", "told"),
        [
            (
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                "WRONG_VERSION_NUMBER (the port may speak plain HTTP)",
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "WRONG_VERSION_NUMBER (the port may speak plain HTTP)"),
            (
                bytes.fromhex("15030300020228"),
                "SSLV3_ALERT_HANDSHAKE_FAILURE (the server accepts none of the offered",
            ),
            (
                bytes.fromhex("15030300020246"),
                "TLSV1_ALERT_PROTOCOL_VERSION (there is no TLS version in common)",
            ),
            (
                bytes.fromhex("15030300020270"),
                "TLSV1_UNRECOGNIZED_NAME (the server does not know the host name)",
            ),
            (
                bytes.fromhex("15030300020230"),
                "TLSV1_ALERT_UNKNOWN_CA (the server does not accept the client certificate)",
            ),
            (bytes.fromhex("15030300020250"), "TLSV1_ALERT_INTERNAL_ERROR"),
        ],
        ids=["HTTP", "SSH", "handshake", "version", "name", "authority", "internal"],
    )
    async def test_a_handshake_that_fails(self, connect: Connect, answer: bytes, told: str) -> None:
        """A server that does not speak TLS, or not with us, is `tls`, with OpenSSL's reason."""
        async with refusing(answer) as port:
            error = await failure(connect().send(call(f"https://127.0.0.1:{port}/")))

        assert Reason.TLS is error.reason
        assert f"TLS with 127.0.0.1:{port} failed: {told}" in str(error)

    async def test_the_plain_port_of_a_server_of_today(self, connect: Connect) -> None:
        """A server that takes the hello for a broken request and says so speaks plain HTTP."""
        async with serve(Starlette()) as url:
            error = await failure(connect().send(call(f"https{url[4:]}/")))

        assert (Reason.TLS, False) == (error.reason, error.sent)
        assert str(error) == (
            f"read: TLS with {url[7:]} failed: WRONG_VERSION_NUMBER (the port may speak plain HTTP)"
        )

    async def test_tls_behind_a_url_of_plain_http(self, connect: Connect) -> None:
        """An alert of TLS in place of a status line names what is wrong with the URL."""
        async with refusing(bytes.fromhex("15030300020246")) as port:
            error = await failure(connect().send(call(f"http://127.0.0.1:{port}/")))

        assert Reason.DECODE is error.reason
        assert "read: the reply is not valid HTTP (the port may speak TLS)" == str(error)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_nothing_of_a_secret_url_is_shown(self, connect: Connect, scheme: str) -> None:
        """A URL that is a secret as a whole can have it in the name of the host."""

        async def nowhere() -> list[ResolveResult]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        http = connect(resolver=Names(nowhere))
        error = await failure(http.send(call(f"{scheme}://{CANARY}.invalid/", secret_url=True)))

        assert "read: the host name was not found" == str(error)

    async def test_a_certificate_file_that_is_none(self, tmp_path: Path) -> None:
        """A file that cannot be used is a mistake in the configuration, named by its path."""
        path = tmp_path / "ca.pem"
        path.write_text("nothing")

        with pytest.raises(ConfigurationError, match=r"ca\.pem"):
            NetworkTransport(msgspec.structs.replace(OPTIONS, ca_file=path))


@contextlib.asynccontextmanager
async def tunnel(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """Run a proxy that connects to the requested host, and yield its URL."""
    under_way: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        under_way.append(asyncio.create_task(pump(reader, far_writer)))
        under_way.append(asyncio.create_task(pump(far_reader, writer)))

    async with await asyncio.start_server(connect, "127.0.0.1", 0, ssl=tls) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await asyncio.gather(*under_way)


class TestProxies:
    async def test_the_configured_proxy_is_used(self, connect: Connect) -> None:
        """All calls go through `proxy_url`, with the credentials in it."""
        async with Vendor(reply()) as proxy:
            url = f"http://user:{CANARY}@127.0.0.1:{proxy.port}"
            options = msgspec.structs.replace(OPTIONS, proxy_url=Secret(value=url))
            answer = await connect(options).send(call("http://vendor.invalid/api"))

        assert 200 == answer.status
        (seen,) = proxy.seen
        assert f"http://vendor.invalid/api?key={CANARY}" == seen.target
        assert seen.headers["proxy-authorization"].startswith("Basic ")

    async def test_a_proxy_of_the_environment_is_used(self, connect: Connect) -> None:
        """The usual variables count, also without a scheme in them."""
        async with Vendor(reply()) as proxy:
            http = connect(environment={"http": f"127.0.0.1:{proxy.port}"})
            await http.send(call("http://vendor.invalid/api"))

        assert 1 == len(proxy.seen)

    async def test_exceptions_of_the_environment_count(self, connect: Connect) -> None:
        """A host that `no_proxy` names must be called directly."""
        async with Vendor(reply()) as proxy, Vendor(reply()) as vendor:
            http = connect(
                environment={"http": f"http://127.0.0.1:{proxy.port}", "no": "127.0.0.1"}
            )
            await http.send(call(vendor.url))

        assert (0, 1) == (len(proxy.seen), len(vendor.seen))

    @pytest.mark.parametrize(
        ("step", "reason", "counts"),
        [
            (say(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), Reason.CONNECT, True),
            (say(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), Reason.CONNECT, False),
            (drop, Reason.CONNECT, True),
            (say(b"nonsense\r\n\r\n"), Reason.DECODE, True),
        ],
        ids=["407", "502", "closed", "nonsense"],
    )
    async def test_a_proxy_that_does_not_connect(
        self, connect: Connect, step: Step, reason: Reason, counts: bool
    ) -> None:
        """A proxy's failure is not the vendor's answer, and nothing of its URL is shown.

        A password that the proxy refuses counts like a token that the vendor does: accounts of
        proxies get locked, too.
        """
        async with Vendor(step) as proxy:
            url = f"http://user:{CANARY}@127.0.0.1:{proxy.port}"
            options = msgspec.structs.replace(OPTIONS, proxy_url=Secret(value=url))
            error = await failure(connect(options).send(call("https://vendor.invalid/api")))

        assert (reason, counts) == (error.reason, error.unread)

    async def test_the_end_of_a_certificate_is_told_through_a_proxy(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """Through a proxy, the reported certificate must be the vendor's."""
        end = datetime(2031, 2, 3, tzinfo=UTC)
        inner = server_tls(authority.issue_cert("127.0.0.1", not_after=end))
        outer = server_tls(authority.issue_cert("127.0.0.1"))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        told: list[float] = []
        async with Vendor(reply(), tls=inner) as vendor, tunnel(outer) as proxy:
            http = ending(options, told, environment={"all": proxy})
            await http.send(call(vendor.url))
            await http.aclose()

        assert [end.timestamp()] == told

    async def test_the_certificate_of_a_proxy_is_not_the_vendors(
        self, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """The certificate of a proxy must not be reported as the vendor's."""
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        told: list[float] = []
        tls = server_tls(authority.issue_cert("127.0.0.1"))
        async with Vendor(reply(), tls=tls) as proxy:
            http = ending(options, told, environment={"all": f"https://127.0.0.1:{proxy.port}"})
            await http.send(call("http://vendor.invalid/api"))
            await http.aclose()

        assert (1, []) == (len(proxy.seen), told)

    async def test_a_certificate_behind_a_proxy_is_told_as_without_one(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """A bad certificate behind a proxy must have the reason `tls` and its cause."""
        expired = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        outer = server_tls(authority.issue_cert("127.0.0.1"))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with Vendor(reply(), tls=server_tls(expired)) as vendor, tunnel(outer) as proxy:
            http = connect(options, environment={"all": proxy})
            error = await failure(http.send(call(vendor.url)))

        way = f"{at(vendor.url)} by way of the proxy {at(proxy)}"
        assert (Reason.TLS, False) == (error.reason, error.sent)
        assert f"read: the certificate of {way} was not accepted: it has expired" == str(error)

    async def test_plain_http_behind_a_proxy_is_told_as_without_one(
        self, connect: Connect, authority: trustme.CA, tmp_path: Path
    ) -> None:
        """The handshake fails before anything is sent, also through a proxy."""
        outer = server_tls(authority.issue_cert("127.0.0.1"))
        options = msgspec.structs.replace(OPTIONS, ca_file=written(authority, tmp_path))
        async with refusing(b"HTTP/1.1 400 No\r\n\r\n") as port, tunnel(outer) as proxy:
            http = connect(options, environment={"all": proxy})
            error = await failure(http.send(call(f"https://127.0.0.1:{port}/")))

        assert (Reason.TLS, False) == (error.reason, error.sent)
        assert "(the port may speak plain HTTP)" in str(error)

    async def test_a_proxy_that_is_not_there(self, connect: Connect) -> None:
        """A refused connection to the proxy is `connect`."""
        async with Vendor(hang) as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
        secret = Secret(value=url.replace("//", f"//user:{CANARY}@"))
        options = msgspec.structs.replace(OPTIONS, proxy_url=secret)

        error = await failure(connect(options).send(call("http://vendor.invalid/api")))

        assert (Reason.CONNECT, False) == (error.reason, error.sent)
        way = f"vendor.invalid:80 by way of the proxy {at(url)}"
        assert f"read: the connection was refused by {way}" == str(error)

    @pytest.mark.parametrize(
        ("step", "timeout_seconds", "reason"),
        [
            (say(HEAD + b"Content-Length: 9\r\n\r\nhalf", then=drop), 10.0, Reason.CONNECT),
            (hang, 0.2, Reason.TIMEOUT),
        ],
        ids=["half a body", "hanging"],
    )
    async def test_faults_behind_a_proxy_have_the_same_reasons(
        self, connect: Connect, step: Step, timeout_seconds: float, reason: Reason
    ) -> None:
        """Another transport carries these calls; the reasons must not differ."""
        async with Vendor(step) as proxy:
            options = msgspec.structs.replace(OPTIONS, total_timeout=timeout_seconds)
            http = connect(options, environment={"all": f"http://127.0.0.1:{proxy.port}"})
            error = await failure(http.send(call("http://vendor.invalid/api")))

        assert reason is error.reason
