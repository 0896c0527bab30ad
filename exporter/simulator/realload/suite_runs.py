"""Test execution suites that run by the clock, with results that follow from the seed."""

from __future__ import annotations

import math
import random
from typing import Literal

import msgspec


_KEPT_RUNS = 20


class SuiteRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a suite, as far as it has come.

    Attributes:
        started, updated: Moments of life.
        running: Whether it goes on.
    """

    run_id: int
    started: float
    updated: float
    running: bool
    jobs_passed: int
    jobs_failed: int
    sessions_passed: int
    sessions_failed: int
    users: int


class Suite(msgspec.Struct, kw_only=True):
    """A suite with a schedule.

    Attributes:
        place: Where it runs, `m-<agent id>` or `c-<cluster id>`.
        order: 1 sequential, 2 parallel.
        history: How many runs had begun before life did.
        latest_seconds: How long before the beginning of life the latest of them began.
        fail_share: How many of its runs fail, 0 to 1.
        outcome: Forces the outcome of all its runs.
    """

    suite_id: int
    name: str
    place: str
    order: int = 2
    jobs: int = 3
    healthy: bool = True
    period_seconds: float = 300.0
    duration_seconds: float = 45.0
    history: int = 5
    latest_seconds: float = 100.0
    fail_share: float = 0.0
    outcome: Literal["pass", "fail"] | None = None
    seed: str = ""

    def runs(self, moment: float) -> list[SuiteRun]:
        """Return the newest runs, oldest first; older ones count as deleted by the user."""
        first = -self.latest_seconds - (self.history - 1) * self.period_seconds
        begun = math.floor((moment - first) / self.period_seconds) + 1 if self.history else 0
        oldest = max(1, begun - _KEPT_RUNS + 1)
        return [self._run(number, first, moment) for number in range(oldest, begun + 1)]

    def is_running(self, moment: float) -> bool:
        """Tell whether a run goes on."""
        runs = self.runs(moment)
        return bool(runs) and runs[-1].running

    def _run(self, number: int, first: float, moment: float) -> SuiteRun:
        started = first + (number - 1) * self.period_seconds
        into = moment - started
        running = into < self.duration_seconds
        share = min(1.0, into / self.duration_seconds)
        chance = random.Random(f"{self.seed}/{self.suite_id}/{number}")  # noqa: S311 - not secret
        fails = chance.random() < self.fail_share
        if self.outcome is not None:
            fails = self.outcome == "fail"
        done = self.jobs if not running else int(share * self.jobs)
        failed = min(done, chance.randint(1, self.jobs)) if fails else 0
        sessions = int(share * self.jobs * 22)
        sessions_failed = max(failed, sessions // 8) if failed else 0
        return SuiteRun(
            run_id=number,
            started=started,
            updated=started + min(into, self.duration_seconds),
            running=running,
            jobs_passed=done - failed,
            jobs_failed=failed,
            sessions_passed=sessions - sessions_failed,
            sessions_failed=sessions_failed,
            users=2 * self.jobs,
        )


def make_suites(count: int, *, seed: int, agent_id: int, cluster_id: int) -> dict[str, Suite]:
    """Make suites by id: the first ones each show one kind of life, the rest vary them."""
    roles: list[tuple[str, dict[str, object]]] = [
        ("Checkout smoke", {}),
        (
            "Search regression",
            {"fail_share": 1.0, "period_seconds": 420.0, "duration_seconds": 60.0, "jobs": 4},
        ),
        (
            "Payment soak",
            {"period_seconds": 3600.0, "duration_seconds": 1500.0, "latest_seconds": 120.0},
        ),
        ("Returns journey", {"healthy": False, "history": 0, "jobs": 2}),
        ("Login flow", {"fail_share": 0.3, "period_seconds": 240.0, "place": f"c-{cluster_id}"}),
    ]
    chance = random.Random(f"{seed}/suites")  # noqa: S311 - not secret
    suites = {}
    for index in range(count):
        name, role = roles[index] if index < len(roles) else (f"Nightly {index:02}", {})
        if index >= len(roles):
            role = {"period_seconds": chance.uniform(300, 1200), "fail_share": 0.1}
        suite = Suite(suite_id=2 + index, name=name, place=f"m-{agent_id}", seed=str(seed))
        for attribute, value in role.items():
            setattr(suite, attribute, value)
        suites[str(suite.suite_id)] = suite
    return suites
