"""The kinds of targets that alerts are about: their labels, evidence, pages and details."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts import evidence
from exporter.alerts.evidence import SOURCE, Listing
from exporter.alerts.expression import Expression, Select
from exporter.alerts.texts import Detail
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from exporter.metrics.catalogue import NamedFamily


@unique
class Uid(StrEnum):
    """The uids of the dashboards, used in links from alerts and from other dashboards."""

    OVERVIEW = "loadfleet-overview"
    AGENTS = "loadfleet-agents"
    SUITES = "loadfleet-suites"
    GENERATORS = "loadfleet-generators"
    EXPORTER = "loadfleet-exporter"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of target that the alerts of a rule are about.

    Attributes:
        listing: The list in which the vendor returns the targets.
        metric: The metric that has a series for each target that was read.
        on: The labels that identify a target.
        dashboard: The dashboard that shows the targets.
        kind: The kind in the URL of a target's page; if `None`, alerts link to the board.
        details: Sentences about a target.
        whole: Whether the condition is about all targets of a source, so that readings of one
            shard are no evidence.
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
        series = Select(metric=self.metric, share=evidence.SHARE)
        return series.where("unless", evidence.sharded(), "job") if self.whole else series

    @property
    def page(self) -> str:
        """The URL of a target's page, relative to the board's, as the template of a `Text`."""
        if self.listing is evidence.PREFLIGHTS:
            return "#preflights"
        if self.kind is None:
            return "?source={source:urlquery}"
        label = self.on[len(SOURCE)]
        query = f"source={{source:urlquery}}&kind={self.kind}&id={{{label}:urlquery}}"
        return f"target?{query}"

    @property
    def chosen(self) -> str:
        """The query in the URL of the dashboard, as the template of a `Text`."""
        return "?var-source={source:urlquery}" if self.listing.on == SOURCE else ""


def since(family: NamedFamily, *on: str, text: str = " Since {}.") -> Detail:
    """Return a sentence with the time stamp that a metric holds."""
    form, function = "humanizeTimestamp", "floor"
    return Detail(text=text, metric=family.name, on=(*SOURCE, *on), form=form, function=function)


def lasting(family: NamedFamily, *on: str, text: str) -> Detail:
    """Return a sentence with the duration that a metric holds."""
    return Detail(text=text, metric=family.name, on=(*SOURCE, *on), form="humanizeDuration")


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


def outcome(family: NamedFamily, *on: str, text: str) -> Detail:
    """Return a sentence with the outcome of a run."""
    on = (*SOURCE, *on)
    return Detail(text=text, metric=family.name, on=on, label="outcome", only=("==", 1.0))


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
    evidence.AGENTS,
    Kind.AGENT,
    c.AGENT_UP,
    host(c.AGENT_INFO, "agent_id"),
    _reason(c.AGENT_FAILURE, "agent_id"),
    since(c.AGENT_CHANGED, "agent_id"),
)
CONTROLLER = _machine(
    evidence.CONTROLLERS,
    Kind.CONTROLLER,
    c.CONTROLLER_UP,
    _reason(c.CONTROLLER_FAILURE, "controller"),
    since(c.CONTROLLER_CHANGED, "controller"),
)
CLUSTER = _machine(
    evidence.CLUSTERS,
    Kind.CLUSTER,
    c.CLUSTER_UP,
    _fact(" Controller: {}.", c.CLUSTER_INFO, "controller", "cluster_id"),
    _reason(c.CLUSTER_FAILURE, "cluster_id"),
    since(c.CLUSTER_CHANGED, "cluster_id"),
)
MEMBER = _machine(
    evidence.CLUSTERS,
    Kind.CLUSTER,
    c.CLUSTER_MEMBER_UP,
    host(c.AGENT_INFO, "agent_id"),
    _reason(c.CLUSTER_MEMBER_FAILURE, "cluster_id", "member_id"),
    since(c.CLUSTER_MEMBER_CHANGED, "cluster_id", "member_id"),
    on=("cluster_id", "member_id"),
)
RECORDER = _machine(
    evidence.RECORDERS,
    Kind.RECORDER,
    c.RECORDER_UP,
    host(c.RECORDER_INFO, "recorder_id"),
    _reason(c.RECORDER_FAILURE, "recorder_id"),
    since(c.RECORDER_CHANGED, "recorder_id"),
)
LOCATION = _machine(evidence.LOCATIONS, Kind.LOCATION, c.LOCATION_ACTIVE)
SUITE = About(
    listing=evidence.SUITES,
    metric=c.SUITE_RUNNING.name,
    on=(*SOURCE, "suite_id"),
    kind=Kind.SUITE,
    dashboard=Uid.SUITES,
)
RUN = About(
    listing=evidence.RUNS,
    metric=c.RUN_INFO.name,
    on=(*SOURCE, "run_id"),
    kind=Kind.RUN,
    dashboard=Uid.SUITES,
    details=(since(c.RUN_START, "run_id", text=" It was started at {}."),),
)
CERTIFICATE = About(
    listing=evidence.CERTIFICATES,
    metric=c.CERTIFICATE_NOT_AFTER.name,
    on=(*SOURCE, "certificate_id"),
    dashboard=Uid.AGENTS,
    details=(since(c.CERTIFICATE_NOT_AFTER, "certificate_id", text=" It ends at {}."),),
)
PREFLIGHT = About(
    listing=evidence.PREFLIGHTS,
    metric=own.PREFLIGHT_DUE.name,
    on=evidence.PREFLIGHTS.on,
    dashboard=Uid.OVERVIEW,
    details=(
        Detail(
            text=" The test begins at {}.",
            metric=own.PREFLIGHT_WINDOW_END.name,
            on=evidence.PREFLIGHTS.on,
            form="humanizeTimestamp",
            function="floor",
        ),
        Detail(
            text=" Checks that fail: {}.",
            metric=own.PREFLIGHT_CHECK_PASSED.name,
            on=evidence.PREFLIGHTS.on,
            only=("==", 0.0),
            label="check",
            listed=True,
        ),
    ),
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
        listing=evidence.SOURCES,
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
    listing=evidence.AGENTS,
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
