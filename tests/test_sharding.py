from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ConfigurationError
from exporter.polling.engine import Engine
from exporter.settings.load import from_data
from exporter.sharding import Shard
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.settings.load import Settings


#: Families that each shard exposes about itself: own metrics, and the state of its tasks.
_OF_THE_SHARE = (
    "loadfleet_exporter_",
    "loadfleet_source_task_up{",
    "loadfleet_source_task_failure{",
    "loadfleet_source_targets{",
)


class TestOwns:
    @given(st.lists(st.text(), min_size=1, max_size=3), st.integers(1, 50))
    def test_a_key_has_exactly_one_owner(self, key: list[str], total: int) -> None:
        """Exactly one shard must own a key: no owner means no polls, two mean double pages."""
        owners = [Shard(index=index, total=total).owns(*key) for index in range(total)]

        assert 1 == owners.count(True)

    def test_shares_are_about_equal(self) -> None:
        """Shards must get about equal numbers of targets."""
        shares = Counter(
            next(i for i in range(4) if Shard(index=i, total=4).owns("prod", "agents", str(key)))
            for key in range(4000)
        )

        assert all(800 < share < 1200 for share in shares.values())

    def test_another_share_takes_from_all_and_moves_nothing_else(self) -> None:
        """Scaling out must not shuffle the whole fleet."""
        keys = [str(key) for key in range(2000)]

        moved = [
            key
            for key in keys
            for index in range(4)
            if Shard(index=index, total=4).owns(key) and not Shard(index=index, total=5).owns(key)
        ]

        assert all(Shard(index=4, total=5).owns(key) for key in moved)
        assert 300 < len(moved) < 500


class TestOf:
    def test_one_share_is_all(self) -> None:
        """One shard must be the whole, whatever the host is called."""
        assert Shard() == Shard.of(None, 1, host="anything")

    def test_the_ordinal_of_a_stateful_set_is_found(self) -> None:
        """The ordinal of a StatefulSet's pod must be the shard's index."""
        assert Shard(index=2, total=4) == Shard.of(None, 4, host="loadfleet-2.loadfleet.svc")

    def test_what_is_given_goes_over_the_name(self) -> None:
        """Elsewhere a host's name may end in any number."""
        assert Shard(index=1, total=4) == Shard.of(1, 4, host="web-3")

    @pytest.mark.parametrize("host", ["laptop", "web-7"])
    def test_a_name_that_does_not_tell_is_a_mistake(self, host: str) -> None:
        """Guessing would watch the same targets twice or never."""
        with pytest.raises(ConfigurationError, match="--shard"):
            Shard.of(None, 4, host=host)


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    async with Simulation(SimulatorOptions(still=True, agents=30)) as simulation:
        yield simulation


async def series(settings: Settings, shard: Shard | None = None) -> set[str]:
    """Return the vendor series that a share exposes, without their values."""
    engine = Engine(shard=shard)
    await engine.connect(settings)
    await engine.poll_once()
    await engine.end(grace_seconds=0)
    page = engine.exposition.metrics(accept="", accept_encoding="", names=(), sources=())
    return {
        line.rpartition(" ")[0]
        for line in page.body.decode().splitlines()
        if line.startswith("loadfleet_") and not line.startswith(_OF_THE_SHARE)
    }


async def targets(settings: Settings, shard: Shard) -> Counter[str]:
    """Return how many targets a share has, by the labels of that number."""
    engine = Engine(shard=shard)
    await engine.connect(settings)
    await engine.poll_once()
    await engine.end(grace_seconds=0)
    page = engine.exposition.metrics(accept="", accept_encoding="", names=(), sources=())
    lines = (line.rpartition(" ") for line in page.body.decode().splitlines())
    return Counter(
        {
            name: int(float(value))
            for name, _, value in lines
            if name.startswith("loadfleet_source_targets{")
        }
    )


async def healths(settings: Settings, shard: Shard) -> list[str]:
    """Return the sources whose health a shard exposes, with the health."""
    engine = Engine(shard=shard)
    await engine.connect(settings)
    await engine.poll_once()
    await engine.end(grace_seconds=0)
    page = engine.exposition.metrics(accept="", accept_encoding="", names=(), sources=())
    return [
        f"{line.partition('source=')[2].split(chr(34))[1]} {float(line.rpartition(' ')[2])}"
        for line in page.body.decode().splitlines()
        if line.startswith("loadfleet_source_up{")
    ]


async def shares(settings: Settings, total: int) -> list[set[str]]:
    return [await series(settings, Shard(index=index, total=total)) for index in range(total)]


class TestShares:
    async def test_together_they_are_the_whole_and_share_nothing(
        self, simulation: Simulation
    ) -> None:
        """Four processes must show what one would, each series once."""
        settings = from_data(simulation.configuration())

        whole = await series(settings)
        parts = await shares(settings, 4)

        assert whole == set().union(*parts)
        assert len(whole) == sum(len(part) for part in parts)
        assert all(parts)

    async def test_their_numbers_of_targets_add_up(self, simulation: Simulation) -> None:
        """The shards' numbers of targets must add up to the fleet's."""
        settings = from_data(simulation.configuration())

        whole = await targets(settings, Shard())
        parts = [await targets(settings, Shard(index=index, total=4)) for index in range(4)]

        assert whole == sum(parts, Counter())

    async def test_they_stay_so_while_the_inventory_changes(self, simulation: Simulation) -> None:
        """An agent that is deleted or added must not make the others move."""
        settings = from_data(simulation.configuration())
        before = await shares(settings, 3)

        simulation.fleet.delete("agents", 41)
        after = await shares(settings, 3)

        assert await series(settings) == set().union(*after)
        assert all(new <= old for old, new in zip(before, after, strict=True))

    @pytest.mark.parametrize("total", [2, 3, 4, 5])
    async def test_who_tells_of_a_source_calls_it(self, simulation: Simulation, total: int) -> None:
        """A share that polls nothing of a source must not say for ever that it is down."""
        settings = from_data(simulation.configuration())

        told: list[str] = []
        for index in range(total):
            told += await healths(settings, Shard(index=index, total=total))

        assert sorted(f"{source.name} 1.0" for source in settings.sources) == sorted(told)

    async def test_the_pings_are_shared_out(self, simulation: Simulation) -> None:
        """Each agent is pinged by one of them."""
        settings = from_data(simulation.configuration())

        await shares(settings, 4)

        active = sum(agent.active for agent in simulation.fleet.agents.values())
        assert active == simulation.realload.calls["pingMeasuringAgent"]
        assert 2 == simulation.realload.calls["getCurrentlyRunningTestExecutionSuiteIds"]
