from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exporter.clock import Moment
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, Outcome, Reading, Run
from exporter.sources.eggplant.inventory import Inventory
from exporter.sources.eggplant.replies import AgentEntry, Execution
from tests.sources.eggplant.support import fixture, settings_of


DAY = 86_400.0
HOUR = 3_600.0

#: 2026-02-03 09:20:00 UTC, five minutes after the start of the fixtures' run in flight.
UNIX = 1_770_110_400.0
START = Moment(unix=UNIX, monotonic=1_000.0)


class Case:
    """An inventory and the surprises it had."""

    def __init__(
        self,
        *expected: str,
        remember_for: float = DAY,
        linger: float = HOUR,
        **settings: Any,
    ) -> None:
        self.surprises: list[str] = []
        settings |= {"remember_for": f"{remember_for:g}s", "run_linger": f"{linger:g}s"}
        self.inventory = Inventory(
            settings_of(expected_agents=expected, **settings), surprise=self.surprises.append
        )

    def update(self, *entries: AgentEntry, after: float = 0.0) -> tuple[Reading, ...]:
        """Take in a reply so many seconds after the start."""
        return self.inventory.update(entries, later(after))

    def agents(self, *entries: AgentEntry, after: float = 0.0) -> list[Agent]:
        """Take in a reply and return the agents of it."""
        return [each for each in self.update(*entries, after=after) if isinstance(each, Agent)]

    def runs(self, *entries: AgentEntry, after: float = 0.0) -> list[Run]:
        """Take in a reply and return the runs of it."""
        return [each for each in self.update(*entries, after=after) if isinstance(each, Run)]


def later(seconds: float) -> Moment:
    """Return the moment so long after the start."""
    return Moment(unix=START.unix + seconds, monotonic=START.monotonic + seconds)


def entries(name: str) -> list[AgentEntry]:
    """Read a fixture."""
    return msgspec.json.decode(fixture(name), type=list[AgentEntry])


def connected(name: str, *, port: str = "", busy: bool | None = False, after: float = 0) -> Agent:
    """Return the reading of a connected agent."""
    now = later(after)
    return Agent(
        agent_id=name,
        agent=name,
        port=port,
        last_up_timestamp_seconds=now.unix,
        state=AgentState(read_at=now, up=True, busy=busy),
    )


def missing(name: str, *, port: str = "", last_up: float | None = None, after: float = 0) -> Agent:
    """Return the reading of an agent that is not connected."""
    return Agent(
        agent_id=name,
        agent=name,
        port=port,
        last_up_timestamp_seconds=last_up,
        state=AgentState(read_at=later(after), up=False, reason=Reason.NOT_CONNECTED),
    )


def running(run_id: str = "r1", *, agent: str = "a", status: str | None = "Running") -> AgentEntry:
    """Return the entry of an agent that executes."""
    return AgentEntry(
        agent_name=agent,
        process_id=7,
        execution_status=Execution(id=run_id, modelname="Model", status=status),
    )


def ended(run_id: str = "r1", *, status: str = "Passed", endtime: str | None = None) -> AgentEntry:
    """Return the entry of an agent that has executed."""
    return AgentEntry(
        agent_name="a",
        process_id=0,
        execution_status=Execution(id=run_id, modelname="Model", status=status, endtime=endtime),
    )


IDLE = AgentEntry(agent_name="a", process_id=0)


def test_reads_an_idle_agent() -> None:
    """The reference's reply without activity is one free agent."""
    case = Case()

    assert (connected("martin2", port="5400"),) == case.update(*entries("sut_status.idle"))
    assert [] == case.surprises


def test_reads_a_running_agent() -> None:
    """The reference's reply with activity is a busy agent and a run in flight."""
    case = Case()

    readings = case.update(*entries("sut_status.running"))

    assert (
        connected("martin2", port="5400", busy=True),
        Run(
            run_id="039c7261-9eda-45b3-a74a-441ba039dc09",
            run="BBCSport",
            agent="martin2",
            phase="running",
            internal_error=True,
            start_timestamp_seconds=1527844005.545359,
        ),
    ) == readings
    assert [] == case.surprises


def test_reads_nothing_from_an_empty_reply() -> None:
    """An empty reply without expected agents must give no readings."""
    assert () == Case().update(*entries("sut_status.empty"))


