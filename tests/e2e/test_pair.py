"""Pairs of real exporters with one state: the leader, its successor, and no gap in the pages.

The end of the test run shows how long each fail-over took.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from exporter.clock import SYSTEM_CLOCK
from exporter.conformance.front import Answer, answered
from exporter.conformance.stalls import undisturbed
from exporter.sources.settings import DEFAULT_CONCURRENCY
from tests.support.pair import (
    BACKENDS,
    MEASURED,
    TARGETS,
    VENDORS,
    Installation,
    Member,
    gaps,
    lag,
    shared,
)
from tests.support.processes import ELSEWHERE
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.conformance.front import Ask
    from exporter.conformance.vendor import Wire


#: The longest time until a standby leads, which `high-availability.md` promises: after
#: a crash of the leader, and after its orderly stop.
FOLLOWED_SECONDS = 16.0
HANDED_OVER_SECONDS = 1.0

#: The longest delay, promised there too, until a standby shows what the leader shows.
MIRRORED_SECONDS = 1.0

#: Allowance for a busy machine.
PATIENCE_SECONDS = 0.2

#: The delay of answers in tests whose calls are to overlap.
LATE_SECONDS = 0.3

AGENT = "41"

WINDOW_SECONDS = 10.0


@asynccontextmanager
async def installed(backend: str, folder: Path, **how: Any) -> AsyncIterator[Installation]:
    async with (
        shared(backend, folder) as state,
        Installation(folder / "exporters", state, **how) as installation,
    ):
        yield installation


class Held:
    """A proxy to a vendor that holds back answers; the vendor has got the calls.

    Attributes:
        most_seconds: The longest time that an answer is held.
        let_go: Set to release all answers.
        waiting: The number of held answers.
    """

    def __init__(self, *, most_seconds: float = math.inf) -> None:
        self.most_seconds = most_seconds
        self.let_go = asyncio.Event()
        self.waiting = 0

    async def __call__(self, wire: Wire, ask: Ask) -> None:
        answer: Answer = await ask()
        began = SYSTEM_CLOCK.monotonic()
        self.waiting += 1
        try:
            await until(
                lambda: (
                    self.let_go.is_set() or SYSTEM_CLOCK.monotonic() - began >= self.most_seconds
                )
            )
        finally:
            self.waiting -= 1
        await answered(answer, answer.body)(wire)


async def follows(
    standby: Member, leader: Member, struck: float, *, within: float, what: str, but: str = ""
) -> None:
    """Check that a standby leads within a time, and shows the common series without a gap."""
    await until(lambda: standby.scrapes[-1].leads)
    await standby.first_since(struck)
    seen = len(standby.scrapes) + 3
    await until(lambda: len(standby.scrapes) >= seen)
    # The standby became the leader between these two scrapes.
    least = [each.began for each in standby.scrapes if not each.leads][-1] - struck
    most = next(each.ended for each in standby.scrapes if each.leads) - struck
    call = next(at for at, _ in standby.sent) - struck
    MEASURED.append(
        f"{what}: followed after {least:.2f} to {most:.2f} s, called after {call:.2f} s"
    )

    assert least <= within
    assert [] == [each for each in standby.sent if each[0] < struck]
    assert [] == gaps(standby, struck, leader, but=but)


def agent_up(member: Member) -> str:
    """Return the name and labels of the agent's state on an exporter's page."""
    return next(
        series
        for series in member.scrapes[-1].series
        if series.startswith("loadfleet_agent_up{") and f'agent_id="{AGENT}"' in series
    )


@pytest.mark.parametrize("backend", BACKENDS[::2])
async def test_they_follow_each_other_at_once(tmp_path: Path, backend: str) -> None:
    """A standby must follow within a second when the leader ends or is seen to die.

    Nobody waits for the calls of the old leader, which hang.
    """
    require("unshare")

    async def play(folder: Path) -> None:
        async with installed(backend, folder) as it:
            leader, standby = await it.pair(command=ELSEWHERE)
            held = Held()
            leader.treat(held)
            await until(lambda: held.waiting)

            # The standby cannot see the process end, so only the lease given up counts.
            struck = SYSTEM_CLOCK.monotonic()
            leader.process.send(signal.SIGTERM)

            within = HANDED_OVER_SECONDS
            await follows(standby, leader, struck, within=within, what=f"SIGTERM, {backend}")
            assert 0 == await leader.process.process.wait()
            third = await it.start("third", watched=True)
            await until(third.stands_by)
            await until(lambda: third.scrapes)

            struck = SYSTEM_CLOCK.monotonic()
            await standby.process.stop(signal.SIGKILL)

            await follows(third, standby, struck, within=within, what=f"SIGKILL, {backend}")
            assert not any("Traceback" in each.process.errors for each in (leader, standby, third))

    await undisturbed(play, tmp_path, patience_seconds=PATIENCE_SECONDS)


async def test_the_standby_shows_what_the_leader_shows(tmp_path: Path) -> None:
    """The standby's page must show a change within a second of the leader's page."""

    async def play(folder: Path) -> None:
        async with installed("redis-server", folder) as it:
            leader, standby = await it.pair()
            series = agent_up(leader)

            it.world.change("agents", AGENT, up=False)
            for each in (leader, standby):
                await until(lambda each=each: 0.0 == each.scrapes[-1].series.get(series))  # type: ignore[misc]

            assert lag(leader, standby, series, 0.0) <= MIRRORED_SECONDS
            assert [] == standby.sent

    await undisturbed(play, tmp_path, patience_seconds=PATIENCE_SECONDS)


async def killed_elsewhere(folder: Path, backend: str) -> None:
    """Kill a leader whose death the standby cannot see, as on another machine."""
    async with installed(backend, folder) as it:
        leader, standby = await it.pair(command=ELSEWHERE)
        struck = SYSTEM_CLOCK.monotonic()
        await leader.process.stop(signal.SIGKILL)

        what = f"SIGKILL on another machine, {backend}"
        await follows(standby, leader, struck, within=FOLLOWED_SECONDS, what=what)


async def frozen(folder: Path, backend: str) -> None:
    """Stop a leader while it waits for answers, for longer than its lease."""
    async with installed(backend, folder) as it:
        leader, standby = await it.pair()
        held = Held(most_seconds=LATE_SECONDS)
        leader.treat(held)
        # As many calls as the concurrency allows, without those that are about to end.
        await until(lambda: held.waiting == DEFAULT_CONCURRENCY)
        struck = SYSTEM_CLOCK.monotonic()
        leader.process.send(signal.SIGSTOP)
        held.most_seconds = math.inf
        it.world.change("agents", AGENT, up=False)
        what = f"SIGSTOP, {backend}"
        but = f'agent_id="{AGENT}"'
        await follows(standby, leader, struck, within=FOLLOWED_SECONDS, what=what, but=but)
        series = agent_up(standby)
        await until(lambda: 0.0 == standby.scrapes[-1].series[series])
        known = SYSTEM_CLOCK.monotonic()

        leader.treat(None)
        held.let_go.set()
        continued = SYSTEM_CLOCK.monotonic()
        leader.process.send(signal.SIGCONT)

        await until(leader.stands_by)
        await until(lambda: 0.0 == leader.scrapes[-1].series.get(series))
        polled = len(standby.sent) + 20
        await until(lambda: len(standby.sent) >= polled)
        late = leader.since(continued)
        assert [] == late
        assert {0.0} == {each.series[series] for each in standby.scrapes if each.began > known}
        assert await standby.leads()
        assert "Traceback" not in leader.process.errors


async def test_a_leader_falls_silent(tmp_path: Path) -> None:
    """A dead or frozen leader must be followed when its lease is over, and stand by afterwards."""
    require("unshare")

    async def play(folder: Path) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(killed_elsewhere(folder / "killed", "valkey-server"))
            group.create_task(frozen(folder / "redis", "redis-server"))
            group.create_task(frozen(folder / "sqlite", "sqlite"))

    await undisturbed(play, tmp_path, patience_seconds=PATIENCE_SECONDS)


async def test_the_vendors_see_the_calls_of_one(tmp_path: Path) -> None:
    """Two make as many calls of each kind as one does; a change of the leader costs a poll."""
    vendors = [name for name in VENDORS if name != "eggplant-login"]
    async with (
        installed("redis-server", tmp_path / "two", vendors=vendors) as two,
        installed("redis-server", tmp_path / "one", vendors=vendors) as one,
    ):
        alone = await one.start("alone")
        leader, standby = await two.pair()
        await until(alone.ready)
        before = calls(one), calls(two)
        began = SYSTEM_CLOCK.monotonic()

        await until(lambda: SYSTEM_CLOCK.monotonic() >= began + WINDOW_SECONDS / 2)
        await leader.process.stop()
        struck = SYSTEM_CLOCK.monotonic()
        await until(lambda: SYSTEM_CLOCK.monotonic() >= began + WINDOW_SECONDS)
        by_one, by_two = calls(one) - before[0], calls(two) - before[1]

        assert [] == leader.since(struck)
    polls = by_one["eggplant", "sut_status"]
    of_a_poll = {call: math.ceil(number / polls) for call, number in by_one.items()}
    differences = {
        call: by_two[call] - by_one[call]
        for call in by_one | by_two
        # One poll more or less fits into the window, and another is made when the leader changes.
        if abs(by_two[call] - by_one[call]) > 2 * of_a_poll.get(call, 1)
    }
    assert polls > 4
    assert {} == differences, (by_one, by_two)
    assert standby.sent


def calls(installation: Installation) -> Counter[tuple[str, str]]:
    """Return the number of calls, by vendor and kind of call."""
    return Counter(
        {
            (name, action): number
            for name, portal in installation.portals.items()
            for action, number in portal.calls.items()
        }
    )


async def test_who_stands_by_is_ready_once_it_mirrors(tmp_path: Path) -> None:
    """Both processes must become ready after the leader's first poll, and show the same."""
    async with installed("redis-server", tmp_path) as it:
        it.configuration["defaults"] |= {"interval": "30s", "timeout": "29s"}
        held = Held()
        members = [await it.start(name, treatment=held) for name in ("one", "other")]
        await until(lambda: held.waiting)
        early = [await each.ready() for each in members]
        (leader,) = [each for each in members if each.sent]
        (standby,) = [each for each in members if each is not leader]

        held.let_go.set()
        await until(standby.ready)

        async def alike() -> bool:
            shown, known = [(await each.samples(TARGETS)).keys() for each in (standby, leader)]
            return shown == known and any(each.startswith("loadfleet_agent_up{") for each in shown)

        # The first polled task makes a process ready; the others follow.
        await until(alike)
        assert [False, False] == early
        assert [] == standby.sent
