"""The client of BlazeMeter's API: sends the calls of `operations` through the lock-out guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.http import Call, HttpClient, Reply, status_error
from exporter.lockout.queue import Priority
from exporter.sources.base import Client, SourceContext
from exporter.sources.blazemeter.operations import (
    CI_STATUS,
    LOCATION,
    LOCATIONS,
    MASTER,
    MASTERS,
    MULTI_TEST,
    MULTI_TESTS,
    SHIPS,
    STATUS,
    SUMMARY,
    TEST,
    USER,
    E,
    Operation,
    target_of,
)
from exporter.sources.blazemeter.replies import (
    CiStatus,
    Envelope,
    ListReply,
    Location,
    Master,
    Ship,
    Status,
    SuiteDescription,
    Summary,
)
from exporter.sources.calls import suspected
from exporter.sources.decode import decode


if TYPE_CHECKING:
    from exporter.sources.blazemeter.settings import BlazeMeterSettings


Seen = Callable[[bytes], object]

#: The page size for lists of runs and multi-tests. The documents disagree on the largest page; all
#: allow this one (deploy/docs/vendors/blazemeter.md).
PAGE = 50

#: The page size for the list of private locations: large, because some servers are reported to give
#: no second page. A server with a lower limit returns fewer locations.
LOCATIONS_PAGE = 1000

_REFUSED = {401: Reason.AUTH, 403: Reason.ACCESS_DENIED}


class NotFoundError(CallError):
    """There is no such item, or it was deleted (404)."""


class _Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the vendor denies to this key, although it accepts the key.

    Attributes:
        until: Monotonic seconds until which the call is not sent again.
        fingerprint: A hash of the denied key.
        error: Makes a new error for each call; a shared instance would collect tracebacks.
    """

    until: float
    fingerprint: str
    error: Callable[[], CallError]


