"""Small fleets, as readings in their snapshots, that preflights are judged over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.config.validation import checked
from exporter.fleet.readings import (
    Agent,
    AgentJobs,
    AgentState,
    Cluster,
    ClusterState,
    Member,
    MemberState,
    Reading,
    Suite,
    SuiteRun,
)
from exporter.fleet.store import Snapshot
from exporter.overview.build import runs_in_flight, target_rows
from exporter.overview.preflight.judge import judge
from exporter.overview.rows import Condition
from exporter.overview.sources import SourceRow, TaskRow
from exporter.settings.preflights import PreflightSettings
from tests.web.fakes import NOW, ago


if TYPE_CHECKING:
    from exporter.overview.preflight.report import Check, Report


change = msgspec.structs.replace

#: The tasks of a Real Load source in which everything is switched on.
TASKS = ("agents", "clusters", "jobs", "suites")


def task(name: str, **facts: Any) -> TaskRow:
    """Make a task that was polled half a minute ago."""
    known: dict[str, Any] = {
        "name": name,
        "interval_seconds": 60.0,
        "failing": False,
        "unread": False,
        "up": True,
        "last_attempt_timestamp_seconds": NOW.unix - 30,
        "last_success_timestamp_seconds": NOW.unix - 30,
    }
    return TaskRow(**(known | facts))


def source(name: str = "prod", *tasks: TaskRow, provider: str = "realload") -> SourceRow:
    """Make a source, by default a Real Load account of which all was polled."""
    return SourceRow(
        provider=provider,
        name=name,
        url="https://portal.example",
        state=Condition.UP,
        up=True,
        auth_failed=False,
        blocked=False,
        tasks=tasks or tuple(map(task, TASKS)),
    )


def agent(name: str, *, age: float = 30, **facts: Any) -> Agent:
    """Make an agent that is fit for 100 users; `facts` are of its state or of itself."""
    state: dict[str, Any] = {
        "read_at": ago(age),
        "up": True,
        "outdated": False,
        "clock_delta_seconds": 0.1,
        "users_limit": 100.0,
    }
    own = {key: value for key, value in facts.items() if key in Agent.__struct_fields__}
    state |= {key: value for key, value in facts.items() if key not in own}
    known: dict[str, Any] = {"active": True, "state": AgentState(**state)}
    return Agent(agent_id=f"id-{name}", agent=name, **(known | own))


def jobs(name: str, running: float | None = 0.0, *, age: float = 30) -> AgentJobs:
    """Make the count of an agent's jobs."""
    counts = None if running is None else {"running": running, "completed": 7.0}
    return AgentJobs(agent_id=f"id-{name}", agent=name, read_at=ago(age), counts=counts)


def member(name: str, *, active: bool = True, **facts: Any) -> Member:
    """Make a member that is up."""
    known: dict[str, Any] = {"read_at": ago(30), "up": True, "outdated": False}
    return Member(
        member_id=f"m-{name}",
        agent_id=f"id-{name}",
        agent=name,
        active=active,
        state=MemberState(**(known | facts)),
    )


def cluster(name: str, *members: Member, active: bool = True, **facts: Any) -> Cluster:
    """Make a cluster that can be used; `facts` are of its state."""
    known: dict[str, Any] = {"read_at": ago(30), "up": True, "outdated": False}
    return Cluster(
        cluster_id=f"id-{name}",
        agent_cluster=name,
        controller="ctl.example:8080",
        active=active,
        members=members,
        state=ClusterState(**(known | facts)),
    )


def suite(name: str, *, took: float | None = 40.0, **facts: Any) -> Suite:
    """Make a suite that can be run, does not run, and took some users at its last run."""
    known: dict[str, Any] = {
        "healthy": True,
        "running": False,
        "last_run": SuiteRun(run_id=f"run-{name}", max_users=took),
    }
    return Suite(suite_id=f"id-{name}", suite=name, **(known | facts))


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Sources, and what is known by source and task."""

    sources: tuple[SourceRow, ...] = (source(),)
    known: Mapping[tuple[str, str], tuple[Reading, ...]] = {}
    age: float = 30

    def judged(self, settings: Mapping[str, Any], *, later: float = 0) -> Report:
        """Judge a preflight with some settings, written as in the configuration.

        Args:
            settings: All settings but the name.
            later: Seconds after `NOW`.
        """
        outcome = checked(PreflightSettings, {"name": "nightly", **settings})
        assert not outcome.mistakes
        providers = {each.name: each.provider for each in self.sources}
        snapshots = [
            Snapshot(
                provider=providers[name],
                source=name,
                task=task_,
                readings=readings,
                taken=ago(self.age),
                stale_after=180.0,
            )
            for (name, task_), readings in self.known.items()
        ]
        return judge(
            outcome.settings,
            sources=self.sources,
            targets=tuple(target_rows(snapshots, NOW.later(later))),
            runs=runs_in_flight(snapshots),
            now=NOW.unix + later,
        )


def fleet(*readings: Reading, sources: tuple[SourceRow, ...] = (), age: float = 30) -> Fleet:
    """Make a fleet of one source."""
    sources = sources or (source(),)
    known: dict[tuple[str, str], tuple[Reading, ...]] = {}
    for each in readings:
        kind = {Agent: "agents", AgentJobs: "jobs", Cluster: "clusters", Suite: "suites"}
        key = (sources[0].name, kind.get(type(each), "agents"))
        known[key] = (*known.get(key, ()), each)
    return Fleet(sources=sources, known=known, age=age)


def told(check: Check) -> tuple[str, str, list[tuple[str, str, str]]]:
    """Return result, reason and unfit targets of a check."""
    targets = [(each.name, each.result.value, each.reason) for each in check.targets]
    return check.result.value, check.reason, targets
