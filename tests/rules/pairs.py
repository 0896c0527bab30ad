"""Histories of pairs: of two exporters that show the same, one polls and the other stands by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.histories import Phase
from tests.rules.specials import agents, gone, on, special


if TYPE_CHECKING:
    from tests.rules.histories import Values

_TARGET = "provider source"
_AGENT = f"{_TARGET} agent_id agent"

_SHOWN = {
    "source_up": "1",
    "source_auth_failed": "0",
    "source_task_up task=agents": "1",
    "source_targets kind=agent": "5",
    "exporter_poll_interval_seconds task=agents": "60",
    "exporter_build_info": "1",
    "exporter_state_up": "1",
}
_LEADER, _STANDBY = _SHOWN | {"exporter_leader": "1"}, _SHOWN | {"exporter_leader": "0"}
_SCRAPED, _FAILED = {"up": "1"}, {"up": "0"}
_DOWN, _OTHER = {"agent_up": "0"}, {"agent_up agent_id=47 agent=b": "1"}


def _exposed(job: str, shards: int = 1, **processes: Values) -> Values:
    """Return what processes expose, in turn of the first shard, the second one and so on."""
    found: Values = {}
    for place, (instance, values) in enumerate(processes.items()):
        whole = dict(values)
        if values != _FAILED:
            whole |= {
                "exporter_shard_ordinal": f"{place % shards}",
                "exporter_shards": f"{shards}",
            }
        found |= {f"{series} job={job}": value for series, value in on(instance, whole).items()}
    return found


def _without(values: Values, *series: str) -> Values:
    return {name: value for name, value in values.items() if name not in series}


def _of_shards(job: str, down: int, *more: int) -> Phase:
    """Return two shards with a pair each; of five agents of each shard some are down."""
    shares = [
        {
            series.replace(" instance=x", ""): value
            for series, value in agents("x", 5 * shard, count, 5).items()
        }
        for shard, count in enumerate((down, *more))
    ]
    first, second = shares
    return Phase(
        1,
        _exposed(
            job,
            2,
            a=_LEADER | first,
            b=_LEADER | second,
            c=_STANDBY | first,
            d=_STANDBY | second,
        ),
    )


def _no_leader(job: str, shard: int = 0) -> str:
    return f"NoLeader critical {_TARGET} shard={shard} job={job}"


def _two_leaders(job: str, shard: int = 0) -> str:
    return f"TwoLeaders warning {_TARGET} shard={shard} job={job}"


_POLLED = {"exporter_poll_last_success_timestamp_seconds task=agents": "0+30x120"}
_STALE = {"exporter_poll_last_success_timestamp_seconds task=agents": "1"}

PAIRS = (
    special(
        _no_leader("n1"), "fail-over",
        Phase(10, _exposed("n1", a=_LEADER, b=_STANDBY)),
        Phase(1, _exposed("n1", b=_STANDBY)),
        Phase(1, _exposed("n1", b=_LEADER)),
    ),
    special(
        _no_leader("n2"), "nobody takes over",
        Phase(10, _exposed("n2", a=_LEADER, b=_STANDBY)), Phase(1, _exposed("n2", b=_STANDBY)),
        fires=10 + 3,
    ),
    special(
        _no_leader("n3"), "both stand by, then one polls",
        Phase(10, _exposed("n3", a=_STANDBY, b=_STANDBY)),
        Phase(1, _exposed("n3", a=_STANDBY, b=_LEADER)),
        fires=3, ends=10 + 5,
    ),
    special(_no_leader("n4"), "alone", Phase(1, _exposed("n4", a=_LEADER))),
    special(
        _no_leader("n5", 1), "one shard of two",
        Phase(1, _exposed("n5", 2, a=_LEADER, b=_STANDBY, c=_STANDBY, d=_STANDBY)), fires=3,
    ),
    special(
        _no_leader("n6"), "a shard that has no task of the source",
        Phase(1, _exposed("n6", 2, a=_LEADER, b=_SHOWN, c=_STANDBY, d=_SHOWN)),
    ),
    special(
        _no_leader("n7"), "an older version beside",
        Phase(5, _exposed("n7", a=_SHOWN, b=_SHOWN)),
        Phase(5, _exposed("n7", a=_SHOWN, b=_LEADER)),
        Phase(1, _exposed("n7", a=_STANDBY, b=_LEADER)),
    ),
    special(
        _no_leader("loadfleet-n8"), "told by ExporterGone",
        Phase(10, _exposed("loadfleet-n8", a=_LEADER | _SCRAPED, b=_STANDBY | _SCRAPED)),
        Phase(1, _exposed("loadfleet-n8", a=_FAILED, b=_STANDBY | _SCRAPED)),
    ),
    special(
        _no_leader("n9"), "of two installations one",
        Phase(1, _exposed("n9", a=_LEADER) | {
            f"{series} site=zug": value for series, value in _exposed("n9", b=_STANDBY).items()
        }),
        fires=3,
    )._replace(labels={
        **special(_no_leader("n9"), "of two installations one").labels, "site": "zug"
    }),
    special(
        _two_leaders("t1"), "both poll", Phase(1, _exposed("t1", a=_LEADER, b=_LEADER)), fires=5
    ),
    special(
        _two_leaders("t2"), "fail-over",
        Phase(10, _exposed("t2", a=_LEADER, b=_STANDBY)), Phase(1, _exposed("t2", b=_LEADER)),
    ),
    special(
        _two_leaders("t3"), "hand-over",
        Phase(4, _exposed("t3", a=_LEADER, b=_STANDBY)),
        Phase(1, _exposed("t3", a=_LEADER, b=_LEADER)),
        Phase(1, _exposed("t3", a=_STANDBY, b=_LEADER)),
    ),
    special(
        _two_leaders("t4"), "told by StateDown",
        Phase(1, _exposed("t4", a=_LEADER, b=_LEADER | {"exporter_state_up": "0"})),
    ),
    special(
        _two_leaders("t5"), "shards",
        Phase(1, _exposed("t5", 2, a=_LEADER, b=_LEADER, c=_STANDBY, d=_STANDBY)),
    ),
    # As many leaders as shards, but two for one shard and none for another.
    special(
        _two_leaders("t6"), "of one shard",
        Phase(1, _exposed("t6", 2, a=_LEADER, b=_STANDBY, c=_LEADER, d=_STANDBY)), fires=5,
    ),
    special(
        _two_leaders("t7"), "an installation each",
        Phase(1, _exposed("t7", a=_LEADER) | {
            f"{series} site=zug": value for series, value in _exposed("t7", b=_LEADER).items()
        }),
    ),
    # The leader reports tasks that it does not poll, and the standby does not.
    special(
        f"PollsStale warning {_TARGET} task=agents instance=a job=p1", "pair",
        Phase(1, _exposed("p1", a=_LEADER | _STALE, b=_STANDBY | _STALE)), fires=10.5,
    ),
    special(
        f"PollsStale warning {_TARGET} task=agents job=p2", "fail-over",
        Phase(20, _exposed("p2", a=_LEADER | _POLLED, b=_STANDBY | _POLLED)),
        Phase(1, _exposed("p2", b=_STANDBY | {
            "exporter_poll_last_success_timestamp_seconds task=agents": f"{19 * 60}"
        })),
        Phase(1, _exposed("p2", b=_LEADER | {
            "exporter_poll_last_success_timestamp_seconds task=agents": f"{21 * 60}+30x120"
        })),
    ),
    special(
        f"HalfOfAgentsDown critical {_TARGET} job=h1", "one alone, seen by a pair",
        Phase(1, _exposed("h1", a=_LEADER | _DOWN, b=_STANDBY | _DOWN)),
    ),
    special(
        f"HalfOfAgentsDown critical {_TARGET} job=h2", "one of two, seen by a pair",
        Phase(10, _exposed("h2", a=_LEADER | _DOWN | _OTHER, b=_STANDBY | _DOWN | _OTHER)),
        Phase(1, _exposed("h2", b=_LEADER | _DOWN | _OTHER)),
        fires=5,
    ),
    special(f"HalfOfAgentsDown critical {_TARGET} job=h3", "pairs, three of ten",
        _of_shards("h3", 3, 0)),
    special(f"HalfOfAgentsDown critical {_TARGET} job=h4", "pairs, five of ten",
        _of_shards("h4", 3, 2), fires=5),
    special(
        f"AgentUnreachable critical {_AGENT} job=a1", "fail-over",
        Phase(10, _exposed("a1", a=_LEADER | _DOWN, b=_STANDBY | _DOWN)),
        Phase(1, _exposed("a1", b=_STANDBY | _DOWN)),
        Phase(1, _exposed("a1", b=_LEADER | _DOWN)),
        fires=5,
    ),
    special(
        f"AgentUnreachable critical {_AGENT} job=a2", "deleted after a fail-over",
        Phase(10, _exposed("a2", a=_LEADER | _DOWN, b=_STANDBY | _DOWN)),
        Phase(5, _exposed("a2", b=_LEADER | _DOWN)),
        Phase(1, _exposed("a2", b=_LEADER | _OTHER)),
        fires=5, ends=15 + 3 + 5,
    ),
    # A new standby shows no more of a source than that it is not up.
    special(
        f"SourceDown critical {_TARGET} job=s7", "new standby",
        Phase(1, _exposed("s7", a=_LEADER, b={"source_up": "0", "exporter_leader": "0"})),
    ),
    special(
        f"SourceDown critical {_TARGET} job=s8", "pair",
        Phase(10, _exposed("s8", a=_LEADER | {"source_up": "0"}, b=_STANDBY | {"source_up": "0"})),
        Phase(1, _exposed("s8", b=_LEADER | {"source_up": "0"})),
        fires=5,
    ),
    special(
        f"SourceUnreachable warning {_TARGET} instance=a job=s9", "pair",
        Phase(1, _exposed("s9", a=_LEADER | {"source_up": "0"}, b=_STANDBY | {"source_up": "0"})),
    ),
    special(
        f"NothingKnown critical {_TARGET} kind=agent job=k1", "fail-over",
        Phase(10, _exposed("k1", a=_LEADER | {"source_targets kind=agent": "0"},
            b=_STANDBY | {"source_targets kind=agent": "0"})),
        Phase(1, _exposed("k1", b=_LEADER | {"source_targets kind=agent": "0"})),
        fires=5,
    ),
    special(
        f"BudgetExhausted warning {_TARGET} job=b1", "one that makes no calls beside",
        Phase(10, _exposed("b1", a=_LEADER | {"exporter_http_requests_total": "5"}, b=_STANDBY)),
        Phase(1, _exposed("b1", b=_LEADER | {"exporter_http_requests_total": "0"})),
    ),
)  # fmt: skip

_JOB = "loadfleet-g"
_BEFORE = Phase(10, _exposed(_JOB, a=_LEADER | _SCRAPED, b=_STANDBY | _SCRAPED))

#: Cases that run alone, because absent series have no labels.
GONE_OF_A_PAIR = (
    gone(
        "one of a pair", _BEFORE, Phase(1, _exposed(_JOB, a=_FAILED, b=_LEADER | _SCRAPED)),
        labels=f"instance=a job={_JOB}", severity="warning", fires=12.5 + 3,
    ),
    gone(
        "standby of a pair", _BEFORE, Phase(1, _exposed(_JOB, a=_LEADER | _SCRAPED, b=_FAILED)),
        labels=f"instance=b job={_JOB}", severity="warning", fires=12.5 + 3,
    ),
    gone(
        "nobody takes over", _BEFORE, Phase(1, _exposed(_JOB, a=_FAILED, b=_STANDBY | _SCRAPED)),
        labels=f"instance=a job={_JOB}", fires=12.5 + 3,
    ),
    gone(
        "its pod is replaced", _BEFORE,
        Phase(1, _exposed(_JOB, b=_LEADER | _SCRAPED)),
        Phase(1, _exposed(_JOB, b=_LEADER | _SCRAPED, c=_STANDBY | _SCRAPED)),
    ),
    # The source is still polled by the other shard.
    gone(
        "the last one of a shard",
        Phase(10, _exposed(_JOB, 2, a=_LEADER | _SCRAPED, b=_LEADER | _SCRAPED)),
        Phase(1, _exposed(_JOB, 2, a=_LEADER | _SCRAPED, b=_FAILED)),
        labels=f"instance=b job={_JOB}", fires=12.5 + 3,
    ),
    gone(
        "with a source of its own",
        Phase(10, _exposed(_JOB, a=_LEADER | _SCRAPED, b={
            **_SCRAPED, "source_up source=b": "1", "exporter_leader source=b": "1"
        })),
        Phase(1, _exposed(_JOB, a=_LEADER | _SCRAPED, b=_FAILED)),
        labels=f"instance=b job={_JOB}", fires=12.5 + 3,
    ),
)  # fmt: skip
