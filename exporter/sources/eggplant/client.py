"""The only way to an Eggplant DAI server: the one call there is, through the lock-out guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.http import Call, check_status
from exporter.lockout.guard import Guard
from exporter.sources.decode import decode, well_formed
from exporter.sources.eggplant.replies import AgentEntry
from exporter.sources.eggplant.tokens import GivenToken, LoginTokens, login_of


if TYPE_CHECKING:
    from exporter.http import HttpClient, Reply
    from exporter.metrics.telemetry import Surprise
    from exporter.sources.base import SourceContext
    from exporter.sources.eggplant.settings import EggplantSettings
    from exporter.sources.eggplant.tokens import Token


Seen = Callable[[bytes], object]

OPERATION = "status"

#: The only path that is asked for, beside the login. It reads, by POST.
PATH = "/api/sut/status"

#: One call covers the whole server. Alone, it is also refused at most twice in one go: with the
#: token that was held and with its successor.
CONCURRENCY = 1


class EggplantClient:
    """Calls the server of one source.

    Attributes:
        up: Whether the newest call was answered validly.
    """

    def __init__(
        self, settings: EggplantSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        self.up = context.up
        self._url = settings.url.rstrip("/") + PATH
        self._http = http
        self._telemetry = context.telemetry
        login = login_of(settings)
        secret = settings.auth.secret
        self._tokens = (
            GivenToken(secret) if login is None else LoginTokens(login, context, http=http)
        )
        self.guard = Guard(
            concurrency=CONCURRENCY,
            auth_retry_seconds=settings.auth_retry,
            proof=self._prove,
            fingerprint=secret.fingerprint,
            ledger=context.ledger,
            clock=context.clock,
        )

    async def agents(self, *, seen: Seen | None = None) -> list[AgentEntry]:
        """Read the open agent connections.

        Args:
            seen: Is handed the body of the reply.

        Raises:
            PollError: There is no valid answer.
        """
        return await self.guard.call(lambda: self._attempt(seen))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _prove(self) -> None:
        """Find out whether the credentials are accepted; there is no cheaper call than the one."""
        await self._attempt(None)

    async def _attempt(self, seen: Seen | None) -> list[AgentEntry]:
        try:
            entries = await self._renewing(seen)
        except BlockedError:
            raise
        except PollError:
            self.up = False
            raise
        self.up = True
        return entries

    async def _renewing(self, seen: Seen | None) -> list[AgentEntry]:
        """Ask, and once more with a new token if one that was held is no longer accepted."""
        token = await self._tokens.get()
        try:
            return await self._ask(token, seen)
        except SuspectError as error:
            if token.fresh or error.reason is not Reason.AUTH:
                raise
        return await self._ask(await self._tokens.get(), seen)

    async def _ask(self, token: Token, seen: Seen | None) -> list[AgentEntry]:
        call = Call(
            operation=OPERATION,
            method="POST",
            url=self._url,
            headers={
                "authorization": f"bearer {token.value}",
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
        )
        with self._telemetry.request(OPERATION):
            reply = await self._http.send(call)
            if reply.status == 401:
                self._tokens.refused(token)
            _check(reply)
            if seen is not None:
                seen(reply.body)
            return self._entries(reply.body)

    def _entries(self, body: bytes) -> list[AgentEntry]:
        """Decode a reply; an entry that cannot be read becomes an empty one: some agent's."""
        odd: list[Surprise] = []
        entries = decode(body, list[AgentEntry], operation=OPERATION, surprise=odd.append)
        for kind in odd:
            self._telemetry.surprise(kind)
        if odd:
            count = len(msgspec.json.decode(well_formed(body), type=list[msgspec.Raw]))
            entries += [AgentEntry()] * (count - len(entries))
        return entries


def _check(reply: Reply) -> None:
    """Raise the meaning of a status other than success."""
    if reply.status == 404:
        raise CallError(
            Reason.HTTP_4XX,
            f"{OPERATION}: the server does not offer {PATH} (404), so nothing is known of agents",
            status=reply.status,
        )
    try:
        check_status(OPERATION, reply)
    except CallError as error:
        if reply.status in (401, 403):
            raise SuspectError(error) from None
        raise
