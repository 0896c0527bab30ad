"""Every state of a worker, and everything that can become of one."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent
from tests.sources.locust.support import (
    FIRST,
    NEW,
    SECOND,
    Master,
    hexed,
    own,
    reply,
    stats,
    worker,
)


GONE = Reason.NO_HEARTBEAT
AWAY = Reason.NOT_CONNECTED
DAY = 86_400.0


@pytest.mark.parametrize(
    ("state", "up", "busy"),
    [
        ("ready", True, False),
        ("spawning", True, True),
        ("running", True, True),
        ("missing", False, None),
    ],
)
async def test_reads_every_state(state: str, up: bool, busy: bool | None) -> None:
    """A worker is up while its heartbeat comes, and busy while it has users."""
    (agent,) = await Master(reply((FIRST, state))).readings(Agent)

    assert ("lg1", "lg1", "lg1") == (agent.agent_id, agent.agent, agent.host)
    assert (up, busy) == (agent.state.up, agent.state.busy)
    assert (None if up else GONE) == agent.state.reason


@pytest.mark.parametrize(("state", "surprise"), [("resting", "enum"), ("", "missing_field")])
async def test_says_nothing_by_a_state_it_does_not_know(state: str, surprise: str) -> None:
    """A worker in a state that no Locust has yet is neither up nor down."""
    master = Master(reply((FIRST, state)))

    assert {"lg1": None} == await master.states()
    assert 1 == master.surprises(surprise)


class TestKilled:
    async def test_is_down_while_it_is_missing_and_after_its_row_went(self) -> None:
        """The row of a killed worker goes after about a minute; the worker stays down."""
        master = Master("running")

        assert {"lg1": True, "lg1/2": True} == await master.states()
        assert {"lg1": GONE, "lg1/2": True} == await master.states("worker_missing", after=15)
        assert {"lg1": GONE, "lg1/2": True} == await master.states("worker_removed", after=60)
        assert {"lg1": GONE, "lg1/2": True} == await master.states(after=3600)

    async def test_says_when_it_was_last_up(self) -> None:
        """A dead worker must have the time at which it was last seen up."""
        master = Master("running")
        await master.states()
        seen = master.clock.unix
        await master.states("worker_missing", after=15)
        await master.states("worker_removed", after=60)

        last_up = {
            each.agent: each.last_up_timestamp_seconds for each in await master.readings(Agent)
        }

        assert {"lg1": seen, "lg1/2": master.clock.unix} == last_up

    async def test_keeps_its_name_when_it_is_started_again(self) -> None:
        """A worker that is started again has a new id, and is the same agent."""
        master = Master("running")
        await master.states()
        await master.states("worker_missing", after=15)
        await master.states("worker_removed", after=60)

        assert {"lg1": True, "lg1/2": True} == await master.states("rejoined", after=15)

    async def test_is_replaced_by_a_successor_beside_it(self) -> None:
        """For a minute the dead row and its successor's stand together; the host is up."""
        master = Master("running")
        await master.states()

        both = reply((FIRST, "missing"), (SECOND, "running"), (NEW, "ready"))

        assert {"lg1": True, "lg1/2": True} == await master.states(both, after=15)

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
    async def test_is_replaced_in_any_order_of_the_rows(self, order: tuple[int, ...]) -> None:
        """The order of the list says nothing."""
        rows = [(FIRST, "missing"), (SECOND, "running"), (NEW, "ready")]
        master = Master("running")
        await master.states()

        found = await master.states(reply(*(rows[index] for index in order)), after=15)

        assert {"lg1": True, "lg1/2": True} == found

    async def test_stays_down_beside_the_others_of_its_host(self) -> None:
        """One of a host's two workers that is dead must be down beside the other."""
        master = Master("running")
        await master.states()

        one = reply((FIRST, "running"), (SECOND, "missing"))

        assert {"lg1": True, "lg1/2": GONE} == await master.states(one, after=15)

    async def test_is_down_though_never_seen_alive(self) -> None:
        """A dead worker alone on its host has no successor."""
        assert {"lg1": GONE} == await Master("all_missing").states()

    async def test_is_left_out_beside_others_if_never_seen_alive(self) -> None:
        """A dead worker that was never seen alive must be left out if its host has others."""
        assert {"lg1": True} == await Master("worker_missing").states()

    async def test_heals(self) -> None:
        """A worker that hung goes on under its own id."""
        master = Master("running")
        await master.states()
        await master.states("worker_missing", after=15)

        assert {"lg1": True, "lg1/2": True} == await master.states("running", after=15)

    async def test_heals_beside_its_successor(self) -> None:
        """A dead worker that comes back beside its successor must be up, as one more."""
        master = Master("running")
        await master.states()
        both = reply((FIRST, "missing"), (SECOND, "running"), (NEW, "ready"))
        await master.states(both, after=15)

        three = reply((FIRST, "running"), (SECOND, "running"), (NEW, "ready"))

        assert {"lg1": True, "lg1/2": True, "lg1/3": True} == await master.states(three, after=15)

    async def test_is_forgotten_in_the_end(self) -> None:
        """A worker that died and was never started again is remembered for a day by default."""
        master = Master(reply((FIRST, "running")))
        await master.states()
        await master.states(reply((FIRST, "missing")), after=15)

        assert {"lg1": GONE} == await master.states(reply(), after=DAY - 15)
        assert {} == await master.states(after=1)

    async def test_has_no_load(self) -> None:
        """The values that a dead worker keeps are true no more."""
        samples = await Master("all_missing").samples()

        assert {} == own(samples, "locust_agent_")


