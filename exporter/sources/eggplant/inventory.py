"""The agents of a server and their runs, remembered from reply to reply.

A reply lists open connections only. That an agent is gone, or a run over, shows by its absence:
so this remembers the agents listed earlier. An entry whose name cannot be read may be any agent's,
so a reply with such an entry proves no absence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, Outcome, Reading, Run
from exporter.sources.decode import Surprised, text
from exporter.sources.eggplant.replies import AgentEntry, parse_time
from exporter.sources.memory import moment_of, unix_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.sources.eggplant.settings import EggplantSettings


#: Phase and outcome by the documented `status`.
_STATUS: Mapping[str, tuple[str, Outcome | None]] = {
    "Running": ("running", None),
    "Passed": ("ended", Outcome.PASSED),
    "Failed": ("ended", Outcome.FAILED),
    "Incomplete": ("ended", Outcome.INCOMPLETE),
}

#: The last day of the year 9999, epoch seconds.
_LATEST = 253_402_214_400.0


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as it was last listed."""

    port: str
    at: Moment


class _Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was last listed.

    Attributes:
        listed: Monotonic seconds of that.
        over: Monotonic seconds of its end, or of when it was last seen in flight.
    """

    run: Run
    listed: float
    over: float | None


class RunsMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The runs as they are remembered over a restart, with their times as seconds of the epoch.

    Only those that are listed or linger are in it, so it is no longer than the vendor's list and
    what ended within `run_linger`.
    """

    version: Literal[1]
    runs: tuple[_Tracked, ...]


