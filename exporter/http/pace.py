"""The pace of calls: the budget of the configuration and the pauses a vendor asks for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from exporter.http.exchange import http_date


if TYPE_CHECKING:
    from exporter.clock import Clock


#: A vendor that asks for a longer pause is not taken at its word.
MAX_PAUSE_SECONDS = 3600.0

#: The first pause after a 429 without `Retry-After`; each further one in a row is twice as long …
FIRST_PAUSE_SECONDS = 5.0

#: … up to this.
MAX_UNASKED_PAUSE_SECONDS = 300.0

_MINUTE_SECONDS = 60.0


class Budget:
    """A bucket of tokens, each of which comes back 60 seconds after it was taken.

    So no 60 seconds see more calls than the bucket has tokens, also when they come at once.
    """

    def __init__(self, requests_per_minute: int | None, *, clock: Clock) -> None:
        self._size = requests_per_minute
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=requests_per_minute)
        # Wakes who waits in the order of their coming.
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a token and take it."""
        if self._size is None:
            return
        async with self._turn:
            while len(self._taken) == self._size:
                wait = self._taken[0] + _MINUTE_SECONDS - self._clock.monotonic()
                if wait <= 0:
                    break
                await self._clock.sleep(wait)
            self._taken.append(self._clock.monotonic())


class Pause:
    """The time until which a vendor wants no calls."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unasked = 0
        self._begun = float("-inf")
        self.until = float("-inf")

    @property
    def left(self) -> float:
        """Seconds that it still lasts."""
        return max(0.0, self.until - self._clock.monotonic())

    def begin(self, asked_seconds: float | None, *, sent: float) -> None:
        """Begin or prolong it.

        Args:
            asked_seconds: What the vendor asked for, if it did.
            sent: When the call was sent. Several calls can be under way and be answered alike;
                only those sent after the pause began make the next one longer.
        """
        now = self._clock.monotonic()
        if asked_seconds is None:
            if self._unasked == 0 or sent >= self._begun:
                self._unasked += 1
                self._begun = now
            doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(self._unasked - 1, 16)
            asked_seconds = min(doubled, MAX_UNASKED_PAUSE_SECONDS)
        self.until = max(self.until, now + min(asked_seconds, MAX_PAUSE_SECONDS))

    def relent(self, *, sent: float) -> None:
        """Take note of a good answer to a call sent then."""
        if sent >= self._begun:
            self._unasked = 0


def retry_after(value: str | None, *, clock: Clock) -> float | None:
    """Read a `Retry-After` header, which holds seconds or a date (RFC 9110, 10.2.3).

    Returns:
        Seconds from now, between 0 and `MAX_PAUSE_SECONDS`, or `None` when there is none.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Ten digits are far above the limit and far below what int() refuses.
        return min(float(f"0{text.lstrip('0')[:10]}"), MAX_PAUSE_SECONDS)
    date = http_date(text)
    if date is None:
        return None
    return min(max(date - clock.time(), 0.0), MAX_PAUSE_SECONDS)
