from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.rule import Severity
from exporter.overview.build import arranged, target_rows
from exporter.overview.filters import State
from exporter.overview.problems import Problem
from exporter.overview.rows import Condition
from exporter.overview.verdict import Headline, groups, headline, tallies, tiles
from exporter.polling.poller import TaskStatus
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.fleet.readings import Reading
    from exporter.overview.sources import SourceRow


def answer(*readings: Reading, source: SourceRow | None = None, ready: bool = True) -> Headline:
    """Return the headline over readings of one source, as the alert table judges them."""
    view = fakes.FakeView(*readings, sources=[source or fakes.source()])
    view.ready = ready
    return asyncio.run(view.picture()).headline


def pinged(**facts: Any) -> Reading:
    """Make an agent that is up, with something else in its state."""
    known = fakes.agent()
    assert known.state is not None
    return fakes.changed(known, state=fakes.changed(known.state, **facts))


def problem(alert: str, severity: Severity = Severity.CRITICAL) -> Problem:
    return Problem(alert=f"LoadFleet{alert}", severity=severity, description="It is so.")


def told(*problems: Problem, fleet: Sequence[Reading] = (fakes.agent(),)) -> Headline:
    """Return the headline over some problems of a fleet, of one agent that is up by default."""
    rows = arranged(target_rows(fakes.FakeView(*fleet).snapshots(), fakes.NOW))
    return headline(rows, [fakes.source()], problems, ready=True)


