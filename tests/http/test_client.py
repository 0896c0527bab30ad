"""Tries, pauses, budget: what the client decides, without a network."""

from __future__ import annotations

import asyncio
import socket
import traceback
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.http import Account, Call, HttpClient, HttpOptions, Reply
from exporter.state.memory import MemoryState
from tests.support.clock import FakeClock, settle


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


Answer = httpx.Response | Exception

GET = Call(operation="read", method="GET", url="http://vendor.test/api?key=canary")


class Script:
    """Answers in turn, the last one again and again; knows when it was asked."""

    def __init__(self, clock: FakeClock, *answers: Answer) -> None:
        self._clock = clock
        self._answers = list(answers)
        self.times: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.times.append(self._clock.monotonic)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=answer.content, request=request
        )


def client(
    clock: FakeClock,
    handler: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]],
    *,
    retries: int = 2,
    requests_per_minute: int | None = None,
    account: Account | None = None,
) -> HttpClient:
    """Make a client of a vendor that is a function."""
    return HttpClient(
        HttpOptions(retries=retries, requests_per_minute=requests_per_minute),
        clock=clock.clock,
        random=Random(1),  # noqa: S311 - jitter is no secret
        transport=httpx.MockTransport(handler),  # type: ignore[arg-type]  # takes coroutines
        account=account,
    )


async def outcome(clock: FakeClock, http: HttpClient, call: Call = GET) -> Reply | PollError:
    """Send a call and let as much time pass as its pauses need."""
    task = asyncio.create_task(http.send(call))
    for _ in range(50):
        await settle()
        if task.done():
            break
        await clock.advance(1.0)
    try:
        return await task
    except PollError as error:
        return error


