"""The fleet at one moment, made once per change and shared by all who look at it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.evaluate import Alert
from exporter.clock import Moment
from exporter.fleet.store import Snapshot
from exporter.overview.build import arranged, runs_in_flight, target_rows
from exporter.overview.preflight.gauges import gauges
from exporter.overview.preflight.judge import judge
from exporter.overview.preflight.report import Report
from exporter.overview.problems import RANKS, Judge, Problem, by_target
from exporter.overview.rows import AlertView, Condition, RunRow, SuiteRow, TargetRow
from exporter.overview.sources import SourceRow, source_rows
from exporter.overview.verdict import Headline, headline
from exporter.settings.preflights import PreflightSettings


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exporter.clock import Clock
    from exporter.fleet.store import Store
    from exporter.polling.engine import Engine
    from exporter.polling.poller import Poller
    from exporter.settings.load import Settings


#: Some conditions hold by time alone, so a picture is judged anew after this long.
FRESH_SECONDS = 15.0

#: After a picture was made none is made for so many times as long: looking costs 1/30 of a core.
SHARE = 30.0


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment.

    Attributes:
        at: When it was made.
        tag: Differs from picture to picture, also over a restart.
        ready: Whether the first polls have finished or were given up.
        problems: What is wrong by the alert table, the worst first, with what is only of interest.
        targets: By kind, the most urgent first; each names its problems.
        runs: Those in flight.
        alerts: What the built-in evaluation has found, `None` where it is not switched on.
        preflights: The outcome of each that is configured.
    """

    at: Moment
    tag: str
    ready: bool
    headline: Headline
    problems: tuple[Problem, ...]
    sources: tuple[SourceRow, ...]
    targets: tuple[TargetRow, ...]
    runs: tuple[RunRow, ...]
    alerts: tuple[AlertView, ...] | None = None
    preflights: tuple[Report, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that a picture is made of.

    Attributes:
        snapshots: What is known of targets and runs.
        sources: How the sources are.
        judge: Judges the alert table.
        ready: Whether the first polls have finished or were given up.
        alerts: What the built-in evaluation has found, `None` where it is not switched on.
        preflights: Those that are configured.
    """

    snapshots: tuple[Snapshot, ...]
    sources: tuple[SourceRow, ...]
    judge: Judge
    ready: bool
    alerts: tuple[Alert, ...] | None = None
    preflights: tuple[PreflightSettings, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913 - all but two by keyword
        cls,
        pollers: Iterable[Poller],
        store: Store,
        *,
        judge: Judge,
        ready: bool,
        alerts: tuple[Alert, ...] | None = None,
        preflights: tuple[PreflightSettings, ...] = (),
    ) -> Facts:
        """Return what some pollers and their store know now."""
        store.expire()
        return cls(
            snapshots=store.snapshots(),
            sources=tuple(source_rows(pollers, store)),
            judge=judge,
            ready=ready,
            alerts=alerts,
            preflights=preflights,
        )

    def same(self, other: Facts | None) -> bool:
        """Return whether nothing has changed; snapshots are compared by identity."""
        if other is None or len(self.snapshots) != len(other.snapshots):
            return False
        pairs = zip(self.snapshots, other.snapshots, strict=True)
        return all(one is two for one, two in pairs) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("sources", "judge", "ready", "alerts", "preflights")
        )


def picture(facts: Facts, at: Moment, *, tag: str = "") -> Picture:
    """Make the picture of what is known, as it is judged at a time.

    The preflights come before the alert table, which has an alert about them.
    """
    unmarked = list(target_rows(facts.snapshots, at))
    runs = tuple(runs_in_flight(facts.snapshots))
    reports = tuple(
        judge(each, sources=facts.sources, targets=unmarked, runs=runs, now=at.unix)
        for each in facts.preflights
    )
    begun = _beginnings(unmarked, facts.sources)
    problems = tuple(
        each.at_latest(begun.get(each.target))
        for each in facts.judge.judge(facts.snapshots, at, facts.alerts or (), gauges(reports))
        if _is_told(each, begun, ready=facts.ready)
    )
    rows = arranged(_marked(unmarked, problems))
    return Picture(
        at=at,
        tag=tag,
        ready=facts.ready,
        headline=headline(rows, facts.sources, problems, ready=facts.ready),
        problems=problems,
        sources=facts.sources,
        targets=tuple(rows),
        runs=runs,
        alerts=None if facts.alerts is None else tuple(map(AlertView.of, facts.alerts)),
        preflights=reports,
    )


def _is_told(
    problem: Problem, begun: Mapping[tuple[str, str, str], float | None], *, ready: bool
) -> bool:
    """Return whether a problem is one: what was not polled yet is neither well nor ill."""
    if problem.preflight:
        return ready
    return bool(problem.kind) or not problem.source or problem.target in begun


def _beginnings(
    rows: Iterable[TargetRow], sources: Iterable[SourceRow]
) -> dict[tuple[str, str, str], float | None]:
    """Return since when targets are down, suites are as they are, and sources that were asked.

    A source that does not answer is silent since its newest answer.
    """
    found: dict[tuple[str, str, str], float | None] = {}
    for row in rows:
        if row.state is Condition.DOWN:
            found[row.target] = row.changed_timestamp_seconds
        elif isinstance(row, SuiteRow):
            found[row.target] = row.last_run_end_timestamp_seconds
    for source in sources:
        if source.state is not Condition.UNKNOWN:
            answers = (task.last_success_timestamp_seconds for task in source.tasks)
            known = [each for each in answers if each is not None]
            silent = source.state is Condition.DOWN
            found[source.name, "", ""] = max(known, default=None) if silent else None
    return found


def _marked(rows: Iterable[TargetRow], problems: Iterable[Problem]) -> Iterable[TargetRow]:
    """Write each target's problems into its row."""
    found = by_target(problems)
    for row in rows:
        mine = found.get(row.target)
        if mine is None:
            yield row
        else:
            worst = min((each.severity for each in mine), key=RANKS.__getitem__)
            names = tuple(dict.fromkeys(each.title for each in mine))
            yield msgspec.structs.replace(row, severity=worst, problems=names)


class Pictures:
    """Makes pictures when somebody looks, and not more often than it is worth.

    Args:
        gather: Returns what is known.
        clock: Where time comes from.
    """

    def __init__(self, gather: Callable[[], Facts], *, clock: Clock) -> None:
        self._gather = gather
        self._clock = clock
        self._begun = f"{clock.time():.6f}"
        self._number = 0
        self._facts: Facts | None = None
        self._newest: Picture | None = None
        self._not_before = -math.inf
        # Those who ask meanwhile wait for the picture that is being made.
        self._turn = asyncio.Lock()

    async def renew(self) -> None:
        """Have the next picture be made anew: what it is judged by has become another."""
        async with self._turn:
            self._not_before = -math.inf

    async def newest(self) -> Picture:
        """Return the newest picture, made anew if it is worth it."""
        async with self._turn:
            now, known = self._clock.now(), self._newest
            # One from before the first polls is not kept: who was told of their end asks at once.
            if known is not None and known.ready and now.monotonic < self._not_before:
                return known
            facts = self._gather()
            recent = known is not None and now.monotonic - known.at.monotonic < FRESH_SECONDS
            if known is not None and recent and facts.same(self._facts):
                return known
            self._number += 1
            made = await asyncio.to_thread(picture, facts, now, tag=f"{self._begun}-{self._number}")
            after = self._clock.monotonic()
            self._not_before = after + SHARE * (after - now.monotonic)
            if known is not None and _alike(known, made):
                made = msgspec.structs.replace(made, tag=known.tag)
            self._newest, self._facts = made, facts
            return made


def pictures_of(engine: Engine, settings: Settings) -> Pictures:
    """Return what makes pictures of what a command polls, which is no exporter that goes on.

    Args:
        engine: What polls.
        settings: How the pictures are judged.
    """
    judge = Judge.of(settings.alerting, engine.telemetry.registry, serves=False)

    def facts() -> Facts:
        return Facts.of(
            engine.pollers.values(),
            engine.store,
            judge=judge,
            ready=engine.first_polls_done,
            preflights=settings.preflights,
        )

    return Pictures(facts, clock=engine.clock)


def _alike(one: Picture, other: Picture) -> bool:
    """Return whether two pictures show the same."""
    return one == msgspec.structs.replace(other, at=one.at, tag=one.tag)
