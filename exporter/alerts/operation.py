"""The alerts about monitoring itself: the exporters, their sources and the sources' tasks."""

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


#: The alert about an exporter that cannot be scraped.
GONE = f"{PREFIX}ExporterGone"

# The tasks that read machines. While one of them fails, a machine that goes down is not noticed,
# so the alert about the task is critical.
_MACHINES = tuple(
    sorted({kind.task for kind in (Kind.AGENT, Kind.CONTROLLER, Kind.CLUSTER, Kind.RECORDER)})
)

_EXPORTERS = Match(label="job", pattern=".*loadfleet.*")

# The condition holds once most scrapes of the window have failed, which itself takes half of the
# window. So the alert waits for less than other alerts do.
_GONE_HOLD_SECONDS = 180.0
_GONE_WINDOW_SECONDS = 300.0

# A fail-over takes up to 16 seconds, a restart a little longer, and a scrape shows both later. An
# exporter that cannot be scraped may still poll, so the alert waits until such an exporter is
# recognized: 150 seconds, half of the window above.
_NO_LEADER_HOLD_SECONDS = 180.0

_QUARTER, _HOUR = 900.0, 3600.0

#: The most restarts of an exporter within an hour that cause no alert.
RESTARTS = 2


# Without lookback, since a process that is gone no longer polls.
_POLLERS = Sharded(
    of=Select(metric=own.LEADER.name, share=0),
    labels=own.LEADER.labels,
    numbers=Select(metric=own.SHARD_ORDINAL.name, share=0),
)
_LEADERLESS = _POLLERS.merged("sum").compared("==", 0)


def about_exporters() -> Iterator[Rule]:
    """Yield the alerts about exporters that are missing, restart or do not poll."""
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
        "Alerts are evaluated and sent: this alert always fires.",
        "This alert always fires. Route it to a service that raises an alarm when it stops.",
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
    # Sources that no exporter shows any more, such as those of an exporter that has vanished from
    # the service discovery.
    lost = Select(metric=UNKNOWN, matches=(Match(label="kind", values=("source",)),), share=0)
    # The failing scrapes of their exporter already cause an alert for these sources.
    known = Over(function="present_over_time", of=select(c.SOURCE_UP), seconds=UNKNOWN_SECONDS)
    covered = known.where("and", failing, "job", "instance")
    # If a shard has vanished, no exporter watches its share of the targets.
    missing = Select(metric=MISSING, share=0)
    shards = missing.where("unless", failing, "job")
    # A failing exporter is spare if other exporters poll all its sources, in each shard.
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
        .either(lost.where("unless", covered, *SOURCE).where("unless", nowhere).either(shards)),
        "Prometheus cannot scrape an exporter.",
        "Most scrapes of the exporter fail, or Prometheus no longer knows it. Failures at sources"
        " that no other exporter watches go unnoticed now.",
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
        "Most scrapes of exporter {instance} fail. Another exporter polls its sources, so nothing"
        " goes unnoticed, but no standby is left.",
        hold_seconds=_GONE_HOLD_SECONDS,
        built_in=False,
    )


def _leaders(failing: Expression) -> Iterator[Rule]:
    yield Rule(
        f"{PREFIX}NoLeader",
        Severity.CRITICAL,
        # An exporter that cannot be scraped may be the one that polls.
        _LEADERLESS.where("unless", failing, "job"),
        "No exporter polls a source.",
        "No exporter polls shard {shard} of source {source} ({provider}): each one is on standby."
        " Their readings expire, and then nothing is watched.",
        hold_seconds=_NO_LEADER_HOLD_SECONDS,
        built_in=False,
    )
    # Without the store exporters cannot agree on a leader. `StateDown` reports that.
    stateless = select(own.STATE_UP).compared("==", 0)
    leads = _POLLERS.of.compared("==", 1).where("and", stateless, "job", "instance")
    alone = msgspec.structs.replace(_POLLERS, of=leads)
    yield Rule(
        f"{PREFIX}TwoLeaders",
        Severity.WARNING,
        _POLLERS.merged("sum").compared(">", 1).where("unless", alone, "job", *SOURCE, SHARD),
        "Several exporters poll the same source.",
        'Shard {shard} of source {source} ({provider}) is polled by {value:printf "%.0f"} exporters'
        " at a time, so the vendor receives more calls than necessary.",
        # The alert waits long enough: once the store is back, exporters agree within 80 seconds.
        built_in=False,
    )


