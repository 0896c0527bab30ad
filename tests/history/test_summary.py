"""Every expected value is worked out by hand, from the letters of the day.

The day begins at midnight UTC; its hours are counted from there, and `now` is 12:30 on the day
after, unless a test says otherwise.
"""

from __future__ import annotations

import pytest

from exporter.history.records import HOUR, Condition, Records, Tally, Transition
from exporter.history.summary import SPANS, Span, TargetHistory, outages, settled, summarized


#: Midnight of a day.
DAY = 472_222 // 24 * 24

#: Half past noon on the day after it.
NOW = (DAY + 36.5) * HOUR

#: The first hour of the newest 24, the one that began at 13:00.
FIRST = 13


def at(hour: float, condition: str, reason: str = "") -> Transition:
    return Transition(
        timestamp_seconds=(DAY + hour) * HOUR, condition=Condition(condition), reason=reason
    )


def readings(**hours: str) -> dict[int, Tally]:
    """Count readings by their letters, `u` is up, `d` down, `i` inactive: `h14="uud"`."""
    return {
        DAY + int(hour[1:]): Tally(
            up=letters.count("u"), down=letters.count("d"), inactive=letters.count("i")
        )
        for hour, letters in hours.items()
    }


def every(first: int, last: int, letters: str = "u") -> dict[int, Tally]:
    return readings(**{f"h{hour}": letters for hour in range(first, last)})


def history(*transitions: Transition, hours: dict[int, Tally] | None = None) -> TargetHistory:
    return summarized(Records(transitions=transitions, hours=hours or {}), NOW)


def span(found: TargetHistory, name: str = "24h") -> Span:
    return found.spans[list(SPANS).index(name)]


def timeline(found: TargetHistory, name: str = "24h") -> list[tuple[float, float, str]]:
    """Return the segments with their times in hours of the day."""
    return [
        (
            each.begin_timestamp_seconds / HOUR - DAY,
            each.end_timestamp_seconds / HOUR - DAY,
            each.state,
        )
        for each in span(found, name).timeline
    ]


class TestUptime:
    def test_is_the_share_of_the_readings(self) -> None:
        """Three of four readings were up, whatever the hours they fell in."""
        found = history(hours=readings(h20="uuu", h21="d"))

        assert (0.75, 3, 1) == (
            span(found).uptime_ratio,
            span(found).readings_up,
            span(found).readings_down,
        )

    def test_without_readings_is_not_known(self) -> None:
        """No reading is neither 0 % nor 100 %."""
        found = history(at(1, "up"))

        assert [None, None, None] == [each.uptime_ratio for each in found.spans]

    def test_hours_without_readings_are_not_down(self) -> None:
        """Hours without readings must not count as down."""
        assert 1.0 == span(history(hours=readings(h20="u"))).uptime_ratio

    def test_inactive_readings_do_not_count(self) -> None:
        """A target that is not in use is neither up nor down."""
        assert 0.5 == span(history(hours=readings(h20="ud", h21="iiii"))).uptime_ratio

    def test_begins_with_a_full_hour(self) -> None:
        """The newest 24 hours are 23 whole ones and the present one."""
        found = history(hours=readings(h12="d", h13="u", h36="u"))

        assert (1.0, (DAY + FIRST) * HOUR, NOW) == (
            span(found).uptime_ratio,
            span(found).begin_timestamp_seconds,
            span(found).end_timestamp_seconds,
        )
        assert pytest.approx(2 / 3) == span(found, "7d").uptime_ratio