def test_reads_the_later_edition() -> None:
    """Port, report id and log line are optional."""
    case = Case()

    readings = case.update(*entries("sut_status.no_port"))

    assert (
        connected("lab-win-01"),
        connected("lab-win-02", busy=True),
        Run(
            run_id="7b0f3f0e-2d1c-4c57-9a8e-0d2f6b1c1a01",
            run="Checkout",
            agent="lab-win-02",
            phase="running",
            start_timestamp_seconds=UNIX - 299.88,
        ),
    ) == readings
    assert [] == case.surprises


def test_reads_a_mixed_fleet() -> None:
    """Each status has its phase and verdict, and an offset of half an hour is read."""
    case = Case(linger=2 * HOUR)

    readings = case.update(*entries("sut_status.mixed"))

    ids = "7b0f3f0e-2d1c-4c57-9a8e-0d2f6b1c1a0"
    assert (
        connected("lab-win-01", port="5400"),
        connected("lab-win-02", port="5401", busy=True),
        connected("lab-mac-01", port="5402"),
        connected("lab-mac-02", port="5403"),
        connected("lab-lin-01", port="5404"),
        Run(
            run_id=f"{ids}1",
            run="Checkout",
            agent="lab-win-02",
            phase="running",
            internal_error=False,
            start_timestamp_seconds=1_770_110_100.12,
        ),
        Run(
            run_id=f"{ids}2",
            run="Login smoke",
            agent="lab-mac-01",
            phase="ended",
            start_timestamp_seconds=1_770_105_600.000001,
            end_timestamp_seconds=1_770_105_851.5,
            outcome=Outcome.PASSED,
            internal_error=False,
        ),
        Run(
            run_id=f"{ids}3",
            run="Search",
            agent="lab-mac-02",
            phase="ended",
            start_timestamp_seconds=1_770_106_200.0,
            end_timestamp_seconds=1_770_106_350.0,
            outcome=Outcome.FAILED,
            internal_error=False,
        ),
        Run(
            run_id=f"{ids}4",
            run="Search",
            agent="lab-lin-01",
            phase="ended",
            start_timestamp_seconds=1_770_106_200.0,
            end_timestamp_seconds=1_770_106_260.0,
            outcome=Outcome.INCOMPLETE,
            internal_error=False,
        ),
    ) == readings
    assert [] == case.surprises


def test_shows_no_run_that_ended_long_ago() -> None:
    """After a restart, only runs that ended within the hour are shown."""
    case = Case()

    runs = case.runs(*entries("sut_status.mixed"))

    assert ["Checkout"] == [run.run for run in runs]


class TestAbsence:
    def test_reports_an_expected_agent(self) -> None:
        """An expected agent that was never seen is down."""
        assert (missing("martin2"),) == Case("martin2").update()

    def test_reports_an_expected_agent_once(self) -> None:
        """An expected agent that is connected is up, once, even if it is expected twice."""
        assert [connected("a")] == Case("a", "a").agents(IDLE)

    def test_remembers_who_was_connected(self) -> None:
        """An agent that went is down, keeps its port and says when it was last up."""
        case = Case()
        case.update(AgentEntry(agent_name="a", port=5400, process_id=0))

        readings = case.update(after=60)

        assert (missing("a", port="5400", last_up=UNIX, after=60),) == readings

    def test_forgets_after_a_while(self) -> None:
        """An agent is remembered for so long after it was last connected, and no longer."""
        case = Case(remember_for=DAY)
        case.update(IDLE)
        case.update(IDLE, after=60)

        at_the_end, after_it = case.update(after=60 + DAY), case.update(after=61 + DAY)

        assert (missing("a", last_up=UNIX + 60, after=60 + DAY),) == at_the_end
        assert () == after_it

    def test_goes_on_from_what_was_known(self) -> None:
        """An agent that is gone must not pass for none because other settings were loaded."""
        gone = missing("a", port="5400", last_up=UNIX - 100)
        case = Case()
        case.inventory.recall([gone], None, START)

        assert [missing("a", port="5400", last_up=UNIX - 100)] == case.agents()
        assert [] == case.agents(after=DAY - 99)

    def test_never_forgets_the_expected(self) -> None:
        """An expected agent stays down for as long as it is away."""
        case = Case("a")
        case.update(IDLE)

        assert (missing("a", last_up=UNIX, after=9 * DAY),) == case.update(after=9 * DAY)

    def test_sees_a_return(self) -> None:
        """An agent that comes back is up again."""
        case = Case()
        case.update(IDLE)
        case.update(after=60)

        assert (connected("a", after=120),) == case.update(IDLE, after=120)

    def test_leaves_unwanted_agents_out(self) -> None:
        """An agent that is filtered out is not shown, with its run, nor missed later."""
        case = Case("a", exclude={"agents": "a"})

        assert () == case.update(running())
        assert () == case.update(after=60)


