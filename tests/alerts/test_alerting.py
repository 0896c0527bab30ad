"""The built-in alerts over a store, from a reading to an Alertmanager and over a restart."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from structlog.testing import capture_logs

from exporter.alerts import alerting
from exporter.alerts.alerting import Alerting, AlertingContext, BuiltInAlerts
from exporter.alerts.evaluate import Alerts, Evaluator, Phase
from exporter.alerts.expression import Select
from exporter.alerts.memory import AlertingState, AlertMemory
from exporter.alerts.rule import HEARTBEAT, Links, Severity
from exporter.alerts.settings import AlertingSettings
from exporter.errors import Reason
from exporter.fleet.readings import Agent, AgentState, SourceHealth
from exporter.fleet.store import Snapshot, Store
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.sharding import Shard
from tests.support.alerts import START, FakeAlertmanager, alert, keyed, rule
from tests.support.clock import FakeClock
from tests.support.state import LastingState
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.http import HttpClient, HttpOptions


ONE, TWO = "http://one.test", "http://two.test"

#: Without the heartbeat, which always fires.
QUIET = {"Heartbeat": {"off": True}}


class Bench:
    """A store, two Alertmanagers and the built-in alerts between them."""

    def __init__(self, **settings: Any) -> None:
        self.time = FakeClock(unix=START.unix, monotonic=START.monotonic)
        self.one, self.two = FakeAlertmanager(self.time), FakeAlertmanager(self.time)
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.telemetry[own.RELOAD_SUCCESSFUL].set(1)
        self.store = Store(self.time.clock)
        self.started = True
        self.settings = AlertingSettings.model_validate(
            {"alertmanagers": [ONE, TWO], "alerts": QUIET, **settings}
        )
        self._connected = 0
        self.state = LastingState(self.time.clock.monotonic)
        self.memory = AlertMemory(self.state, namespace="loadfleet", shard=Shard())
        self.alerting = self.begin()

    async def restart(self) -> None:
        """Go on with what was saved."""
        self.begin(state=await self.memory.load(self.time.clock.now()))

    def begin(self, *, state: AlertingState | None = None) -> Alerting:
        """Make the alerts, another time after a restart."""
        context = AlertingContext(
            store=self.store,
            telemetry=self.telemetry,
            clock=self.time.clock,
            started=lambda: self.started,
            memory=self.memory,
            connect=self._connect,
        )
        self.alerting = Alerting(
            self.settings,
            context,
            generator_url="http://board/",
            state=state or AlertingState(),
        )
        return self.alerting

    def _connect(self, options: HttpOptions) -> HttpClient:
        self._connected += 1
        return (self.one if self._connected % 2 else self.two).connect(options)

    def agents(self, **up: bool) -> None:
        """Put a snapshot in which these agents are, up or not, and some that are up."""
        agents = {"well-1": True, "well-2": True, "well-3": True, **up}
        readings = tuple(
            Agent(
                agent_id=name,
                agent=name,
                active=True,
                protected=True,
                state=AgentState(
                    read_at=self.time.clock.now(),
                    up=is_up,
                    reason=None if is_up else Reason.NOT_REACHABLE,
                ),
            )
            for name, is_up in agents.items()
        )
        for task, content in (("agents", readings), ("source", (SourceHealth(up=True),))):
            self.store.put(
                Snapshot(
                    provider="realload",
                    source="prod",
                    task=task,
                    readings=content,
                    taken=self.time.clock.now(),
                    stale_after=180.0,
                    labels={"site": "bern"},
                )
            )

    async def minutes(self, count: int, **up: bool) -> None:
        """Let minutes pass, each with a poll, an evaluation and its notifications."""
        for _ in range(count):
            self.time.shift(60)
            self.agents(**up)
            await self.evaluate()

    async def evaluate(self) -> None:
        """Evaluate once and have both workers do what is due."""
        await self.alerting.tick()
        for receiver in self.alerting._receivers:
            await receiver.send_due()

    def phases(self) -> list[tuple[str, Phase]]:
        return [(one.name, one.phase) for one in self.alerting.active()]

    def firing(self, name: str) -> float | None:
        labels = {"alertname": name, "severity": "critical"}
        return self.telemetry.registry.get_sample_value("loadfleet_exporter_alerts_firing", labels)


UNREACHABLE = "LoadFleetAgentUnreachable"


class TestTick:
    async def test_an_agent_that_stays_down_reaches_every_alertmanager(self) -> None:
        """An agent that stays down must reach every Alertmanager once its alert's time has come."""
        bench = Bench()
        await bench.minutes(5, a=False)
        early = (bench.one.told(), bench.two.told())

        await bench.minutes(1, a=False)

        assert ([], []) == early
        assert ([("a", "firing")], [("a", "firing")]) == (bench.one.told(), bench.two.told())

    async def test_an_alert_has_the_labels_of_the_series(self) -> None:
        """Routing may need what the configuration added to the source."""
        bench = Bench(external_labels={"env": "live"})

        await bench.minutes(6, a=False)

        assert {
            "alertname": UNREACHABLE,
            "severity": "critical",
            "provider": "realload",
            "source": "prod",
            "site": "bern",
            "agent_id": "a",
            "agent": "a",
            "env": "live",
        } == bench.one.taken()[0]["labels"]

    async def test_the_end_is_told_when_the_agent_has_stayed_up(self) -> None:
        """A flapping agent must not page again and again."""
        bench = Bench()
        await bench.minutes(6, a=False)
        await bench.minutes(5, a=True)
        before = bench.one.told()

        await bench.minutes(1, a=True)

        assert {("a", "firing")} == set(before)
        assert [("a", "resolved")] == bench.one.told()

    async def test_a_deleted_agent_ends_its_alert(self) -> None:
        """A deleted agent must end its alert, even if it was down."""
        bench = Bench()
        await bench.minutes(6, a=False)

        await bench.minutes(6)

        assert ("a", "resolved") == bench.one.told()[-1]

    async def test_what_fires_is_counted(self) -> None:
        """Firing alerts must be counted, as 0 before the first one fires."""
        bench = Bench()
        before = bench.firing(UNREACHABLE)

        await bench.minutes(6, a=False, b=False)

        assert (0.0, 2.0) == (before, bench.firing(UNREACHABLE))

    async def test_what_fires_comes_first_and_the_worst_of_it(self) -> None:
        """Active alerts must be listed with firing ones and the most severe first."""
        bench = Bench()
        await bench.minutes(6, a=False)

        await bench.minutes(1, a=False, b=False, c=False)

        assert [
            (UNREACHABLE, Phase.FIRING),
            (UNREACHABLE, Phase.PENDING),
            (UNREACHABLE, Phase.PENDING),
            ("LoadFleetHalfOfAgentsDown", Phase.PENDING),
        ] == bench.phases()

    async def test_each_change_is_logged_once(self) -> None:
        """Each change of an alert must be logged once, whether or not a receiver is reached."""
        bench = Bench()

        with capture_logs() as logged:
            await bench.minutes(8, a=False)
            await bench.minutes(8, a=True)

        assert [("alert_firing", UNREACHABLE), ("alert_resolved", UNREACHABLE)] == [
            (entry["event"], entry["alert"]) for entry in logged
        ]


