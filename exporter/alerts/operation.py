"""The rows of the table about watching itself: the exporter, its sources and their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.alerts import about
from exporter.alerts.evidence import MISSING, SOURCE, UNKNOWN, UNKNOWN_SECONDS
from exporter.alerts.expression import (
    SHARD,
    Absent,
    Age,
    Always,
    Expression,
    Match,
    Merged,
    Over,
    Remaining,
    Select,
    Sharded,
    merged,
    select,
)
from exporter.alerts.rule import HEARTBEAT, PREFIX, Rule, Severity
from exporter.alerts.texts import Detail
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics import own


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.alerts.thresholds import Thresholds


#: The alert that tells of the exporter's absence.
GONE = f"{PREFIX}ExporterGone"

# The tasks that read machines: while one of them fails, nobody notices that a machine is down.
_MACHINES = tuple(
    sorted({kind.task for kind in (Kind.AGENT, Kind.CONTROLLER, Kind.CLUSTER, Kind.RECORDER)})
)

_EXPORTERS = Match(label="job", pattern=".*loadfleet.*")

# Most scrapes of a window must have failed before the condition holds, so it is held for less.
_GONE_HOLD_SECONDS = 180.0
_GONE_WINDOW_SECONDS = 300.0

# A fail-over takes up to 16 seconds, a restart a little longer, and both are seen a scrape later.
# One that cannot be scraped counts as gone after two and a half minutes; this waits for that.
_NO_LEADER_HOLD_SECONDS = 180.0

_QUARTER, _HOUR = 900.0, 3600.0

#: So many restarts of an exporter within an hour are not worth an alert.
RESTARTS = 2


# Who polls is asked of the newest scrape alone: a process that is gone polls no more.
_POLLERS = Sharded(
    of=Select(metric=own.LEADER.name, share=0),
    labels=own.LEADER.labels,
    numbers=Select(metric=own.SHARD_ORDINAL.name, share=0),
)
_LEADERLESS = _POLLERS.merged("sum").compared("==", 0)


def about_exporters() -> Iterator[Rule]:
    """Yield the rows about whether anybody watches at all."""
    failing = _failing()
    yield from _gone(failing)
    yield from _leaders(failing)
    yield Rule(
        f"{PREFIX}ExporterRestarting",
        Severity.WARNING,
        Over(
            function="changes",
            of=Select(metric="process_start_time_seconds", matches=(_EXPORTERS,)),
            seconds=_HOUR,
        ).compared(">", RESTARTS),
        "The exporter is started again and again.",
        'Exporter {instance} was started {value:printf "%.0f"} times within an hour. While it'
        " starts, nothing is watched.",
        hold_seconds=0,
        built_in=False,
    )
    yield Rule(
        HEARTBEAT,
        Severity.NONE,
        Always(),
        "Alerts are judged and sent, as this one shows by always firing.",
        "This alert always fires. It is for a service that tells somebody when it no longer comes.",
        hold_seconds=0,
        keep_seconds=0,
    )


def _failing() -> Expression:
    """Return the exporters that Prometheus cannot scrape."""
    scraped = Over(
        function="avg_over_time",
        of=Select(metric="up", matches=(_EXPORTERS,)),
        seconds=_GONE_WINDOW_SECONDS,
    )
    return scraped.compared("<", 0.5)


def _gone(failing: Expression) -> Iterator[Rule]:
    nowhere = Absent(of=select(own.BUILD_INFO))
    # One of several that vanishes from the service discovery leaves its sources to nobody.
    lost = Select(metric=UNKNOWN, matches=(Match(label="kind", values=("source",)),), share=0)
    # Those of an exporter that cannot be scraped, or of all, are told by that.
    known = Over(function="present_over_time", of=select(c.SOURCE_UP), seconds=UNKNOWN_SECONDS)
    told = known.where("and", failing, "job", "instance")
    # A shard that vanishes leaves its share of the targets to nobody.
    missing = Select(metric=MISSING, share=0)
    shards = missing.where("unless", failing, "job")
    # One of a pair: whatever it watched another one polls, in each shard.
    leads = _POLLERS.of.compared("==", 1)
    spare = (
        failing.where("and", known.where("and", leads, *SOURCE), "job", "instance")
        .where("unless", known.where("unless", leads, *SOURCE), "job", "instance")
        .where("unless", _LEADERLESS.either(missing), "job")
    )
    yield Rule(
        GONE,
        Severity.CRITICAL,
        failing.where("unless", spare, "job", "instance")
        .either(nowhere.where("unless", failing))
        .either(lost.where("unless", told, *SOURCE).where("unless", nowhere).either(shards)),
        "Prometheus cannot scrape an exporter.",
        "Most scrapes of the exporter fail, or Prometheus no longer knows it. What happens to the"
        " sources that no other exporter watches goes unnoticed now.",
        hold_seconds=_GONE_HOLD_SECONDS,
        built_in=False,
        details=(
            Detail(text=" Exporter: {}.", metric="up", on=("job", "instance"), label="instance"),
            Detail(
                text=" Source without an exporter: {}.", metric=UNKNOWN, on=SOURCE, label="source"
            ),
            Detail(text=" Job without a shard: {}.", metric=MISSING, on=("job",), label="job"),
        ),
    )
    yield Rule(
        GONE,
        Severity.WARNING,
        spare,
        "Prometheus cannot scrape an exporter.",
        "Most scrapes of exporter {instance} fail. Another one polls its sources, so that nothing"
        " goes unnoticed; while it is alone, nobody takes over from it.",
        hold_seconds=_GONE_HOLD_SECONDS,
        built_in=False,
    )


def _leaders(failing: Expression) -> Iterator[Rule]:
    yield Rule(
        f"{PREFIX}NoLeader",
        Severity.CRITICAL,
        # One that cannot be scraped may well poll.
        _LEADERLESS.where("unless", failing, "job"),
        "No exporter polls a source.",
        "Of the exporters that watch shard {shard} of source {source} ({provider}) none polls it:"
        " each one stands by for another. What they show gets old, and then nothing is watched.",
        hold_seconds=_NO_LEADER_HOLD_SECONDS,
        built_in=False,
    )
    # Without the store nobody can agree, which is told as that.
    stateless = select(own.STATE_UP).compared("==", 0)
    leads = _POLLERS.of.compared("==", 1).where("and", stateless, "job", "instance")
    alone = msgspec.structs.replace(_POLLERS, of=leads)
    yield Rule(
        f"{PREFIX}TwoLeaders",
        Severity.WARNING,
        _POLLERS.merged("sum").compared(">", 1).where("unless", alone, "job", *SOURCE, SHARD),
        "Several exporters poll the same source.",
        'Shard {shard} of source {source} ({provider}) is polled by {value:printf "%.0f"} exporters'
        " at a time, so that the vendor is called more often than it need be.",
        # Those that the store was away for agree again within 80 seconds of its return.
        built_in=False,
    )


def about_sources() -> Iterator[Rule]:
    """Yield the rows about vendors that do not answer as they should."""
    up, refused = merged(c.SOURCE_UP), merged(c.SOURCE_AUTH_FAILED).compared("==", 1)
    # An exporter that has newer credentials reaches the source.
    reached = (
        select(c.SOURCE_UP)
        .compared("==", 1)
        .where("unless", select(c.SOURCE_AUTH_FAILED).compared("==", 1), "instance", *SOURCE)
    )
    down = up.compared("==", 0)
    yield Rule(
        f"{PREFIX}CredentialsRefused",
        Severity.CRITICAL,
        refused.where("unless", reached, *SOURCE),
        "A vendor refuses the exporter's credentials.",
        "{provider} refuses the credentials of source {source}. The exporter holds its calls"
        " back so that its address is not blocked; nothing of this source is watched.",
        about.SOURCE_ITSELF,
    )
    yield Rule(
        f"{PREFIX}SourceDown",
        Severity.CRITICAL,
        down.where("unless", refused, *SOURCE),
        "A vendor's API does not answer the exporter.",
        "No poll of source {source} ({provider}) brings readings. Nothing new is known of its"
        " agents, suites and runs.",
        about.SOURCE_ITSELF,
    )
    yield Rule(
        f"{PREFIX}SourceUnreachable",
        Severity.WARNING,
        select(c.SOURCE_UP).compared("==", 0).where("and", up.compared("==", 1), *SOURCE),
        "One of several exporters cannot reach a source.",
        "Exporter {instance} cannot reach source {source} ({provider}); another one can.",
        built_in=False,
    )
    expected = select(own.TARGETS_EXPECTED).compared("==", 1)
    missing = merged(c.SOURCE_TARGETS).compared("==", 0).where("and", expected, *SOURCE, "kind")
    # Agents of a vendor with locations are those of its locations.
    nowhere = select(c.SOURCE_TARGETS, Match(label="kind", values=(Kind.LOCATION.value,)))
    spared = select(own.TARGETS_EXPECTED).compared("==", 0)
    without_agents = (
        merged(c.SOURCE_TARGETS, Match(label="kind", values=(Kind.AGENT.value,)))
        .compared("==", 0)
        .where("unless", nowhere.compared("==", 0), *SOURCE)
        .where("unless", spared, *SOURCE, "kind")
    )
    # The source, or what the task lists, has an alert of its own.
    listed = select(c.SOURCE_TASK_UP, Match(label="task", values=(Kind.AGENT.task,)))
    told = expected.where("and", missing, *SOURCE, "kind").either(
        listed.where("and", without_agents, *SOURCE)
    )
    for severity, negated in ((Severity.CRITICAL, False), (Severity.WARNING, True)):
        tasks = Match(label="task", values=_MACHINES, negated=negated)
        yield Rule(
            f"{PREFIX}TaskFailing",
            severity,
            merged(c.SOURCE_TASK_UP, tasks)
            .compared("==", 0)
            .where("unless", down, *SOURCE)
            .where("unless", refused, *SOURCE)
            .where("unless", told, *SOURCE, "task"),
            "A task brings no readings, or only a part of them.",
            "The polls of task {task} of source {source} ({provider}) bring no readings, or only a"
            " part of the list. Changes of what it reads go unnoticed now; alerts that fire go on.",
            about.TASK,
        )
    yield Rule(
        f"{PREFIX}NothingKnown",
        Severity.CRITICAL,
        without_agents.either(missing),
        "A source has no targets of a kind that it should have.",
        "Source {source} ({provider}) has no target of kind {kind}: the vendor lists none, or"
        " `include` and `exclude` leave none. No target of that kind is watched; alerts that fire"
        " go on.",
        about.TARGETS,
    )
    yield Rule(
        f"{PREFIX}VendorSlow",
        Severity.WARNING,
        merged(own.VENDOR_SLOW).compared("==", 1),
        "A vendor's API is so slow that time-outs say nothing of the targets.",
        "Many calls to source {source} ({provider}) time out or nearly do, so the vendor is taken"
        " for slow and no target is blamed. Targets whose calls time out keep their last reading"
        " until it expires.",
        about.VENDOR,
    )
    limited = Match(label="outcome", values=("rate_limited",))
    yield Rule(
        f"{PREFIX}BudgetExhausted",
        Severity.WARNING,
        Over(function="increase", of=select(own.HTTP_REQUESTS, limited), seconds=_QUARTER)
        .merged("sum", "operation", "outcome")
        .compared(">", 0),
        "A vendor answers that there are too many calls.",
        '{provider} refused {value:printf "%.0f"} calls of source {source} within a quarter of an'
        " hour as too many (429). Readings come late or not at all.",
        built_in=False,
    )
    kinds = Match(label="kind", values=("enum", "type", "missing_field"))
    yield Rule(
        f"{PREFIX}VendorSurprises",
        Severity.INFO,
        Over(function="increase", of=select(own.VENDOR_SURPRISES, kinds), seconds=_HOUR)
        .merged("sum")
        .compared(">", 0),
        "A vendor sends values that its API's reference does not know.",
        'Replies of source {source} ({provider}) had {value:printf "%.0f"} values within an hour'
        " that the exporter does not know ({kind}). They are left out.",
        keep_seconds=0,
        built_in=False,
    )


def about_operation(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the rows about the exporter's own work."""
    success = select(own.POLL_LAST_SUCCESS)
    # A task without any success counts from the start of the exporter or its newest reload.
    loaded = Merged(of=select(own.RELOAD_SUCCESS_TIMESTAMP), by="max", kept=("instance",))
    since = success.compared(">", 0).either(success.plus_one_of(loaded, "job", "instance"))
    limit = select(own.POLL_INTERVAL).times(thresholds.stale_intervals)
    # A task that brings no exporter anything has an alert of its own, and so has an exporter that
    # does not reach the source.
    failing = merged(c.SOURCE_TASK_UP).compared("==", 0)
    unreachable = select(c.SOURCE_UP).compared("==", 0)
    yield Rule(
        f"{PREFIX}PollsStale",
        Severity.WARNING,
        Age(of=since)
        .compared(">", limit)
        # What another one polls is that one's to tell.
        .where("unless", select(own.LEADER).compared("==", 0), "instance", *SOURCE)
        .where("unless", failing, *SOURCE, "task")
        .where("unless", unreachable, "instance", *SOURCE),
        "A task has not been polled without a failure for too long.",
        "Task {task} of source {source} ({provider}) has had no poll without a failure for"
        " {value:humanizeDuration}. What the task reads may be missing or out of date.",
    )
    reasons = Match(label="reason", values=("running", "missed"))
    # Polls that overlap because the vendor is slow are told as that.
    slow = Over(function="max_over_time", of=select(own.VENDOR_SLOW), seconds=_QUARTER)
    yield Rule(
        f"{PREFIX}PollsSkipped",
        Severity.WARNING,
        Over(function="increase", of=select(own.SCHEDULE_SKIPPED, reasons), seconds=_QUARTER)
        .compared(">", 2)
        .where("unless", slow.compared("==", 1), *SOURCE),
        "Polls of a task are left out.",
        'Exporter {instance} left out {value:printf "%.0f"} polls of task {task} of source {source}'
        " ({provider}) within a quarter of an hour ({reason}): the one before had not ended, or"
        " the exporter had no time.",
        built_in=False,
    )
    yield Rule(
        f"{PREFIX}ReloadFailed",
        Severity.WARNING,
        select(own.RELOAD_SUCCESSFUL).compared("==", 0),
        "The exporter could not load its configuration anew.",
        "Exporter {instance} refused the newest configuration. It goes on with the one before, and"
        " a restart would fail.",
    )
    yield Rule(
        f"{PREFIX}WebConfigRefused",
        Severity.WARNING,
        select(own.WEB_CONFIG_SUCCESSFUL).compared("==", 0),
        "The exporter could not load its web configuration anew.",
        "Exporter {instance} refused the newest web configuration (users, TLS). It goes on with the"
        " one before. A restart would fail, or let in whom the one before does not.",
    )
    yield Rule(
        f"{PREFIX}StateDown",
        Severity.WARNING,
        select(own.STATE_UP).compared("==", 0),
        "The exporter cannot use the store of its state.",
        "Exporter {instance} keeps its state in memory, as the store ({backend}) cannot be used. A"
        " restart forgets it, and refused calls are not counted together with other processes.",
    )
    yield Rule(
        f"{PREFIX}NotificationsFailing",
        Severity.WARNING,
        select(own.NOTIFICATIONS_FAILING).compared("==", 1),
        "The exporter cannot deliver its alerts.",
        "Exporter {instance} cannot deliver to {receiver} and keeps trying. Nobody behind it hears"
        " of alerts meanwhile.",
    )
    if thresholds.certificate_expiry is None:
        return
    yield Rule(
        f"{PREFIX}VendorCertificateExpiring",
        Severity.WARNING,
        Remaining(of=merged(own.VENDOR_CERTIFICATE_END)).compared(
            "<", thresholds.certificate_expiry
        ),
        "The certificate of a vendor's API expires soon.",
        "The certificate that the API of source {source} ({provider}) presents expires soon. After"
        " that the exporter refuses to call it, and so do other clients.",
        about.VENDOR_CERTIFICATE,
    )
    yield Rule(
        f"{PREFIX}WebCertificateExpiring",
        Severity.WARNING,
        Remaining(of=select(own.WEB_CERTIFICATE_END)).compared("<", thresholds.certificate_expiry),
        "The exporter's own certificate expires soon.",
        "The certificate that exporter {instance} presents expires in {value:humanizeDuration}."
        " After that Prometheus refuses to scrape it.",
    )
