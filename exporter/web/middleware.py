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

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
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
        try:
            # Most answers are made in one go. Without this step aside, requests that came in
            # together would wait for each other unseen, each finding nobody under way.
            await asyncio.sleep(0)
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
