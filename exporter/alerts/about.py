"""Targets of alerts: their lists, pages, dashboards and details, and the evidence for an end.

An alert ends on evidence alone: its target was read and is well, or the source's list was read and
lacks the target. While nothing is known, a firing alert goes on, for a day at most. Prometheus
needs its own `ALERTS` series for that, and the rules that `recorded` yields.
"""

from __future__ import annotations

from enum import StrEnum, unique
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.expression import Expression, Match, Select, Writing
from exporter.alerts.texts import Detail, Text
from exporter.config.types import format_duration
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.metrics.catalogue import NamedFamily


#: The labels that identify a source.
SOURCE = ("provider", "source")

#: While nothing is known of its target, a firing alert goes on for this long.
UNKNOWN_SECONDS = 86_400.0

#: A series that Prometheus records for each source and kind while the list is not known.
UNKNOWN = "source_kind:loadfleet_targets:unknown"

# The series that Prometheus records for each task whose list was read, and for each that is not
# polled any more.
_READ = "source_task:loadfleet_list:read"
_ENDED = "source_task:loadfleet_list:ended"

#: The name under which Prometheus records the jobs of which a shard is missing.
MISSING = "job:loadfleet_shards:missing"

#: The metrics that tell whether a list was read.
EVIDENCE = frozenset(
    family.name for family in (c.SOURCE_TASK_UP, c.SOURCE_TARGETS, own.POLL_INTERVAL, own.SHARDS)
)

# The share of the lookback for which evidence counts: it must end before the readings do.
_EVIDENCE = 0.5


@unique
class Uid(StrEnum):
    """The uids of the dashboards, by which alerts and the dashboards themselves link to them."""

    OVERVIEW = "loadfleet-overview"
    AGENTS = "loadfleet-agents"
    SUITES = "loadfleet-suites"
    EXPORTER = "loadfleet-exporter"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The list of a source's targets of a kind, and the tasks that read it.

    Attributes:
        name: The kind.
        tasks: Pairs of a provider and its task; an empty provider stands for all others.
        counted: Whether the number of targets is exposed; then an empty list is no evidence.
    """

    name: str
    tasks: tuple[tuple[str, str], ...] = ()
    counted: bool = True

    def of_tasks(self, selected: Callable[..., Expression]) -> Expression:
        """Return the series that `selected` makes of the labels of each task, joined by `or`."""
        found: Expression | None = None
        for provider, task in self.tasks:
            matches = (Match(label="provider", values=(provider,)),) if provider else ()
            series = selected(*matches, Match(label="task", values=(task,)))
            found = series if found is None else found.either(series)
        return found if found is not None else selected()

    def read(self) -> Expression | None:
        """Return the sources whose list was read and is not empty; `None` where none is read."""
        if not self.tasks:
            return None
        up = self.of_tasks(partial(_recent, c.SOURCE_TASK_UP))
        return self.counting(up.compared("==", 1))

    def counting(self, read: Expression) -> Expression:
        """Return of the sources whose list was read those whose list is not empty."""
        if not self.counted:
            return read
        targets = _recent(c.SOURCE_TARGETS, Match(label="kind", values=(self.name,)))
        return read.where("and", targets.compared(">", 0), *SOURCE)

    def polled(self) -> Expression:
        """Return the tasks that are polled and read the list."""
        return self.of_tasks(partial(_recent, own.POLL_INTERVAL))


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of target that the alerts of a rule are about.

    Attributes:
        listing: The list that targets stand in.
        metric: The metric whose series shows that a target was read.
        on: The labels that identify a target.
        dashboard: The dashboard that shows targets.
        kind: The kind in the address of a target's page; without one alerts link to the board.
        details: Sentences about a target.
        whole: Whether the targets of one shard are no evidence for those of the others.
    """

    listing: Listing
    metric: str
    on: tuple[str, ...]
    dashboard: Uid
    kind: Kind | None = None
    details: tuple[Detail, ...] = ()
    whole: bool = False

    def read(self) -> Expression:
        """Return the series that show which targets were read."""
        series = Select(metric=self.metric, share=_EVIDENCE)
        return series.where("unless", _sharded(), "job") if self.whole else series

    @property
    def page(self) -> Text:
        """The address of a target's page, relative to the board's."""
        if self.kind is None:
            return Text("?source={source:urlquery}")
        label = self.on[len(SOURCE)]
        query = f"source={{source:urlquery}}&kind={self.kind}&id={{{label}:urlquery}}"
        return Text(f"target?{query}")