class TestOutages:
    def test_are_counted_with_longest_and_mean(self) -> None:
        """Outages of 1 h and 3 h have a mean of 2 h."""
        found = span(
            history(at(0, "up"), at(14, "down"), at(15, "up"), at(20, "down"), at(23, "up"))
        )

        assert (2, 3 * HOUR, 2 * HOUR) == (
            found.outages,
            found.longest_outage_seconds,
            found.mean_repair_seconds,
        )

    def test_none_at_all(self) -> None:
        """Without an outage there is no length."""
        found = span(history(at(0, "up"), hours=every(13, 37)))

        assert (0, None, None) == (
            found.outages,
            found.longest_outage_seconds,
            found.mean_repair_seconds,
        )

    def test_an_open_one_is_as_long_as_it_is_by_now(self) -> None:
        """Down since 24:30 is 12 h by 12:30; nothing was repaired."""
        found = span(history(at(0, "up"), at(24.5, "down")))

        assert (1, 12 * HOUR, None) == (
            found.outages,
            found.longest_outage_seconds,
            found.mean_repair_seconds,
        )

    def test_that_began_before_the_span_have_their_whole_length(self) -> None:
        """An outage from 3:00 to 14:00 reaches into the span that begins at 13:00."""
        found = span(history(at(3, "down"), at(14, "up")))

        assert (1, 11 * HOUR, 11 * HOUR) == (
            found.outages,
            found.longest_outage_seconds,
            found.mean_repair_seconds,
        )

    def test_that_ended_before_the_span_are_of_longer_spans(self) -> None:
        """An outage that ended at 12:00 is not of a span that begins at 13:00."""
        found = history(at(3, "down"), at(12, "up"))

        assert [0, 1, 1] == [each.outages for each in found.spans]

    def test_go_on_through_a_gap(self) -> None:
        """An outage must go on through a gap without readings."""
        found = history(
            at(0, "up"),
            at(14, "down"),
            at(20, "up"),
            hours=every(13, 14) | every(14, 15, "d") | every(18, 20, "d") | every(20, 37),
        )

        assert (1, 6 * HOUR) == (span(found).outages, span(found).longest_outage_seconds)
        assert [
            (13, 14, "up"),
            (14, 15, "down"),
            (15, 18, "unknown"),
            (18, 20, "down"),
            (20, 36.5, "up"),
        ] == timeline(found)

    def test_a_change_of_version_divides_none(self) -> None:
        """Down, then down and outdated, is one outage from 14:00 on."""
        outdated = Transition(
            timestamp_seconds=(DAY + 16) * HOUR, condition=Condition.DOWN, outdated=True
        )

        found = history(at(0, "up"), at(14, "down"), outdated, at(17, "up"))

        assert (1, 3 * HOUR) == (span(found).outages, span(found).longest_outage_seconds)

    @pytest.mark.parametrize("end", ["gone", "inactive"])
    def test_that_end_without_a_repair_have_a_length_only(self, end: str) -> None:
        """An outage that ends with the agent's removal must not count as a repair."""
        found = span(history(at(14, "down"), at(16, end)))

        assert (1, 2 * HOUR, None) == (
            found.outages,
            found.longest_outage_seconds,
            found.mean_repair_seconds,
        )

    def test_gone_and_back_makes_two(self) -> None:
        """A target that is gone and comes back down must have a second outage."""
        found = list(outages([at(1, "down"), at(2, "gone"), at(3, "down")]))

        assert [(1, 2), (3, None)] == [
            (
                each.begin_timestamp_seconds / HOUR - DAY,
                each.end_timestamp_seconds and each.end_timestamp_seconds / HOUR - DAY,
            )
            for each in found
        ]


class TestSince:
    def test_is_the_newest_transition(self) -> None:
        """The present state must last since the newest transition."""
        found = history(at(1, "up"), at(2, "down"), at(5, "up"))

        assert (Condition.UP, (DAY + 5) * HOUR) == (found.condition, found.since_timestamp_seconds)

    def test_outlives_a_change_of_version(self) -> None:
        """An agent that becomes outdated must stay up since the same time."""
        outdated = Transition(
            timestamp_seconds=(DAY + 9) * HOUR, condition=Condition.UP, outdated=True
        )

        found = history(at(1, "down"), at(5, "up"), outdated)

        assert ((DAY + 5) * HOUR, True) == (found.since_timestamp_seconds, found.outdated)

    def test_of_nothing_is_not_known(self) -> None:
        """A target without any reading must have no condition."""
        found = history()

        assert (None, None) == (found.condition, found.since_timestamp_seconds)


