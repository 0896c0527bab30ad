from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import CallError, Reason
from exporter.fleet.kinds import target_of
from exporter.metrics import own
from exporter.polling.engine import Engine
from exporter.polling.looks import CALLS, PAUSE_SECONDS, Looks, NoTurnError
from exporter.settings.load import from_data
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.sources.base import Explanation
from exporter.sources.realload.settings import RealLoadSettings
from tests.support.clock import FakeClock, settle
from tests.support.fleet import AGENT
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Coroutine

    from exporter.clock import Clock


class Vendor:
    """A vendor that answers calls about targets.

    Attributes:
        asked: The ids asked about, in order.
        error: The error that each call ends with, if any.
        let: Lets the calls under way end.
    """

    def __init__(self, clock: Clock, *, seconds: float = 0.0, **settings: Any) -> None:
        self.settings: RealLoadSettings = RealLoadSettings(
            name="prod", url="http://portal.example", **settings
        )
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.let.set()
        self._clock, self._seconds = clock, seconds

    def settings_of(self, source: str) -> RealLoadSettings | None:
        return self.settings if source == "prod" else None

    async def explain(self, source: str, kind: str, target_id: str) -> Explanation:
        if source != "prod":
            raise LookupError(source)
        self.asked.append(target_id)
        await self._clock.sleep(self._seconds)
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return Explanation(reading=AGENT, reply=kind)


class Rig:
    """A vendor and the looks at its targets, with a clock that tests move."""

    def __init__(self, *, seconds: float = 0.0, **settings: Any) -> None:
        self.time = FakeClock()
        self.vendor = Vendor(self.time.clock, seconds=seconds, **settings)
        self.looks = Looks(
            self.vendor.explain, settings=self.vendor.settings_of, clock=self.time.clock
        )
        self._tasks: list[asyncio.Task[Explanation]] = []

    def look(self, target_id: str = "1") -> asyncio.Task[Explanation]:
        task = asyncio.create_task(self._explain(target_id))
        self._tasks.append(task)
        return task

    def _explain(self, target_id: str) -> Coroutine[Any, Any, Explanation]:
        return self.looks.explain("prod", "agent", target_id, seconds=3600.0)

    async def flood(self, *, targets: int, seconds: float) -> None:
        """Ask about all targets again as soon as an answer is there."""

        async def ask(target_id: str) -> None:
            while True:
                await self._explain(target_id)
                # Time that passes for the clients.
                await self.time.clock.sleep(0.5)

        clients = [asyncio.create_task(ask(str(number))) for number in range(targets)]
        await self.time.advance(seconds)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def test_requests_that_come_meanwhile_share_the_look() -> None:
    """Ten scrapers of one target cost one call."""
    rig = Rig()
    rig.vendor.let.clear()
    looks = [rig.look() for _ in range(10)]
    await settle()

    rig.vendor.let.set()
    answers = await asyncio.gather(*looks)

    assert ["1"] == rig.vendor.asked
    assert [answers[0]] * 10 == answers


@pytest.mark.parametrize(("later", "asked"), [(9.9, 1), (10.1, 2)])
async def test_an_answer_is_served_while_it_is_young(later: float, asked: int) -> None:
    """A client in a loop is answered with what was just learnt."""
    rig = Rig()
    await rig.look()
    await rig.time.advance(later)

    await rig.look()

    assert asked == len(rig.vendor.asked)


async def test_a_failure_is_served_while_it_is_young() -> None:
    """A target that cannot be asked is no way around the limit."""
    rig = Rig()
    rig.vendor.error = CallError(Reason.CONNECT, "refused")

    ends = [(await asyncio.gather(rig.look(), return_exceptions=True))[0] for _ in range(20)]

    assert ([rig.vendor.error] * 20, 1) == (ends, len(rig.vendor.asked))


async def test_an_old_failure_grows_no_traceback() -> None:
    """A client in a loop must not take memory, however long a failure is served."""
    rig = Rig()
    rig.vendor.error = CallError(Reason.CONNECT, "refused")

    depths = []
    for _ in range(3):
        await asyncio.gather(rig.look(), return_exceptions=True)
        depth, frame = 0, rig.vendor.error.__traceback__
        while frame is not None:
            depth, frame = depth + 1, frame.tb_next
        depths.append(depth)

    assert depths[1] == depths[2]


async def test_a_source_is_asked_about_one_target_at_a_time() -> None:
    """Looks take one slot at most, however many clients there are."""
    rig = Rig()
    rig.vendor.let.clear()

    for number in range(5):
        rig.look(str(number))
    await rig.time.advance(60.0)

    assert ["0"] == rig.vendor.asked


async def test_looks_take_a_quarter_of_the_time() -> None:
    """The slot is left to the polls for three times as long as a look took it."""
    rig = Rig(seconds=2.0)

    await rig.flood(targets=20, seconds=80.0)

    assert 10 == pytest.approx(len(rig.vendor.asked), abs=1)


async def test_fast_looks_are_paced() -> None:
    """A vendor that answers at once is not called as often as it can be."""
    rig = Rig()

    await rig.flood(targets=40, seconds=6.0)

    assert 6.0 / PAUSE_SECONDS == pytest.approx(len(rig.vendor.asked), abs=1)


