"""Security headers of all responses, and the gate with rate limit, users and configured headers.

Requests that cause a vendor call or a change are accepted only from the exporter's own pages and
from programs, see `OwnPages`.
"""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from exporter.web.access.auth import TooManyLoginsError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from exporter.web.access.security import Rules, WebSecurity


#: Headers of every response that does not set them itself. The pages load nothing from other hosts.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

#: All default headers. A response without an `ETag` is not cached, so that no old fleet is shown.
DEFAULT_HEADERS = {**SECURITY_HEADERS, "Cache-Control": "no-store"}


class SecurityHeaders:
    """A middleware that adds `DEFAULT_HEADERS` to the responses of an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_default_headers(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def add_default_headers(start: Message) -> None:
    """Add each of `DEFAULT_HEADERS` to the start of a response, unless the response has it."""
    headers = MutableHeaders(scope=start)
    for name, value in DEFAULT_HEADERS.items():
        headers.setdefault(name, value)


#: Values of `Sec-Fetch-Site` of requests that no other site has caused: the address was typed, or
#: is a link in the exporter's pages. Browsers always send this header, programs never do.
_OWN_SITES = frozenset({"none", "same-origin"})


class OwnPages:
    """A middleware that refuses requests caused by pages of other sites.

    It guards the endpoints that cause a vendor call or a change. Without it, an image or a form on
    any web page that a user visits could cause them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if _OWN_SITES.issuperset(Headers(scope=scope).getlist("sec-fetch-site")):
            await self._app(scope, receive, send)
            return
        why = "A page of another site caused this request; use the exporter's own pages."
        await _refuse(HTTPStatus.FORBIDDEN, why, {})(scope, receive, send)


class Gate:
    """A middleware that applies the web configuration file: rate limit, users, headers.

    The rate limit does not apply to requests for health and readiness, unless they need a new
    comparison of a password. Otherwise too many requests could make a supervisor restart the
    process.
    """

    def __init__(self, app: ASGIApp, security: WebSecurity, *, route_prefix: str = "") -> None:
        self._app = app
        self._security = security
        self._watched = {f"{route_prefix}/-/healthy", f"{route_prefix}/-/ready"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        rules = self._security.rules()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in rules.config.headers.items():
                    if value:
                        headers[name] = value
                    else:
                        del headers[name]
            await send(message)

        refusal = await self._refusal(scope, rules)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope, rules: Rules) -> PlainTextResponse | None:
        credentials = _credentials(Headers(scope=scope).get("authorization", ""))
        users = rules.users
        free = scope["path"] in self._watched and (
            users is None or credentials is None or users.remember(*credentials) is not None
        )
        if rules.bucket is not None and not free and not rules.bucket.take():
            return _refuse(HTTPStatus.TOO_MANY_REQUESTS, "Ask less often.", {"Retry-After": "1"})
        if users is None:
            return None
        try:
            if credentials is not None and await users.admit(*credentials):
                return None
        except TooManyLoginsError:
            why = "Too many passwords are waiting to be compared. Try again."
            return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, why, {"Retry-After": "1"})
        why = "Give a user and the right password."
        return _refuse(HTTPStatus.UNAUTHORIZED, why, {"WWW-Authenticate": "Basic"})


def _credentials(header: str) -> tuple[str, bytes] | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    # A name that is not UTF-8 is no user's, but is still compared, to take the same time.
    return (name.decode("utf-8", "surrogateescape"), password) if colon else None


def _refuse(status: HTTPStatus, why: str, headers: Mapping[str, str]) -> PlainTextResponse:
    return PlainTextResponse(
        f"{status.value} {status.phrase}. {why}\n",
        status_code=status,
        headers={**DEFAULT_HEADERS, **headers},
    )
