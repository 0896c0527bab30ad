"""A token bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


class Bucket:
    """Lets `burst` through at once, and then one per interval."""

    def __init__(
        self, *, interval_seconds: float, burst: int, monotonic: Callable[[], float]
    ) -> None:
        self._interval_seconds = interval_seconds
        self._burst = burst
        self._monotonic = monotonic
        self._tokens = float(burst)
        self._filled = monotonic()

    def take(self) -> bool:
        """Take a token; there may be none."""
        now = self._monotonic()
        grown = (now - self._filled) / self._interval_seconds
        self._tokens = min(float(self._burst), self._tokens + grown)
        self._filled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