class TestTries:
    @pytest.mark.parametrize("status", [502, 503, 504])
    async def test_a_gateway_error_is_tried_again(self, status: int) -> None:
        """A gateway that fails once must not cost a reading."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(status), httpx.Response(200))

        reply = await outcome(clock, client(clock, script))

        assert isinstance(reply, Reply)
        assert 200 == reply.status
        assert 2 == len(script.times)

    async def test_a_refused_connection_is_tried_again(self) -> None:
        """A connection that fails once must not cost a reading."""
        clock = FakeClock()
        script = Script(clock, httpx.ConnectError("x"), httpx.Response(200))

        reply = await outcome(clock, client(clock, script))

        assert isinstance(reply, Reply)
        assert 2 == len(script.times)

    async def test_tries_end_with_the_retries(self) -> None:
        """The number of tries is one more than that of the retries."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(503))

        reply = await outcome(clock, client(clock, script, retries=2))

        assert isinstance(reply, Reply)
        assert 503 == reply.status
        assert 3 == len(script.times)

    async def test_a_call_that_may_write_is_sent_once(self) -> None:
        """A call that is not declared repeatable must not be sent twice."""
        clock = FakeClock()
        script = Script(clock, httpx.ConnectError("x"))
        call = Call(operation="login", method="POST", url=GET.url, repeatable=False)

        await outcome(clock, client(clock, script), call)

        assert 1 == len(script.times)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 302])
    async def test_other_answers_are_final(self, status: int) -> None:
        """A refusal in particular must not be repeated."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(status))

        reply = await outcome(clock, client(clock, script))

        assert isinstance(reply, Reply)
        assert status == reply.status
        assert 1 == len(script.times)

    @pytest.mark.parametrize("error", [httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
    async def test_what_may_have_been_seen_is_not_repeated_after_a_time_out(
        self, error: httpx.HTTPError
    ) -> None:
        """A vendor that hangs or talks nonsense must not get more to do."""
        clock = FakeClock()
        script = Script(clock, error)

        await outcome(clock, client(clock, script))

        assert 1 == len(script.times)

    async def test_tries_stay_within_the_total(self) -> None:
        """A pause that would end after the total time-out is not begun."""
        clock = FakeClock()

        def slow(request: httpx.Request) -> httpx.Response:
            clock.shift(9.0)
            return httpx.Response(503, request=request)

        http = client(clock, slow, retries=10)
        started = clock.monotonic

        reply = await outcome(clock, http)

        assert isinstance(reply, Reply)
        assert clock.monotonic - started < 15.0 + 9.0

    async def test_a_try_with_too_little_time_is_not_made(self) -> None:
        """A call must not be retried in so little time that it would time out."""
        clock = FakeClock()
        given: list[float] = []

        def slow(request: httpx.Request) -> httpx.Response:
            given.append(clock.monotonic)
            clock.shift(8.0)
            return httpx.Response(502, request=request)

        reply = await outcome(clock, client(clock, slow, retries=3))

        assert isinstance(reply, Reply)
        assert 502 == reply.status
        assert 1 == len(given)

    async def test_what_was_lost_may_be_sent_again_by_others(self) -> None:
        """The client must not retry a lost call: it may have been refused, and has to count."""
        clock = FakeClock()
        script = Script(clock, httpx.ReadError("x"), httpx.Response(200))

        error = await outcome(clock, client(clock, script))

        assert isinstance(error, CallError)
        assert error.lost
        assert 1 == len(script.times)

    @pytest.mark.parametrize(
        ("retries", "repeatable", "seconds"), [(0, True, 0.0), (2, False, 0.0), (2, True, 8.0)]
    )
    async def test_not_everything_lost_may_be_sent_again(
        self, retries: int, repeatable: bool, seconds: float
    ) -> None:
        """A lost call must not be repeated if it may write, without retries, or when late."""
        clock = FakeClock()

        def lose(request: httpx.Request) -> httpx.Response:
            clock.shift(seconds)
            raise httpx.ReadError("x", request=request)

        call = Call(operation="read", method="GET", url=GET.url, repeatable=repeatable)
        error = await outcome(clock, client(clock, lose, retries=retries), call)

        assert isinstance(error, CallError)
        assert (Reason.CONNECT, False) == (error.reason, error.lost)

    async def test_no_error_drags_a_foreign_one_along(self) -> None:
        """Foreign texts name URLs with their queries, and tracebacks print causes."""
        clock = FakeClock()
        script = Script(clock, httpx.ReadError("cannot read http://vendor.test/api?key=canary"))

        error = await outcome(clock, client(clock, script))

        assert isinstance(error, CallError)
        assert "canary" not in "".join(traceback.format_exception(error))
        assert error.__context__ is None
        assert error.__cause__ is None

    async def test_a_malformed_header_is_refused_before_it_is_sent(self) -> None:
        """A line break in a secret must not make a second header, nor show up in the message."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(200))
        call = Call(
            operation="read", method="GET", url=GET.url, headers={"x-token": "canary\r\nx: y"}
        )

        error = await outcome(clock, client(clock, script), call)

        assert isinstance(error, CallError)
        assert not error.sent
        assert "canary" not in str(error)
        assert [] == script.times

    @pytest.mark.parametrize("url", ["http://canary:port/", "http://a/\ncanary"])
    async def test_a_malformed_url_is_refused_before_it_is_sent(self, url: str) -> None:
        """A malformed URL must be refused unsent and unquoted: it may come from a reply."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(200))

        error = await outcome(
            clock, client(clock, script), Call(operation="read", method="GET", url=url)
        )

        assert isinstance(error, CallError)
        assert (Reason.CONNECT, False) == (error.reason, error.sent)
        assert "canary" not in str(error)
        assert [] == script.times


@pytest.mark.parametrize(
    ("error", "reason", "sent"),
    [
        (httpx.ConnectTimeout("x"), Reason.TIMEOUT, False),
        (httpx.PoolTimeout("x"), Reason.TIMEOUT, False),
        (httpx.ReadTimeout("x"), Reason.TIMEOUT, True),
        (httpx.WriteTimeout("x"), Reason.TIMEOUT, True),
        (httpx.ConnectError("x"), Reason.CONNECT, False),
        (httpx.ReadError("x"), Reason.CONNECT, True),
        (httpx.ProxyError("x"), Reason.CONNECT, False),
        (httpx.UnsupportedProtocol("x"), Reason.CONNECT, False),
        (httpx.RemoteProtocolError("Server disconnected"), Reason.CONNECT, True),
        (httpx.RemoteProtocolError("illegal header line"), Reason.DECODE, True),
        (RuntimeError("x"), Reason.CONNECT, True),
    ],
)
async def test_each_error_of_the_library_has_its_reason(
    error: Exception, reason: Reason, sent: bool
) -> None:
    """Every failure must end in the closed list, and say whether the vendor may have seen it."""
    clock = FakeClock()

    failure = await outcome(clock, client(clock, Script(clock, error), retries=0))

    assert isinstance(failure, CallError)
    assert (reason, sent) == (failure.reason, failure.sent)


async def test_a_name_that_is_not_found_has_a_reason_of_its_own() -> None:
    """The cause under httpx's general error must be found."""
    clock = FakeClock()
    error = httpx.ConnectError("x")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")

    failure = await outcome(clock, client(clock, Script(clock, error)))

    assert isinstance(failure, CallError)
    assert (Reason.DNS, False) == (failure.reason, failure.sent)