class TestLeft:
    async def test_that_left_in_order_is_not_down(self) -> None:
        """A row that goes without having been missing is no death; later it is forgotten."""
        master = Master("running")
        await master.states()
        left = reply((SECOND, "running"))

        assert {"lg1/2": True, "lg1": None} == await master.states(left, after=15)
        assert {"lg1/2": True, "lg1": None} == await master.states(after=119)
        assert {"lg1/2": True} == await master.states(after=1)

    async def test_a_stop_of_the_test_accuses_nobody(self) -> None:
        """A stop empties the list for as long as `--stop-timeout` says."""
        master = Master("running", expected_agents=["lg1", "lg1/2"])
        await master.states()

        assert {"lg1": None, "lg1/2": None} == await master.states("stopped", after=15)
        assert {"lg1": True, "lg1/2": True} == await master.states("two_idle", after=15)

    @pytest.mark.parametrize("seen", [False, True])
    async def test_a_stop_beside_a_dead_row_accuses_nobody(self, seen: bool) -> None:
        """After a stop, a dead row whose successor may be well must mark no worker as down."""
        master = Master("running" if seen else "no_worker")
        await master.states()
        await master.states(reply((FIRST, "missing"), (SECOND, "running"), (NEW, "running")))
        stopped = reply((FIRST, "missing"), state="stopped")

        before = await master.states(stopped, after=15)
        master.restarts.restart()

        assert {"lg1": None, "lg1/2": None} == before == await master.states()
        assert {"lg1": True, "lg1/2": True} == await master.states(
            reply((FIRST, "missing"), (SECOND, "ready"), (NEW, "ready"), state="stopped"), after=15
        )

    async def test_an_expected_worker_is_down_after_the_grace(self) -> None:
        """An expected worker that left in order must be down after the grace."""
        master = Master("running", expected_agents=["lg1"], leave_grace="40s")
        await master.states()

        assert {"lg1/2": True, "lg1": None} == await master.states(
            reply((SECOND, "running")), after=15
        )
        assert {"lg1/2": True, "lg1": AWAY} == await master.states(after=40)
        assert {"lg1/2": True, "lg1": AWAY} == await master.states(after=9 * DAY)

    async def test_an_expected_worker_that_never_came_is_down(self) -> None:
        """An expected worker that never came must be down after the grace."""
        master = Master("no_worker", expected_agents=["lg7"], leave_grace="40s")

        assert {"lg7": None} == await master.states()
        assert {"lg7": AWAY} == await master.states(after=40)


