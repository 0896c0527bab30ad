"""The suspects of a guard: calls that may have been refused, and the verdicts on them."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from exporter.errors import CallError, PollError, SuspectError
from exporter.lockout.record import Answer, Phase, Suspect, digest


T = TypeVar("T")

_DIGITS = re.compile(r"\d+")


class _Undecided(msgspec.Struct, kw_only=True):
    """A suspect that waits for a verdict.

    Attributes:
        proofs: Number of proofs decided when the ledger got the suspect.
    """

    suspect: Suspect
    verdict: asyncio.Future[Exception | None]
    proofs: int = 0


class Confirmation(msgspec.Struct, kw_only=True):
    """A second poll of a target; `done` resolves with its outcome, `None` if it was not run."""

    suspect: Suspect
    attempt: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]


class Suspicions:
    """The suspects of one guard: first news for the ledger, then undecided, then to be confirmed.

    Attributes:
        news: Suspects that are not reported to the ledger yet.
        confirmations: Cleared suspects whose kind of error the ledger does not know yet.
    """

    def __init__(self) -> None:
        self.news: list[_Undecided] = []
        self.confirmations: deque[Confirmation] = deque()
        self._undecided: list[_Undecided] = []

    @property
    def waits(self) -> bool:
        """True while a suspect waits for a verdict."""
        return bool(self.news or self._undecided)

    def add(self, kind: str, target: str) -> asyncio.Future[Exception | None]:
        """Note a reply that looks like a refusal.

        Returns:
            A future that resolves with the refusal, or with `None` if the credentials are accepted.
        """
        verdict: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.news.append(_Undecided(suspect=suspect_of(kind, target), verdict=verdict))
        return verdict

    def confirm(
        self, kind: str, target: str, attempt: Callable[[], Awaitable[T]]
    ) -> asyncio.Future[T | None]:
        """Queue a second poll of a target.

        Returns:
            A future that resolves with the attempt's result, or with `None` if it was not run.
        """
        done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        suspect = suspect_of(kind, target)
        self.confirmations.append(Confirmation(suspect=suspect, attempt=attempt, done=done))
        return done

    def reported(self, count: int, answer: Answer) -> None:
        """Move the first `count` suspects from the news to the undecided: the ledger has them."""
        for each in self.news[:count]:
            each.proofs = answer.proofs
        self._undecided += [each for each in self.news[:count] if not each.verdict.done()]
        del self.news[:count]

    def settle(
        self, answer: Answer, verdict: Callable[[Answer], Exception | None], *, closed: bool
    ) -> None:
        """Resolve the suspects and drop the confirmations that the answer decides."""
        waiting, self._undecided = self._undecided, []
        for each in waiting:
            harmless = each.suspect.kind in answer.harmless
            unproven = answer.phase is Phase.SUSPECT or answer.proofs == each.proofs
            if unproven and not harmless and answer.phase is not Phase.OPEN and not answer.full:
                each.proofs = answer.proofs
                self._undecided.append(each)
            else:
                resolve(each.verdict, None if harmless else verdict(answer))
        no_room = len(answer.suspects) + len(answer.doubts) > answer.room
        confirmations, self.confirmations = self.confirmations, deque()
        for confirmation in confirmations:
            known = confirmation.suspect.kind in answer.harmless
            if known or no_room or answer.full or answer.phase is not Phase.PROVEN or closed:
                resolve(confirmation.done, None)
            else:
                self.confirmations.append(confirmation)

    def abandon(self, verdict: Callable[[], Exception]) -> None:
        """Fail all suspects; suspects that are not reported to the ledger yet stay news for it."""
        for each in (*self._undecided, *self.news):
            resolve(each.verdict, verdict())
        self._undecided = []

    def drop_confirmations(self) -> None:
        """Cancel the queued second polls, so that their targets keep the first errors."""
        while self.confirmations:
            resolve(self.confirmations.popleft().done, None)


def suspect_of(kind: str, target: str) -> Suspect:
    """Return a suspect for the ledger; digests, because the vendor's texts may be confidential."""
    return Suspect(kind=kind and digest(_DIGITS.sub("", kind)), target=digest(target))


def in_doubt(error: Exception) -> bool:
    """Return whether a call may have been refused although its error does not say so."""
    # Any other class of error is a bug in the exporter, which may have hidden any answer.
    return not isinstance(error, PollError) or (isinstance(error, CallError) and error.unread)


def is_refusal(failure: Exception | None) -> bool:
    """Return whether a proof's error says that the credentials were refused."""
    return isinstance(failure, SuspectError) or (
        isinstance(failure, CallError) and failure.status in (401, 403)
    )


def is_lost(error: Exception | None) -> bool:
    """Return whether a call's connection was lost, so that the call may be sent again."""
    return isinstance(error, CallError) and error.lost


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set a future's result, unless the future is done or cancelled."""
    if not future.done():
        future.set_result(value)
