"""Restarts of the exporter: no node is wrongly down or forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.sources.selenium.support import FIRST, SECOND, Hub, node, reply
from tests.sources.selenium.test_nodes import AWAY, DAY, GONE


async def test_a_dead_node_stays_down() -> None:
    """A dead node must stay down, although its row has gone."""
    hub = Hub()
    await hub.states()
    await hub.states(reply(node(availability="DOWN")), after=30)
    await hub.states(reply(), after=300)

    hub.restarts.restart(down_seconds=60)

    assert {FIRST: GONE} == await hub.states()


async def test_a_node_whose_row_went_meanwhile_was_well() -> None:
    """A node whose row went during the restart must not be called down."""
    hub = Hub("two_up_one_session")
    await hub.states()

    hub.restarts.restart(down_seconds=900)

    assert {FIRST: None, SECOND: True} == await hub.states(reply(node(f"http://{SECOND}")))


async def test_a_dead_node_is_forgotten_when_its_time_is_over() -> None:
    """The time counts on from when it was last up, over any number of restarts."""
    hub = Hub(remember_for="1d")
    await hub.states()
    await hub.states(reply(node(availability="DOWN")), after=30)
    hub.restarts.restart(down_seconds=DAY / 2)
    await hub.states(reply())

    hub.restarts.restart(down_seconds=DAY / 2 - 30)
    at_the_end = await hub.states()
    hub.restarts.restart(down_seconds=1)

    assert {FIRST: GONE} == at_the_end
    assert {} == await hub.states()


async def test_an_expected_node_stays_down() -> None:
    """An expected node that is down must not get its grace anew."""
    hub = Hub("no_nodes", expected_agents=[FIRST])
    await hub.states()
    await hub.states(after=60)

    hub.restarts.restart(down_seconds=1)

    assert {FIRST: AWAY} == await hub.states()


async def test_a_clock_that_was_set_back_makes_nobody_immortal() -> None:
    """A node that was last up in the future was up just now."""
    hub = Hub(remember_for="1d")
    await hub.states()
    await hub.states(reply(node(availability="DOWN")), after=30)

    hub.restarts.restart(down_seconds=-365 * DAY)
    before = await hub.states(reply())

    assert {FIRST: GONE} == before
    assert {} == await hub.states(after=DAY + 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 60, 4_000, 90_000]),
        st.sampled_from(
            [
                reply(),
                reply(node()),
                reply(node(availability="DOWN")),
                reply(node(availability="DRAINING"), node(f"http://{SECOND}")),
                reply(node(availability="DOWN"), node(id="another")),
                {},
            ]
        ),
    ),
    max_size=10,
)


@given(steps=STEPS)
def test_a_restart_changes_no_reading(steps: list[tuple[int, Any]]) -> None:
    """Polls with a restart before each give the same readings as polls without.

    But for the grace of those that left in order, which begins anew, and the time for which those
    are remembered that were never seen up: here neither is waited for.
    """

    async def play(*, restarts: bool) -> list[Any]:
        hub = Hub(expected_agents=[SECOND], leave_grace="0s", remember_for="900d")
        shown = []
        for seconds, each in steps:
            hub.clock.shift(seconds)
            hub.shows(each)
            if restarts:
                hub.restarts.restart()
            shown.append(await hub.restarts.shown("agents"))
        return shown

    assert asyncio.run(play(restarts=False)) == asyncio.run(play(restarts=True))
