"""Prepared answers: the same bytes as usual ones, and only for requests that allow them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import ssl
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import trustme
import yaml

from exporter.clock import SYSTEM_CLOCK
from exporter.settings.sections import WebSettings
from exporter.web.app import create_app, make_server
from exporter.web.endpoints.text import SlicedResponse
from exporter.web.server.ready import Answering, ReadyAnswer
from exporter.web.server.uvicorn_server import WebServer
from tests.metrics.test_exposition import OPENMETRICS, World
from tests.support.fleet import AGENT
from tests.web import fakes
from tests.web.server.test_uvicorn_server import (
    LOCAL,
    Client,
    Hasty,
    connected,
    hello,
    large,
    serving,
)


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


GET = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"
END = b"GET /slow HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n"
DATE = re.compile(rb"\r\ndate: [^\r]*")


class Usual:
    """An app that counts what goes through it; without `short` it has nothing ready."""

    def __init__(self, app: Any, *, short: bool = True) -> None:
        self._app = app
        self.calls = 0
        if short:
            self.ready = app.ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and pass on."""
        self.calls += 1
        await self._app(scope, receive, send)


class Page:
    """An app with one page, which it has ready."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts

    def ready(self, scope: Scope) -> ReadyAnswer | None:
        """Return the page for all but `/slow`."""
        if scope["path"] == "/slow":
            return None
        response = SlicedResponse(self.parts, {"Content-Type": "text/plain"})
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": response.raw_headers,
        }
        return ReadyAnswer(start=start, body=self.parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with something else."""
        await hello(scope, receive, send)