class TestIdentity:
    async def test_numbers_the_workers_of_a_host(self) -> None:
        """`--processes` starts several on a host."""
        rows = [(hexed("lg1", number), "ready") for number in range(3)]

        found = await Master(reply(*rows, (hexed("lg2", 9), "ready"))).states()

        assert {"lg1": True, "lg1/2": True, "lg1/3": True, "lg2": True} == found

    @pytest.mark.parametrize("name", ["lg_1", "lg-1.example.net", "lg1_x"])
    async def test_finds_the_host_in_the_id(self, name: str) -> None:
        """A host's name may have underscores."""
        (agent,) = await Master(reply((hexed(name, 5), "ready"))).readings(Agent)

        assert (name, name) == (agent.agent_id, agent.host)

    async def test_takes_an_id_of_another_form_for_a_name(self) -> None:
        """An id without the usual digits at its end must be taken whole as the name."""
        assert {"worker": True} == await Master(reply(("worker", "ready"))).states()

    async def test_leaves_a_row_without_id_out(self) -> None:
        """A row without an id must be left out."""
        assert {} == await Master(reply(("", "ready"))).states()

    async def test_shows_no_id(self) -> None:
        """An id is new with each start, so as a label it would make series without end."""
        samples = await Master("running").samples()

        assert [] == [series for series in samples if FIRST in series or SECOND in series]


class TestLoad:
    async def test_shows_users_cpu_and_memory(self) -> None:
        """CPU is a share of one core; the units are Prometheus's."""
        samples = await Master("running").samples()

        assert {
            'locust_agent_users{agent_id="lg1",agent="lg1"}': 1,
            'locust_agent_users{agent_id="lg1/2",agent="lg1/2"}': 2,
            'locust_agent_cpu_ratio{agent_id="lg1",agent="lg1"}': 0.004,
            'locust_agent_cpu_ratio{agent_id="lg1/2",agent="lg1/2"}': 0.005,
            'locust_agent_memory_bytes{agent_id="lg1",agent="lg1"}': 55_635_968,
            'locust_agent_memory_bytes{agent_id="lg1/2",agent="lg1/2"}': 55_619_584,
        } == own(samples, "locust_agent_")

    async def test_has_no_memory_before_the_first_sample(self) -> None:
        """0 bytes is what Locust says before it has looked."""
        samples = await Master("two_idle").samples()

        assert {} == own(samples, "locust_agent_memory_bytes")

    @pytest.mark.parametrize("odd", [-1, None, "x", True, 10**400, [1]])
    async def test_leaves_odd_values_out(self, odd: Any) -> None:
        """An impossible value must be left out, and the others be read."""
        row = worker(FIRST, user_count=odd, cpu_usage=odd, memory_usage=odd)

        samples = await Master(reply(workers=[row])).samples()

        assert {} == own(samples, "locust_agent_")
        assert 1 == samples['agent_up{agent_id="lg1",agent="lg1"}']


async def test_one_process_is_its_own_agent() -> None:
    """Without a master there are no workers, and the process itself makes the load."""
    master = Master("standalone", url="http://lg5.example:8089")

    (agent,) = await master.readings(Agent)

    assert ("lg5.example", True, "2.47.0") == (agent.agent, agent.state.up, agent.state.version)
    assert {'locust_agent_users{agent_id="lg5.example",agent="lg5.example"}': 0} == own(
        await master.samples(), "locust_agent_"
    )


async def test_a_master_that_is_gone_accuses_nobody() -> None:
    """The poll fails and nothing is said of any worker; what was known stands until it expires."""
    master = Master("running")
    await master.states()
    master.server.is_away()

    with pytest.raises(PollError) as caught:
        await master.poll()

    assert Reason.CONNECT == caught.value.reason
    with pytest.raises(PollError):
        await master.poll("controllers")
    master.page(b"")
    assert {"lg1": True, "lg1/2": True} == await master.states("running", after=300)


class TestFilters:
    async def test_leaves_unwanted_workers_out(self) -> None:
        """A worker that is filtered out is not shown, nor missed."""
        master = Master("running", exclude={"agents": "lg1/.*"})

        samples = await master.samples()

        assert {"lg1": True} == await master.states()
        assert [] == [series for series in samples if "lg1/2" in series]
        assert {"lg1": True} == await master.states(reply((FIRST, "running")), after=15)

    async def test_shows_the_wanted_only(self) -> None:
        """`include` counts for the whole name."""
        assert {"lg1/2": True} == await Master("running", include={"agents": "lg1/2"}).states()


async def test_reads_all_recorded_replies() -> None:
    """No recorded reply has a surprise."""
    for name in ("no_worker", "two_idle", "running", "spawning", "stopping", "stopped"):
        master = Master(stats(name))
        await master.poll()

        assert 0 == sum(map(master.surprises, ("enum", "type", "missing_field")))
