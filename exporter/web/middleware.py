"""What holds for every answer: security headers, and a bound on work at once."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


#: Sent with every answer unless it says otherwise. The pages need nothing from outside.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityHeaders:
    """Adds `SECURITY_HEADERS` to what the app answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LimitRequests:
    """Answers 503 at once while `limit` requests are under way, so that no queue can grow.

    A limit of 0 is none.
    """

    def __init__(self, app: ASGIApp, limit: int, *, until_read: bool = True) -> None:
        """Put a limit in front of an app.

        Args:
            app: What answers.
            limit: So many requests at once.
            until_read: Whether a request is under way until its answer was read, since that long
                the answer takes memory; else until it was made.
        """
        self._app = app
        self._limit = limit
        self._until_read = until_read
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if self._limit and self._under_way >= self._limit:
            refusal = PlainTextResponse(
                f"503 Service Unavailable: {self._limit} requests are under way, which is the "
                "limit (web.max_requests). Try again.\n",
                status_code=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": "1"},
            )
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        place = [None]  # emptied when it is given back

        def give_back() -> None:
            if place:
                place.clear()
                self._under_way -= 1

        async def send_in_time(message: Message) -> None:
            if not self._until_read:
                give_back()
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                # The server lets a last message wait until the client has read those before it.
                await send({**message, "more_body": True})
                message = {"type": "http.response.body"}
            await send(message)

        try:
            # Most answers are made in one go. Without this step aside, requests that came in
            # together would wait for each other unseen, each finding nobody under way.
            await asyncio.sleep(0)
            await self._app(scope, receive, send_in_time)
        finally:
            give_back()
