"""The newest finished runs in detail: their jobs, and the events of their logs.

A detail is large and does not change, so it is read once for each run, a few in a poll, and what
was read is kept until a newer run of the suite has ended.
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


#: So many details are read in a poll; with many suites the first ones take some polls.
_PER_POLL = 10

#: A detail that cannot be read is given up after so many calls.
_TRIES = 3

#: After so many polls whose calls for details all failed, none is asked for during a pause: the
#: portal may not offer the action at all, and the suites themselves are read.
_BARREN_POLLS = 3
_PAUSE_SECONDS = 3600.0

_MOST_JOBS = 100

#: The levels of log events that are counted, and those that are known beside them.
_LEVELS = {8: "warn", 9: "error", 10: "fatal"}
_QUIET_LEVELS = frozenset({4, 7})


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """The reading of the detail of a suite's newest finished run.

    Attributes:
        run_id, start, end: Which run it is; a run that is seen to go on has another end later.
        tries: How many calls failed.
        read: Whether one did not.
    """

    run_id: str
    start: float | None = None
    end: float | None = None
    tries: int = 0
    read: bool = False

    def is_about(self, run: SuiteRun) -> bool:
        """Return whether it is this run whose detail was read."""
        end = run.end_timestamp_seconds
        return (self.run_id, self.start, self.end) == (run.run_id, run.start_timestamp_seconds, end)


class Details:
    """The details of all suites' newest finished runs.

    Attributes:
        attempts: How the reading has gone, by suite.
    """

    def __init__(self, client: RealLoadClient, attempts: Mapping[str, Attempt]) -> None:
        """Take over what was read before a restart, of which the readings have the contents."""
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
        """Read the details that are missing, at most a few.

        A call that fails costs its own detail, for now. After one that is held back or takes too
        long, no more are sent in this poll: its other readings must not wait.
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
        """Return the suites whose details to ask for in this poll, the untried ones first."""
        if self._client.context.clock.monotonic() < self._resume_at:
            return []
        missing = [
            suite_id
            for suite_id, attempt in self.attempts.items()
            if not attempt.read and attempt.tries < _TRIES
        ]
        return sorted(missing, key=lambda suite_id: self.attempts[suite_id].tries)[:_PER_POLL]

    def _pause(self, *, read: bool, sent: bool) -> None:
        """Note whether a poll read a detail or only sent calls; after enough of these, pause."""
        if read:
            self._barren_polls = 0
        elif sent:
            self._barren_polls += 1
        if self._barren_polls >= _BARREN_POLLS:
            self._barren_polls = 0
            self._resume_at = self._client.context.clock.monotonic() + _PAUSE_SECONDS

    def detailed(self, suite_id: str, run: SuiteRun) -> SuiteRun:
        """Return a run with its detail, as far as that was read."""
        attempt, known = self.attempts.get(suite_id), self._runs.get(suite_id)
        if attempt is None or known is None or not attempt.is_about(run):
            return run
        return msgspec.structs.replace(run, testjobs=known.testjobs, log_events=known.log_events)

    async def read(self, suite_id: str, run: SuiteRun, trace: Trace) -> SuiteRun:
        """Return a run with its detail, read now.

        Raises:
            PollError: The call failed, or what it brought is not about this run.
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
        """Return how the reading of a run's detail has gone."""
        attempt = self.attempts.get(suite_id)
        if attempt is not None and attempt.is_about(run):
            return attempt
        start, end = run.start_timestamp_seconds, run.end_timestamp_seconds
        return Attempt(run_id=run.run_id, start=start, end=end)

    def _note(self, suite_id: str, **fields: int) -> None:
        self.attempts[suite_id] = msgspec.structs.replace(self.attempts[suite_id], **fields)


def _is_of(result: DetailedRun, suite_id: str, run_id: str) -> bool:
    """Return whether all ids in a detail that say what it is about are those asked for."""
    suite, jobs = result.test_execution_suite, result.test_run_testjob_result_array or ()
    suites = {suite.test_execution_suite_id if suite else None}
    suites |= {job.test_execution_suite_id for job in jobs}
    runs = {result.test_run_id, *(job.test_run_id for job in jobs)}
    return set(map(text, suites)) <= {suite_id, ""} and set(map(text, runs)) <= {run_id, ""}


def _groups_agree(result: DetailedRun, run: SuiteRun) -> bool:
    """Return whether the groups count the jobs as the run does, here and in the list."""
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
    """Return the jobs that have a result, or none if there are too many for as many series."""
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
    """Return how long a job took: on its machine, or else with its preparation and end."""
    for start, end in (
        (job.job_start_timestamp, job.job_end_timestamp),
        (job.execution_start_timestamp, job.execution_end_timestamp),
    ):
        began, ended = seconds(start), seconds(end)
        # The epoch is when no job began.
        if began and ended and ended >= began:
            return ended - began
    return None


def _events(result: DetailedRun, surprise: Surprised) -> Mapping[str, float]:
    """Count the events of the levels that matter; without a log nothing is known of them."""
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
