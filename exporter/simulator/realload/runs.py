"""Real Load suites that run repeatedly, with the results of their runs."""

from __future__ import annotations

import math
import random
from typing import Final, Literal

import msgspec


_KEPT_RUNS: Final = 20
_SESSIONS_PER_JOB: Final = 22

#: The vendor does not publish its list of states; 2 is inferred, 1 is a guess.
RUNNING, COMPLETED = 1, 2


class JobRun(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a run. The job has begun and may have ended.

    Attributes:
        index: The job's position in the suite.
        started, updated: Moments of its start and last update.
    """

    index: int
    started: float
    updated: float
    running: bool
    failed: bool
    sessions_passed: int
    sessions_failed: int


class SuiteRun(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of one run of a suite.

    Attributes:
        started, updated: Moments of its start and last update.
        running: Whether the run is in flight.
        stopped: Whether a user stopped it before its last job was executed.
        state: The vendor's number for its state.
        jobs: The number of jobs to execute.
    """

    run_id: int
    started: float
    updated: float
    running: bool
    stopped: bool
    state: int
    jobs: int
    jobs_passed: int
    jobs_failed: int
    sessions_passed: int
    sessions_failed: int
    users: int

    def parts(self) -> list[JobRun]:
        """Return its jobs that have begun, in order; their sums equal the run's numbers."""
        done = self.jobs_passed + self.jobs_failed
        begun = done + self.running * (done < self.jobs)
        passed = _shares(self.sessions_passed, begun)
        failed = [0] * self.jobs_passed + _shares(self.sessions_failed, self.jobs_failed)
        step = (self.updated - self.started) / max(1, begun)
        return [
            JobRun(
                index=index,
                started=self.started + index * step,
                updated=self.started + (index + 1) * step,
                running=index >= done,
                failed=self.jobs_passed <= index < done,
                sessions_passed=passed[index],
                sessions_failed=failed[index] if index < done else 0,
            )
            for index in range(begun)
        ]


def _shares(total: int, count: int) -> list[int]:
    """Divide a number into `count` whole parts."""
    return [total // count + (index < total % count) for index in range(count)]


class Suite(msgspec.Struct, kw_only=True):
    """A test execution suite that runs periodically, with results that depend on the seed.

    Attributes:
        place: The agent or cluster that runs it, `m-<agent id>` or `c-<cluster id>`.
        order: 1 for sequential, 2 for parallel.
        history: The number of runs that began before the world's beginning.
        latest_seconds: Time from the start of the latest of these runs to the world's beginning.
        fail_share: Ratio of failed runs, 0 to 1.
        outcomes: Forced outcomes of its runs, which are used in turn.
        stopped_after: The number of executed jobs in a run with the outcome `stop`.
        ended_state: The vendor's number for the state of ended runs.
        lag_seconds: Delay of the list of running suites; if negative, of the list of suites.
    """

    suite_id: int
    name: str
    place: str
    order: int = 1
    jobs: int = 3
    healthy: bool = True
    period_seconds: float = 300.0
    duration_seconds: float = 45.0
    history: int = 5
    latest_seconds: float = 100.0
    fail_share: float = 0.0
    outcomes: list[Literal["pass", "fail", "stop"]] = []
    stopped_after: int = 1
    ended_state: int = COMPLETED
    lag_seconds: float = 0.0
    seed: str = ""

    def runs(self, moment: float) -> list[SuiteRun]:
        """Return the newest runs, oldest first. Older runs count as deleted by a user."""
        moment += min(0.0, self.lag_seconds)
        first = -self.latest_seconds - (self.history - 1) * self.period_seconds
        begun = math.floor((moment - first) / self.period_seconds) + 1 if self.history else 0
        oldest = max(1, begun - _KEPT_RUNS + 1)
        return [self._run(number, first, moment) for number in range(oldest, begun + 1)]

    def is_running(self, moment: float) -> bool:
        """Return whether the suite is in the list of running suites."""
        runs = self.runs(moment - self.lag_seconds)
        return bool(runs) and runs[-1].running

    def _run(self, number: int, first: float, moment: float) -> SuiteRun:
        started = first + (number - 1) * self.period_seconds
        chance = random.Random(f"{self.seed}/{self.suite_id}/{number}")  # noqa: S311 - not secret
        fails = chance.random() < self.fail_share
        stops = False
        if self.outcomes:
            outcome = self.outcomes[(number - 1) % len(self.outcomes)]
            fails, stops = outcome == "fail", outcome == "stop"
        whole = self.stopped_after / max(1, self.jobs) if stops else 1.0
        length = max(1.0, whole * self.duration_seconds)
        into = moment - started
        running = into < length
        done = int(into / self.duration_seconds * self.jobs)
        sessions = int(into / self.duration_seconds * self.jobs * _SESSIONS_PER_JOB)
        if not running:
            done = self.stopped_after if stops else self.jobs
            sessions = done * _SESSIONS_PER_JOB
        failed = min(done, chance.randint(1, max(1, self.jobs))) if fails else 0
        sessions_failed = max(failed, sessions // 8) if failed else 0
        return SuiteRun(
            run_id=number,
            started=started,
            updated=started + min(into, length),
            running=running,
            stopped=stops and not running,
            state=RUNNING if running else self.ended_state,
            jobs=self.jobs,
            jobs_passed=done - failed,
            jobs_failed=failed,
            sessions_passed=sessions - sessions_failed,
            sessions_failed=sessions_failed,
            users=2 * self.jobs,
        )


def make_suites(count: int, *, seed: int, agent_id: int, cluster_id: int) -> dict[str, Suite]:
    """Return suites by id. The first ones each show a different behaviour; the others vary."""
    roles: list[tuple[str, dict[str, object]]] = [
        ("Checkout smoke", {}),
        (
            "Search regression",
            {"fail_share": 1.0, "period_seconds": 420.0, "duration_seconds": 60.0, "jobs": 4},
        ),
        (
            "Payment soak",
            {
                "period_seconds": 3600.0,
                "duration_seconds": 1500.0,
                "latest_seconds": 120.0,
                # Enough runs for a usual duration.
                "history": 12,
            },
        ),
        ("Returns journey", {"healthy": False, "history": 0, "jobs": 2}),
        ("Login flow", {"fail_share": 0.3, "period_seconds": 240.0, "place": f"c-{cluster_id}"}),
        ("Catalogue import", {"outcomes": ["stop"], "period_seconds": 900.0}),
        ("Draft", {"jobs": 0, "period_seconds": 1800.0}),
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
