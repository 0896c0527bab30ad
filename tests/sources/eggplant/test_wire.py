from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import PollError
from exporter.fleet.readings import Agent
from exporter.metrics.telemetry import SelfMetrics
from exporter.simulator.eggplant.app import ACCESS_TOKEN, CLIENT, REALM_PATH, USER
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.sources.base import SourceContext
from exporter.sources.eggplant import EGGPLANT
from exporter.sources.eggplant.settings import EggplantSettings
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of


if TYPE_CHECKING:
    from exporter.sources.base import Source


REALM = {"token_url": REALM_PATH, **CLIENT}


def simulation(clock: FakeClock) -> Simulation:
    """Make simulated vendors that stand still."""
    return Simulation(SimulatorOptions(still=True), clock=clock.clock)


def connect(url: str, clock: FakeClock, **values: Any) -> Source:
    """Make a source that calls over real sockets."""
    settings = EggplantSettings.model_validate({"url": url, "retries": 0, **values})
    context = SourceContext(
        telemetry=SelfMetrics(clock=clock.clock).source("eggplant", "lab"),
        clock=clock.clock,
        ledger=ledger_of(clock),
        random=Random(0),  # noqa: S311 - jitter is no secret
    )
    return EGGPLANT.connect(settings, context)


@pytest.mark.parametrize(
    "auth",
    [
        {"access_token": ACCESS_TOKEN},
        REALM,
        {"token_url": "/api/v1/auth", **CLIENT},
        {"token_url": "api/v2/auth", **CLIENT},
        {"login_url": "/auth", **USER},
        {"login_url": "/ai/auth", **USER},
    ],
)
async def test_gets_in_by_every_scheme(auth: dict[str, str]) -> None:
    """Each documented login must lead to the agents."""
    clock = FakeClock()
    async with simulation(clock) as vendors:
        source = connect(vendors.eggplant_url, clock, auth=auth)
        try:
            poll = await source.poll("agents")
        finally:
            await source.aclose()

    assert any(isinstance(reading, Agent) for reading in poll.readings)


async def test_gets_along_with_one_licence() -> None:
    """With a single licence, which the token held uses up, no poll fails."""
    clock = FakeClock()
    async with simulation(clock) as vendors:
        vendors.lab.change("servers", "main", licences=1)
        source = connect(vendors.eggplant_url, clock, auth=REALM)
        try:
            polls = []
            for _ in range(40):
                polls.append(await source.poll("agents"))
                clock.shift(45)
        finally:
            await source.aclose()

    assert all(poll.readings and not poll.failures for poll in polls)


async def test_gets_along_with_a_wrong_secret() -> None:
    """Polls with a wrong secret never meet the limit of refusals."""
    clock = FakeClock()
    async with simulation(clock) as vendors:
        source = connect(
            vendors.eggplant_url, clock, auth={**REALM, "client_secret": "wrong"}, auth_retry="1m"
        )
        try:
            for _ in range(20):
                with pytest.raises(PollError):
                    await source.poll("agents")
                clock.shift(10)
        finally:
            await source.aclose()

    assert source.auth_failed