async def test_looks_take_a_quarter_of_the_budget() -> None:
    """Three quarters of `requests_per_minute` are left to the polls."""
    rig = Rig(requests_per_minute=80)

    await rig.flood(targets=20, seconds=60.0)

    assert 20 == pytest.approx(CALLS * len(rig.vendor.asked), abs=CALLS)


async def test_who_leaves_before_the_turn_costs_no_call() -> None:
    """A client that leaves before its turn must cost no call."""
    rig = Rig()
    rig.vendor.let.clear()
    rig.look("1")
    await settle()
    left = rig.look("2")
    await settle()

    left.cancel()
    rig.vendor.let.set()
    await rig.time.advance(60.0)

    assert ["1"] == rig.vendor.asked


async def test_a_look_goes_on_for_the_next_when_its_client_leaves() -> None:
    """A call on the wire takes its slot to its end, and clients that give up must not get two."""
    rig = Rig()
    rig.vendor.let.clear()
    left = rig.look("1")
    await settle()
    left.cancel()
    rig.look("2")
    await rig.time.advance(60.0)
    under_way = list(rig.vendor.asked)

    rig.vendor.let.set()
    again = await rig.look("1")

    assert (["1"], AGENT) == (under_way, again.reading)
    assert 1 == rig.vendor.asked.count("1")


async def test_a_reload_forgets_the_answers_of_before() -> None:
    """After a change of the settings the answer may be of another account."""
    rig = Rig()
    await rig.look()
    rig.vendor.settings = rig.vendor.settings.model_copy()

    await rig.look()

    assert 2 == len(rig.vendor.asked)


async def test_answers_are_forgotten_when_they_are_old() -> None:
    """A client that asks about everything takes no memory for good."""
    rig = Rig()
    await rig.flood(targets=30, seconds=10.0)
    many = len(rig.looks)
    await rig.time.advance(20.0)

    await rig.look("new")

    assert (30, 1) == (many, len(rig.looks))


async def test_who_cannot_get_a_turn_is_told_at_once() -> None:
    """A client that cannot get its turn in time must be refused at once."""
    rig = Rig(seconds=10.0)
    look = rig.look("slow")
    await rig.time.advance(11.0)
    await look

    with pytest.raises(NoTurnError):
        await rig.looks.explain("prod", "agent", "other", seconds=20.0)

    assert ["slow"] == rig.vendor.asked


@pytest.mark.parametrize(("target_id", "error"), [("1", TimeoutError), ("2", NoTurnError)])
async def test_a_client_waits_no_longer_than_it_has_time(
    target_id: str, error: type[TimeoutError]
) -> None:
    """A client that times out must learn whether it waited for its turn or for the vendor."""
    rig = Rig()
    rig.vendor.let.clear()
    rig.look("1")
    await settle()

    with pytest.raises(TimeoutError) as raised:
        await rig.looks.explain("prod", "agent", target_id, seconds=0.01)

    assert error is raised.type


async def test_an_unknown_source_is_told() -> None:
    """An unknown source must be an error at once."""
    with pytest.raises(LookupError):
        await Rig().looks.explain("other", "agent", "1", seconds=1.0)


@pytest.mark.slow
async def test_a_flood_of_probes_disturbs_no_poll() -> None:
    """Clients that ask about slow targets in a loop neither delay polls nor cost many calls."""
    # A poll takes half of its interval, and the other half is for a busy machine.
    options = SimulatorOptions(still=True, agents=4, delay_seconds=0.3)
    engine = Engine()
    async with Simulation(options) as simulation:
        source = {
            "provider": "realload",
            "name": "prod",
            "url": simulation.realload_url,
            "auth_token": simulation.realload_token,
            "interval": "2s",
            "timeout": "1s",
            "tasks": {"controllers": "off", "clusters": "off", "recorders": "off", "suites": "off"},
        }
        await engine.connect(from_data({"sources": [source]}))
        engine.begin()
        await until(lambda: engine.first_polls_done)
        looks = Looks(engine.explain, settings=engine.settings_of, clock=engine.clock)
        calls, rounds = simulation.realload.calls, 2

        async def flood(target_id: str) -> None:
            while True:
                await looks.explain("prod", "agent", target_id, seconds=30.0)
                await asyncio.sleep(0.001)

        readings = engine.store.snapshots()[0].readings
        ids = [found[1] for each in readings if (found := target_of(each))]
        pings, lists = calls["pingMeasuringAgent"], calls["getMeasuringAgents"]
        clients = [asyncio.create_task(flood(each)) for each in ids]
        await asyncio.sleep(2.0 * rounds)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        polls = calls["getMeasuringAgents"] - lists
        looked = calls["pingMeasuringAgent"] - pings - polls * len(ids)
        await engine.end(grace_seconds=0)

    skipped = sum(
        sample.value
        for family in engine.telemetry[own.SCHEDULE_SKIPPED].collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )
    assert 0 == skipped
    assert polls >= rounds - 1
    # A ping takes 0.3 s; the poll under way at the end is not whole.
    assert looked <= 2.0 * rounds / 0.3 / 4 + 1