class TestPauses:
    async def test_a_pause_that_fits_is_waited_for(self) -> None:
        """A vendor that asks for a few seconds gets them."""
        clock = FakeClock()
        script = Script(
            clock, httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200)
        )

        reply = await outcome(clock, client(clock, script))

        assert isinstance(reply, Reply)
        assert [0.0, 7.0] == [time - 1000.0 for time in script.times]

    async def test_a_date_is_understood(self) -> None:
        """Retry-After may hold a date (RFC 9110, 10.2.3)."""
        clock = FakeClock(unix=1_700_000_000.0)
        date = "Tue, 14 Nov 2023 22:13:26 GMT"
        script = Script(
            clock, httpx.Response(429, headers={"Retry-After": date}), httpx.Response(200)
        )

        await outcome(clock, client(clock, script))

        assert [0.0, 6.0] == [time - 1000.0 for time in script.times]

    async def test_a_long_pause_holds_back_all_calls(self) -> None:
        """During a pause longer than the time-out, calls fail without being sent."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(429, headers={"Retry-After": "120"}))
        http = client(clock, script)

        first = await outcome(clock, http)
        second = await outcome(clock, http)

        assert isinstance(first, Reply)
        assert 429 == first.status
        assert isinstance(second, BlockedError)
        assert Reason.RATE_LIMITED is second.reason
        assert 1120.0 == second.retry_at
        assert 1 == len(script.times)

    async def test_calls_go_on_after_the_pause(self) -> None:
        """The end of a pause needs no restart."""
        clock = FakeClock()
        script = Script(
            clock, httpx.Response(429, headers={"Retry-After": "120"}), httpx.Response(200)
        )
        http = client(clock, script)
        await outcome(clock, http)
        clock.shift(120.0)

        reply = await outcome(clock, http)

        assert isinstance(reply, Reply)
        assert 200 == reply.status

    async def test_a_pause_has_a_limit(self) -> None:
        """A vendor that asks for a year is asked again after an hour."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(429, headers={"Retry-After": "9" * 400}))
        http = client(clock, script)
        await outcome(clock, http)

        error = await outcome(clock, http)

        assert isinstance(error, BlockedError)
        assert 4600.0 == error.retry_at

    async def test_pauses_nobody_asked_for_double(self) -> None:
        """Without Retry-After the pause begins at 5 s and doubles with every 429 in a row."""
        clock = FakeClock()
        http = client(clock, Script(clock, httpx.Response(429)), retries=0)

        lengths = []
        for _ in range(8):
            await http.send(GET)
            lengths.append(http._pace.left)
            clock.shift(http._pace.left)

        assert [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0] == lengths

    async def test_a_good_answer_ends_the_doubling(self) -> None:
        """A successful call must reset the doubling of pauses."""
        clock = FakeClock()
        script = Script(
            clock,
            httpx.Response(429),
            httpx.Response(429),
            httpx.Response(200),
            httpx.Response(429),
        )
        http = client(clock, script, retries=0)
        for _ in range(3):
            await http.send(GET)
            clock.shift(http._pace.left)

        await http.send(GET)

        assert 5.0 == http._pace.left

    async def test_calls_under_way_together_do_not_double_it(self) -> None:
        """Three calls answered alike at once are one complaint, not three."""
        clock = FakeClock()
        gate = asyncio.Event()

        async def busy(request: httpx.Request) -> httpx.Response:
            await gate.wait()
            return httpx.Response(429, request=request)

        http = client(clock, busy, retries=0)
        tasks = [asyncio.create_task(http.send(GET)) for _ in range(3)]
        await settle()
        clock.shift(0.5)

        gate.set()
        await asyncio.gather(*tasks)

        assert 5.0 == http._pace.left

    async def test_a_busy_server_may_ask_for_a_pause_too(self) -> None:
        """503 with Retry-After is honoured like 429."""
        clock = FakeClock()
        script = Script(
            clock, httpx.Response(503, headers={"Retry-After": "6"}), httpx.Response(200)
        )

        await outcome(clock, client(clock, script))

        assert [0.0, 6.0] == [time - 1000.0 for time in script.times]


