"""The fleet at one moment, computed once per change and shared by all requests."""

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


#: Seconds after which a picture is renewed even without new readings, as some conditions begin to
#: hold by the passing of time.
FRESH_SECONDS = 15.0

#: The pause after making a picture, as a multiple of the time that it took. So pictures take about
#: 1/30 of a core at most, however many requests there are.
SHARE = 30.0


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment.

    Attributes:
        at: The time at which the picture was made.
        tag: A text that differs from picture to picture, also across restarts.
        ready: Whether the first polls have finished or were given up.
        problems: The problems by the alert table, including those of severity `info`, the worst
            first.
        targets: The targets by kind, the most urgent first; each names its problems.
        runs: The runs in flight.
        alerts: The alerts of the built-in evaluation, `None` if it is off.
        preflights: The outcomes of the configured preflights.
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
    """The input of a picture.

    Attributes:
        snapshots: The readings of targets and runs.
        sources: The rows of the sources.
        judge: Evaluates the alert table.
        ready: Whether the first polls have finished or were given up.
        alerts: The alerts of the built-in evaluation, `None` if it is off.
        preflights: The configured preflights.
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
        """Return the present facts of some pollers and their store."""
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
        """Return whether other facts are the same; snapshots are compared by identity."""
        if other is None or len(self.snapshots) != len(other.snapshots):
            return False
        pairs = zip(self.snapshots, other.snapshots, strict=True)
        return all(one is two for one, two in pairs) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("sources", "judge", "ready", "alerts", "preflights")
        )


def picture(facts: Facts, at: Moment, *, tag: str = "") -> Picture:
    """Return the picture made from facts at a time.

    Preflights are judged before the alert table, which has an alert about them.
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
        if _is_shown(each, begun, ready=facts.ready)
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


def _is_shown(
    problem: Problem, begun: Mapping[tuple[str, str, str], float | None], *, ready: bool
) -> bool:
    """Return whether a problem is shown: not before its source, or the fleet, was polled."""
    if problem.preflight:
        return ready
    return bool(problem.kind) or not problem.source or problem.target in begun


def _beginnings(
    rows: Iterable[TargetRow], sources: Iterable[SourceRow]
) -> dict[tuple[str, str, str], float | None]:
    """Return the latest possible beginning of problems, by target, as a Unix time.

    For a target that is down it is the time at which it went down, for a suite the end of its
    newest run, and for a source that does not answer its newest answer. Sources that were not
    polled yet are left out.
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
    """Yield the rows with the problems of their targets."""
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
    """Makes pictures on request, but not too often.

    Args:
        gather: Returns the present facts.
        clock: The clock of the process.
    """

    def __init__(self, gather: Callable[[], Facts], *, clock: Clock) -> None:
        self._gather = gather
        self._clock = clock
        self._begun = f"{clock.time():.6f}"
        self._number = 0
        self._facts: Facts | None = None
        self._newest: Picture | None = None
        self._not_before = -math.inf
        # Requests wait for a picture that is being made.
        self._turn = asyncio.Lock()

    async def renew(self) -> None:
        """Cancel the pause before the next picture, after a change of the settings."""
        async with self._turn:
            self._not_before = -math.inf

    async def newest(self) -> Picture:
        """Return the newest picture, renewed if facts have changed and the pause is over."""
        async with self._turn:
            now, known = self._clock.now(), self._newest
            # A picture from before the end of the first polls is not kept, since clients wait for
            # their end and then request a picture at once.
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
    """Return the pictures for a command that polls by itself and then ends.

    Args:
        engine: The engine that polls.
        settings: The settings of alerts and preflights.
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