def request(
    path: str = "/metrics", *, version: str = "1.1", method: str = "GET", **headers: str
) -> bytes:
    """Write a request."""
    named = {"Host": "exporter", **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = [f"{method} {path} HTTP/{version}", *(f"{k}: {v}" for k, v in named.items()), "", ""]
    return "\r\n".join(lines).encode()


async def answers(server: WebServer, said: bytes) -> bytes:
    """Send requests and close; return all answers without their dates."""
    async with connected(server) as client:
        client.writer.write(said + END)
        got = await asyncio.wait_for(client.reader.read(), timeout=10)
    return DATE.sub(b"", got)


def page_app(**options: Any) -> Any:
    """Make the app over a real exposition whose clock stands still."""
    world = World()
    world.put(AGENT)
    return create_app(fakes.ExposingView(world.exposition), **options)


async def usual_calls(asked: Sequence[bytes]) -> list[int]:
    """Ask on both ways, compare the answers, and return how often the short one was not taken."""
    app = page_app()
    short, usual = Usual(app), Usual(app, short=False)
    async with serving(short) as one, serving(usual) as other:
        for said in asked:
            expected = await answers(other, said)
            assert expected.startswith(b"HTTP/1.1 ")
            assert expected == await answers(one, said)
    return [usual.calls, short.calls]


#: Calls for requests that end the connection, which are never answered in advance.
ENDS = 1


class TestSameAnswer:
    @pytest.mark.parametrize("encoding", [None, "", "gzip", "identity", "br, gzip;q=0.5"])
    async def test_whatever_is_accepted(self, encoding: str | None) -> None:
        """Head and body are byte for byte those of the usual way."""
        accepted = [None, "", "*/*", OPENMETRICS, "text/plain;q=0", "no type"]
        asked = [
            request(
                **{
                    name: value
                    for name, value in (("Accept", accept), ("Accept_Encoding", encoding))
                    if value is not None
                }
            )
            for accept in accepted
        ]

        usual, short = await usual_calls(asked)

        assert (len(asked) * (1 + ENDS), len(asked) * ENDS) == (usual, short)

    async def test_who_takes_no_encoding(self) -> None:
        """A client that accepts no encoding must be answered by the application."""
        calls = await usual_calls([request(Accept_Encoding="gzip;q=0, identity;q=0")])

        assert [1 + ENDS, 1 + ENDS] == calls

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    @pytest.mark.parametrize("connection", ["keep-alive", "close"])
    async def test_whatever_the_request(self, version: str, connection: str) -> None:
        """Methods, paths and the end of a connection are as ever."""
        paths = ["/metrics", "/metrics?name[]=loadfleet_agent_up", "/metrics/", "/%6Detrics"]
        asked = [
            request(path, method=method, version=version, Connection=connection)
            for path, method in itertools.product(paths, ["GET", "HEAD", "POST"])
        ]

        usual, short = await usual_calls(asked)

        # The page, and the page by its encoded name.
        assert usual - short == (2 if (version, connection) == ("1.1", "keep-alive") else 0)

    @pytest.mark.parametrize("prefix", ["", "/fleet", "team/fleet/"])
    async def test_below_the_prefix(self, prefix: str) -> None:
        """The page is ready where it is mounted, and nowhere else."""
        path = f"/{prefix.strip('/')}/metrics".replace("//", "/")
        app = Usual(page_app(route_prefix=prefix))

        async with serving(app) as server:
            mounted = await answers(server, request(path))
            calls = app.calls
            elsewhere = await answers(server, request("/elsewhere/metrics"))

        assert mounted.startswith(b"HTTP/1.1 200 ")
        assert elsewhere.startswith(b"HTTP/1.1 404 ")
        # These requests end the connections.
        assert (1, 3) == (calls, app.calls)


class TestUsualWay:
    async def test_behind_a_gate_everything_goes_through_it(self, tmp_path: Path) -> None:
        """Users, limits and headers of the web configuration file hold for the page as well."""
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
        path = tmp_path / "web.yml"
        path.write_text(yaml.safe_dump({"basic_auth_users": {"alice": hashed}}))
        web = WebSettings(listen_address=("127.0.0.1:0",), config_file=path)
        server = make_server(page_app(), web, clock=SYSTEM_CLOCK)
        await server.start()
        try:
            let_in = await answers(server, request(Authorization="Basic YWxpY2U6c2VjcmV0"))
            refused = await answers(server, GET)
        finally:
            await server.stop(0)

        assert let_in.startswith(b"HTTP/1.1 200 ")
        assert refused.startswith(b"HTTP/1.1 401 ")

    async def test_never_past_tls(self) -> None:
        """Encrypted answers must go through the transport."""
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        app = Usual(Page([b"page"]))
        async with serving(app, tls=context) as server:
            address = server.addresses[0]
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=trusting, server_hostname="localhost"
            )
            client = Client(reader, writer)
            # After the first answer, no part of the handshake is left to be sent.
            got = [await client.ask(), await client.ask()]
            writer.transport.abort()

        assert ([(200, "hello")] * 2, 2) == (got, app.calls)

    async def test_a_request_without_host_is_refused(self) -> None:
        """The rules for requests hold before anything is sent."""
        async with serving(Page([b"page"])) as server:
            answer = await answers(server, b"GET / HTTP/1.1\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 400 ")

    async def test_nothing_is_ready_while_all_are_busy(self) -> None:
        """The limit of requests under way holds for what is ready, too."""
        begun, end = asyncio.Event(), asyncio.Event()

        class Held(Page):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                begun.set()
                await end.wait()
                await hello(scope, receive, send)

        async with serving(Held([b"page"]), max_connections=1) as server:
            async with connected(server) as busy, connected(server) as client:
                slow = asyncio.create_task(
                    busy.ask(b"GET /slow HTTP/1.1\r\nHost: exporter\r\n\r\n")
                )
                await begun.wait()
                refused = await client.ask()
                end.set()
                held = await slow
            async with connected(server) as client:
                again = [await client.ask() for _ in range(2)]

        assert (503, (200, "hello")) == (refused[0], held)
        assert [(200, "page")] * 2 == again

    async def test_a_mistake_is_told_as_ever(self) -> None:
        """A page that cannot be made must be answered with 500, not 400."""
        view = fakes.FakeView()
        view.page = None  # type: ignore[assignment]  # what is made of it fails
        app = Usual(create_app(view))
        async with serving(app) as server:
            answer = await answers(server, GET)

        assert answer.startswith(b"HTTP/1.1 500 ")
        assert 2 == app.calls

    async def test_once_in_a_turn(self) -> None:
        """One prepared answer must be sent per loop turn."""
        answering = Answering(Page([b"page"]))
        scope: Scope = {"type": "http", "path": "/"}

        together = [answering.ready(scope) for _ in range(3)]
        await asyncio.sleep(0)
        later = answering.ready(scope)

        assert [True, False, False] == [answer is not None for answer in together]
        assert later is not None

    async def test_of_requests_in_one_packet_the_others_are_counted(self) -> None:
        """A pipeline cannot hold the loop, and each gets its answer."""
        app = Usual(page_app())
        async with serving(app) as server:
            got = await answers(server, GET * 5)

        statuses = [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]
        assert [*[b"200"] * 5, b"404"] == statuses
        assert 5 == app.calls

    async def test_waits_for_those_before_it(self) -> None:
        """Answers come in the order of the requests, whichever is ready first."""
        slow = b"GET /slow HTTP/1.1\r\nHost: exporter\r\n\r\n"
        async with serving(Page([b"page"])) as server, connected(server) as client:
            got = [await client.ask(slow + GET + slow + GET)]
            got += [await client.ask(b"") for _ in range(3)]

        assert ["hello", "hello", "hello", "page"] == [text for _, text in got]

    async def test_waits_for_bytes_before_it(self) -> None:
        """A prepared answer must not overtake bytes that the transport still has to send."""

        class Large(Page):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                await (hello if scope["path"] == "/" else large)(scope, receive, send)

        slow = b"GET /slow HTTP/1.1\r\nHost: exporter\r\n\r\n"
        async with serving(Large([b"page"])) as server, connected(server) as client:
            _, first = await client.ask(slow + b"GET / HTTP/1.1\r\nHost: exporter\r\n\r\n")
            second = await client.ask(b"")

        assert 50_000_000 == first.count("x")
        assert (200, "hello") == second


