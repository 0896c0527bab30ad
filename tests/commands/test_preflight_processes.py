"""`preflight` as a process, against a simulated portal and a daemon that watches it."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.simulator.options import SimulatorOptions
from tests.support.commands import on_terminal, portal_with
from tests.support.junit import parsed
from tests.support.processes import daemon, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.commands import Portal


SMALL = SimulatorOptions(still=True, agents=3, controllers=1, clusters=0, recorders=1, suites=1)

#: Two agents that are up; the third is outdated from the start.
NIGHTLY = {"name": "nightly", "agents": {"min_up": 2, "max_down": 1}}
WEEKLY = {"name": "weekly", "agents": {"min_up": 3}}


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    async with portal_with(SMALL, tmp_path) as found:
        configure(found, NIGHTLY, WEEKLY)
        yield found


def configure(portal: Portal, *preflights: dict[str, Any]) -> None:
    data = yaml.safe_load(portal.configuration.read_text())
    data["preflights"] = list(preflights)
    portal.configuration.write_text(yaml.safe_dump(data))


async def calls(portal: Portal) -> dict[str, int]:
    """Return how often the vendor was called by which name."""
    told: dict[str, int] = json.loads(await fetch(f"{portal.url}/_control"))["calls"]
    return told


async def test_each_code_without_a_daemon(portal: Portal) -> None:
    """Without a daemon, the command must poll and end with the code of its verdict."""
    codes = [
        (await portal.ended("preflight", *flags))[0]
        for flags in (["nightly"], ["weekly"], [], ["nightyl"], ["nightly", "--idle"])
    ]
    await portal.control(fault="bad_gateway", fault_on=["getMeasuringAgents"])
    code, answer, _ = await portal.ended("preflight", "nightly")

    assert [0, 1, 1, 2, 2] == codes
    assert 3 == code
    assert "the agents of simulated-portal are not known: " in answer


async def test_polls_that_a_daemon_does_not_count_are_told(portal: Portal) -> None:
    """Refused calls add to those of the daemon where the state cannot be shared."""
    code, answer, complaints = await portal.ended(
        "preflight", "nightly", XDG_STATE_HOME="/dev/null"
    )

    assert 0 == code
    assert answer.startswith("nightly: fit\n")
    assert "preflight: polled without the daemon's ledger" in complaints


async def test_what_only_a_daemon_knows_is_told(portal: Portal) -> None:
    """A pace that could not be compared is not passed in silence."""
    code, _, complaints = await portal.ended(
        "preflight", "--suites=Checkout smoke", "--slower-than-usual=1.5"
    )

    assert 0 == code
    assert "so slower_than_usual was not checked; --url asks the daemon instead" in complaints


async def test_each_form_and_each_code_of_a_daemon(portal: Portal, tmp_path: Path) -> None:
    """With `--url`, the command must call no vendor, whatever the format."""
    portal.pace("1h")
    summary = tmp_path / "summary.md"

    async with portal.watched() as (url, _):
        before = await calls(portal)
        table = await portal.ended("preflight", "nightly", f"--url={url}")
        document = await portal.ended("preflight", "weekly", f"--url={url}", "--format=json")
        junit = await portal.ended("preflight", f"--url={url}", "--format=junit")
        github = await portal.ended(
            "preflight", f"--url={url}", "--format=github", GITHUB_STEP_SUMMARY=str(summary)
        )
        flags = await portal.ended("preflight", f"--url={url}", "--min-up=3", "--clock=1s")
        mistake = await portal.ended("preflight", f"--url={url}", "nighly")
        said = json.loads(await fetch(f"{url}/api/v1/preflight?name=weekly"))["data"]

        assert before == await calls(portal)
    gone = await portal.ended("preflight", f"--url={url}")

    assert (0, "") == (table[0], table[2])
    assert table[1].startswith("nightly: fit\n")
    assert (1, said) == (document[0], json.loads(document[1]))
    assert ["nightly", "weekly"] == [suite.get("name") for suite in parsed(junit[1])]
    assert (1, True) == (github[0], github[1].startswith("::notice title=nightly%3A fit::"))
    assert "### weekly: not fit\n" in summary.read_text()
    assert 1 == flags[0]
    assert (2, "preflight: NAME must be one of: nightly, weekly; did you mean nightly?\n") == (
        mistake[0],
        mistake[2],
    )
    assert (3, "") == (gone[0], gone[1])


async def test_only_what_is_needed_is_polled(portal: Portal) -> None:
    """A source that no preflight needs is not called, nor waited for."""
    data = yaml.safe_load(portal.configuration.read_text())
    data["sources"].append({**data["sources"][0], "name": "other"})
    data["preflights"] = [
        {"name": "here", "agents": {"source": "simulated-portal", "min_up": 2}},
        {"name": "everywhere", "agents": {"min_up": 2}},
    ]
    portal.configuration.write_text(yaml.safe_dump(data))

    codes, listed = [], []
    for name in ("here", "everywhere"):
        codes.append((await portal.ended("preflight", name))[0])
        listed.append((await calls(portal))["getMeasuringAgents"])

    assert ([0, 0], [1, 3]) == (codes, listed)


async def test_waiting_polls_on_schedule(portal: Portal) -> None:
    """A fleet that becomes fit ends the wait, and no poll is made for having been asked."""
    portal.pace("2s")

    async with portal.starting("weekly", "--wait=90s", command="preflight") as process:
        await until(lambda: "weekly is not fit (failed: agents)" in process.errors)
        await portal.control(change={"agents": {"43": {"outdated": False}}})
        code = await asyncio.wait_for(process.process.wait(), 60)

    listed = (await calls(portal))["getMeasuringAgents"]
    assert 0 == code
    assert process.output.startswith("weekly: fit\n")
    assert 2 <= listed < 30


async def test_waiting_for_a_daemon_that_is_restarted(portal: Portal) -> None:
    """A lost reply is no answer; a log shows what is waited for."""
    portal.pace("1s")
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async with portal.starting(
        "nightly", f"--url={url}", "--wait=100s", command="preflight"
    ) as process:
        await until(lambda: "waiting 1 min 40 s more: cannot read" in process.errors)
        async with daemon(portal.folder, portal.configuration, port=port):
            code = await asyncio.wait_for(process.process.wait(), 60)

    assert 0 == code
    assert process.output.startswith("nightly: fit\n")


async def test_an_interrupt_on_a_terminal(portal: Portal) -> None:
    """Ctrl-C must end the wait and erase its line."""
    async with on_terminal("preflight", portal.flag, "weekly", "--wait=90s") as (process, seen):
        await until(lambda: b"more: weekly is not fit (failed: agents)" in seen)
        process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(process.wait(), 20)

    assert 130 == code
    assert b"Traceback" not in seen
    assert seen.endswith(b"\r\x1b[K")


async def test_curl_is_enough(portal: Portal) -> None:
    """`curl -f` fails with what is not fit, and with what is not known."""
    async with portal.watched() as (url, _):
        codes = []
        for name in ("nightly", "weekly"):
            async with running(
                *(require("curl"), "-fsS", f"{url}/api/v1/preflight?name={name}"),
                folder=portal.folder,
                name="curl",
            ) as curl:
                codes.append(await asyncio.wait_for(curl.process.wait(), 20))

    assert [0, 22] == codes
