"""The client: tries, pauses and time-outs of one source's calls.

Of httpx, requests, responses and transports are used, not its client: that keeps cookies, follows
redirects if told so and logs each URL with its query; none of it is wanted here.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

import httpx

from exporter import __version__
from exporter.errors import BlockedError, CallError, Reason
from exporter.http.body import ENCODINGS, read_body
from exporter.http.exchange import Call, HttpOptions, Reply
from exporter.http.failures import call_error, repeatable
from exporter.http.pace import Pace, retry_after
from exporter.http.transport import NetworkTransport


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from exporter.clock import Clock
    from exporter.http.pace import Account


T = TypeVar("T")

USER_AGENT = f"loadfleet-exporter/{__version__}"

_REPEATED_STATUS = frozenset({502, 503, 504})
_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 5.0

#: Part of a call's time that a further try has to have: with less it would hardly be answered.
_ENOUGH = 1 / 2

#: Part of a try's time that a connection may take.
_CONNECT_PART = 0.9

_CLOSE_SECONDS = 2.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_FORBIDDEN = frozenset("\r\n\0")


class HttpClient:
    """Sends one source's calls within its limits.

    Args:
        transport: Used instead of the network.
        certificate_ends: Told when the certificate of the server ends, epoch seconds.
        account: Whose calls they are, if others call as it.
    """

    def __init__(  # noqa: PLR0913 - all but the first by keyword
        self,
        options: HttpOptions,
        *,
        clock: Clock,
        random: Random,
        transport: httpx.AsyncBaseTransport | None = None,
        certificate_ends: Callable[[float], object] | None = None,
        account: Account | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._random = random
        self._transport = transport or NetworkTransport(options, certificate_ends=certificate_ends)
        self._pace = Pace(options.requests_per_minute, clock=clock, account=account)
        # Most calls of a source differ in their content only, and headers cost as much as the
        # sending.
        self._headers = functools.lru_cache(maxsize=16)(_headers)
        self._under_way: set[asyncio.Timeout] = set()
        self._closed = False

    async def send(self, call: Call) -> Reply:
        """Send a call and return the complete answer, whatever its status.

        Waiting for the budget or for the end of a pause does not count against the time-out.

        What was sent and lost on the way is not sent again here, since it may have been refused:
        that is for those to do who count refusals.

        Raises:
            CallError: There is no complete answer: `dns`, `connect`, `tls`, `timeout`, `decode`.
            BlockedError: The vendor asked for a pause that is longer than the call's time-out.
        """
        self._check_open(call, sent=False)
        # From a wait that aclose() has ended.
        with suppress(TimeoutError):
            return await self._send(call)
        raise _closed(call, sent=True)

    async def aclose(self) -> None:
        """Close all connections; calls under way end at once."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        while self._under_way:
            handle = self._under_way.pop()
            if not handle.expired():
                handle.reschedule(now)
        # A peer that does not answer must not hold us; the connections go with the process.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._transport.aclose()

    async def _send(self, call: Call) -> Reply:
        total = self._options.total_timeout
        left, enough = total, total * _ENOUGH
        request = self._request(call)
        tries = 1 + (self._options.retries if call.repeatable else 0)
        number, waited = 0, 0.0
        while True:
            number += 1
            queued = self._clock.monotonic()
            if not (self._pace.is_open or await self._take(total)):
                raise BlockedError(
                    f"{call.operation}: not sent, the vendor asked to wait",
                    retry_at=self._pace.until,
                    reason=Reason.RATE_LIMITED,
                )
            self._check_open(call, sent=number > 1)
            started = self._clock.monotonic()
            waited += started - queued
            outcome = await self._try(call, request, left, waited)
            if isinstance(outcome, CallError):
                self._check_open(call, sent=True)
            left -= self._clock.monotonic() - started
            delay = await self._delay(outcome, number, started)
            if number == tries or delay is None or left - delay < enough:
                if isinstance(outcome, CallError):
                    outcome.lost &= number < tries and left >= enough
                    outcome.hurried = number > 1
                    try:
                        raise outcome
                    finally:
                        # Else the error and this frame, which is in its traceback, hold each other.
                        del outcome
                return outcome
            await self._while_open(self._clock.sleep(delay))
            left -= delay

    def _check_open(self, call: Call, *, sent: bool) -> None:
        if self._closed:
            raise _closed(call, sent=sent)

    async def _take(self, patience_seconds: float) -> bool:
        return await self._while_open(self._pace.take(patience_seconds=patience_seconds))

    async def _while_open(self, wait: Awaitable[T]) -> T:
        """Wait for something, but no longer than until the client is closed.

        Raises:
            TimeoutError: It was closed.
        """
        async with asyncio.timeout(0.0 if self._closed else None) as handle:
            self._under_way.add(handle)
            try:
                return await wait
            finally:
                self._under_way.discard(handle)

    async def _delay(self, outcome: Reply | CallError, number: int, sent: float) -> float | None:
        """Return the seconds to the next try, or `None` when there is to be none."""
        if isinstance(outcome, CallError):
            return self._jitter(number) if repeatable(outcome) else None
        asked = retry_after(outcome.headers.get("retry-after"), clock=self._clock)
        if outcome.status == 429 or (outcome.status == 503 and asked is not None):
            await self._while_open(self._pace.pause(asked, sent=sent))
            return self._pace.left
        if outcome.status < 400:
            self._pace.relent(sent=sent)
        return self._jitter(number) if outcome.status in _REPEATED_STATUS else None

    def _jitter(self, number: int) -> float:
        limit = min(_MAX_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2.0**number)
        # Full jitter: clients that failed together shall not come back together.
        return self._random.uniform(0.0, limit)

    async def _try(
        self, call: Call, request: httpx.Request, seconds: float, waited: float
    ) -> Reply | CallError:
        response: httpx.Response | None = None
        # Below the total, or that would fire first and a failed connection be reported as a
        # missing reply.
        request.extensions["timeout"]["connect"] = min(
            self._options.connect_timeout, seconds * _CONNECT_PART
        )
        # aiohttp is told of no total, and rounds the limit of a read up.
        handle = asyncio.timeout(seconds)
        try:
            async with handle:
                self._under_way.add(handle)
                response = await self._transport.handle_async_request(request)
                headers = dict(response.headers.items())
                try:
                    body = await read_body(
                        cast("httpx.AsyncByteStream", response.stream),
                        encoding=headers.get("content-encoding", ""),
                        max_bytes=self._options.max_reply_bytes,
                        operation=call.operation,
                    )
                finally:
                    await response.aclose()
        except CallError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the edge: all foreign errors end here
            # Returned, so that it is not raised from the foreign error, whose text holds the URL.
            return call_error(call, error, request=request, head=response is not None)
        finally:
            self._under_way.discard(handle)
        return Reply(status=response.status_code, headers=headers, body=body, waited_seconds=waited)

    def _request(self, call: Call) -> httpx.Request:
        read_timeout = min(self._options.read_timeout, self._options.total_timeout)
        try:
            url = _url(call.url)
            headers = self._headers(url.netloc, tuple(call.headers.items()))
            request = httpx.Request(
                call.method,
                url,
                # Made of a stream, a request gets no headers of its own accord: httpx's search
                # for those already there takes a fifth of a call's time.
                headers=headers,
                stream=httpx.ByteStream(call.content),
                extensions={"timeout": {"read": read_timeout, "write": None, "pool": None}},
            )
            if call.content or call.method in _WITH_BODY:
                request.headers["content-length"] = str(len(call.content))
            request.read()
        except (httpx.InvalidURL, ValueError, TypeError):
            request = None
        if request is None:
            # Raised outside the handler, since the foreign error's text holds the URL.
            text = f"{call.operation}: the url or a header is malformed"
            raise CallError(Reason.CONNECT, text, sent=False)
        return request


@functools.lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    # Most calls of a source go to the same few; taking one apart costs as much as the sending.
    return httpx.URL(text)


def _headers(host: bytes, own: tuple[tuple[str, str], ...]) -> httpx.Headers:
    """Return the headers of a call with its own ones.

    Raises:
        ValueError: One would end a header and begin another, which httpx lets pass.
    """
    headers = {
        "host": host.decode(),
        "user-agent": USER_AGENT,
        "accept": "application/json",
        "accept-encoding": ENCODINGS,
        **{name.lower(): value for name, value in own},
    }
    if not all(map(_FORBIDDEN.isdisjoint, headers.values())):
        raise ValueError("a header is malformed")
    return httpx.Headers(headers)


def _closed(call: Call, *, sent: bool) -> CallError:
    return CallError(Reason.CONNECT, f"{call.operation}: the client was closed", sent=sent)