class TestSlowReaders:
    async def test_what_does_not_fit_follows(self) -> None:
        """More than the sockets hold arrives whole, in order, and the next answer after it."""
        parts = [bytes([number]) * 1_000_000 for number in range(1, 31)]

        class Either(Page):
            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                # The second answer's path depends on how fast the first is read.
                await SlicedResponse(self.parts, {})(scope, receive, send)

        async with serving(Either(parts)) as server, connected(server) as client:
            client.writer.write(GET + GET)
            bodies = []
            for _ in range(2):
                await client.reader.readuntil(b"\r\n\r\n")
                bodies.append(await client.reader.readexactly(30_000_000))

        assert [b"".join(parts)] * 2 == bodies

    async def test_more_parts_than_the_system_takes(self) -> None:
        """The parts beyond the system's limit per call are sent as well."""
        async with serving(Page([b"ab"] * 3_000)) as server, connected(server) as client:
            answer = await client.ask()

        assert (200, "ab" * 3_000) == answer

    async def test_nothing(self) -> None:
        """A page without a byte has a head."""
        async with serving(Page([])) as server, connected(server) as client:
            twice = [await client.ask(), await client.ask()]

        assert [(200, "")] * 2 == twice

    async def test_who_does_not_read_is_cut_off(self) -> None:
        """The limit for reading an answer holds for the rest of a ready one."""
        lost = asyncio.Event()

        class Watched(Hasty):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                lost.set()

        page = Page([b"x" * 50_000_000])
        async with serving(page, protocol=Watched) as server, connected(server) as client:
            client.writer.write(GET)

            await asyncio.wait_for(lost.wait(), timeout=10)

    async def test_who_hangs_up_is_forgotten(self) -> None:
        """A client that leaves in the middle ends its answer and no other."""
        async with serving(Page([b"x" * 50_000_000])) as server:
            async with connected(server) as leaving:
                leaving.writer.write(GET)
                await leaving.reader.readuntil(b"\r\n\r\n")
            async with connected(server) as client:
                answer = await client.ask()

        assert 50_000_000 == len(answer[1])

    async def test_a_stop_lets_the_rest_be_read(self) -> None:
        """An answer that has begun ends within the grace, and then the connection."""
        server = WebServer(Page([b"x" * 50_000_000]), [LOCAL])
        await server.start()
        async with connected(server) as client:
            client.writer.write(GET)
            await client.reader.readuntil(b"\r\n\r\n")
            stopping = asyncio.create_task(server.stop(grace_seconds=60))
            body = await client.reader.readexactly(50_000_000)
            closed = await client.closed()
            await asyncio.wait_for(stopping, timeout=10)

        assert 50_000_000 == body.count(b"x")
        assert closed

    async def test_a_stop_cuts_off_who_does_not_read(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After the grace the rest is dropped, without a traceback."""
        server = WebServer(Page([b"x" * 50_000_000]), [LOCAL])
        await server.start()
        async with connected(server) as client:
            client.writer.write(GET)
            await client.reader.readuntil(b"\r\n\r\n")

            with caplog.at_level(logging.WARNING):
                await asyncio.wait_for(server.stop(grace_seconds=0), timeout=5)

        assert [] == caplog.records

    async def test_an_idle_connection_ends(self) -> None:
        """After a ready answer a connection may be idle as long as after any other."""
        async with serving(Page([b"page"]), idle_seconds=0) as server, connected(server) as client:
            await client.ask()

            assert await client.closed()

    async def test_the_next_request_has_to_arrive(self) -> None:
        """The limit for a request holds after a ready answer."""
        page = Page([b"page"])
        async with serving(page, protocol=Hasty) as server, connected(server) as client:
            with contextlib.suppress(ConnectionResetError):
                await client.ask()
                client.writer.write(b"GET / HT")

            assert await client.closed()
