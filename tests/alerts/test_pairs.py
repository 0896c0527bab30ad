"""The built-in alerts of two exporters that watch the same, of which one sends."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from exporter.alerts.alerting import Alerting, AlertingContext, BuiltInAlerts
from exporter.alerts.alertmanager import REPEAT_RESOLVED_SECONDS
from exporter.alerts.memory import AlertingState, AlertMemory
from exporter.alerts.settings import AlertingSettings
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, SourceHealth
from exporter.fleet.store import Snapshot, Store
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.sharding import Shard
from tests.support.alerts import START, FakeAlertmanager
from tests.support.clock import FakeClock
from tests.support.state import LastingState
from tests.support.wait import until


ALERTMANAGER = "http://one.test"
RELOAD_FAILED = "LoadFleetReloadFailed"


class World:
    """A clock, a shared state, and an Alertmanager of all processes."""

    def __init__(self) -> None:
        self.time = FakeClock(unix=START.unix, monotonic=START.monotonic)
        self.state = LastingState(self.time.clock.monotonic)
        self.alertmanager = FakeAlertmanager(self.time)

    def told(self) -> list[tuple[str, str]]:
        """Return and forget the notifications about agents."""
        return self.alertmanager.told()

    def starts(self) -> set[str]:
        """Return the beginnings of the alerts about agents since then."""
        return {one["startsAt"] for one in self.alertmanager.taken() if "agent_id" in one["labels"]}

    def names(self) -> list[tuple[str, str]]:
        """Return the alerts sent since then, with their exporter."""
        return sorted(
            {
                (one["labels"]["alertname"], one["labels"].get("instance", ""))
                for one in self.alertmanager.taken()
            }
        )


class Process:
    """An exporter with a name and readings of its own."""

    def __init__(self, world: World, name: str, *, sends: bool, **settings: Any) -> None:
        self.world = world
        self.name = name
        self.sends = sends
        self.telemetry = SelfMetrics(clock=world.time.clock)
        self.telemetry[own.RELOAD_SUCCESSFUL].set(1)
        self.store = Store(world.time.clock)
        quiet = {"Heartbeat": {"off": True}}
        self.settings = AlertingSettings.model_validate(
            {"alertmanagers": [ALERTMANAGER], "alerts": quiet, **settings}
        )
        self.context = AlertingContext(
            store=self.store,
            telemetry=self.telemetry,
            clock=world.time.clock,
            started=lambda: True,
            memory=AlertMemory(world.state, namespace="loadfleet", shard=Shard()),
            connect=world.alertmanager.connect,
            sends=lambda: self.sends,
        )
        self.alerting = self._begin(AlertingState())

    async def restart(self, name: str) -> None:
        """Go on as another process that has this name."""
        self.name = name
        state = await self.context.memory.load(self.world.time.clock.now(), instance=name)
        self.alerting = self._begin(state or AlertingState())

    def _begin(self, state: AlertingState) -> Alerting:
        return Alerting(
            self.settings,
            self.context,
            generator_url="http://board/",
            instance=self.name,
            state=state,
        )

    async def sees(self, **up: bool) -> None:
        """Take readings of these agents and of a healthy one, judge them, and send due alerts."""
        now = self.world.time.clock.now()
        agents = tuple(
            Agent(
                agent_id=name,
                agent=name,
                active=True,
                protected=True,
                state=AgentState(
                    read_at=now, up=is_up, reason=None if is_up else Reason.NOT_REACHABLE
                ),
            )
            for name, is_up in {"well-1": True, "well-2": True, **up}.items()
        )
        for task, readings in (("agents", agents), ("source", (SourceHealth(up=True),))):
            self.store.put(
                Snapshot(
                    provider="realload",
                    source="prod",
                    task=task,
                    readings=readings,
                    taken=now,
                    stale_after=180.0,
                )
            )
        await self.alerting.tick()
        for receiver in self.alerting._receivers:
            await receiver.send_due()

    def failing(self) -> float | None:
        """Return whether it shows the Alertmanager as failing."""
        return self.telemetry.registry.get_sample_value(
            own.NOTIFICATIONS_FAILING.name, {"receiver": ALERTMANAGER}
        )


async def minutes(count: int, *processes: Process, **up: bool) -> None:
    """Let minutes pass in which all processes see the same."""
    for _ in range(count):
        processes[0].world.time.shift(60)
        for process in processes:
            await process.sees(**up)


def pair(world: World, **settings: Any) -> tuple[Process, Process]:
    """Return a process that sends and a process that does not."""
    return (
        Process(world, "a", sends=True, **settings),
        Process(world, "b", sends=False, **settings),
    )


def swap(leader: Process, standby: Process) -> None:
    """Hand over sending to the other process."""
    leader.sends, standby.sends = False, True


class TestSends:
    async def test_of_two_that_see_the_same_one_tells(self) -> None:
        """Of two exporters that see the same, one must send the alert, and both show it."""
        world = World()
        leader, standby = pair(world)

        await minutes(6, leader, standby, x=False)

        assert [("x", "firing")] == world.told()
        assert [one.phase for one in leader.alerting.active()] == [
            one.phase for one in standby.alerting.active()
        ]

    async def test_what_is_about_itself_each_one_tells(self) -> None:
        """An exporter must send the alerts about itself, even if it is a standby."""
        world = World()
        leader, standby = pair(world)
        standby.telemetry[own.RELOAD_SUCCESSFUL].set(0)

        await minutes(6, leader, standby, x=True)

        assert [(RELOAD_FAILED, "b")] == world.names()

    async def test_one_heartbeat_is_enough(self) -> None:
        """Only the sending process must send heartbeats, and its successor after it."""
        world = World()
        leader, standby = pair(world, alerts={})
        await minutes(2, leader, standby, x=True)
        before = world.names()
        world.alertmanager.calls.clear()
        swap(leader, standby)

        await minutes(2, leader, standby, x=True)

        assert [("LoadFleetHeartbeat", "a")] == before
        assert [("LoadFleetHeartbeat", "b")] == world.names()

    async def test_what_is_not_told_is_not_waited_for(self) -> None:
        """Ends that another one tells must neither fill the memory nor the log."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        await minutes(6, leader, standby, x=True)
        before = len(standby.alerting.state().alerts.resolved)
        world.time.shift(REPEAT_RESOLVED_SECONDS)

        with capture_logs() as logged:
            await minutes(1, leader, standby, x=True)

        assert (1, 0) == (before, len(standby.alerting.state().alerts.resolved))
        assert [] == logged

    async def test_a_reload_takes_no_leave_for_another_one(self) -> None:
        """The other one goes on telling that Alertmanager."""
        world = World()
        standby = Process(world, "b", sends=False, thresholds={"for_scale": 0.0})
        built_in = BuiltInAlerts(standby.context)
        await standby.sees(x=False)
        await built_in.apply(standby.settings, generator_url="http://b/", instance="b")
        await until(built_in.active)

        await built_in.apply(AlertingSettings(), generator_url="http://b/", instance="b")

        assert built_in.active() is None
        await built_in.stop()
        assert 0 == world.alertmanager.attempts


