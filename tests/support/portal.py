"""A portal that counts refusals like a real one that locks out, in simulated time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.lockout.guard import Guard
from exporter.lockout.keeper import Participant
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from exporter.lockout.ledger import Ledger
    from tests.support.clock import FakeClock


OWN = "the call's own error"

REFUSAL = "answered with an error"


class Portal:
    """Accepts some secrets, and is called through a guard.

    Attributes:
        secret: The secret of the calls.
        accepted: The accepted secrets.
        refusal: The text of a refusal.
        refusals: The times of refused calls.
        busiest: The most calls under way at once.
        proofs: The number of proofs.
        down: The error that proofs end with instead of an answer.
        lost: The error that accepted or refused calls end with instead of an answer.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.secret = "a"
        self.accepted = {"a"}
        self.refusal = REFUSAL
        self.refusals: list[float] = []
        self.busiest = 0
        self.proofs = 0
        self.down: Exception | None = None
        self.lost: CallError | None = None
        self._there = 0
        self._errors = 0

    def guard(
        self, ledger: Ledger | None = None, *, concurrency: int = 3, retry_seconds: float = 300
    ) -> Guard:
        """Make a guard in front of the portal."""
        return Guard(
            Participant(
                concurrency=concurrency,
                retry_seconds=retry_seconds,
                proof=self.proof,
                fingerprint=lambda: self.secret,
                ledger=ledger or ledger_of(self.clock),
                clock=self.clock.clock,
            )
        )

    def restore(self, secret: str) -> None:
        """Accept a secret; later refusals have another text.

        With the same text, after an accepted proof, a refusal would count as the harmless error of
        a broken target; the guard does not promise to tell these apart.
        """
        self.accepted.add(secret)
        self.refusal += "!"

    @property
    def most_in_a_minute(self) -> int:
        """The largest number of refusals in any 60 seconds."""
        return max(
            (
                sum(first <= other <= first + 60.0 for other in self.refusals)
                for first in self.refusals
            ),
            default=0,
        )

    async def proof(self, secret: str = "", there: float = 0.1) -> None:
        """Answer the cheapest call."""
        self.proofs += 1
        if self.down is not None:
            await self.clock.clock.sleep(0.1)
            raise self.down
        await self.ping(there, 0.1, secret=secret)

    async def ping(
        self,
        there: float = 0.1,
        back: float = 0.1,
        *,
        own: str = "",
        lost: CallError | None = None,
        secret: str = "",
    ) -> str:
        """Answer a call.

        Args:
            there: Seconds until the call is accepted or refused.
            back: Seconds from then until the answer arrives.
            own: The text of the call's own error, which looks like a refusal.
            lost: The error that the call ends with instead of an answer.
            secret: The secret of the call, if not the portal's.
        """
        secret = secret or self.secret
        self._there += 1
        self.busiest = max(self.busiest, self._there)
        try:
            await self.clock.clock.sleep(there)
            accepted, refusal = secret in self.accepted, self.refusal
            if not accepted:
                self.refusals.append(self.clock.monotonic)
            await self.clock.clock.sleep(back)
        finally:
            self._there -= 1
        lost = lost or self.lost
        if lost is not None:
            raise lost
        if not accepted:
            raise SuspectError(CallError(Reason.API_ERROR, refusal))
        if own:
            raise SuspectError(CallError(Reason.API_ERROR, own))
        return "pong"

    async def babble(self) -> str:
        """Answer a call with another error each time."""
        self._errors += 1
        return await self.ping(own="x" * self._errors)


def begin(guard: Guard, attempt: Any, number: int, **fields: Any) -> list[asyncio.Task[Any]]:
    """Begin many calls at once."""
    return [asyncio.create_task(guard.call(attempt, **fields)) for _ in range(number)]


async def end(clock: FakeClock, tasks: list[asyncio.Task[Any]], seconds: float = 30.0) -> list[str]:
    """Let time pass, and return how the calls ended: their result, or their reason."""
    await clock.advance(seconds)
    return [ending(task) for task in tasks]


def ending(task: asyncio.Task[Any]) -> str:
    """Return how a call ended."""
    if not task.done():
        return "under way"
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is None:
        return str(task.result())
    assert isinstance(error, PollError), repr(error)
    sent = "" if isinstance(error, CallError) else "not sent: "
    return f"{sent}{error.reason}"
