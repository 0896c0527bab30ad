from __future__ import annotations

import shlex

import pytest

from exporter.fleet.kinds import target_of
from exporter.fleet.readings import AgentJobs, Outcome, Reading, Run, SuiteRun, Usual
from exporter.overview.details import command, details
from tests.web import fakes


def test_is_of_its_source() -> None:
    """The same id in another source is another target."""
    prod = fakes.FakeView(fakes.agent("here", agent_id="7")).snapshot
    lab = fakes.changed(prod, source="lab", readings=(fakes.agent("there", agent_id="7"),))

    found = details([prod, lab], fakes.NOW, source="lab", kind="agent", target_id="7")

    assert found is not None
    assert "there" == found.name
    assert not [line for line in found.samples if "here" in line.replace("there", "")]


def test_is_of_its_kind() -> None:
    """The same id of another kind is another target."""
    view = fakes.FakeView(fakes.recorder(), fakes.agent("seven", agent_id="5"))

    found = details(view.snapshots(), fakes.NOW, source="prod", kind="recorder", target_id="5")

    assert found is not None
    assert "rec" == found.name


def test_an_agent_has_the_samples_of_its_jobs() -> None:
    """An agent's page must show the samples of its jobs too."""
    jobs = AgentJobs(agent_id="7", agent="a", read_at=fakes.ago(30), counts={"running": 2.0})
    view = fakes.FakeView(fakes.agent("a", agent_id="7"), jobs)

    found = details(view.snapshots(), fakes.NOW, source="prod", kind="agent", target_id="7")

    assert found is not None
    assert [line for line in found.samples if 'state="running"' in line and line.endswith(" 2.0")]


def test_facts_are_those_that_are_known() -> None:
    """Facts that the vendor does not report must not be listed."""
    view = fakes.FakeView(fakes.agent("a", host="a.example", protected=False))

    found = details(view.snapshots(), fakes.NOW, source="prod", kind="agent", target_id="id-a")

    assert found is not None
    assert {
        "Id": "id-a",
        "Source": "prod (realload)",
        "Host": "a.example",
        "Version": "4.8.24",
        "Clock": "\N{MINUS SIGN}250 ms",
        "Ping": "12 ms",
        "Demands a token": "no",
        "Most users": "unlimited",
        "Label site": "bern",
    } == dict(found.facts)


def test_of_a_run() -> None:
    """A run says where it is and since when."""
    run = Run(
        run_id="21",
        run="soak",
        phase="booting",
        location="eu-west",
        engines=4.0,
        start_timestamp_seconds=fakes.NOW.unix,
    )
    view = fakes.FakeView(run)

    found = details(view.snapshots(), fakes.NOW, source="prod", kind="run", target_id="21")

    assert found is not None
    assert {
        "Id": "21",
        "Source": "prod (realload)",
        "Location": "eu-west",
        "Engines": "4",
        "Started": fakes.NOW.unix,
    } == dict(found.facts)


def facts_of(reading: Reading) -> dict[str, str | float]:
    """Return the facts of a target."""
    target = target_of(reading)
    assert target is not None
    kind, target_id = target
    snapshots = fakes.FakeView(reading).snapshots()

    found = details(snapshots, fakes.NOW, source="prod", kind=kind, target_id=target_id)

    assert found is not None
    return dict(found.facts)


def test_of_an_agent_that_the_vendor_manages() -> None:
    """The page must say that the vendor manages the agent, and show its free disk space."""
    agent = fakes.agent(managed="vendor")
    assert agent.state is not None
    agent = fakes.changed(agent, state=fakes.changed(agent.state, disk_free_bytes=1.5 * 2**30))

    found = facts_of(agent)

    assert ("the vendor", "1.5 GiB") == (found["Started and ended by"], found["Free disk space"])


def test_what_is_usual_stands_beside_it() -> None:
    """Usual values must be listed beside the newest ones."""
    run = SuiteRun(
        run_id="9",
        duration_seconds=1260.0,
        samples={"passed": 97.0, "failed": 3.0},
        boot_seconds=30.0,
    )
    usual = Usual(runs=12, duration_seconds=720.0, error_ratio=0.0, boot_seconds=20.0)
    suite = fakes.changed(fakes.suite(), last_run=run, usual=usual)

    found = facts_of(suite)

    assert {
        "Usual duration": "12 min; newest run 21 min (1.8 times)",
        "Usual errors": "0 %; newest run 3 %",
        "Usual time to boot": "20 s; newest run 30 s (1.5 times)",
    } == {name: text for name, text in found.items() if name.startswith("Usual")}


def test_the_usual_ping_stands_beside_the_newest() -> None:
    """A slow ping means something else where pings always are slow."""
    agent = fakes.changed(fakes.agent("a"), usual_ping_seconds=0.5)

    assert "12 ms; usually 500 ms" == facts_of(agent)["Ping"]


def test_nothing_is_usual_that_is_not_known() -> None:
    """Usual values that are unknown must not be listed."""
    usual = fakes.changed(fakes.suite(), last_run=None, usual=Usual(runs=5, duration_seconds=60.0))

    assert [] == [name for name in facts_of(fakes.suite()) if name.startswith("Usual")]
    assert "1 min" == facts_of(usual)["Usual duration"]


def test_of_a_location() -> None:
    """A location says how much can run there."""
    found = facts_of(fakes.location(agents=3.0, agents_up=2.0, slots=4.0, threads_per_engine=500.0))

    assert {"Agents": "2 of 3 agents up", "Engines per agent": "4", "Users per engine": "500"} == {
        name: found[name] for name in ("Agents", "Engines per agent", "Users per engine")
    }


def test_of_a_suite_whose_newest_run_was_aborted() -> None:
    """The outcome of the newest run and the newest verdict must be separate facts."""
    aborted = SuiteRun(run_id="10", outcome=Outcome.ABORTED)

    found = facts_of(fakes.changed(fakes.suite(passed=False), last_run=aborted))

    assert ("aborted", "not passed") == (found["Newest run"], found["Newest verdict"])


def test_of_a_run_that_is_not_well() -> None:
    """Outcome, lost engines, waiting and internal errors must be listed."""
    run = Run(
        run_id="21",
        run="soak",
        phase="ended",
        outcome=Outcome.NO_DATA,
        engines=2.0,
        engines_planned=5.0,
        engine_errors=True,
        delayed_start=True,
        internal_error=True,
    )

    found = facts_of(run)

    assert {
        "Outcome": "no data",
        "Engines": "2 of 5",
        "Engine errors": "an engine was lost or ended in an error",
        "Waits": "for somebody to start it",
        "Internal error": "reported by its newest log line",
    }.items() <= found.items()


def test_unknown() -> None:
    """A target that is not in the inventory must have no details."""
    found = details(
        fakes.FakeView(fakes.agent()).snapshots(),
        fakes.NOW,
        source="prod",
        kind="agent",
        target_id="nobody",
    )

    assert found is None


@pytest.mark.parametrize("target_id", ["7", "it's; rm -rf /", "$(id)", "two words", "-x", "\n"])
def test_the_command_is_safe_to_paste(target_id: str) -> None:
    """The command's arguments must survive a shell, whatever characters the id has."""
    words = shlex.split(command("prod", "agent", target_id))

    assert ["prod", "agent", target_id] == words[-3:]
    assert target_id.startswith("-") == ("--" in words)
