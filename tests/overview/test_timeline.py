from __future__ import annotations

import pytest

from exporter.fleet.readings import Outcome
from exporter.history.records import HOUR, Condition, Records, SuiteResult, Tally, Transition
from exporter.history.summary import summarized
from exporter.overview.timeline import (
    RUN_HEIGHT,
    SHOWN_RUNS,
    SHOWN_TRANSITIONS,
    Past,
    past,
    percent,
    strip,
)


#: The end of an hour, so that a day has 24 whole hours.
NOW = 500_000.0 * HOUR - 1


def at(hours_ago: float, condition: str) -> Transition:
    return Transition(timestamp_seconds=NOW - hours_ago * HOUR, condition=Condition(condition))


def drawn(*transitions: Transition, down: int = 0, kind: str = "agent") -> Past:
    """Draw a day with a reading in every hour, so many of them down."""
    hours = {499_976 + hour: Tally(up=hour >= down, down=hour < down) for hour in range(24)}
    return past(summarized(Records(transitions=transitions, hours=hours), NOW), kind, NOW)


@pytest.mark.parametrize(
    ("up", "readings", "expected"),
    [(3, 3, "100 %"), (0, 3, "0 %"), (99_999, 100_000, "99.99 %"), (719, 720, "99.86 %")],
)
def test_only_a_whole_is_a_hundred_percent(up: int, readings: int, expected: str) -> None:
    """A single failure in a hundred thousand readings must not vanish by rounding."""
    assert expected == percent(up, readings)


def test_a_bar_has_a_path_for_each_state() -> None:
    """Up is half as high as down; a day is 720 wide, so 6 hours are 180."""
    bar = drawn(at(30, "up"), at(6, "down")).bars[0]

    up, down = dict(bar.paths)["up"], dict(bar.paths)["down"]
    assert "M0.0 12h540.0v12h-540.0z" == up
    assert "M540.0 0h180.0v24h-180.0z" == down


def test_what_is_short_is_wide_enough_to_be_seen() -> None:
    """An outage of some seconds is as wide as two minutes."""
    bar = drawn(at(30, "up"), at(6, "down"), at(5.999, "up")).bars[0]

    assert "h2.0v24h-2.0z" in dict(bar.paths)["down"]


def test_the_label_says_the_same() -> None:
    """The bar's label must give the shares of the time in words."""
    agent = drawn(at(30, "up"), at(6, "down")).bars[0].label

    # Down for 21,600 s of the 86,399 that are over.
    assert "The newest 24 hours, by time: down 25 % and up 74.99 %" == agent
    assert "runnable 100 %" in drawn(at(30, "up"), kind="suite").bars[0].label


def test_the_legend_names_what_occurs() -> None:
    """A state that is in no bar is not explained."""
    assert ["unknown", "up"] == [name for _, _, name in drawn(at(30, "up")).legend]


def test_transitions_last_until_the_next() -> None:
    """The newest is first, and lasts by now."""
    found = drawn(at(30, "up"), at(6, "down"), at(5, "up"))

    assert [5.0, 1.0, 24.0] == [seconds / HOUR for _, seconds in found.transitions]


def test_only_the_newest_transitions_are_shown() -> None:
    """Of many transitions, the newest must be shown, and the number of the others."""
    many = [at(25 - number, ("up", "down")[number % 2]) for number in range(23)]

    found = drawn(*many)

    assert (SHOWN_TRANSITIONS, 3) == (len(found.transitions), found.more)
    assert NOW - 3 * HOUR == found.transitions[0][0].timestamp_seconds


class TestStrip:
    def test_bars_are_as_high_as_runs_are_long(self) -> None:
        """The newest is on the right; half the duration is half the height."""
        runs = [
            SuiteResult(run_id="2", outcome=Outcome.PASSED, duration_seconds=600),
            SuiteResult(run_id="1", outcome=Outcome.FAILED, duration_seconds=300),
        ]

        found = strip(runs)

        room = RUN_HEIGHT - 14
        assert [
            (0, room // 2, "down", "F", "1: failed, took 5 min"),
            (16, room, "up", "P", "2: passed, took 10 min"),
        ] == [(run.x, run.height, run.verdict, run.letter, run.label) for run in found.runs]
        assert "The newest 2 runs: 1 passed and 1 failed" == found.label

    def test_runs_without_a_duration_can_be_seen(self) -> None:
        """A run that did not say how long it took is a low bar, not none."""
        (run,) = strip([SuiteResult(run_id="1", outcome=Outcome.ERROR)]).runs

        assert (2, "1: error") == (run.height, run.label)

    @pytest.mark.parametrize("outcome", Outcome)
    def test_every_outcome_has_a_letter(self, outcome: Outcome) -> None:
        """Every outcome must have a letter, beside its colour."""
        ((letter, _, number),) = strip([SuiteResult(run_id="1", outcome=outcome)]).legend

        assert (1, 1) == (len(letter), number)

    def test_is_bounded(self) -> None:
        """The newest are shown."""
        runs = [SuiteResult(run_id=str(number), outcome=Outcome.PASSED) for number in range(99)]

        found = strip(runs).runs

        assert (SHOWN_RUNS, "0: passed") == (len(found), found[-1].label)
