"""A large fleet, every second agent of which answers its pings with errors of six kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from exporter.conformance.candidate import SMALL
from exporter.conformance.trial import Trial, accused, select
from exporter.conformance.vendor import drop, reply, reset, say
from exporter.metrics import catalogue as c
from tests.support.candidates import CANDIDATES


if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from exporter.conformance.front import Ask
    from exporter.conformance.trial import Page
    from exporter.conformance.vendor import Seen, Step, Wire


#: The broken agents' answers in turn; the first looks like a refusal of the token.
ERRORS: tuple[Step, ...] = (
    reply(b'{"isError":true,"genericErrorText":"error 17"}'),
    reset,
    say(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"a', then=drop),
    reply(b"<html>oops</html>"),
    reply(b"{}", status=500),
    reply(b"{}", status=502),
)

POLLS = 2
INTERVAL_SECONDS = 60.0

#: The number of agents in CI, and with `--whole`.
FEW, MANY = 300, 10_000

(REALLOAD,) = (candidate for candidate in CANDIDATES if candidate.name == "realload")


class Broken:
    """Agents, every second of which is broken."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def strikes(self, seen: Seen) -> bool:
        """Return whether a call is a ping of a broken agent."""
        call = json.loads(seen.body)
        if call["action"] != "pingMeasuringAgent" or call["agentId"] % 2:
            return False
        self.asked.append(call["agentId"])
        return True

    async def treat(self, wire: Wire, ask: Ask) -> None:
        """Answer the newest such ping with the agent's error."""
        del ask
        await ERRORS[self.asked[-1] // 2 % len(ERRORS)](wire)


async def test_the_healthy_half_is_shown(
    request: pytest.FixtureRequest, ca_file: str, tmp_path: Path
) -> None:
    """Within one poll, each healthy agent must be up, and no broken agent be down."""
    many = MANY if request.config.getoption("--whole") else FEW
    options = msgspec.structs.replace(SMALL, agents=many, clusters=0, suites=0)
    sources = {"broken": REALLOAD, "well": REALLOAD}
    broken = Broken()
    async with Trial(sources, tmp_path, options=options, ca_file=ca_file, retries=1) as trial:
        portal, front = trial.subjects["broken"].portal, trial.subjects["broken"].front
        front.struck, front.treatment = broken.strikes, broken.treat
        pages = []
        for _ in range(POLLS):
            await trial.engine.poll_once()
            pages.append(trial.page())
            trial.time.shift(INTERVAL_SECONDS)

    known = accused(pages[0], "well")
    healthy = {agent for agent in up(pages[0], "well") if int(agent) % 2}
    assert many / 3 < len(healthy)
    assert len(broken.asked) >= many / 3
    for page in pages:
        assert healthy == up(page, "broken")
        assert known.items() >= accused(page, "broken").items()
        assert [1] == [*select(page, c.SOURCE_UP.name, source="broken").values()]
        assert {0} == {*select(page, c.SOURCE_AUTH_FAILED.name).values()}
    assert [] == portal.refused
    # For each agent a ping, a repetition and a call for its jobs; then lists and proofs.
    assert len(front.seen) < POLLS * (3 * many + 100)


def up(page: Page, source: str) -> set[str]:
    """Return the ids of the agents that are up."""
    return {
        dict(labels)["agent_id"]
        for labels, value in select(page, c.AGENT_UP.name, source=source).items()
        if value == 1
    }
