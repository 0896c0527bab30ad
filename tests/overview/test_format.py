from __future__ import annotations

import math

import pytest

from exporter.overview import format as text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (math.nan, ""),
        (math.inf, "unlimited"),
        (0.0, "0 s"),
        (0.0123, "12.3 ms"),
        (1.25, "1.2 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (3_725.0, "1 h 2 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float | None, expected: str) -> None:
    """A duration is written in its two largest units."""
    assert expected == text.duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0.0, "0 s"), (-0.0, "0 s"), (1.5, "+1.5 s"), (-90.0, "\N{MINUS SIGN}1 min 30 s")],
)
def test_differences_have_a_sign(seconds: float | None, expected: str) -> None:
    """A clock's difference says its direction."""
    assert expected == text.signed(seconds)


def test_instants_are_utc() -> None:
    """Time stamps do not depend on the machine's zone."""
    assert "2023-11-14 22:13:20 UTC" == text.instant(1_700_000_000.9)


@pytest.mark.parametrize(("number", "expected"), [(0, "0 suites"), (1, "1 suite"), (2, "2 suites")])
def test_nouns_follow_numbers(number: int, expected: str) -> None:
    """Only one is singular."""
    assert expected == text.count(number, "suite")


def test_large_numbers_are_grouped() -> None:
    """Five thousand can be told from fifty thousand at a glance."""
    assert "5,000 targets" == text.count(5_000, "target")


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_read_as_a_sentence(words: list[str], expected: str) -> None:
    """Commas stand between all but the last two."""
    assert expected == text.listed(words)


@pytest.mark.parametrize(("code", "expected"), [("not_reachable", "not reachable"), (None, "")])
def test_codes_are_words(code: str | None, expected: str) -> None:
    """A reason is read as words, and nothing where there is none."""
    assert expected == text.words(code)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "just now"), (3.9, "3 s ago"), (90.0, "1 min 30 s ago"), (-1.0, "just now")],
)
def test_ages_are_whole_seconds(seconds: float, expected: str) -> None:
    """Nobody reads how many milliseconds ago something was."""
    assert expected == text.ago(seconds)
