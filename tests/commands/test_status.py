"""`status` as a process, against a simulated portal."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from starlette.exceptions import HTTPException

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import serve
from exporter.web.app import create_app
from tests.support.commands import Portal, on_terminal, portal_with
from tests.support.processes import (
    EXPORTER,
    fetch,
    free_port,
    running,
)
from tests.support.wait import until
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.fleet.readings import Reading
    from exporter.overview.picture import Picture
    from tests.support.commands import Portal
from tests.support.processes import Process


SMALL = SimulatorOptions(still=True, agents=2, controllers=1, clusters=0, recorders=1, suites=0)


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with portal_with(SMALL, tmp_path) as found:
        yield found


class Reluctant(fakes.FakeView):
    """A daemon that can be made busy, and then to hang."""

    def __init__(self, *readings: Reading, **facts: Any) -> None:
        super().__init__(*readings, **facts)
        self.busy = self.hung = False
        self.asked_in_vain = asyncio.Event()

    async def picture(self) -> Picture:
        """Answer like others, or not."""
        if self.hung:
            self.asked_in_vain.set()
            await asyncio.Event().wait()
        if self.busy:
            raise HTTPException(503, "busy")
        return await super().picture()


@asynccontextmanager
async def watching(view: fakes.FakeView, folder: Path) -> AsyncIterator[Process]:
    """Watch a daemon's pages."""
    async with (
        serve(create_app(view)) as url,
        running(
            *EXPORTER, "status", "--watch", f"--url={url}", folder=folder, name="status"
        ) as process,
    ):
        yield process


async def test_well(portal: Portal) -> None:
    """A fleet that is well ends with 0, and a pipe gets plain text."""
    code, answer, complaints = await portal.status()

    assert (0, "") == (code, complaints)
    assert answer.startswith("The fleet is well: 4 targets up.\n")
    assert "\x1b" not in answer


async def test_down(portal: Portal) -> None:
    """A fleet with problems must end the command with 1 and be listed below the answer."""
    await portal.control(change={"agents": {"42": {"up": False}}})

    code, answer, _ = await portal.status()

    assert 1 == code
    assert answer.startswith("The fleet is not well: half of agents down, 1 agent unreachable.\n")
    assert ["critical agent unreachable zurich-01 simulated-portal not reachable"] == [
        " ".join(line.split()) for line in answer.splitlines() if "agent unreachable  " in line
    ]


async def test_a_test_that_begins_soon(portal: Portal) -> None:
    """A fleet that is well and not fit for the test ends with 1; one of its sources may be well."""
    data = yaml.safe_load(portal.configuration.read_text())
    always = {"before": "00:00", "for": "1d"}
    data["preflights"] = [{"name": "nightly", "agents": {"min_up": 3}, "window": always}]
    portal.configuration.write_text(yaml.safe_dump(data))

    code, answer, _ = await portal.status()
    part, of_source, _ = await portal.status("--source=simulated-portal")

    assert (1, 0) == (code, part)
    assert answer.startswith("The fleet is not well: not found fit for 1 test.\n")
    assert 1 == sum("critical  not fit  " in line for line in answer.splitlines())
    assert of_source.startswith("The fleet is well: 4 targets up.\n")


async def test_unread(portal: Portal) -> None:
    """A failing task must be reported once, with its reason, even if all known targets are well."""
    await portal.control(fault="bad_gateway", fault_on=["getMeasuringAgents"])

    code, answer, _ = await portal.status()

    assert 1 == code
    assert answer.startswith(
        "The fleet is not well: 1 task failing.\n(agents of simulated-portal could not be read)\n"
    )
    assert 1 == answer.count("502")


async def test_refused(portal: Portal) -> None:
    """A source that refuses the credentials ends with 1 and is named."""
    await portal.control(token="another")

    code, answer, _ = await portal.status()

    assert 1 == code
    assert answer.startswith("The fleet is not well: credentials refused.\n")
    assert 1 == answer.count("the credentials were refused")


async def test_as_json(portal: Portal) -> None:
    """Scripts get sources, targets and runs as one document."""
    code, answer, _ = await portal.status("--format=json")

    document = json.loads(answer)
    assert (0, {"headline", "problems", "sources", "targets", "runs"}) == (code, set(document))
    assert ["up"] * 4 == [target["state"] for target in document["targets"]]


async def test_as_metrics(portal: Portal) -> None:
    """A textfile collector gets the exposition."""
    await portal.control(change={"agents": {"42": {"up": False}}})

    code, answer, _ = await portal.status("--format=prom")

    assert 1 == code
    assert 'loadfleet_agent_up{agent="zurich-01",agent_id="42"' in answer


async def test_colour_on_request(portal: Portal) -> None:
    """With `--color=always`, the output must be coloured, also in a pipe."""
    _, answer, _ = await portal.status("--color=always", NO_COLOR="1")

    assert answer.startswith("\x1b[32mThe fleet is well")


