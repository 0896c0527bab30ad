"""The evidence that ends alerts: which lists were read, and about which sources nothing is known.

An alert ends only on evidence: its target was read and is well, or the source's list was read and
lacks the target. While nothing is known, a firing alert keeps firing, for a day at most. In
Prometheus this takes the `ALERTS` series and the recording rules that `recorded` yields.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.expression import Expression, Match, Select, Writing
from exporter.config.types import format_duration
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.metrics.catalogue import NamedFamily


#: The labels that identify a source.
SOURCE = ("provider", "source")

#: Seconds for which an alert keeps firing while nothing is known about its target.
UNKNOWN_SECONDS = 86_400.0

#: The recorded metric with a series for each source and kind whose list is not known.
UNKNOWN = "source_kind:loadfleet_targets:unknown"

# The recorded metrics with a series for each task whose list was read, and for each that is no
# longer polled.
_READ = "source_task:loadfleet_list:read"
_ENDED = "source_task:loadfleet_list:ended"

#: The recorded metric with a series for each job that lacks a shard.
MISSING = "job:loadfleet_shards:missing"

#: The recorded metric with a series for each preflight about which nothing is known.
UNSEEN = "preflight:loadfleet_preflight:unknown"

#: The metrics that show whether a list was read.
EVIDENCE = frozenset(
    family.name for family in (c.SOURCE_TASK_UP, c.SOURCE_TARGETS, own.POLL_INTERVAL, own.SHARDS)
)

#: The share of the lookback for which evidence counts. Evidence must expire before the readings.
SHARE = 0.5


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The list of a source's targets of a kind, and the tasks that read it.

    Attributes:
        name: The kind.
        tasks: Pairs of a provider and its task; an empty provider means all other providers.
        counted: Whether the number of targets is exposed, so that an empty list can be recognized,
            which is no evidence.
        on: The labels that identify the owner of a list.
    """

    name: str
    tasks: tuple[tuple[str, str], ...] = ()
    counted: bool = True
    on: tuple[str, ...] = SOURCE

    def of_tasks(self, selected: Callable[..., Expression]) -> Expression:
        """Return the union of the series that `selected` returns for the labels of each task."""
        found: Expression | None = None
        for provider, task in self.tasks:
            matches = (Match(label="provider", values=(provider,)),) if provider else ()
            series = selected(*matches, Match(label="task", values=(task,)))
            found = series if found is None else found.either(series)
        return found if found is not None else selected()

    def read(self) -> Expression | None:
        """Return the sources whose list was read and is not empty; `None` if no task reads it."""
        if not self.tasks:
            return None
        up = self.of_tasks(partial(_recent, c.SOURCE_TASK_UP))
        return self.counting(up.compared("==", 1))

    def counting(self, read: Expression) -> Expression:
        """Return those of the sources in `read` whose list is not empty."""
        if not self.counted:
            return read
        targets = _recent(c.SOURCE_TARGETS, Match(label="kind", values=(self.name,)))
        return read.where("and", targets.compared(">", 0), *SOURCE)

    def polled(self) -> Expression:
        """Return the polled tasks that read the list."""
        return self.of_tasks(partial(_recent, own.POLL_INTERVAL))

    def unknown(self) -> Select:
        """Return the sources about whose targets nothing is known, as Prometheus records them."""
        return _now(UNKNOWN, Match(label="kind", values=(self.name,)))


class Preflights(Listing, frozen=True, kw_only=True):
    """The list of preflights, which an exporter always shows, whatever it knows of its sources."""

    name: str = "preflight"
    counted: bool = False
    on: tuple[str, ...] = (own.PREFLIGHT,)

    def polled(self) -> Expression:
        """Return the configured preflights."""
        return _recent(own.PREFLIGHT_DUE)

    def unknown(self) -> Select:
        """Return the preflights that no exporter shows although their window has begun."""
        return _now(UNSEEN)


