"""The only way to the Remote User API: what may be sent, and what a reply means.

Every call goes through the lock-out guard, since five refused ones block the exporter's address
at the portal. As the reply to a bad token is not documented, whatever might be one is raised as a
suspect, and the guard finds out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.http import Call, HttpClient, Reply, status_error
from exporter.lockout.queue import Priority
from exporter.sources.base import Client, SourceContext
from exporter.sources.calls import suspected
from exporter.sources.decode import decode
from exporter.sources.realload import actions
from exporter.sources.realload.replies import Envelope, flag


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.realload.actions import Action, Flagged
    from exporter.sources.realload.settings import RealLoadSettings


R = TypeVar("R", bound=Envelope)


class Trace(msgspec.Struct, kw_only=True):
    """The wishes for one call, and how it went.

    Attributes:
        priority: Where to queue; targets that failed last time may not hold up the others.
        keeps_body: Whether the reply's body is wanted, for `explain`.
        suspect: Whether the reply looked like a refusal of the credentials.
        seconds: How long the call took, without the time in the queue and for our own budget.
        body: The reply's body, if it is wanted and there was one.
    """

    priority: Priority = Priority.NORMAL
    keeps_body: bool = False
    suspect: bool = False
    seconds: float = 0.0
    body: bytes = b""


class TargetTimeoutError(CallError):
    """A call that makes the portal call another machine did not come home in time."""


class RealLoadClient(Client):
    """Calls the portal of one source."""

    settings: RealLoadSettings

    def __init__(
        self, settings: RealLoadSettings, context: SourceContext, *, http: HttpClient
    ) -> None:
        super().__init__(settings, context, http=http, fingerprint=settings.token.fingerprint)
        self._proofs: tuple[Action[Any], ...] = (actions.ACCOUNT, actions.AGENTS)

    async def call(
        self,
        action: Action[R],
        fields: Mapping[str, Any] | None = None,
        *,
        trace: Trace | None = None,
    ) -> R | Flagged:
        """Call an action and judge its reply.

        Args:
            action: One of the module `actions`.
            fields: Its own request fields.
            trace: How to call; told how it went.

        Returns:
            The reply, or what a specific error flag says of the target.

        Raises:
            ValueError: The action is not on the allow-list; nothing was sent.
            PollError: There is no valid answer; `TargetTimeoutError` when that may be the
                target's doing.
        """
        if action.name not in actions.READ_ONLY:
            raise ValueError(f"{action.name} is not one of the read-only actions")
        trace, fields = trace or Trace(), fields or {}
        # Tokens are left out: a hash of the target is kept in the state, and some are short.
        told = (value for name, value in fields.items() if not name.endswith("Token"))
        return await self.guard.call(
            lambda: self._attempt(action, fields, trace),
            target=" ".join(map(str, (action.name, *told))),
            priority=trace.priority,
        )

    async def data(
        self,
        action: Action[R],
        fields: Mapping[str, Any] | None = None,
        *,
        trace: Trace | None = None,
    ) -> R:
        """Call an action that has no flags.

        Raises:
            PollError: There is no valid answer.
        """
        return cast("R", await self.call(action, fields, trace=trace))

    async def accepts(self) -> bool:
        """Return whether the portal accepts a cheap call now."""
        try:
            await self.call(self._proofs[0])
        except PollError:
            return False
        return True

    async def prove(self) -> None:
        """Find out with one cheap call whether the token is accepted.

        The reply of getUserAccountInfo is not documented, so a portal might not offer it and
        answer `isError` for that reason. A second call at once would be one more refused call if
        the token is bad after all. The two candidates therefore take turns: after such an
        ambiguous refusal the next proof, which the guard allows when `auth_retry` has passed, is
        the other action, and whichever was accepted stays. A portal without getUserAccountInfo
        thus costs one `auth_retry`, and a bad token never costs a second call.
        """
        try:
            await self._attempt(self._proofs[0], {}, Trace())
        except SuspectError as error:
            if error.own.reason not in (Reason.AUTH, Reason.ACCESS_DENIED):
                self._proofs = self._proofs[::-1]
            raise

    async def _attempt(
        self, action: Action[R], fields: Mapping[str, Any], trace: Trace
    ) -> R | Flagged:
        started, waited = self.context.clock.monotonic(), 0.0
        try:
            with self.context.telemetry.request(action.name):
                reply = await self.http.send(self._request(action.name, fields))
                waited = reply.waited_seconds
                if trace.keeps_body:
                    trace.body = reply.body
                answer = self._judge(action, reply)
        except SuspectError:
            trace.suspect = True
            self.settings.token.refresh()
            raise
        except CallError as error:
            asked = action.remote and error.sent
            if asked and error.reason is Reason.TIMEOUT and not error.hurried:
                raise TargetTimeoutError(error.reason, str(error)) from error
            raise
        finally:
            trace.seconds = self.context.clock.monotonic() - started - waited
        return answer

    def _request(self, name: str, fields: Mapping[str, Any]) -> Call:
        body = {
            **fields,
            **actions.FIXED.get(name, {}),
            "authTokenValue": self.settings.token.reveal(),
            "action": name,
        }
        return Call(
            operation=name,
            method="POST",
            url=self.settings.url,
            headers={"content-type": "application/json"},
            content=msgspec.json.encode(body),
        )

    def _judge(self, action: Action[R], reply: Reply) -> R | Flagged:
        """Return an answer or raise; the body decides if it can be read, whatever the status."""
        refusal = status_error(action.name, reply)
        try:
            answer = decode(reply.body, action.reply, operation=action.name, surprise=self.surprise)
        except CallError as error:
            raise suspected(refusal or error) from None
        is_error = flag(answer.is_error)
        has_data = not action.data or getattr(answer, action.data) is not None
        if has_data and is_error is False:
            return answer
        for field, meaning in actions.FLAGS.items():
            if getattr(answer, field, None):
                return meaning
        if action.data and has_data and (is_error is None or action.partial):
            return answer
        if is_error is False:
            self.surprise("missing_field")
            raise CallError(Reason.DECODE, f"{action.name}: the reply lacks its data")
        if refusal is not None and refusal.reason is Reason.RATE_LIMITED:
            raise refusal
        if is_error:
            own = refusal or CallError(Reason.API_ERROR, f"{action.name}: answered with isError")
            # The flags that tell more were looked at above.
            raise SuspectError(own, kind=f"isError {answer.generic_error_text} {reply.status}")
        if refusal is not None:
            raise suspected(refusal)
        # Neither data nor a word on errors: for all we know, this is how a bad token is refused.
        raise SuspectError(
            CallError(Reason.DECODE, f"{action.name}: the reply is not of the documented shape")
        )