class TestHeadline:
    def test_says_that_all_is_well(self) -> None:
        """With everything up, the fleet is well."""
        found = answer(fakes.agent(), fakes.recorder())

        assert ("good", "The fleet is well: 2 targets up.") == (found.level, found.text)

    def test_counts_what_is_down(self) -> None:
        """One target that is down must make the headline say so."""
        found = answer(fakes.agent("a"), fakes.agent("b", up=False), fakes.agent("c"))

        assert ("bad", "The fleet is not well: 1 agent unreachable.") == (found.level, found.text)

    def test_tells_what_is_not_counted(self) -> None:
        """Inactive targets and suites are no part of the count, and all numbers add up."""
        found = answer(fakes.agent("a"), fakes.agent("b", active=False), fakes.suite())

        assert ("The fleet is well: 1 target up.", ("not counted: 1 inactive and 1 suite",)) == (
            found.text,
            found.details,
        )

    def test_what_was_not_polled_yet_is_alarming(self) -> None:
        """A script that asks too early does not take the first answers for all of them."""
        found = answer(fakes.agent(), ready=False)

        assert ("unsure", True) == (found.level, found.alarming)

    def test_suites_are_enough(self) -> None:
        """An account of nothing but suites can be well, and its targets are not said to be none."""
        found = answer(fakes.suite())

        assert ("good", "The fleet is well: no targets but 1 suite.", ()) == (
            found.level,
            found.text,
            found.details,
        )

    @pytest.mark.parametrize(
        ("reading", "expected"),
        [
            (pinged(outdated=True), "The fleet is not well: 1 agent outdated."),
            (
                pinged(clock_delta_seconds=7.5),
                "The fleet needs attention: 1 agent with clock skew.",
            ),
            (fakes.suite(passed=False), "The fleet needs attention: 1 suite failed."),
            (fakes.suite(healthy=False), "The fleet needs attention: 1 suite unhealthy."),
        ],
    )
    def test_is_no_better_than_the_alerts(self, reading: Reading, expected: str) -> None:
        """The headline must report everything that an alert calls critical or a warning."""
        found = answer(reading)

        assert (expected, True) == (found.text, found.alarming)

    def test_what_is_of_interest_alone_does_not_count(self) -> None:
        """Problems of severity info must not count."""
        found = answer(fakes.agent(protected=False))

        assert ("good", False) == (found.level, found.alarming)

    def test_counts_problems_of_a_sort_together(self) -> None:
        """The words are those of the alerts' names, with a number where there can be several."""
        found = told(*2 * [problem("AgentUnreachable")], problem("CredentialsRefused"))

        assert "The fleet is not well: 2 agents unreachable, credentials refused." == found.text

    def test_tells_warnings_beside_what_is_critical(self) -> None:
        """The worse comes first, and nothing is hidden by it."""
        found = told(problem("SourceDown"), problem("RunStuck", Severity.WARNING))

        assert ("bad", "The fleet is not well: 1 source down.", ("1 run stuck",)) == (
            found.level,
            found.text,
            found.details,
        )

    def test_is_short(self) -> None:
        """Of many sorts of problems, the first must be named, and the others counted."""
        sorts = ("SourceDown", "AgentUnreachable", "AgentOutdated", "TaskFailing", "NothingKnown")

        found = told(*map(problem, sorts))

        assert (
            "The fleet is not well: 1 source down, 1 agent unreachable, 1 agent outdated,"
            " 1 task failing, and 1 more."
        ) == found.text

    def test_a_source_that_is_down_is_never_well(self) -> None:
        """Even if its alert is switched off."""
        found = answer(fakes.agent(), source=fakes.source(up=False))

        assert ("unsure", True) == (found.level, found.alarming)

    def test_an_agent_that_the_vendor_ended_does_not_count(self) -> None:
        """An agent that the vendor ended must not count."""
        found = answer(fakes.agent("a"), fakes.agent("cloud", up=False, managed="vendor"))

        assert ("good", "The fleet is well: 1 target up.", False) == (
            found.level,
            found.text,
            found.alarming,
        )
        assert ("not counted: 1 ended by the vendor",) == found.details

    def test_what_is_down_without_an_alert_is_not_up(self) -> None:
        """A target that is down without an alert must not trouble the headline, nor count as up."""
        found = told(fleet=(fakes.agent("a"), fakes.agent("b", up=False)))

        assert ("good", "The fleet is well: 1 target up.") == (found.level, found.text)
        assert ("not counted: 1 down without an alert",) == found.details

    def test_a_fleet_that_is_down_without_an_alert_is_not_well(self) -> None:
        """A fleet of which nothing is up must not be called well, even without an alert."""
        found = told(fleet=(fakes.agent(up=False),))

        assert ("unsure", "No target is up, although no alert fires for that.") == (
            found.level,
            found.text,
        )

    def test_an_agent_that_the_vendor_started_counts_while_it_is_up(self) -> None:
        """An agent that the vendor started must count while it is up."""
        found = answer(fakes.agent("a", up=False), fakes.agent("cloud", managed="vendor"))

        assert "The fleet is not well: 1 agent unreachable." == found.text

    def test_is_unsure_about_unknown_targets(self) -> None:
        """A fleet with unknown targets must not be called well."""
        found = answer(fakes.agent(), fakes.agent("new", state=None))

        assert ("unsure", ("1 unknown",)) == (found.level, found.details)

    def test_names_what_could_not_be_read(self) -> None:
        """When targets could not be read, the fleet must not be called well."""
        found = answer(fakes.agent(), source=fakes.source(unread=True))

        assert ("unsure", "The fleet is not fully known: agents of prod could not be read.") == (
            found.level,
            found.text,
        )

    def test_names_what_could_not_be_read_beside_what_is_down(self) -> None:
        """Tasks that were not read must be named beside targets that are down."""
        found = answer(fakes.agent(up=False), source=fakes.source(unread=True))

        assert ("bad", ("agents of prod could not be read",)) == (found.level, found.details)

    @pytest.mark.parametrize(
        "source",
        [
            fakes.source(up=False, unread=True, status=fakes.failed()),
            fakes.source(up=False, unread=True, status=TaskStatus(last_attempt=fakes.NOW)),
            fakes.source(up=False, unread=True, auth_failed=True),
        ],
        ids=["failing", "never well", "held back"],
    )
    def test_names_no_tasks_of_a_source_that_is_silent(self, source: SourceRow) -> None:
        """Tasks of a source that is down must not be named."""
        found = answer(fakes.agent(), source=source)

        assert "Nothing is known to be wrong, but not all is known." == found.text

    def test_names_tasks_of_a_source_that_answers_others(self) -> None:
        """The headline must name unread tasks, whether the source's newest call failed or not."""
        broken = fakes.source(up=False, unread=True, status=fakes.failed())
        (recorders,) = fakes.source().tasks
        tasks = (*broken.tasks, fakes.changed(recorders, name="recorders"))

        found = answer(fakes.agent(), source=fakes.changed(broken, tasks=tasks))

        assert "The fleet is not fully known: agents of prod could not be read." == found.text

    def test_nothing_is_missed_before_the_first_round_is_over(self) -> None:
        """Before the first polls have finished, unread tasks must not be reported."""
        found = answer(source=fakes.source(unread=True), ready=False)

        assert ("unsure", "Starting: the first polls have not finished.", ()) == (
            found.level,
            found.text,
            found.details,
        )

    def test_says_that_there_is_no_target(self) -> None:
        """A fleet of nothing is not called well, and it is no reason for an alarm either."""
        found = answer(fakes.agent(active=False))

        assert (
            "unsure",
            "No target is watched: the sources answer, but list no active target.",
            False,
        ) == (found.level, found.text, found.alarming)

    @pytest.mark.parametrize(
        ("reading", "source", "expected"),
        [
            (fakes.agent(), fakes.source(), False),
            (fakes.agent(state=None), fakes.source(), False),
            (fakes.agent(active=False, up=None), fakes.source(), False),
            (fakes.agent(up=False), fakes.source(), True),
            (fakes.suite(passed=False), fakes.source(), True),
            (fakes.agent(), fakes.source(up=False), True),
            (fakes.agent(), fakes.source(unread=True), True),
            (fakes.agent(), fakes.source(status=TaskStatus(), up=False), True),
        ],
    )
    def test_alarms_a_script(self, reading: Reading, source: SourceRow, expected: bool) -> None:
        """A job that asks fails on what an alert is for, and on a source that is not known."""
        assert expected is answer(reading, source=source).alarming

    def test_says_that_it_starts(self) -> None:
        """Before the first round is over, nothing is promised."""
        found = answer(ready=False)

        assert "Starting: the first polls have not finished." == found.text

    def test_says_that_nothing_is_configured(self) -> None:
        """Without sources the fleet is not said to be well."""
        found = headline([], [], ready=True)

        assert ("unsure", "No source is configured, so nothing is watched.") == (
            found.level,
            found.text,
        )


