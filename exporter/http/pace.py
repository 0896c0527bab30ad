"""The pace of calls: the configured budget of calls, and the pauses that a vendor asks for.

A vendor counts the calls of an account. So all processes that share the state keep to one budget
and one pause per account, also over restarts: the state has one record for each API's origin and
credentials. When the credentials change, the tokens of the old record are copied into the new one,
because the account may still be the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from exporter.errors import StateError
from exporter.http import tokens
from exporter.http.exchange import http_date
from exporter.http.tokens import MAX_PAUSE_SECONDS, MINUTE_SECONDS, Wish
from exporter.state.base import State, salt


if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.http.tokens import Answer


#: The first pause after a 429 without `Retry-After`; each further pause in a row is twice as long.
FIRST_PAUSE_SECONDS = 5.0

#: The longest pause after a 429 without `Retry-After`.
MAX_UNASKED_PAUSE_SECONDS = 300.0

#: Interval at which a process without a budget checks whether the vendor asked another process for
#: a pause.
LOOK_SECONDS = 1.0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a vendor, whose pace all processes share through the state.

    Attributes:
        state: Holds the record of the pace.
        url: The URL of the API, of which only the origin counts.
        fingerprint: Returns a hash of the current credentials, empty while they cannot be read.
        members: Returns the last seen number of processes that call.
    """

    state: State
    url: str
    fingerprint: Callable[[], str]
    members: Callable[[], int] = lambda: 1