class TestClockSetBack:
    def test_the_later_word_is_believed(self) -> None:
        """Stamped 30:00 by a clock that was ahead, but read before 20:00: it ended there."""
        found = settled([at(10, "up"), at(30, "down"), at(20, "up")], NOW)

        assert [10, 20, 20] == [each.timestamp_seconds / HOUR - DAY for each in found]

    def test_nothing_is_in_the_future(self) -> None:
        """A transition that is stamped 40:00 happened by 36:30 at the latest."""
        found = history(at(10, "up"), at(40, "down"))

        assert (NOW, 0) == (found.since_timestamp_seconds, span(found).longest_outage_seconds)

    def test_the_timeline_goes_forward_only(self) -> None:
        """Segments follow one another without overlap."""
        found = history(at(10, "up"), at(30, "down"), at(20, "up"), hours=every(13, 37))

        assert [(13, 36.5, "up")] == timeline(found)


class TestTimeline:
    def test_of_a_day_is_to_the_second(self) -> None:
        """Up at 13:00, down from 20:15 to 20:30."""
        found = history(at(0, "up"), at(20.25, "down"), at(20.5, "up"), hours=every(0, 37))

        assert [(13, 20.25, "up"), (20.25, 20.5, "down"), (20.5, 36.5, "up")] == timeline(found)

    def test_hours_without_readings_are_unknown(self) -> None:
        """The exporter was not there from 16:00 to 18:00."""
        found = history(at(0, "up"), hours=every(13, 16) | every(18, 37))

        assert [(13, 16, "up"), (16, 18, "unknown"), (18, 36.5, "up")] == timeline(found)

    def test_before_the_first_reading_is_unknown(self) -> None:
        """A target that is known since 30:30."""
        found = history(at(30.5, "up"), hours=every(30, 37))

        assert [(13, 30.5, "unknown"), (30.5, 36.5, "up")] == timeline(found)

    def test_what_is_gone_is_unknown(self) -> None:
        """The time while a target was gone must be unknown."""
        found = history(at(0, "up"), at(20, "gone"), at(22, "up"), hours=every(13, 37))

        assert [(13, 20, "up"), (20, 22, "unknown"), (22, 36.5, "up")] == timeline(found)

    def test_what_is_not_in_use(self) -> None:
        """Inactive is a state of its own."""
        found = history(at(0, "inactive"), hours=every(13, 37, "i"))

        assert [(13, 36.5, "inactive")] == timeline(found)

    def test_of_a_week_is_by_the_hour(self) -> None:
        """Mixed hours are partly up; its first hour is 168 before the end of the present one."""
        found = history(hours=readings(h10="uu", h11="ud", h12="dd", h13="i", h36="u"))

        assert [
            (-131, 10, "unknown"),
            (10, 11, "up"),
            (11, 12, "partly"),
            (12, 13, "down"),
            (13, 14, "inactive"),
            (14, 36, "unknown"),
            (36, 36.5, "up"),
        ] == timeline(found, "7d")

    def test_of_a_month_is_by_six_hours(self) -> None:
        """The timeline of a month must have cells of six hours from the beginning of the span."""
        found = history(hours=readings(h13="u", h18="u", h19="u", h24="d", h36="d"))

        assert [(-683, 13, "unknown"), (13, 19, "up"), (19, 25, "partly")] == timeline(
            found, "30d"
        )[:3]
        assert [(25, 31, "unknown"), (31, 36.5, "down")] == timeline(found, "30d")[3:]

    def test_has_no_gaps(self) -> None:
        """Each segment of a timeline must begin where the one before ends."""
        found = history(at(14.25, "up"), at(15.5, "down"), hours=every(13, 17) | every(20, 37))

        for each in found.spans:
            ends = [each.begin_timestamp_seconds]
            ends += [part.end_timestamp_seconds for part in each.timeline]
            assert ends[:-1] == [part.begin_timestamp_seconds for part in each.timeline]
            assert NOW == ends[-1]