class Inventory:
    """Turns each reply, and what earlier ones said, into readings.

    Agents are remembered for `remember_for` after they were last listed, expected ones for good;
    runs for `run_linger` after their end. After a restart `recall` goes on from there.
    """

    def __init__(self, settings: EggplantSettings, *, surprise: Surprised) -> None:
        self._settings = settings
        expected = (name for name in settings.expected_agents if settings.wanted("agents", name))
        self._expected = dict.fromkeys(expected)
        self._surprise = surprise
        self._listed: dict[str, _Listed] = {}
        self._shown: dict[str, Agent] = {}
        self._runs: dict[str, _Tracked] = {}

    def recall(self, known: Iterable[Agent], memory: RunsMemory | None, now: Moment) -> None:
        """Go on from before a restart or a reload.

        Args:
            known: The agents as they were shown at last.
            memory: What `memory` returned then.
            now: The time as it is now.
        """
        for agent in known:
            if self._settings.wanted("agents", agent.agent):
                self._shown[agent.agent_id] = agent
                if (last_up := agent.last_up_timestamp_seconds) is not None:
                    at = moment_of(last_up, now)
                    self._listed[agent.agent_id] = _Listed(port=agent.port, at=at)
        for tracked in memory.runs if memory else ():
            run = tracked.run
            wanted = self._settings.wanted("agents", run.agent)
            if wanted and self._settings.wanted("runs", run.run) and _is_sane(run):
                over = None if tracked.over is None else moment_of(tracked.over, now).monotonic
                listed = moment_of(tracked.listed, now).monotonic
                self._runs[run.run_id] = _Tracked(run=run, listed=listed, over=over)

    def memory(self, now: Moment) -> RunsMemory:
        """Return what to give to `recall` after a restart, beside the agents as they are shown."""
        runs = (
            _Tracked(
                run=tracked.run,
                listed=unix_of(tracked.listed, now),
                over=None if tracked.over is None else unix_of(tracked.over, now),
            )
            for tracked in self._runs.values()
        )
        return RunsMemory(version=1, runs=tuple(runs))

    def update(self, entries: Iterable[AgentEntry], now: Moment) -> tuple[Reading, ...]:
        """Take a reply in and return all readings: the agents listed, the missing, the runs."""
        listed, complete = self._unique(entries)
        agents = [self._connected(name, entry, now) for name, entry in listed.items()]
        # Agents that are away for too long are forgotten.
        self._listed = {
            name: last
            for name, last in self._listed.items()
            if name in self._expected
            or now.monotonic - last.at.monotonic <= self._settings.remember_for
        }
        for name in self._expected | self._listed:
            if name in listed:
                continue
            if not complete:
                agents.append(self._shown.get(name) or Agent(agent_id=name, agent=name))
                continue
            last = self._listed.get(name)
            agents.append(
                Agent(
                    agent_id=name,
                    agent=name,
                    port=last.port if last else "",
                    last_up_timestamp_seconds=last.at.unix if last else None,
                    state=AgentState(read_at=now, up=False, reason=Reason.NOT_CONNECTED),
                )
            )
        self._shown = {agent.agent_id: agent for agent in agents}
        return (*agents, *self._update_runs(listed, now))

    def _unique(self, entries: Iterable[AgentEntry]) -> tuple[dict[str, AgentEntry], bool]:
        """Return the wanted entries by name, and whether all have one.

        Of two with one name the first counts.
        """
        listed: dict[str, AgentEntry] = {}
        complete = True
        for entry in entries:
            name = entry.agent_name
            if not name:
                self._surprise("missing_field")
                complete = False
            elif name in listed:
                self._surprise("type")
            elif self._settings.wanted("agents", name):
                listed[name] = entry
        return listed, complete

    def _connected(self, name: str, entry: AgentEntry, now: Moment) -> Agent:
        port, busy = text(entry.port), _busy(entry)
        if busy is None:
            self._surprise("missing_field")
        self._listed[name] = _Listed(port=port, at=now)
        return Agent(
            agent_id=name,
            agent=name,
            port=port,
            last_up_timestamp_seconds=now.unix,
            state=AgentState(read_at=now, up=True, busy=busy),
        )

    def _update_runs(self, listed: Mapping[str, AgentEntry], now: Moment) -> list[Run]:
        current: dict[str, _Tracked] = {}
        for name, entry in listed.items():
            run = self._run(name, entry)
            if run is None:
                continue
            if run.run_id in current:
                self._surprise("type")
            elif self._settings.wanted("runs", run.run):
                current[run.run_id] = self._track(run, now)
        earlier = (
            _vanished(tracked, listed.get(tracked.run.agent))
            for run_id, tracked in self._runs.items()
            if run_id not in current
        )
        gone = {tracked.run.run_id: tracked for tracked in earlier if self._lingers(tracked, now)}
        # A listed run is remembered though no longer exposed, or its time would start anew.
        self._runs = current | gone
        return [tracked.run for tracked in self._runs.values() if self._lingers(tracked, now)]

    def _lingers(self, tracked: _Tracked, now: Moment) -> bool:
        return tracked.over is None or now.monotonic - tracked.over <= self._settings.run_linger

    def _run(self, agent: str, entry: AgentEntry) -> Run | None:
        execution = entry.execution_status
        if execution is None:
            return None
        if not execution.id:
            self._surprise("missing_field")
            return None
        end = parse_time(execution.endtime, self._surprise)
        verdict = _STATUS.get(execution.status or "")
        if verdict is None:
            self._surprise("enum" if execution.status else "missing_field")
            ended = end is not None or _busy(entry) is False
            verdict = ("ended" if ended else "unknown", None)
        phase, outcome = verdict
        return Run(
            run_id=execution.id,
            run=execution.modelname or "",
            agent=agent,
            phase=phase,
            outcome=outcome,
            start_timestamp_seconds=parse_time(execution.starttime, self._surprise),
            end_timestamp_seconds=end,
        )

    def _track(self, run: Run, now: Moment) -> _Tracked:
        known = self._runs.get(run.run_id)
        over = None
        if run.phase == "ended" and known is not None and known.run.phase == "ended":
            over = known.over
        elif run.phase == "ended":
            # The vendor's clock may be ahead; an end still to come is taken for now.
            end = run.end_timestamp_seconds
            age = 0.0 if end is None else max(0.0, now.unix - end)
            over = now.monotonic - age
        return _Tracked(run=run, listed=now.monotonic, over=over)


def _busy(entry: AgentEntry) -> bool | None:
    """Return whether a process runs; `None` where the entry does not say."""
    if entry.process_id in (None, ""):
        return None
    return str(entry.process_id) != "0"


def _is_sane(run: Run) -> bool:
    """Return whether the times of a run are such as a calendar knows."""
    times = (run.start_timestamp_seconds, run.end_timestamp_seconds)
    return all(each is None or abs(each) <= _LATEST for each in times)


def _vanished(tracked: _Tracked, agent: AgentEntry | None) -> _Tracked:
    """Judge a run that is no longer listed by what its agent does now.

    An agent that is free, or at another run, has ended it; the verdict was missed. An agent that
    is gone, or does not say what it runs, leaves its fate unknown.
    """
    if tracked.run.phase == "ended":
        return tracked
    current = agent.execution_status if agent is not None else None
    at_another = current is not None and bool(current.id)
    free = agent is not None and _busy(agent) is False
    run = msgspec.structs.replace(tracked.run, phase="ended" if at_another or free else "unknown")
    over = tracked.listed if tracked.over is None else tracked.over
    return msgspec.structs.replace(tracked, run=run, over=over)
