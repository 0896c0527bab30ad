"""The only way to BlazeMeter's API: GETs of a few paths, through the lock-out guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.http import Call, check_status
from exporter.lockout.guard import Guard
from exporter.lockout.queue import Priority
from exporter.sources.blazemeter import operations as o
from exporter.sources.blazemeter.replies import Master, Status
from exporter.sources.decode import decode


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.http import HttpClient, Reply
    from exporter.sources.base import SourceContext
    from exporter.sources.blazemeter.operations import Operation
    from exporter.sources.blazemeter.replies import E, Location, MastersReply, Ship
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


Seen: TypeAlias = "Callable[[bytes], object]"

#: The page of a list of runs. Sources disagree on the largest one; all of them allow this.
PAGE = 50

#: `/private-locations` is reported to know no further pages, so one large page is asked for.
LOCATIONS = 1000

_REFUSED = {401: Reason.AUTH, 403: Reason.ACCESS_DENIED}


class NotFoundError(CallError):
    """There is no such item, or none any more (404)."""


class _Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A call that this key may not make, though the key is accepted."""

    until: float
    fingerprint: str
    reason: Reason
    message: str
    status: int | None


class BlazeMeterClient:
    """Calls the API of one source.

    Attributes:
        up: Whether the newest call was answered validly; that an item is gone is such an answer.
            A call about one item that fails leaves it as it is.
    """

    def __init__(
        self, settings: BlazeMeterSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        self.up = context.up
        self._base = settings.url.rstrip("/").removesuffix("/api/v4")
        self._credentials = settings.credentials
        self._http = http
        self._telemetry = context.telemetry
        self._clock = context.clock
        self._auth_retry_seconds = settings.auth_retry
        self._denials: dict[str, _Denial] = {}
        self.guard = Guard(
            concurrency=settings.concurrency,
            auth_retry_seconds=settings.auth_retry,
            proof=self._prove,
            fingerprint=settings.credentials.fingerprint,
            ledger=context.ledger,
            clock=context.clock,
        )

    async def masters(
        self, scope: Mapping[str, str | int], *, skip: int = 0, seen: Seen | None = None
    ) -> MastersReply:
        """Read a page of the runs of a workspace or a test, the newest changed first.

        Raises:
            PollError: There is no valid answer.
        """
        query: dict[str, str | int] = {**scope, "limit": PAGE, "skip": skip, "sort[]": "-updated"}
        return await self._ask(o.MASTERS, query=query, seen=seen)

    async def master(self, run_id: str, *, seen: Seen | None = None) -> Master:
        """Read the description of a run.

        Raises:
            PollError: There is no valid answer; `NotFoundError` when there is no such run.
        """
        reply = await self._ask(o.MASTER, item=run_id, seen=seen)
        return reply.result or Master()

    async def status(
        self,
        run_id: str,
        *,
        events: bool,
        priority: Priority = Priority.NORMAL,
        seen: Seen | None = None,
    ) -> Status:
        """Read where a run stands.

        Without its events the reply is some twenty times smaller; with them it has those of all
        levels.

        Raises:
            PollError: There is no valid answer; `NotFoundError` when there is no such run.
        """
        query = {"events": "true", "level": "DEBUG"} if events else {"events": "false"}
        reply = await self._ask(o.STATUS, item=run_id, query=query, priority=priority, seen=seen)
        return reply.result or Status()

    async def locations(self, workspace: int) -> tuple[Location, ...]:
        """Read the private locations of a workspace with their agents.

        Raises:
            PollError: There is no valid answer.
        """
        query = {"workspaceId": workspace, "limit": LOCATIONS}
        reply = await self._ask(o.LOCATIONS, query=query)
        return reply.result or ()

    async def ships(self, location_id: str, *, seen: Seen | None = None) -> tuple[Ship, ...]:
        """Read the agents of one private location.

        Raises:
            PollError: There is no valid answer.
        """
        reply = await self._ask(o.SHIPS, item=location_id, seen=seen)
        return reply.result or ()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _prove(self) -> None:
        """Find out whether the key is accepted, with the probe the vendor names (section B1)."""
        await self._attempt(o.USER, o.target_of(o.USER, "", {}), None)

    async def _ask(
        self,
        operation: Operation[E],
        *,
        item: str = "",
        query: Mapping[str, str | int] | None = None,
        priority: Priority = Priority.NORMAL,
        seen: Seen | None = None,
    ) -> E:
        target = o.target_of(operation, item, query or {})
        self._check_denials(target)
        try:
            return await self.guard.call(
                lambda: self._attempt(operation, target, seen), priority=priority
            )
        except CallError as error:
            if error.status in _REFUSED and not self.guard.open:
                self._deny(target, error)
            raise

    def _check_denials(self, target: str) -> None:
        """Fail a call at once that was denied of late.

        Each one costs a proof, and the guard has room for few of them in a minute: without this,
        some workspaces without access would keep the others from being read.
        """
        denial = self._denials.get(target)
        if (
            denial is not None
            and self._clock.monotonic() < denial.until
            and denial.fingerprint == self._credentials.fingerprint()
        ):
            raise CallError(denial.reason, denial.message, status=denial.status)

    def _deny(self, target: str, error: CallError) -> None:
        now = self._clock.monotonic()
        self._denials = {each: old for each, old in self._denials.items() if now < old.until}
        self._denials[target] = _Denial(
            until=now + self._auth_retry_seconds,
            fingerprint=self._credentials.fingerprint(),
            reason=error.reason,
            message=str(error),
            status=error.status,
        )

    async def _attempt(self, operation: Operation[E], target: str, seen: Seen | None) -> E:
        try:
            with self._telemetry.request(operation.name):
                reply = await self._http.send(self._request(operation, target))
                if seen is not None:
                    seen(reply.body)
                answer = self._judge(operation, reply)
        except BlockedError:
            raise
        except NotFoundError:
            self.up = True
            raise
        except PollError as error:
            self.up = self.up and operation.of_item
            if isinstance(error, SuspectError):
                self._credentials.refresh()
            raise
        self.up = True
        return answer

    def _request(self, operation: Operation[Any], target: str) -> Call:
        return Call(
            operation=operation.name,
            method="GET",
            url=self._base + target,
            headers={
                "authorization": self._credentials.authorization(),
                "accept": "application/json",
            },
        )

    def _judge(self, operation: Operation[E], reply: Reply) -> E:
        """Tell an answer from an error (reference section B7)."""
        name = operation.name
        if reply.status == 404 and operation is not o.USER:  # whose absence is a wrong URL
            raise NotFoundError(Reason.HTTP_4XX, f"{name}: no such item (404)", status=404)
        try:
            check_status(name, reply)
        except CallError as error:
            if reply.status in _REFUSED:
                raise SuspectError(error) from None
            raise
        answer = decode(
            reply.body, operation.reply, operation=name, surprise=self._telemetry.surprise
        )
        if answer.error is not None:
            raise _error_in_reply(name, answer.error)
        if answer.lacks_result:
            self._telemetry.surprise("missing_field")
            raise CallError(Reason.DECODE, f"{name}: the reply lacks its result", status=200)
        return answer


def _error_in_reply(name: str, error: Any) -> PollError:
    """Make an error of the one that stands in a reply of status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, int) or not 0 <= code < 1000:
        return CallError(Reason.API_ERROR, f"{name}: the reply is an error", status=200)
    if code in _REFUSED:
        return SuspectError(
            CallError(_REFUSED[code], f"{name}: the reply is error {code}", status=code)
        )
    if code == 404:
        return NotFoundError(Reason.HTTP_4XX, f"{name}: no such item (error 404)", status=200)
    return CallError(Reason.API_ERROR, f"{name}: the reply is error {code}", status=200)
