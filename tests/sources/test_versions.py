from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.sources.versions import older


# The machine's speed is not what is tested.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("version", "minimum", "expected"),
    [
        ("4.8.9", "4.8.24", True),
        ("4.8.24", "4.8.9", False),
        ("4.8.24", "4.8.24", False),
        ("4.8", "4.8.0", False),
        ("4.8.0", "4.8", False),
        ("4.8", "4.8.1", True),
        ("4.10", "4.9.9", False),
        ("0.2.0", "10", True),
        ("v4.8.9", "4.8.9", False),
        ("4.8.9-beta", "4.8.9", False),
        ("4.8.9.RELEASE", "4.8.10", True),
        ("4.8.9 (build 7)", "4.8.10", True),
        ("4.8.9_7", "4.8.10", True),
        (" 4.8.9\n", "4.8.9", False),
        ("04.08.09", "4.8.9", False),
    ],
)
def test_compares_number_by_number(version: str, minimum: str, *, expected: bool) -> None:
    """Versions have the order of their numbers, not of their text."""
    assert expected is older(version, minimum)


@pytest.mark.parametrize("unreadable", ["", "unknown", "4..8", ".4", "4.", "٤.٨", "9" * 5000])
def test_knows_nothing_about_what_it_cannot_read(unreadable: str) -> None:
    """An unreadable version is neither older nor newer, on either side."""
    assert older(unreadable, "4.8.24") is None
    assert older("4.8.24", unreadable) is None


@patient
@given(st.text(), st.text())
def test_takes_any_text(version: str, minimum: str) -> None:
    """No text makes the comparison raise."""
    assert older(version, minimum) in (True, False, None)


_numbers = st.lists(st.integers(0, 10**6), min_size=4, max_size=4)


@patient
@given(_numbers, _numbers)
def test_orders_like_tuples(left: list[int], right: list[int]) -> None:
    """Versions of equal length are ordered as their numbers are."""
    assert (left < right) is older(".".join(map(str, left)), ".".join(map(str, right)))
