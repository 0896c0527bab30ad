"""Pictures: made once per change, and more rarely if making one takes long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.alerts.settings import AlertingSettings
from exporter.fleet.readings import SourceHealth
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.picture import FRESH_SECONDS, Facts, Picture, Pictures
from exporter.overview.problems import Judge
from exporter.polling.poller import TaskStatus
from exporter.settings.preflights import PreflightSettings
from tests.support.clock import FakeClock
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading


class Fleet:
    """A fleet, and a count of how often its facts were gathered."""

    def __init__(self, *readings: Reading, costs_seconds: float = 0.0) -> None:
        self.fake = FakeClock(unix=fakes.NOW.unix, monotonic=fakes.NOW.monotonic)
        telemetry = SelfMetrics(clock=self.fake.clock)
        self.judge = Judge.of(AlertingSettings(), telemetry.registry, serves=False)
        self.snapshots = tuple(fakes.FakeView(*readings).snapshots())
        self.source = fakes.source()
        self.gathered = 0
        self.costs_seconds = costs_seconds
        self.ready = True
        self.preflights: tuple[PreflightSettings, ...] = ()
        self.pictures = Pictures(self._facts, clock=self.fake.clock)

    def _facts(self) -> Facts:
        self.gathered += 1
        self.fake.shift(self.costs_seconds)
        return Facts(
            snapshots=self.snapshots,
            sources=(self.source,),
            judge=self.judge,
            ready=self.ready,
            preflights=self.preflights,
        )

    def learns(self, *readings: Reading) -> None:
        """Replace what is known."""
        self.snapshots = tuple(fakes.FakeView(*readings).snapshots())

    async def look(self) -> Picture:
        return await self.pictures.newest()


def preflight(agents: str = "a", *, before: str = "23:00") -> PreflightSettings:
    """Return a preflight that is due at 22:13:20, the time of all tests."""
    window = {"before": before, "for": "1h"}
    return PreflightSettings.model_validate(
        {"name": "nightly", "agents": {"include": agents}, "window": window}
    )


async def test_marks_targets() -> None:
    """Targets must have the worst severity of their problems, and come first."""
    found = await Fleet(fakes.agent("a"), fakes.agent("b", up=False)).look()

    assert [("b", "critical", ("AgentUnreachable",)), ("a", None, ())] == [
        (row.name, row.severity, row.problems) for row in found.targets
    ]


async def test_all_who_look_share_one() -> None:
    """Ten boards cost no more than one."""
    fleet = Fleet(fakes.agent())

    found = await asyncio.gather(*(fleet.look() for _ in range(10)))

    assert 1 == len({id(each) for each in found})


async def test_a_change_makes_a_new_one() -> None:
    """A change of the fleet must make a new picture at once."""
    fleet = Fleet(fakes.agent())
    before = await fleet.look()
    fleet.learns(fakes.agent(up=False))

    after = await fleet.look()

    assert (True, "bad") == (before.tag != after.tag, after.headline.level)


async def test_time_alone_makes_no_difference() -> None:
    """A picture that is renewed without a change must keep its tag."""
    fleet = Fleet(fakes.agent())
    before = await fleet.look()
    fleet.fake.shift(FRESH_SECONDS)

    after = await fleet.look()

    assert (True, before.tag) == (before is not after, after.tag)


async def test_looking_costs_little() -> None:
    """A picture that takes long to make must be made more rarely, even if the fleet changes."""
    fleet = Fleet(fakes.agent(), costs_seconds=0.5)
    await fleet.look()
    fleet.learns(fakes.agent(up=False))

    fleet.fake.shift(10.0)
    early = await fleet.look()
    fleet.fake.shift(10.0)
    late = await fleet.look()

    assert ("good", "bad", 2) == (early.headline.level, late.headline.level, fleet.gathered)


async def test_other_settings_count_at_once() -> None:
    """A change of preflights must make a new picture at once, however long that takes."""
    fleet = Fleet(fakes.agent("a"), costs_seconds=0.5)
    await fleet.look()
    fleet.preflights = (preflight("a"),)
    await fleet.pictures.renew()

    found = await fleet.look()

    assert ["nightly"] == [each.name for each in found.preflights]


async def test_the_end_of_the_first_polls_is_known_at_once() -> None:
    """When the first polls have finished, the next picture must be a new one."""
    fleet = Fleet(fakes.agent(), costs_seconds=0.5)
    fleet.ready = False
    before = await fleet.look()
    fleet.ready = True

    after = await fleet.look()

    assert (False, True) == (before.ready, after.ready)


async def test_a_source_that_was_not_asked_is_neither_well_nor_ill() -> None:
    """Before the first poll its metrics are 0, which is not yet a problem."""
    early, late = Fleet(SourceHealth()), Fleet(SourceHealth())
    early.source = fakes.source(up=False, status=TaskStatus())
    late.source = fakes.source(up=False, status=fakes.failed())

    unasked, failed = await early.look(), await late.look()

    assert ((), ["SourceDown"]) == (unasked.problems, [each.title for each in failed.problems])


async def test_a_target_is_in_trouble_since_it_is_down() -> None:
    """A problem must last since its target went down, also before a restart."""
    down = fakes.agent(up=False, changed_timestamp_seconds=fakes.NOW.unix - 3600)
    target, source = Fleet(down, fakes.agent("b"), fakes.agent("c")), Fleet(SourceHealth())
    source.source = fakes.source(up=False, status=fakes.failed())

    found = [*(await target.look()).problems, *(await source.look()).problems]

    assert [fakes.NOW.unix - 3600, fakes.NOW.unix - 70] == [
        each.since_timestamp_seconds for each in found
    ]


async def test_a_test_that_begins_soon_is_a_problem_if_the_fleet_is_not_fit() -> None:
    """An unfit fleet must be a problem if a test begins soon."""
    fleet = Fleet(fakes.agent("a"))
    fleet.preflights = (preflight("b"),)

    found = await fleet.look()

    assert ("bad", "The fleet is not well: not found fit for 1 test.") == (
        found.headline.level,
        found.headline.text,
    )
    assert [("NotFit", "nightly", "")] == [
        (each.title, each.name, each.source) for each in found.problems
    ]
    assert found.headline.alarming


async def test_a_test_for_which_the_fleet_is_fit_is_no_problem() -> None:
    """The preflights of the picture itself count, not those of the one before."""
    fleet = Fleet(fakes.agent("a", up=False))
    fleet.preflights = (preflight(),)
    before = await fleet.look()
    fleet.learns(fakes.agent("a"))

    after = await fleet.look()

    assert [["NotFit", "AgentUnreachable"], []] == [
        [each.title for each in found.problems] for found in (before, after)
    ]


async def test_a_test_of_another_day_is_no_problem_yet() -> None:
    """The fleet has to be fit within the window alone."""
    fleet = Fleet(fakes.agent("a"))
    fleet.preflights = (preflight("b", before="22:00"),)

    found = await fleet.look()

    assert ("good", "not_fit") == (found.headline.level, found.preflights[0].status)


async def test_before_the_first_polls_no_test_is_a_problem() -> None:
    """Before the first polls, no preflight must be a problem."""
    fleet = Fleet(fakes.agent("a"))
    fleet.preflights, fleet.ready = (preflight("b"),), False

    found = await fleet.look()

    assert ((), "unsure") == (found.problems, found.headline.level)


async def test_a_preflight_that_is_no_longer_configured_is_no_problem() -> None:
    """The problems of a preflight must end when it is no longer configured."""
    fleet = Fleet(fakes.agent("a"))
    fleet.preflights = (preflight("b"),)
    await fleet.look()
    fleet.preflights = ()

    found = await fleet.look()

    assert () == found.problems