async def test_watching_is_for_tables(portal: Portal) -> None:
    """Contradictory flags must be a usage error, before any call is sent."""
    code, answer, complaints = await portal.status("--watch", "--format=json")

    assert (2, "") == (code, answer)
    assert "status: --watch works only with --format table\n" == complaints


async def test_only_the_source_that_is_asked_about_is_polled(portal: Portal) -> None:
    """A job about one source waits for no other and does not fail for it."""
    data = yaml.safe_load(portal.configuration.read_text())
    gone = {**data["sources"][0], "name": "gone", "url": f"http://127.0.0.1:{free_port()}"}
    portal.configuration.write_text(yaml.safe_dump({**data, "sources": [*data["sources"], gone]}))

    one, answer, _ = await portal.status("--source=simulated-portal")
    other, _, _ = await portal.status("--source=gone")

    assert (0, 1) == (one, other)
    assert answer.startswith(
        "The fleet is well: 4 targets up.\nOnly --source=simulated-portal: 4 targets\n"
    )


async def test_a_source_that_is_not_there_is_a_usage_error(portal: Portal) -> None:
    """An unknown source must be a usage error with the nearest name, before any call."""
    code, answer, complaints = await portal.status("--source=simulated-protal")

    assert (2, "") == (code, answer)
    assert (
        "status: --source must be one of: simulated-portal; did you mean simulated-portal?\n"
        == complaints
    )
    assert {} == json.loads(await fetch(f"{portal.url}/_control"))["calls"]


async def test_progress_and_an_interrupt(portal: Portal) -> None:
    """A long poll must show its progress, and Ctrl-C must erase it."""
    await portal.control(fault="hang", fault_on=["pingMeasuringAgent"])

    async with on_terminal("status", portal.flag) as (process, seen):
        await until(lambda: b"tasks, 0 of 2 targets, 1 s" in seen)
        process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(process.wait(), 20)

    assert 130 == code
    assert b"Traceback" not in seen
    assert seen.endswith(b"\r\x1b[K")


async def test_watching(portal: Portal) -> None:
    """With `--watch`, changes must be printed until an interrupt, with the last state's code."""
    portal.pace("1s")

    async with portal.starting("--watch") as process:
        await until(lambda: "The fleet is well" in process.output)
        await portal.control(change={"agents": {"42": {"up": False}}})
        await until(lambda: "The fleet is not well: " in process.output)

        code = await process.stop(signal.SIGINT)

    assert (1, "") == (code, process.errors)


async def test_a_daemon_is_asked_without_a_call_to_the_vendor(portal: Portal) -> None:
    """With `--url`, the command must print what the daemon knows and call no vendor."""
    portal.pace("1h")

    async with portal.watched() as (url, _):
        calls = json.loads(await fetch(f"{portal.url}/_control"))["calls"]

        table = await portal.status(f"--url={url}")
        document = await portal.status(f"--url={url}", "--format=json")
        metrics = await portal.status(f"--url={url}", "--format=prom")

        assert calls == json.loads(await fetch(f"{portal.url}/_control"))["calls"]
    assert [(0, "")] * 3 == [(code, errors) for code, _, errors in (table, document, metrics)]
    assert table[1].startswith("The fleet is well: 4 targets up.\n")
    assert ["up"] * 4 == [target["state"] for target in json.loads(document[1])["targets"]]
    assert 'loadfleet_agent_up{agent="zurich-01",agent_id="42"' in metrics[1]


async def test_watching_a_daemon(tmp_path: Path) -> None:
    """Watching a daemon must end at an interrupt, even during a call."""
    view = Reluctant(fakes.agent(), sources=[fakes.source()])

    async with watching(view, tmp_path) as status:
        await until(lambda: "The fleet is well" in status.output)
        view.busy = True
        await until(lambda: "it answers with 503: busy" in status.output)
        view.hung = True
        await view.asked_in_vain.wait()

        code = await asyncio.wait_for(status.stop(signal.SIGINT), 5)

    assert (1, "") == (code, status.errors)


async def test_watching_a_daemon_that_never_answered(tmp_path: Path) -> None:
    """An interrupt before there is anything to show is no answer."""
    view = Reluctant()
    view.hung = True

    async with watching(view, tmp_path) as status:
        await view.asked_in_vain.wait()

        code = await asyncio.wait_for(status.stop(signal.SIGINT), 5)

    assert (130, "", "") == (code, status.output, status.errors)


async def test_watching_on_a_terminal(portal: Portal) -> None:
    """On a terminal the table has colour and a screen of its own, and leaves it in the end."""
    async with on_terminal("status", portal.flag, "--watch") as (process, seen):
        await until(lambda: b"\x1b[32mThe fleet is well" in seen)
        process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(process.wait(), 20)

    assert 0 == code
    assert seen.startswith(b"\x1b[?1049h")
    assert b"\x1b[?1049l" in seen
