from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
from starlette.responses import PlainTextResponse

from exporter.web.app import create_app
from exporter.web.server.limits import LimitRequests
from tests.support.clock import settle
from tests.web import fakes


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _status_of(app: ASGIApp, path: str = "/") -> int:
    """Ask an app and read its answer at once."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app({**SCOPE, "path": path}, _nothing, send)
    status: int = sent[0]["status"]
    return status


class Held:
    """An app that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.entered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then answer."""
        self.entered += 1
        await self.let.wait()
        await PlainTextResponse("done")(scope, receive, send)


async def at_once(
    client: httpx.AsyncClient, number: int, path: str = "/"
) -> list[asyncio.Task[httpx.Response]]:
    """Send requests together and let them get as far as they can."""
    tasks = [asyncio.create_task(client.get(path)) for _ in range(number)]
    await settle()
    return tasks


class TestLimitRequests:
    async def test_refuses_what_is_too_much(self) -> None:
        """With the limit reached, further requests are refused at once and say why."""
        held = Held()
        transport = httpx.ASGITransport(LimitRequests(held, 2))

        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            tasks = await at_once(client, 5)
            refused = [task.result() for task in tasks if task.done()]
            held.let.set()
            answers = await asyncio.gather(*tasks)

        assert 2 == held.entered
        assert [503, 503, 503] == [answer.status_code for answer in refused]
        assert "2 requests are in flight, which is the limit" in refused[0].text
        assert [200, 200] == [answer.status_code for answer in answers if answer not in refused]

    async def test_serves_again_afterwards(self) -> None:
        """A request that ended makes room, also when it failed."""
        calls = iter([True, False])

        async def fails_first(scope: Scope, receive: Receive, send: Send) -> None:
            if next(calls):
                raise RuntimeError
            await PlainTextResponse("done")(scope, receive, send)

        transport = httpx.ASGITransport(LimitRequests(fails_first, 1), raise_app_exceptions=False)

        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            first = await client.get("/")
            second = await client.get("/")

        assert (500, 200) == (first.status_code, second.status_code)

    async def test_sees_requests_that_never_wait(self) -> None:
        """Requests that came together are counted although each is answered in one go."""
        view = fakes.FakeView()

        async with fakes.browsing(view, max_requests=3) as client:
            answers = await asyncio.gather(*(client.get("/metrics") for _ in range(10)))

        assert 7 == sum(answer.status_code == 503 for answer in answers)
        assert 3 == len(view.asked)

    async def test_an_answer_counts_until_it_was_read(self) -> None:
        """An answer that waits for its reader takes memory, so it is one of those under way."""
        read = asyncio.Event()
        sent: list[Message] = []
        limited = LimitRequests(PlainTextResponse("done"), 1)

        async def send_slowly(message: Message) -> None:
            # Like a server, which waits until the earlier messages were read.
            if len(sent) == 2:
                await read.wait()
            sent.append(message)

        first = asyncio.create_task(limited(SCOPE, _nothing, send_slowly))
        await settle()
        refused = await _status_of(limited)
        read.set()
        await first

        assert 503 == refused
        assert 200 == await _status_of(limited)
        assert b"done" == b"".join(message.get("body", b"") for message in sent)

    async def test_a_shared_answer_counts_until_it_was_made(self) -> None:
        """A page that is there only once may be read by many at any speed."""
        limited = LimitRequests(PlainTextResponse("done"), 1, until_read=False)

        async def send_never(message: Message) -> None:
            del message
            await asyncio.Event().wait()

        first = asyncio.create_task(limited(SCOPE, _nothing, send_never))
        await settle()

        assert 200 == await _status_of(limited)
        first.cancel()

    async def test_readers_do_not_keep_scrapes_out(self) -> None:
        """Requests for pages must not use up the limit of scrapes."""
        view = fakes.FakeView()
        app = create_app(view, max_requests=1)

        async def send_never(message: Message) -> None:
            del message
            await asyncio.Event().wait()

        reader = asyncio.create_task(app({**SCOPE, "path": "/config"}, _nothing, send_never))
        await settle()

        assert 200 == await _status_of(app, "/metrics")
        reader.cancel()

    async def test_zero_is_no_limit(self) -> None:
        """A limit of 0 must refuse no request."""
        async with fakes.browsing(fakes.FakeView(), max_requests=0) as client:
            answers = await asyncio.gather(*(client.get("/metrics") for _ in range(50)))

        assert {200} == {answer.status_code for answer in answers}

    async def test_health_does_not_count(self) -> None:
        """A busy process still says that it lives."""
        async with fakes.browsing(fakes.FakeView(), max_requests=1) as client:
            answers = await asyncio.gather(*(client.get("/-/healthy") for _ in range(5)))

        assert {200} == {answer.status_code for answer in answers}