def about_sources() -> Iterator[Rule]:
    """Yield the alerts about vendors that do not answer as they should."""
    up, refused = merged(c.SOURCE_UP), merged(c.SOURCE_AUTH_FAILED).compared("==", 1)
    # Sources that another exporter reaches, as it may have newer credentials.
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
        " back so that its address is not blocked. Nothing of this source is watched.",
        about.SOURCE_ITSELF,
    )
    yield Rule(
        f"{PREFIX}SourceDown",
        Severity.CRITICAL,
        down.where("unless", refused, *SOURCE),
        "A vendor's API does not answer the exporter.",
        "No poll of source {source} ({provider}) returns readings. Nothing new is known about its"
        " agents, suites and runs.",
        about.SOURCE_ITSELF,
    )
    yield Rule(
        f"{PREFIX}SourceUnreachable",
        Severity.WARNING,
        select(c.SOURCE_UP).compared("==", 0).where("and", up.compared("==", 1), *SOURCE),
        "One of several exporters cannot reach a source.",
        "Exporter {instance} cannot reach source {source} ({provider}); another exporter can.",
        built_in=False,
    )
    expected = select(own.TARGETS_EXPECTED).compared("==", 1)
    missing = merged(c.SOURCE_TARGETS).compared("==", 0).where("and", expected, *SOURCE, "kind")
    # A vendor with locations has agents only there: without locations it has none.
    nowhere = select(c.SOURCE_TARGETS, Match(label="kind", values=(Kind.LOCATION.value,)))
    spared = select(own.TARGETS_EXPECTED).compared("==", 0)
    without_agents = (
        merged(c.SOURCE_TARGETS, Match(label="kind", values=(Kind.AGENT.value,)))
        .compared("==", 0)
        .where("unless", nowhere.compared("==", 0), *SOURCE)
        .where("unless", spared, *SOURCE, "kind")
    )
    # Tasks whose empty lists have an alert of their own, `NothingKnown`.
    listed = select(c.SOURCE_TASK_UP, Match(label="task", values=(Kind.AGENT.task,)))
    covered = expected.where("and", missing, *SOURCE, "kind").either(
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
            .where("unless", covered, *SOURCE, "task"),
            "The polls of a task return no readings, or only a part of them.",
            "The polls of task {task} of source {source} ({provider}) return no readings, or only a"
            " part of the list. Changes go unnoticed now; firing alerts keep firing.",
            about.TASK,
        )
    yield Rule(
        f"{PREFIX}NothingKnown",
        Severity.CRITICAL,
        without_agents.either(missing),
        "A source has no targets of a kind that it should have.",
        "Source {source} ({provider}) has no target of kind {kind}: the vendor lists none, or"
        " `include` and `exclude` leave none. No target of that kind is watched; firing alerts keep"
        " firing.",
        about.TARGETS,
    )
    yield Rule(
        f"{PREFIX}VendorSlow",
        Severity.WARNING,
        merged(own.VENDOR_SLOW).compared("==", 1),
        "A vendor's API is so slow that time-outs say nothing about the targets.",
        "Many calls to source {source} ({provider}) time out or nearly do, so the exporter blames"
        " the vendor and not the targets. Targets whose calls time out keep their last reading"
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
        "A vendor refuses calls because there are too many.",
        '{provider} refused {value:printf "%.0f"} calls of source {source} within a quarter of an'
        " hour because there were too many (429). Readings are late or missing.",
        built_in=False,
    )
    kinds = Match(label="kind", values=("enum", "type", "missing_field"))
    yield Rule(
        f"{PREFIX}VendorSurprises",
        Severity.INFO,
        Over(function="increase", of=select(own.VENDOR_SURPRISES, kinds), seconds=_HOUR)
        .merged("sum")
        .compared(">", 0),
        "A vendor sends values that its API reference does not list.",
        'Within an hour, replies of source {source} ({provider}) had {value:printf "%.0f"} values'
        " that the exporter does not know ({kind}). It ignores them.",
        keep_seconds=0,
        built_in=False,
    )