class TestHeartbeat:
    """The alert of that name, which fires always."""

    @staticmethod
    def bench() -> Bench:
        """Return a bench on which it is the only alert."""
        bench = Bench()
        heartbeat = replace(
            rule(HEARTBEAT, hold=0.0),
            severity=Severity.NONE,
            expression=Select(metric=own.RELOAD_SUCCESSFUL.name).compared("==", 1),
        )
        bench.alerting._rules = (heartbeat,)
        bench.alerting._evaluator = Evaluator(
            [heartbeat], links=Links(runbook_url="http://runbooks.test")
        )
        return bench

    async def test_it_is_told_every_minute(self) -> None:
        """The heartbeat must be sent every minute, and end four minutes later."""
        bench = self.bench()

        await bench.minutes(3)

        ends = [datetime.fromisoformat(one["endsAt"]).timestamp() for one in bench.one.taken()]
        assert [60.0 + 240, 120.0 + 240, 180.0 + 240] == [end - START.unix for end in ends]

    async def test_it_is_no_trouble(self) -> None:
        """The heartbeat must neither be counted as a firing alert nor logged."""
        bench = self.bench()

        with capture_logs() as logged:
            await bench.minutes(1)

        shown = bench.telemetry.registry.collect()
        assert [] == logged
        assert HEARTBEAT not in str([metric.samples for metric in shown])
        assert [(HEARTBEAT, Phase.FIRING)] == bench.phases()

    async def test_it_is_not_worth_a_write(self) -> None:
        """The heartbeat must cause no writes to the state: it fires anew after a restart."""
        bench = self.bench()
        await bench.minutes(1)
        bench.state.writes.clear()

        await bench.minutes(5)

        assert [] == bench.state.writes


