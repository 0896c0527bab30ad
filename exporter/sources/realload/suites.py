"""Test execution suites and their runs."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from exporter.fleet.readings import Outcome, Suite, SuiteRun
from exporter.sources.base import Explanation, Poll
from exporter.sources.decode import finite, part_of, redacted_reply, text
from exporter.sources.memory import remembered
from exporter.sources.realload import actions
from exporter.sources.realload.client import RealLoadClient, Trace
from exporter.sources.realload.inventory import wanted_items
from exporter.sources.realload.replies import (
    AccountReply,
    RunResult,
    SuiteInfo,
    SuiteItem,
    measured,
    seconds,
)


#: The only value of `executionState` that is documented.
_COMPLETED = 2
_HISTORY = 10

#: What runs are ordered by: their start, epoch milliseconds, and their number.
_Start = tuple[float, int]
_NEVER: _Start = (-math.inf, -1)


class SuitesMemory(msgspec.Struct, frozen=True, kw_only=True):
    """By suite, the start and the number of the newest run that is not in flight.

    `None` stands for a start that is not known. It has one entry for each suite of the list.
    """

    version: Literal[1]
    rested: dict[str, tuple[float | None, int]]


class Suites:
    """The suites of an account."""

    def __init__(self, client: RealLoadClient) -> None:
        self._client = client
        memory = remembered(client, "suites", SuitesMemory)
        self._rested: dict[str, _Start] = {
            suite_id: (-math.inf if start is None else start, number)
            for suite_id, (start, number) in (memory.rested if memory else {}).items()
        }

    async def poll(self) -> Poll:
        """Read all suites.

        Raises:
            PollError: One of the three calls failed.
        """
        suites = await self._read(Trace())
        rested = {
            suite_id: (start if math.isfinite(start) else None, number)
            for suite_id, (start, number) in self._rested.items()
        }
        memory = SuitesMemory(version=1, rested=rested)
        return Poll(readings=tuple(suites.values()), memory=msgspec.json.encode(memory))

    async def explain(self, suite_id: str) -> Explanation:
        """Read one suite now; the portal only offers all of them.

        Raises:
            LookupError: There is none with this id.
            PollError: One of the three calls failed.
        """
        trace = Trace(keeps_body=True)
        suites = await self._read(trace)
        if suite_id not in suites:
            raise LookupError(f"suites: there is no {suite_id!r}")
        items = redacted_reply(trace.body, AccountReply)["testExecutionSuitesArray"]
        path = ("testExecutionSuite", "testExecutionSuiteId")
        own = (item for item in items if text(part_of(item, *path)) == suite_id)
        return Explanation(reading=suites[suite_id], reply=next(own, None))

    async def _read(self, trace: Trace) -> dict[str, Suite]:
        """Ask what runs before and after the list.

        A run that starts or ends between two calls counts as running, so that it is not judged
        while only a part of it is known.
        """
        client = self._client
        before = await client.data(actions.RUNNING_SUITES)
        reply = await client.data(actions.SUITES, trace=trace)
        after = await client.data(actions.RUNNING_SUITES)
        running = {
            str(number)
            for reply_ in (before, after)
            for number in reply_.test_execution_suite_id_array or ()
        }
        suites: dict[str, Suite] = {}
        rested: dict[str, _Start] = {}
        listed = (
            (info.test_execution_suite_id, info.test_execution_suite_name, item)
            for item in reply.test_execution_suites_array or ()
            for info in (item.test_execution_suite or SuiteInfo(),)
        )
        for suite_id, name, item in wanted_items(client, "suites", listed):
            rest = self._rested.get(suite_id, _NEVER)
            is_running = suite_id in running
            if not is_running:
                rest = max(map(_started, item.test_run_results_array or ()), default=rest)
            suites[suite_id] = _suite(suite_id, name, item, running=is_running, rested=rest)
            rested[suite_id] = rest
        self._rested = rested
        return suites


def _suite(suite_id: str, name: str, item: SuiteItem, *, running: bool, rested: _Start) -> Suite:
    """Read a suite and its runs.

    Args:
        suite_id: Its id.
        name: Its name, or the id for want of one.
        item: The suite with its runs.
        running: Whether a run of it is in flight, which may or may not have results yet.
        rested: When the newest of its runs started that was there while none was in flight. What
            the state of a run with failed jobs is, is not documented, so a run is not in
            flight just because it is not completed.
    """
    info = item.test_execution_suite or SuiteInfo()
    results = item.test_run_results_array
    newest_first = sorted(results or (), key=_started, reverse=True)
    in_flight = [
        run
        for run in newest_first[:1]
        if running and run.execution_state != _COMPLETED and _started(run) > rested
    ]
    finished = newest_first[len(in_flight) :]
    history = tuple(_run(run, finished=True) for run in finished[:_HISTORY])
    return Suite(
        suite_id=suite_id,
        suite=name,
        healthy=info.is_test_execution_suite_healthy,
        jobs=measured(info.total_number_of_testjobs),
        running=running,
        runs=None if results is None else float(len(results)),
        last_run=history[0] if history else None,
        current_run=_run(in_flight[0], finished=False) if in_flight else None,
        history=history,
    )


def _started(run: RunResult) -> _Start:
    start = measured(run.test_run_start_timestamp)
    return (-math.inf if start is None else start, run.test_run_id or 0)


def _run(run: RunResult, *, finished: bool) -> SuiteRun:
    passed = measured(run.num_testjob_templates_execution_passed)
    failed = measured(run.num_testjob_templates_execution_failed)
    planned = measured(run.num_testjob_templates_to_execute)
    not_executed = None
    if planned is not None and passed is not None and failed is not None:
        not_executed = max(0.0, planned - passed - failed)
    start = seconds(run.test_run_start_timestamp)
    # Of a run in flight the last update is not the end.
    end = seconds(run.test_run_last_updated_timestamp) if finished else None
    return SuiteRun(
        run_id=text(run.test_run_id),
        outcome=_outcome(failed) if finished else None,
        jobs=_counts(passed=passed, failed=failed, not_executed=not_executed),
        sessions=_counts(
            passed=measured(run.total_sessions_passed), failed=measured(run.total_sessions_failed)
        ),
        samples=_counts(
            passed=measured(run.total_samples_passed), failed=measured(run.total_samples_failed)
        ),
        session_mean_seconds=_mean(run),
        max_users=measured(run.max_concurrent_users),
        max_pending_samples=measured(run.max_pending_samples),
        state_code=finite(run.execution_state),
        start_timestamp_seconds=start,
        end_timestamp_seconds=end,
        duration_seconds=None if start is None or end is None else measured(end - start),
    )


def _outcome(failed: float | None) -> Outcome:
    if failed is None:
        return Outcome.NO_VERDICT
    return Outcome.FAILED if failed else Outcome.PASSED


def _counts(**counts: float | None) -> dict[str, float]:
    return {result: count for result, count in counts.items() if count is not None}


def _mean(run: RunResult) -> float | None:
    passed = measured(run.total_sessions_passed)
    total = seconds(run.total_sessions_passed_time_sum)
    return finite(total / passed) if passed and total is not None else None
