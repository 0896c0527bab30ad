"""The runs of a server, remembered from reply to reply.

An agent's entry holds only one run, so the agent's next run replaces a finished run and its
verdict. If a run vanishes from the list without a verdict, the client asks for it until the vendor
reports its outcome, for up to an hour. Only the vendor's report about that run gives a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from exporter.fleet.readings import Outcome, Run
from exporter.sources.eggplant.replies import (
    AgentEntry,
    Execution,
    is_internal_error,
    parse_time,
)
from exporter.sources.memory import moment_of, unix_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.clock import Moment
    from exporter.sources.decode import Surprised
    from exporter.sources.eggplant.settings import EggplantSettings


#: Phase and outcome by the documented `status` in lower case.
_STATUS: Mapping[str, tuple[str, Outcome | None]] = {
    "running": ("running", None),
    "passed": ("ended", Outcome.PASSED),
    "failed": ("ended", Outcome.FAILED),
    "incomplete": ("ended", Outcome.INCOMPLETE),
}

#: How long the client asks for a run after the run has vanished.
ASKING_SECONDS = 3_600.0

#: The number of answers without an outcome after which the client stops asking for a run.
MOST_IN_VAIN = 10

#: The last day of the year 9999 as a Unix timestamp, the limit of Python's dates.
_LATEST = 253_402_214_400.0


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a reply, and its agent."""

    agent_id: str
    agent: str
    port: str
    entry: AgentEntry


class _Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """A remembered run.

    Attributes:
        run: The reading of the run.
        agent_id: The agent that executed the run; empty in memories of earlier versions.
        listed: Monotonic seconds at which the run was last listed or reported as running.
        over: Monotonic seconds of the run's end, or at which a vanished run was last in flight;
            `None` while the run is in flight.
        missing: Monotonic seconds since which the run is not listed any more.
        in_vain: The number of answers without an outcome.
    """

    run: Run
    agent_id: str = ""
    listed: float
    over: float | None
    missing: float | None = None
    in_vain: int = 0


class RunsMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of runs over a restart; times are Unix timestamps.

    The memory holds only the listed runs, and those that vanished within `run_linger` or an hour,
    so its size is bounded.
    """

    version: Literal[1]
    runs: tuple[_Tracked, ...]


class Runs:
    """The runs to show and to ask for, kept up to date with each reply.

    A run is shown for `run_linger` after its end.
    """

    def __init__(self, settings: EggplantSettings, *, surprise: Surprised) -> None:
        self._settings = settings
        self._surprise = surprise
        self._runs: dict[str, _Tracked] = {}

    def recall(self, memory: RunsMemory, now: Moment) -> None:
        """Restore the runs from the memory after a restart or a reload."""
        for tracked in memory.runs:
            run = tracked.run
            wanted = self._settings.wanted("agents", run.agent)
            if wanted and self._settings.wanted("runs", run.run) and _is_sane(run):
                self._runs[run.run_id] = replace(
                    tracked,
                    agent_id=tracked.agent_id or run.agent,
                    listed=moment_of(tracked.listed, now).monotonic,
                    over=_monotonic(tracked.over, now),
                    missing=_monotonic(tracked.missing, now),
                )

    def memory(self, now: Moment) -> RunsMemory:
        """Return the memory to pass to `recall` after a restart."""
        runs = (
            replace(
                tracked,
                listed=unix_of(tracked.listed, now),
                over=None if tracked.over is None else unix_of(tracked.over, now),
                missing=None if tracked.missing is None else unix_of(tracked.missing, now),
            )
            for tracked in self._runs.values()
        )
        return RunsMemory(version=1, runs=tuple(runs))

    def update(self, connections: Iterable[Connection], now: Moment, *, complete: bool) -> None:
        """Process a reply.

        Args:
            connections: The entries of the reply.
            now: The time of the reply.
            complete: Whether the reply names all connected agents.
        """
        current: dict[str, _Tracked] = {}
        agents: dict[str, AgentEntry] = {}
        for connection in connections:
            agents.setdefault(connection.agent_id, connection.entry)
            tracked = self._read(connection, now)
            if tracked is None:
                continue
            if tracked.run.run_id in current:
                self._surprise("type")
            elif self._settings.wanted("runs", tracked.run.run):
                current[tracked.run.run_id] = tracked
        earlier = {
            run_id: self._vanished(tracked, agents.get(tracked.agent_id), now)
            if complete or tracked.agent_id in agents
            else tracked
            for run_id, tracked in self._runs.items()
            if run_id not in current
        }
        # A listed run stays remembered even if it is not shown any more, or its `run_linger` would
        # start anew.
        self._runs = current | {
            run_id: tracked
            for run_id, tracked in earlier.items()
            if self._lingers(tracked, now) or _is_wanting(tracked, now)
        }

    def readings(self, now: Moment) -> tuple[Run, ...]:
        """Return the runs to show."""
        return tuple(each.run for each in self._runs.values() if self._lingers(each, now))

    def wanting(self, now: Moment) -> list[str]:
        """Return the ids of the runs to ask for, beginning with the run asked for longest ago."""
        return [run_id for run_id, each in self._runs.items() if _is_wanting(each, now)]

    def asked(self, run_id: str) -> None:
        """Move a run that is asked for to the end of the queue."""
        if run_id in self._runs:
            self._runs[run_id] = self._runs.pop(run_id)

    def learn(self, run_id: str, execution: Execution | None, now: Moment) -> None:
        """Record the answer about a run; `execution` is `None` if the answer has no data on it."""
        tracked = self._runs.get(run_id)
        # Before a late answer came, the run may have been listed again or dropped.
        if tracked is None or not _is_wanting(tracked, now):
            return
        phase, outcome, end = self._status(execution, over=False) if execution else _NO_DATA
        run = tracked.run
        if execution is not None and run.start_timestamp_seconds is None:
            start = parse_time(execution.starttime, self._surprise)
            run = replace(run, start_timestamp_seconds=start)
        if phase == "running":
            tracked = replace(tracked, listed=now.monotonic, over=None, in_vain=0)
            run = replace(run, phase=phase)
        elif phase == "ended":
            tracked = replace(tracked, over=_over(end, now))
            run = replace(run, phase=phase, outcome=outcome, end_timestamp_seconds=end)
        if phase != "running" and outcome is None:
            tracked = replace(tracked, in_vain=tracked.in_vain + 1)
        self._runs[run_id] = replace(tracked, run=run)

    def give_up(self, run_id: str) -> None:
        """Stop asking for a run."""
        if run_id in self._runs:
            self._runs[run_id] = replace(self._runs[run_id], in_vain=MOST_IN_VAIN)

    def _lingers(self, tracked: _Tracked, now: Moment) -> bool:
        return tracked.over is None or now.monotonic - tracked.over <= self._settings.run_linger

    def _read(self, connection: Connection, now: Moment) -> _Tracked | None:
        """Return the run of an entry, if it has one."""
        entry, execution = connection.entry, connection.entry.execution_status
        if execution is None:
            return None
        if not execution.id:
            self._surprise("missing_field")
            return None
        busy = is_busy(entry)
        phase, outcome, end = self._status(execution, over=busy is False)
        if phase == "running" and busy is False:
            phase = "stuck"
        known = self._runs.get(execution.id)
        internal_error = is_internal_error(entry.last_log, self._surprise)
        if internal_error is None and known is not None:
            internal_error = known.run.internal_error
        run = Run(
            run_id=execution.id,
            run=execution.modelname or "",
            agent=connection.agent,
            phase=phase,
            outcome=outcome,
            internal_error=internal_error,
            start_timestamp_seconds=parse_time(execution.starttime, self._surprise),
            end_timestamp_seconds=end,
        )
        over = None
        if phase == "ended":
            over = _over(end, now)
            if known is not None and known.run.phase == "ended" and known.over is not None:
                over = known.over
        return _Tracked(run=run, agent_id=connection.agent_id, listed=now.monotonic, over=over)

    def _status(
        self, execution: Execution, *, over: bool
    ) -> tuple[str, Outcome | None, float | None]:
        """Return the phase, outcome and end of a run; an unknown status gives no outcome.

        Args:
            execution: The vendor's data on the run.
            over: Whether the run's agent is free, so that a run of unknown status is over.
        """
        end = parse_time(execution.endtime, self._surprise)
        known = _STATUS.get((execution.status or "").strip().casefold())
        if known is not None:
            return (*known, end)
        self._surprise("enum" if execution.status else "missing_field")
        return "ended" if end is not None or over else "unknown", None, end

    def _vanished(self, tracked: _Tracked, agent: AgentEntry | None, now: Moment) -> _Tracked:
        """Judge a run that is no longer listed by the current state of its agent.

        If the agent is free or executes another run, the run is over. If the agent is gone or its
        entry does not name a run, the phase is unknown. An earlier answer about the run has
        precedence.
        """
        run, over = tracked.run, tracked.over
        if over is None and tracked.missing is not None and _is_wanting(tracked, now):
            return tracked  # an answer reported the run as running
        if run.phase != "ended":
            current = agent.execution_status if agent is not None else None
            at_another = current is not None and bool(current.id)
            free = agent is not None and is_busy(agent) is False
            run = replace(run, phase="ended" if at_another or free else "unknown")
        return replace(
            tracked,
            run=run,
            over=tracked.listed if over is None else over,
            missing=now.monotonic if tracked.missing is None else tracked.missing,
        )


#: Phase, outcome and end of a run without data.
_NO_DATA: tuple[str, Outcome | None, float | None] = ("unknown", None, None)


def is_busy(entry: AgentEntry) -> bool | None:
    """Return whether an agent's process runs, or `None` if its entry does not say."""
    try:
        return None if entry.process_id is None else int(entry.process_id) != 0
    except ValueError:
        return None


def _is_wanting(tracked: _Tracked, now: Moment) -> bool:
    """Return whether to ask for a run: it vanished without an outcome, not too long ago."""
    return (
        tracked.missing is not None
        and tracked.run.outcome is None
        and tracked.in_vain < MOST_IN_VAIN
        and now.monotonic - tracked.missing <= ASKING_SECONDS
    )


def _over(end: float | None, now: Moment) -> float:
    """Return the monotonic seconds of a run's end; at most now, if the vendor's clock is ahead."""
    return now.monotonic if end is None else moment_of(end, now).monotonic


def _monotonic(unix: float | None, now: Moment) -> float | None:
    return None if unix is None else moment_of(unix, now).monotonic


def _is_sane(run: Run) -> bool:
    """Return whether the times of a run are within the range of Python's dates."""
    times = (run.start_timestamp_seconds, run.end_timestamp_seconds)
    return all(each is None or abs(each) <= _LATEST for each in times)