def recorded(writing: Writing) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the rules that record `UNKNOWN`, those it reads first: name, PromQL and labels.

    A source counts for a day after its last sample, after the last poll that read the list, or
    after the last target in it. It counts no longer once a process that polled it polls it no
    more: that was meant.
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
    # Every shard that polls the task must have read its list, as each has targets of its own.
    without = f"without ({', '.join(writing.without)}) ({_recent(up).promql(writing)})"
    alone = f"max {without} == 1 unless on (job) {_sharded().promql(writing)}"
    yield _READ, f"max by {tasks} ((min {without} == 1 or {alone}) unless on (job) {MISSING})", {}
    running = f"on (job, instance) {_recent(own.BUILD_INFO).promql(writing)}"
    polled = _recent(interval).promql(writing)
    given_up = f"present_over_time({interval.name}[{day}]) and {running} unless"
    # That it was so for a day is not known of what there is no day of.
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
        if listing.tasks and listing.counted:
            counted = f'{c.SOURCE_TARGETS.name}{{kind="{listing.name}"}}'
            empty = f"{by} (max_over_time({counted}[{day}])) == 0"
            text += f" unless {on} ({empty} and {on} last_over_time({counted}{ago}))"
        yield UNKNOWN, f"{text} unless {on} ({ended})", {"kind": listing.name}


def _now(metric: str, *matches: Match) -> Select:
    # A recorded series is as new as the evaluation, so it needs no lookback.
    return Select(metric=metric, matches=matches, share=0.0)


def _sharded() -> Expression:
    return _recent(own.SHARDS).compared(">", 1)


def _recent(family: NamedFamily, *matches: Match) -> Select:
    return Select(metric=family.name, matches=matches, share=_EVIDENCE)


def _listed(kind: Kind, *tasks: tuple[str, str], counted: bool = True) -> Listing:
    return Listing(name=kind.value, tasks=tasks or (("", kind.task),), counted=counted)


_OF_SOURCES = Listing(name="source")
_OF_AGENTS = _listed(Kind.AGENT)
_OF_CONTROLLERS = _listed(Kind.CONTROLLER)
_OF_CLUSTERS = _listed(Kind.CLUSTER)
_OF_LOCATIONS = _listed(Kind.LOCATION)
_OF_RECORDERS = _listed(Kind.RECORDER)
_OF_SUITES = _listed(Kind.SUITE, ("", Kind.SUITE.task), ("blazemeter", Kind.RUN.task))
# Runs come and go: none is as good an answer as many.
_OF_RUNS = _listed(Kind.RUN, ("", Kind.RUN.task), ("eggplant", Kind.AGENT.task), counted=False)
_OF_CERTIFICATES = Listing(name="certificate", tasks=(("", "certificates"),), counted=False)

LISTINGS = (
    _OF_SOURCES,
    _OF_AGENTS,
    _OF_CONTROLLERS,
    _OF_CLUSTERS,
    _OF_LOCATIONS,
    _OF_RECORDERS,
    _OF_SUITES,
    _OF_RUNS,
    _OF_CERTIFICATES,
)


def since(family: NamedFamily, *on: str, text: str = " Since {}.") -> Detail:
    """Return a sentence with the time stamp that a metric holds."""
    form, function = "humanizeTimestamp", "floor"
    return Detail(text=text, metric=family.name, on=(*SOURCE, *on), form=form, function=function)


def skew(family: NamedFamily, *on: str) -> Detail:
    """Return a sentence that says how far a clock is off, in either direction."""
    form, function = "humanizeDuration", "abs"
    text = " It is {} off."
    return Detail(text=text, metric=family.name, on=(*SOURCE, *on), form=form, function=function)


def host(family: NamedFamily, *on: str) -> Detail:
    """Return a sentence that names a machine's host."""
    return _fact(" Host: {}.", family, "host", *on)


def version(family: NamedFamily, *on: str) -> Detail:
    """Return a sentence that names the version of a machine's software."""
    return _fact(" Version: {}.", family, "version", *on)


def _reason(family: NamedFamily, *on: str) -> Detail:
    return _fact(" Reason: {}.", family, "reason", *on)


def _fact(text: str, family: NamedFamily, label: str, *on: str) -> Detail:
    return Detail(text=text, metric=family.name, on=(*SOURCE, *on), label=label)


def _machine(
    listing: Listing, kind: Kind, up: NamedFamily, *details: Detail, on: tuple[str, ...] = ()
) -> About:
    return About(
        listing=listing,
        metric=up.name,
        on=(*SOURCE, *(on or (kind.id_field,))),
        kind=kind,
        details=details,
        dashboard=Uid.AGENTS,
    )


