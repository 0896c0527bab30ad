"""Refusals of the last minute, per account.

Kept outside the guard, because a reload replaces the guard while the vendor goes on counting.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Protocol


class Waiting(Protocol):
    """A guard whose calls may go on when another guard's call has ended."""

    def pump(self) -> None:
        """Do whatever can be done now."""
        ...


class Ledger:
    """The calls of one account that the vendor may have refused; it outlives the guard.

    Attributes:
        suspects: When replies that may be refusals came home.
        unanswered: When calls ended without a readable answer, since the last accepted one.
        in_flight: Calls under way, those of a guard that is being replaced included.
        open_until: When the next proof may be sent; `None` while nothing is held back.
        refused: Whether it is open because a proof was refused.
        fingerprint: Of the secret that was refused.
        guards: Told whenever a call has ended.
    """

    def __init__(self) -> None:
        self.suspects: deque[float] = deque()
        self.unanswered: list[float] = []
        self.in_flight = 0
        self.open_until: float | None = None
        self.refused = False
        self.fingerprint = ""
        self.guards: weakref.WeakSet[Waiting] = weakref.WeakSet()

    def forget_before(self, moment: float) -> None:
        """Drop what the vendor no longer counts either."""
        while self.suspects and self.suspects[0] <= moment:
            self.suspects.popleft()
        if self.unanswered and min(self.unanswered) <= moment:
            self.unanswered = [home for home in self.unanswered if home > moment]

    def accepted(self, sent: float) -> None:
        """Take note that a call sent then was accepted."""
        if self.unanswered:
            self.unanswered = [home for home in self.unanswered if home > sent]

    @property
    def used(self) -> int:
        """Calls of the last minute that may have been refused."""
        return len(self.suspects) + len(self.unanswered)


class Ledgers:
    """The ledgers of all sources, kept by the daemon over reloads."""

    def __init__(self) -> None:
        self._ledgers: dict[tuple[str, str, str], Ledger] = {}

    def of(self, provider: str, url: str, name: str) -> Ledger:
        """Return the ledger of a source, made at the first call."""
        return self._ledgers.setdefault((provider, url, name), Ledger())