class Pace:
    """The pace of one client: calls start one after the other, in the order of their arrival.

    Each call takes a token of the budget, which comes back 60 seconds later. So no 60 seconds have
    more calls than the budget. While the tokens of other processes are unknown, and for a minute
    after, each process takes an equal part of the budget.

    Attributes:
        until: The end of the pause, on the monotonic clock.
    """

    def __init__(
        self, requests_per_minute: int | None, *, clock: Clock, account: Account | None = None
    ) -> None:
        """Prepare the pace.

        Args:
            requests_per_minute: The budget; without a budget only pauses delay calls.
            clock: The source of time.
            account: The account that shares the pace; without it, the pace is not shared.
        """
        self._wish = (
            None
            if requests_per_minute is None
            else Wish(
                participant=uuid.uuid4().hex,
                budget=min(requests_per_minute, tokens.LARGEST_BUDGET),
            )
        )
        self._clock = clock
        self._account = account
        # Wakes the waiting calls in the order of their arrival.
        self._queue = asyncio.Lock()
        #: The state's clock minus the monotonic clock.
        self._offset = clock.time() - clock.monotonic()
        self._divided_until = self._checked = self._salted = float("-inf")
        self._salt = b""
        self._fingerprint = ""
        self._unasked = 0
        self._begun = float("-inf")
        self.until = float("-inf")

    @property
    def left(self) -> float:
        """The rest of the pause, in seconds."""
        return max(0.0, self.until - self._clock.monotonic())

    async def take(self, *, patience_seconds: float) -> bool:
        """Wait for the end of the pause and for a token, and take the token.

        Returns:
            Whether the call may be sent; false if the pause lasts longer than `patience_seconds`.
        """
        if self.left > patience_seconds:
            return False
        async with self._queue:
            while True:
                wait = self.left or await self._ask()
                # A reply to another call may have started a pause; this call's token stays taken.
                wait = max(wait, self.left)
                if self.left > patience_seconds:
                    return False
                if not wait:
                    return True
                await self._clock.sleep(wait)

    @property
    def is_open(self) -> bool:
        """True if a call may start without `take`: no budget, no pause, and no queued call.

        False when it is time to check whether the vendor asked another process for a pause.
        """
        if self._wish is not None or self._queue.locked():
            return False
        now = self._clock.monotonic()
        return now >= self.until and not self._is_check_due(now)

    async def pause(self, asked_seconds: float | None, *, sent: float) -> None:
        """Start or prolong the pause.

        Args:
            asked_seconds: The pause that the vendor asked for, if it named one.
            sent: When the call was sent, by the monotonic clock. Several calls in flight can get
                the same answer; only a call sent after the pause began makes the next pause longer.
        """
        if asked_seconds is None:
            if self._unasked == 0 or sent >= self._begun:
                self._unasked += 1
                self._begun = self._clock.monotonic()
            doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(self._unasked - 1, 16)
            asked_seconds = min(doubled, MAX_UNASKED_PAUSE_SECONDS)
        asked_seconds = min(asked_seconds, MAX_PAUSE_SECONDS)
        self._hold(asked_seconds)
        if self._account is not None and asked_seconds:
            with suppress(StateError):
                change = partial(tokens.pause, seconds=asked_seconds)
                await self._account.state.update(await self._key(self._account), change)

    def relent(self, *, sent: float) -> None:
        """Reset the length of pauses after a good reply to a call sent at `sent`."""
        if sent >= self._begun:
            self._unasked = 0

    async def _ask(self) -> float:
        """Return the seconds until the next try; 0 if a token was taken and the call may start."""
        if self._wish is None:
            await self._check_pause()
            return self.left
        answer = await self._answer(self._wish)
        self._wish = answer.wish
        self._offset = answer.now - self._clock.monotonic()
        self._hold(answer.pause_seconds)
        return answer.wait_seconds

    async def _answer(self, wish: Wish) -> Answer:
        if self._account is not None:
            try:
                key = await self._key(self._account)
                change = partial(tokens.take, wish=self._divided(wish, self._account))
                return await self._account.state.update(key, change)
            except StateError:
                self._divided_until = self._clock.monotonic() + MINUTE_SECONDS
                wish = self._divided(wish, self._account)
        return tokens.take(None, self._clock.monotonic() + self._offset, wish=wish)[1]

    def _divided(self, wish: Wish, account: Account) -> Wish:
        now = self._clock.monotonic()
        if not account.state.whole:
            self._divided_until = now + MINUTE_SECONDS
        members = max(1, account.members()) if now < self._divided_until else 0
        return msgspec.structs.replace(wish, members=members)

    async def _check_pause(self) -> None:
        """Read whether the vendor asked another process for a pause, if `LOOK_SECONDS` passed."""
        now = self._clock.monotonic()
        if self._account is None or not self._is_check_due(now):
            return
        self._checked = now
        with suppress(StateError):
            document = await self._account.state.get(await self._key(self._account))
            state_now = self._account.state.now()
            record = None if document is None else tokens.decoded(document.value)
            if record is not None and state_now is not None:
                self._hold(record.pause_seconds(state_now))

    def _is_check_due(self, now: float) -> bool:
        return self._account is not None and now - self._checked >= LOOK_SECONDS

    async def _key(self, account: Account) -> str:
        now = self._clock.monotonic()
        # A store that lost its data or was unreachable may have another salt now.
        if not account.state.whole or now - self._salted >= MINUTE_SECONDS:
            self._salt = await salt(account.state)
            self._salted = now
        self._fingerprint = account.fingerprint() or self._fingerprint
        parts = urlsplit(account.url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        text = f"{parts.scheme}://{parts.hostname}:{port} {self._fingerprint}"
        content = text.encode(errors="surrogatepass")
        hashed = hashlib.blake2b(content, key=self._salt, digest_size=12)
        return f"pace/{hashed.hexdigest()}"

    def _hold(self, seconds: float) -> None:
        if seconds > 0:
            self.until = max(self.until, self._clock.monotonic() + seconds)


def retry_after(value: str | None, *, clock: Clock) -> float | None:
    """Return the pause of a `Retry-After` header, which is seconds or a date (RFC 9110, 10.2.3).

    Returns:
        Seconds from now, between 0 and `MAX_PAUSE_SECONDS`; `None` without a valid header.
    """
    text = (value or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        # Ten digits are far more than the limit, and far fewer than int() rejects.
        return min(float(f"0{text.lstrip('0')[:10]}"), MAX_PAUSE_SECONDS)
    date = http_date(text)
    if date is None:
        return None
    return min(max(date - clock.time(), 0.0), MAX_PAUSE_SECONDS)
