"""Admission of requests: passwords with bcrypt hashes, and a token bucket.

Neither the responses nor their duration reveal which user names exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

import bcrypt


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor


#: The length of a password that bcrypt uses.
_SEEN_BYTES = 72

#: How many right and how many wrong passwords are remembered.
_REMEMBERED = 100

#: The limit of passwords that wait for a comparison, which takes long.
_WAITING = 32


class TooManyLoginsError(Exception):
    """Too many passwords wait for a comparison."""


class Users:
    """Names and hashes of users, and the outcomes of the newest comparisons.

    The password of an unknown name is compared with the hash of a known user, and then refused. So
    it takes as long as for a known name. The name determines that user, because hashes can differ
    in cost.
    """

    def __init__(
        self,
        hashes: Mapping[str, str],
        *,
        executor: Executor,
        compare: Callable[[bytes, bytes], bool] = bcrypt.checkpw,
    ) -> None:
        """Create the users.

        Args:
            hashes: Bcrypt hashes by name, at least one.
            executor: Runs the comparisons; with one thread, one at a time.
            compare: Compares a password with a hash.
        """
        self._hashes = {name: text.encode() for name, text in hashes.items()}
        self._all = list(self._hashes.values())
        self._executor = executor
        self._compare = compare
        # The key of the hashes under which outcomes are remembered, so that no password is stored.
        self._key = secrets.token_bytes(32)
        # Separate by outcome, so that many wrong passwords do not displace right ones.
        self._known: Mapping[bool, OrderedDict[bytes, None]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }
        self._comparing: dict[bytes, asyncio.Task[bool]] = {}

    def remember(self, name: str, password: bytes) -> bool | None:
        """Return the outcome of an earlier comparison, `None` if none is remembered."""
        ticket = self._ticket(name, password)
        for outcome, tickets in self._known.items():
            if ticket in tickets:
                tickets.move_to_end(ticket)
                return outcome
        return None

    async def admit(self, name: str, password: bytes) -> bool:
        """Return whether the password is the user's.

        Raises:
            TooManyLoginsError: Too many passwords wait for a comparison.
        """
        remembered = self.remember(name, password)
        if remembered is not None:
            return remembered
        ticket = self._ticket(name, password)
        task = self._comparing.get(ticket)
        if task is None:
            if len(self._comparing) >= _WAITING:
                raise TooManyLoginsError
            task = asyncio.create_task(self._find_out(ticket, name, password))
            self._comparing[ticket] = task
            task.add_done_callback(lambda _: self._comparing.pop(ticket, None))
        # Shielded, because several requests can wait for the same comparison.
        return await asyncio.shield(task)

    async def _find_out(self, ticket: bytes, name: str, password: bytes) -> bool:
        hashed = self._hashes.get(name)
        equal = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._compare, password[:_SEEN_BYTES], hashed or self._stand_in(name)
        )
        admitted = equal and hashed is not None
        tickets = self._known[admitted]
        tickets[ticket] = None
        if len(tickets) > _REMEMBERED:
            tickets.popitem(last=False)
        return admitted

    def _stand_in(self, name: str) -> bytes:
        number = int.from_bytes(self._ticket(name, b"")[:8])
        return self._all[number % len(self._all)]

    def _ticket(self, name: str, password: bytes) -> bytes:
        # No name contains a colon, so two different pairs never give the same text.
        pair = name.encode("utf-8", "surrogateescape") + b":" + password
        return hashlib.blake2b(pair, key=self._key, digest_size=32).digest()


class Bucket:
    """A token bucket: `burst` tokens at once, then one per interval."""

    def __init__(
        self, *, interval_seconds: float, burst: int, monotonic: Callable[[], float]
    ) -> None:
        self._interval_seconds = interval_seconds
        self._burst = burst
        self._monotonic = monotonic
        self._tokens = float(burst)
        self._filled = monotonic()

    def take(self) -> bool:
        """Take a token.

        Returns:
            Whether there was a token.
        """
        now = self._monotonic()
        grown = (now - self._filled) / self._interval_seconds
        self._tokens = min(float(self._burst), self._tokens + grown)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
