from __future__ import annotations

import shlex

import pytest

from exporter.fleet.readings import AgentJobs, Run
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
    """What another task reads of an agent belongs to it too."""
    jobs = AgentJobs(agent_id="7", agent="a", read_at=fakes.ago(30), counts={"running": 2.0})
    view = fakes.FakeView(fakes.agent("a", agent_id="7"), jobs)

    found = details(view.snapshots(), fakes.NOW, source="prod", kind="agent", target_id="7")

    assert found is not None
    assert [line for line in found.samples if 'state="running"' in line and line.endswith(" 2.0")]


def test_facts_are_those_that_are_known() -> None:
    """What the vendor did not say is not listed."""
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
        "Started": "2023-11-14 22:13:20 UTC",
    } == dict(found.facts)


def test_unknown() -> None:
    """There is nothing to be said of what is not in the inventory."""
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
    """Whatever an id is made of, a shell hands it over as one argument."""
    words = shlex.split(command("prod", "agent", target_id))

    assert ["prod", "agent", target_id] == words[-3:]
    assert target_id.startswith("-") == ("--" in words)
