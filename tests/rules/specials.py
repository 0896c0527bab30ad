"""Histories that concern one alert alone: several exporters, windows, verdicts that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.rules.histories import STEP, History, Phase, labelled


if TYPE_CHECKING:
    from tests.rules.histories import Values


def special(
    labels: str,
    title: str,
    *phases: Phase,
    fires: float | None = None,
    ends: float | None = None,
    gaps: float = 0,
) -> History:
    """Return a history of its own, by default one in which the alert never fires.

    Args:
        labels: The alert's name without its prefix, its severity and further labels.
        title: A description of the events.
        phases: The exposed values.
        fires: The first minute in which the alert fires.
        ends: The first minute in which it no longer fires; `None` if it fires to the end.
        gaps: Minutes in between in which it does not fire.
    """
    alert, severity, *more = labels.split()
    source = f"{alert}: {title}"
    identity = f"alertname=LoadFleet{alert} severity={severity} {' '.join(more)}"
    return History(alert, alert, title, phases, fires, ends, labelled(identity, source), gaps)


def _counted(series: str, *values: int) -> tuple[Phase, ...]:
    """Return a counter that has each value for ten minutes."""
    return tuple(Phase(10, {series: str(value)}) for value in values)


def on(instance: str, values: Values) -> Values:
    """Return what another exporter exposes."""
    return {f"{series} instance={instance}": value for series, value in values.items()}


_TARGET = "provider source"
_AGENT = f"{_TARGET} agent_id agent"
_LISTED = {
    "source_up": "1",
    "source_task_up task=agents": "1",
    "source_targets kind=agent": "5",
    "exporter_poll_interval_seconds task=agents": "60",
    "exporter_build_info": "1",
}
_UNREACHED = _LISTED | {"source_up": "0", "source_task_up task=agents": "0"}
_DOWN = _LISTED | {"agent_up": "0"}


def agents(instance: str, first: int, down: int, count: int) -> Values:
    """Return agents of an exporter, of which some are down."""
    numbers = range(first, first + count)
    found = {f"agent_up agent_id={n} agent=a{n}": str(int(n >= first + down)) for n in numbers}
    return on(instance, _LISTED | found)


def _shards(job: str, *shards: Values) -> Values:
    """Return what exporters expose that share the targets, and know each other by their job."""
    return {
        f"{series} instance={ordinal} job={job}": value
        for ordinal, values in enumerate(shards)
        for series, value in (
            values | {"exporter_shard_ordinal": str(ordinal), "exporter_shards": "2"}
        ).items()
    }


_HEALTHY = _LISTED | {"agent_up agent_id=47 agent=b": "1"}

_SKIPPED = f"PollsSkipped warning {_TARGET} task=agents reason instance"
_FLIPPING = [
    Phase(4, _LISTED | {"suite_running": "0", "suite_last_run_passed": verdict})
    for verdict in "0101"
]

_WINDOW = {
    "preflight_window_start_timestamp_seconds": "0",
    "preflight_window_end_timestamp_seconds": "600",
}
_UNFIT = _WINDOW | {"preflight_due": "1", "preflight_ready": "0"}
_OVER = {
    "preflight_due": "0",
    "preflight_window_start_timestamp_seconds": "90000",
    "preflight_window_end_timestamp_seconds": "90600",
}

SPECIALS = (
    special(
        "NotFit critical preflight", "not known", Phase(1, {"preflight_due": "1"}), fires=2,
    ),
    # Knowledge of one exporter is enough.
    special(
        "NotFit critical preflight", "not known by half of a pair",
        Phase(1, {"preflight_due": "1"} | on("b", {"preflight_due": "1", "preflight_ready": "1"})),
    ),
    # A reading counts for three minutes.
    special(
        "NotFit critical preflight", "known no longer",
        Phase(6, {"preflight_due": "1", "preflight_ready": "1"}),
        Phase(1, {"preflight_due": "1"}), fires=6 + 3 + 2,
    ),
    special(
        "NotFit critical preflight", "window over", Phase(6, _UNFIT), Phase(1, _OVER),
        fires=2, ends=6 + 5,
    ),
    # A window ends by the clock, even if no exporter is left.
    special(
        "NotFit critical preflight", "exporter gone before the end", Phase(6, _UNFIT), Phase(1, {}),
        fires=2, ends=10 + 5,
    ),
    special(
        "NotFit critical preflight", "exporter gone after the end",
        Phase(6, _UNFIT), Phase(2, _OVER), Phase(1, {}), fires=2, ends=6 + 5,
    ),
    # A process of the pair that cannot reach the portal must not suppress the page.
    special(
        f"AgentUnreachable critical {_AGENT}", "half lost",
        Phase(1, _DOWN | on("b", _UNREACHED)), fires=5,
    ),
    special(f"SourceDown critical {_TARGET}", "half lost", Phase(1, _DOWN | on("b", _UNREACHED))),
    special(
        f"SourceUnreachable warning {_TARGET} instance=b", "half lost",
        Phase(1, _DOWN | on("b", _UNREACHED)), fires=5,
    ),
    # One process of the pair is enough to know that a target was deleted.
    special(
        f"AgentUnreachable critical {_AGENT}", "half of a pair gone",
        Phase(6, _LISTED | on("b", _DOWN)), Phase(1, _LISTED), fires=5, ends=6 + 3 + 5,
    ),
    special(
        f"AgentUnreachable critical {_AGENT} job=s1", "dead shard",
        Phase(6, _shards("s1", _HEALTHY, _DOWN)),
        Phase(14, _shards("s1", _HEALTHY)),
        Phase(1, _shards("s1", _HEALTHY, _LISTED)),
        fires=5, ends=20 + 5,
    ),
    # A pair is not sharded: the readings of one process count.
    special(
        f"AgentUnreachable critical {_AGENT}", "deleted, a pair half lost",
        Phase(6, on("a", _DOWN) | on("b", _UNREACHED)),
        Phase(1, on("a", _HEALTHY) | on("b", _UNREACHED)),
        fires=5, ends=6 + 3 + 5,
    ),
    special(
        f"HalfOfAgentsDown critical {_TARGET} job=s3", "shard that reads nothing",
        Phase(6, _shards("s3", _HEALTHY, _DOWN)), Phase(1, _shards("s3", _HEALTHY, _UNREACHED)),
        fires=5,
    ),
    special(
        f"AgentUnreachable critical {_AGENT} job=s2", "shard that reads nothing",
        Phase(6, _shards("s2", _HEALTHY, _DOWN)), Phase(1, _shards("s2", _HEALTHY, _UNREACHED)),
        fires=5,
    ),
    # A list that was never read, or never had targets, is no evidence of an end for a day.
    *(
        special(
            f"AgentUnreachable critical {_AGENT}", title,
            Phase(6, _DOWN | so), Phase(1, _LISTED | so), fires=5,
        )
        for title, so in (
            ("list never read", {"source_task_up task=agents": "0"}),
            ("list always empty", {"source_targets kind=agent": "0"}),
        )
    ),
    special(f"HalfOfAgentsDown critical {_TARGET}", "one alone", Phase(1, _DOWN)),
    special(
        f"HalfOfAgentsDown critical {_TARGET}", "three of ten",
        Phase(1, agents("a", 0, 3, 5) | agents("b", 5, 0, 5)),
    ),
    special(
        f"HalfOfAgentsDown critical {_TARGET}", "five of ten",
        Phase(1, agents("a", 0, 3, 5) | agents("b", 5, 2, 5)), fires=5,
    ),
    # BlazeMeter has suites through their runs only.
    special(
        "SuiteUnhealthy warning provider=blazemeter source suite_id suite", "listed by its runs",
        Phase(6, {
            f"{series} provider=blazemeter": value
            for series, value in (_LISTED | {"suite_healthy": "0"}).items()
        }),
        Phase(1, {
            "source_up provider=blazemeter": "1",
            "source_task_up task=runs provider=blazemeter": "1",
            "source_targets kind=suite provider=blazemeter": "3",
        }),
        fires=5, ends=6 + 3 + 5,
    ),
    # Eggplant's runs are listed with its agents.
    special(
        "RunFailed warning provider=eggplant source run_id run", "listed with agents",
        Phase(6, {"source_up provider=eggplant": "1", "run_passed provider=eggplant": "0"}),
        Phase(10, {"source_up provider=eggplant": "1"}),
        Phase(1, {
            "source_up provider=eggplant": "1",
            "source_task_up task=agents provider=eggplant": "1",
        }),
        fires=0, ends=16,
    ),
    special(
        f"TaskFailing critical {_TARGET} task=agents", "switched off",
        Phase(6, _LISTED | {"source_task_up task=agents": "0"}), Phase(1, {"source_up": "1"}),
        fires=5, ends=6 + 3 + 5,
    ),
    special(
        f"TaskFailing critical {_TARGET} task=agents", "told by NothingKnown",
        Phase(1, _LISTED | {"source_task_up task=agents": "0", "source_targets kind=agent": "0"}),
    ),
    *(
        special(
            f"TaskFailing {severity} {_TARGET} task={task}", task,
            Phase(1, {"source_up": "1", f"source_task_up task={task}": "0"}), fires=5,
        )
        for severity, task in (
            ("critical", "controllers"), ("critical", "clusters"), ("critical", "recorders"),
            ("warning", "suites"), ("warning", "certificates"),
        )
    ),
    special(
        f"SuiteFailed warning {_TARGET} suite_id suite", "every second time", *_FLIPPING,
        fires=0, ends=12, gaps=4,
    ),
    special(
        f"AgentFlapping warning {_AGENT}", "40 seconds up, 40 down",
        # Every half minute; the seventh change is seen in minute 5.
        Phase(1, _LISTED | {"agent_up": "1 1 0 1 0 0 1 0"}), fires=5 + 5,
    ),
    special(
        f"AgentFlapping warning {_AGENT}", "7 minutes down, 3 up",
        *[Phase(7, _DOWN), Phase(3, _LISTED | {"agent_up": "1"})] * 4,
    ),
    special(
        f"AgentFlapping warning {_AGENT}", "then unknown",
        Phase(12, _LISTED | {"agent_up": "0 1"}), Phase(1, {}), fires=3.5 + 5,
    ),
    special(
        f"BudgetExhausted warning {_TARGET}", "once",
        *_counted("exporter_http_requests_total", 5, 6, 6, 6, 6), fires=10 + 5, ends=25 + 5,
    ),
    special(
        f"BudgetExhausted warning {_TARGET}", "restart",
        *_counted("exporter_http_requests_total", 5, 0, 0),
    ),
    special(
        f"BudgetExhausted warning {_TARGET}", "after a restart",
        *_counted("exporter_http_requests_total", 5, 0, 1), fires=20 + 5,
        ends=35 + 5,
    ),
    special(
        f"BudgetExhausted warning {_TARGET}", "other outcomes",
        *_counted("exporter_http_requests_total outcome=timeout", 5, 6, 7, 8),
    ),
    *(
        special(
            f"VendorSurprises info {_TARGET} kind={kind}", kind,
            *_counted(f"exporter_vendor_surprises_total kind={kind}", 0, 1), fires=10 + 5,
        )
        for kind in ("enum", "type", "missing_field")
    ),
    special(
        f"VendorSurprises info {_TARGET} kind=x", "of another kind",
        *_counted("exporter_vendor_surprises_total kind=x", 0, 1),
    ),
    special(_SKIPPED.replace("reason", "reason=missed"), "thrice",
        *_counted("exporter_schedule_skipped_total task=agents reason=missed", 0, 3),
        fires=10 + 5, ends=25 + 5,
    ),
    special(_SKIPPED.replace("reason", "reason=running"), "twice",
        *_counted("exporter_schedule_skipped_total task=agents reason=running", 0, 2),
    ),
    special(_SKIPPED.replace("reason", "reason=running"), "the vendor is slow",
        Phase(10, {"exporter_schedule_skipped_total task=agents reason=running": "0"}),
        Phase(1, {
            "exporter_schedule_skipped_total task=agents reason=running": "9",
            "exporter_vendor_slow": "1",
        }),
    ),
    special(_SKIPPED.replace("reason", "reason=jitter"), "for another reason",
        *_counted("exporter_schedule_skipped_total task=agents reason=jitter", 0, 9),
    ),
    special(
        "ExporterRestarting warning instance", "thrice",
        *_counted("process_start_time_seconds", 0, 600, 1200, 1800), fires=30,
    ),
    special(
        "ExporterRestarting warning instance", "twice",
        *_counted("process_start_time_seconds", 0, 600, 1200),
    ),
)  # fmt: skip


def gone(
    title: str, *phases: Phase, labels: str = "", severity: str = "critical", **times: float
) -> History:
    """Return a history of all exporters there are, as their absence has no labels."""
    found = special(f"ExporterGone {severity} {labels}", title, *phases, **times)
    return found._replace(name="")


_SCRAPED = {"up": "1", "exporter_build_info": "1"}
_FAILED = Phase(1, {"up": "0"})
_SOURCE_OF_A = {f"{series} instance=a": value for series, value in (_SCRAPED | _LISTED).items()}
_SOURCE_OF_B = {
    f"{series} instance=b source=b": value for series, value in (_SCRAPED | _LISTED).items()
}
_ABSENT = {"alertname": "LoadFleetExporterGone", "severity": "critical"}

#: Cases that run alone.
GONE = (
    gone("never there", _FAILED, labels="instance", fires=3),
    # More than half of the scrapes of five minutes fail two and a half minutes later.
    gone("dead", Phase(10, _SCRAPED), _FAILED, labels="instance", fires=12.5 + 3),
    gone(
        "back", Phase(10, _SCRAPED), Phase(10, {"up": "0"}), Phase(1, _SCRAPED),
        labels="instance", fires=12.5 + 3, ends=22 + STEP + 5,
    ),
    gone(
        "most scrapes lost",
        *[Phase(STEP, _SCRAPED), Phase(2 * STEP, {"up": "0"})] * 30,
        labels="instance", fires=2 + 3,
    ),
    gone("scrapes lost", *[Phase(6 * STEP, _SCRAPED), Phase(STEP, {"up": "0"})] * 12),
    gone("restart", Phase(10, _SCRAPED), Phase(1, {"up": "0"}), Phase(1, _SCRAPED)),
    gone("not scraped", Phase(10, _SCRAPED), Phase(1, {}), fires=13 + 3)._replace(labels=_ABSENT),
    # A source counts as unknown a minute and a half after its last sample.
    gone(
        "one of several vanished",
        Phase(10, _SOURCE_OF_A | _SOURCE_OF_B), Phase(1, _SOURCE_OF_A),
        fires=11.5 + 3,
    )._replace(labels=_ABSENT | {"provider": "realload", "source": "b", "kind": "source"}),
    gone(
        "its source taken over",
        Phase(10, _SOURCE_OF_A | _SOURCE_OF_B),
        Phase(1, _SOURCE_OF_A | {
            f"{series} instance=a source=b": value for series, value in _LISTED.items()
        }),
    ),
    # The other shard still shows the source.
    gone(
        "shard vanished",
        Phase(10, _shards("s", *[_SCRAPED | _LISTED] * 2)),
        Phase(1, _shards("s", _SCRAPED | _LISTED)),
        fires=11.5 + 3,
    )._replace(labels=_ABSENT | {"job": "s"}),
    gone(
        "source removed",
        Phase(10, _SOURCE_OF_A | _SOURCE_OF_B),
        Phase(1, _SOURCE_OF_A | {f"{series} instance=b": "1" for series in _SCRAPED}),
    ),
)  # fmt: skip

HEARTBEAT = special("Heartbeat none", "always", Phase(1, {}), fires=0)._replace(
    name="", labels={"alertname": "LoadFleetHeartbeat", "severity": "none"}
)


class Told(NamedTuple):
    """An alert that has no case of its own, and its expected texts.

    Attributes:
        labels: Its name without the prefix, its severity and further labels.
        phases: The exposed values.
        minute: The minute in which the texts are read.
        text: Its description for a source `prod`.
        page: The end of its link to the board.
    """

    labels: str
    phases: tuple[Phase, ...]
    minute: float
    text: str
    page: str


TEXTS = (
    Told(
        "ExporterGone critical instance", (Phase(1, {"up": "0"}),), 3,
        "Most scrapes of the exporter fail, or Prometheus no longer knows it. Failures at sources"
        " that no other exporter watches go unnoticed now. Exporter: prod.", "",
    ),
    Told(
        "ExporterGone critical provider source kind=source job= site=",
        (Phase(10, _LISTED), Phase(1, {"exporter_build_info instance=b": "1"})), 15,
        "Most scrapes of the exporter fail, or Prometheus no longer knows it. Failures at sources"
        " that no other exporter watches go unnoticed now. Source without an exporter: prod.", "",
    ),
    Told(
        "ExporterGone warning instance",
        (
            Phase(1, {
                "up": "0", "source_up": "1",
                "exporter_leader instance=b": "1", "exporter_shard_ordinal instance=b": "0",
            }),
        ),
        3,
        "Most scrapes of exporter prod fail. Another exporter polls its sources, so nothing goes"
        " unnoticed, but no standby is left.", "",
    ),
    Told(
        f"NoLeader critical {_TARGET} shard=0",
        (Phase(1, {"exporter_leader": "0", "exporter_shard_ordinal": "0"}),), 3,
        "No exporter polls shard 0 of source prod (realload): each one is on standby. Their"
        " readings expire, and then nothing is watched.", "",
    ),
    Told(
        f"TwoLeaders warning {_TARGET} shard=0",
        (
            Phase(1, {
                f"exporter_{series}{instance}": value
                for series, value in (("leader", "1"), ("shard_ordinal", "0"))
                for instance in ("", " instance=b")
            }),
        ),
        5,
        "Shard 0 of source prod (realload) is polled by 2 exporters at a time, so the vendor"
        " receives more calls than necessary.", "",
    ),
    Told(
        "ExporterRestarting warning instance",
        _counted("process_start_time_seconds", 0, 600, 1200, 1800), 30,
        "Exporter prod was started 3 times within an hour. While it starts, nothing is watched.",
        "",
    ),
    Told(
        "Heartbeat none job= site=", (Phase(1, {}),), 0,
        "This alert always fires. Route it to a service that raises an alarm when it stops.",
        "",
    ),
    Told(
        f"BudgetExhausted warning {_TARGET}",
        _counted("exporter_http_requests_total", 5, 8), 15,
        "realload refused 3 calls of source prod within a quarter of an hour because there were too"
        " many (429). Readings are late or missing.", "",
    ),
    Told(
        f"VendorSurprises info {_TARGET} kind=enum",
        _counted("exporter_vendor_surprises_total kind=enum", 0, 1), 15,
        "Within an hour, replies of source prod (realload) had 1 values that the exporter does not"
        " know (enum). It ignores them.", "",
    ),
    Told(
        f"PollsSkipped warning {_TARGET} task=agents reason=running instance",
        _counted("exporter_schedule_skipped_total task=agents reason=running", 0, 4), 15,
        "Exporter prod skipped 4 polls of task agents of source prod (realload) within a quarter of"
        " an hour (running): the poll before had not ended, or the exporter was too busy.", "",
    ),
    Told(
        f"AgentFlapping warning {_AGENT}",
        (Phase(1, _LISTED | {"agent_up": "0 1", "agent_info": "1"}),), 9,
        "Agent load-46 (id 46) of source prod went up or down more than six times within half an"
        " hour. Tests that use it fail now and then. Host: load46.example.com.",
        "target?source=prod&kind=agent&id=46",
    ),
    Told(
        f"HalfOfAgentsDown critical {_TARGET}",
        (Phase(1, agents("a", 10, 12, 12) | agents("b", 10, 12, 12)),), 5,
        "At least 50% of the agents of source prod (realload) cannot be reached. Most likely they"
        " have one cause in common, such as a network or a data centre. They are: a10, a11, a12,"
        " a13, a14,"
        " a15, a16, a17, a18, a19 and 2 more.",
        "?source=prod",
    ),
)  # fmt: skip