AGENT = _machine(
    _OF_AGENTS,
    Kind.AGENT,
    c.AGENT_UP,
    host(c.AGENT_INFO, "agent_id"),
    _reason(c.AGENT_FAILURE, "agent_id"),
    since(c.AGENT_CHANGED, "agent_id"),
)
CONTROLLER = _machine(
    _OF_CONTROLLERS,
    Kind.CONTROLLER,
    c.CONTROLLER_UP,
    _reason(c.CONTROLLER_FAILURE, "controller"),
    since(c.CONTROLLER_CHANGED, "controller"),
)
CLUSTER = _machine(
    _OF_CLUSTERS,
    Kind.CLUSTER,
    c.CLUSTER_UP,
    _fact(" Controller: {}.", c.CLUSTER_INFO, "controller", "cluster_id"),
    _reason(c.CLUSTER_FAILURE, "cluster_id"),
    since(c.CLUSTER_CHANGED, "cluster_id"),
)
MEMBER = _machine(
    _OF_CLUSTERS,
    Kind.CLUSTER,
    c.CLUSTER_MEMBER_UP,
    host(c.AGENT_INFO, "agent_id"),
    _reason(c.CLUSTER_MEMBER_FAILURE, "cluster_id", "member_id"),
    since(c.CLUSTER_MEMBER_CHANGED, "cluster_id", "member_id"),
    on=("cluster_id", "member_id"),
)
RECORDER = _machine(
    _OF_RECORDERS,
    Kind.RECORDER,
    c.RECORDER_UP,
    host(c.RECORDER_INFO, "recorder_id"),
    _reason(c.RECORDER_FAILURE, "recorder_id"),
    since(c.RECORDER_CHANGED, "recorder_id"),
)
LOCATION = _machine(_OF_LOCATIONS, Kind.LOCATION, c.LOCATION_ACTIVE)
SUITE = About(
    listing=_OF_SUITES,
    metric=c.SUITE_RUNNING.name,
    on=(*SOURCE, "suite_id"),
    kind=Kind.SUITE,
    dashboard=Uid.SUITES,
)
RUN = About(
    listing=_OF_RUNS,
    metric=c.RUN_INFO.name,
    on=(*SOURCE, "run_id"),
    kind=Kind.RUN,
    dashboard=Uid.SUITES,
    details=(since(c.RUN_START, "run_id", text=" It was started at {}."),),
)
CERTIFICATE = About(
    listing=_OF_CERTIFICATES,
    metric=c.CERTIFICATE_NOT_AFTER.name,
    on=(*SOURCE, "certificate_id"),
    dashboard=Uid.AGENTS,
    details=(since(c.CERTIFICATE_NOT_AFTER, "certificate_id", text=" It ends at {}."),),
)

_LAST_SUCCESS = Detail(
    text=" The newest poll without a failure ended at {}.",
    metric=own.POLL_LAST_SUCCESS.name,
    on=SOURCE,
    form="humanizeTimestamp",
    function="floor",
    # Before the first success the time stamp is 0.
    only=(">", 0.0),
)


def _of_source(
    family: NamedFamily,
    *on: str,
    details: tuple[Detail, ...] = (),
    dashboard: Uid = Uid.EXPORTER,
) -> About:
    return About(
        listing=_OF_SOURCES,
        metric=family.name,
        on=(*SOURCE, *on),
        details=details,
        dashboard=dashboard,
    )


#: A source, and parts of it.
SOURCE_ITSELF = _of_source(
    c.SOURCE_UP,
    details=(_reason(c.SOURCE_TASK_FAILURE), _LAST_SUCCESS),
    dashboard=Uid.OVERVIEW,
)
TASK = _of_source(
    c.SOURCE_TASK_UP,
    "task",
    details=(
        _reason(c.SOURCE_TASK_FAILURE, "task"),
        msgspec.structs.replace(_LAST_SUCCESS, on=(*SOURCE, "task")),
    ),
)
TARGETS = _of_source(c.SOURCE_TARGETS, "kind")
VENDOR = _of_source(own.VENDOR_SLOW)
VENDOR_CERTIFICATE = _of_source(
    own.VENDOR_CERTIFICATE_END,
    details=(since(own.VENDOR_CERTIFICATE_END, text=" It ends at {}."),),
)

#: All agents of a source.
AGENTS = About(
    listing=_OF_AGENTS,
    metric=c.AGENT_UP.name,
    on=SOURCE,
    dashboard=Uid.OVERVIEW,
    whole=True,
    details=(
        Detail(
            text=" They are: {}.",
            metric=c.AGENT_UP.name,
            on=SOURCE,
            only=("==", 0.0),
            label="agent",
            listed=True,
        ),
    ),
)
