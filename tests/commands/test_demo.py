"""`demo` as a process: what it says must be true."""

from __future__ import annotations

import json
import shlex
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.cli import main
from exporter.conformance.trial import Page, parsed, select
from exporter.metrics import catalogue as c
from exporter.metrics import own
from tests.support.processes import EXPORTER, answers, fetch, free_port, running
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


#: Sights of the demo's page, each with a function that finds it.
SIGHTS: dict[str, Callable[[Page], bool]] = {
    "an agent that is down": lambda page: 0 in select(page, c.AGENT_UP.name).values(),
    "an outdated agent": lambda page: 1 in select(page, c.AGENT_OUTDATED.name).values(),
    "a wrong clock": lambda page: any(
        abs(seconds) > 3600 for seconds in select(page, c.AGENT_CLOCK_DELTA.name).values()
    ),
    "an unusable cluster": lambda page: 0 in select(page, c.CLUSTER_UP.name).values(),
    "a failed suite": lambda page: _has_outcome(page, "failed"),
    "an incomplete suite": lambda page: _has_outcome(page, "incomplete"),
    "a test for which the fleet is not fit": lambda page: (
        0 in select(page, own.PREFLIGHT_READY.name).values()
    ),
    "a stuck run": lambda page: 1 in select(page, c.RUN_PHASE.name, phase="stuck").values(),
}

#: Families that the demo lacks: those of tasks that are off, that of failed tasks, since none
#: fails, and the one that needs a day of pings.
ABSENT = {
    family.name
    for family in (
        c.AGENT_JOBS,
        c.TEMPLATE_HEALTHY,
        c.CERTIFICATE_ACTIVE,
        c.CERTIFICATE_NOT_AFTER,
        c.SOURCE_TASK_FAILURE,
        c.AGENT_BASELINE_PING,
    )
}


def _has_outcome(page: Page, outcome: str) -> bool:
    return 1 in select(page, c.SUITE_LAST_RUN_OUTCOME.name, outcome=outcome).values()


def unseen(page: Page) -> set[str]:
    """Return what a page does not show of what there is to see."""
    return {sight for sight, is_on in SIGHTS.items() if not is_on(page)}


def unserved(page: Page) -> set[str]:
    """Return the families that a page has no sample of although it should have."""
    names = {name for name, _ in page}
    return {family.name for family in c.FAMILIES} - ABSENT - names


async def lacking(
    folder: Path, missing: Callable[[Page], set[str]], *, timeout_seconds: float
) -> list[str]:
    """Start the demo and return what is missing on its page when the time is over."""
    address = f"127.0.0.1:{free_port()}"
    left = {"a page"}

    async def shown() -> bool:
        left.clear()
        try:
            left.update(missing(parsed(await fetch(f"http://{address}/metrics"))))
        except OSError:
            left.add("a page")
        return not left

    flag = f"--web.listen-address={address}"
    async with running(*EXPORTER, "demo", flag, folder=folder, name="demo") as process:
        with suppress(TimeoutError):
            await until(shown, timeout_seconds=timeout_seconds)
        assert not process.ended, process.errors
    return sorted(left)


def test_a_taken_port_is_told_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo reads no file in which `web.listen_address` could be set."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code = main(["demo", f"--web.listen-address=127.0.0.1:{port}"], environ={})

    assert 1 == code
    assert capsys.readouterr().err.endswith(
        f"cannot start: cannot listen on 127.0.0.1:{port}: the port is in use;"
        " stop what uses it or set another --web.listen-address\n"
    )


async def test_says_in_three_lines_where_to_look(tmp_path: Path) -> None:
    """The board and the metrics are where it says, and its command takes an agent down."""
    address = f"127.0.0.1:{free_port()}"
    async with running(
        *EXPORTER,
        "demo",
        "--still",
        f"--web.listen-address={address}",
        folder=tmp_path,
        name="demo",
    ) as process:
        await until(lambda: process.output.count("\n") >= 3)
        board, metrics, change = (line.split(maxsplit=1) for line in process.output.splitlines())
        await answers(f"{board[1]}-/ready", process)

        assert (["board", f"http://{address}/"], ["metrics", f"http://{address}/metrics"]) == (
            board,
            metrics,
        )
        assert "<title>loadfleet-exporter" in await fetch(board[1])
        assert "loadfleet_agent_up{" in await fetch(metrics[1])

        _, curl, _, body, url = shlex.split(" ".join(change))
        command = json.loads(body)
        (agent_id,) = command["change"]["agents"]
        assert "curl" == curl
        await fetch(url, data=command)

        async def down() -> bool:
            found = await fetch(f"{board[1]}api/v1/targets?state=down&kind=agent")
            return agent_id in {each["id"] for each in json.loads(found)["data"]["targets"]}

        await until(down)


async def test_trouble_of_each_kind_is_seen_at_once(tmp_path: Path) -> None:
    """A quarter of a minute after its start there is something to look at, for every need."""
    assert [] == await lacking(tmp_path, unseen, timeout_seconds=15.0)


async def test_every_family_is_served_within_a_minute(tmp_path: Path) -> None:
    """The demo must serve every family within a minute, unless its task is off."""
    assert [] == await lacking(tmp_path, unserved, timeout_seconds=60.0)
