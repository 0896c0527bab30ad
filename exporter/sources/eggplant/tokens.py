"""Access tokens: the logins that issue them, and their lifetime.

The URL decides which of the documented logins is used:

====================================================  ========================================
`…/realms/{realm}/protocol/openid-connect/token`      form: client credentials grant
`…/api/v1/auth`, `…/api/v2/auth`                      JSON: client id and secret
`…/auth`, `…/ai/auth`                                 form: user name and password
====================================================  ========================================

A login can use up one of the server's concurrent user licences. A token is therefore used until
shortly before its expiry, and two logins never run concurrently. The reply `403` means that no
licence is free, and not that the credentials are refused. Its reason is `access_denied`, as for
every `403`, and the next login waits for a minute.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

import msgspec

from exporter.config.secret import HIDDEN, Secret
from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.http import Call, HttpClient, Reply, status_error
from exporter.sources.decode import decode
from exporter.sources.eggplant.replies import TokenReply
from exporter.sources.eggplant.settings import EggplantSettings, is_public_api


if TYPE_CHECKING:
    from exporter.sources.base import SourceContext


OPERATION = "token"

#: The shortest documented lifetime, assumed for a token without one.
ASSUMED_LIFE_SECONDS = 300.0

#: The longest documented lifetime; no token is used for longer.
LONGEST_LIFE_SECONDS = 604_800.0

#: A token is renewed this long before its expiry, but at most a fifth of its lifetime.
RENEWAL_SECONDS = 30.0

#: The pause after a login whose reply had no token.
PAUSE_SECONDS = 60.0

#: A token: the visible ASCII characters, which a header can carry.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token.

    Attributes:
        value: The token itself.
        fresh: Whether the token was issued just now or is configured, so that a new login would not
            give a better one.
    """

    value: str
    fresh: bool

    def __repr__(self) -> str:
        """Return a text without the value."""
        return f"Token({HIDDEN}, fresh={self.fresh})"


class GivenToken:
    """The configured token; its file is read again after a change or a refusal."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def get(self) -> Token:
        """Return the current token.

        Raises:
            CallError: The token cannot be read, or it contains invalid characters.
        """
        value = self._secret.reveal()
        if not _TOKEN.fullmatch(value):
            raise CallError(Reason.AUTH, "the access token contains spaces or invalid characters")
        return Token(value=value, fresh=True)

    def refused(self, token: Token) -> None:
        """Make the next use read the file again, because the server refused the token."""
        del token
        self._secret.refresh()


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login, which is a call for a token.

    Attributes:
        url: The URL of the login.
        fields: The fields to send, without the secret.
        sent_as: The name of the secret's field.
        secret: The secret.
        encoding: The encoding of the fields.
    """

    url: str
    fields: Mapping[str, str]
    sent_as: str
    secret: Secret
    encoding: Literal["form", "json"] = "form"

    def call(self) -> Call:
        """Return the call with the current secret.

        The HTTP client does not retry this call, because each login can use up a licence.

        Raises:
            CallError: The secret's file cannot be read.
        """
        data = {**self.fields, self.sent_as: self.secret.reveal()}
        if self.encoding == "json":
            content_type, content = "application/json", msgspec.json.encode(data)
        else:
            content_type, content = "application/x-www-form-urlencoded", urlencode(data).encode()
        return Call(
            operation=OPERATION,
            method="POST",
            url=self.url,
            headers={"content-type": content_type},
            content=content,
            repeatable=False,
        )


def login_of(settings: EggplantSettings) -> Login | None:
    """Return the configured login, or `None` if the token itself is configured."""
    auth = settings.auth
    if auth.token_url is not None:
        url = settings.endpoint(auth.token_url)
        client = {"client_id": auth.client_id or ""}
        public = is_public_api(url)
        return Login(
            url=url,
            fields=client if public else {"grant_type": "client_credentials", **client},
            sent_as="client_secret",
            secret=auth.secret,
            encoding="json" if public else "form",
        )
    if auth.login_url is not None:
        return Login(
            url=settings.endpoint(auth.login_url),
            fields={"username": auth.username or ""},
            sent_as="password",
            secret=auth.secret,
        )
    return None


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """A token with its expiry.

    Attributes:
        value: The token itself.
        credentials: The fingerprint of the secret that was used for the login.
        renew_at: Monotonic seconds from which the token is to be renewed.
        ends_at: Monotonic seconds of the token's expiry.
    """

    value: str
    credentials: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        """Return a text without the value."""
        return f"_Held({HIDDEN})"


