"""Test execution suites and their runs."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec

from exporter.cooperative import in_turns
from exporter.errors import PollError
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Suite
from exporter.sources.base import Explanation, Poll
from exporter.sources.decode import measured, part_of, redacted_reply, text
from exporter.sources.memory import moment_of, remembered, unix_of
from exporter.sources.realload import actions
from exporter.sources.realload.client import RealLoadClient, Trace
from exporter.sources.realload.details import Attempt, Details
from exporter.sources.realload.inventory import wanted_items
from exporter.sources.realload.replies import AccountReply, SuiteInfo, SuiteItem
from exporter.sources.realload.runs import (
    Unfinished,
    is_impossible,
    newest_first,
    outcome,
    read_run,
    unfinished,
)
from exporter.sources.settings import STANDARD_INTERVAL_SECONDS


_HISTORY = 10

#: Suites converted per turn of the event loop, which takes a few milliseconds.
_TURN = 20


class SuitesMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of the task `suites`.

    Attributes:
        version: The version of this format.
        unfinished: By suite, its newest run, if the state of that run is not "completed".
        details: By suite, the calls for the detail of its newest finished run.
    """

    version: Literal[1]
    unfinished: dict[str, Unfinished] = {}
    details: dict[str, Attempt] = {}


class Suites:
    """The suites of an account."""

    def __init__(self, client: RealLoadClient) -> None:
        self._client = client
        self._interval = client.settings.interval_for("suites") or STANDARD_INTERVAL_SECONDS
        memory = remembered(client, "suites", SuitesMemory) or SuitesMemory(version=1)
        now = client.context.clock.now()
        self._unfinished = {
            suite_id: msgspec.structs.replace(
                each, quiet_since=moment_of(each.quiet_since, now).monotonic
            )
            for suite_id, each in memory.unfinished.items()
        }
        self._details = Details(client, memory.details)

    async def poll(self) -> Poll:
        """Read all suites, and the details of newly finished runs.

        Returns:
            The readings of all suites, and the calls for details that failed.

        Raises:
            PollError: One of the three calls for the lists failed.
        """
        suites = await self._read(Trace())
        failures = await self._details.read_new(suites)
        return Poll(
            readings=tuple(self._detailed(suite) for suite in suites.values()),
            failures=tuple(failures),
            memory=self._memory(),
            inventory=(Kind.SUITE,),
        )

    async def explain(self, suite_id: str) -> Explanation:
        """Return the reading of a suite and its newest finished run, read now.

        The portal has no call for a single suite, so all suites are read.

        Raises:
            LookupError: There is no suite with this id.
            PollError: One of the three calls for the lists failed.
        """
        trace = Trace(keeps_body=True)
        suites = await self._read(trace)
        if suite_id not in suites:
            raise LookupError(f"suites: there is no {suite_id!r}")
        items = redacted_reply(trace.body, AccountReply)["testExecutionSuitesArray"]
        path = ("testExecutionSuite", "testExecutionSuiteId")
        reply = next((item for item in items if text(part_of(item, *path)) == suite_id), None)
        suite = self._detailed(suites[suite_id])
        run, trace = suite.last_run, Trace(keeps_body=True)
        if run is not None and run.run_id:
            with suppress(PollError):  # the suite can be explained without the detail
                run = await self._details.read(suite_id, run, trace)
            suite = msgspec.structs.replace(suite, last_run=run)
        if reply and trace.body:
            detail = redacted_reply(trace.body, actions.RUN_DETAIL.reply)
            reply = {**reply, actions.RUN_DETAIL.name: detail}
        return Explanation(reading=suite, reply=reply)

    def _detailed(self, suite: Suite) -> Suite:
        """Return a suite with the detail of its newest finished run, if it was read."""
        if suite.last_run is None:
            return suite
        run = self._details.detailed(suite.suite_id, suite.last_run)
        return msgspec.structs.replace(suite, last_run=run)

    def _memory(self) -> bytes:
        now = self._client.context.clock.now()
        memory = SuitesMemory(
            version=1,
            unfinished={
                suite_id: msgspec.structs.replace(each, quiet_since=unix_of(each.quiet_since, now))
                for suite_id, each in self._unfinished.items()
            },
            details=self._details.attempts,
        )
        return msgspec.json.encode(memory)

    async def _read(self, trace: Trace) -> dict[str, Suite]:
        """Read the running suites before and after the list of suites.

        A run that starts or ends between two of the calls counts as running, so that it is not
        judged by incomplete results.
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
        listed = (
            (info.test_execution_suite_id, info.test_execution_suite_name, item)
            for item in reply.test_execution_suites_array or ()
            for info in (item.test_execution_suite or SuiteInfo(),)
        )
        wanted = wanted_items(client, "suites", listed)
        async for suite_id, name, item in in_turns(wanted, turn=_TURN):
            suites[suite_id] = self._suite(suite_id, name, item, listed=suite_id in running)
        self._unfinished = {key: each for key, each in self._unfinished.items() if key in suites}
        return suites

    def _suite(self, suite_id: str, name: str, item: SuiteItem, *, listed: bool) -> Suite:
        """Return the reading of a suite, and remember its newest run if that is unfinished.

        Args:
            suite_id: The suite's id.
            name: The suite's name, or the id if it has none.
            item: The suite with its runs.
            listed: Whether the portal lists the suite as running; the run may have no results yet.
        """
        info = item.test_execution_suite or SuiteInfo()
        runs = newest_first(item.test_run_results_array or ())
        before, noted = self._unfinished.pop(suite_id, None), None
        if runs:
            now = self._client.context.clock.now()
            noted = unfinished(runs[0], before, listed=listed, interval=self._interval, now=now)
        if noted is not None:
            self._unfinished[suite_id] = noted
        in_flight = noted is not None and not noted.over
        over = runs[1:] if in_flight else runs
        shown = over[:_HISTORY]
        for run in shown:
            if is_impossible(run):
                self._client.surprise("type")
        history = tuple(read_run(run, over=True) for run in shown)
        verdicts = (outcome(run).passed for run in over)
        place = info.top_execute_on_measuring_agent_or_cluster_id or ""
        return Suite(
            suite_id=suite_id,
            suite=name,
            agent_id=place.removeprefix("m-") if place.startswith("m-") else "",
            cluster_id=place.removeprefix("c-") if place.startswith("c-") else "",
            healthy=info.is_test_execution_suite_healthy,
            jobs=measured(info.total_number_of_testjobs),
            running=listed or in_flight,
            runs=None if item.test_run_results_array is None else float(len(runs)),
            last_run=history[0] if history else None,
            last_run_passed=next((each for each in verdicts if each is not None), None),
            current_run=read_run(runs[0], over=False) if in_flight else None,
            history=history,
        )
