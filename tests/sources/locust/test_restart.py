"""Restarts of the exporter: no worker is wrongly down or forgotten, and no run is doubled."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.readings import Run
from tests.sources.locust.support import (
    FIRST,
    NEW,
    SECOND,
    Master,
    hexed,
    reply,
    stats,
    with_requests,
)
from tests.sources.locust.test_workers import GONE
from tests.support.restart import damaged


DAY = 86_400.0


class TestWorkers:
    async def test_a_dead_worker_stays_down(self) -> None:
        """A dead worker must stay down, although its row has gone."""
        master = Master("running")
        await master.states()
        await master.states("worker_missing", after=15)
        await master.states("worker_removed", after=60)

        master.restarts.restart(down_seconds=60)

        assert {"lg1": GONE, "lg1/2": True} == await master.states()

    async def test_a_dead_worker_is_forgotten_when_its_time_is_over(self) -> None:
        """The time counts on from when it was last up, over any number of restarts."""
        master = Master(reply((FIRST, "running")), remember_for="1d")
        await master.states()
        await master.states(reply((FIRST, "missing")), after=15)
        master.restarts.restart(down_seconds=DAY / 2)
        await master.states(reply())

        master.restarts.restart(down_seconds=DAY / 2 - 15)
        at_the_end = await master.states()
        master.restarts.restart(down_seconds=1)

        assert {"lg1": GONE} == at_the_end
        assert {} == await master.states()

    async def test_names_stay(self) -> None:
        """Workers of one host must keep their names over a restart, whatever the order of rows."""
        master = Master(reply((FIRST, "running"), (SECOND, "running")))
        await master.states()

        master.restarts.restart()
        swapped = reply((SECOND, "missing"), (FIRST, "running"))

        assert {"lg1": True, "lg1/2": GONE} == await master.states(swapped)

    async def test_a_worker_that_was_started_meanwhile_takes_the_place_of_the_dead(self) -> None:
        """Worker and exporter may be on hosts that were started together."""
        master = Master("running")
        await master.states()
        await master.states("worker_missing", after=15)

        master.restarts.restart(down_seconds=600)

        assert {"lg1": True, "lg1/2": True} == await master.states("rejoined")

    async def test_one_that_left_in_order_gets_its_grace_anew(self) -> None:
        """A worker that left must get its grace anew after a restart."""
        master = Master("running")
        await master.states()
        left = reply((SECOND, "running"))
        await master.states(left, after=15)

        master.restarts.restart(down_seconds=600)

        assert {"lg1": None, "lg1/2": True} == await master.states()
        assert {"lg1/2": True} == await master.states(after=120)


class TestRun:
    async def test_goes_on(self) -> None:
        """A run in flight keeps its id, and its start if that was seen."""
        master = Master("two_idle")
        await master.poll()
        master.clock.shift(15)
        master.shows("running")
        before = await master.readings(Run)

        master.restarts.restart(down_seconds=60)

        assert before == await master.readings(Run)

    async def test_an_end_lingers_on(self) -> None:
        """An ended run must be shown for an hour in sum, also over restarts."""
        master = Master("running")
        await master.poll()
        master.shows("stopped")
        await master.poll()

        master.restarts.restart(down_seconds=3_600)
        at_the_end = await master.readings(Run)
        master.restarts.restart(down_seconds=1)

        assert ["ended"] == [run.phase for run in at_the_end]
        assert [] == await master.readings(Run)

    async def test_another_test_that_began_meanwhile_is_another(self) -> None:
        """Counts fell while users are being started."""
        master = Master(with_requests(100, "running"))
        (before,) = await master.readings(Run)

        master.restarts.restart(down_seconds=60)
        master.shows(with_requests(3, "spawning"))
        (after,) = await master.readings(Run)

        assert before.run_id != after.run_id

    async def test_a_clock_that_was_set_back_makes_no_run_immortal(self) -> None:
        """An end in the future was just now."""
        master = Master("running")
        await master.poll()
        master.shows("stopped")
        await master.poll()

        master.restarts.restart(down_seconds=-365 * DAY)
        before = await master.readings(Run)
        master.clock.shift(3_601)

        assert ["ended"] == [run.phase for run in before]
        assert [] == await master.readings(Run)


REPLIES: list[Any] = [
    reply(),
    reply((FIRST, "running")),
    reply((FIRST, "missing"), (SECOND, "running")),
    reply((SECOND, "ready"), (FIRST, "running"), (hexed("lg2", 1), "spawning")),
    reply((NEW, "running"), (FIRST, "missing"), (SECOND, "missing")),
    with_requests(1, "spawning"),
    stats("stopped"),
    stats("two_idle"),
    {},
]
STEPS = st.lists(
    st.tuples(st.sampled_from([1, 15, 4_000, 90_000]), st.sampled_from(REPLIES)), max_size=10
)


@given(steps=STEPS)
def test_a_restart_changes_no_reading(steps: list[tuple[int, Any]]) -> None:
    """Polls with a restart before each give the same readings as polls without.

    But for the grace of those that left in order, which begins anew; here it has always passed.
    """

    async def play(*, restarts: bool) -> list[Any]:
        master = Master(expected_agents=["lg2"], leave_grace="0s")
        shown = []
        for seconds, each in steps:
            master.clock.shift(seconds)
            master.shows(each)
            if restarts:
                master.restarts.restart()
            shown.append(await master.restarts.shown("agents"))
        return shown

    assert asyncio.run(play(restarts=False)) == asyncio.run(play(restarts=True))


@given(data=st.data())
def test_no_damage_stops_it(data: st.DataObject) -> None:
    """A memory that holds anything at all costs what it said, and nothing else."""

    async def play() -> None:
        master = Master("running")
        await master.poll()
        memory = data.draw(damaged(master.restarts.memory["agents"]))

        await master.restarts.survives("agents", memory)

    asyncio.run(play())