class TestOddEntries:
    @pytest.mark.parametrize("port", [None, 5400])
    def test_takes_the_first_of_those_it_cannot_tell_apart(self, port: int | None) -> None:
        """Of two entries that cannot be told apart, the first must count."""
        case = Case()

        agents = case.agents(
            AgentEntry(agent_name="a", port=port, process_id=0),
            AgentEntry(agent_name="a", port=port, process_id=9),
        )

        assert [connected("a", port=str(port or ""))] == agents
        assert ["type"] == case.surprises

    @pytest.mark.parametrize("name", [None, ""])
    def test_skips_an_entry_without_name(self, name: str | None) -> None:
        """An entry without a name must be left out and counted."""
        case = Case()

        assert () == case.update(AgentEntry(agent_name=name, process_id=0))
        assert ["missing_field"] == case.surprises

    def test_says_of_nobody_that_he_is_gone_when_a_name_is_missing(self) -> None:
        """An entry without a name may be the missing agent's: what was known of it stands."""
        case = Case("b", "c")
        before = case.agents(IDLE)

        after = case.agents(AgentEntry(process_id=0), after=60)

        assert [connected("a"), missing("b"), missing("c")] == before
        assert [missing("b"), missing("c"), connected("a")] == after

    def test_knows_nothing_of_an_expected_agent_when_a_name_is_missing(self) -> None:
        """In the first reply, an entry without a name must leave expected agents unknown."""
        case = Case("b")

        assert [Agent(agent_id="b", agent="b")] == case.agents(AgentEntry(process_id=0))

    @pytest.mark.parametrize(
        ("process_id", "busy"), [(0, False), ("0", False), (7, True), ("7", True), (-1, True)]
    )
    def test_compares_process_ids_as_text(self, process_id: int | str, busy: bool) -> None:
        """A process id can be a number or a text; 0 is none."""
        case = Case()

        assert [connected("a", busy=busy)] == case.agents(
            AgentEntry(agent_name="a", process_id=process_id)
        )
        assert [] == case.surprises

    @pytest.mark.parametrize("process_id", [None, ""])
    def test_leaves_busy_open_without_process_id(self, process_id: str | None) -> None:
        """An agent without a process id must be neither busy nor idle."""
        case = Case()

        assert [connected("a", busy=None)] == case.agents(
            AgentEntry(agent_name="a", process_id=process_id)
        )
        assert ["missing_field"] == case.surprises

    def test_skips_a_run_without_id(self) -> None:
        """An execution without an id is no run, but its agent is an agent."""
        case = Case()

        readings = case.update(running(""))

        assert (connected("a", busy=True),) == readings
        assert ["missing_field"] == case.surprises

    def test_takes_the_first_of_a_run_id(self) -> None:
        """A run that two agents claim is shown once."""
        case = Case()

        runs = case.runs(running(agent="a"), running(agent="b"))

        assert ["a"] == [run.agent for run in runs]
        assert ["type"] == case.surprises

    def test_leaves_an_odd_time_out(self) -> None:
        """A time that names no instant is absent, and a surprise."""
        case = Case()

        runs = case.runs(ended(endtime="2026-02-03 09:00:00"))

        assert [None] == [run.end_timestamp_seconds for run in runs]
        assert ["type"] == case.surprises

    def test_leaves_unwanted_runs_out(self) -> None:
        """A run that is filtered out by its model is not shown."""
        case = Case(exclude={"runs": "Model"})

        assert [connected("a", busy=True)] == list(case.update(running()))

    @pytest.mark.parametrize(
        ("entry", "phase", "surprise"),
        [
            (running(status="Paused"), "unknown", "enum"),
            (running(status=None), "unknown", "missing_field"),
            (ended(status="Cancelled"), "ended", "enum"),
        ],
    )
    def test_judges_an_unknown_status_by_the_process(
        self, entry: AgentEntry, phase: str, surprise: str
    ) -> None:
        """An unknown status must be an end only if no process runs, and never a verdict."""
        case = Case()

        runs = case.runs(entry)

        assert [(phase, None)] == [(run.phase, run.passed) for run in runs]
        assert [surprise] == case.surprises


