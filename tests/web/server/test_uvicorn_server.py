"""The server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs

from exporter.config.address import Address
from exporter.errors import StartError
from exporter.web.endpoints.text import SlicedResponse
from exporter.web.server.limits import FencedProtocol, LimitRequests
from exporter.web.server.uvicorn_server import WebServer, bound_address, listen
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send


LOCAL = Address("127.0.0.1", 0)
GET = b"GET / HTTP/1.1\r\nHost: exporter\r\n\r\n"


def ipv6_available() -> bool:
    """Find out whether this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6_available(), reason="this machine has no IPv6")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once."""
    await PlainTextResponse("hello")(scope, receive, send)


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with more than fits into the sockets of both sides."""
    await PlainTextResponse("x" * 50_000_000)(scope, receive, send)


class Hanging:
    """An app that never answers."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = False
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for ever."""
        del scope, receive, send
        self.requests += 1
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Counting:
    """An app that counts what it answers."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at once."""
        self.requests += 1
        await hello(scope, receive, send)


@asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[WebServer]:
    """Run a server."""
    server = WebServer(app, [LOCAL], **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


class Client:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes = GET) -> tuple[int, str]:
        """Send a request and return status and body of its answer."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), (await self.reader.readexactly(size)).decode()

    async def closed(self) -> bool:
        """Wait until the server closes the connection; return whether it sent nothing more."""
        try:
            return not await asyncio.wait_for(self.reader.read(), timeout=5)
        except ConnectionResetError:
            return True


@asynccontextmanager
async def connected(server: WebServer) -> AsyncIterator[Client]:
    """Open a connection to the first address."""
    address = server.addresses[0]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def port_is_free(address: Address) -> bool:
    """Return whether nothing listens at the address."""
    with socket.socket() as sock:
        return sock.connect_ex((address.host, address.port)) != 0


class TestListen:
    def test_finds_a_free_port(self) -> None:
        """Port 0 becomes a real one."""
        (sock,) = listen([Address("127.0.0.1", 0)])

        with sock:
            assert bound_address(sock).port > 0

    def test_answers_are_sent_at_once(self) -> None:
        """The protocol is stated, without which asyncio leaves Nagle's algorithm on."""
        (sock,) = listen([Address("127.0.0.1", 0)])

        with sock:
            assert socket.IPPROTO_TCP == sock.proto

    def test_port_in_use_is_one_clear_line(self) -> None:
        """The message names the address and the remedy, and nothing stays bound."""
        (taken,) = listen([Address("127.0.0.1", 0)])
        address = bound_address(taken)
        (other,) = listen([Address("127.0.0.1", 0)])
        free = bound_address(other)
        other.close()

        with taken, pytest.raises(StartError) as caught:
            listen([free, address])

        assert (
            f"cannot listen on {address}: the port is in use; stop what uses it or set another "
            "web.listen_address"
        ) == str(caught.value)
        (again,) = listen([free])
        again.close()

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    def test_foreign_address_is_one_clear_line(self, host: str) -> None:
        """An address of another machine, or of none, is refused by name."""
        with pytest.raises(StartError) as caught:
            listen([Address(host, 0)])

        assert str(caught.value).startswith(f"cannot listen on {host}:0: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("host", ["", pytest.param("::", marks=needs_ipv6)])
    def test_everywhere_takes_ipv4(self, host: str) -> None:
        """Without a host, and on [::], IPv4 is served as well."""
        (sock,) = listen([Address(host, 0)])
        port = bound_address(sock).port

        with sock, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert port == client.getpeername()[1]

    @needs_ipv6
    def test_both_kinds_on_one_port(self) -> None:
        """IPv4 and IPv6 can be listed one beside the other with the same port."""
        (probe,) = listen([Address("0.0.0.0", 0)])
        port = bound_address(probe).port
        probe.close()

        sockets = listen([Address("0.0.0.0", port), Address("::", port)])

        for sock in sockets:
            sock.close()
        assert 2 == len(sockets)


class TestStart:
    async def test_serves_on_every_address(self) -> None:
        """Each address is bound, to a port of its own where any will do."""
        server = WebServer(hello, [LOCAL, LOCAL])
        await server.start()

        answers = []
        for address in server.addresses:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            answers.append(await Client(reader, writer).ask())
            writer.transport.abort()
        await server.stop(0)

        assert [(200, "hello")] * 2 == answers

    @needs_ipv6
    async def test_serves_on_ipv6(self) -> None:
        """An IPv6 address is served and shown in brackets."""
        server = WebServer(hello, [Address("::1", 0)])
        await server.start()

        async with connected(server) as client:
            answer = await client.ask()
        shown = str(server.addresses[0])
        await server.stop(0)

        assert (200, "hello") == answer
        assert shown.startswith("[::1]:")

    async def test_port_in_use_is_a_start_error(self) -> None:
        """A second server on the same port does not start, and can be stopped all the same."""
        async with serving(hello) as first:
            second = WebServer(hello, first.addresses)

            with pytest.raises(StartError, match="the port is in use"):
                await second.start()
            await second.stop()

    async def test_starts_again_on_the_same_port(self) -> None:
        """Start, stop, start in one process works, and the port is free in between."""
        first = WebServer(hello, [LOCAL])
        await first.start()
        (address,) = first.addresses
        async with connected(first) as client:
            await client.ask()
            await first.stop(0)
        free = port_is_free(address)

        second = WebServer(hello, [address])
        await second.start()
        async with connected(second) as client:
            answer = await client.ask()
        await second.stop(0)
        await second.start()
        async with connected(second) as client:
            again = await client.ask()
        await second.stop(0)

        assert free
        assert (200, "hello") == answer == again

    async def test_leaves_signals_alone(self) -> None:
        """The server must not handle signals: the daemon does."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        async with serving(hello):
            during = {number: signal.getsignal(number) for number in before}

        assert before == during


class TestStop:
    async def test_does_not_wait_for_idle_connections(self) -> None:
        """Idle keep-alive connections and half requests are closed at once, not after the grace."""
        server = WebServer(hello, [LOCAL])
        await server.start()
        async with connected(server) as idle, connected(server) as half:
            await idle.ask()
            half.writer.write(GET[:10])
            await half.writer.drain()

            await asyncio.wait_for(server.stop(grace_seconds=60), timeout=5)

            assert await idle.closed()
            assert await half.closed()

    async def test_lets_requests_end_within_the_grace(self) -> None:
        """A request under way is answered before the server is gone."""
        entered, let = asyncio.Event(), asyncio.Event()

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await let.wait()
            await hello(scope, receive, send)

        server = WebServer(held, [LOCAL])
        await server.start()
        async with connected(server) as client:
            asking = asyncio.create_task(client.ask())
            await entered.wait()

            stopping = asyncio.create_task(server.stop(grace_seconds=60))
            await asyncio.sleep(0)
            let.set()
            answer = await asking
            await stopping

        assert (200, "hello") == answer

    async def test_cuts_off_what_hangs(self, caplog: pytest.LogCaptureFixture) -> None:
        """A request that never ends is cancelled after the grace, without a traceback."""
        app = Hanging()
        server = WebServer(app, [LOCAL])
        await server.start()
        (address,) = server.addresses
        async with connected(server) as client:
            client.writer.write(GET)
            await app.entered.wait()

            with caplog.at_level(logging.WARNING):
                await asyncio.wait_for(server.stop(grace_seconds=0), timeout=5)

            assert await client.closed()
        assert app.cancelled
        assert [] == caplog.records
        assert port_is_free(address)

    async def test_cuts_off_who_does_not_read(self) -> None:
        """A client that leaves a large answer unread does not hold the stop up."""
        paused = asyncio.Event()

        class Watched(FencedProtocol):
            def pause_writing(self) -> None:
                super().pause_writing()
                paused.set()

        server = WebServer(large, [LOCAL], protocol=Watched)
        await server.start()
        async with connected(server) as client:
            client.writer.write(GET)
            await paused.wait()

            await asyncio.wait_for(server.stop(grace_seconds=0), timeout=5)

    async def test_twice_is_once(self) -> None:
        """Stopping what is stopped, or never ran, does nothing."""
        server = WebServer(hello, [LOCAL])
        await server.stop()
        await server.start()

        await server.stop(0)
        await server.stop(0)

        assert () == server.addresses


class TestManners:
    async def test_has_a_date_and_no_name(self) -> None:
        """Answers must have a date, and not name the server."""
        async with serving(hello) as server, connected(server) as client:
            client.writer.write(GET)
            head = (await client.reader.readuntil(b"\r\n\r\n")).lower()

        assert b"\r\ndate: " in head
        assert b"\r\nserver: " not in head

    @pytest.mark.parametrize(
        ("version", "hosts", "status"),
        [
            ("1.1", [], 400),
            ("1.0", [], 200),
            ("1.1", ["exporter", "exporter"], 400),
            ("1.1", ["exporter", "evil.example"], 400),
            ("1.0", ["exporter", "evil.example"], 400),
            ("1.1", ["a b"], 400),
            ("1.1", ["user@exporter"], 400),
            ("1.1", ["exporter/path"], 400),
            ("1.1", ["exporter:port"], 400),
            ("1.1", ["[::1"], 400),
            ("1.1", ["\u2603.example"], 400),
            ("1.1", [""], 200),
            ("1.1", ["exporter:10871"], 200),
            ("1.1", ["exporter:"], 200),
            ("1.1", ["my_exporter.example."], 200),
            ("1.1", ["[2001:db8::7]:10871"], 200),
            ("1.1", [" 127.0.0.1 "], 200),
        ],
    )
    async def test_host_is_given_once_and_well(
        self, version: str, hosts: Sequence[str], status: int
    ) -> None:
        """RFC 9112, 3.2: without exactly one sound Host a request of HTTP/1.1 is refused."""
        lines = [f"GET / HTTP/{version}", *(f"hOsT:{host}" for host in hosts), "", ""]
        async with serving(hello) as server, connected(server) as client:
            answer = await client.ask("\r\n".join(lines).encode())

        assert status == answer[0]
        assert ("Host" in answer[1]) is (status == 400)

    async def test_a_request_without_host_ends_the_connection(self) -> None:
        """A request without `Host` must be answered with 400 and end the connection."""
        app = Counting()
        async with serving(app) as server, connected(server) as client:
            client.writer.write(GET + b"GET / HTTP/1.1\r\n\r\n" + GET)
            answers = await asyncio.wait_for(client.reader.read(), timeout=5)

        assert [b"200", b"400"] == [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
        assert 1 == app.requests

    async def test_parallel_requests_are_bounded(self) -> None:
        """Requests beyond the limit must be refused while the others are still under way."""
        app = Hanging()
        async with serving(LimitRequests(app, 3)) as server:
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connected(server)) for _ in range(10)]
                answers = [asyncio.create_task(client.ask()) for client in clients]
                first = asyncio.as_completed(answers)
                refused = [(await next(first))[0] for _ in range(7)]
            await asyncio.gather(*answers, return_exceptions=True)

        assert 3 == app.requests
        assert [503] * 7 == refused

    async def test_idle_connections_end(self) -> None:
        """A connection without a next request is closed."""
        async with serving(hello, idle_seconds=0) as server, connected(server) as client:
            await client.ask()

            assert await client.closed()


class Gate:
    """An app that answers on one path at once, and on all others when it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["path"] != "/healthy":
            self.entered += 1
            await self.opened.wait()
        await hello(scope, receive, send)


HEALTHY = b"GET /healthy?x HTTP/1.1\r\nHost: exporter\r\n\r\n"


class TestRoom:
    async def test_an_idle_connection_makes_room(self) -> None:
        """The longest idle connection must be closed for a new one."""
        async with serving(hello, max_connections=2) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(server)) for _ in range(4)]
            first = [(await client.ask())[0] for client in clients]
            new = await stack.enter_async_context(connected(server))
            answered = await new.ask()
            closed = await clients[0].closed()
            again = [(await client.ask())[0] for client in clients[1:]]

        assert [200] * 4 == first
        assert (200, True) == (answered[0], closed)
        assert [200] * 3 == again

    async def test_a_silent_crowd_takes_nobody_the_kept_connection(self) -> None:
        """A Prometheus scrapes on over its own, and newcomers find room."""
        async with serving(hello, max_connections=4) as server, AsyncExitStack() as stack:
            kept = await stack.enter_async_context(connected(server))
            await kept.ask()
            silent = [await stack.enter_async_context(connected(server)) for _ in range(50)]
            cut = [await client.closed() for client in silent[:-7]]
            new = await stack.enter_async_context(connected(server))
            answers = [await new.ask(), await kept.ask()]

        assert [200, 200] == [status for status, _ in answers]
        assert all(cut)

    async def test_only_health_is_answered_when_all_are_busy(self) -> None:
        """With all connections busy, only health checks must be answered, and others refused."""
        app = Gate()
        options = {"max_connections": 2, "always": ["/healthy"]}
        async with serving(app, **options) as server, AsyncExitStack() as stack:
            busy = [await stack.enter_async_context(connected(server)) for _ in range(2)]
            answers = [asyncio.create_task(client.ask()) for client in busy]
            await until(lambda: app.entered == 2)
            for _ in range(10):
                await stack.enter_async_context(connected(server))
            refused, healthy = [await stack.enter_async_context(connected(server)) for _ in "12"]
            found = [await refused.ask(), await healthy.ask(HEALTHY)]
            ended = [await client.closed() for client in (refused, healthy)]
            app.opened.set()
            served = [await answer for answer in answers]
            after = await (await stack.enter_async_context(connected(server))).ask()

        assert (503, (200, "hello")) == (found[0][0], found[1])
        assert "too many requests" in found[0][1]
        assert [True, True] == ended
        assert [200] * 3 == [status for status, _ in (*served, after)]

    async def test_a_request_that_comes_while_room_is_made_is_answered(self) -> None:
        """A request that arrives while room is made must be answered."""
        async with serving(hello, max_connections=1) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(server)) for _ in range(2)]
            for client in clients:
                await client.ask()
            address = server.addresses[0]
            with socket.socket() as new:
                # In one loop turn, so that the loop finds connection and request together.
                new.connect((address.host, address.port))
                os.write(clients[0].writer.get_extra_info("socket").fileno(), GET)
                head = await asyncio.wait_for(clients[0].reader.readuntil(b"hello"), timeout=5)
            closed = await clients[1].closed()

        assert head.startswith(b"HTTP/1.1 200")
        assert closed

    async def test_a_shortage_of_descriptors_pauses_and_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A shortage of descriptors must be logged, and idle connections be closed."""

        class Short:
            """A socket whose first attempts fail."""

            def __init__(self, sock: socket.socket) -> None:
                self._sock = sock
                self.errors = [errno.EMFILE, errno.ENOBUFS, errno.EPERM]

            def accept(self) -> tuple[socket.socket, Any]:
                if self.errors:
                    number = self.errors.pop()
                    raise OSError(number, os.strerror(number))
                return self._sock.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(self._sock, name)

        short = [Short(sock) for sock in listen([LOCAL])]
        with capture_logs() as logs:
            async with (
                serving(hello, sockets=lambda: short) as server,
                connected(server) as client,
            ):
                answer = await client.ask()

        assert 200 == answer[0]
        assert ["accept_failed"] * 3 == [entry["event"] for entry in logs]
        assert "Too many open files" in logs[2]["message"]
        assert not caplog.records

    async def test_answers_are_sent_without_delay(self) -> None:
        """With Nagle's algorithm each would wait for the client's delayed acknowledgement."""
        delays: list[int] = []

        class Looking(FencedProtocol):
            def on_response_complete(self) -> None:
                sock = self.transport.get_extra_info("socket")
                delays.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                super().on_response_complete()

        async with serving(hello, protocol=Looking) as server, connected(server) as client:
            await client.ask()

        assert [1] == delays


class Hasty(FencedProtocol):
    """A protocol with hardly any patience."""

    request_seconds = 0.05
    answer_seconds = 0.05
    head_bytes = 1_000


class Calmer(Hasty):
    """A protocol with the patience for a request that a busy machine sends at once."""

    request_seconds = 1.0


class TestSlowClients:
    @pytest.mark.parametrize(
        "begun",
        [
            b"",
            b"GET / HTTP/1.1\r\nHost:",
            b"\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: exporter\r\nContent-Length: 100\r\n\r\n",
        ],
    )
    async def test_request_that_does_not_arrive(self, begun: bytes) -> None:
        """A client that sends no whole request in time must be disconnected."""
        async with serving(Hanging(), protocol=Hasty) as server, connected(server) as client:
            client.writer.write(begun)

            assert await client.closed()

    @pytest.mark.parametrize("begun", [b"GET / HT", b"\r\n"])
    async def test_second_request_that_does_not_arrive(self, begun: bytes) -> None:
        """The limit holds for every request of a connection, also for empty lines before it."""
        async with serving(hello, protocol=Calmer) as server, connected(server) as client:
            await client.ask()
            client.writer.write(begun)

            assert await client.closed()

    async def test_request_that_has_arrived_may_take_longer(self) -> None:
        """The limit is for the client, not for the answer."""
        app = Hanging()
        async with serving(app, protocol=Calmer) as server, connected(server) as waiting:
            waiting.writer.write(GET)
            await app.entered.wait()

            async with connected(server) as slow:
                assert await slow.closed()

            assert not waiting.reader.at_eof()

    async def test_head_without_end(self) -> None:
        """A head that grows and grows is cut off."""

        class Patient(FencedProtocol):
            request_seconds = 3_600.0

        async with serving(hello, protocol=Patient) as server, connected(server) as client:
            client.writer.write(b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000)

            assert await client.closed()

    async def test_many_requests_are_no_large_head(self) -> None:
        """The size of heads is counted per request, not per connection."""

        class Patient(Hasty):
            request_seconds = 3_600.0

        async with serving(hello, protocol=Patient) as server, connected(server) as client:
            answers = [await client.ask() for _ in range(50)]

        assert {(200, "hello")} == set(answers)

    async def test_answer_that_is_read_drop_by_drop(self) -> None:
        """The limit is for the whole answer: reading a little now and then does not prolong it."""
        lost = asyncio.Event()

        class Watched(Hasty):
            answer_seconds = 0.3

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                lost.set()

        sliced = SlicedResponse([b"x" * 50_000_000] * 200, {})
        async with serving(sliced, protocol=Watched) as server, connected(server) as client:
            client.writer.write(GET)
            async with asyncio.timeout(10):
                while not lost.is_set():
                    with contextlib.suppress(ConnectionResetError):
                        await client.reader.read(100_000)

    async def test_answer_that_is_not_read(self) -> None:
        """A client that does not read a large answer must be disconnected, and the rest dropped."""
        lost = asyncio.Event()

        class Watched(Hasty):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                lost.set()

        async with serving(large, protocol=Watched) as server, connected(server) as client:
            client.writer.write(GET)

            await asyncio.wait_for(lost.wait(), timeout=10)