class TestFailOver:
    async def test_it_neither_ends_nor_repeats_a_page(self) -> None:
        """The new sender must send an alert at once, with the beginning that Alertmanager knows."""
        world = World()
        leader, standby = pair(world)
        await minutes(1, leader, x=False)
        await minutes(6, leader, standby, x=False)
        before = world.starts()
        world.told()
        swap(leader, standby)

        await standby.sees(x=False)
        at_once, after = world.told(), None
        await minutes(3, leader, standby, x=False)
        after = world.starts()

        assert [("x", "firing")] == at_once
        assert {("x", "firing")} == set(world.told())
        assert 1 == len(before)
        assert before == after

    async def test_what_only_the_former_one_knew_goes_on(self) -> None:
        """An alert that only the former sender saw must go on with the same beginning."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, x=False)
        before = world.starts()
        world.told()
        swap(leader, standby)

        await minutes(1, standby, x=False)

        assert before == world.starts()
        assert [("x", "firing")] == world.told()

    async def test_an_end_is_told_once_by_whoever_sends(self) -> None:
        """The former one does not, though it sees it as well."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        swap(leader, standby)
        await minutes(1, leader, standby, x=False)
        world.told()
        standby_alone = world.alertmanager.attempts

        await minutes(6, leader, x=True)
        silent = world.alertmanager.attempts - standby_alone
        await minutes(6, standby, x=True)

        assert 0 == silent
        assert [("x", "resolved")] == [one for one in world.told() if one[1] == "resolved"]

    async def test_an_end_that_was_told_long_ago_is_no_news(self) -> None:
        """An end that was sent long ago must not be sent again by the new sender."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        await minutes(20, leader, x=True)
        await minutes(3, standby, x=False)
        await minutes(6, standby, leader, x=True)
        world.told()
        swap(leader, standby)

        await minutes(3, standby, leader, x=True)

        assert [] == world.told()

    async def test_what_has_ended_does_not_fire_again(self) -> None:
        """A new sender that has not seen the recovery yet must not fire an ended alert again."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        await minutes(1, leader, x=True)
        await minutes(5, leader, standby, x=True)
        told = world.told()
        # A delivery is saved with the next evaluation.
        await leader.alerting.tick()
        before = [one.phase for one in standby.alerting.active()]
        swap(leader, standby)

        await standby.sees(x=True)

        assert (("x", "resolved"), ["firing"]) == (told[-1], before)
        assert {("x", "resolved")} == set(world.told())

    async def test_an_end_that_was_delivered_is_not_waited_for(self) -> None:
        """A delivered end must be repeated for 15 minutes by the new sender too, and no longer."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        await minutes(7, leader, standby, x=True)
        swap(leader, standby)
        world.alertmanager.status = 500

        await minutes(16, standby, x=True)

        assert {} == standby.alerting.state().alerts.resolved

    async def test_an_end_that_was_not_told_is_told(self) -> None:
        """The former one was gone by then."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        await minutes(7, standby, x=True)
        world.told()
        swap(leader, standby)

        await minutes(1, standby, x=True)

        assert [("x", "resolved")] == world.told()

    async def test_an_end_that_was_not_delivered_is_delivered(self) -> None:
        """The former one could not reach the Alertmanager."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        world.alertmanager.status = 500
        await minutes(7, leader, standby, x=True)
        world.alertmanager.status = 200
        world.told()
        swap(leader, standby)

        await minutes(1, standby, leader, x=True)

        assert [("x", "resolved")] == world.told()

    async def test_who_sends_no_more_ends_nothing_and_complains_of_nothing(self) -> None:
        """A process that lost the lead must no longer count as failing: its successor delivers."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        world.told()
        world.alertmanager.status = 500
        await minutes(1, leader, x=False)
        failing = leader.failing()
        world.alertmanager.status = 200
        swap(leader, standby)

        await minutes(1, leader, x=False)

        assert ([], 1.0, 0.0) == (world.told(), failing, leader.failing())

    async def test_without_the_store_it_goes_on_from_what_it_knows(self) -> None:
        """Without the store, the new sender must send the alerts and ends that it knows itself."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False, y=False)
        await minutes(6, leader, standby, x=True, y=False)
        world.told()
        world.state.broken = True
        swap(leader, standby)

        with capture_logs() as logged:
            await minutes(1, standby, x=True, y=False)

        assert {("x", "resolved"), ("y", "firing")} == set(world.told())
        assert ["alerts_forgotten", "alerts_not_saved"] == [entry["event"] for entry in logged]

    async def test_the_own_alerts_of_another_one_are_not_taken_over(self) -> None:
        """A new sender must not take over alerts about the former process."""
        world = World()
        leader, standby = pair(world)
        leader.telemetry[own.RELOAD_SUCCESSFUL].set(0)
        await minutes(6, leader, standby, x=True)
        world.told()
        swap(leader, standby)

        await minutes(2, standby, x=True)

        assert [] == world.names()
        assert () == standby.alerting.active()


class TestRestart:
    async def test_a_new_pod_goes_on_with_what_the_sender_knows(self) -> None:
        """A process of a new name must go on with the sender's alerts, also with pending ones."""
        world = World()
        leader, standby = pair(world)
        await minutes(4, leader, x=False)

        await standby.restart("c")
        swap(leader, standby)
        await minutes(2, standby, x=False)

        assert [("x", "firing")] == world.told()

    async def test_the_one_that_sends_comes_back_under_another_name(self) -> None:
        """A sender that restarts under another name must send no alert with another beginning."""
        world = World()
        leader, standby = pair(world)
        await minutes(6, leader, standby, x=False)
        before = world.starts()
        world.told()

        await leader.restart("c")
        await minutes(1, leader, standby, x=False)

        assert before == world.starts()

    async def test_a_standby_comes_back_with_its_own_alerts(self) -> None:
        """Under its name it goes on with what is about itself."""
        world = World()
        leader, standby = pair(world)
        standby.telemetry[own.RELOAD_SUCCESSFUL].set(0)
        await minutes(6, leader, standby, x=True)
        (before,) = standby.alerting.active()

        await standby.restart("b")

        (after,) = standby.alerting.active()
        assert before.fired == after.fired


class TestDelivers:
    async def test_it_does_until_no_receiver_answers(self) -> None:
        """A process delivers until no Alertmanager answers; a refusal is an answer."""
        world = World()
        process = Process(world, "a", sends=True)
        found = [process.alerting.delivers]
        for status in (200, 500, 400):
            world.alertmanager.status = status
            await minutes(6, process, x=False)
            found.append(process.alerting.delivers)

        assert [True, True, False, True] == found

    async def test_without_receivers_there_is_nothing_to_complain_of(self) -> None:
        """A process without receivers must not count as failing to deliver."""
        process = Process(World(), "a", sends=True, alertmanagers=[])

        assert process.alerting.delivers
        assert BuiltInAlerts(process.context).delivers