class TestLinger:
    def test_shows_an_end_for_a_while(self) -> None:
        """A run is shown for so long after its end, listed or not."""
        case = Case(linger=HOUR)
        entry = ended(endtime="2026-02-03 09:19:00+00")
        case.update(entry)

        at_the_end, after_it = case.runs(entry, after=HOUR - 60), case.runs(after=HOUR - 59)

        assert ["r1"] == [run.run_id for run in at_the_end]
        assert [] == after_it

    def test_counts_from_the_first_sight_without_an_end_time(self) -> None:
        """A listed run without an end time must be shown for `run_linger` from the first sight."""
        case = Case(linger=HOUR)
        case.update(ended())

        counts = [len(case.runs(ended(), after=after)) for after in (60, HOUR, HOUR + 1, 3 * HOUR)]

        assert [1, 1, 0, 0] == counts

    def test_takes_an_end_to_come_for_now(self) -> None:
        """An end time in the future must count as now."""
        case = Case(linger=HOUR)
        entry = ended(endtime="2099-01-01 00:00:00+00")
        case.update(entry)

        assert [1, 0] == [len(case.runs(entry, after=after)) for after in (HOUR, HOUR + 1)]

    def test_keeps_a_verdict_when_the_next_run_begins(self) -> None:
        """The entry holds one run only; the one before keeps its verdict for a while."""
        case = Case()
        case.update(ended(status="Failed"))

        runs = case.runs(running("r2"), after=60)

        assert [("r2", "running", None), ("r1", "ended", False)] == [
            (run.run_id, run.phase, run.passed) for run in runs
        ]

    def test_keeps_a_verdict_when_the_agent_goes(self) -> None:
        """A run that ended stays ended, whatever becomes of its agent."""
        case = Case()
        case.update(ended(status="Passed"))

        runs = case.runs(after=60)

        assert [("ended", True)] == [(run.phase, run.passed) for run in runs]

    @pytest.mark.parametrize("entry", [IDLE, running("r2"), ended("r2")])
    def test_ends_a_run_its_agent_no_longer_executes(self, entry: AgentEntry) -> None:
        """A run whose agent is free or at another run must have ended without a verdict."""
        case = Case(linger=HOUR)
        case.update(running())

        runs = {run.run_id: run for run in case.runs(entry, after=60)}

        assert ("ended", None) == (runs["r1"].phase, runs["r1"].passed)
        assert "r1" in {run.run_id for run in case.runs(entry, after=HOUR)}
        assert "r1" not in {run.run_id for run in case.runs(entry, after=HOUR + 1)}

    @pytest.mark.parametrize(
        "listed", [(), (AgentEntry(agent_name="a", process_id=7),), (running(""),)]
    )
    def test_leaves_the_fate_of_a_run_open(self, listed: tuple[AgentEntry, ...]) -> None:
        """A run whose agent went, or no longer says what it runs, must be in an unknown phase."""
        case = Case()
        case.update(running())

        assert ["unknown"] == [run.phase for run in case.runs(*listed, after=60)]

    def test_sees_a_run_come_back(self) -> None:
        """A run that is listed again is in flight again, for as long as it takes."""
        case = Case(linger=HOUR)
        case.update(running())
        case.update(after=60)
        case.update(running(), after=120)

        assert ["running"] == [run.phase for run in case.runs(running(), after=9 * HOUR)]

    def test_remembers_no_run_for_ever(self) -> None:
        """A run that is neither listed nor shown nor asked for must be forgotten."""
        case = Case(linger=HOUR)
        for index in range(10):
            case.update(running(f"r{index}"), after=index)
        case.update(after=2 * HOUR)

        case.update(after=3 * HOUR + 1)

        assert () == case.inventory.runs.memory(later(3 * HOUR + 1)).runs