def about_operation(thresholds: Thresholds) -> Iterator[Rule]:
    """Yield the alerts about the exporter's own work."""
    success = select(own.POLL_LAST_SUCCESS)
    # For a task without any success, the time counts from the exporter's start or newest reload.
    loaded = Merged(of=select(own.RELOAD_SUCCESS_TIMESTAMP), by="max", kept=("instance",))
    since = success.compared(">", 0).either(success.plus_one_of(loaded, "job", "instance"))
    limit = select(own.POLL_INTERVAL).times(thresholds.stale_intervals)
    # A task that fails on all exporters has an alert of its own (`TaskFailing`), and so has an
    # exporter that does not reach the source (`SourceUnreachable`).
    failing = merged(c.SOURCE_TASK_UP).compared("==", 0)
    unreachable = select(c.SOURCE_UP).compared("==", 0)
    yield Rule(
        f"{PREFIX}PollsStale",
        Severity.WARNING,
        Age(of=since)
        .compared(">", limit)
        # A standby does not poll; the leader has the alert.
        .where("unless", select(own.LEADER).compared("==", 0), "instance", *SOURCE)
        .where("unless", failing, *SOURCE, "task")
        .where("unless", unreachable, "instance", *SOURCE),
        "A task has had no poll without a failure for too long.",
        "Task {task} of source {source} ({provider}) has had no poll without a failure for"
        " {value:humanizeDuration}. Its readings may be missing or out of date.",
    )
    reasons = Match(label="reason", values=("running", "missed"))
    # Polls that overlap because the vendor is slow are reported by `VendorSlow`.
    slow = Over(function="max_over_time", of=select(own.VENDOR_SLOW), seconds=_QUARTER)
    yield Rule(
        f"{PREFIX}PollsSkipped",
        Severity.WARNING,
        Over(function="increase", of=select(own.SCHEDULE_SKIPPED, reasons), seconds=_QUARTER)
        .compared(">", 2)
        .where("unless", slow.compared("==", 1), *SOURCE),
        "Polls of a task are skipped.",
        'Exporter {instance} skipped {value:printf "%.0f"} polls of task {task} of source {source}'
        " ({provider}) within a quarter of an hour ({reason}): the poll before had not ended, or"
        " the exporter was too busy.",
        built_in=False,
    )
    yield Rule(
        f"{PREFIX}ReloadFailed",
        Severity.WARNING,
        select(own.RELOAD_SUCCESSFUL).compared("==", 0),
        "The exporter could not reload its configuration.",
        "Exporter {instance} refused the newest configuration and keeps the one before. A restart"
        " would fail.",
    )
    yield Rule(
        f"{PREFIX}WebConfigRefused",
        Severity.WARNING,
        select(own.WEB_CONFIG_SUCCESSFUL).compared("==", 0),
        "The exporter could not reload its web configuration.",
        "Exporter {instance} refused the newest web configuration (users, TLS) and keeps the one"
        " before. A restart would fail, or admit users that the one before refuses.",
    )
    yield Rule(
        f"{PREFIX}StateDown",
        Severity.WARNING,
        select(own.STATE_UP).compared("==", 0),
        "The exporter cannot use its state store.",
        "Exporter {instance} keeps its state in memory, as the store ({backend}) cannot be used. A"
        " restart loses the state, and each process counts refused calls by itself.",
    )
    yield Rule(
        f"{PREFIX}NotificationsFailing",
        Severity.WARNING,
        select(own.NOTIFICATIONS_FAILING).compared("==", 1),
        "The exporter cannot deliver its alerts.",
        "Exporter {instance} cannot deliver alerts to {receiver} and keeps trying. Until it"
        " succeeds, this receiver notifies nobody of them.",
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
