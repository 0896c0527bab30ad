"""Suspicions that the credentials are refused: calls whose ends allow that, and their verdicts."""

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
        proofs: How many had been decided when the ledger learnt of the suspect.
    """

    suspect: Suspect
    verdict: asyncio.Future[Exception | None]
    proofs: int = 0


class Confirmation(msgspec.Struct, kw_only=True):
    """A target that is to be asked once more; `done` resolves with the outcome, if it was."""

    suspect: Suspect
    attempt: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]


class Suspicions:
    """The suspects of one guard: news for the ledger first, then undecided, then to be confirmed.

    Attributes:
        news: Those that the ledger does not know of yet.
        confirmations: Those that were cleared and are of a kind that is new.
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
        """Take note of a reply that looks like a refusal.

        Returns:
            The verdict, when there is one: `None` says that the credentials are accepted.
        """
        verdict: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.news.append(_Undecided(suspect=suspect_of(kind, target), verdict=verdict))
        return verdict

    def confirm(
        self, kind: str, target: str, attempt: Callable[[], Awaitable[T]]
    ) -> asyncio.Future[T | None]:
        """Queue a target that is to be asked once more."""
        done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        suspect = suspect_of(kind, target)
        self.confirmations.append(Confirmation(suspect=suspect, attempt=attempt, done=done))
        return done

    def reported(self, count: int, answer: Answer) -> None:
        """Take note that the ledger knows the first of the news, and of its answer to them."""
        for each in self.news[:count]:
            each.proofs = answer.proofs
        self._undecided += [each for each in self.news[:count] if not each.verdict.done()]
        del self.news[:count]

    def settle(
        self, answer: Answer, verdict: Callable[[Answer], Exception | None], *, closed: bool
    ) -> None:
        """Tell the suspects apart as far as the answer decides about them."""
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
        """Fail all suspects; those that the ledger has not learnt of stay news for it."""
        for each in (*self._undecided, *self.news):
            resolve(each.verdict, verdict())
        self._undecided = []

    def drop_confirmations(self) -> None:
        """Let the targets that were to be asked once more keep their own errors."""
        while self.confirmations:
            resolve(self.confirmations.popleft().done, None)


def suspect_of(kind: str, target: str) -> Suspect:
    """Return what the ledger may know of a suspect: digests, since texts are the vendor's."""
    return Suspect(kind=kind and digest(_DIGITS.sub("", kind)), target=digest(target))


def in_doubt(error: Exception) -> bool:
    """Return whether a call may have been refused although its end does not say so."""
    # An error that is not ours is a bug, which may have hidden any answer.
    return not isinstance(error, PollError) or (isinstance(error, CallError) and error.unread)


def is_refusal(failure: Exception | None) -> bool:
    """Return whether the end of a proof says that the credentials were refused."""
    return isinstance(failure, SuspectError) or (
        isinstance(failure, CallError) and failure.status in (401, 403)
    )


def is_lost(error: Exception | None) -> bool:
    """Return whether a call was lost on the way and may be sent once more."""
    return isinstance(error, CallError) and error.lost


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Give a future its value, unless it was cancelled or has one."""
    if not future.done():
        future.set_result(value)