class TestReceivers:
    async def test_one_that_hangs_delays_neither_the_other_nor_the_evaluation(self) -> None:
        """An Alertmanager that hangs must delay neither the other one nor the evaluation."""
        bench = Bench(thresholds={"for_scale": 0.0})
        bench.one.open.clear()
        task = asyncio.create_task(bench.alerting.run())
        bench.agents(a=False)

        await bench.time.advance(30)
        await until(lambda: bench.two.calls)

        assert [] == bench.one.calls
        assert 1 == bench.one.attempts
        task.cancel()
        await asyncio.wait([task])

    async def test_an_end_is_kept_until_everybody_has_heard_of_it(self) -> None:
        """An end must be kept for an Alertmanager that is away, and sent to the other one once."""
        bench = Bench()
        await bench.minutes(6, a=False)
        bench.two.status = 500
        bench.one.told()
        await bench.minutes(60, a=True)
        told = bench.one.told()
        bench.two.status = 200

        bench.two.told()
        await bench.minutes(1, a=True)

        assert ("a", "resolved") == told[-1]
        assert [] == bench.one.told()
        assert [("a", "resolved")] == bench.two.told()

    async def test_an_end_that_everybody_has_heard_is_forgotten(self) -> None:
        """Memory must not grow with everything that ever happened."""
        bench = Bench()
        await bench.minutes(6, a=False)

        await bench.minutes(30, a=True)

        assert {} == bench.alerting.state().alerts.resolved

    async def test_an_end_is_given_up_after_a_day(self) -> None:
        """An Alertmanager that is gone for good must not fill the memory."""
        bench = Bench()
        await bench.minutes(6, a=False)
        bench.two.status = 500
        await bench.minutes(6, a=True)
        bench.time.shift(alerting.UNDELIVERED_SECONDS - 60)
        await bench.minutes(1, a=True)
        before = len(bench.alerting.state().alerts.resolved)

        with capture_logs() as logged:
            await bench.minutes(1, a=True)

        assert (1, 0) == (before, len(bench.alerting.state().alerts.resolved))
        assert ["resolved_alert_dropped"] == [entry["event"] for entry in logged]

    async def test_an_end_is_kept_while_its_alert_would_go_on(self) -> None:
        """An end must be kept for the whole of `hold_on_silence`, even beyond a day."""
        bench = Bench(hold_on_silence="3d")
        await bench.minutes(6, a=False)
        bench.two.status = 500
        await bench.minutes(6, a=True)
        bench.time.shift(alerting.UNDELIVERED_SECONDS + 60)
        bench.two.status = 200
        bench.two.told()

        await bench.minutes(1, a=True)

        assert [("a", "resolved")] == bench.two.told()

    async def test_the_number_of_ends_is_bounded(self) -> None:
        """When there are too many ends, the oldest must be given up."""
        bench = Bench()
        many = [alert(f"a{n}", resolved=n) for n in range(alerting.MAX_RESOLVED + 2)]
        bench.begin(state=AlertingState(alerts=Alerts(resolved=keyed(*many))))

        await bench.alerting.tick()

        kept = [a.labels["agent"] for a in bench.alerting.state().alerts.resolved.values()]
        assert ("a2", alerting.MAX_RESOLVED) == (kept[0], len(kept))