class TestBudget:
    async def test_no_minute_sees_more_calls_than_the_budget(self) -> None:
        """The budget must hold for any 60 seconds, first come first served."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(200))
        http = client(clock, script, requests_per_minute=3)
        tasks = [asyncio.create_task(http.send(GET)) for _ in range(7)]

        await clock.advance(121.0)

        assert [0.0] * 3 + [60.0] * 3 + [120.0] == [time - 1000.0 for time in script.times]
        assert all(task.done() for task in tasks)

    async def test_every_try_counts(self) -> None:
        """A retry is a call like any other for the vendor."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(503))
        http = client(clock, script, retries=5, requests_per_minute=2)

        task = asyncio.create_task(http.send(GET))
        await clock.advance(59.0)

        assert 2 == len(script.times)
        task.cancel()

    async def test_the_wait_is_told_apart_from_the_vendors_time(self) -> None:
        """The time a call waited for its turn must not count as the vendor's."""
        clock = FakeClock()

        async def slow(request: httpx.Request) -> httpx.Response:
            await clock.clock.sleep(2.0)
            return httpx.Response(200, request=request)

        http = client(clock, slow, requests_per_minute=1)
        tasks = [asyncio.create_task(http.send(GET)) for _ in range(2)]
        await clock.advance(70.0)

        assert [0.0, 60.0] == [task.result().waited_seconds for task in tasks]

    async def test_who_gives_up_waiting_takes_no_place(self) -> None:
        """A cancelled call must not hold up those behind it."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(200))
        http = client(clock, script, requests_per_minute=1)
        await http.send(GET)
        first = asyncio.create_task(http.send(GET))
        second = asyncio.create_task(http.send(GET))
        await settle()

        first.cancel()
        await clock.advance(60.0)

        assert second.done()
        assert 2 == len(script.times)


class TestAccount:
    async def test_one_that_is_asked_to_wait_holds_the_other(self) -> None:
        """Two clients of one account are one caller for the vendor."""
        clock = FakeClock()
        account = Account(
            state=MemoryState(clock.clock.time), url=GET.url, fingerprint=lambda: "canary"
        )
        script = Script(clock, httpx.Response(429, headers={"Retry-After": "120"}))
        asked, other = (client(clock, script, account=account) for _ in range(2))

        await outcome(clock, asked)
        errors = [await outcome(clock, http) for http in (asked, other)]

        assert [BlockedError] * 2 == [type(error) for error in errors]
        assert [1120.0] * 2 == [error.retry_at for error in errors]  # type: ignore[union-attr]
        assert 1 == len(script.times)

    async def test_together_they_keep_to_the_budget(self) -> None:
        """The calls of both are counted."""
        clock = FakeClock()
        account = Account(
            state=MemoryState(clock.clock.time), url=GET.url, fingerprint=lambda: "canary"
        )
        script = Script(clock, httpx.Response(200))
        clients = [client(clock, script, requests_per_minute=3, account=account) for _ in range(2)]
        tasks = [asyncio.create_task(http.send(GET)) for http in clients for _ in range(3)]

        await clock.advance(59.0)

        assert [0.0] * 3 == [time - 1000.0 for time in script.times]
        await clock.advance(2.0)
        assert all(task.done() for task in tasks)


class TestClosing:
    async def test_calls_that_wait_end_at_once(self) -> None:
        """Closing must not wait for a pause, the budget or a vendor that hangs."""
        clock = FakeClock()

        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        http = client(clock, never, requests_per_minute=1)
        tasks = [asyncio.create_task(http.send(GET)) for _ in range(2)]
        await settle()

        await http.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert [Reason.CONNECT] * 2 == [
            error.reason for error in results if isinstance(error, CallError)
        ]

    async def test_it_may_be_closed_twice(self) -> None:
        """A stop during a reload closes what is being closed."""
        clock = FakeClock()

        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        http = client(clock, never)
        task = asyncio.create_task(http.send(GET))
        await settle()

        await asyncio.gather(http.aclose(), http.aclose())

        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], CallError)

    async def test_a_back_off_ends_at_once(self) -> None:
        """Closing does not wait for the next try of a call, and there is none."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(503))
        http = client(clock, script)
        task = asyncio.create_task(http.send(GET))
        await settle()

        await http.aclose()
        (error,) = await asyncio.gather(task, return_exceptions=True)

        assert isinstance(error, CallError)
        assert ("read: the client was closed", True) == (str(error), error.sent)
        assert 1 == len(script.times)

    async def test_a_call_whose_time_is_up_ends_too(self) -> None:
        """A call may be on its way out by its time-out while the client is closed."""
        clock = FakeClock()

        async def never(_: httpx.Request) -> httpx.Response:
            try:
                await asyncio.Event().wait()
            finally:
                await http.aclose()
                closed.set()
            raise AssertionError

        closed = asyncio.Event()

        http = HttpClient(
            HttpOptions(total_timeout=0.01),
            clock=clock.clock,
            random=Random(1),  # noqa: S311 - jitter is no secret
            transport=httpx.MockTransport(never),
        )

        (error,) = await asyncio.gather(http.send(GET), return_exceptions=True)

        assert closed.is_set()
        assert isinstance(error, CallError)
        assert "read: the client was closed" == str(error)

    async def test_nothing_is_sent_afterwards(self) -> None:
        """A closed client must not open connections that nobody closes."""
        clock = FakeClock()
        script = Script(clock, httpx.Response(200))
        http = client(clock, script)
        await http.aclose()

        error = await outcome(clock, http)

        assert isinstance(error, CallError)
        assert [] == script.times
