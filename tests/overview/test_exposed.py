"""Preflights on the page of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.exposed import Exposed
from exporter.settings.preflights import PreflightSettings
from tests.support.clock import FakeClock
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.overview.picture import Picture


def preflight(name: str) -> PreflightSettings:
    return PreflightSettings.model_validate({"name": name, "agents": {}})


class Bench:
    """An exporter with an agent that is up, and what it exposes of its preflights."""

    def __init__(self, *names: str) -> None:
        self.view = fakes.FakeView(fakes.agent(), sources=[fakes.source()])
        self.configured = self.view.preflights = tuple(map(preflight, names))
        self.looks = 0
        self.broken = False
        clock = FakeClock().clock
        self.telemetry = SelfMetrics(clock=clock)
        self.exposed = Exposed(
            self._picture, lambda: self.configured, telemetry=self.telemetry, clock=clock
        )

    async def _picture(self) -> Picture:
        self.looks += 1
        if self.broken:
            raise RuntimeError("a mistake")
        return await self.view.picture()

    def ready(self) -> dict[str, float]:
        """Return whether the fleet is fit, by the names of the preflights."""
        (found,) = self.telemetry[own.PREFLIGHT_READY].collect()
        return {each.labels["preflight"]: each.value for each in found.samples}


async def test_what_the_picture_tells_is_exposed() -> None:
    """Each preflight has its series."""
    bench = Bench("nightly", "weekly")

    ready = await bench.exposed.refresh()

    assert (True, {"nightly": 1.0, "weekly": 1.0}) == (ready, bench.ready())


async def test_without_preflights_nobody_makes_a_picture() -> None:
    """Without preflights, no picture must be made."""
    bench = Bench()

    ready = await bench.exposed.refresh()

    assert (True, 0) == (ready, bench.looks)


async def test_what_is_gone_is_removed_at_once() -> None:
    """The picture of the moment after a reload can be from before it."""
    bench = Bench("nightly", "weekly")
    await bench.exposed.refresh()
    bench.configured = bench.configured[1:]

    await bench.exposed.refresh()
    some = bench.ready()
    bench.configured = ()
    await bench.exposed.refresh()

    assert ({"weekly": 1.0}, {}) == (some, bench.ready())


async def test_before_the_first_polls_it_says_so() -> None:
    """Before the first polls have finished, a refresh must return false."""
    bench = Bench("nightly")
    bench.view.ready = False

    assert not await bench.exposed.refresh()


async def test_after_a_mistake_it_is_not_known() -> None:
    """After an error, it must be unknown whether a fleet is fit, and no error be raised."""
    bench = Bench("nightly")
    await bench.exposed.refresh()
    bench.broken = True

    await bench.exposed.refresh()

    (due,) = bench.telemetry[own.PREFLIGHT_DUE].collect()
    assert ({}, 1) == (bench.ready(), len(due.samples))
