"""The details of the newest finished runs: their jobs, and the events of their logs.

A detail is large and does not change. It is read once per run, a few details per poll, and kept
until a newer run of the suite has ended.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.fleet.readings import Suite, SuiteJob, SuiteRun
from exporter.lockout.queue import Priority
from exporter.sources.base import Failure
from exporter.sources.decode import measured, text
from exporter.sources.memory import known_readings
from exporter.sources.realload import actions
from exporter.sources.realload.client import RealLoadClient, Trace
from exporter.sources.realload.replies import seconds
from exporter.sources.realload.runs import counts


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.sources.decode import Surprised
    from exporter.sources.realload.detail_reply import DetailedRun, JobResult


#: The largest number of details read in a poll; at start many suites take several polls.
_PER_POLL = 10

#: The number of failed calls after which a detail is given up.
_TRIES = 3

#: After this many polls in which every call for a detail failed, the calls pause: the portal may
#: not offer the action, and the suites can be read without it.
_BARREN_POLLS = 3
_PAUSE_SECONDS = 3600.0

_MOST_JOBS = 100

#: The log levels whose events are counted, and the known levels that are not counted.
_LEVELS = {8: "warn", 9: "error", 10: "fatal"}
_QUIET_LEVELS = frozenset({4, 7})


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The calls for the detail of a suite's newest finished run.

    Attributes:
        run_id, start, end: Identify the run; if the run continues after all, its end changes.
        tries: How many calls failed.
        read: Whether a call succeeded.
    """

    run_id: str
    start: float | None = None
    end: float | None = None
    tries: int = 0
    read: bool = False

    def is_about(self, run: SuiteRun) -> bool:
        """Return whether the calls were for this run."""
        end = run.end_timestamp_seconds
        return (self.run_id, self.start, self.end) == (run.run_id, run.start_timestamp_seconds, end)


class Details:
    """The details of all suites' newest finished runs.

    Attributes:
        attempts: The calls for the detail, by suite.
    """

    def __init__(self, client: RealLoadClient, attempts: Mapping[str, Attempt]) -> None:
        """Start with the calls made before a restart; their results are in the readings."""
        self._client = client
        self._runs: dict[str, SuiteRun] = {
            suite.suite_id: suite.last_run
            for suite in known_readings(client, "suites", Suite)
            if suite.last_run is not None
        }
        self._barren_polls = 0
        self._resume_at = -math.inf
        self.attempts: dict[str, Attempt] = {
            suite_id: attempt
            for suite_id, attempt in attempts.items()
            if suite_id in self._runs and attempt.is_about(self._runs[suite_id])
        }

    async def read_new(self, suites: Mapping[str, Suite]) -> list[Failure]:
        """Read the missing details, at most `_PER_POLL` of them.

        After a call that the guard holds back or that times out, this poll sends no more of these
        calls, so that its other readings need not wait.

        Returns:
            The calls that failed; the next polls try these details again.
        """
        runs = {
            suite_id: suite.last_run
            for suite_id, suite in suites.items()
            if suite.last_run is not None and suite.last_run.run_id
        }
        self.attempts = {suite_id: self._attempt(suite_id, run) for suite_id, run in runs.items()}
        self._runs = {suite_id: self.detailed(suite_id, run) for suite_id, run in runs.items()}
        wanted = self._wanted()
        failures: list[Failure] = []
        left = iter(wanted)

        async def worker() -> None:
            for suite_id in left:
                trace = Trace(priority=Priority.SLOW)
                try:
                    self._runs[suite_id] = await self.read(suite_id, runs[suite_id], trace)
                except PollError as error:
                    failures.append(
                        Failure(reason=error.reason, message=str(error), target=suite_id)
                    )
                    held_back = isinstance(error, BlockedError)
                    if not held_back or trace.suspect:
                        self._note(suite_id, tries=self.attempts[suite_id].tries + 1)
                    if held_back or error.reason is Reason.TIMEOUT:
                        return
                else:
                    self._note(suite_id, read=True)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(wanted), self._client.settings.concurrency)):
                group.create_task(worker())
        sent = any(failure.reason is not Reason.BLOCKED for failure in failures)
        self._pause(read=any(self.attempts[suite_id].read for suite_id in wanted), sent=sent)
        return failures

    def _wanted(self) -> list[str]:
        """Return the suites whose details this poll reads, the untried ones first."""
        if self._client.context.clock.monotonic() < self._resume_at:
            return []
        missing = [
            suite_id
            for suite_id, attempt in self.attempts.items()
            if not attempt.read and attempt.tries < _TRIES
        ]
        return sorted(missing, key=lambda suite_id: self.attempts[suite_id].tries)[:_PER_POLL]

    def _pause(self, *, read: bool, sent: bool) -> None:
        """Count the polls in a row that sent calls and read no detail; after enough, pause."""
        if read:
            self._barren_polls = 0
        elif sent:
            self._barren_polls += 1
        if self._barren_polls >= _BARREN_POLLS:
            self._barren_polls = 0
            self._resume_at = self._client.context.clock.monotonic() + _PAUSE_SECONDS

    def detailed(self, suite_id: str, run: SuiteRun) -> SuiteRun:
        """Return a run with its detail, or unchanged if the detail was not read."""
        attempt, known = self.attempts.get(suite_id), self._runs.get(suite_id)
        if attempt is None or known is None or not attempt.is_about(run):
            return run
        return msgspec.structs.replace(run, testjobs=known.testjobs, log_events=known.log_events)

    async def read(self, suite_id: str, run: SuiteRun, trace: Trace) -> SuiteRun:
        """Return a run with its detail, read now.

        Raises:
            PollError: The call failed, or its reply is not about this run.
        """
        action, surprise = actions.RUN_DETAIL, self._client.surprise
        fields = {"testExecutionSuiteId": int(suite_id), "testRunId": int(run.run_id)}
        reply = await self._client.data(action, fields, trace=trace)
        detail = reply.test_run_result_detail
        result = detail.test_run_result if detail else None
        if result is None:
            surprise("missing_field")
            raise CallError(Reason.DECODE, f"{action.name}: the reply lacks the run")
        if not _is_of(result, suite_id, run.run_id):
            surprise("type")
            raise CallError(Reason.DECODE, f"{action.name}: the reply is about another run")
        if not _groups_agree(result, run):
            surprise("type")
        return msgspec.structs.replace(
            run, testjobs=_jobs(result, surprise), log_events=_events(result, surprise)
        )

    def _attempt(self, suite_id: str, run: SuiteRun) -> Attempt:
        """Return the calls so far for the detail of this run."""
        attempt = self.attempts.get(suite_id)
        if attempt is not None and attempt.is_about(run):
            return attempt
        start, end = run.start_timestamp_seconds, run.end_timestamp_seconds
        return Attempt(run_id=run.run_id, start=start, end=end)

    def _note(self, suite_id: str, **fields: int) -> None:
        self.attempts[suite_id] = msgspec.structs.replace(self.attempts[suite_id], **fields)


