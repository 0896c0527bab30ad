"""The built-in alerts over the life of a daemon."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from exporter.alerts.alerting import AlertingContext
from exporter.alerts.builtin import BuiltInAlerts
from exporter.alerts.settings import AlertingSettings
from exporter.fleet.store import Store
from exporter.metrics.telemetry import SelfMetrics
from tests.support.alerts import FakeAlertmanager
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ONE, TWO = "http://one.test", "http://two.test"

RELOAD_FAILED = "LoadFleetReloadFailed"


class Bench:
    """The built-in alerts of a daemon whose newest reload failed."""

    def __init__(self) -> None:
        self.time = FakeClock()
        self.alertmanager = FakeAlertmanager(self.time)
        self.telemetry = SelfMetrics(clock=self.time.clock)
        self.alerts = BuiltInAlerts(
            AlertingContext(
                store=Store(self.time.clock),
                telemetry=self.telemetry,
                clock=self.time.clock,
                started=lambda: True,
                connect=self.alertmanager.connect,
            )
        )

    async def apply(self, *alertmanagers: str, **settings: Any) -> None:
        """Go over to other settings."""
        values = {"alertmanagers": list(alertmanagers), **settings}
        await self.alerts.apply(AlertingSettings.model_validate(values), generator_url="http://b/")

    async def until_active(self, *names: str) -> None:
        """Wait for an evaluation to have found exactly these alerts."""
        await until(lambda: list(names) == [one.name for one in self.alerts.active() or ()])

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
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        await made.alerts.stop()


async def test_without_an_alertmanager_they_are_off() -> None:
    """Who has Prometheus evaluate must not be paged twice."""
    async with bench() as b:
        await b.apply()

        assert b.alerts.active() is None
        assert set() == b.alertnames()


async def test_with_one_they_begin() -> None:
    """Nothing else has to be switched on."""
    async with bench() as b:
        await b.apply(ONE)

        await b.until_active(RELOAD_FAILED)


async def test_the_same_settings_change_nothing() -> None:
    """A reload because of a source must not tell every alert again."""
    async with bench() as b:
        await b.apply(ONE)
        running = b.alerts._alerting

        await b.apply(ONE)

        assert running is b.alerts._alerting


async def test_a_change_keeps_what_is_known() -> None:
    """What has been pending for four minutes is not pending anew."""
    async with bench() as b:
        await b.apply(ONE)
        await b.until_active(RELOAD_FAILED)
        (before,) = b.alerts.active() or ()
        b.time.shift(240)

        await b.apply(ONE, TWO)

        (after,) = b.alerts.active() or ()
        assert before.since == after.since


async def test_an_alertmanager_that_is_no_longer_configured_leaves_no_series() -> None:
    """One that failed last would be failing for ever."""
    async with bench() as b:
        await b.apply(ONE, TWO)
        before = b.receivers()

        await b.apply(TWO)

        assert ({ONE, TWO}, {TWO}) == (before, b.receivers())


async def test_switching_them_off_ends_their_series() -> None:
    """A number of firing alerts that nobody counts any more is wrong."""
    async with bench() as b:
        await b.apply(ONE)

        await b.apply()

        assert b.alerts.active() is None
        assert (set(), set()) == (b.receivers(), b.alertnames())


async def test_a_threshold_that_is_off_leaves_its_alert_out() -> None:
    """Its series, too, goes with the reload."""
    async with bench() as b:
        await b.apply(ONE)
        before = b.alertnames()

        await b.apply(ONE, thresholds={"run_stuck": "off"})

        assert {"LoadFleetRunStuck"} == before - b.alertnames()
