"""The client: tries, pauses and time-outs of one source's calls.

It uses httpx' requests, responses and transports, but not httpx' client, which keeps cookies, can
follow redirects and logs each URL with its query.
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

#: The share of the total time-out that must be left for a further try, so that it can succeed.
_ENOUGH = 1 / 2

#: The share of a try's time that the connection may take.
_CONNECT_PART = 0.9

_CLOSE_SECONDS = 2.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_FORBIDDEN = frozenset("\r\n\0")


class HttpClient:
    """The client of one source, which keeps to the source's limits.

    Args:
        options: The limits and TLS files.
        clock: The source of time.
        random: The source of the pauses' jitter.
        transport: Replaces the network.
        certificate_ends: Called with the expiry of the server's certificate, in Unix seconds.
        account: The account of the calls, if other processes call with it, too.
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
        # Cached because building headers takes as long as sending a call, and most calls of a
        # source have the same ones.
        self._headers = functools.lru_cache(maxsize=16)(_headers)
        self._in_flight: set[asyncio.Timeout] = set()
        self._closed = False

    async def send(self, call: Call) -> Reply:
        """Send a call.

        Time spent waiting for the budget or for the end of a pause does not count against the
        time-out.

        If the connection is lost after the call was sent, the call is not repeated here: the vendor
        may have refused it, and only the lock-out guard counts refusals.

        Returns:
            The complete reply, with any status.

        Raises:
            CallError: There is no complete reply: `dns`, `connect`, `tls`, `timeout`, `decode`.
            BlockedError: The vendor asked for a pause that is longer than the call's time-out.
        """
        self._check_open(call, sent=False)
        # A TimeoutError comes from a wait that `aclose` has ended.
        with suppress(TimeoutError):
            return await self._send(call)
        raise _closed(call, sent=True)

    async def aclose(self) -> None:
        """Close all connections, and end calls in flight at once."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        while self._in_flight:
            handle = self._in_flight.pop()
            if not handle.expired():
                handle.reschedule(now)
        # Do not wait long for a peer that does not answer: the end of the process closes the rest.
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
                        # Break the reference cycle between the error and this frame.
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
        """Return the result of a wait, which ends early if the client is closed.

        Raises:
            TimeoutError: The client was closed.
        """
        async with asyncio.timeout(0.0 if self._closed else None) as handle:
            self._in_flight.add(handle)
            try:
                return await wait
            finally:
                self._in_flight.discard(handle)

    async def _delay(self, outcome: Reply | CallError, number: int, sent: float) -> float | None:
        """Return the seconds until the next try, `None` if the call must not be repeated."""
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
        # Full jitter, so that clients that failed at the same time retry at different times.
        return self._random.uniform(0.0, limit)

    async def _try(
        self, call: Call, request: httpx.Request, seconds: float, waited: float
    ) -> Reply | CallError:
        response: httpx.Response | None = None
        # Keep the connect limit below the total. Else the total ends first, and a failed connection
        # is reported as a missing reply.
        request.extensions["timeout"]["connect"] = min(
            self._options.connect_timeout, seconds * _CONNECT_PART
        )
        # aiohttp gets no total time-out, and it rounds the read time-out up.
        handle = asyncio.timeout(seconds)
        try:
            async with handle:
                self._in_flight.add(handle)
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
        except Exception as error:  # noqa: BLE001 - all foreign errors are translated here
            # Returned and raised by the caller: raised here, it would have the foreign error, whose
            # text holds the URL, as its context.
            return call_error(call, error, request=request, head=response is not None)
        finally:
            self._in_flight.discard(handle)
        return Reply(status=response.status_code, headers=headers, body=body, waited_seconds=waited)

    def _request(self, call: Call) -> httpx.Request:
        read_timeout = min(self._options.read_timeout, self._options.total_timeout)
        try:
            url = _url(call.url)
            headers = self._headers(url.netloc, tuple(call.headers.items()))
            request = httpx.Request(
                call.method,
                url,
                # Given a stream, httpx adds no headers of its own. Its search for existing headers
                # takes a fifth of a call's time.
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
    # Cached because parsing a URL takes as long as sending a call, and a source has few URLs.
    return httpx.URL(text)


def _headers(host: bytes, own: tuple[tuple[str, str], ...]) -> httpx.Headers:
    """Return all headers of a call, including its `own` ones.

    Raises:
        ValueError: A value has a line break, which would start another header; httpx allows it.
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