def _is_of(result: DetailedRun, suite_id: str, run_id: str) -> bool:
    """Return whether all suite and run ids in a detail are the requested ones or absent."""
    suite, jobs = result.test_execution_suite, result.test_run_testjob_result_array or ()
    suites = {suite.test_execution_suite_id if suite else None}
    suites |= {job.test_execution_suite_id for job in jobs}
    runs = {result.test_run_id, *(job.test_run_id for job in jobs)}
    return set(map(text, suites)) <= {suite_id, ""} and set(map(text, runs)) <= {run_id, ""}


def _groups_agree(result: DetailedRun, run: SuiteRun) -> bool:
    """Return whether the groups' job counts add up to the run's, in the detail and in the list."""
    groups = result.test_run_execution_group_result_array or ()
    for key, field in (
        ("passed", "num_testjob_templates_execution_passed"),
        ("failed", "num_testjob_templates_execution_failed"),
    ):
        by_group = [measured(getattr(group, field)) for group in groups]
        known = [count for count in by_group if count is not None]
        found = {run.jobs.get(key), measured(getattr(result, field))}
        if groups and len(known) == len(groups):
            found.add(sum(known))
        if len(found - {None}) > 1:
            return False
    return True


def _jobs(result: DetailedRun, surprise: Surprised) -> tuple[SuiteJob, ...]:
    """Return the jobs that have a result; none if they would make too many series."""
    if result.test_run_testjob_result_array is None:
        surprise("missing_field")
    templates = result.testjob_templates_array or ()
    names = {text(each.template_id): each.template_name for each in templates}
    jobs: dict[str, SuiteJob] = {}
    for job in result.test_run_testjob_result_array or ():
        job_id = text(job.testjob_template_element_id)
        if not job_id or job_id in jobs:
            surprise("type" if job_id else "missing_field")
            continue
        template = job.testjob_template
        name = (
            (template.template_name or names.get(text(template.template_id))) if template else None
        )
        jobs[job_id] = SuiteJob(
            testjob_id=job_id,
            testjob=name or job_id,
            samples=counts(
                passed=measured(job.total_samples_passed), failed=measured(job.total_samples_failed)
            ),
            duration_seconds=_duration(job),
        )
    if len(jobs) > _MOST_JOBS:
        surprise("type")
        return ()
    return tuple(jobs.values())


def _duration(job: JobResult) -> float | None:
    """Return the seconds a job ran; if unknown, those including its preparation and end."""
    for start, end in (
        (job.job_start_timestamp, job.job_end_timestamp),
        (job.execution_start_timestamp, job.execution_end_timestamp),
    ):
        began, ended = seconds(start), seconds(end)
        # A start of 0 means that the time is missing.
        if began and ended and ended >= began:
            return ended - began
    return None


def _events(result: DetailedRun, surprise: Surprised) -> Mapping[str, float]:
    """Return the number of log events by level; empty if there is no log."""
    entries = result.executor_log.log_entries_array if result.executor_log else None
    if entries is None:
        surprise("missing_field")
        return {}
    found = dict.fromkeys(_LEVELS.values(), 0.0)
    for entry in entries:
        if entry.log_level is None:
            surprise("missing_field")
        elif entry.log_level in _LEVELS:
            found[_LEVELS[int(entry.log_level)]] += 1
        elif entry.log_level not in _QUIET_LEVELS:
            surprise("enum")
    return found