class TestRestart:
    async def test_it_neither_ends_nor_repeats_a_page(self) -> None:
        """After a restart, an alert must be sent with the beginning that Alertmanager knows."""
        bench = Bench()
        await bench.minutes(6, a=False)
        before = bench.one.taken()[0]["startsAt"]
        bench.one.told()
        bench.store.remove_source("realload", "prod")
        bench.started = False
        bench.time.shift(20)

        await bench.restart()
        await bench.evaluate()
        without_data = [one["startsAt"] for one in bench.one.taken()]
        told = bench.one.told()
        bench.started = True
        await bench.minutes(1, a=False)

        assert [before] == without_data
        assert [("a", "firing")] == told
        assert [("a", "firing")] == bench.one.told()
        assert [before] == [one["startsAt"] for call in bench.two.calls[-1:] for one in call]

    async def test_what_was_pending_goes_on_being_pending(self) -> None:
        """An exporter that restarts every four minutes must still page."""
        bench = Bench()
        await bench.minutes(4, a=False)

        await bench.restart()
        await bench.minutes(2, a=False)

        assert [("a", "firing")] == bench.one.told()

    async def test_an_end_that_was_not_delivered_is_delivered_afterwards(
        self,
    ) -> None:
        """After a restart, an end must be sent to the Alertmanager that lacks it, and no other."""
        bench = Bench()
        await bench.minutes(6, a=False)
        bench.two.status = 500
        await bench.minutes(30, a=True)
        bench.one.told()
        bench.two.told()

        await bench.restart()
        bench.two.status = 200
        await bench.minutes(1, a=True)

        assert [] == bench.one.told()
        assert [("a", "resolved")] == bench.two.told()

    async def test_a_stop_saves_what_is_known(self) -> None:
        """A stop must save the alerts, with the ends accepted since the newest evaluation."""
        bench = Bench()
        task = asyncio.create_task(bench.alerting.run())
        await until(lambda: bench.time.sleepers)
        bench.state.writes.clear()

        task.cancel()
        await asyncio.wait([task])

        assert [bench.memory.key("")] == bench.state.writes

    async def test_nothing_is_written_while_nothing_changes(self) -> None:
        """A fleet that is well costs no writes."""
        bench = Bench()
        await bench.minutes(1, a=True)
        bench.state.writes.clear()

        await bench.minutes(10, a=True)

        assert [] == bench.state.writes


async def test_the_ticker_outlives_a_mistake() -> None:
    """A crash in one evaluation must not end all later ones."""
    bench = Bench(thresholds={"for_scale": 0.0})
    bench.agents(a=False)
    crashes = [RuntimeError("once")]

    def started() -> bool:
        if crashes:
            raise crashes.pop()
        return True

    bench.alerting._started = started
    with capture_logs() as logged:
        task = asyncio.create_task(bench.alerting.run())
        await until(lambda: bench.time.sleepers)
        await bench.time.advance(30)
        await until(lambda: bench.one.calls)
    task.cancel()
    await asyncio.wait([task])

    assert "evaluation_crashed" in [entry["event"] for entry in logged]


RELOAD_FAILED = "LoadFleetReloadFailed"