def test_groups_count_states() -> None:
    """A group counts its states, the urgent ones first, and empty kinds have no group."""
    view = fakes.FakeView(fakes.agent("a"), fakes.agent("b", up=False), fakes.agent("c"))

    (group,) = groups(arranged(target_rows(view.snapshots(), fakes.NOW)))

    assert ((Condition.DOWN, 1), (Condition.UP, 2)) == group.counts


def test_tiles_sum_up() -> None:
    """A tile counts what a filter would find, and its bar is as long as all of the kind."""
    view = fakes.FakeView(fakes.agent("a"), fakes.agent("b", up=False), fakes.agent("c"))

    (tile,) = tiles(arranged(target_rows(view.snapshots(), fakes.NOW)))

    assert (3, ((State.DOWN, 1, "down"), (State.UP, 2, "up"))) == (tile.total, tile.states)
    assert ((Condition.DOWN, 0.0, 33.33), (Condition.UP, 33.33, 66.67)) == tile.bar


def test_tallies_count_what_is_wrong() -> None:
    """A group has what is wrong with its targets and with its source as a whole."""
    view = fakes.FakeView(fakes.agent("a", up=False), fakes.agent("b"))
    view.source_rows = [fakes.source()]
    found = asyncio.run(view.picture())

    (tally,) = tallies(found.targets, "site", found.problems)

    assert ("bern", 2, ((Severity.CRITICAL, 2),)) == (tally.value, tally.total, tally.wrong)
    assert ((Condition.DOWN, 1), (Condition.UP, 1)) == tally.counts
    assert (("critical", 0.0, 50.0), ("up", 50.0, 50.0)) == tally.bar


def test_tallies_of_a_label_that_some_lack() -> None:
    """No target is left out of the count."""
    rows = arranged(target_rows(fakes.FakeView(fakes.agent()).snapshots(), fakes.NOW))

    (tally,) = tallies(rows, "team")

    assert ("", 1) == (tally.value, tally.total)