def recorded(writing: Writing) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the recording rules of the evidence: name, PromQL and labels to add.

    A rule comes after those that it reads. A source is recorded as unknown for a day after its last
    sample, after the last poll that read the list, or after the last target in the list; a
    preflight until the end of its window. Neither is recorded once a running process that had it
    has dropped it, as the configuration was changed then.
    """
    day = format_duration(UNKNOWN_SECONDS * writing.scale)
    on, by = f"on ({', '.join(SOURCE)})", f"max by ({', '.join(SOURCE)})"
    tasks = f"({', '.join(SOURCE)}, task)"
    up, interval = c.SOURCE_TASK_UP, own.POLL_INTERVAL
    ordinals = _recent(own.SHARD_ORDINAL).promql(writing)
    missing = (
        f'count by (job) (count_values by (job) ("shard", {ordinals}))'
        f" < on (job) max by (job) ({_recent(own.SHARDS).promql(writing)})"
    )
    yield MISSING, missing, {}
    # Every shard that polls the task must have read its list, as each shard has its own targets.
    without = f"without ({', '.join(writing.without)}) ({_recent(up).promql(writing)})"
    alone = f"max {without} == 1 unless on (job) {sharded().promql(writing)}"
    yield _READ, f"max by {tasks} ((min {without} == 1 or {alone}) unless on (job) {MISSING})", {}
    running = f"on (job, instance) {_recent(own.BUILD_INFO).promql(writing)}"
    polled = _recent(interval).promql(writing)
    given_up = f"present_over_time({interval.name}[{day}]) and {running} unless"
    # A condition has held for a whole day only if the series existed a day ago.
    ago = f"[{format_duration(writing.lookback or 1)}] offset {day}"
    unread = (
        f"max by {tasks} (max_over_time({up.name}[{day}])) == 0"
        f" and on {tasks} last_over_time({up.name}{ago})"
    )
    yield _ENDED, f"max by {tasks} ({given_up} on {tasks} {polled}) or {unread}", {}
    for listing in LISTINGS:
        text = f"{by} (present_over_time({c.SOURCE_UP.name}[{day}]))"
        if listing.tasks:
            ended = listing.of_tasks(partial(_now, _ENDED)).promql(writing)
            known = listing.of_tasks(partial(_now, _READ))
            text += f" unless {on} ({listing.counting(known).promql(writing)})"
        else:
            text += f" unless {on} {_recent(c.SOURCE_UP).promql(writing)}"
            ended = f"{given_up} {on} {polled}"
        if listing.counted:
            counted = f'{c.SOURCE_TARGETS.name}{{kind="{listing.name}"}}'
            empty = f"{by} (max_over_time({counted}[{day}])) == 0"
            text += f" unless {on} ({empty} and {on} last_over_time({counted}{ago}))"
        yield UNKNOWN, f"{text} unless {on} ({ended})", {"kind": listing.name}
    by_name, due = f"({own.PREFLIGHT})", _recent(own.PREFLIGHT_DUE).promql(writing)
    begin, end = (
        f"last_over_time({family.name}[{day}])"
        for family in (own.PREFLIGHT_WINDOW_START, own.PREFLIGHT_WINDOW_END)
    )
    # Only within a window: the alert of one window must not continue until the next begins.
    lasting = f"max by {by_name} ({end} > time() and {begin} <= time())"
    removed = (
        f"present_over_time({own.PREFLIGHT_DUE.name}[{day}]) and {running}"
        f" unless on (job, instance, {own.PREFLIGHT}) {due}"
    )
    yield UNSEEN, f"{lasting} unless on {by_name} {due} unless on {by_name} ({removed})", {}


def _now(metric: str, *matches: Match) -> Select:
    # A recorded series is renewed at each evaluation, so it needs no lookback.
    return Select(metric=metric, matches=matches, share=0.0)


def sharded() -> Expression:
    """Return the processes that share the targets with others."""
    return _recent(own.SHARDS).compared(">", 1)


def _recent(family: NamedFamily, *matches: Match) -> Select:
    return Select(metric=family.name, matches=matches, share=SHARE)


def _listed(kind: Kind, *tasks: tuple[str, str], counted: bool = True) -> Listing:
    return Listing(name=kind.value, tasks=tasks or (("", kind.task),), counted=counted)


SOURCES = Listing(name="source", counted=False)
AGENTS = _listed(Kind.AGENT)
CONTROLLERS = _listed(Kind.CONTROLLER)
CLUSTERS = _listed(Kind.CLUSTER)
LOCATIONS = _listed(Kind.LOCATION)
RECORDERS = _listed(Kind.RECORDER)
SUITES = _listed(Kind.SUITE, ("", Kind.SUITE.task), ("blazemeter", Kind.RUN.task))
# Runs come and go, so an empty list of runs is evidence, too.
RUNS = _listed(Kind.RUN, ("", Kind.RUN.task), ("eggplant", Kind.AGENT.task), counted=False)
CERTIFICATES = Listing(name="certificate", tasks=(("", "certificates"),), counted=False)

PREFLIGHTS = Preflights()

LISTINGS = (
    SOURCES,
    AGENTS,
    CONTROLLERS,
    CLUSTERS,
    LOCATIONS,
    RECORDERS,
    SUITES,
    RUNS,
    CERTIFICATES,
)