class ReloadBench:
    """The built-in alerts of a daemon whose newest reload failed."""

    def __init__(self) -> None:
        self.time = FakeClock()
        self.alertmanager = FakeAlertmanager(self.time)
        self.telemetry = SelfMetrics(clock=self.time.clock)
        state = LastingState(self.time.clock.monotonic)
        self.memory = AlertMemory(state, namespace="loadfleet", shard=Shard())
        self.alerts = self.restarted()

    def restarted(self) -> BuiltInAlerts:
        """Return the built-in alerts of another process."""
        return BuiltInAlerts(
            AlertingContext(
                store=Store(self.time.clock),
                telemetry=self.telemetry,
                clock=self.time.clock,
                started=lambda: True,
                memory=self.memory,
                connect=self.alertmanager.connect,
            )
        )

    async def apply(self, *alertmanagers: str, **settings: Any) -> None:
        """Go over to other settings."""
        values = {"alertmanagers": list(alertmanagers), "alerts": QUIET, **settings}
        await self.alerts.apply(AlertingSettings.model_validate(values), generator_url="http://b/")

    async def until_active(self, *names: str) -> None:
        """Wait for an evaluation to have found exactly these alerts."""
        await until(lambda: list(names) == [one.name for one in self.alerts.active() or ()])

    async def firing(self, *alertmanagers: str, **settings: Any) -> None:
        """Go over to settings and wait until each Alertmanager has heard what fires."""
        await self.apply(*alertmanagers, thresholds={"for_scale": 0.0}, **settings)
        wanted = {(url.removeprefix("http://"), "firing") for url in alertmanagers}
        await until(lambda: wanted <= set(self.told()))

    def told(self, *, label: str = "") -> list[tuple[str, str]]:
        """Return the alert's notifications, by host or by an external label."""
        return [
            (
                one["labels"][label] if label else host,
                "resolved" if self.alertmanager.has_ended(one) else "firing",
            )
            for host, call in zip(self.alertmanager.hosts, self.alertmanager.calls, strict=True)
            for one in call
            if one["labels"]["alertname"] == RELOAD_FAILED
        ]

    def receivers(self) -> set[str]:
        """Return for which receivers there are series of ours."""
        return {
            sample.labels["receiver"]
            for metric in self.telemetry.registry.collect()
            for sample in metric.samples
            if "receiver" in sample.labels
        }

    def alertnames(self) -> set[str]:
        """Return for which alerts there are series of ours."""
        return {
            sample.labels["alertname"]
            for metric in self.telemetry.registry.collect()
            for sample in metric.samples
            if "alertname" in sample.labels
        }


@asynccontextmanager
async def reloading() -> AsyncIterator[ReloadBench]:
    made = ReloadBench()
    try:
        yield made
    finally:
        await made.alerts.stop()


