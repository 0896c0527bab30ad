from __future__ import annotations

from exporter.sources.blazemeter.memory import MOST, newest


def test_is_whole_up_to_its_bound() -> None:
    """Below the bound, nothing may be dropped or reordered."""
    items = [3, 1, 2]

    assert (3, 1, 2) == newest(items, float)


def test_drops_the_oldest_beyond_its_bound() -> None:
    """The newest are kept in the order they came in, and no more than there is room for."""
    items = [7, *range(10, MOST + 10), 8, 9]

    assert tuple(range(10, MOST + 10)) == newest(items, float)


def test_keeps_its_bound_among_equals() -> None:
    """Items of one age are no excuse."""
    assert MOST == len(newest([1] * (MOST + 5), float))
