"""Access tokens: how they are asked for and how long they are kept.

The documented logins are told apart by their URL:

====================================================  ========================================
`…/realms/{realm}/protocol/openid-connect/token`      form: client credentials grant
`…/api/v1/auth`, `…/api/v2/auth`                      JSON: client id and secret
`…/auth`, `…/ai/auth`                                 form: user name and password
====================================================  ========================================

A login can use up one of the server's concurrent user licences. So a token is kept for as long as
it lives, renewed shortly before its end, and never asked for twice at once. A `403` says that no
licence is free. It is no refusal of the credentials: its reason is `access_denied`, as for every
`403`, and the next login waits for a minute.
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

#: The shortest life that is documented, assumed of a token that comes without one.
ASSUMED_LIFE_SECONDS = 300.0

#: The longest life that is documented; no token is trusted for longer.
LONGEST_LIFE_SECONDS = 604_800.0

#: A token is renewed so long before its end, but at most a fifth of its life.
RENEWAL_SECONDS = 30.0

#: After a login that was answered without a token, the next one waits so long.
PAUSE_SECONDS = 60.0

#: What a header can carry and a token can hold.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token that is believed to be valid.

    Attributes:
        fresh: Whether another one would be no better: it was asked for just now, or is given.
    """

    value: str
    fresh: bool

    def __repr__(self) -> str:
        """Show nothing of the value."""
        return f"Token({HIDDEN}, fresh={self.fresh})"


class GivenToken:
    """The token of the configuration; a file is read again when it changed or was refused."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def get(self) -> Token:
        """Return the token as it is now.

        Raises:
            CallError: It cannot be read, or no header can carry it.
        """
        value = self._secret.reveal()
        if not _TOKEN.fullmatch(value):
            raise CallError(Reason.AUTH, "the access token holds what no header can carry")
        return Token(value=value, fresh=True)

    def refused(self, token: Token) -> None:
        """Read the file again, since the vendor no longer accepts its token."""
        del token
        self._secret.refresh()


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A call that answers with a token.

    Attributes:
        fields: What it sends beside the secret.
        sent_as: The name under which the secret is sent.
    """

    url: str
    fields: Mapping[str, str]
    sent_as: str
    secret: Secret
    encoding: Literal["form", "json"] = "form"

    def call(self) -> Call:
        """Make the call with the secret as it is now.

        It is not repeated on its own, since each login can use up a licence.

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
    """Return the configured login, `None` where the token itself is given."""
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
    """A token with its end.

    Attributes:
        credentials: Fingerprint of the secret it was got with.
        renew_at: Monotonic seconds from which on a new one is asked for.
        ends_at: Monotonic seconds of its end.
    """

    value: str
    credentials: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        """Show nothing of the value."""
        return f"_Held({HIDDEN})"


class _Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A login that brought no token.

    Attributes:
        pause_until: Monotonic seconds until which no login with these credentials is tried.
    """

    error: PollError
    credentials: str
    pause_until: float


class LoginTokens:
    """Tokens got by logging in."""

    def __init__(self, login: Login, context: SourceContext, *, http: HttpClient) -> None:
        self._login = login
        self._http = http
        self._telemetry = context.telemetry
        self._clock = context.clock
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._failed: _Failed | None = None

    async def get(self) -> Token:
        """Return the token held, or log in; callers that come meanwhile share the outcome.

        A renewal that fails costs nothing while the token held still lives: it may even be the
        one that uses up the licence. The failure is counted with the call.

        Raises:
            SuspectError: The login was refused.
            PollError: There is no token, for another reason.
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
        """Drop the token, if it is still the one held, and read the secret again."""
        if self._held is not None and self._held.value == token.value:
            self._held = None
        self._login.secret.refresh()

    def _alive(self) -> _Held | None:
        held = self._held
        if held is None or self._clock.monotonic() >= held.ends_at:
            return None
        # The fingerprint is empty while the file cannot be read; that is no new secret.
        return held if self._login.secret.fingerprint() in ("", held.credentials) else None

    async def _renew(self) -> _Held:
        credentials, failed = self._login.secret.fingerprint(), self._failed
        if (
            failed is not None
            and failed.credentials == credentials
            and self._clock.monotonic() < failed.pause_until
        ):
            raise BlockedError(
                f"{failed.error}; the next login has to wait for a while",
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
                    pause_seconds = PAUSE_SECONDS  # without a token it may have cost a licence
                _check_login(reply)
                token, life_seconds = self._read(reply)
        except PollError as error:
            until = asked + pause_seconds
            held = self._alive()
            if held is not None:
                # Once is enough while it lives; and with its end its licence is free again.
                until = min(asked + PAUSE_SECONDS, held.ends_at)
            self._failed = _Failed(error=error, credentials=credentials, pause_until=until)
            raise
        ends_at = asked + life_seconds
        renew_at = ends_at - min(RENEWAL_SECONDS, life_seconds / 5)
        self._failed = None
        self._held = _Held(value=token, credentials=credentials, renew_at=renew_at, ends_at=ends_at)
        return self._held

    def _read(self, reply: Reply) -> tuple[str, float]:
        """Return the token of a reply and its life in seconds."""
        surprise = self._telemetry.surprise
        read = decode(reply.body, TokenReply, operation=OPERATION, surprise=surprise)
        token = read.access_token or read.access_type
        if not token or not _TOKEN.fullmatch(token):
            raise CallError(Reason.DECODE, f"{OPERATION}: the reply holds no usable access token")
        try:
            life_seconds = float(read.expires_in or 0)
        except ValueError:
            life_seconds = math.nan
        if not life_seconds > 0:
            surprise("missing_field" if read.expires_in is None else "type")
            life_seconds = ASSUMED_LIFE_SECONDS
        return token, min(life_seconds, LONGEST_LIFE_SECONDS)


def _check_login(reply: Reply) -> None:
    """Raise the meaning of an answer other than a token."""
    if reply.status in (400, 401):
        own = CallError(
            Reason.AUTH, f"{OPERATION}: the login was refused ({reply.status})", status=reply.status
        )
        raise SuspectError(own)
    if reply.status == 403:
        # Without its status, which the guard would take for a refusal of the credentials.
        raise CallError(
            Reason.ACCESS_DENIED,
            f"{OPERATION}: the login was answered with 403: no concurrent user licence is free",
        )
    if (error := status_error(OPERATION, reply)) is not None:
        raise error