class TestBuiltInAlerts:
    async def test_without_an_alertmanager_they_are_off(self) -> None:
        """Users whose Prometheus evaluates must not be paged twice."""
        async with reloading() as bench:
            await bench.apply()

            assert bench.alerts.active() is None
            assert set() == bench.alertnames()

    async def test_with_one_they_begin(self) -> None:
        """One configured Alertmanager must be enough to start the built-in alerts."""
        async with reloading() as bench:
            await bench.apply(ONE)

            await bench.until_active(RELOAD_FAILED)

    async def test_they_go_on_from_what_is_kept(self) -> None:
        """A stop writes what fires, and the next start reads it."""
        async with reloading() as bench:
            await bench.apply(ONE)
            await bench.until_active(RELOAD_FAILED)
            before = [one.since for one in bench.alerts.active() or ()]
            await bench.alerts.stop()
            bench.alerts = bench.restarted()

            await bench.apply(ONE)

            assert before == [one.since for one in bench.alerts.active() or ()]

    async def test_the_same_settings_change_nothing(self) -> None:
        """A reload because of a source must not tell every alert again."""
        async with reloading() as bench:
            await bench.apply(ONE)
            running = bench.alerts._alerting

            await bench.apply(ONE)

            assert running is bench.alerts._alerting

    async def test_a_change_keeps_what_is_known(self) -> None:
        """A change of settings must not restart the waiting time of a pending alert."""
        async with reloading() as bench:
            await bench.apply(ONE)
            await bench.until_active(RELOAD_FAILED)
            (before,) = bench.alerts.active() or ()
            bench.time.shift(240)

            await bench.apply(ONE, TWO)

            (after,) = bench.alerts.active() or ()
            assert before.since == after.since

    async def test_an_alertmanager_that_is_no_longer_configured_leaves_no_series(self) -> None:
        """An Alertmanager that is no longer configured must leave no series of failures."""
        async with reloading() as bench:
            await bench.apply(ONE, TWO)
            before = bench.receivers()

            await bench.apply(TWO)

            assert ({ONE, TWO}, {TWO}) == (before, bench.receivers())

    async def test_who_is_told_nothing_more_is_told_the_ends(self) -> None:
        """An Alertmanager removed from the configuration must be sent the ends of its alerts."""
        async with reloading() as bench:
            await bench.firing(ONE, TWO)

            await bench.apply(TWO)

            await until(lambda: ("one.test", "resolved") in bench.told())
            assert ("two.test", "resolved") not in bench.told()

    async def test_switching_them_off_tells_the_ends(self) -> None:
        """With the labels by which they are known."""
        async with reloading() as bench:
            await bench.firing(ONE, external_labels={"env": "lab"})

            await bench.apply()

            await until(lambda: ("one.test", "resolved") in bench.told())
            assert ("lab", "resolved") in bench.told(label="env")

    async def test_other_labels_end_the_alerts_with_those_before(self) -> None:
        """A change of the external labels must end the alerts that have the old labels."""
        async with reloading() as bench:
            await bench.firing(ONE, external_labels={"env": "lab"})

            await bench.firing(ONE, external_labels={"env": "live"})

            await until(lambda: ("lab", "resolved") in bench.told(label="env"))
            await until(lambda: ("live", "firing") in bench.told(label="env"))
            assert ("live", "resolved") not in bench.told(label="env")

    async def test_an_end_that_is_not_taken_is_told_until_it_is(self) -> None:
        """An Alertmanager is often removed while it is being moved."""
        async with reloading() as bench:
            await bench.firing(ONE)
            bench.alertmanager.status = 500
            await bench.apply()
            await until(lambda: bench.time.sleepers)
            bench.alertmanager.status = 200

            await bench.time.advance(60)

            await until(lambda: ("one.test", "resolved") in bench.told())

    async def test_an_end_that_is_not_taken_is_given_up(self) -> None:
        """After a quarter of an hour, with a word in the log."""
        async with reloading() as bench:
            await bench.firing(ONE)
            bench.alertmanager.status = 500
            await bench.apply()

            with capture_logs() as logged:
                await bench.time.advance(3600)

            assert [("resolved_alerts_not_sent", ONE)] == [
                (e["event"], e["receiver"]) for e in logged
            ]
            assert 0 == bench.time.sleepers

    async def test_who_comes_back_is_told_no_end_any_more(self) -> None:
        """An Alertmanager that is configured again must not be sent the ends from before."""
        async with reloading() as bench:
            await bench.firing(ONE)
            bench.alertmanager.status = 500
            await bench.apply()
            await until(lambda: bench.time.sleepers)
            bench.alertmanager.status = 200

            await bench.firing(ONE)
            await bench.time.advance(120)

            assert {("one.test", "firing")} == set(bench.told())

    async def test_a_stop_ends_nothing(self) -> None:
        """A restart comes after most stops, and what fires has not ended."""
        async with reloading() as bench:
            await bench.firing(ONE)

            await bench.alerts.stop()
            await bench.time.advance(3600)

            assert {("one.test", "firing")} == set(bench.told())

    async def test_switching_them_off_ends_their_series(self) -> None:
        """When the built-in alerts are switched off, their series must be gone."""
        async with reloading() as bench:
            await bench.apply(ONE)

            await bench.apply()

            assert bench.alerts.active() is None
            assert (set(), set()) == (bench.receivers(), bench.alertnames())

    async def test_a_threshold_that_is_off_leaves_its_alert_out(self) -> None:
        """An alert whose threshold is off must be gone, with its series, after the reload."""
        async with reloading() as bench:
            await bench.apply(ONE)
            before = bench.alertnames()

            await bench.apply(ONE, thresholds={"run_stuck": "off"})

            assert {"LoadFleetRunStuck"} == before - bench.alertnames()
