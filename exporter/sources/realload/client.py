"""The client of the Remote User API; every call of this package goes through it.

Every call passes the lock-out guard, because the portal blocks the exporter's address after five
refused calls. The portal's reply to a bad token is not documented. The client therefore raises a
`SuspectError` for every reply that might be one, and the guard checks the token with a proof.
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
    """The options and the course of one call.

    Attributes:
        priority: The priority in the guard's queue; slow and failed targets have a lower one.
        keeps_body: Whether to keep the reply's body, for `explain`.
        suspect: Set to true if the reply looked like a refusal of the credentials.
        seconds: Set to the duration of the call, without the waits in the queue and for the
            request budget.
        body: Set to the reply's body, if it is to be kept.
    """

    priority: Priority = Priority.NORMAL
    keeps_body: bool = False
    suspect: bool = False
    seconds: float = 0.0
    body: bytes = b""


class TargetTimeoutError(CallError):
    """A call that makes the portal call another machine timed out."""


class RealLoadClient(Client):
    """The client of one source."""

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
            action: An action from the module `actions`.
            fields: The action's own request fields.
            trace: Options of the call; its other fields are set during the call.

        Returns:
            The reply, or the meaning of a specific error flag for the target.

        Raises:
            ValueError: The action is not on the allow-list; nothing was sent.
            PollError: There is no valid answer. A `TargetTimeoutError` if the target may be the
                cause.
        """
        if action.name not in actions.READ_ONLY:
            raise ValueError(f"{action.name} is not one of the read-only actions")
        trace, fields = trace or Trace(), fields or {}
        # Tokens are left out: the state keeps a hash of the target, and a short token could be
        # guessed from its hash.
        public = (value for name, value in fields.items() if not name.endswith("Token"))
        return await self.guard.call(
            lambda: self._attempt(action, fields, trace),
            target=" ".join(map(str, (action.name, *public))),
            priority=trace.priority,
        )

    async def data(
        self,
        action: Action[R],
        fields: Mapping[str, Any] | None = None,
        *,
        trace: Trace | None = None,
    ) -> R:
        """Return the reply of an action that has no error flags.

        Raises:
            PollError: There is no valid answer.
        """
        return cast("R", await self.call(action, fields, trace=trace))

    async def accepts(self) -> bool:
        """Return whether the portal accepts a cheap call made now."""
        try:
            await self.call(self._proofs[0])
        except PollError:
            return False
        return True

    async def prove(self) -> None:
        """Make one cheap call to find out whether the portal accepts the token.

        A portal that does not offer getUserAccountInfo may answer `isError` to it, which looks
        like a refusal. Calling a second action at once would cost another refused call if the
        token is bad. The two actions therefore take turns: after an ambiguous refusal the next
        proof, which the guard allows after `auth_retry`, uses the other action. An accepted
        action stays in use. A portal without getUserAccountInfo thus delays the source by one
        `auth_retry`, and a bad token never costs a second call.
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
        """Return the answer or raise; a readable body takes precedence over the HTTP status."""
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
            # The specific error flags have been checked above.
            raise SuspectError(own, kind=f"isError {answer.generic_error_text} {reply.status}")
        if refusal is not None:
            raise suspected(refusal)
        # Neither data nor `isError`: the portal may refuse a bad token in this way.
        raise SuspectError(
            CallError(Reason.DECODE, f"{action.name}: the reply is not of the documented shape")
        )
