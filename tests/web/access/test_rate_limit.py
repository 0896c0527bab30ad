from __future__ import annotations

from exporter.web.access.rate_limit import Bucket
from tests.support.clock import FakeClock


def test_lets_a_burst_through_and_then_one_per_interval() -> None:
    """What stands in `rate_limit` is what happens."""
    clock = FakeClock()
    bucket = Bucket(interval_seconds=2.0, burst=3, monotonic=clock.clock.monotonic)

    burst = [bucket.take() for _ in range(4)]
    clock.shift(1.0)
    too_soon = bucket.take()
    clock.shift(1.0)
    later = [bucket.take(), bucket.take()]
    clock.shift(3_600.0)
    rested = [bucket.take() for _ in range(4)]

    assert [True, True, True, False] == burst
    assert not too_soon
    assert [True, False] == later
    assert [True, True, True, False] == rested