class _Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A failed login.

    Attributes:
        error: The error of the login.
        credentials: The fingerprint of the secret that was used.
        pause_until: Monotonic seconds until which no login with this secret is tried.
    """

    error: PollError
    credentials: str
    pause_until: float


class LoginTokens:
    """Tokens from logins."""

    def __init__(self, login: Login, context: SourceContext, *, http: HttpClient) -> None:
        self._login = login
        self._http = http
        self._telemetry = context.telemetry
        self._clock = context.clock
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._failed: _Failed | None = None

    async def get(self) -> Token:
        """Return the held token, or log in if there is none; concurrent callers share one login.

        If a renewal fails while the held token is still valid, the held token is returned: it may
        be the token that uses the last free licence.

        Raises:
            SuspectError: The server refused the login.
            PollError: There is no token for another reason.
        """
        held = self._alive()
        if held is not None and self._clock.monotonic() < held.renew_at:
            return Token(value=held.value, fresh=False)
        earlier = self._failed
        async with self._lock:
            held = self._alive()
            if held is None or self._clock.monotonic() >= held.renew_at:
                try:
                    if self._failed is not None and self._failed is not earlier:
                        raise self._failed.error
                    held = await self._renew()
                except SuspectError:
                    raise
                except PollError:
                    if held is None:
                        raise
                    return Token(value=held.value, fresh=False)
            return Token(value=held.value, fresh=True)

    def refused(self, token: Token) -> None:
        """Drop a refused token if it is the held one, and make the next login read the secret."""
        if self._held is not None and self._held.value == token.value:
            self._held = None
        self._login.secret.refresh()

    def _alive(self) -> _Held | None:
        held = self._held
        if held is None or self._clock.monotonic() >= held.ends_at:
            return None
        # The fingerprint is empty while the file cannot be read; that does not mean a new secret.
        return held if self._login.secret.fingerprint() in ("", held.credentials) else None

    async def _renew(self) -> _Held:
        credentials, failed = self._login.secret.fingerprint(), self._failed
        if (
            failed is not None
            and failed.credentials == credentials
            and self._clock.monotonic() < failed.pause_until
        ):
            raise BlockedError(
                f"{failed.error}; the next login waits for up to a minute",
                retry_at=failed.pause_until,
                reason=failed.error.reason,
            )
        call = self._login.call()
        asked = self._clock.monotonic()
        pause_seconds = 0.0
        try:
            with self._telemetry.request(OPERATION):
                reply = await self._http.send(call)
                if reply.status < 300 or reply.status == 403:
                    pause_seconds = PAUSE_SECONDS  # the login may have used up a licence
                _check_login(reply)
                token, life_seconds = self._read(reply)
        except PollError as error:
            until = asked + pause_seconds
            held = self._alive()
            if held is not None:
                # The held token is still valid, so one try is enough; its expiry frees a licence.
                until = min(asked + PAUSE_SECONDS, held.ends_at)
            self._failed = _Failed(error=error, credentials=credentials, pause_until=until)
            raise
        ends_at = asked + life_seconds
        renew_at = ends_at - min(RENEWAL_SECONDS, life_seconds / 5)
        self._failed = None
        self._held = _Held(value=token, credentials=credentials, renew_at=renew_at, ends_at=ends_at)
        return self._held

    def _read(self, reply: Reply) -> tuple[str, float]:
        """Return the token in a reply, and its lifetime in seconds."""
        surprise = self._telemetry.surprise
        read = decode(reply.body, TokenReply, operation=OPERATION, surprise=surprise)
        token = read.access_token or read.access_type
        if not token or not _TOKEN.fullmatch(token):
            raise CallError(Reason.DECODE, f"{OPERATION}: the reply has no valid access token")
        try:
            life_seconds = float(read.expires_in or 0)
        except ValueError:
            life_seconds = math.nan
        if not life_seconds > 0:
            surprise("missing_field" if read.expires_in is None else "type")
            life_seconds = ASSUMED_LIFE_SECONDS
        return token, min(life_seconds, LONGEST_LIFE_SECONDS)


def _check_login(reply: Reply) -> None:
    """Raise an error if the reply's status is not a success."""
    if reply.status in (400, 401):
        own = CallError(
            Reason.AUTH, f"{OPERATION}: the login was refused ({reply.status})", status=reply.status
        )
        raise SuspectError(own)
    if reply.status == 403:
        # The error has no status, because the guard treats the status 403 as refused credentials.
        raise CallError(
            Reason.ACCESS_DENIED,
            f"{OPERATION}: no concurrent user licence is free (403)",
        )
    if (error := status_error(OPERATION, reply)) is not None:
        raise error