class BlazeMeterClient(Client):
    """The client of one source.

    Each call raises a `PollError` if there is no valid answer, in particular a `NotFoundError` if
    there is no such item. The function `seen`, if given, receives the body of the reply.
    """

    settings: BlazeMeterSettings

    def __init__(
        self, settings: BlazeMeterSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        super().__init__(settings, context, http=http, fingerprint=settings.credentials.fingerprint)
        self._base = settings.url.rstrip("/").removesuffix("/api/v4")
        self._credentials = settings.credentials
        self._clock = context.clock
        self._denials: dict[str, _Denial] = {}

    async def masters(
        self, scope: Mapping[str, str | int], *, skip: int = 0, seen: Seen | None = None
    ) -> ListReply[Master]:
        """Return a page of the runs of a workspace or a suite, the last changed run first."""
        query = {**scope, "limit": PAGE, "skip": skip, "sort[]": "-updated"}
        return await self._ask(MASTERS, query=query, seen=seen)

    async def master(self, run_id: str, *, seen: Seen | None = None) -> Master:
        """Return the description of a run."""
        reply = await self._ask(MASTER, item=run_id, seen=seen)
        return reply.result or Master()

    async def status(
        self,
        run_id: str,
        *,
        events: bool,
        priority: Priority = Priority.NORMAL,
        seen: Seen | None = None,
    ) -> Status:
        """Return the status of a run.

        With `events` the reply holds the events of all levels and is some twenty times larger.
        """
        query = {"events": "true", "level": "DEBUG"} if events else {"events": "false"}
        reply = await self._ask(STATUS, item=run_id, query=query, priority=priority, seen=seen)
        return reply.result or Status()

    async def ci_status(self, run_id: str) -> CiStatus:
        """Return the errors of a finished run."""
        return (await self._ask(CI_STATUS, item=run_id)).result or CiStatus()

    async def summary(self, run_id: str) -> Summary:
        """Return the results of a finished run."""
        return (await self._ask(SUMMARY, item=run_id)).result or Summary()

    async def test(self, test_id: str) -> SuiteDescription:
        """Return the description of a test."""
        return _single(await self._ask(TEST, item=test_id), TEST)

    async def multi_test(self, multi_test_id: str) -> SuiteDescription:
        """Return the description of a multi-test."""
        return _single(await self._ask(MULTI_TEST, item=multi_test_id), MULTI_TEST)

    async def multi_tests(self, workspace: int, *, skip: int = 0) -> ListReply[SuiteDescription]:
        """Return a page of the multi-tests of a workspace."""
        query = {"workspaceId": workspace, "limit": PAGE, "skip": skip}
        return await self._ask(MULTI_TESTS, query=query)

    def refuses(self, outcome: object) -> bool:
        """Return whether a call failed because an accepted key has no permission for it."""
        return isinstance(outcome, CallError) and outcome.status in _REFUSED and not self.guard.open

    def lacks(self, outcome: object) -> bool:
        """Return whether a call failed because its item does not exist or is denied to this key."""
        return isinstance(outcome, NotFoundError) or self.refuses(outcome)

    async def locations(
        self, workspace: int, *, skip: int = 0
    ) -> tuple[ListReply[Location], float | None]:
        """Read a page of the private locations of a workspace, with their agents.

        Returns:
            The page, and the time of the reply by the vendor's clock as a Unix timestamp.
        """
        query = {"workspaceId": workspace, "limit": LOCATIONS_PAGE, "skip": skip}
        return await self._ask_dated(LOCATIONS, query=query)

    async def location(
        self, location_id: str, *, seen: Seen | None = None
    ) -> tuple[Location, float | None]:
        """Read one private location with its agents.

        Returns:
            The location, and the time of the reply by the vendor's clock as a Unix timestamp.
        """
        reply, date = await self._ask_dated(LOCATION, item=location_id, seen=seen)
        # The vendor's reference documents a list with one location in it.
        result = reply.result[:1] if isinstance(reply.result, tuple) else (reply.result,)
        return next(iter(result), None) or Location(), date

    async def ships(
        self, location_id: str, *, seen: Seen | None = None
    ) -> tuple[tuple[Ship, ...], float | None]:
        """Read the agents of one private location.

        Returns:
            The agents, and the time of the reply by the vendor's clock as a Unix timestamp.
        """
        reply, date = await self._ask_dated(SHIPS, item=location_id, seen=seen)
        return reply.result or (), date

    async def prove(self) -> None:
        """Make the call that the vendor recommends to find out whether it accepts the key."""
        await self._attempt(USER, target_of(USER, "", {}), None)

    async def _ask(
        self,
        operation: Operation[E],
        *,
        item: str = "",
        query: Mapping[str, str | int] | None = None,
        priority: Priority = Priority.NORMAL,
        seen: Seen | None = None,
    ) -> E:
        reply, _ = await self._ask_dated(
            operation, item=item, query=query, priority=priority, seen=seen
        )
        return reply

    async def _ask_dated(
        self,
        operation: Operation[E],
        *,
        item: str = "",
        query: Mapping[str, str | int] | None = None,
        priority: Priority = Priority.NORMAL,
        seen: Seen | None = None,
    ) -> tuple[E, float | None]:
        """Make a call, and return the answer with the date of the reply."""
        target = target_of(operation, item, query or {})
        denial = self._denials.get(target)
        if (
            denial is not None
            and self._clock.monotonic() < denial.until
            and denial.fingerprint == self._credentials.fingerprint()
        ):
            # Each denied call costs a proof, and the guard allows few proofs in a minute. Without
            # this pause, workspaces without permission would keep the others from being read.
            raise denial.error()
        try:
            return await self.guard.call(
                lambda: self._attempt(operation, target, seen), priority=priority
            )
        except CallError as error:
            if error.status in _REFUSED and not self.guard.open:
                self._deny(target, error)
            raise

    def _deny(self, target: str, error: CallError) -> None:
        now = self._clock.monotonic()
        self._denials = {each: old for each, old in self._denials.items() if now < old.until}
        self._denials[target] = _Denial(
            until=now + self.settings.auth_retry,
            fingerprint=self._credentials.fingerprint(),
            error=partial(CallError, error.reason, str(error), status=error.status),
        )

    async def _attempt(
        self, operation: Operation[E], target: str, seen: Seen | None
    ) -> tuple[E, float | None]:
        try:
            with self.context.telemetry.request(operation.name):
                reply = await self.http.send(self._request(operation, target))
                if seen is not None:
                    seen(reply.body)
                answer = self._judge(operation, reply)
        except SuspectError:
            self._credentials.refresh()
            raise
        return answer, reply.date_seconds

    def _request(self, operation: Operation[Any], target: str) -> Call:
        return Call(
            operation=operation.name,
            method="GET",
            url=self._base + target,
            headers={"authorization": self._credentials.authorization()},
        )

    def _judge(self, operation: Operation[E], reply: Reply) -> E:
        """Return the answer, or raise for an error in the HTTP status or in the body."""
        name = operation.name
        if reply.status == 404 and operation is not USER:  # 404 for the user means a wrong URL
            raise NotFoundError(Reason.HTTP_4XX, f"{name}: no such item (404)", status=404)
        if (error := status_error(name, reply)) is not None:
            raise suspected(error)
        answer = decode(reply.body, operation.reply, operation=name, surprise=self.surprise)
        if answer.error is not None:
            raise _error_in_reply(name, answer.error)
        if answer.lacks_result:
            self.surprise("missing_field")
            raise CallError(Reason.DECODE, f"{name}: the reply lacks its result", status=200)
        return answer


def _single(
    reply: Envelope[SuiteDescription | tuple[SuiteDescription, ...]], operation: Operation[Any]
) -> SuiteDescription:
    """Return the description from a reply; an empty array means that there is no such item."""
    if not isinstance(reply.result, tuple):
        return reply.result or SuiteDescription()
    if not reply.result:
        raise NotFoundError(Reason.HTTP_4XX, f"{operation.name}: no such item", status=200)
    return reply.result[0]


def _error_in_reply(name: str, error: Any) -> PollError:
    """Return the exception for an error in the body of a reply with status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    text = f"{name}: the reply is error {code}"
    if isinstance(code, int) and code in _REFUSED:
        return SuspectError(CallError(_REFUSED[code], text, status=code))
    if code == 404 or "not found" in str(message).casefold():
        return NotFoundError(Reason.HTTP_4XX, f"{name}: no such item (error 404)", status=200)
    if not isinstance(code, int) or not 0 <= code < 1000:
        return CallError(Reason.API_ERROR, f"{name}: the reply is an error", status=200)
    return CallError(Reason.API_ERROR, text, status=200)
